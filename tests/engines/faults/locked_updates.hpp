// SPDX-License-Identifier: BSL-1.0
#pragma once

// Holders of a mutex read a number that is fenced, and write one more, while requests and replies
// are lost and some of them outlive their leases: by the types that users have. Include a place
// before.

#include <interlock/store/basic_fenced.hpp>
#include <interlock/store/basic_mutex.hpp>
#include <interlock/store/until_known.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "disturbed.hpp"
#include "histories.hpp"
#include "support/catch.hpp"
#include "support/eventually.hpp"

namespace faults {

inline constexpr std::size_t locked_keys = 4;
inline constexpr std::size_t locked_holders = 8;

// A lock and what it protects, and what the holders know of it all together.
class locked_number {
public:
  using mutex = store::basic_mutex<disturbed>;
  using number = store::basic_fenced<std::int64_t, disturbed>;
  struct facts {
    std::uint64_t newest = 0;  // fence
    std::int64_t written = 0, unknown = 0;
    int late = 0, told = 0, renewed = 0;  // outlived a lease; by lost(); saw a renewal
    int overtaken = 0;                    // had a newer holder beside them at last
    int overlapped = 0;                   // looks at that while the own guard said it holds
    int disturbed = 0;                    // refused, unknown or asked again

    facts& operator+=(const facts& more) {
      written += more.written, unknown += more.unknown;
      late += more.late, told += more.told, renewed += more.renewed;
      overtaken += more.overtaken, overlapped += more.overlapped, disturbed += more.disturbed;
      return *this;
    }
  };

  locked_number(const disturbed& one, const disturbed& other, const std::string& name)
      : door{mutex(one, name), mutex(other, name)},
        protects{number(one, name), number(other, name)} {}

  template <class F>
  auto tell(F f) {
    const std::lock_guard hold(guard_);
    return f(facts_);
  }

  std::array<mutex, 2> door;  // of either client
  std::array<number, 2> protects;

private:
  std::mutex guard_;
  facts facts_{};
};

// What one holder is to do. The turns of a thread come round.
struct locked_turn {
  explicit locked_turn(std::size_t n) : reads(n % 4 == 0), late(n % 8 == 3), longer(n % 8 == 5) {}
  [[nodiscard]] store::lock_options lock() const {
    return {.lease = late ? 40ms : 120ms, .renew = !late, .wait = 10s, .poll = 5ms};
  }

  bool reads;
  bool late;    // no renewals: writes when the lease is over, and another has written
  bool longer;  // waits for a renewal
};

// Effects: looks whether somebody else holds the lock while this one's guard says that it does.
// Returns: whether there is a newer holder.
inline bool look_beside(locked_number& at, const locked_number::mutex::guard& mine) {
  const auto newest = at.tell([](auto& all) { return all.newest; });
  const bool holds{mine};  // after the look
  const bool overtaken = newest > mine.fence();
  at.tell([&](auto& all) { all.overlapped += overtaken && holds ? 1 : 0; });
  return overtaken;
}

// Effects: what makes this holder late, between his look at the number and his write.
inline void linger(locked_number& at, const locked_number::mutex::guard& mine,
                   const locked_turn& turn) {
  const auto lost = [&] {
    look_beside(at, mine);
    return mine.lost().stop_requested();
  };
  if (turn.late) {
    const bool told = support::eventually(lost);
    const auto written = [&] { return at.tell([](auto& all) { return all.written; }); };
    const auto before = written();
    static_cast<void>(support::eventually([&] { return written() != before; }, 100ms));
    at.tell([&](auto& all) { ++all.late, all.told += told ? 1 : 0; });
  } else if (turn.longer) {
    const auto first = mine.deadline();
    static_cast<void>(support::eventually([&] { return mine.deadline() > first || lost(); }));
    at.tell([&](auto& all) { all.renewed += mine.deadline() > first ? 1 : 0; });
  }
}

// Effects: one more than what `call.seen` becomes. Settled under an id, or as it comes.
// Returns: what became of the write; refused, if there was none.
inline store::status write_one_more(locked_number& at, const locked_number::number& number,
                                    locked_number::mutex::guard& mine, const locked_turn& turn,
                                    bool settled, testing::counter_call& call) {
  if (!settled) {
    bool called = false;
    const auto said = number.modify(mine, [&](std::int64_t& now) {
      called = true;
      call.seen = now++;
      linger(at, mine, turn);
    });
    return called ? said.status() : store::status::refused;
  }
  const auto found = number.open(mine);
  if (found.unknown()) return store::status::refused;
  if (!found) return found.status();
  call.seen = found->value.value_or(0);
  linger(at, mine, turn);
  int asked = 0;
  const auto said = store::until_known(
      [&](const store::call_options& each) {
        ++asked;
        return number.write(*found, call.seen + 1, each);
      },
      {.limit = 20s, .conflict_is_final = true});
  at.tell([&](auto& all) { all.disturbed += asked - 1; });
  return said.status();
}

// Effects: one holder's turn; `calls` gets what he did.
template <class Calls>
void hold_once(locked_number& at, std::size_t me, std::size_t key, const locked_turn& turn,
               Calls& calls) {
  using kind = testing::counter_call::kind;
  const auto disturbed_if = [&](bool whether) {
    if (whether) at.tell([](auto& all) { ++all.disturbed; });
  };
  const auto& number = at.protects[me % 2];
  auto got = unless_refused([&] { return at.door[me % 2].lock(turn.lock()); });
  disturbed_if(!got);
  if (!got) return;
  locked_number::mutex::guard mine = std::move(*got);
  const auto fence = mine.fence();
  at.tell([&](auto& all) { all.newest = std::max(all.newest, fence); });
  keyed<testing::counter_call> one{key, {turn.reads ? kind::load : kind::add, 1, 0}};
  auto open = calls.begin(me, one);
  store::status said = store::status::refused;
  if (turn.reads) {
    const auto found = number.open(mine);
    if (found) one.call.seen = found->value.value_or(0);
    said = found.status();
  } else {
    said = write_one_more(at, number, mine, turn, key % 2 == 0, one.call);
    at.tell([&](auto& all) {
      all.written += said == store::status::applied ? 1 : 0;
      all.unknown += said == store::status::unknown ? 1 : 0;
    });
  }
  one.nothing = said != store::status::applied;
  if (said != store::status::unknown) open.answer(one);
  disturbed_if(said == store::status::unknown || said == store::status::refused);
  const bool overtaken = look_beside(at, mine);
  at.tell([&](auto& all) { all.overtaken += overtaken ? 1 : 0; });
  disturbed_if(!mine.unlock());
}

struct locked_run : recorded_run {
  locked_number::facts all{};  // of all keys
  std::int64_t number = 0;     // the sum of what is there at last
  int wrong = 0;               // numbers that the writes do not explain
};

inline locked_run locked_updates(losing& between, std::size_t each, fences how) {
  const auto options = fresh({.timeout = 10s});
  const disturbed one(between, options, how), other(between, options, how);
  std::deque<locked_number> numbers;
  for (std::size_t key = 0; key < locked_keys; ++key) {
    numbers.emplace_back(one, other, "number " + std::to_string(key));
  }
  std::vector<std::size_t> turns(locked_holders);
  locked_run result;
  static_cast<recorded_run&>(result) = record<testing::counter_state, testing::counter_call>(
      each, {},
      [&](std::size_t me, std::size_t drawn, auto&, auto& calls) {
        const std::size_t key = drawn % locked_keys;
        hold_once(numbers[key], me, key, locked_turn(me + turns[me]++), calls);
      },
      locked_holders);
  for (locked_number& at : numbers) {
    const auto found = unless_refused([&] {
      return at.protects[0].open({std::uint64_t{1} << 52U, store::unique_id::fresh()});
    });
    const auto last = found.value().value.value_or(0);
    const auto seen = at.tell([](auto& all) { return all; });
    result.number += last;
    result.wrong += last < seen.written || last > seen.written + seen.unknown ? 1 : 0;
    result.all += seen;
  }
  return result;
}

inline void tell_locked(const char* what, const locked_run& run) {
  const auto& all = run.all;
  tell(place::engine,
       "locked updates, %s: %lld written, %lld unknown, %lld counted; %d lost leases, %d renewed; "
       "%d overtaken, %d looks saw two holders: %s",
       what, static_cast<long long>(all.written), static_cast<long long>(all.unknown),
       static_cast<long long>(run.number), all.told, all.renewed, all.overtaken, all.overlapped,
       run.verdict ? "linearizable" : "NOT linearizable");
}

}  // namespace faults

TEST_CASE("locked updates: holders who lose replies and leases lose no update") {
  using namespace faults;
  if (!place::available()) return;
  place here;
  losing between(here, 0.02, 5);
  const std::size_t each = std::max<std::size_t>(support::rounds(12), 8);
  const auto run = locked_updates(between, each, fences::checked);
  tell_locked("mutex and fence", run);
  INFO(run.verdict.violation);
  CHECK(run.verdict);
  CHECK(run.wrong == 0);
  CHECK(run.all.overlapped == 0);
  // or nothing was tested
  CHECK(run.all.late == run.all.told);
  CHECK(run.all.told > 0);
  CHECK(run.all.renewed > 0);
  CHECK(run.all.overtaken > 0);
  CHECK(run.all.disturbed > 0);
}

TEST_CASE("locked updates: where fences are not checked a late holder undoes an update") {
  using namespace faults;
  if (!place::available()) return;
  place here;
  losing between(here, 0.0, 6);
  std::int64_t lost = 0;
  finds("writes whose fence is not checked", [&](std::uint64_t) {
    const auto run = locked_updates(between, 8, fences::ignored);
    tell_locked("mutex alone", run);
    lost = std::max(lost, run.all.written - run.number);
    return run;
  });
  CHECK(lost > 0);
}
