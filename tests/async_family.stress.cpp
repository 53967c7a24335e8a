// SPDX-License-Identifier: BSL-1.0
// The async family all at once: coroutines and threads use every object in every form (plain, with
// a stop, with a deadline of either timer, going on elsewhere); coroutines are destroyed as they
// are let in, objects as early as they may be. Counted: who is in together with another, permits
// that are out beyond the limit, lost or made, and waits without a result. A wait that is lost
// stops the program. Negative control: some who are refused permits keep one.

#include <interlock/interlock.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <version>

#if defined(__cpp_lib_jthread)
#include <stop_token>
#endif

#include "support/catch.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/threads.hpp"

using namespace interlock;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t limit = 5;

// ---- what the coroutines run on -----------------------------------------------------------------

// An executor with a thread of its own.
class elsewhere {
public:
  elsewhere() : thread_([this] { run(); }) {}
  elsewhere(const elsewhere&) = delete;
  elsewhere& operator=(const elsewhere&) = delete;
  ~elsewhere() {
    execute({});
    thread_.join();
  }

  void execute(std::function<void()> job) {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    more_.notify_one();
  }
  // Effects: what was given before has been run.
  void catch_up() {
    std::latch done(1);
    execute([&done] { done.count_down(); });
    done.wait();
  }

private:
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      more_.wait(lock, [this] { return !jobs_.empty(); });
      const std::function<void()> job = std::move(jobs_.front());
      jobs_.pop_front();
      if (!job) return;
      lock.unlock();
      job();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<std::function<void()>> jobs_;
  std::thread thread_;
};

struct on {
  elsewhere* where;
  template <class F>
  void execute(F f) const {
    where->execute(std::move(f));
  }
};

// An executor for one coroutine that neither runs nor drops it before it is told to.
class hold_back {
public:
  struct executor {
    using moves_what_it_runs = void;
    hold_back* where;
    template <class F>
    void execute(F f) const {
      where->held_.emplace(std::move(f));
      where->has_it_.count_down();
    }
  };

  executor here() noexcept { return {this}; }
  void wait() const { has_it_.wait(); }
  void run() { (*held_)(); }
  void drop() { held_.reset(); }

private:
  std::optional<detail::resumption> held_;
  std::latch has_it_{1};
};

// ---- what is shared -----------------------------------------------------------------------------

// Where one may be at a time.
class section {
public:
  // Returns: true if nobody else was in.
  bool enter() noexcept {
    ++times_;  // a race, if somebody is
    entered_.fetch_add(1, std::memory_order_relaxed);
    return in_.fetch_add(1, std::memory_order_relaxed) == 0;
  }
  void leave() noexcept { in_.fetch_sub(1, std::memory_order_relaxed); }
  bool is_whole() const noexcept { return in_ == 0 && times_ == entered_; }

private:
  std::uint64_t times_ = 0;
  std::atomic<std::uint64_t> entered_{0};
  std::atomic<int> in_{0};
};

struct family {
  elsewhere other;
  timer_thread timer;
  manual_timer clock;

  async_mutex first, second;
  async_mutex bounded{max_waiters{2}};
  async_shared_mutex page;
  async_semaphore permits{limit};
  async_mutex door;
  async_condition filled;
  std::uint64_t letters = 0;  // under door
  async_auto_reset_event bell;
  async_manual_reset_event gate;
  watermark<std::uint64_t> mark{0};
  versioned<std::uint64_t> cell{0};

  section in_first, in_second, in_bounded, in_page;
  std::atomic<int> readers{0};
  std::atomic<std::uint32_t> out{0};

  std::atomic<std::uint64_t> asked{0};
  std::atomic<std::uint64_t> answered{0};
  std::atomic<std::uint64_t> faults{0};

  // Whether a permit is kept by those who are refused, now and then.
  bool keeps = false;

  void must(bool is) noexcept {
    if (!is) faults.fetch_add(1, std::memory_order_relaxed);
  }
  void refused() noexcept {
    if (!keeps) return;
    auto kept = permits.try_acquire();
    if (kept) static_cast<void>(kept.release());
  }
};

// Who stops a wait: one of both.
struct stops {
  inplace_stop_token near;
#if defined(__cpp_lib_jthread)
  std::stop_token far;
#else
  inplace_stop_token far;
#endif
};

// What is asked of each: its forms under one name.
struct lock {
  async_mutex& from;
  auto now(auto... stop) const { return from.lock(stop...); }
  auto until(auto& timer, auto at, auto... stop) const {
    return from.lock_until(timer, at, stop...);
  }
};
struct write_lock {
  async_shared_mutex& from;
  auto now(auto... stop) const { return from.lock(stop...); }
  auto until(auto& timer, auto at, auto... stop) const {
    return from.lock_until(timer, at, stop...);
  }
};
struct read_lock {
  async_shared_mutex& from;
  auto now(auto... stop) const { return from.lock_shared(stop...); }
  auto until(auto& timer, auto at, auto... stop) const {
    return from.lock_shared_until(timer, at, stop...);
  }
};
struct take {
  async_semaphore& from;
  std::uint32_t n;
  auto now(auto... stop) const { return from.acquire(n, stop...); }
  auto until(auto& timer, auto at, auto... stop) const {
    return from.acquire_until(timer, at, n, stop...);
  }
};
template <class Event>
struct hear {
  Event& from;
  auto now(auto... stop) const { return from.wait(stop...); }
  auto until(auto& timer, auto at, auto... stop) const {
    return from.wait_until(timer, at, stop...);
  }
};
struct both {
  async_mutex& one;
  async_mutex& two;
  auto now(auto... stop) const { return lock_all(one, two, stop...); }
  auto until(auto& timer, auto at, auto... stop) const {
    return lock_all_until(timer, at, one, two, stop...);
  }
};
template <class Holds>
struct letter {
  async_condition& from;
  async_condition::guard& held;
  Holds holds;
  auto now(auto... stop) const { return from.wait(held, holds, stop...); }
  auto until(auto& timer, auto at, auto... stop) const {
    return from.wait_until(timer, at, held, holds, stop...);
  }
};
struct higher {
  watermark<std::uint64_t>& from;
  std::uint64_t than;
  auto now(auto stop) const { return from.async_wait_for_at_least(than + 1, stop); }
  auto until(auto& timer, auto at, auto... stop) const {
    return from.async_wait_for_at_least_until(timer, at, than + 1, stop...);
  }
};
struct newer {
  versioned<std::uint64_t>& from;
  std::uint64_t than;
  auto now(auto stop) const { return from.async_wait(than, stop); }
  auto until(auto& timer, auto at, auto... stop) const {
    return from.async_wait_until(timer, at, than, stop...);
  }
};

using pick = std::minstd_rand;
inline unsigned one_of(pick& random, unsigned n) {
  return static_cast<unsigned>(random() >> 8) % n;
}

template <class Ask>
using result_of =
    decltype(std::declval<Ask&>().now(std::declval<inplace_stop_token>()).await_resume());

// Effects: waits in one of the forms, each of which a stop ends, or a deadline.
template <class Ask>
task<result_of<Ask>> any_form(family& all, pick& random, Ask ask, stops stop) {
  const auto soon = timer_thread::now() + std::chrono::microseconds(one_of(random, 200)) - 20us;
  const auto tick = all.clock.now() + std::chrono::nanoseconds(one_of(random, 4));
  all.asked.fetch_add(1, std::memory_order_relaxed);
  std::optional<result_of<Ask>> got;
  switch (one_of(random, 6)) {
    case 0: got.emplace(co_await ask.now(stop.near)); break;
    case 1: got.emplace(co_await ask.now(stop.far)); break;
    case 2: got.emplace(co_await ask.until(all.clock, tick)); break;
    case 3: got.emplace(co_await ask.until(all.timer, soon, stop.near)); break;
    case 4: got.emplace(co_await ask.now(stop.far).resume_on(on{&all.other})); break;
    default:
      got.emplace(co_await ask.until(all.clock, tick, stop.near).resume_on(on{&all.other}));
  }
  all.answered.fetch_add(1, std::memory_order_relaxed);
  co_return std::move(*got);
}

// ---- what they do -------------------------------------------------------------------------------

// Effects: is in for a moment, perhaps across a suspension.
task<> stay(family& all, pick& random, section& here) {
  all.must(here.enter());
  if (one_of(random, 3) == 0) co_await reschedule();
  here.leave();
}

task<> use_mutexes(family& all, pick& random, stops stop) {
  switch (one_of(random, 4)) {
    case 0: {
      const auto held = co_await any_form(all, random, lock{all.first}, stop);
      if (held) co_await stay(all, random, all.in_first);
      break;
    }
    case 1: {
      const auto held = co_await all.second.lock();
      co_await stay(all, random, all.in_second);
      all.must(held.owns_lock());
      break;
    }
    case 2: {
      const auto held = co_await any_form(all, random, lock{all.bounded}, stop);
      if (held) co_await stay(all, random, all.in_bounded);
      break;
    }
    default: {
      const auto held = co_await any_form(all, random, both{all.second, all.first}, stop);
      if (!held) break;
      co_await stay(all, random, all.in_first);
      co_await stay(all, random, all.in_second);
    }
  }
}

task<> use_page(family& all, pick& random, stops stop) {
  if (one_of(random, 3) == 0) {
    const auto held = co_await any_form(all, random, write_lock{all.page}, stop);
    if (!held) co_return;
    all.must(all.readers.load(std::memory_order_relaxed) == 0);
    co_await stay(all, random, all.in_page);
  } else {
    const auto held = co_await any_form(all, random, read_lock{all.page}, stop);
    if (!held) co_return;
    all.readers.fetch_add(1, std::memory_order_relaxed);
    if (one_of(random, 2) == 0) co_await reschedule();
    all.readers.fetch_sub(1, std::memory_order_relaxed);
  }
}

void is_out(family& all, std::uint32_t n) {
  all.must(all.out.fetch_add(n, std::memory_order_relaxed) + n <= limit);
}

task<> use_permits(family& all, pick& random, stops stop) {
  const std::uint32_t n = one_of(random, limit + 1);
  const auto got = co_await any_form(all, random, take{all.permits, n}, stop);
  if (!got) {
    all.refused();
    co_return;
  }
  is_out(all, n);
  if (one_of(random, 2) == 0) co_await reschedule();
  all.out.fetch_sub(n, std::memory_order_relaxed);
}

task<> use_condition(family& all, pick& random, stops stop) {
  auto held = co_await all.door.lock();
  if (one_of(random, 2) == 0) {
    ++all.letters;
    if (one_of(random, 2) == 0) held.unlock();
    one_of(random, 4) == 0 ? all.filled.notify_all() : all.filled.notify_one();
    co_return;
  }
  const letter wait{all.filled, held, [&all] { return all.letters != 0; }};
  const wait_status how = co_await any_form(all, random, wait, stop);
  all.must(held.owns_lock());
  if (how != wait_status::acquired) co_return;
  all.must(all.letters != 0);
  --all.letters;
}

task<> use_events(family& all, pick& random, stops stop) {
  switch (one_of(random, 5)) {
    case 0: all.bell.set(); break;
    case 1: all.gate.set(); break;
    case 2: all.gate.reset(); break;
    case 3: {
      static_cast<void>(co_await any_form(all, random, hear{all.gate}, stop));
      break;
    }
    default: {
      const wait_status how = co_await any_form(all, random, hear{all.bell}, stop);
      if (how == wait_status::acquired) all.bell.set();
    }
  }
}

task<> use_values(family& all, pick& random, stops stop) {
  const std::uint64_t high = all.mark.load();
  const auto seen = all.cell.load();
  switch (one_of(random, 4)) {
    case 0: all.mark.raise(high + 1); break;
    case 1: static_cast<void>(all.cell.compare_and_set(seen.version, seen.value + 1)); break;
    case 2: {
      const bool is = co_await any_form(all, random, higher{all.mark, high}, stop);
      all.must(!is || all.mark.load() > high);
      break;
    }
    default: {
      const auto next = co_await any_form(all, random, newer{all.cell, seen.version}, stop);
      all.must(!next || next->version > seen.version);
    }
  }
}

// Two at once, each of which is stopped with the whole.
task<> use_two(family& all, pick& random) {
  pick other(static_cast<unsigned>(random()));
  const auto one = [](family& in, pick& mine) -> task<int> {
    const inplace_stop_token stop = co_await current_stop_token();
    co_await use_mutexes(in, mine, {stop, {}});
    co_return 1;
  };
  const auto work = [&one](family& in, pick& left, pick& right) -> task<int> {
    const auto [a, b] = co_await when_all(one(in, left), one(in, right));
    co_return a + b;
  };
  const auto soon = timer_thread::now() + std::chrono::microseconds(one_of(random, 200));
  const int ended = co_await with_deadline(all.timer, soon, work(all, random, other));
  all.must(ended == 2);
}

task<> use_all(family& all, unsigned seed, stops stop) {
  pick random(seed);
  for (int i = 0; i < 6; ++i) {
    switch (one_of(random, 8)) {
      case 0: co_await use_page(all, random, stop); break;
      case 1: co_await use_permits(all, random, stop); break;
      case 2: co_await use_condition(all, random, stop); break;
      case 3: co_await use_events(all, random, stop); break;
      case 4: co_await use_values(all, random, stop); break;
      case 5: co_await use_two(all, random); break;
      default:
        co_await use_mutexes(all, random, stop);
    }
  }
}
support::detached runs(family& all, unsigned seed, stops stop, std::latch& done) {
  co_await use_all(all, seed, stop);
  done.count_down();
}

// What a thread does between them, if it owns nothing; or, up to a deadline, even so.
constexpr unsigned timed = 6;
constexpr unsigned untimed = 7;
void block(family& all, pick& random, unsigned which = untimed) {
  const auto soon = timer_thread::now() + std::chrono::microseconds(one_of(random, 100));
  switch (one_of(random, which)) {
    case 0: {
      const auto held = all.second.lock_blocking_until(soon);
      if (!held) break;
      all.must(all.in_second.enter());
      all.in_second.leave();
      break;
    }
    case 1: {
      const std::uint32_t n = one_of(random, limit);
      const auto got = all.permits.acquire_blocking_until(soon, n);
      if (!got) return all.refused();
      is_out(all, n);
      all.out.fetch_sub(n, std::memory_order_relaxed);
      break;
    }
    case 2: {
      const auto held = all.page.lock_blocking_until(soon);
      if (!held) break;
      all.must(all.readers.load(std::memory_order_relaxed) == 0 && all.in_page.enter());
      all.in_page.leave();
      break;
    }
    case 3:
      if (all.bell.wait_blocking_until(soon) == wait_status::acquired) all.bell.set();
      break;
    case 4: {
      auto held = all.door.lock_blocking();
      const auto has = [&all] { return all.letters != 0; };
      if (all.filled.wait_blocking_until(soon, held, has) == wait_status::acquired) --all.letters;
      break;
    }
    case timed: {
      const auto held = all.first.lock_blocking();
      all.must(held.owns_lock() && all.in_first.enter());
      all.in_first.leave();
      break;
    }
    default:
      static_cast<void>(all.mark.wait_for_at_least_until(all.mark.load() + 1, soon));
  }
}

// One that is let in, as `own` or another lets go, or stopped; and then runs or is destroyed, as
// its owner likes.
template <class Ask, class Guard>
void held_back(family& all, pick& random, Ask ask, Guard own) {
  const bool mine = own.owns_lock();
  hold_back slot;
  inplace_stop_source source;
  int results = 0;
  const auto waits = [](Ask what, hold_back::executor executor, inplace_stop_token stop,
                        int& count) -> support::owned {
    const auto got = co_await what.now(stop).resume_on(executor);
    static_cast<void>(got.owns_lock());
    ++count;
  };
  const support::owned one = waits(ask, slot.here(), source.get_token(), results);
  if (!one.handle.done()) {
    if (one_of(random, 2) == 0) all.other.execute([&source] { source.request_stop(); });
    if (mine) own = Guard();
    if (one_of(random, 4) == 0) block(all, random, timed);
    source.request_stop();
    slot.wait();
    const bool goes_on = one_of(random, 2) == 0;
    goes_on ? slot.run() : slot.drop();
    all.must(results == (goes_on ? 1 : 0));
  }
  one.handle.destroy();
  all.other.catch_up();  // the stop has returned
}

void destroy_waiters(family& all, pick& random) {
  switch (one_of(random, 6)) {
    case 0: return held_back(all, random, lock{all.first}, all.first.try_lock());
    case 1: return held_back(all, random, lock{all.bounded}, all.bounded.try_lock());
    case 2: return held_back(all, random, both{all.first, all.second}, all.first.try_lock());
    case 3: return held_back(all, random, write_lock{all.page}, all.page.try_lock_shared());
    case 4: return held_back(all, random, read_lock{all.page}, all.page.try_lock());
    default:
      return held_back(all, random, take{all.permits, one_of(random, limit)},
                       all.permits.try_acquire(limit));
  }
}

// ---- objects of its own, that go as early as they may
// -------------------------------------------------------

void is_told(family& all, std::latch& done) {
  all.answered.fetch_add(1, std::memory_order_relaxed);
  done.count_down();
}

// All who wait are let in, or told, and the event is gone. Their stop and their deadline come then.
void event_goes(family& all, pick& random) {
  auto event = std::make_unique<async_manual_reset_event>();
  inplace_stop_source source;
  std::latch done(3);
  const auto waits = [](family& in, auto wait, std::latch& told) -> support::detached {
    static_cast<void>(co_await wait);
    is_told(in, told);
  };
  const auto far = timer_thread::now() + 1h;
  const inplace_stop_token stop = source.get_token();
  all.asked.fetch_add(3, std::memory_order_relaxed);
  waits(all, event->wait_until(all.timer, far, stop), done);
  waits(all, event->wait(stop).resume_on(on{&all.other}), done);
  waits(all, event->wait_until(all.timer, far, stop).resume_on(on{&all.other}), done);
  one_of(random, 2) == 0 ? event->set() : event->close();
  if (one_of(random, 2) == 0) all.other.execute([&source] { source.request_stop(); });
  event.reset();
  source.request_stop();
  done.wait();
  all.other.catch_up();
}

// Some are let in, some stopped or late, and somebody closes: the last one destroys the event.
void last_one_goes(family& all, pick& random) {
  struct shared {
    async_auto_reset_event event;
    std::atomic<int> users{4};
    static void leave(shared* what) {
      if (what->users.fetch_sub(1, std::memory_order_acq_rel) == 1) delete what;
    }
  };
  auto* const object = new shared;
  inplace_stop_source source;
  std::latch done(3);
  const auto waits = [](family& in, shared* what, unsigned seed, inplace_stop_token stop,
                        std::latch& told) -> support::detached {
    pick mine(seed);
    static_cast<void>(co_await any_form(in, mine, hear{what->event}, {stop, {}}));
    shared::leave(what);
    told.count_down();
  };
  for (int i = 0; i < 3; ++i) {
    waits(all, object, static_cast<unsigned>(random()), source.get_token(), done);
  }
  all.other.execute([&source] { source.request_stop(); });
  object->event.set();
  object->event.close();
  shared::leave(object);
  done.wait();
  all.other.catch_up();
}

// One gives up at the head of the line, and it was for that one alone that the next one waited.
template <class Wide, class Narrow, class Object>
void next_one_goes_on(family& all, Object& object, Wide wide, Narrow narrow, auto then) {
  inplace_stop_source source;
  std::latch done(2);
  const auto waits = [](family& in, auto wait, bool expected,
                        std::latch& told) -> support::detached {
    const auto got = co_await wait;
    in.must(got.owns_lock() == expected);
    is_told(in, told);
  };
  all.asked.fetch_add(2, std::memory_order_relaxed);
  waits(all, wide(object, source.get_token()), false, done);
  waits(all, narrow(object), true, done);
  all.other.execute([&source] { source.request_stop(); });
  then();
  done.wait();
  all.other.catch_up();
}
void head_gives_up(family& all, pick& random) {
  if (one_of(random, 2) == 0) {
    async_semaphore permits(0, 2);
    next_one_goes_on(
        all, permits, [](auto& from, auto stop) { return from.acquire(2, stop); },
        [](auto& from) { return from.acquire(1); }, [&permits] { permits.release(1); });
  } else {
    async_shared_mutex page;
    const auto reads = page.lock_shared_blocking();
    next_one_goes_on(
        all, page, [](auto& from, auto stop) { return from.lock(stop); },
        [](auto& from) { return from.lock_shared(); }, [] {});
    all.must(reads.owns_lock());
  }
}

// One needs what three give, stopped in between or not, and is the last to know the semaphore.
void semaphore_goes(family& all, pick& random) {
  auto* const permits = new async_semaphore(0, 3);
  inplace_stop_source source;
  std::latch done(1);
  const auto waits = [](family& in, async_semaphore* from, inplace_stop_token stop, bool moves,
                        std::latch& told) -> support::detached {
    in.asked.fetch_add(1, std::memory_order_relaxed);
    auto got = co_await from->acquire(3, stop);
    if (!got) {
      if (moves) {
        got = co_await from->acquire(3).resume_on(on{&in.other});
      } else {
        got = co_await from->acquire(3);
      }
    }
    in.must(got.release() == 3);
    delete from;
    is_told(in, told);
  };
  waits(all, permits, source.get_token(), one_of(random, 2) == 0, done);
  all.other.execute([&source] { source.request_stop(); });
  all.other.execute([permits] { permits->release(1); });
  permits->release(1);
  permits->release(1);
  done.wait();
  all.other.catch_up();
}

// The last owner destroys what it has unlocked: waits alone end early, none of them for good.
template <class Mutex, class Lock>
void mutex_goes(family& all, pick& random) {
  struct shared {
    Mutex door;
    int left = 5;  // under door
    static void leave(shared* what, typename Mutex::guard held) {
      const bool last = --what->left == 0;
      held.unlock();
      if (last) delete what;
    }
  };
  auto* const object = new shared;
  inplace_stop_source source;
  std::latch done(4);
  const auto waits = [](family& in, shared* what, unsigned seed, inplace_stop_token stop,
                        std::latch& told) -> support::detached {
    pick mine(seed);
    auto held = co_await any_form(in, mine, Lock{what->door}, {stop, {}});
    if (!held) held = co_await what->door.lock();
    shared::leave(what, std::move(held));
    told.count_down();
  };
  const auto start = [&] {
    waits(all, object, static_cast<unsigned>(random()), source.get_token(), done);
  };
  start();
  all.other.execute([&all, &waits, object, &source, &done, seed = static_cast<unsigned>(random())] {
    waits(all, object, seed, source.get_token(), done);
    waits(all, object, seed + 1, source.get_token(), done);
    source.request_stop();
  });
  start();
  shared::leave(object, object->door.lock_blocking());
  done.wait();
  all.other.catch_up();
}

// All who wait are notified, and the last one destroys condition and mutex.
void condition_goes(family& all, pick& random) {
  struct shared {
    async_mutex door;
    async_condition open;
    bool is_open = false;  // these under door
    int left = 4;
    static void leave(shared* what, async_mutex::guard held) {
      const bool last = --what->left == 0;
      held.unlock();
      if (last) delete what;
    }
  };
  auto* const object = new shared;
  inplace_stop_source source;
  std::latch done(3);
  const auto waits = [](family& in, shared* what, unsigned seed, inplace_stop_token stop,
                        std::latch& told) -> support::detached {
    pick mine(seed);
    auto held = co_await what->door.lock();
    const letter wait{what->open, held, [what] { return what->is_open; }};
    const wait_status how = co_await any_form(in, mine, wait, {stop, {}});
    in.must((how == wait_status::acquired) <= what->is_open);
    shared::leave(what, std::move(held));
    told.count_down();
  };
  for (int i = 0; i < 3; ++i) {
    waits(all, object, static_cast<unsigned>(random()), source.get_token(), done);
  }
  if (one_of(random, 2) == 0) all.other.execute([&source] { source.request_stop(); });
  auto held = object->door.lock_blocking();
  object->is_open = true;
  object->open.notify_all();
  shared::leave(object, std::move(held));
  done.wait();
  all.other.catch_up();
}

void use_own(family& all, pick& random) {
  switch (one_of(random, 7)) {
    case 0: return event_goes(all, random);
    case 1: return last_one_goes(all, random);
    case 2: return semaphore_goes(all, random);
    case 3: return mutex_goes<async_mutex, lock>(all, random);
    case 4: return mutex_goes<async_shared_mutex, write_lock>(all, random);
    case 5: return condition_goes(all, random);
    default: return head_gives_up(all, random);
  }
}

// Effects: starts coroutines, blocks and destroys meanwhile, stops what is left, and waits.
void one_round(family& all, pick& random) {
  constexpr int coroutines = 16;
  inplace_stop_source near;
#if defined(__cpp_lib_jthread)
  std::stop_source far;
#else
  inplace_stop_source far;
#endif
  std::latch done(coroutines);
  for (int i = 0; i < coroutines; ++i) {
    runs(all, static_cast<unsigned>(random()), {near.get_token(), far.get_token()}, done);
  }
  for (unsigned i = one_of(random, 8); i != 0; --i) {
    switch (one_of(random, 4)) {
      case 0: destroy_waiters(all, random); break;
      case 1: use_own(all, random); break;
      default:
        block(all, random);
    }
  }
  const bool here = one_of(random, 2) == 0;
  if (here) far.request_stop();
  if (one_of(random, 2) == 0) {
    std::latch stopped(1);
    all.other.execute([&] {
      near.request_stop();
      stopped.count_down();
    });
    stopped.wait();
  } else {
    near.request_stop();
  }
  if (!here) far.request_stop();
  done.wait();
}

std::uint64_t faults_of(std::size_t rounds, unsigned seed, bool keeps = false) {
  family all;
  all.keeps = keeps;
  std::atomic<int> at_work{2};
  support::run_threads(3, [&](std::size_t id) {
    pick random(seed * 7 + static_cast<unsigned>(id));
    if (id == 2) {  // tells the time
      while (at_work.load() != 0) {
        all.clock.advance_to(all.clock.now() + 1ns);
        std::this_thread::yield();
      }
      return;
    }
    for (std::size_t i = 0; i < rounds; ++i) one_round(all, random);
    at_work.fetch_sub(1);
  });
  all.other.catch_up();
  all.must(all.asked == all.answered);
  for (const section* each : {&all.in_first, &all.in_second, &all.in_bounded, &all.in_page}) {
    all.must(each->is_whole());
  }
  for (const async_mutex* each : {&all.first, &all.second, &all.bounded, &all.door}) {
    all.must(!each->held());
  }
  all.must(!all.page.held() && all.out == 0 && all.permits.available_approx() == limit);
  return all.faults;
}

}  // namespace

TEST_CASE("the async family all at once: nothing is lost, made, or had by two") {
  CHECK(faults_of(support::rounds(6'000), 1) == 0);
}

TEST_CASE("permits that are kept by those who were refused are missed") {
  CHECK(faults_of(100, 1, true) != 0);
}
