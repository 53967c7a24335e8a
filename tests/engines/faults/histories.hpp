// SPDX-License-Identifier: BSL-1.0
#pragma once

// What four threads asked for and were told, through a link that loses some of it, fits one order
// for each key. What stayed unknown may have happened at any later time, or never. Include a place
// before.

#include <interlock/store/basic_bounded_counter.hpp>
#include <interlock/store/basic_counter.hpp>
#include <interlock/store/basic_versioned.hpp>
#include <interlock/store/until_known.hpp>
#include <interlock/testing/history.hpp>
#include <interlock/testing/linearizability.hpp>
#include <interlock/testing/specifications.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

namespace faults {

namespace testing = interlock::testing;

inline constexpr std::size_t history_workers = 4;
inline constexpr std::size_t history_keys = 20;

// The bugs that the check has to find.
enum class mutant { none, retries_without_id, skips_the_check };

// Of a key: an operation, or something that is known not to have happened.
template <class Call>
struct keyed {
  std::size_t key = 0;
  Call call{};
  bool nothing = false;

  friend std::string describe(const keyed& one) {
    return "key " + std::to_string(one.key) + ": " +
           (one.nothing ? std::string("nothing") : describe(one.call));
  }
};

template <class State, class Call>
struct keyed_state {
  State state{};

  bool apply(const keyed<Call>& one, bool answered) {
    return one.nothing || state.apply(one.call, answered);
  }
  static bool reads(const keyed<Call>& one) { return one.nothing || State::reads(one.call); }
  [[nodiscard]] std::size_t hash() const { return state.hash(); }
  friend bool operator==(const keyed_state&, const keyed_state&) = default;
};

// A cell whose values are all different, so that a value stands for its version. 0: no value.
struct swap_call {
  enum class kind { load, swapped, kept } what = kind::load;
  std::int64_t expected = 0;  // swapped, kept: the value whose version was asked for
  std::int64_t value = 0;     // swapped: the new one; else the one seen

  friend std::string describe(const swap_call& c) {
    constexpr const char* names[] = {"load saw ", "swapped to ", "kept, since there is "};
    return names[static_cast<int>(c.what)] + std::to_string(c.value) +
           (c.what == kind::load ? "" : ", expected " + std::to_string(c.expected));
  }
};
struct swap_state {
  std::int64_t value = 0;

  bool apply(const swap_call& c, bool answered) {
    if (c.what == swap_call::kind::load) return !answered || value == c.value;
    if (c.what == swap_call::kind::kept) return value == c.value && value != c.expected;
    if (value != c.expected) return !answered;
    value = c.value;
    return true;
  }
  static bool reads(const swap_call& c) { return c.what != swap_call::kind::swapped; }
  [[nodiscard]] std::size_t hash() const { return static_cast<std::size_t>(value); }
  friend bool operator==(const swap_state&, const swap_state&) = default;
};

// What happens to an answer: asked for until it is known on even keys; on odd keys once, and then
// it may stay unknown. `final`: a conflict is met by a request that is still on its way as well.
template <class Between, class F>
auto ask(Between& between, std::size_t key, mutant bug, bool final, F f) {
  const auto once = [&](const store::call_options& call) {
    return between.ask([&] { return f(call); });
  };
  if (bug == mutant::retries_without_id) {
    auto said = once({});
    while (said.unknown()) said = once({});
    return said;
  }
  if (key % 2 == 1) return once({.id = store::operation_id::fresh()});
  // A conflict that is not final may stand for good: a counter at its bound.
  return store::until_known(once,
                            {.limit = final ? 20s : milliseconds(500), .conflict_is_final = final});
}

struct recorded_run {
  testing::verdict verdict;
  std::size_t open = 0;  // operations whose outcome stayed unknown
};

// Effects: threads call step(thread, key, random, run) with keys at random, many times. `step`
//          answers its call, or leaves it unknown.
template <class State, class Call, class Step>
recorded_run record(std::size_t each, State initial, Step step,
                    std::size_t workers = history_workers) {
  testing::ticket_clock clock;
  testing::history<keyed<Call>> calls(clock, workers);
  support::run_threads(workers, [&](std::size_t me) {
    std::mt19937_64 random(me + 1);
    for (std::size_t i = 0; i < each; ++i) {
      step(me, static_cast<std::size_t>(random() % history_keys), random, calls);
    }
  });
  const auto all = calls.operations();
  recorded_run result;
  for (const auto& one : all) result.open += one.when.answered() ? 0 : 1;
  result.verdict = testing::linearizable(all, keyed_state<State, Call>{std::move(initial)},
                                         [](const keyed<Call>& one) { return one.key; });
  return result;
}

// Effects: writes down what became of a call: known(call) makes it complete if it was applied.
template <class Open, class Call, class Said, class Known>
void write_down(Open& open, keyed<Call> one, const Said& said, Known known) {
  if (said.unknown()) return;
  if (said.refused()) {
    one.nothing = true;
  } else {
    known(one.call);
  }
  open.answer(std::move(one));
}

template <class Object>
using objects_of_keys = std::vector<Object>;

template <class Object, class Make>
objects_of_keys<Object> for_each_key(Make make) {
  objects_of_keys<Object> all;
  for (std::size_t i = 0; i < history_keys; ++i) {
    std::string name = "key ";
    name += std::to_string(i);
    all.push_back(make(name));
  }
  return all;
}

template <class Between>
recorded_run counter_history(Between& between, std::size_t each, mutant bug) {
  using counter = store::basic_counter<place::client>;
  const auto client = between.open(fresh());
  const auto counters =
      for_each_key<counter>([&](const std::string& name) { return counter(client, name); });
  return record<testing::counter_state, testing::counter_call>(
      each, {}, [&](std::size_t me, std::size_t key, auto& random, auto& calls) {
        using kind = testing::counter_call::kind;
        if (random() % 4 == 0) {
          auto open = calls.begin(me, {key, {kind::load, 0, 0}});
          const auto said = between.ask([&] { return counters[key].load(); });
          write_down(open, keyed<testing::counter_call>{key, {kind::load, 0, 0}}, said,
                     [&](auto& call) { call.seen = *said; });
          return;
        }
        const keyed<testing::counter_call> asked{
            key, {kind::add, static_cast<std::int64_t>(random() % 5) + 1, 0}};
        auto open = calls.begin(me, asked);
        const auto said = ask(between, key, bug, false, [&](const store::call_options& how) {
          return counters[key].add(asked.call.amount, how);
        });
        write_down(open, asked, said, [&](auto& call) { call.seen = *said - call.amount; });
      });
}

template <class Between>
recorded_run bounded_history(Between& between, std::size_t each, mutant bug) {
  using counter = store::basic_bounded_counter<place::client>;
  using kind = testing::bounded_call::kind;
  const auto client = between.open(fresh());
  const auto counters = for_each_key<counter>([&](const std::string& name) {
    for (;;) {  // what opens it may be lost too
      try {
        return counter(client, name, {5, 0, 10});
      } catch (const store::failure&) {
        std::this_thread::sleep_for(1ms);
      }
    }
  });
  return record<testing::bounded_state, testing::bounded_call>(
      each, {5, 0, 10}, [&](std::size_t me, std::size_t key, auto& random, auto& calls) {
        const auto what = random() % 3;
        keyed<testing::bounded_call> asked{key, {kind::load, 0, true, 0}};
        if (what != 0) {
          asked.call.what = what == 1 ? kind::add : kind::sub;
          asked.call.amount = static_cast<std::int64_t>(random() % 4) + 1;
        }
        auto open = calls.begin(me, asked);
        if (what == 0) {
          const auto said = between.ask([&] { return counters[key].load(); });
          write_down(open, asked, said, [&](auto& call) { call.seen = *said; });
          return;
        }
        const auto said = ask(between, key, bug, false, [&](const store::call_options& how) {
          return what == 1 ? counters[key].try_add(asked.call.amount, how)
                           : counters[key].try_sub(asked.call.amount, how);
        });
        write_down(open, asked, said, [&](auto& call) { call.granted = said.applied(); });
      });
}

template <class Between>
recorded_run cell_history(Between& between, std::size_t each, mutant bug) {
  using cell = store::basic_versioned<std::int64_t, place::client>;
  using snapshot = cell::snapshot;
  using kind = swap_call::kind;
  const auto client = between.open(fresh());
  const auto cells =
      for_each_key<cell>([&](const std::string& name) { return cell(client, name); });
  std::vector<std::vector<snapshot>> seen(history_workers, std::vector<snapshot>(history_keys));
  std::vector<std::int64_t> made(history_workers, 0);
  return record<swap_state, swap_call>(
      each, {}, [&](std::size_t me, std::size_t key, auto& random, auto& calls) {
        snapshot& last = seen[me][key];
        if (random() % 3 == 0) {
          const keyed<swap_call> asked{key, {kind::load, 0, 0}};
          auto open = calls.begin(me, asked);
          const auto said = between.ask([&] { return cells[key].load(); });
          if (said) last = *said;
          write_down(open, asked, said, [&](auto& call) { call.value = said->value.value_or(0); });
          return;
        }
        const std::int64_t value =
            ++made[me] * static_cast<std::int64_t>(history_workers) + static_cast<std::int64_t>(me);
        const keyed<swap_call> asked{key, {kind::swapped, last.value.value_or(0), value}};
        auto open = calls.begin(me, asked);
        const auto said = ask(between, key, bug, true, [&](const store::call_options& how) {
          if (bug != mutant::skips_the_check) {
            return cells[key].compare_and_set(last.version, value, how);
          }
          auto stored = cells[key].store(value, how);
          return stored ? store::outcome<std::uint64_t, snapshot>(*stored)
                        : std::move(stored).template without_answer<std::uint64_t, snapshot>();
        });
        if (said) last = {value, *said};
        if (said.conflicted()) last = said.conflict();
        write_down(open, asked, said, [&](auto& call) {
          if (said) return;
          call.what = kind::kept;
          call.value = said.conflict().value.value_or(0);
        });
      });
}

// Adds one to a number in a fenced resource, under a lease: open, and write what is one more.
template <class Between>
recorded_run fenced_history(Between& between, std::size_t each) {
  using object = place::client::object;
  using kind = testing::counter_call::kind;
  auto client = between.open(fresh());
  const auto doors = for_each_key<object>([&](const std::string& name) {
    return client.object_named(store::object_kind::mutex, name);
  });
  const auto numbers = for_each_key<object>([&](const std::string& name) {
    return client.object_named(store::object_kind::fenced, name);
  });
  return record<testing::counter_state, testing::counter_call>(
      each, {}, [&](std::size_t me, std::size_t key, auto&, auto& calls) {
        keyed<testing::counter_call> asked{key, {kind::add, 1, 0}, true};
        const auto owner = store::unique_id::fresh();
        auto open = calls.begin(me, keyed<testing::counter_call>{key, {kind::add, 1, 0}});
        const auto lease =
            between.ask([&] { return client.lease_acquire(doors[key], owner, 200ms, {}); });
        if (!lease) return open.answer(asked);
        const auto found =
            between.ask([&] { return client.fenced_open(numbers[key], lease->fence, owner, {}); });
        if (found) {
          asked.call.seen = found->bytes ? std::stoll(*found->bytes) : 0;
          const std::string next = std::to_string(asked.call.seen + 1);
          const auto said = between.ask(
              [&] { return client.fenced_write(numbers[key], lease->fence, owner, next, {}); });
          asked.nothing = !said.applied();
          if (!said.unknown()) open.answer(asked);
        } else {
          open.answer(asked);
        }
        static_cast<void>(
            between.ask([&] { return client.lease_release(doors[key], owner, lease->fence, {}); }));
      });
}

inline void tell_history(const char* what, const recorded_run& run) {
  tell(place::engine, "histories, %s: %llu operations, %zu unknown: %s", what,
       static_cast<unsigned long long>(run.verdict.operations), run.open,
       run.verdict ? "linearizable" : "NOT linearizable");
  INFO(run.verdict.violation);
  CHECK(run.verdict);
}

// Effects: runs until the bug is seen, 5 times at most.
template <class Run>
void finds(const char* what, Run run) {
  int tries = 0;
  bool found = false;
  while (!found && tries < 5) {
    ++tries;
    found = !run(static_cast<std::uint64_t>(tries)).verdict;
  }
  tell(place::engine, "histories, %s: %s in run %d", what, found ? "caught" : "MISSED", tries);
  CHECK(found);
}

}  // namespace faults

TEST_CASE("histories: counters, cells, bounded counters and fenced writes are linearizable") {
  using namespace faults;
  if (!place::available()) return;
  place here;
  losing between(here, 0.02, 4);
  const std::size_t each = support::rounds(150);
  tell_history("counters", counter_history(between, each, mutant::none));
  tell_history("bounded counters", bounded_history(between, each, mutant::none));
  tell_history("cells", cell_history(between, each, mutant::none));
  tell_history("fenced writes", fenced_history(between, each / 2));
}

TEST_CASE("histories: retries without an id and a cell that skips its check are caught") {
  using namespace faults;
  if (!place::available()) return;
  place here;
  const auto with_losses = [&](double share, auto run) {
    return [&here, share, run](std::uint64_t seed) {
      losing between(here, share, seed);
      return run(between);
    };
  };
  finds("a counter that retries without an id", with_losses(0.1, [](auto& between) {
          return counter_history(between, 100, mutant::retries_without_id);
        }));
  finds("a bounded counter that retries without an id", with_losses(0.1, [](auto& between) {
          return bounded_history(between, 100, mutant::retries_without_id);
        }));
  finds("a cell that retries without an id", with_losses(0.1, [](auto& between) {
          return cell_history(between, 100, mutant::retries_without_id);
        }));
  finds("a cell that skips its check", with_losses(0.0, [](auto& between) {
          return cell_history(between, 100, mutant::skips_the_check);
        }));
}
