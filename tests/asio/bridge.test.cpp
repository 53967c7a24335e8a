// SPDX-License-Identifier: BSL-1.0
// Locks, permits and events as operations of Asio: every completion token, where the handler runs,
// cancellation, deadlines, memory, and contexts that are destroyed while operations wait.

#include "which_asio.hpp"

#include <interlock/async_event.hpp>
#include <interlock/async_mutex.hpp>
#include <interlock/async_semaphore.hpp>
#include <interlock/async_shared_mutex.hpp>
#include <interlock/manual_timer.hpp>
#include <interlock/task.hpp>
#include <interlock/timer.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/permits.hpp"
#include "support/threads.hpp"

using interlock::async_acquire;
using interlock::async_acquire_until;
using interlock::async_auto_reset_event;
using interlock::async_manual_reset_event;
using interlock::async_lock;
using interlock::async_lock_shared;
using interlock::async_lock_shared_until;
using interlock::async_lock_until;
using interlock::async_mutex;
using interlock::async_semaphore;
using interlock::async_shared_mutex;
using interlock::async_wait;
using interlock::async_wait_until;
using interlock::asio_executor;
using interlock::asio_timer;
using interlock::error_of;
using interlock::manual_timer;
using interlock::max_waiters;
using interlock::wait_status;
using std::chrono::steady_clock;

static_assert(interlock::timer<asio_timer>);

namespace {

// Any place serves: this one gives a wait_status instead of a guard.
struct gate {
  support::permits permits;
  auto wait(auto stop) { return permits.take_unless(stop); }
  auto wait_until(auto& timer, auto deadline, auto stop) {
    return permits.take_until(timer, deadline, stop);
  }
};

// What a handler has told.
struct result {
  error_code error;
  bool owns = false;
  int calls = 0;
};

// A handler that keeps the lock in `held`, on the executor.
auto into(result& told, async_mutex::guard& held, const net::any_io_executor& executor) {
  return net::bind_executor(executor, [&](error_code error, async_mutex::guard got) {
    ++told.calls;
    told.error = error;
    told.owns = got.owns_lock();
    held = std::move(got);
  });
}
auto into(result& told, const net::any_io_executor& executor) {
  return net::bind_executor(executor, [&](error_code error, async_mutex::guard got) {
    ++told.calls;
    told.error = error;
    told.owns = got.owns_lock();
  });
}

bool is_free(async_mutex& mutex) { return !mutex.held() && mutex.waiters_approx() == 0; }

struct account {
  async_mutex door;
  int balance = 0;
};

net::awaitable<void> audit() {
  co_await net::post(co_await net::this_coro::executor, net::use_awaitable);
}

net::awaitable<void> naive_deposit(account& to, int amount) {
  const int before = to.balance;
  co_await audit();
  to.balance = before + amount;
}

net::awaitable<void> deposit(account& to, int amount) {
  const auto held = co_await async_lock(to.door, net::use_awaitable);
  co_await naive_deposit(to, amount);
}

template <class Deposit>
int fifty(Deposit each) {
  account shared;
  net::io_context io;
  for (int i = 0; i < 50; ++i) net::co_spawn(io, each(shared, 10), net::detached);
  io.run();
  return shared.balance;
}

}  // namespace

// ---- completion tokens --------------------------------------------------------------------------

TEST_CASE("fifty coroutines of Asio read, await and write one balance") {
  CHECK(fifty(naive_deposit) == 10);  // each has read 0
  CHECK(fifty(deposit) == 500);
}

TEST_CASE("a callback, a future and a coroutine wait in one line") {
  net::io_context io;
  async_mutex mutex;
  std::vector<std::string> log;
  auto held = mutex.try_lock();
  async_lock(mutex, net::bind_executor(io, [&](error_code, async_mutex::guard got) {
    log.emplace_back(got ? "callback" : "refused");
  }));
  net::co_spawn(
      io,
      [&]() -> net::awaitable<void> {
        const auto mine = co_await async_lock(mutex, net::use_awaitable);
        log.emplace_back("awaitable");
      },
      net::detached);
  io.poll();
  auto future = async_lock(mutex, net::bind_executor(io, net::use_future));
  [](async_mutex& door, std::vector<std::string>& told) -> support::detached {
    const auto mine = co_await door.lock();
    told.emplace_back("plain coroutine");
  }(mutex, log);
  CHECK(log.empty());
  held.unlock();
  io.restart();
  io.run();
  CHECK(log == std::vector<std::string>{"callback", "awaitable"});
  future.get().unlock();
  CHECK(log.back() == "plain coroutine");
  CHECK(is_free(mutex));
}

TEST_CASE("a token may be deferred, give a tuple, or have a default executor") {
  net::io_context io;
  async_mutex mutex;
  auto later = async_lock(mutex, deferred);  // starts nothing
  CHECK(is_free(mutex));
  result told;
  std::move(later)(into(told, io.get_executor()));
  CHECK(mutex.held());
  io.run();
  CHECK(told.calls == 1);
  CHECK(told.owns);
  CHECK(is_free(mutex));

  mutex.close();
  std::string text;
  std::exception_ptr thrown;
  net::co_spawn(
      io,
      [&]() -> net::awaitable<void> {
        auto [error, got] = co_await async_lock(mutex, as_tuple(net::use_awaitable));
        text = error.message();
        const auto never = co_await async_lock(mutex, net::use_awaitable);
      },
      [&](std::exception_ptr e) { thrown = e; });
  io.restart();
  io.run();
  CHECK(text == "closed");
  REQUIRE(thrown);
  CHECK_THROWS_AS(std::rethrow_exception(thrown), system_error);

  async_mutex open;
  CHECK(async_lock(open, net::use_future).get().owns_lock());  // on Asio's system threads
  static std::promise<bool> owned;
  async_lock(open, [](error_code, async_mutex::guard got) {
    const bool owns = got.owns_lock();
    got.unlock();  // before `open` may go
    owned.set_value(owns);
  });
  CHECK(owned.get_future().get());
}

TEST_CASE("a wait that is first in a composed operation lets the other go") {
  using namespace net::experimental::awaitable_operators;
  net::io_context io;
  gate door;
  std::vector<std::size_t> first;
  net::co_spawn(
      io,
      [&]() -> net::awaitable<void> {
        net::steady_timer at_once(io, steady_clock::now());
        net::steady_timer never(io, steady_clock::time_point::max());
        const auto a = co_await (async_wait(door, net::use_awaitable) ||
                                 at_once.async_wait(net::use_awaitable));
        first.push_back(a.index());
        door.permits.give();
        const auto b = co_await (async_wait(door, net::use_awaitable) ||
                                 never.async_wait(net::use_awaitable));
        first.push_back(b.index());
      },
      net::detached);
  io.run();
  CHECK(first == std::vector<std::size_t>{1, 0});
  CHECK(door.permits.free() == 0);
}

TEST_CASE("readers, permits and events wait as operations") {
  net::io_context io;
  async_shared_mutex book;
  async_semaphore seats(1);
  async_manual_reset_event open;
  manual_timer timer;
  const auto soon = timer.now() + std::chrono::seconds(1);
  std::vector<std::string> log;
  const auto tells = [&](const char* what) {
    return net::bind_executor(io, [&log, what](error_code error, auto... got) {
      log.push_back(what + std::string(": ") + (error ? error.message() : "acquired"));
      (static_cast<void>(got), ...);
    });
  };
  auto writer = book.try_lock();
  auto seated = seats.try_acquire();
  async_lock_shared(book, tells("reader"));
  async_acquire(seats, 1, tells("guest"));
  async_wait(open, tells("event"));
  io.poll();
  CHECK(log.empty());
  writer.unlock();
  io.poll();
  seated.give_back();
  io.poll();
  open.set();
  io.restart();
  io.run();
  CHECK(log == std::vector<std::string>{"reader: acquired", "guest: acquired", "event: acquired"});

  log.clear();
  open.reset();
  writer = book.try_lock();
  seated = seats.try_acquire();
  async_lock_shared_until(book, timer, soon, tells("reader"));
  async_acquire_until(seats, timer, soon, 1, tells("guest"));
  async_wait_until(open, timer, soon, tells("event"));
  timer.advance_to(soon);
  io.restart();
  io.run();
  const std::string late = ": " + error_code(net::error::timed_out).message();
  CHECK(log == std::vector<std::string>{"reader" + late, "guest" + late, "event" + late});
}

// ---- where and when -----------------------------------------------------------------------------

TEST_CASE("An operation ends on the executor of its handler and never inside the call that began it") {
  net::thread_pool pool(2);
  net::io_context io;
  async_mutex mutex;
  result told;
  async_mutex::guard held;
  async_lock(mutex, into(told, held, io.get_executor()));  // free, and yet
  CHECK(told.calls == 0);
  CHECK(mutex.held());
  io.run();
  CHECK(told.calls == 1);
  CHECK(held.owns_lock());

  // Unlocked on this thread, it goes on in the pool, in its strand.
  const auto strand = net::make_strand(pool);
  std::promise<bool> in_strand;
  async_lock(mutex, net::bind_executor(strand, [&](error_code, async_mutex::guard) {
    in_strand.set_value(strand.running_in_this_thread());
  }));
  held.unlock();
  CHECK(in_strand.get_future().get());

  // An unlock on the executor's own thread does not call the handler inside.
  std::vector<std::string> log;
  auto mine = mutex.lock_blocking();
  async_lock(mutex, net::bind_executor(io, [&](error_code, async_mutex::guard) {
    log.emplace_back("handler");
  }));
  net::post(io, [&] {
    mine.unlock();
    log.emplace_back("after unlock");
  });
  io.restart();
  io.run();
  CHECK(log == std::vector<std::string>{"after unlock", "handler"});
  pool.join();
}

TEST_CASE("An io_context that waits for a lock has work") {
  net::io_context io;
  async_mutex mutex;
  auto held = mutex.try_lock();
  result told;
  async_lock(mutex, into(told, io.get_executor()));
  CHECK(io.poll() == 0);
  CHECK_FALSE(io.stopped());
  std::thread other([&] { held.unlock(); });
  io.run();  // would return at once, or for ever wait
  other.join();
  CHECK(told.owns);
  CHECK(is_free(mutex));
}

TEST_CASE("a handler that throws leaves run and not the lock") {
  net::io_context io;
  async_mutex mutex;
  async_lock(mutex, net::bind_executor(io, [](error_code, async_mutex::guard) {
    throw std::runtime_error("handler");
  }));
  CHECK_THROWS_AS(io.run(), std::runtime_error);
  CHECK(is_free(mutex));
}

TEST_CASE("a handler that leaves the guard where it is may own the mutex") {
  net::io_context io;
  auto mutex = std::make_unique<async_mutex>();
  async_mutex& door = *mutex;
  bool owns = false;
  async_lock(door, net::bind_executor(io, [&owns, own = std::move(mutex)](error_code,
                                                                          const auto& got) {
    owns = got.owns_lock();
  }));
  io.run();
  CHECK(owns);
}

TEST_CASE("a handler may own what it waits for, and cannot be copied") {
  net::io_context io;
  auto mutex = std::make_unique<async_mutex>();
  async_mutex& door = *mutex;
  auto held = door.try_lock();
  bool last = false;
  async_lock(door, net::bind_executor(io, [&last, own = std::move(mutex)](error_code,
                                                                          async_mutex::guard got) {
    last = got.owns_lock();
    got.unlock();
  }));
  held.unlock();
  io.run();
  CHECK(last);
}

// ---- how it ends --------------------------------------------------------------------------------

TEST_CASE("The cancellation slot of a handler ends its wait with operation_aborted") {
  for (const auto kind : {net::cancellation_type::terminal, net::cancellation_type::partial,
                          net::cancellation_type::total}) {
    net::io_context io;
    async_mutex mutex;
    net::cancellation_signal cancel;
    const auto held = mutex.try_lock();
    result told;
    async_lock(mutex, net::bind_cancellation_slot(cancel.slot(), into(told, io.get_executor())));
    cancel.emit(net::cancellation_type::none);
    CHECK(mutex.waiters_approx() == 1);
    cancel.emit(kind);
    CHECK(mutex.waiters_approx() == 0);
    CHECK(told.calls == 0);  // not inside emit either
    io.run();
    CHECK(told.calls == 1);
    CHECK(told.error == net::error::operation_aborted);
    CHECK_FALSE(told.owns);
  }
}

TEST_CASE("a cancellation that comes too late takes nothing away") {
  net::io_context io;
  async_mutex mutex;
  net::cancellation_signal cancel;
  auto held = mutex.try_lock();
  result told;
  async_lock(mutex, net::bind_cancellation_slot(cancel.slot(), into(told, io.get_executor())));
  held.unlock();
  cancel.emit(net::cancellation_type::total);  // granted already
  io.run();
  CHECK(told.owns);
  CHECK_FALSE(told.error);
  cancel.emit(net::cancellation_type::total);  // over
  CHECK(is_free(mutex));

  net::cancellation_signal unused;
  async_lock(mutex, net::bind_cancellation_slot(unused.slot(), into(told, io.get_executor())));
  io.restart();
  io.run();
  unused.emit(net::cancellation_type::total);
  CHECK(told.calls == 2);
  CHECK(told.owns);
}

TEST_CASE("a signal may go before the operation, and the operation before the signal") {
  async_mutex mutex;
  const auto held = mutex.try_lock();
  net::cancellation_signal outlives;
  result told;
  {
    net::io_context io;
    {
      net::cancellation_signal gone;
      async_lock(mutex, net::bind_cancellation_slot(gone.slot(), into(told, io.get_executor())));
    }
    async_lock(mutex, net::bind_cancellation_slot(outlives.slot(), into(told, io.get_executor())));
    CHECK(mutex.waiters_approx() == 2);
  }
  CHECK(mutex.waiters_approx() == 0);
  outlives.emit(net::cancellation_type::total);
  CHECK(told.calls == 0);
}

TEST_CASE("deadlines, close and a bound are errors with a name") {
  net::io_context io;
  async_mutex mutex(max_waiters{1});
  manual_timer timer;
  const auto soon = timer.now() + std::chrono::seconds(1);
  auto held = mutex.try_lock();
  result late;
  result refused;
  async_lock_until(mutex, timer, soon, into(late, io.get_executor()));
  async_lock(mutex, into(refused, io.get_executor()));
  io.poll();
  CHECK(refused.error == error_of(wait_status::overloaded));
  CHECK(refused.error.message() == "overloaded");
  CHECK(std::string(refused.error.category().name()) == "interlock.wait_status");
  CHECK(late.calls == 0);
  timer.advance_to(soon);
  io.restart();
  io.poll();
  CHECK(late.error == net::error::timed_out);

  result closed;
  async_lock(mutex, into(closed, io.get_executor()));
  mutex.close();
  io.restart();
  io.run();
  CHECK(closed.error == error_of(wait_status::closed));
  CHECK_FALSE(closed.owns);
  CHECK_FALSE(error_of(wait_status::acquired));
}

// ---- memory -------------------------------------------------------------------------------------

namespace {

// Counts what is taken from it and not given back.
template <class T>
struct counting_allocator {
  using value_type = T;
  explicit counting_allocator(int& blocks) noexcept : live(&blocks) {}
  template <class U>
  counting_allocator(const counting_allocator<U>& other) noexcept : live(other.live) {}
  T* allocate(std::size_t n) {
    ++*live;
    return std::allocator<T>().allocate(n);
  }
  void deallocate(T* at, std::size_t n) noexcept {
    --*live;
    std::allocator<T>().deallocate(at, n);
  }
  friend bool operator==(const counting_allocator&, const counting_allocator&) = default;

  int* live;
};

struct with_allocator {
  using allocator_type = counting_allocator<void>;
  using executor_type = net::io_context::executor_type;
  allocator_type get_allocator() const noexcept { return allocator_type(*live); }
  executor_type get_executor() const noexcept { return executor; }
  void operator()(error_code, async_mutex::guard) { *left = *live; }

  int* live;
  int* left;
  executor_type executor;
};

}  // namespace

TEST_CASE("an operation lives in its handler's memory, which it has given back before the call") {
  net::io_context io;
  async_mutex mutex;
  auto held = mutex.try_lock();
  int live = 0;
  int left = -1;
  async_lock(mutex, with_allocator{&live, &left, io.get_executor()});
  CHECK(live == 1);
  held.unlock();
  CHECK(live == 2);  // the call, on its way
  io.run();
  CHECK(left == 0);
  CHECK(live == 0);
}

TEST_CASE("an operation on a thread of Asio allocates nothing once its memory is there") {
  net::io_context io(1);
  async_mutex mutex;
  std::size_t before = 0;
  int turns = 0;
  std::function<void()> begin = [&] {
    auto held = mutex.try_lock();
    async_lock(mutex, net::bind_executor(io, [&](error_code, async_mutex::guard) {
      if (++turns == 10) before = support::allocations();
      if (turns < 1000) net::post(io, [&] { begin(); });
    }));
  };
  net::post(io, [&] { begin(); });
  io.run();
  CHECK(turns == 1000);
  CHECK(support::allocations() == before);
}

// ---- contexts that go ---------------------------------------------------------------------------

TEST_CASE("An io_context that is destroyed leaves no waiter behind") {
  async_mutex mutex;
  auto held = mutex.try_lock();
  auto alive = std::make_shared<int>();
  {
    net::io_context io;
    for (int i = 0; i < 3; ++i) {
      async_lock(mutex, net::bind_executor(io, [alive](error_code, async_mutex::guard) {
        FAIL("its context is gone");
      }));
    }
    net::co_spawn(
        io,
        [&, alive]() -> net::awaitable<void> {
          const auto never = co_await async_lock(mutex, net::use_awaitable);
          FAIL("its context is gone");
        },
        net::detached);
    io.poll();
    CHECK(mutex.waiters_approx() == 4);
  }
  CHECK(mutex.waiters_approx() == 0);
  CHECK(alive.use_count() == 1);
  held.unlock();
  CHECK(is_free(mutex));
}

TEST_CASE("A lock that nobody took over is passed on") {
  async_mutex mutex;
  result told;
  net::io_context stays;
  auto held = mutex.try_lock();
  {
    net::io_context goes;
    result never;
    async_lock(mutex, into(never, goes.get_executor()));
    async_lock(mutex, into(never, goes.get_executor()));
    async_lock(mutex, into(told, stays.get_executor()));
    held.unlock();  // to the first, whose handler is posted and will not run
    CHECK(stays.poll() == 0);
  }
  stays.restart();
  stays.run();
  CHECK(told.owns);
  CHECK(is_free(mutex));
}

TEST_CASE("a context that is destroyed may be the one of the deadlines, too") {
  async_mutex mutex;
  const auto held = mutex.try_lock();
  result told;
  {
    net::io_context io;
    const asio_timer::time_point far = steady_clock::now() + std::chrono::hours(1);
    asio_timer timer(io.get_executor());  // gone before the wait that has an alarm of it
    async_lock_until(mutex, timer, far, into(told, io.get_executor()));
    async_lock_until(mutex, timer, far, into(told, net::make_strand(io)));
    io.poll();
    CHECK(mutex.waiters_approx() == 2);
  }
  {
    net::thread_pool pool(1);
    asio_timer timer(pool.get_executor());
    async_lock_until(mutex, timer, steady_clock::now() + std::chrono::hours(1),
                     into(told, pool.get_executor()));
  }
  CHECK(mutex.waiters_approx() == 0);
  CHECK(told.calls == 0);
}

TEST_CASE("the set of an auto-reset event that nobody took over is passed on") {
  async_auto_reset_event ready;
  async_manual_reset_event open;
  int calls = 0;
  net::io_context stays;
  {
    net::io_context goes;
    auto never = net::bind_executor(goes, [](error_code) { FAIL("its context is gone"); });
    async_wait(ready, never);
    async_wait(open, never);
    async_wait(ready, net::bind_executor(stays, [&](error_code error) { calls += error ? 0 : 1; }));
    ready.set();
    open.set();
    CHECK(open.reset());
    CHECK(stays.poll() == 0);
  }
  stays.restart();
  stays.run();
  CHECK(calls == 1);
  CHECK_FALSE(ready.reset());
  CHECK_FALSE(open.reset());
}

TEST_CASE("a strand that is destroyed with its context may have let in any number") {
  const std::size_t many = support::rounds(200'000);
  async_mutex mutex;
  auto alive = std::make_shared<int>();
  {
    net::io_context io;
    auto held = mutex.try_lock();
    async_lock(mutex, net::bind_executor(io, [](error_code, async_mutex::guard) {}));
    const auto strand = net::make_strand(io);  // made after the first wait
    for (std::size_t i = 0; i < many; ++i) {
      async_lock(mutex, net::bind_executor(strand, [alive](error_code, async_mutex::guard) {
        FAIL("its context is gone");
      }));
    }
    held.unlock();
    CHECK(io.poll_one() == 1);  // lets in the first of the strand
  }
  CHECK(alive.use_count() == 1);
  CHECK(is_free(mutex));
}

namespace {

struct begins_another {
  ~begins_another() {
    if (mutex != nullptr) {
      async_lock(*mutex, net::bind_executor(executor, [](error_code, async_mutex::guard) {}));
    }
  }
  begins_another(async_mutex& at, const net::any_io_executor& on) : mutex(&at), executor(on) {}
  begins_another(begins_another&& other) noexcept
      : mutex(std::exchange(other.mutex, nullptr)), executor(other.executor) {}
  async_mutex* mutex;
  net::any_io_executor executor;
};

}  // namespace

TEST_CASE("a handler that is destroyed with its context may begin its first wait") {
  async_mutex mutex;
  const auto held = mutex.try_lock();
  {
    net::io_context io;
    net::post(io, [at_end = begins_another(mutex, io.get_executor())] {});
  }
  CHECK(mutex.waiters_approx() == 0);
}

TEST_CASE("a handler that is destroyed with its context may own the lock and begin a wait") {
  async_mutex first;
  async_mutex second;
  {
    const auto held = first.try_lock();
    const auto also = second.try_lock();
    net::io_context io;
    async_lock(first, net::bind_executor(io, [at_end = begins_another(second, io.get_executor())](
                                                 error_code, async_mutex::guard) {}));
  }
  CHECK(is_free(first));
  CHECK(is_free(second));
}

// ---- the timer and the executor -----------------------------------------------------------------

TEST_CASE("a timer of Asio ends waits of any kind") {
  net::io_context io;
  async_mutex mutex;
  asio_timer timer(io.get_executor());
  const auto held = mutex.try_lock();
  result told;
  async_lock_until(mutex, timer, timer.now() + std::chrono::milliseconds(1),
                   into(told, io.get_executor()));
  std::optional<wait_status> plain;
  [](async_mutex& door, asio_timer& clock, std::optional<wait_status>& how) -> support::detached {
    const auto got =
        co_await door.lock_until(clock, steady_clock::now() + std::chrono::milliseconds(1));
    how = got.status();
  }(mutex, timer, plain);
  CHECK_FALSE(plain);
  io.run();
  CHECK(told.error == net::error::timed_out);
  CHECK(plain == wait_status::timed_out);

  std::optional<wait_status> past;  // ends in place
  [](async_mutex& door, asio_timer& clock, std::optional<wait_status>& how) -> support::detached {
    const auto got = co_await door.lock_until(clock, steady_clock::now());
    how = got.status();
  }(mutex, timer, past);
  CHECK(past == wait_status::timed_out);
}

TEST_CASE("An alarm that is destroyed is not being called on another thread") {
  net::thread_pool pool(1);
  asio_timer timer(pool.get_executor());
  struct takes_long {
    std::atomic<bool>* begun;
    int* done;  // plain: a race if somebody looks meanwhile
    void operator()() const noexcept {
      begun->store(true, std::memory_order_release);
      for (int i = 0; i < 1000; ++i) std::this_thread::yield();
      ++*done;
    }
  };
  for (std::size_t i = 0; i < support::rounds(50); ++i) {
    std::atomic<bool> begun{false};
    int done = 0;
    {
      const asio_timer::alarm<takes_long> ring(
          timer, steady_clock::now() + std::chrono::microseconds(50), takes_long{&begun, &done});
      if (i % 2 == 0) {
        while (!begun.load(std::memory_order_acquire)) std::this_thread::yield();
      }
    }
    CHECK(done == (begun.load(std::memory_order_relaxed) ? 1 : 0));
  }
  pool.join();
}

TEST_CASE("an alarm may be destroyed by its own call") {
  net::io_context io;
  asio_timer timer(io.get_executor());
  struct destroys {
    std::optional<asio_timer::alarm<destroys>>* self;
    int* calls;
    void operator()() const noexcept {
      ++*calls;
      self->reset();
    }
  };
  std::optional<asio_timer::alarm<destroys>> ring;
  int calls = 0;
  ring.emplace(timer, steady_clock::now() + std::chrono::microseconds(100), destroys{&ring, &calls});
  io.run();
  CHECK(calls == 1);
  CHECK_FALSE(ring);
}

TEST_CASE("a coroutine that the call of an alarm lets in goes on when the call is over") {
  net::io_context io;
  asio_timer timer(io.get_executor());
  async_mutex mutex;
  auto held = mutex.try_lock();
  std::vector<std::string> log;
  struct unlocks {
    async_mutex::guard* held;
    std::vector<std::string>* log;
    void operator()() const noexcept {
      held->unlock();
      log->emplace_back("called");
    }
  };
  [](async_mutex& door, std::vector<std::string>& told) -> support::detached {
    const auto got = co_await door.lock();
    told.emplace_back("coroutine");
  }(mutex, log);
  const asio_timer::alarm<unlocks> ring(timer, timer.now() + std::chrono::milliseconds(1),
                                        unlocks{&held, &log});
  io.run();
  CHECK(log == std::vector<std::string>{"called", "coroutine"});
}

TEST_CASE("resume_on takes a plain coroutine to an executor of Asio") {
  net::io_context io;
  async_mutex mutex;
  auto held = mutex.try_lock();
  std::vector<std::string> log;
  [](async_mutex& door, net::io_context& loop, std::vector<std::string>& told) -> support::detached {
    const auto got = co_await door.lock().resume_on(asio_executor(loop.get_executor()));
    told.emplace_back(loop.get_executor().running_in_this_thread() ? "in the loop" : "elsewhere");
  }(mutex, io, log);
  net::post(io, [&] {
    held.unlock();
    log.emplace_back("after unlock");
  });
  io.run();
  CHECK(log == std::vector<std::string>{"after unlock", "in the loop"});
}

TEST_CASE("Asio's executors are executors as they are") {
  net::io_context loop;
  net::thread_pool pool(1);
#if !defined(INTERLOCK_TEST_STANDALONE_ASIO)  // Asio 1.22 shows execute() to its own code only
  STATIC_REQUIRE(interlock::executor<net::io_context::executor_type>);
  STATIC_REQUIRE(interlock::executor<net::thread_pool::executor_type>);
#endif
  STATIC_REQUIRE(interlock::executor<net::any_io_executor>);
  STATIC_REQUIRE(interlock::executor<net::strand<net::any_io_executor>>);
  STATIC_REQUIRE(!interlock::executor<net::io_context>);
  async_manual_reset_event event;
  std::promise<std::thread::id> there;
  bool resumed = false;
  const auto on_loop = [&](net::any_io_executor on) -> support::detached {
    co_await event.wait().resume_on(on);
    resumed = true;
  };
  const auto on_pool = [&]() -> support::detached {
    co_await event.wait().resume_on(net::any_io_executor(pool.get_executor()));
    there.set_value(std::this_thread::get_id());
  };
  on_loop(loop.get_executor());
  on_pool();
  event.set();
  CHECK_FALSE(resumed);
  CHECK(loop.run() == 1);
  CHECK(resumed);
  CHECK(there.get_future().get() != std::this_thread::get_id());
  pool.join();
}

TEST_CASE("a coroutine that a destroyed context has dropped may be destroyed, and its lock goes on") {
  async_mutex mutex;
  bool went_on = false;
  support::owned waits{};
  {
    net::io_context io;
    auto held = mutex.try_lock();
    waits = [](async_mutex& door, net::io_context& loop, bool& is_on) -> support::owned {
      const auto got = co_await door.lock().resume_on(asio_executor(loop.get_executor()));
      is_on = got.owns_lock();
    }(mutex, io, went_on);
    held.unlock();
    CHECK(mutex.held());
  }
  waits.handle.destroy();
  CHECK_FALSE(went_on);
  CHECK_FALSE(mutex.held());
}
