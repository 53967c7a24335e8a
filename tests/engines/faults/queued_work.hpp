// SPDX-License-Identifier: BSL-1.0
#pragma once

// Workers of a queue drop their items, throw, and go on when an item is another's by then, while
// requests and replies are lost: by the types that users have. Include a place before.

#include <interlock/inplace_stop_token.hpp>
#include <interlock/store/basic_fenced.hpp>
#include <interlock/store/basic_serial_queue.hpp>
#include <interlock/store/basic_versioned.hpp>
#include <interlock/store/until_known.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "disturbed.hpp"
#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/threads.hpp"

namespace faults {

// What the items of a key did: their numbers, one behind the other, in a text.
class listed_effects {
public:
  using text = store::basic_fenced<std::string, disturbed>;
  using naive_text = store::basic_versioned<std::string, disturbed>;

  listed_effects(const disturbed& client, const std::string& key, fences how)
      : fenced_(client, "effects of " + key), naive_(client, "effects of " + key), how_(how) {}

  // Returns: whether the effect was not there yet; none if this is not known, or another's affair.
  std::optional<bool> missing(const store::fence_and_owner& by, std::int64_t number) {
    mine_ = std::to_string(number) + " ";
    if (how_ == fences::ignored) {
      const auto said = naive_.load();
      return said ? std::optional(!done(said->value.value_or(""))) : std::nullopt;
    }
    auto said = fenced_.open(by);
    if (!said) return std::nullopt;
    opened_ = *std::move(said);
    return !done(opened_.value.value_or(""));
  }
  // Returns: whether the effect is there, after missing(). false: it is another's affair.
  bool apply() {
    if (how_ == fences::ignored) {
      return naive_.update([&](std::string& all) { all += mine_; }).applied();
    }
    const std::string all = opened_.value.value_or("") + mine_;
    return store::until_known(
               [&](const store::call_options& call) { return fenced_.write(opened_, all, call); },
               {.limit = 20s, .conflict_is_final = true})
        .applied();
  }
  std::string look() {
    if (how_ == fences::ignored) return naive_.load().value().value.value_or("");
    const store::fence_and_owner last{std::uint64_t{1} << 52U, store::unique_id::fresh()};
    return unless_refused([&] { return fenced_.open(last); }).value().value.value_or("");
  }

private:
  [[nodiscard]] bool done(const std::string& all) const {
    return all.size() >= mine_.size() && all.substr(all.size() - mine_.size()) == mine_;
  }

  text fenced_;
  naive_text naive_;
  fences how_;
  std::string mine_;
  text::opened opened_{};
};

struct served {
  int items = 0, misnumbered = 0;
  int wrong = 0, doubled = 0;              // keys; effects
  int dropped = 0, late = 0, refused = 0;  // items; late effects, and those of them that had none
  store::work_done done{};
  store::queue_depth left{};
};

class served_queue {
public:
  using queue = store::basic_serial_queue<std::int64_t, disturbed>;
  static constexpr int keys = 6, each = 8;
  static constexpr std::size_t workers = 4;

  served_queue(losing& between, fences how)
      : client_(between, fresh({.timeout = 10s}), fences::checked),
        jobs_(client_, "jobs", {.lease = 60ms, .tries = 1000, .poll = 5ms}),
        how_(how) {}

  served run() {
    interlock::inplace_stop_source stop;
    support::run_threads(workers + 1, [&](std::size_t me) {
      if (me < workers) return work(me, stop.get_token());
      push();
      static_cast<void>(support::eventually([&] { return empty(); }, 60s));
      stop.request_stop();
    });
    const auto left = unless_refused([&] { return jobs_.depth(); });
    seen_.left = left.value();
    for (int key = 0; key < keys; ++key) compare(std::to_string(key));
    return seen_;
  }

private:
  void push() {
    for (int number = 0; number < each; ++number) {
      for (int key = 0; key < keys; ++key) {
        const auto said = unless_refused([&] {
          return store::until_known([&](const store::call_options& call) {
            return jobs_.push(std::to_string(key), number, call);
          });
        });
        const std::lock_guard hold(guard_);
        ++seen_.items;
        seen_.misnumbered += said.value_or(0) == static_cast<std::uint64_t>(number) + 1 ? 0 : 1;
      }
    }
  }
  bool empty() {
    const auto now = jobs_.depth();
    return now && now->waiting == 0;
  }

  void work(std::size_t me, interlock::inplace_stop_token stop) {
    std::size_t turn = me;
    const auto done = jobs_.work([&](queue::item& item) { serve(item, turn++ % 8); }, stop,
                                 {.delay = [](std::uint64_t) { return 1ms; }});
    const std::lock_guard hold(guard_);
    seen_.done.finished += done.finished, seen_.done.failed += done.failed;
    seen_.done.lost += done.lost, seen_.done.unknown += done.unknown;
  }
  // What befalls a worker is the turn's.
  void serve(queue::item& item, std::size_t turn) {
    const std::string key = item.key();
    const auto number = item.value();
    listed_effects effects(client_, key, how_);
    if (turn == 1) return drop(item);
    const auto missing = effects.missing({item.attempt(), item.owner()}, number);
    if (!missing) return drop(item);
    if (!*missing) return;
    if (turn == 3) throw std::runtime_error("given back");
    if (turn == 5) return be_late(item, effects);
    if (!effects.apply()) return drop(item);
    note(key, number);
    if (turn == 7) drop(item);
  }
  // Effects: the worker is dead for all others, and has his effect when another has had his.
  void be_late(queue::item& item, listed_effects& effects) {
    const std::string key = item.key();
    const auto number = item.value();
    drop(item);
    const std::unique_lock one(late_, std::try_to_lock);  // or all might wait for one another
    if (!one) return;
    static_cast<void>(support::eventually(
        [&] {
          const std::lock_guard hold(guard_);
          return std::find(noted_.begin(), noted_.end(), std::pair(key, number)) != noted_.end();
        },
        5s));
    const bool had = effects.apply();
    const std::lock_guard hold(guard_);
    ++seen_.late;
    seen_.refused += had ? 0 : 1;
  }
  void drop(queue::item& item) {
    const queue::item gone = std::move(item);
    const std::lock_guard hold(guard_);
    ++seen_.dropped;
  }
  void note(const std::string& key, std::int64_t number) {
    const std::lock_guard hold(guard_);
    noted_.emplace_back(key, number);
  }
  void compare(const std::string& key) {
    const std::string all = listed_effects(client_, key, how_).look();
    std::string wanted;
    for (int number = 0; number < each; ++number) wanted += std::to_string(number) + " ";
    seen_.wrong += all == wanted ? 0 : 1;
    std::istringstream words(all);
    std::vector<int> times(each);
    for (int number = 0; words >> number;) ++times.at(static_cast<std::size_t>(number));
    for (const int n : times) seen_.doubled += n > 1 ? 1 : 0;
  }

  disturbed client_;
  queue jobs_;
  fences how_;
  std::mutex late_, guard_;                                  // guard_: for what follows
  std::vector<std::pair<std::string, std::int64_t>> noted_;  // effects
  served seen_;
};

inline void tell_served(const char* what, const served& run) {
  tell(place::engine,
       "queued work, %s: %d items, %d dropped, %llu given back, %llu ended unknown; of %d late "
       "effects %d refused: %d doubled, %d keys of %d wrong",
       what, run.items, run.dropped, static_cast<unsigned long long>(run.done.failed),
       static_cast<unsigned long long>(run.done.unknown), run.late, run.refused, run.doubled,
       run.wrong, served_queue::keys);
}

}  // namespace faults

TEST_CASE("queued work: items that are dropped and replies that are lost change no effect") {
  using namespace faults;
  if (!place::available()) return;
  place here;
  losing between(here, 0.02, 7);
  const served run = served_queue(between, fences::checked).run();
  tell_served("fenced effects", run);
  const auto items = static_cast<std::uint64_t>(run.items);
  // work() takes an item that was moved elsewhere for a finished one
  const auto finished = run.done.finished - static_cast<std::uint64_t>(run.dropped);
  CHECK(run.wrong == 0);
  CHECK(run.doubled == 0);
  CHECK(run.misnumbered == 0);
  CHECK((run.left.waiting == 0 && run.left.set_aside == 0));
  CHECK(finished <= items);
  CHECK(finished + run.done.unknown >= items);
  // or nothing was tested
  CHECK(run.done.failed > 0);
  CHECK(run.late > 0);
  CHECK(run.refused == run.late);
}

TEST_CASE("queued work: an effect without a fence is doubled by a worker that was late") {
  using namespace faults;
  if (!place::available()) return;
  place here;
  losing between(here, 0.0, 8);
  const served run = served_queue(between, fences::ignored).run();
  tell_served("effects without a fence", run);
  CHECK((run.left.waiting == 0 && run.left.set_aside == 0));
  CHECK(run.late > 0);
  CHECK(run.doubled > 0);
}
