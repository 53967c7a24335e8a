// SPDX-License-Identifier: BSL-1.0
// serial_queue: stops, deadlines, bounds of every kind, circles of queues, executors that refuse,
// numbers, and what is allocated.

#include <interlock/inplace_stop_token.hpp>
#include <interlock/manual_timer.hpp>
#include <interlock/serial_queue.hpp>
#include <interlock/task.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <coroutine>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/allocations.hpp"
#include "support/awaiters.hpp"
#include "support/broken_token.hpp"
#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/occupied.hpp"
#include "support/owned.hpp"
#include "support/slow_capture.hpp"
#include "support/stopping.hpp"
#include "support/threads.hpp"

using interlock::inplace_stop_source;
using interlock::manual_timer;
using interlock::post_result;
using interlock::queue_options;
using interlock::run_result;
using interlock::serial_queue;
using interlock::sync_wait;
using interlock::task;
using interlock::wait_status;
using interlock::when_full;
using support::occupied;
using namespace std::chrono_literals;
using support::broken_token;

namespace {

std::chrono::steady_clock::time_point soon() { return std::chrono::steady_clock::now() + 5ms; }
std::chrono::steady_clock::time_point late() { return std::chrono::steady_clock::now() + 1h; }

template <class F>
std::errc code_of(F f) {
  try {
    f();
  } catch (const std::system_error& e) {
    return static_cast<std::errc>(e.code().value());
  }
  return std::errc{};
}

void check_sums(const serial_queue& queue) {
  const interlock::queue_stats all = queue.stats();
  CHECK(all.accepted == all.completed + all.failed + all.cancelled + all.dropped);
}

// An executor with a thread for each job.
class spawner {
public:
  ~spawner() {
    for (std::vector<std::thread> some = take(); !some.empty(); some = take()) {
      for (std::thread& each : some) each.join();
    }
  }
  void execute(std::function<void()> job) {
    const std::lock_guard lock(mutex_);
    threads_.emplace_back(std::move(job));
  }

private:
  std::vector<std::thread> take() {  // who is in execute() has not added yet
    const std::lock_guard lock(mutex_);
    return std::exchange(threads_, {});
  }

  std::mutex mutex_;
  std::vector<std::thread> threads_;
};

// The ways of doing what is queued: the callers, a worker, an executor.
template <class F>
void each_way(F f) {
  f(queue_options{});
  f(queue_options{.workers = 1});
  spawner threads;
  f(queue_options{.executor = std::ref(threads)});
}

}  // namespace

// ---- stops and deadlines ------------------------------------------------------------------------

TEST_CASE("A thread leaves the line of a queue when it is stopped or late; its task never runs") {
  each_way([](const queue_options& options) {
    int ran = 0;
    {
      serial_queue queue(options);
      const auto count = [&ran] { return ++ran; };
      inplace_stop_source stop;
      wait_status stopped{};
      wait_status timed_out{};
      {
        occupied busy(queue);
        std::thread one([&] { stopped = queue.run(count, stop.get_token()).status(); });
        std::thread two([&] { timed_out = queue.run_until(soon(), count).status(); });
        two.join();
        stop.request_stop();
        one.join();
      }
      CHECK(stopped == wait_status::cancelled);
      CHECK(timed_out == wait_status::timed_out);
      CHECK(ran == 0);
      CHECK(queue.run(count, stop.get_token()).status() == wait_status::cancelled);

      // In time.
      inplace_stop_source never;
      auto got = queue.run_until(late(), count, never.get_token());
      CHECK((got && *got == 1));
      occupied busy(queue);
      std::optional<int> queued;
      std::thread three([&] {
        auto result = queue.run(count, never.get_token());
        if (result) queued = *result;
      });
      busy.release();
      three.join();
      CHECK(queued == 2);
      queue.drain();
      check_sums(queue);
      queue.close();
      CHECK(queue.run(count, never.get_token()).status() == wait_status::closed);
    }
  });
}

TEST_CASE("A coroutine leaves the line of a queue when it is stopped or late") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    manual_timer timer;
    inplace_stop_source stop;
    int ran = 0;
    std::vector<wait_status> how;
    const auto count = [&ran] { ++ran; };
    const auto stopped = [&]() -> support::detached {
      const auto got = co_await queue.submit(count, stop.get_token());
      how.push_back(got.status());
    };
    const auto delayed = [&]() -> support::detached {
      const auto got = co_await queue.submit_until(timer, timer.now() + 1s, count);
      how.push_back(got.status());
    };
    const auto both = [&]() -> support::detached {
      const auto got =
          co_await queue.submit_until(timer, timer.now() + 1s, count, stop.get_token());
      how.push_back(got.status());
    };
    {
      occupied busy(queue);
      stopped();
      delayed();
      CHECK(how.empty());
      timer.advance_to(timer.now() + 1s);
      CHECK(how == std::vector{wait_status::timed_out});
      both();
      stop.request_stop();
      CHECK(how.size() == 3);
      CHECK(how[1] == wait_status::cancelled);
      CHECK(how[2] == wait_status::cancelled);
      stopped();
      CHECK(how.size() == 4);
    }
    queue.drain();
    CHECK(ran == 0);
    CHECK(queue.stats().cancelled == 3);  // the last one was never in line
    check_sums(queue);
  });
}

TEST_CASE("A stop that comes too late changes nothing: the task runs and its result arrives") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    inplace_stop_source stop;
    const auto client = [&]() -> task<int> {
      auto got = co_await queue.submit(
          [&] {
            stop.request_stop();
            return 7;
          },
          stop.get_token());
      co_return got ? *got : 0;
    };
    CHECK(sync_wait(client()) == 7);
    // Also of a coroutine that the queue awaits.
    inplace_stop_source other;
    const auto inner = [&]() -> task<int> {
      other.request_stop();
      co_return 8;
    };
    const auto outer = [&]() -> task<int> {
      auto got = co_await queue.submit(inner, other.get_token());
      co_return got ? *got : 0;
    };
    CHECK(sync_wait(outer()) == 8);
    check_sums(queue);
  });
}

TEST_CASE("What a task throws reaches who waits with a deadline") {
  serial_queue queue;
  const auto throws = []() -> int { throw std::runtime_error("thrown"); };
  CHECK_THROWS_AS(queue.run_until(late(), throws), std::runtime_error);
  manual_timer timer;
  const auto client = [&]() -> task<int> {
    const auto got = co_await queue.submit_until(timer, timer.now() + 1s, throws);
    co_return got.ran();
  };
  CHECK_THROWS_AS(sync_wait(client()), std::runtime_error);
  CHECK(queue.stats().failed == 2);
}

TEST_CASE("Those in the line of who may leave and all others keep the order in which they came") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    std::vector<int> ran;
    std::array<inplace_stop_source, 10> stops;
    {
      occupied busy(queue);
      for (int i = 0; i < 10; ++i) {
        const auto note = [&ran, i] { ran.push_back(i); };
        const auto k = static_cast<std::size_t>(i);
        CHECK((i % 3 == 1 ? queue.post(note, stops[k].get_token()) : queue.post(note)) ==
              post_result::accepted);
      }
      stops[4].request_stop();
    }
    queue.drain();
    CHECK(ran == std::vector{0, 1, 2, 3, 5, 6, 7, 8, 9});
    check_sums(queue);
  });
}

TEST_CASE("A stopped task is destroyed and gives back its place at once") {
  each_way([](queue_options options) {
    options.capacity = 1;
    serial_queue queue(options);
    inplace_stop_source stop;
    auto alive = std::make_shared<int>(0);
    int ran = 0;
    {
      occupied busy(queue);
      CHECK(queue.post([alive, &ran] { ++ran; }, stop.get_token()) == post_result::accepted);
      CHECK(queue.post([&ran] { ++ran; }) == post_result::full);
      CHECK(alive.use_count() == 2);
      stop.request_stop();
      CHECK(alive.use_count() == 1);
      CHECK(queue.post([&ran] { ran += 10; }) == post_result::accepted);
      CHECK(queue.post([&ran] { ++ran; }, stop.get_token()) == post_result::cancelled);
    }
    queue.drain();
    CHECK(ran == 10);
    CHECK(queue.stats().cancelled == 1);
    check_sums(queue);
  });
}

TEST_CASE("A stop callback that cannot be made is thrown, and leaves nothing in the line") {
  each_way([](queue_options options) {
    options.capacity = 2;
    serial_queue queue(options);
    auto alive = std::make_shared<int>(0);
    const auto never = [alive] { ++*alive; };
    {
      occupied busy(queue);
      CHECK_THROWS_AS(queue.run(never, broken_token{}), std::bad_alloc);
      CHECK_THROWS_AS(queue.run_until(late(), never, broken_token{}), std::bad_alloc);
      for (int i = 0; i < 4; ++i) {
        CHECK_THROWS_AS(static_cast<void>(queue.post(never, broken_token{})), std::bad_alloc);
      }
      CHECK(queue.post([] {}) == post_result::accepted);
      CHECK(queue.post([] {}) == post_result::accepted);
      CHECK_THROWS_AS(static_cast<void>(queue.post_wait(never, broken_token{})), std::bad_alloc);
      CHECK(queue.post([] {}) == post_result::full);
    }
    queue.drain();
    CHECK(queue.stats().completed == 3);
    check_sums(queue);
    CHECK(*alive == 0);
    CHECK(alive.use_count() == 2);
  });
}

TEST_CASE("What comes while a stop callback cannot be made is not lost") {
  each_way([](queue_options options) {
    options.capacity = 1;
    serial_queue queue(options);
    {
      // The task has begun: its result is what counts.
      occupied busy(queue);
      std::binary_semaphore ran(0);
      const std::function<void()> until_it_ran = [&] {
        busy.release();
        ran.acquire();
      };
      const auto task = [&ran] {
        ran.release();
        return 7;
      };
      CHECK(*queue.run(task, broken_token{&until_it_ran}) == 7);
    }
    {
      // The place comes: it is given back.
      occupied busy(queue);
      CHECK(queue.post([] {}) == post_result::accepted);
      const std::function<void()> until_there_is_room = [&] {
        busy.release();
        queue.drain();
      };
      CHECK_THROWS_AS(
          static_cast<void>(queue.post_wait([] {}, broken_token{&until_there_is_room})),
          std::bad_alloc);
    }
    occupied busy(queue);
    CHECK(queue.post([] {}) == post_result::accepted);
    CHECK(queue.post([] {}) == post_result::full);
  });
}

TEST_CASE("A coroutine whose stop callback cannot be made gets the exception, and is in no line") {
  each_way([](queue_options options) {
    options.capacity = 1;
    manual_timer timer;
    serial_queue queue(options);
    int ran = 0;
    int threw = 0;
    const auto attempt = [&](auto awaited) -> task<void> {
      try {
        static_cast<void>(co_await awaited());
      } catch (const std::bad_alloc&) {
        ++threw;
      }
    };
    const auto count = [&ran] { ++ran; };
    {
      occupied busy(queue);
      sync_wait(attempt([&] { return queue.submit(count, broken_token{}); }));
      sync_wait(attempt([&] {
        return queue.submit_until(timer, manual_timer::time_point{} + 1h, count, broken_token{});
      }));
      CHECK(queue.post([] {}) == post_result::accepted);
      sync_wait(attempt([&] { return queue.async_post(count, broken_token{}); }));
      timer.advance_to(manual_timer::time_point{} + 2h);
    }
    queue.drain();
    CHECK(threw == 3);
    CHECK(ran == 0);
    CHECK(queue.stats().completed == 2);
    check_sums(queue);
  });
}

TEST_CASE("A coroutine that may leave may be destroyed while it waits") {
  serial_queue queue;
  inplace_stop_source stop;
  int ran = 0;
  const auto client = [&]() -> support::owned {
    const auto got = co_await queue.submit([&ran] { ++ran; }, stop.get_token());
    static_cast<void>(got.ran());
  };
  {
    occupied busy(queue);
    client().handle.destroy();
  }
  queue.drain();
  CHECK(ran == 0);
}

TEST_CASE("drain_until gives up at its deadline and leaves no trace") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    {
      occupied busy(queue);
      CHECK_FALSE(queue.drain_until(soon()));
    }
    CHECK(queue.drain_until(late()));
    check_sums(queue);
    const auto from_inside = queue.run(
        [&] { return code_of([&] { static_cast<void>(queue.drain_until(late())); }); });
    CHECK(from_inside == std::errc::resource_deadlock_would_occur);
  });
}

// ---- bounds -------------------------------------------------------------------------------------

TEST_CASE("post_wait waits for a place until its deadline, its stop or the end of the queue") {
  each_way([](queue_options options) {
    options.capacity = 1;
    serial_queue queue(options);
    int ran = 0;
    const auto count = [&ran] { ++ran; };
    std::array<post_result, 3> how{};
    inplace_stop_source stop;
    {
      occupied busy(queue);
      CHECK(queue.post_wait(count) == post_result::accepted);
      CHECK(queue.post_wait_until(soon(), count) == post_result::timed_out);
      std::thread one([&] { how[0] = queue.post_wait(count, stop.get_token()); });
      stop.request_stop();
      one.join();
      std::thread two([&] { how[1] = queue.post_wait(count); });
      busy.release();
      two.join();
    }
    queue.drain();
    CHECK(how[0] == post_result::cancelled);
    CHECK(how[1] == post_result::accepted);
    CHECK(ran == 2);
    {
      occupied busy(queue);
      CHECK(queue.post(count) == post_result::accepted);
      std::thread three([&] { how[2] = queue.post_wait(count); });
      queue.close();
      three.join();
    }
    CHECK(how[2] == post_result::closed);
    queue.drain();
    CHECK(ran == 3);
    check_sums(queue);
  });
}

TEST_CASE("co_await async_post waits for a place") {
  each_way([](queue_options options) {
    options.capacity = 1;
    serial_queue queue(options);
    manual_timer timer;
    inplace_stop_source stop;
    std::vector<int> ran;
    std::vector<post_result> how;
    std::binary_semaphore told{0};
    const auto client = [&](int i) -> support::detached {
      const post_result got = co_await queue.async_post([&ran, i] { ran.push_back(i); });
      how.push_back(got);
      told.release();
    };
    const auto stopped = [&]() -> support::detached {
      const post_result got =
          co_await queue.async_post([&ran] { ran.push_back(-1); }, stop.get_token());
      how.push_back(got);
    };
    const auto delayed = [&]() -> support::detached {
      const auto end = timer.now() + 1s;
      const post_result got =
          co_await queue.async_post_until(timer, end, [&ran] { ran.push_back(-1); });
      how.push_back(got);
    };
    {
      occupied busy(queue);
      client(1);
      CHECK(how == std::vector{post_result::accepted});
      told.acquire();
      stopped();
      delayed();
      stop.request_stop();
      timer.advance_to(timer.now() + 1s);
      CHECK(how == std::vector{post_result::accepted, post_result::cancelled,
                               post_result::timed_out});
      client(2);
      CHECK(how.size() == 3);
    }
    told.acquire();
    queue.drain();
    CHECK(ran == std::vector{1, 2});
    CHECK(how.back() == post_result::accepted);
    queue.close();
    client(3);
    told.acquire();
    CHECK(how.back() == post_result::closed);
    check_sums(queue);
  });
}

TEST_CASE("Only what was posted as droppable is dropped, the oldest first, and it is counted") {
  each_way([](queue_options options) {
    options.capacity = 3;
    options.full = when_full::drop_oldest;
    serial_queue queue(options);
    std::vector<int> ran;
    const auto note = [&ran](int i) { return [&ran, i] { ran.push_back(i); }; };
    {
      occupied busy(queue);
      CHECK(queue.post(note(1)) == post_result::accepted);
      CHECK(queue.post_droppable(note(2)) == post_result::accepted);
      CHECK(queue.post_droppable(note(3)) == post_result::accepted);
      CHECK(queue.post(note(4)) == post_result::accepted);  // for 2
      CHECK(queue.post_droppable(note(5)) == post_result::accepted);  // for 3
      CHECK(queue.post(note(6)) == post_result::accepted);  // for 5
      CHECK(queue.post(note(7)) == post_result::full);
      CHECK(queue.post_droppable(note(8)) == post_result::full);
    }
    queue.drain();
    CHECK(ran == std::vector{1, 4, 6});
    CHECK(queue.stats().dropped == 3);
    check_sums(queue);
    CHECK(queue.post_droppable(note(9)) == post_result::accepted);
    queue.drain();
    CHECK(ran.back() == 9);
  });
}

TEST_CASE("Without drop_oldest nothing is dropped") {
  serial_queue queue({.capacity = 1});
  int ran = 0;
  {
    occupied busy(queue);
    CHECK(queue.post_droppable([&ran] { ++ran; }) == post_result::accepted);
    CHECK(queue.post_droppable([&ran] { ++ran; }) == post_result::full);
  }
  queue.drain();
  CHECK(ran == 1);
}

// ---- results ------------------------------------------------------------------------------------

TEST_CASE("submit_future gives what the task returns, throws, or that it was cancelled") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    auto value = queue.submit_future([] { return std::make_unique<int>(4); });
    CHECK(*value.get() == 4);
    auto thrown = queue.submit_future([]() -> int { throw std::runtime_error("thrown"); });
    std::future<void> cancelled;
    {
      occupied busy(queue);
      cancelled = queue.submit_future([] {});
      queue.cancel_pending();
    }
    queue.drain();  // ThreadSanitizer does not see libstdc++ count the owners of an exception
    CHECK_THROWS_AS(thrown.get(), std::runtime_error);
    CHECK(code_of([&] { cancelled.get(); }) == std::errc::operation_canceled);
    CHECK(queue.stats().failed == 1);
    check_sums(queue);
    queue.close();
    CHECK(code_of([&] { static_cast<void>(queue.submit_future([] {})); }) ==
          std::errc::broken_pipe);
  });
}

TEST_CASE("A submission resumes where its executor puts it") {
  serial_queue queue({.workers = 1});
  std::vector<std::function<void()>> jobs;
  std::binary_semaphore put{0};
  std::thread::id resumed_on;
  const auto client = [&]() -> support::detached {
    co_await queue.submit([] {}).resume_on([&](auto job) {
      jobs.push_back(job);
      put.release();
    });
    resumed_on = std::this_thread::get_id();
  };
  client();
  put.acquire();
  jobs.at(0)();
  CHECK(resumed_on == std::this_thread::get_id());
}

TEST_CASE("interleaved lets others in at a co_await, submit does not") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    struct suspension {
      std::coroutine_handle<>& to;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> h) const noexcept { to = h; }
      void await_resume() const noexcept {}
    };
    std::coroutine_handle<> at;
    std::vector<int> trace;
    bool alone = false;
    const auto pieces = [&]() -> support::detached {
      co_await queue.interleaved();
      trace.push_back(1);
      alone = !queue.try_run([] {});
      co_await suspension{at};
      trace.push_back(3);
      co_await queue.interleaved();
      trace.push_back(4);
    };
    pieces();
    queue.run([&] { trace.push_back(2); });  // behind the first piece, in front of the second
    at.resume();
    queue.drain();
    CHECK(alone);
    CHECK(trace == std::vector{1, 2, 3, 4});
    check_sums(queue);

    // Queued, cancelled, closed.
    std::vector<std::errc> codes;
    std::counting_semaphore<> told{0};
    const auto one = [&]() -> support::detached {
      try {
        co_await queue.interleaved();
        trace.push_back(5);
      } catch (const std::system_error& e) {
        codes.push_back(static_cast<std::errc>(e.code().value()));
        told.release();
      }
    };
    {
      occupied busy(queue);
      one();
      queue.cancel_pending();
      one();
      CHECK(trace.size() == 4);
    }
    told.acquire();  // it goes on behind its turn, so drain() does not wait for it
    queue.drain();
    queue.close();
    one();
    CHECK(trace.size() == 5);
    CHECK(codes.size() == 2);
    check_sums(queue);
  });
}

TEST_CASE("Who goes from one queue to the next by interleaved leaves the first") {
  serial_queue first;
  serial_queue second;
  bool let_in = false;
  std::errc code{};
  const auto visitor = [&]() -> support::detached {
    co_await first.interleaved();
    co_await second.interleaved();
    let_in = first.try_run([] {});
    code = code_of([&] { first.run([] {}); });
  };
  visitor();
  CHECK(let_in);
  CHECK(code == std::errc{});
}

// ---- circles ------------------------------------------------------------------------------------

TEST_CASE("Tasks of two queues that wait for each other on two threads get an error, not a hang") {
  each_way([](const queue_options& options) {
    serial_queue a(options);
    serial_queue b;
    std::binary_semaphore in_a{0};
    std::binary_semaphore in_b{0};
    std::array<std::errc, 2> code{};
    std::thread one([&] {
      a.run([&] {
        in_a.release();
        in_b.acquire();
        code[0] = code_of([&] { b.run([] {}); });
      });
    });
    std::thread two([&] {
      b.run([&] {
        in_b.release();
        in_a.acquire();
        code[1] = code_of([&] { a.run([] {}); });
      });
    });
    one.join();
    two.join();
    // Whoever closes the circle is told; then the other one gets in.
    constexpr auto error = std::errc::resource_deadlock_would_occur;
    CHECK(((code[0] == error) != (code[1] == error)));
  });
}

TEST_CASE("A circle of three queues is found, and one that a deadline opens is not an error") {
  std::array<serial_queue, 3> queues;
  std::array<std::binary_semaphore, 3> inside{std::binary_semaphore(0), std::binary_semaphore(0),
                                              std::binary_semaphore(0)};
  for (const bool opens : {false, true}) {
    std::array<std::errc, 3> code{};
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < 3; ++i) {
      threads.emplace_back([&, i] {
        queues[i].run([&] {
          inside[i].release(2);
          for (std::size_t k = 0; k < 3; ++k) {
            if (k != i) inside[k].acquire();
          }
          code[i] = code_of([&] {
            if (opens && i == 0) {
              static_cast<void>(queues[1].run_until(soon(), [] {}).ran());
            } else {
              queues[(i + 1) % 3].run([] {});
            }
          });
        });
      });
    }
    for (std::thread& each : threads) each.join();
    int errors = 0;
    for (const std::errc c : code) errors += c == std::errc::resource_deadlock_would_occur;
    // The wait that ends is no edge for others; but it is told when it closes the circle itself.
    CHECK(errors <= 1);
    if (!opens) CHECK(errors == 1);
  }
}

TEST_CASE("A coroutine that a queue awaits gets an error when it awaits that queue") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    serial_queue other;
    std::array<std::errc, 3> code{};
    const auto self = [&]() -> task<void> {
      try {
        co_await queue.submit([] {});
      } catch (const std::system_error& e) {
        code[0] = static_cast<std::errc>(e.code().value());
      }
    };
    const auto deeper = [&]() -> task<void> { co_await self(); };  // its caller is what is awaited
    const auto around = [&]() -> task<void> {
      const auto back = [&]() -> task<void> {
        try {
          co_await queue.submit([] {});
        } catch (const std::system_error& e) {
          code[1] = static_cast<std::errc>(e.code().value());
        }
      };
      co_await other.submit(back);
      code[2] = code_of([] {});
    };
    const auto client = [&]() -> task<void> {
      co_await queue.submit(deeper);
      co_await queue.submit(around);
      co_await queue.submit([] {});  // outside of both: no error
    };
    sync_wait(client());
    CHECK(code[0] == std::errc::resource_deadlock_would_occur);
    CHECK(code[1] == std::errc::resource_deadlock_would_occur);
    CHECK(code[2] == std::errc{});
  });
}

TEST_CASE("A thread and a coroutine that wait for each other's queue are found") {
  serial_queue a({.workers = 1});
  serial_queue b({.workers = 1});
  std::binary_semaphore in_a{0};
  std::binary_semaphore in_b{0};
  std::array<std::errc, 2> code{};
  const auto note = [](std::errc& to, const std::system_error& e) {
    to = static_cast<std::errc>(e.code().value());
  };
  const auto holds_a = [&]() -> task<void> {
    in_a.release();
    in_b.acquire();
    try {
      co_await b.submit([] {});
    } catch (const std::system_error& e) {
      note(code[0], e);
    }
  };
  const auto client = [&]() -> task<void> { co_await a.submit(holds_a); };
  std::thread one([&] { sync_wait(client()); });
  std::thread two([&] {
    b.run([&] {
      in_a.acquire();
      in_b.release();
      code[1] = code_of([&] { a.run([] {}); });
    });
  });
  one.join();
  two.join();
  constexpr auto error = std::errc::resource_deadlock_would_occur;
  CHECK(((code[0] == error) != (code[1] == error)));
}

TEST_CASE("A task that waits for room in its own full queue gets an error") {
  serial_queue queue({.capacity = 1});
  const auto code = queue.run([&] {
    static_cast<void>(queue.post([] {}));
    return code_of([&] { static_cast<void>(queue.post_wait([] {})); });
  });
  CHECK(code == std::errc::resource_deadlock_would_occur);
}

// ---- who is held up, and for how long -----------------------------------------------------------

namespace {

// Starts a coroutine that submits f and then calls `behind`.
template <class F, class Behind>
support::detached submits_then(serial_queue& queue, F f, Behind behind) {
  co_await queue.submit(std::move(f));
  behind();
}

task<void> parks_in(std::coroutine_handle<>& at) { co_await support::park_in{at}; }

// Takes what it should run and destroys it.
struct dropping_resumptions {
  using moves_what_it_runs = void;
  template <class Job>
  void execute(Job&& job) {
    const std::decay_t<Job> gone(std::forward<Job>(job));
  }
};

}  // namespace

TEST_CASE("A post does not wait for a coroutine that holds the queue") {
  serial_queue queue;
  std::coroutine_handle<> at;
  bool ended = false;
  int ran = 0;
  // More than a quantum, so that the runner would give its role away; then it goes to a coroutine.
  CHECK(queue.post([&] {
    for (int i = 0; i < 70; ++i) static_cast<void>(queue.post([&ran] { ++ran; }));
    submits_then(queue, [&] { return parks_in(at); }, [&] { ended = true; });
    static_cast<void>(queue.post([&ran] { ++ran; }));
  }) == post_result::accepted);
  CHECK(ran == 70);
  CHECK(queue.post([&ran] { ++ran; }) == post_result::accepted);  // by the one that resumes it
  at.resume();
  queue.drain();
  CHECK(ended);
  CHECK(ran == 72);
}

TEST_CASE("A post does not wait for the job of an executor that has refused before") {
  std::vector<std::function<void()>> jobs;
  int refusals = 1;
  queue_options options;
  options.executor = [&](auto job) {
    if (refusals-- > 0) throw std::runtime_error("full");
    jobs.emplace_back(job);
  };
  options.on_error = [](const std::exception_ptr&) {};
  serial_queue queue(options);
  int ran = 0;
  const auto one_more = [&ran] { ++ran; };
  CHECK(queue.post([&] {
    for (int i = 0; i < 2; ++i) static_cast<void>(queue.post(one_more));
  }) == post_result::accepted);
  CHECK(queue.post(one_more) == post_result::accepted);
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const std::function<void()> job = jobs[i];
    job();
  }
  queue.drain();
  CHECK(ran == 3);
}

TEST_CASE("A post that waits to take over gives up when the task takes long") {
  serial_queue queue({.quantum = 1});
  std::binary_semaphore begun{0};
  std::binary_semaphore release{0};
  int ran = 0;
  std::thread runner([&] {
    static_cast<void>(queue.post([&] {
      static_cast<void>(queue.post([] {}));
      static_cast<void>(queue.post([&] {  // behind the quantum: the role is to be had
        begun.release();
        release.acquire();
      }));
    }));
  });
  begun.acquire();
  CHECK(queue.post([&ran] { ++ran; }) == post_result::accepted);  // though that task waits for us
  release.release();
  runner.join();
  queue.drain();
  CHECK(ran == 1);
}

TEST_CASE("A coroutine never goes on as the runner of the queue") {
  serial_queue queue;
  inplace_stop_source stop;
  const auto can_inline = [](auto& waits) {
    return requires { std::move(waits).resume_inline(); };
  };
  auto submitted = queue.submit([] {});
  auto stoppable = queue.submit([] {}, stop.get_token());
  auto posted = queue.async_post([] {});
  CHECK_FALSE(can_inline(submitted));
  CHECK_FALSE(can_inline(stoppable));
  CHECK_FALSE(can_inline(posted));
}

TEST_CASE("A coroutine that the queue awaits gets an error where it waits for room in it") {
  serial_queue queue({.capacity = 1});
  std::errc code{};
  const auto critical = [&]() -> task<void> {
    CHECK(queue.post([] {}) == post_result::accepted);
    try {
      const post_result how = co_await queue.async_post([] {});
      CHECK(how == post_result::closed);
    } catch (const std::system_error& e) {
      code = static_cast<std::errc>(e.code().value());
    }
  };
  const auto client = [&]() -> task<void> { co_await queue.submit(critical); };
  sync_wait(client());
  CHECK(code == std::errc::resource_deadlock_would_occur);
}

TEST_CASE("Places are free while a coroutine holds the queue, also where they come many at a time") {
  serial_queue queue({.capacity = 512});
  std::coroutine_handle<> at;
  {
    occupied busy(queue);
    for (int i = 0; i < 40; ++i) CHECK(queue.post([] {}) == post_result::accepted);
    submits_then(queue, [&] { return parks_in(at); }, [] {});
    int more = 0;
    while (queue.post([] {}) == post_result::accepted) ++more;
    CHECK(more == 472);
  }
  for (int i = 0; i < 40; ++i) CHECK(queue.post([] {}) == post_result::accepted);
  CHECK(queue.post([] {}) == post_result::full);
  at.resume();
}

TEST_CASE("A task whose move throws behind the wait for a place gives the place back") {
  struct fragile {
    explicit fragile(int& n) : moves(&n) {}
    fragile(fragile&& other) : moves(other.moves) {
      if (--*moves < 0) throw std::runtime_error("moved once too often");
    }
    void operator()() const {}
    int* moves;
  };
  serial_queue queue({.capacity = 1, .workers = 1});
  int threw = 0;
  for (int allowed = 0; allowed < 8; ++allowed) {
    int moves = allowed;
    const auto client = [&]() -> task<void> {
      const post_result how = co_await queue.async_post(fragile(moves));
      CHECK(how == post_result::accepted);
    };
    try {
      sync_wait(client());
    } catch (const std::runtime_error&) {
      ++threw;
    }
    queue.drain();
    CHECK(queue.post_wait_until(late(), [] {}) == post_result::accepted);
    queue.drain();
  }
  CHECK(threw > 0);
}

TEST_CASE("drain waits until the captures of what was stopped or dropped are destroyed") {
  using slow = support::slow_capture;
  for (const bool stops : {true, false}) {
    serial_queue queue({.capacity = 1, .full = when_full::drop_oldest});
    inplace_stop_source stop;
    std::binary_semaphore begun{0};
    std::binary_semaphore go{0};
    std::thread other;
    {
      occupied busy(queue);
      static_cast<void>(stops ? queue.post(slow(begun, go), stop.get_token())
                              : queue.post_droppable(slow(begun, go)));
      other = std::thread([&] {
        stops ? void(stop.request_stop()) : void(queue.post([] {}));
      });
      begun.acquire();
    }
    CHECK_FALSE(queue.drain_until(soon()));
    go.release();
    queue.drain();
    other.join();
    check_sums(queue);
  }
}

TEST_CASE("A coroutine that an executor has dropped may be destroyed behind its queue") {
  dropping_resumptions executor;
  inplace_stop_source stop;
  auto queue = std::make_unique<serial_queue>();
  const auto waits = [&]() -> support::owned {
    const auto got = co_await queue->submit([] {}, stop.get_token()).resume_on(executor);
    static_cast<void>(got);
  };
  support::owned client{};
  {
    occupied busy(*queue);
    client = waits();
  }
  queue.reset();
  client.handle.destroy();
}

TEST_CASE("A thread that waits for a queue lets those go on whom it has made ready as its runner") {
  serial_queue outer;
  serial_queue queue({.quantum = 1});
  std::coroutine_handle<> at;
  bool waits = false;
  bool let_go = false;
  bool ended = false;
  std::thread other;
  {
    occupied busy(queue);
    static_cast<void>(queue.post([] {}));  // the quantum of that thread
    submits_then(queue, [] {}, [&] {
      let_go = true;
      if (waits) at.resume();
    });
    const auto critical = [&]() -> task<void> {
      if (let_go) co_return;
      waits = true;
      co_await support::park_in{at};
    };
    submits_then(queue, critical, [&] { ended = true; });
    std::binary_semaphore inside{0};
    other = std::thread([&] {
      outer.run([&] {
        static_cast<void>(outer.post([&] {
          inside.release();
          queue.run([] {});
        }));
      });
    });
    inside.acquire();
  }
  other.join();
  queue.drain();
  CHECK(ended);
}

TEST_CASE("A coroutine that blocks in run lets go on what it begins as the runner") {
  serial_queue queue({.quantum = 1});
  bool ended = false;
  int ran = 0;
  std::thread other;
  {
    occupied busy(queue);
    static_cast<void>(queue.post([] {}));  // the quantum of that thread
    submits_then(queue, []() -> task<void> { co_return; }, [&] { ended = true; });
    std::binary_semaphore begun{0};
    const auto blocks = [&]() -> task<void> {
      begun.release();
      queue.run([&ran] { ++ran; });
      co_return;
    };
    other = std::thread([&] { sync_wait(blocks()); });
    begun.acquire();
  }
  other.join();
  queue.drain();
  CHECK(ended);
  CHECK(ran == 1);
}

TEST_CASE("Whoever gets the place of a stopped task may destroy the queue") {
  auto queue = std::make_unique<serial_queue>(queue_options{.capacity = 1});
  std::optional<occupied> busy(std::in_place, *queue);
  support::stop_source stop;  // others let coroutines go on when the callback is over
  int ran = 0;
  static_cast<void>(queue->post([] {}, stop.get_token()));
  const auto client = [&]() -> support::detached {
    const post_result how = co_await queue->async_post([&ran] { ++ran; });
    CHECK(how == post_result::accepted);
    busy.reset();
    queue.reset();
  };
  client();
  stop.request_stop();
  CHECK(queue == nullptr);
  CHECK(ran == 1);
}

TEST_CASE("What a task throws is not in flight while others' work goes on") {
  serial_queue queue;
  int in_flight = -1;
  std::thread thrower;
  std::binary_semaphore begun{0};
  std::binary_semaphore go{0};
  bool caught = false;
  thrower = std::thread([&] {
    try {
      queue.run([&] {
        begun.release();
        go.acquire();
        throw std::runtime_error("mine");
      });
    } catch (const std::runtime_error&) {
      caught = true;
    }
  });
  begun.acquire();
  static_cast<void>(queue.post([&in_flight] { in_flight = std::uncaught_exceptions(); }));
  go.release();
  thrower.join();
  queue.drain();
  CHECK(caught);
  CHECK(in_flight == 0);
}

// ---- executors and workers ----------------------------------------------------------------------

TEST_CASE("An executor that runs the job in the call does not nest and loses nothing") {
  queue_options options;
  options.executor = [](auto job) { job(); };
  serial_queue queue(options);
  int ran = 0;
  int depth = 0;
  int deepest = 0;
  std::function<void()> again = [&] {
    deepest = std::max(deepest, ++depth);
    if (++ran < 1000) static_cast<void>(queue.post(again));
    --depth;
  };
  CHECK(queue.post(again) == post_result::accepted);
  queue.drain();
  CHECK(ran == 1000);
  CHECK(deepest == 1);
}

namespace {
// What Asio's executors are to ours: it moves what it runs, and may drop it.
struct dropping_executor {
  using moves_what_it_runs = void;
  template <class F>
  void execute(F f) const {
    if (*later) {
      kept->push_back(std::make_unique<holder<F>>(std::move(f)));
    }
  }
  struct base {
    virtual ~base() = default;
  };
  template <class F>
  struct holder : base {
    explicit holder(F f) : what(std::move(f)) {}
    F what;
  };
  std::vector<std::unique_ptr<base>>* kept;
  bool* later;
};
}  // namespace

TEST_CASE("A job that is destroyed instead of run has its work done by who destroys it") {
  for (const bool later : {false, true}) {
    std::vector<std::unique_ptr<dropping_executor::base>> kept;
    bool keeps = later;
    serial_queue queue({.executor = dropping_executor{&kept, &keeps}});
    int ran = 0;
    CHECK(queue.post([&ran] { ++ran; }) == post_result::accepted);
    CHECK(ran == (later ? 0 : 1));
    kept.clear();
    CHECK(ran == 1);
    queue.drain();
    check_sums(queue);
  }
}

TEST_CASE("Whoever comes to a runner that has done its quantum takes the role over") {
  // Nobody waits here: without the offer the one that posts first would never come back.
  serial_queue queue({.quantum = 4});
  std::optional<std::thread::id> first;
  std::atomic<bool> changed{false};
  std::function<void()> until_changed = [&] {
    if (!first) first = std::this_thread::get_id();
    changed = *first != std::this_thread::get_id();
    if (!changed) static_cast<void>(queue.post(until_changed));
  };
  std::atomic<int> posting{2};
  support::run_threads(2, [&](std::size_t id) {
    if (id == 0) static_cast<void>(queue.post(until_changed));
    while (!changed) static_cast<void>(queue.post([] {}));
    --posting;
  });
  queue.drain();
  CHECK(posting == 0);
}

TEST_CASE("run takes a queue whose worker looks for work and has none") {
  serial_queue queue({.workers = 1});
  int ran = 0;
  for (int i = 0; i < 1000; ++i) {
    CHECK(queue.post([&ran] { ++ran; }) == post_result::accepted);
    queue.run([&ran] { ++ran; });
  }
  CHECK(ran == 2000);
  check_sums(queue);
}

// ---- bad input ----------------------------------------------------------------------------------

TEST_CASE("An empty function is refused where it is posted") {
  serial_queue queue;
  void (*const nothing)() = nullptr;
  inplace_stop_source stop;
  CHECK_THROWS_AS(queue.post(std::function<void()>()), std::invalid_argument);
  CHECK_THROWS_AS(queue.post(nothing), std::invalid_argument);
  CHECK_THROWS_AS(queue.post_wait(std::function<void()>()), std::invalid_argument);
  CHECK_THROWS_AS(queue.post_droppable(nothing), std::invalid_argument);
  CHECK_THROWS_AS(queue.post(nothing, stop.get_token()), std::invalid_argument);
  CHECK_THROWS_AS(queue.submit_future(nothing), std::invalid_argument);
  CHECK_THROWS_AS(queue.async_post(std::function<void()>()), std::invalid_argument);
  CHECK_THROWS_AS(queue.async_post(nothing, stop.get_token()), std::invalid_argument);
  // Who waits for the answer gets what the call gives.
  CHECK_THROWS_AS(queue.run(std::function<void()>()), std::bad_function_call);
  const auto submits = [&]() -> task<void> { co_await queue.submit(std::function<void()>()); };
  CHECK_THROWS_AS(sync_wait(submits()), std::bad_function_call);
  CHECK(queue.run([] { return 3; }) == 3);
  CHECK(queue.post([] {}) == post_result::accepted);
}

TEST_CASE("After close each call says so, and nothing runs") {
  each_way([](queue_options options) {
    options.capacity = 2;
    serial_queue queue(options);
    inplace_stop_source stop;
    manual_timer timer;
    const auto token = stop.get_token();
    int ran = 0;
    const auto f = [&ran] { ++ran; };
    queue.close();
    CHECK(queue.post(f) == post_result::closed);
    CHECK(queue.post(f, token) == post_result::closed);
    CHECK(queue.post_droppable(f) == post_result::closed);
    CHECK(queue.post_wait(f) == post_result::closed);
    CHECK(queue.post_wait(f, token) == post_result::closed);
    CHECK(queue.post_wait_until(soon(), f) == post_result::closed);
    CHECK(queue.run(f, token).status() == wait_status::closed);
    CHECK(queue.run_until(soon(), f).status() == wait_status::closed);
    CHECK_FALSE(queue.try_run(f));
    CHECK(code_of([&] { queue.run(f); }) == std::errc::broken_pipe);
    CHECK(code_of([&] { static_cast<void>(queue.submit_future(f)); }) == std::errc::broken_pipe);
    const auto client = [&]() -> task<void> {
      CHECK(co_await queue.async_post(f) == post_result::closed);
      const auto stopped = co_await queue.submit(f, token);
      CHECK(stopped.status() == wait_status::closed);
      const auto late = co_await queue.submit_until(timer, timer.now() + 1s, f);
      CHECK(late.status() == wait_status::closed);
      co_await queue.interleaved();
    };
    CHECK(code_of([&] { sync_wait(client()); }) == std::errc::broken_pipe);
    queue.drain();
    CHECK(ran == 0);
    CHECK(queue.stats().accepted == 0);
  });
}

TEST_CASE("From inside of a task each call that would wait for its own queue says so") {
  each_way([](queue_options options) {
    options.capacity = 1;
    serial_queue queue(options);
    inplace_stop_source stop;
    constexpr auto error = std::errc::resource_deadlock_would_occur;
    int posted = 0;
    queue.run([&] {
      const auto never = [] { FAIL("it would have overtaken its caller"); };
      CHECK_FALSE(queue.try_run(never));
      CHECK(code_of([&] { queue.run(never); }) == error);
      CHECK(code_of([&] { static_cast<void>(queue.run(never, stop.get_token())); }) == error);
      CHECK(code_of([&] { static_cast<void>(queue.run_until(late(), never)); }) == error);
      CHECK(code_of([&] { queue.drain(); }) == error);
      CHECK(code_of([&] { static_cast<void>(queue.drain_until(late())); }) == error);
      CHECK(queue.post([&posted] { ++posted; }) == post_result::accepted);
      CHECK(code_of([&] { static_cast<void>(queue.post_wait(never)); }) == error);
      CHECK(queue.post(never) == post_result::full);
    });
    queue.drain();
    CHECK(posted == 1);
  });
}

TEST_CASE("A task may stop what waits in its own queue") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    inplace_stop_source stop;
    int ran = 0;
    {
      occupied busy(queue);
      CHECK(queue.post([&] { stop.request_stop(); }) == post_result::accepted);
      CHECK(queue.post([&] { ++ran; }, stop.get_token()) == post_result::accepted);
      CHECK(queue.post([&] { ran += 10; }) == post_result::accepted);
    }
    queue.drain();
    CHECK(ran == 10);
    check_sums(queue);
  });
}

TEST_CASE("A refusal that nobody asks about ends the program with a sentence") {
  const std::string message = support::death_message([] {
    serial_queue queue;
    queue.close();
    static_cast<void>(queue.run_until(late(), [] { return 1; }));
  });
  CHECK(message.find("nobody asked") != std::string::npos);
}

// ---- numbers ------------------------------------------------------------------------------------

TEST_CASE("The numbers of a queue add up, and show who waits for how long") {
  each_way([](queue_options options) {
    options.metrics = true;
    serial_queue queue(options);
    inplace_stop_source stop;
    CHECK(queue.metrics().queued == 0);
    {
      occupied busy(queue);
      for (int i = 0; i < 200; ++i) static_cast<void>(queue.post([] {}));
      static_cast<void>(queue.post([] {}, stop.get_token()));
      stop.request_stop();
      const auto now = queue.metrics();
      CHECK(now.queued == 201);
      CHECK(now.depth == 200);
      CHECK(now.high_water == 201);
      CHECK(now.wait.samples == 0);
      const auto patience = late();
      while (queue.metrics().oldest == 0ns && std::chrono::steady_clock::now() < patience) {
        std::this_thread::yield();
      }
      CHECK(queue.metrics().oldest > 0ns);
    }
    queue.drain();
    const auto then = queue.metrics();
    CHECK(then.depth == 0);
    CHECK(then.oldest == 0ns);
    CHECK(then.wait.samples >= 3);
    CHECK(then.run.samples == then.wait.samples);
    CHECK(then.wait.longest > 0);
    CHECK(then.wait.total >= then.wait.longest);
    const auto all = queue.stats();
    CHECK(all.accepted == 202);  // and the one that kept it busy
    CHECK(all.cancelled == 1);
    check_sums(queue);
  });
}

TEST_CASE("What begins at once does not count as waiting, also if it could leave") {
  serial_queue queue({.metrics = true});
  inplace_stop_source stop;
  const auto awaited = []() -> task<void> { co_return; };
  const auto client = [&]() -> task<void> {
    const auto got = co_await queue.submit(awaited, stop.get_token());
    CHECK(got.ran());
  };
  for (int i = 0; i < 3; ++i) sync_wait(client());
  CHECK(queue.metrics().depth == 0);
  CHECK(queue.metrics().oldest == 0ns);
}

TEST_CASE("A cache of blocks tells where that lies which it gave out eight times before") {
  using interlock::detail::block_cache;
  const auto depot = std::make_unique<interlock::detail::block_depot>();
  block_cache cache(*depot);
  for (int i = 0; i < 200; ++i) cache.give(block_cache::allocate());  // two magazines in the depot
  std::vector<void*> taken;
  while (void* const block = cache.take()) {
    taken.push_back(block);
    if (taken.size() > 8) CHECK(cache.taken_before() == taken[taken.size() - 9]);
  }
  CHECK(taken.size() == 200);
  for (void* const block : taken) block_cache::free(block);
}

TEST_CASE("Tasks of up to 64 bytes allocate nothing once the threads have blocks") {
  if (!support::counts_allocations) return;
  serial_queue queue;
  serial_queue with_worker({.workers = 1});
  struct task_of_64 {
    long* sum;
    long more[7];
    void operator()() { *sum += more[6]; }
  };
  static_assert(sizeof(task_of_64) == 64);
  long sum = 0;
  const task_of_64 add{&sum, {0, 0, 0, 0, 0, 0, 1}};
  const auto round = [&] {
    occupied busy(queue);
    for (int i = 0; i < 100; ++i) static_cast<void>(queue.post(add));
    const std::size_t before = support::allocations();
    for (int i = 0; i < 100; ++i) static_cast<void>(queue.post(add));
    const std::size_t after = support::allocations();
    busy.release();
    queue.drain();
    for (int i = 0; i < 400; ++i) static_cast<void>(with_worker.post(add));
    with_worker.drain();
    return after - before;
  };
  for (int i = 0; i < 4; ++i) static_cast<void>(round());
  CHECK(round() == 0);
  const std::size_t before = support::allocations();
  for (int i = 0; i < 1000; ++i) {
    queue.run([&sum] { ++sum; });
    static_cast<void>(queue.post(add));
  }
  CHECK(support::allocations() == before);
}
