// SPDX-License-Identifier: BSL-1.0
#pragma once

// two_servers - two instances of a server, each a process, count the same visits.

#include <interlock/counter.hpp>

#include <array>
#include <memory>
#include <mutex>

#include "../world.hpp"

namespace lab::two_servers {

inline constexpr std::int64_t start = 100;
inline constexpr std::int64_t visits = 25;  // of each server
inline constexpr unsigned servers = 2;

// What a server does for a visitor, in a process of its own.
template <class E>
struct server {
  explicit server(employer& by) : lab(by), drawn(by.part.find(" drawn") != std::string::npos) {}

  [[nodiscard]] std::int64_t mine() const { return drawn ? 2 : visits; }
  // Effects: access(), as a step that the lab asks for if the round is drawn.
  template <class Access, class Say>
  auto step(Access access, Say told) {
    return drawn ? lab.step(access, told) : access();
  }

  employer& lab;
  bool drawn;
};

// The process of a server. It connects, says so, and begins when both are there.
template <class E>
void serve(employer& lab, typename E::client on) {
  server<E> here(lab);
  network way({}, static_cast<unsigned>(lab.part.back()));
  const typename E::template versioned<std::int64_t> saved(on, lab.object);
  const typename E::counter shared(on, lab.object);
  const auto read = [&] { return *saved.load().value().value; };
  const auto write = [&](std::int64_t value) {
    const std::int64_t over = here.drawn ? read() : value;
    saved.store(value).value();
    return over;
  };
  lab.say("there");
  lab.hear();
  const auto visit = [&](auto count) {
    for (std::int64_t i = 0; i < here.mine(); ++i) {
      way.travel();
      count();
    }
  };
  if (lab.part.rfind("memory", 0) == 0) {
    interlock::counter visits_here(here.step(
        read, [](std::int64_t seen) { return line{sentence("starts, and loads ", seen)}; }));
    std::int64_t last = visits_here.load();  // what it saved or loaded last
    visit([&] {
      const std::int64_t now = visits_here.add(1);
      here.step([&] { return write(now); },
                [&](std::int64_t over) { return writes_back(now, last, over); });
      last = now;
    });
  } else if (lab.part.rfind("mutex", 0) == 0) {
    std::mutex guard;
    visit([&] {
      const std::lock_guard lock(guard);
      const std::int64_t seen = here.step(read, [](std::int64_t value) {
        return line{sentence("locks its mutex, reads ", value)};
      });
      way.travel();
      here.step([&] { return write(seen + 1); },
                [&](std::int64_t over) { return writes_back(seen + 1, seen, over); });
    });
  } else {
    visit([&] {
      here.step([&] { return shared.add(1).value(); },
                [](std::int64_t sum) { return line{sentence("adds 1: ", sum)}; });
    });
  }
  lab.say("done");
}

template <class E>
struct on {
  using process = std::unique_ptr<worker>;

  // Effects: starts both servers with that part, and lets them begin when both are there.
  static std::array<process, servers> start_both(const std::string& part, const std::string& object,
                                                 stage& scene) {
    std::array<process, servers> both;
    for (unsigned i = 0; i < servers; ++i) {
      scene.name(i, sentence("server ", i + 1));
      both[i] = world<E>::current().process(
          part + (scene.drawn() ? " drawn " : " ") + std::to_string(i + 1), object);
    }
    for (const process& each : both) each->hear();
    for (const process& each : both) each->say("begin");
    return both;
  }

  // Effects: lets the servers take their steps in turns, and notes them.
  static void direct(const std::array<process, servers>& both, stage& scene) {
    std::array<bool, servers> at_work{true, true};
    for (unsigned i = 0; at_work[0] || at_work[1]; i = 1 - i) {
      if (!at_work[i]) continue;
      at_work[i] = both[i]->hear() == "ready";
      if (!at_work[i]) continue;
      both[i]->say("go");
      const std::string said = both[i]->hear();
      scene.say(i, said.substr(1), said[0] == '!');
    }
  }

  // Effects: both servers play that part.
  static void play(const std::string& part, const std::string& object, stage& scene) {
    const std::array<process, servers> both = start_both(part, object, scene);
    if (scene.drawn()) return direct(both, scene);
    for (const process& each : both) each->hear();
  }

  static tally judge(const stage& scene, std::int64_t got) {
    const std::int64_t expected = start + servers * (scene.drawn() ? 2 : visits);
    return {expected, got, expected - got};
  }

  static tally with_row(const std::string& part, trace* picture) {
    stage scene(picture);
    const row<E> saved(scene, "visits", start);
    play(part, std::string(saved.at().name()), scene);
    return judge(scene, saved.read());
  }

  static tally naive(const settings&, trace* picture) { return with_row("memory", picture); }
  static tally mutex(const settings&, trace* picture) { return with_row("mutex", picture); }

  static tally counter(const settings&, trace* picture) {
    stage scene(picture);
    const auto count = counter_at<E>(start, "visits");
    play("counter", std::string(count.name()), scene);
    return judge(scene, count.load().value());
  }

  // Prices: a visit.
  static double naive_cost(unsigned threads, std::uint64_t operations) {
    interlock::counter here(start);
    const row<E> saved(stage(nullptr), "visits", start);
    return price(threads, operations, [&](unsigned) { saved.write(here.add(1)); });
  }

  static double counter_cost(unsigned threads, std::uint64_t operations) {
    const auto count = counter_at<E>(start, "visits");
    return price(threads, operations, [&](unsigned) { count.add(1).value(); });
  }

  static scenario describe() {
    return {
        .name = "two_servers",
        .story = "Two instances of a server, two processes, count the same visits.",
        .numbers = "start 100, 25 visits at each of two servers, expect 150; naive ends at 125",
        .unit = "visits",
        .cure = "counter, of an engine that both use",
        .moral =
            "What a process holds in its memory, and what it locks there, is its own: the other "
            "one has a variable and a lock of the same name. The addition has to be one step of "
            "what both share.",
        .forms =
            {
                {"naive", "load at the start; count in memory; save", role::naive, naive,
                 naive_cost},
                {"own-mutex", "lock a mutex; SELECT, add one, UPDATE; unlock", role::still_wrong,
                 mutex, nullptr},
                {"counter", "count.add(1), of the engine", role::fixed, counter, counter_cost},
            },
    };
  }
};

}  // namespace lab::two_servers
