// SPDX-License-Identifier: BSL-1.0
// Our types used by real threads, each answer checked; beside each the naive form, which is caught.

#include <interlock/async_mutex.hpp>
#include <interlock/bounded_counter.hpp>
#include <interlock/counter.hpp>
#include <interlock/idempotency_cache.hpp>
#include <interlock/serial_queue.hpp>
#include <interlock/testing/history.hpp>
#include <interlock/testing/linearizability.hpp>
#include <interlock/testing/monitors.hpp>
#include <interlock/testing/order_monitors.hpp>
#include <interlock/testing/transaction_monitor.hpp>
#include <interlock/transaction.hpp>
#include <interlock/versioned.hpp>
#include <interlock/watermark.hpp>

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/detached.hpp"
#include "support/threads.hpp"

using namespace interlock::testing;  // NOLINT: this file is about nothing else

namespace {

constexpr std::size_t threads = 4;
constexpr std::size_t naive_rounds = 2'000;

// Between the two halves of what a naive form does, now and then.
void gap(std::size_t i) {
  if (i % 31 == 0) std::this_thread::yield();  // prime: in each kind of call
}

// Returns: whether one of some attempts is found to be wrong.
template <class Attempt>
bool caught(Attempt attempt) {
  for (int i = 0; i < 300; ++i) {
    if (!attempt()) return true;
  }
  return false;
}

template <class Op, class Act>
std::vector<recorded<Op>> record_all(std::size_t rounds, Act act) {
  ticket_clock clock;
  history<Op> calls(clock, threads);
  support::run_threads(threads, [&](std::size_t me) {
    for (std::size_t i = 0; i < rounds; ++i) {
      calls.record(me, Op{}, [&](Op& call) { act(call, me, i); });
    }
  });
  return calls.operations();
}

// ---- counters -----------------------------------------------------------------------------------

struct naive_counter {
  std::int64_t fetch_add(std::int64_t n, std::size_t i) {
    const std::int64_t seen = value.load();
    gap(i);
    value.store(seen + n);
    return seen;
  }
  std::int64_t load() { return value.load(); }
  std::atomic<std::int64_t> value{0};
};
struct our_counter {
  std::int64_t fetch_add(std::int64_t n, std::size_t) { return value.add(n) - n; }
  std::int64_t load() { return value.load(); }
  interlock::counter<> value;
};

template <class Counter>
verdict counter_verdict(std::size_t rounds) {
  Counter object;
  return monitor_counter(
      record_all<counter_call>(rounds, [&](counter_call& call, std::size_t me, std::size_t i) {
        call.what = i % 4 == 0 ? counter_call::kind::load : counter_call::kind::add;
        call.amount = static_cast<std::int64_t>(1 + me);
        call.seen = i % 4 == 0 ? object.load() : object.fetch_add(call.amount, i);
      }));
}

struct bounded_call {
  enum class kind { add, sub, load } what = kind::load;
  std::int64_t amount = 0;
  std::int64_t answer = 0;  // load: the value; else 1 if it was granted
};
std::string describe(const bounded_call& c) {
  constexpr const char* names[] = {"try_add ", "try_sub ", "load "};
  return names[static_cast<int>(c.what)] + std::to_string(c.amount) + " gave " +
         std::to_string(c.answer);
}
struct bounded_state {
  static constexpr std::int64_t max = 5;
  std::int64_t value = 0;

  bool apply(const bounded_call& c, bool) {
    if (c.what == bounded_call::kind::load) return c.answer == value;
    const std::int64_t next =
        c.what == bounded_call::kind::add ? value + c.amount : value - c.amount;
    const bool fits = 0 <= next && next <= max;
    if (fits) value = next;
    return fits == (c.answer == 1);
  }
  static bool reads(const bounded_call& c) {
    return c.what == bounded_call::kind::load || c.answer == 0;
  }
  bool operator==(const bounded_state&) const = default;
};

struct naive_bounded {
  bool try_add(std::int64_t n, std::size_t i) { return change(n, i); }
  bool try_sub(std::int64_t n, std::size_t i) { return change(-n, i); }
  bool change(std::int64_t n, std::size_t i) {
    const std::int64_t next = value.load() + n;
    gap(i);
    if (next < 0 || next > bounded_state::max) return false;
    value.fetch_add(n);
    return true;
  }
  std::int64_t load() { return value.load(); }
  std::atomic<std::int64_t> value{0};
};
struct our_bounded {
  bool try_add(std::int64_t n, std::size_t) { return value.try_add(n); }
  bool try_sub(std::int64_t n, std::size_t) { return value.try_sub(n); }
  std::int64_t load() { return value.load(); }
  interlock::bounded_counter value{0, 0, bounded_state::max};
};

template <class Bounded>
verdict bounded_verdict(std::size_t rounds) {
  Bounded object;
  const auto all =
      record_all<bounded_call>(rounds, [&](bounded_call& call, std::size_t me, std::size_t i) {
        call.what = static_cast<bounded_call::kind>((i + me) % 3);
        call.amount = static_cast<std::int64_t>(1 + i % 3);
        switch (call.what) {
          case bounded_call::kind::add: call.answer = object.try_add(call.amount, i); break;
          case bounded_call::kind::sub: call.answer = object.try_sub(call.amount, i); break;
          case bounded_call::kind::load: call.answer = object.load(); break;
        }
      });
  return linearizable(all, bounded_state{});
}

// ---- cells and maxima ---------------------------------------------------------------------------

// Compares the version, then stores: two may pass the comparison.
struct naive_cell {
  void load(cell_call& call) {
    const std::lock_guard lock(guard);
    call.value = state.value;
    call.version = state.version;
  }
  void compare_and_set(cell_call& call, std::int64_t desired, std::size_t i) {
    const std::uint64_t expected = call.expected;
    load(call);
    call.what = cell_call::kind::refused;
    if (call.version != expected) return;
    gap(i);
    const std::lock_guard lock(guard);
    state = {desired, state.version + 1};
    call = {cell_call::kind::replaced, expected, desired, state.version};
  }
  std::mutex guard;
  cell_state state;
};
struct our_cell {
  void load(cell_call& call) {
    const auto seen = cell.load();
    call.value = seen.value;
    call.version = seen.version;
  }
  void compare_and_set(cell_call& call, std::int64_t desired, std::size_t) {
    const auto done = cell.compare_and_set(call.expected, desired);
    call.what = done ? cell_call::kind::replaced : cell_call::kind::refused;
    call.version = done.version();
    call.value = done ? desired : done.current().value;
  }
  interlock::versioned<std::int64_t> cell{0};
};

template <class Cell>
verdict cell_verdict(std::size_t rounds) {
  Cell object;
  std::vector<std::uint64_t> known(threads * 64);  // by thread, a line each
  return monitor_cell(
      record_all<cell_call>(rounds, [&](cell_call& call, std::size_t me, std::size_t i) {
        std::uint64_t& seen = known[me * 64];
        if (i % 2 == 0) {
          object.load(call);
        } else {
          call.expected = seen;
          object.compare_and_set(call, static_cast<std::int64_t>(i * threads + me + 1), i);
        }
        seen = call.version;
      }));
}

struct naive_peak {
  bool raise(std::uint64_t v, std::size_t i) {
    if (value.load() >= v) return false;
    gap(i);
    value.store(v);
    return true;
  }
  std::uint64_t load() { return value.load(); }
  std::atomic<std::uint64_t> value{0};
};
struct our_peak {
  bool raise(std::uint64_t v, std::size_t) { return value.raise(v); }
  std::uint64_t load() { return value.load(); }
  interlock::watermark<std::uint64_t> value{0};
};

template <class Peak>
verdict peak_verdict(std::size_t rounds) {
  Peak object;
  return monitor_peak(
      record_all<peak_call>(rounds, [&](peak_call& call, std::size_t me, std::size_t i) {
        if (i % 3 == 0) {
          call.value = object.load();
          return;
        }
        call.value = i * threads + me;
        call.what =
            object.raise(call.value, i) ? peak_call::kind::raised : peak_call::kind::too_low;
      }));
}

// ---- one at a time ------------------------------------------------------------------------------

thread_local std::size_t my_log = threads;  // a queue's own thread keeps the last one

// A pool without the queue: whoever calls, runs.
struct no_queue {
  template <class F>
  bool post(F f) {
    f();
    return true;
  }
  template <class F>
  void run(F f) {
    f();
  }
  void drain() {}
};
template <std::size_t Workers>
struct our_queue {
  template <class F>
  bool post(F f) {
    return queue.post(f) == interlock::post_result::accepted;
  }
  template <class F>
  void run(F f) {
    queue.run(f);
  }
  void drain() { queue.drain(); }

  interlock::queue_options how{.workers = Workers};
  interlock::serial_queue queue{how};
};

template <class Queue>
verdict queue_verdict(std::size_t rounds) {
  ticket_clock clock;
  history<job> submitted(clock, threads);
  history<job> ran(clock, threads + 1);
  Queue queue;
  support::run_threads(threads, [&](std::size_t me) {
    my_log = me;
    for (std::size_t i = 0; i < rounds; ++i) {
      const std::uint64_t id = i * threads + me;
      const auto work = [&, id] { ran.record(my_log, {id}, [&](job&) { gap(id); }); };
      submitted.record(me, {id}, [&](job& mine) {
        if (i % 8 == 0) {
          queue.run(work);
        } else {
          mine.accepted = queue.post(work);
        }
      });
    }
  });
  queue.drain();
  return monitor_serial(submitted.operations(), ran.operations());
}

class naive_mutex {
public:
  struct guard {
    std::atomic<bool>* held;
    ~guard() { held->store(false); }
  };
  guard lock(std::size_t i) {
    while (held_.load()) std::this_thread::yield();
    gap(i);
    held_.store(true);
    return {&held_};
  }

private:
  std::atomic<bool> held_{false};
};

verdict naive_mutex_verdict() {
  naive_mutex mutex;
  ticket_clock clock;
  history<ownership> owners(clock, threads);
  support::run_threads(threads, [&](std::size_t me) {
    for (std::size_t i = 0; i < naive_rounds; ++i) {
      const ownership asked{clock.now()};
      const auto held = mutex.lock(i);
      owners.record(me, asked, [&](ownership&) { gap(i + 1); });
    }
  });
  return monitor_mutex(owners.operations());
}

// Half of the owners are coroutines: what starts one comes back when it waits, so that it is known
// to wait. The guard is in the coroutine, which goes on in the thread that unlocks.
struct visit {
  recorded<ownership> entry;
  std::atomic<std::uint64_t> queued{interval::never};
};

support::detached visit_once(interlock::async_mutex& mutex, ticket_clock& clock, visit& mine,
                             std::size_t i, std::atomic<std::size_t>& left) {
  mine.entry.op.asked = clock.now();
  {
    const auto held = co_await mutex.lock();
    mine.entry.when = clock.begin();
    gap(i);
    clock.end(mine.entry.when);
  }
  left.fetch_sub(1);
}

verdict our_mutex_verdict(std::size_t rounds) {
  interlock::async_mutex mutex;
  ticket_clock clock;
  std::deque<visit> visits(threads * rounds);
  std::atomic<std::size_t> left = visits.size();
  support::run_threads(threads, [&](std::size_t me) {
    for (std::size_t i = 0; i < rounds; ++i) {
      visit& mine = visits[me * rounds + i];
      mine.entry.thread = static_cast<std::uint32_t>(me);
      if (me % 2 == 0) {
        visit_once(mutex, clock, mine, i, left);
        mine.queued.store(clock.tick());
        continue;
      }
      mine.entry.op.asked = clock.now();
      const auto held = mutex.lock_blocking();
      mine.entry.when = clock.begin();
      gap(i);
      clock.end(mine.entry.when);
      left.fetch_sub(1);
    }
  });
  CHECK(left == 0);
  std::vector<recorded<ownership>> owners;
  for (visit& one : visits) {
    owners.push_back(one.entry);
    owners.back().op.queued = one.queued.load();
  }
  return monitor_mutex(owners);
}

// ---- once by key --------------------------------------------------------------------------------

struct failed_run {
  std::uint64_t outcome;
};

// Look up, run, store.
struct naive_cache {
  template <class F>
  std::uint64_t run(int key, F f) {
    {
      const std::lock_guard lock(guard);
      const auto known = answers.find(key);
      if (known != answers.end()) return known->second;
    }
    const std::uint64_t answer = f();
    const std::lock_guard lock(guard);
    return answers[key] = answer;
  }
  void forget(int key) {
    const std::lock_guard lock(guard);
    answers.erase(key);
  }
  std::mutex guard;
  std::map<int, std::uint64_t> answers;
};
struct our_cache {
  template <class F>
  std::uint64_t run(int key, F f) {
    return *cache.run(key, interlock::fingerprint{17}, f);
  }
  void forget(int key) { cache.evict(key); }
  interlock::idempotency_cache<int, std::uint64_t> cache;
};

template <class Cache>
verdict once_verdict(std::size_t rounds) {
  ticket_clock clock;
  history<keyed_outcome> runs(clock, threads), replies(clock, threads), forgotten(clock, threads);
  std::atomic<std::uint64_t> next{1};
  Cache cache;
  support::run_threads(threads, [&](std::size_t me) {
    for (std::size_t i = 0; i < rounds; ++i) {
      const std::uint64_t key = i / 4 % 16;
      if (i % 64 == me) {
        forgotten.record(me, {key}, [&](auto&) { cache.forget(static_cast<int>(key)); });
      }
      const auto execute = [&] {
        const std::uint64_t mine = next.fetch_add(1);
        // ThreadSanitizer does not see how libstdc++ counts who holds an exception.
        const bool fails = !support::sanitized && mine % 5 == 0;
        runs.record(me, {key, mine, fails}, [&](auto&) { std::this_thread::yield(); });
        if (fails) throw failed_run{mine};
        return mine;
      };
      replies.record(me, {key}, [&](keyed_outcome& reply) {
        try {
          reply.outcome = cache.run(static_cast<int>(key), execute);
        } catch (const failed_run& failure) {
          reply.outcome = failure.outcome;
          reply.failed = true;
        }
      });
    }
  });
  return monitor_once(runs.operations(), replies.operations(), forgotten.operations());
}

// ---- transactions -------------------------------------------------------------------------------

constexpr std::size_t cells = 4;

// Each attempt is recorded, also those that are run again. A cell counts its own commits.
class attempts {
public:
  attempts(history<attempt>& all, std::size_t thread) : all_(all), thread_(thread) {}
  void begin() {
    end(false);
    open_ = std::make_unique<history<attempt>::call>(all_.begin(thread_, {}));
  }
  void end(bool committed) {
    if (open_ == nullptr) return;
    now_.committed = committed;
    open_->answer(std::move(now_));
    open_.reset();
    now_ = {};
  }
  std::uint64_t read(std::size_t cell, std::uint64_t version) {
    now_.reads.push_back({static_cast<std::uint32_t>(cell), version});
    return version;
  }
  void write(std::size_t cell, std::uint64_t version) {
    now_.writes.push_back({static_cast<std::uint32_t>(cell), version});
  }

private:
  history<attempt>& all_;
  std::size_t thread_;
  attempt now_;
  std::unique_ptr<history<attempt>::call> open_;
};

// Reads and commits cell by cell; each step is atomic, and the versions come out right.
struct naive_store {
  template <class Body>
  void operator()(attempts& book, Body body) {
    book.begin();
    body([&](std::size_t c) { return book.read(c, cell[c].load().value); },
         [&](std::size_t c, std::uint64_t) {
           gap(++turn);
           book.write(c, cell[c].update([](std::uint64_t& value) { ++value; }));
         });
    book.end(true);
  }
  interlock::versioned<std::uint64_t> cell[cells];
  std::atomic<std::size_t> turn{0};
};
struct our_store {
  template <class Body>
  void operator()(attempts& book, Body body) {
    interlock::atomically([&](interlock::transaction& t) {
      book.begin();
      body([&](std::size_t c) { return book.read(c, t.read(cell[c])); },
           [&](std::size_t c, std::uint64_t version) {
             book.write(c, version);
             t.write(cell[c], version);
           });
    });
    book.end(true);
  }
  interlock::versioned<std::uint64_t> cell[cells];
};

template <class Store>
verdict transaction_verdict(std::size_t rounds, std::size_t& aborted) {
  ticket_clock clock;
  history<attempt> all(clock, threads);
  Store store;
  support::run_threads(threads, [&](std::size_t me) {
    attempts book(all, me);
    for (std::size_t i = 0; i < rounds; ++i) {
      const std::size_t first = (i + me) % cells, second = (i / 2 + me + 1) % cells;
      store(book, [&](auto read, auto write) {
        const std::uint64_t seen = read(first);
        gap(i);
        if (second != first) {
          const std::uint64_t other = read(second);
          if (i % 4 == 1) write(second, other + 1);
        }
        if (i % 4 < 2) write(first, seen + 1);
      });
    }
  });
  const auto history = all.operations();
  for (const auto& one : history) aborted += one.op.committed ? 0U : 1U;
  return monitor_transactions(history);
}

}  // namespace

TEST_CASE("every answer of a counter fits into one order") {
  CHECK(counter_verdict<our_counter>(support::rounds(100'000)));
  CHECK(caught([] { return counter_verdict<naive_counter>(naive_rounds); }));
}

TEST_CASE("every answer of a bounded_counter fits into one order") {
  CHECK(bounded_verdict<our_bounded>(support::rounds(50'000)));
  CHECK(caught([] { return bounded_verdict<naive_bounded>(naive_rounds); }));
}

TEST_CASE("every answer of a versioned cell fits into one order") {
  CHECK(cell_verdict<our_cell>(support::rounds(100'000)));
  CHECK(caught([] { return cell_verdict<naive_cell>(naive_rounds); }));
}

TEST_CASE("every answer of a watermark fits into one order") {
  CHECK(peak_verdict<our_peak>(support::rounds(50'000)));
  CHECK(caught([] { return peak_verdict<naive_peak>(naive_rounds); }));
}

TEST_CASE("jobs of a serial_queue run once and one at a time in the order of their submissions") {
  CHECK(queue_verdict<our_queue<0>>(support::rounds(20'000)));
  CHECK(queue_verdict<our_queue<1>>(support::rounds(20'000)));
  CHECK(caught([] { return queue_verdict<no_queue>(naive_rounds); }));
}

TEST_CASE("owners of an async_mutex exclude each other and nobody is overtaken") {
  CHECK(our_mutex_verdict(support::rounds(20'000)));
  CHECK(caught([] { return naive_mutex_verdict(); }));
}

TEST_CASE("a key of an idempotency_cache is executed once and all callers get that answer") {
  CHECK(once_verdict<our_cache>(support::rounds(5'000)));
  CHECK(caught([] { return once_verdict<naive_cache>(naive_rounds); }));
}

TEST_CASE("attempts at transactions see one moment each, those that abort as well") {
  std::size_t aborted = 0;
  CHECK(transaction_verdict<our_store>(support::rounds(20'000), aborted));
  CHECK(aborted > 0);
  CHECK(caught([&] { return transaction_verdict<naive_store>(naive_rounds, aborted); }));
}
