// SPDX-License-Identifier: BSL-1.0
#pragma once

// The holder of a lease stands still for longer than the lease, then goes on as if nothing had
// been. Include a place before.

#include <interlock/store/basic_versioned.hpp>

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "workers.hpp"

namespace faults {

// Does what it is told, one word a line, and answers. The number that it holds is what it read.
class holder {
public:
  explicit holder(place::client client)
      : client_(std::move(client)),
        door_(client_.object_named(store::object_kind::mutex, "door")),
        fenced_(client_.object_named(store::object_kind::fenced, "number")),
        plain_(client_, "plain"),
        checked_(client_, "checked") {}

  std::string obey(const std::string& word) {
    if (word == "lock") return lock(150ms);
    if (word == "open") return open();
    if (word == "write") return write();
    if (word == "load") return loaded(plain_.load().value().value.value_or(0));
    if (word == "store") return yes(plain_.store(number_ + 1).applied());
    if (word == "look") return loaded(checked_.load().value().value.value_or("0 0"));
    if (word == "check and store") return check_and_store();
    return "what?";
  }

  std::string lock(milliseconds lease) {
    owner_ = store::unique_id::fresh();
    const auto end = steady_clock::now() + 10s;
    for (;;) {
      const auto got = client_.lease_acquire(door_, owner_, lease, {});
      if (got) fence_ = got->fence;
      if (got) return "yes";
      if (steady_clock::now() > end) return "no";
      std::this_thread::sleep_for(5ms);
    }
  }
  std::string open() {
    const auto found = client_.fenced_open(fenced_, fence_, owner_, {});
    return found ? loaded(found->bytes ? std::stoll(*found->bytes) : 0) : "no";
  }
  std::string write() {
    const auto said =
        client_.fenced_write(fenced_, fence_, owner_, std::to_string(number_ + 1), {});
    return said.unknown() ? "unknown" : yes(said.applied());
  }
  void unlock() { static_cast<void>(client_.lease_release(door_, owner_, fence_, {})); }

private:
  static std::string yes(bool whether) { return whether ? "yes" : "no"; }
  std::string loaded(std::int64_t number) {
    number_ = number;
    return "yes";
  }
  std::string loaded(const std::string& fence_and_number) {
    return loaded(std::stoll(fence_and_number.substr(fence_and_number.find(' ') + 1)));
  }
  // The form that books have: the resource compares the fence when it is written.
  std::string check_and_store() {
    bool stale = false;
    const auto said = checked_.update([&](const std::optional<std::string>& now) {
      const std::string text = now.value_or("0 0");
      stale = std::stoull(text) > fence_;
      return stale ? text : std::to_string(fence_) + " " + std::to_string(number_ + 1);
    });
    return yes(said.applied() && !stale);
  }

  place::client client_;
  place::client::object door_, fenced_;
  store::basic_versioned<std::int64_t, place::client> plain_;
  store::basic_versioned<std::string, place::client> checked_;
  store::unique_id owner_;
  std::uint64_t fence_ = 0;
  std::int64_t number_ = 0;
};

inline const bool knows_holder = add_role("holder", [](orders& mine) {
  holder one(orders::open());
  for (;;) mine.say(one.obey(mine.hear()));
});

// Adds to the number under the lock for ever, and says what became of each.
inline const bool knows_adder = add_role("adder", [](orders& mine) {
  holder one(orders::open());
  for (;;) {
    if (one.lock(60ms) != "yes") continue;
    if (one.open() == "yes") {
      mine.say("writes");
      mine.say(one.write());
    }
    one.unlock();
  }
});

struct lost_updates {
  int written = 0;
  std::int64_t number = 0;
  [[nodiscard]] std::int64_t lost() const { return written - number; }
};

// Effects: in each round one holder reads, stands still until his lease is over and the other has
//          the lock and, in odd rounds, has read; in even ones, has written too; then both write.
inline lost_updates pass_on(place& here, int rounds, const std::string& read,
                            const std::string& write, const std::string& last_read) {
  const auto options = fresh();
  std::vector<worker> both;
  static_cast<void>(here.open(options));  // makes what is not there
  for (int i = 0; i < 2; ++i) both.emplace_back("holder", here, options.prefix);
  lost_updates result;
  for (int i = 0; i < rounds; ++i) {
    worker &slow = both[static_cast<std::size_t>(i / 2 % 2)],
           &next = both[static_cast<std::size_t>(1 - i / 2 % 2)];
    REQUIRE(slow.ask("lock") == "yes");
    REQUIRE(slow.ask(read) == "yes");
    slow.stop();
    slow.say(write);
    REQUIRE(next.ask("lock") == "yes");
    REQUIRE(next.ask(read) == "yes");
    std::string by_next;
    if (i % 2 == 0) by_next = next.ask(write);
    slow.go_on();
    const std::string by_slow = slow.heard().value_or("no answer");
    if (i % 2 == 1) by_next = next.ask(write);
    REQUIRE((by_slow == "yes" || by_slow == "no"));
    REQUIRE(by_next == "yes");
    result.written += by_slow == "yes" ? 2 : 1;
  }
  holder reader(here.open(options));
  REQUIRE(reader.lock(1s) == "yes");
  auto client = here.open(options);
  using text_cell = store::basic_versioned<std::string, place::client>;
  using number_cell = store::basic_versioned<std::int64_t, place::client>;
  if (last_read == "fenced") {
    const auto at = client.object_named(store::object_kind::fenced, "number");
    const auto found =
        client.fenced_open(at, std::uint64_t{1} << 52U, store::unique_id::fresh(), {});
    result.number = std::stoll(found.value().bytes.value_or("0"));
  } else if (last_read == "checked") {
    const std::string text = text_cell(client, "checked").load().value().value.value_or("0 0");
    result.number = std::stoll(text.substr(text.find(' ') + 1));
  } else {
    result.number = number_cell(client, "plain").load().value().value.value_or(0);
  }
  return result;
}

}  // namespace faults

TEST_CASE("stopped holder: what is opened and written under a fence loses no update") {
  using namespace faults;
  if (!place::available()) return;
  place here;
  const auto fenced = pass_on(here, 4, "open", "write", "fenced");
  const auto naive = pass_on(here, 2, "load", "store", "plain");
  const auto half = pass_on(here, 4, "look", "check and store", "checked");
  tell(place::engine,
       "stopped holder: lost %lld of %d fenced updates; %lld of %d without a fence; %lld of %d "
       "with a "
       "fence checked at the write only",
       static_cast<long long>(fenced.lost()), fenced.written, static_cast<long long>(naive.lost()),
       naive.written, static_cast<long long>(half.lost()), half.written);
  CHECK(fenced.lost() == 0);
  CHECK(fenced.written == 4);  // the slow ones were refused
  CHECK(naive.lost() == 2);
  CHECK(half.lost() > 0);
}

TEST_CASE("stopped holders: four at random lose no fenced update") {
  using namespace faults;
  if (!place::available()) return;
  place here;
  const auto options = fresh();
  auto client = here.open(options);
  std::vector<worker> all;
  for (int i = 0; i < 4; ++i) all.emplace_back("adder", here, options.prefix);
  std::mt19937_64 random(7);
  int stops = 0;
  std::int64_t begun = 0, written = 0, refused = 0;
  const auto count = [&](worker& one, milliseconds most) {
    while (const auto line = one.heard(most)) {
      begun += *line == "writes" ? 1 : 0;
      written += *line == "yes" ? 1 : 0;
      refused += *line == "no" ? 1 : 0;
    }
  };
  const auto end = steady_clock::now() + 2500ms;
  while (steady_clock::now() < end) {
    worker& one = all[random() % all.size()];
    one.stop();
    ++stops;
    std::this_thread::sleep_for(milliseconds(30 + random() % 150));  // a lease is 60 ms
    one.go_on();
    for (worker& each : all) count(each, 0ms);
  }
  for (worker& one : all) one.kill();
  for (worker& one : all) count(one, 10ms);
  const auto at = client.object_named(store::object_kind::fenced, "number");
  const auto found = unless_refused([&] {
    return client.fenced_open(at, std::uint64_t{1} << 52U, store::unique_id::fresh(), {});
  });
  const std::int64_t number = std::stoll(found.value().bytes.value_or("0"));
  tell(place::engine,
       "stopped holders: %d stops, %lld updates written, %lld refused as late, %lld counted", stops,
       static_cast<long long>(written), static_cast<long long>(refused),
       static_cast<long long>(number));
  CHECK(number >= written);
  CHECK(number <= begun - refused);
  CHECK(written > 10);
}
