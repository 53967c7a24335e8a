// SPDX-License-Identifier: BSL-1.0
#pragma once

// Many clients of any engine at once: nothing lost, and an order that explains all answers.
// Included by conformance.hpp.

#include <interlock/store/basic_counter.hpp>
#include <interlock/task.hpp>
#include <interlock/testing/history.hpp>
#include <interlock/testing/linearizability.hpp>
#include <interlock/testing/specifications.hpp>

#include <atomic>
#include <barrier>
#include <memory>
#include <vector>

#include "engines/conformance/numbers.hpp"

namespace {

// A cell as versions tell it: what was read, or from which version to which a put went.
struct version_call {
  enum class kind { load, put } what = kind::load;
  std::uint64_t expected = 0;  // put
  bool applied = false;        // put
  std::uint64_t seen = 0;      // load, conflict: the version; applied: the new one

  friend std::string describe(const version_call& c) {
    using interlock::testing::history_detail::words;
    if (c.what == kind::load) return words("load saw ", c.seen);
    return words("put at ", c.expected, c.applied ? " made " : " met ", c.seen);
  }
};
struct version_state {
  std::uint64_t version = 0;

  bool apply(const version_call& c, bool answered) {
    if (c.what == version_call::kind::load) return !answered || c.seen == version;
    if (!answered) return false;  // what version it would make is not known: it never comes
    if (!c.applied) return c.expected != version && c.seen == version;
    if (c.expected != version) return false;
    version = c.seen;
    return true;
  }
  friend bool operator==(const version_state&, const version_state&) = default;
};

store::client_options small(data_set& data) {
  store::client_options options = data.client().options();
  options.connections = 1;
  options.timeout = 60s;
  return options;
}

}  // namespace

TEST_CASE("Fifty clients that add one each make fifty and those that load and store do not") {
  data_set data;
  const store::client_options options = small(data);
  std::atomic<int> failed{0};
  std::barrier loaded(50);
  support::run_threads(50, [&](std::size_t) {
    std::int64_t seen = 0;
    {
      engine e = data.client(options);
      const object hits = e.object_named(object_kind::counter, "hits");
      const object naive = e.object_named(object_kind::counter, "naive");
      failed += !e.counter_add(hits, 1, {}).applied();
      const auto now = e.counter_load(naive, {});
      failed += !now.applied();
      seen = now.value_or(0);
      loaded.arrive_and_wait();  // all have read before any writes: the worst that may happen
      failed += !e.counter_exchange(naive, seen + 1, {}).applied();
    }
  });
  engine e = data.client();
  CHECK(failed == 0);
  CHECK(e.counter_load(e.object_named(object_kind::counter, "hits"), {}).value() == 50);
  CHECK(e.counter_load(e.object_named(object_kind::counter, "naive"), {}).value() == 1);
}

TEST_CASE("The answers of a counter under many clients have one order in each engine") {
  using namespace interlock::testing;
  data_set data;
  const store::client_options options = small(data);
  constexpr std::size_t threads = 4;
  ticket_clock clock;
  history<counter_call> calls(clock, threads);
  support::run_threads(threads, [&](std::size_t me) {
    engine e = data.client(options);
    const object hits = e.object_named(object_kind::counter, "hits");
    dice roll(me);
    for (int i = 0; i < 40; ++i) {
      const bool add = roll(0, 2) != 0;
      const std::int64_t n = roll(1, 9);
      counter_call asked{add ? counter_call::kind::add : counter_call::kind::load, n, 0};
      auto open = calls.begin(me, asked);
      const auto answer = add ? e.counter_add(hits, n, {}) : e.counter_load(hits, {});
      if (!answer) continue;  // unknown; the check takes it so
      asked.seen = add ? *answer - n : *answer;
      open.answer(asked);
    }
  });
  auto all = calls.operations();
  const verdict found = linearizable(all, counter_state{});
  CHECK(found.text() == "correct");
  CHECK(found.operations == threads * 40);
  // the check finds an answer that is wrong
  for (auto& one : all) {
    if (one.op.what == counter_call::kind::add && one.op.seen > 0) {
      one.op.seen -= 1;
      break;
    }
  }
  CHECK_FALSE(linearizable(all, counter_state{}));
}

TEST_CASE("The versions of a cell under many clients have one order in each engine") {
  using namespace interlock::testing;
  data_set data;
  const store::client_options options = small(data);
  constexpr std::size_t threads = 4;
  ticket_clock clock;
  history<version_call> calls(clock, threads);
  std::atomic<int> applied{0};
  std::atomic<int> failed{0};
  support::run_threads(threads, [&](std::size_t me) {
    engine e = data.client(options);
    const object at = e.object_named(object_kind::cell, "cell");
    std::uint64_t last = 0;
    dice roll(me);
    for (int i = 0; i < 40; ++i) {
      if (roll(0, 1) == 0) {
        calls.record(me, {}, [&](version_call& c) {
          const auto seen = e.cell_load(at, {});
          failed += !seen.applied();
          c.seen = last = seen.value().version;
        });
        continue;
      }
      calls.record(me, {version_call::kind::put, last, false, 0}, [&](version_call& c) {
        std::optional<std::string_view> bytes = "x";
        if (roll(0, 3) == 0) bytes.reset();
        const auto put = e.cell_put(at, last, bytes, {});
        failed += !put.applied() && !put.conflicted();
        c.applied = put.applied();
        c.seen = last = put.applied() ? *put : put.conflict().version;
        applied += put.applied();
      });
    }
  });
  CHECK(failed == 0);
  CHECK(applied > 0);
  auto all = calls.operations();
  CHECK(linearizable(all, version_state{}).text() == "correct");
  for (auto& one : all) {
    if (one.op.what == version_call::kind::put && !one.op.applied) {
      one.op.applied = true;  // a lost update
      CHECK_FALSE(linearizable(all, version_state{}));
      break;
    }
  }
}

TEST_CASE("Awaited calls of an engine answer as blocking ones") {
  data_set data;
  engine e = data.client();
  const store::basic_counter<engine> hits(e, "hits");
  const auto work = [&]() -> interlock::task<std::int64_t> {
    for (int i = 0; i < 10; ++i) (co_await hits.async_add(1)).value();
    co_return (co_await hits.async_load()).value();
  };
  CHECK(interlock::sync_wait(work()) == 10);
}
