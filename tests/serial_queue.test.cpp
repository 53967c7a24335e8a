// SPDX-License-Identifier: BSL-1.0
// serial_queue: each guarantee, each way to run the work, results, errors, bounds, shutdown,
// lifetime.

#include <interlock/serial_queue.hpp>
#include <interlock/task.hpp>

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/occupied.hpp"
#include "support/threads.hpp"

using interlock::post_result;
using interlock::queue_options;
using interlock::serial_queue;
using interlock::sync_wait;
using interlock::task;
using interlock::when_full;
using support::occupied;

namespace {

// The executor of a program that has one: a thread, or several, and a list of jobs.
class thread_pool {
public:
  explicit thread_pool(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) threads_.emplace_back([this] { work(); });
  }
  ~thread_pool() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  void execute(std::function<void()> job) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
      ++jobs_seen;
    }
    wake_.notify_one();
  }
  std::atomic<std::size_t> jobs_seen{0};

private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      const std::function<void()> job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  std::vector<std::thread> threads_;
  bool stopping_ = false;
};

// The three ways to run what is queued.
enum class way { callers, worker, executor };

queue_options by(way how, thread_pool& pool) {
  queue_options options;
  if (how == way::worker) options.workers = 1;
  if (how == way::executor) {
    options.executor = [&pool](std::function<void()> job) { pool.execute(std::move(job)); };
  }
  return options;
}

template <class F>
void each_way(F f) {
  for (const way how : {way::callers, way::worker, way::executor}) {
    thread_pool pool(2);
    f(by(how, pool));
  }
}

std::errc code_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const std::system_error& e) {
    return static_cast<std::errc>(e.code().value());
  }
  return std::errc{};
}

void check_sums(const serial_queue& queue) {
  const interlock::queue_stats stats = queue.stats();
  CHECK(stats.accepted == stats.completed + stats.failed + stats.cancelled);
}

struct counted {  // counts its copies that are alive
  explicit counted(std::atomic<int>& n) : alive(&n) { ++*alive; }
  counted(const counted& other) : alive(other.alive) { ++*alive; }
  counted& operator=(const counted&) = delete;
  ~counted() { --*alive; }
  std::atomic<int>* alive;
};

}  // namespace

TEST_CASE("serial_queue cannot be copied or moved") {
  static_assert(!std::is_copy_constructible_v<serial_queue>);
  static_assert(!std::is_move_constructible_v<serial_queue>);
  static_assert(std::is_same_v<decltype(std::declval<serial_queue&>().try_run([] {})), bool>);
  SUCCEED();
}

TEST_CASE("No two tasks of a queue run at the same time") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    std::size_t total = 0;  // unsynchronised on purpose
    std::atomic<int> inside{0};
    std::atomic<bool> alone{true};
    const std::size_t each = support::rounds(5'000);
    const auto task = [&] {
      if (inside.fetch_add(1) != 0) alone = false;
      ++total;
      inside.fetch_sub(1);
    };
    support::run_threads(4, [&](std::size_t id) {
      for (std::size_t i = 0; i < each; ++i) {
        if (id % 2 == 0) {
          queue.run(task);
        } else if (queue.post(task) != post_result::accepted) {
          alone = false;
        }
      }
    });
    queue.drain();
    CHECK(total == 4 * each);
    CHECK(alone);
    check_sums(queue);
  });
}

TEST_CASE("Queued tasks run in the order in which they were queued") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    std::vector<int> ran;
    occupied busy(queue);
    std::binary_semaphore a_posted{0};
    // One thread posts, then tells another, which posts: the order between them is seen as well.
    std::thread a([&] {
      for (int i = 0; i < 10; ++i) (void)queue.post([&ran, i] { ran.push_back(i); });
      a_posted.release();
    });
    std::thread b([&] {
      a_posted.acquire();
      for (int i = 10; i < 20; ++i) (void)queue.post([&ran, i] { ran.push_back(i); });
    });
    a.join();
    b.join();
    busy.release();
    queue.run([&] { ran.push_back(20); });  // behind the others, or after them
    std::vector<int> expected;
    for (int i = 0; i <= 20; ++i) expected.push_back(i);
    CHECK(ran == expected);
  });
}

TEST_CASE("What a task returns or throws reaches the caller of run or submit") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    int cell = 7;
    const auto check_all = [&](bool& right) {
      right = queue.run([] { return 42; }) == 42;
      right = right && *queue.run([] { return std::make_unique<int>(5); }) == 5;
      right = right && &queue.run([&]() -> int& { return cell; }) == &cell;
      try {
        queue.run([] { throw std::runtime_error("from run"); });
        right = false;
      } catch (const std::runtime_error& e) {
        right = right && std::string(e.what()) == "from run";
      }
      const auto coroutine = [](serial_queue& q) -> task<int> {
        const int once = co_await q.submit([] { return 20; });
        auto pointer = co_await q.submit([] { return std::make_unique<int>(1); });
        int caught = 0;
        try {
          co_await q.submit([] { throw std::runtime_error("from submit"); });
        } catch (const std::runtime_error&) {
          caught = 1;
        }
        co_return once + *pointer + caught;
      };
      right = right && sync_wait(coroutine(queue)) == 22;
    };
    bool idle_right = false;
    check_all(idle_right);
    CHECK(idle_right);

    // The same while others keep the queue busy, so that results travel between threads.
    std::array<bool, 4> busy_right{};
    support::run_threads(4, [&](std::size_t id) {
      bool all = true;
      for (int i = 0; i < 50; ++i) {
        bool right = false;
        check_all(right);
        all = all && right;
      }
      busy_right[id] = all;
    });
    for (const bool right : busy_right) CHECK(right);
    queue.drain();
    check_sums(queue);
    CHECK(queue.stats().failed == 2 * (1 + 4 * 50));
  });
}

TEST_CASE("Every accepted task runs to its end unless it is cancelled") {
  each_way([](const queue_options& options) {
    std::atomic<std::size_t> accepted{0};
    std::atomic<std::size_t> ran{0};
    {
      serial_queue queue(options);
      support::run_threads(4, [&](std::size_t) {
        for (std::size_t i = 0; i < support::rounds(2'000); ++i) {
          if (queue.post([&] { ++ran; }) == post_result::accepted) ++accepted;
        }
      });
    }  // the destructor drains
    CHECK(accepted > 0);
    CHECK(ran == accepted);
  });
}

TEST_CASE("Nothing is accepted after close") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    int ran = 0;
    queue.run([&] { ++ran; });
    CHECK_FALSE(queue.closed());
    queue.close();
    queue.close();
    CHECK(queue.closed());
    CHECK(queue.post([&] { ++ran; }) == post_result::closed);
    CHECK_FALSE(queue.try_run([&] { ++ran; }));
    CHECK(code_of([&] { queue.run([&] { ++ran; }); }) == std::errc::broken_pipe);
    const auto late = [](serial_queue& q, int& n) -> task<void> {
      co_await q.submit([&n] { ++n; });
    };
    CHECK(code_of([&] { sync_wait(late(queue, ran)); }) == std::errc::broken_pipe);
    queue.drain();
    CHECK(ran == 1);
  });
}

TEST_CASE("A task that waits for its own queue gets an error") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    const auto code = queue.run([&] {
      return std::array{code_of([&] { queue.run([] {}); }), code_of([&] { queue.drain(); })};
    });
    CHECK(code[0] == std::errc::resource_deadlock_would_occur);
    CHECK(code[1] == std::errc::resource_deadlock_would_occur);

    // Through another queue, on one thread.
    serial_queue other;
    const auto around =
        queue.run([&] { return other.run([&] { return code_of([&] { queue.run([] {}); }); }); });
    CHECK(around == std::errc::resource_deadlock_would_occur);
  });
}

TEST_CASE("The errors of a queue say what to do") {
  serial_queue queue;
  std::string message;
  queue.run([&] {
    try {
      queue.run([] {});
    } catch (const std::system_error& e) {
      message = e.what();
    }
  });
  CHECK(message.find("post() it to run afterwards") != std::string::npos);
  CHECK_THROWS_AS(serial_queue(queue_options{.capacity = 0}), std::invalid_argument);
  CHECK_THROWS_AS(serial_queue(queue_options{.quantum = 0}), std::invalid_argument);
  CHECK_THROWS_AS(serial_queue(queue_options{.workers = 2}), std::invalid_argument);
  CHECK_THROWS_AS(serial_queue(queue_options{.workers = 1, .executor = [](auto job) { job(); }}),
                  std::invalid_argument);
}

TEST_CASE("An idle queue runs run and post on the caller") {
  serial_queue queue;
  std::thread::id ran_on;
  CHECK(queue.post([&] { ran_on = std::this_thread::get_id(); }) == post_result::accepted);
  CHECK(ran_on == std::this_thread::get_id());
  serial_queue with_worker({.workers = 1});
  with_worker.run([&] { ran_on = std::this_thread::get_id(); });
  CHECK(ran_on == std::this_thread::get_id());
  CHECK(with_worker.post([&] { ran_on = std::this_thread::get_id(); }) == post_result::accepted);
  with_worker.drain();
  CHECK(ran_on != std::this_thread::get_id());
}

TEST_CASE("try_run runs only on an idle queue") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    CHECK(queue.try_run([] { return 3; }) == std::optional<int>(3));
    CHECK(queue.try_run([] {}));
    CHECK_THROWS_AS(queue.try_run([]() -> int { throw std::logic_error("t"); }), std::logic_error);
    {
      occupied busy(queue);
      CHECK_FALSE(queue.try_run([] { return 3; }).has_value());
      CHECK_FALSE(queue.try_run([] {}));
    }
    CHECK(queue.run([&] { return !queue.try_run([] {}); }));  // from inside: busy
    CHECK(queue.stats().failed == 1);
    check_sums(queue);
  });
}

TEST_CASE("A task may post to its own queue and does not recurse") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    const int depth = static_cast<int>(support::rounds(100'000));
    int ran = 0;
    bool nested = false;
    std::function<void()> again = [&] {
      if (nested) ran = -depth;
      nested = true;
      if (++ran < depth) (void)queue.post(again);
      nested = false;
    };
    CHECK(queue.post(again) == post_result::accepted);
    while (queue.run([&] { return ran; }) < depth) {
    }
    queue.drain();
    CHECK(ran == depth);
    check_sums(queue);
  });
}

TEST_CASE("What a posted task throws goes to on_error and is counted") {
  each_way([](queue_options options) {
    std::string seen;
    options.on_error = [&](std::exception_ptr error) {
      try {
        std::rethrow_exception(error);
      } catch (const std::exception& e) {
        seen += e.what();
      }
    };
    serial_queue queue(options);
    {
      occupied busy(queue);
      (void)queue.post([] { throw std::runtime_error("a"); });
      (void)queue.post([] { throw std::runtime_error("b"); });
    }
    (void)queue.post([] { throw std::runtime_error("c"); });
    queue.drain();
    CHECK(seen == "abc");
    CHECK(queue.stats().failed == 3);
    check_sums(queue);
  });
}

TEST_CASE("Without on_error an exception of a posted task ends the program") {
  const std::string message = support::death_message([] {
    serial_queue queue;
    (void)queue.post([] { throw std::runtime_error("nobody asked"); });
  });
  CHECK(message.find("nobody asked") != std::string::npos);
}

TEST_CASE("A full queue refuses posts and has room for those who wait") {
  each_way([](queue_options options) {
    options.capacity = 2;
    serial_queue queue(options);
    int ran = 0;
    {
      occupied busy(queue);
      CHECK(queue.post([&] { ++ran; }) == post_result::accepted);
      CHECK(queue.post([&] { ++ran; }) == post_result::accepted);
      CHECK(queue.post([&] { ++ran; }) == post_result::full);
      std::thread waiting([&] { queue.run([&] { ++ran; }); });
      busy.release();
      waiting.join();
    }
    queue.drain();
    CHECK(ran == 3);
    {
      occupied busy(queue);
      CHECK(queue.post([&] { ++ran; }) == post_result::accepted);  // the places are free again
      CHECK(queue.post([&] { ++ran; }) == post_result::accepted);
      CHECK(queue.post([&] { ++ran; }) == post_result::full);
    }
    queue.drain();
    check_sums(queue);
  });
}

TEST_CASE("A full queue that blocks makes post wait until its task has run") {
  each_way([](queue_options options) {
    options.capacity = 1;
    options.full = when_full::block;
    serial_queue queue(options);
    std::vector<int> ran;
    std::atomic<int> threads_done{0};
    {
      occupied busy(queue);
      (void)queue.post([&] { ran.push_back(1); });
      std::thread poster([&] {
        (void)queue.post([&] { ran.push_back(2); });
        ++threads_done;
      });
      busy.release();
      poster.join();
    }
    queue.drain();
    CHECK(threads_done == 1);
    CHECK(ran == std::vector<int>{1, 2});

    // From inside it would wait for itself.
    const std::errc code = queue.run([&] {
      (void)queue.post([] {});
      return code_of([&] { (void)queue.post([] {}); });
    });
    CHECK(code == std::errc::resource_deadlock_would_occur);
    queue.drain();
    check_sums(queue);
  });
}

TEST_CASE("cancel_pending ends what has not started and tells who waits") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    std::atomic<int> alive{0};
    int ran = 0;
    std::binary_semaphore told{0};
    std::errc code{};
    const auto client = [&]() -> support::detached {
      try {
        co_await queue.submit([&] { ++ran; });
      } catch (const std::system_error& e) {
        code = static_cast<std::errc>(e.code().value());
      }
      told.release();
    };
    {
      occupied busy(queue);
      (void)queue.post([&ran, c = counted(alive)] { ++ran; });
      client();
      (void)queue.post([&ran, c = counted(alive)] { ++ran; });
      CHECK(alive == 2);
      queue.cancel_pending();
      (void)queue.post([&] { ran += 100; });
    }
    told.acquire();
    queue.drain();
    CHECK(code == std::errc::operation_canceled);
    CHECK(ran == 100);
    CHECK(alive == 0);
    CHECK(queue.stats().cancelled == 3);
    CHECK(queue.run([] { return 1; }) == 1);  // the queue goes on
    check_sums(queue);
  });
}

TEST_CASE("A task is destroyed before its end is published") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    std::atomic<int> alive{0};
    {
      occupied busy(queue);
      for (int i = 0; i < 10; ++i) (void)queue.post([c = counted(alive)] {});
    }
    queue.drain();
    CHECK(alive == 0);
    (void)queue.post([c = counted(alive)] {});
    queue.drain();
    CHECK(alive == 0);
  });
}

TEST_CASE("Exceptions from copying a task or moving a result leave the queue usable") {
  struct bad_copy {
    bad_copy() = default;
    bad_copy(const bad_copy&) { throw std::runtime_error("copy"); }
    void operator()() const {}
  };
  struct bad_move {
    explicit bad_move(bool fails) : fails_(fails) {}
    bad_move(bad_move&& other) : fails_(other.fails_) {
      if (fails_) throw std::runtime_error("move");
    }
    bool fails_;
  };
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    const bad_copy task;
    CHECK_THROWS_AS(queue.post(task), std::runtime_error);
    {
      occupied busy(queue);
      CHECK_THROWS_AS(queue.post(task), std::runtime_error);
      std::atomic<bool> threw{false};
      std::thread waiting([&] {
        try {
          (void)queue.run([] { return bad_move(true); });
        } catch (const std::runtime_error&) {
          threw = true;
        }
      });
      busy.release();
      waiting.join();
      // Run on the caller nothing is moved, so both ends are right; what counts is the queue.
    }
    CHECK(queue.run([] { return 4; }) == 4);
    queue.drain();
    check_sums(queue);
  });
}

TEST_CASE("A coroutine holds the queue until it is done") {
  each_way([](const queue_options& options) {
    serial_queue queue(options);
    std::vector<int> trace;
    std::atomic<void*> stopped{nullptr};
    struct stop_here {
      std::atomic<void*>& where;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> h) noexcept { where = h.address(); }
      void await_resume() const noexcept {}
    };
    const auto inner = [&]() -> task<int> {
      trace.push_back(1);
      co_await stop_here{stopped};
      trace.push_back(2);
      co_return 9;
    };
    int got = 0;
    std::thread submitter([&] {
      const auto outer = [&]() -> task<void> { got = co_await queue.submit(inner); };
      sync_wait(outer());
    });
    // The queue is busy although no thread works in it.
    while (queue.try_run([] {}) || stopped == nullptr) std::this_thread::yield();
    (void)queue.post([&] { trace.push_back(3); });
    CHECK_FALSE(queue.try_run([] {}));
    std::coroutine_handle<>::from_address(stopped).resume();
    submitter.join();
    queue.drain();
    CHECK(got == 9);
    CHECK(trace == std::vector<int>{1, 2, 3});
    check_sums(queue);
  });
}

TEST_CASE("A quantum hands the work of a caller over to one who waits") {
  serial_queue queue({.quantum = 4});
  std::optional<std::thread::id> first;
  long runs = 0;
  bool handed_over = false;
  // Queues itself until another thread runs it: only a hand-over can bring that about.
  std::function<void()> until_handed_over = [&] {
    if (!first) first = std::this_thread::get_id();
    handed_over = *first != std::this_thread::get_id();
    if (!handed_over && ++runs < 10'000'000) (void)queue.post(until_handed_over);
  };
  std::atomic<bool> over{false};
  support::run_threads(3, [&](std::size_t id) {
    if (id == 0) (void)queue.post(until_handed_over);
    while (!over) over = queue.run([&] { return handed_over || runs == 10'000'000; });
  });
  queue.drain();
  CHECK(handed_over);
}

TEST_CASE("An executor is asked again after each quantum") {
  thread_pool pool(1);
  queue_options options = by(way::executor, pool);
  options.quantum = 10;
  serial_queue queue(options);
  int ran = 0;
  {
    occupied busy(queue);
    for (int i = 0; i < 100; ++i) (void)queue.post([&] { ++ran; });
  }
  queue.drain();
  CHECK(ran == 100);
  CHECK(pool.jobs_seen >= 10);
  CHECK(pool.jobs_seen <= 12);
}

TEST_CASE("When the executor takes no job the thread that asked does the work") {
  int refusals = 0;
  int errors = 0;
  queue_options options;
  options.executor = [&](const std::function<void()>&) {
    ++refusals;
    throw std::runtime_error("pool is gone");
  };
  options.on_error = [&](const std::exception_ptr&) { ++errors; };
  serial_queue queue(options);
  int ran = 0;
  std::thread::id ran_on;
  for (int i = 0; i < 3; ++i) {
    CHECK(queue.post([&] {
      ++ran;
      ran_on = std::this_thread::get_id();
    }) == post_result::accepted);
  }
  CHECK(ran == 3);
  CHECK(ran_on == std::this_thread::get_id());
  CHECK(errors == refusals);
  CHECK(errors >= 3);
}

TEST_CASE("A queue may be destroyed right after its last use") {
  for (const way how : {way::callers, way::worker, way::executor}) {
    thread_pool pool(2);
    for (std::size_t i = 0; i < support::rounds(300); ++i) {
      auto queue = std::make_unique<serial_queue>(by(how, pool));
      int ran = 0;
      std::thread other([&] {
        for (int k = 0; k < 5; ++k) (void)queue->post([&] { ++ran; });
        queue->run([&] { ++ran; });
      });
      queue->run([&] { ++ran; });
      other.join();
      queue.reset();
      REQUIRE(ran == 7);
    }
  }
}

TEST_CASE("Destroying a queue from its own task ends the program with a sentence") {
  const std::string message = support::death_message([] {
    auto* const queue = new serial_queue;
    queue->run([&] { delete queue; });
  });
  CHECK(message.find("waits for the queue that runs it") != std::string::npos);
}

TEST_CASE("A coroutine that goes on on the worker cannot wait for the queue, but may await it") {
  serial_queue queue({.workers = 1});
  std::array<std::errc, 2> code{};
  const auto client = [&]() -> task<bool> {
    const auto worker = co_await queue.submit([] { return std::this_thread::get_id(); });
    if (worker != std::this_thread::get_id()) co_return false;
    code[0] = code_of([&] { queue.drain(); });
    occupied busy(queue);  // only this thread could get on with what is queued now
    const post_result posted = queue.post([] {});
    code[1] = code_of([&] { queue.run([] {}); });
    busy.release();
    const int after = co_await queue.submit([] { return 7; });
    co_return posted == post_result::accepted && after == 7;
  };
  const bool right = sync_wait(client());
  CHECK(right);
  for (const std::errc c : code) CHECK(c == std::errc::resource_deadlock_would_occur);
  queue.drain();
  check_sums(queue);
}

TEST_CASE("Destroying a queue on its own worker ends the program with a sentence") {
  const std::string message = support::death_message([] {
    const auto owner = []() -> task<int> {
      serial_queue queue({.workers = 1});
      co_await queue.submit([] {});
      co_return 5;
    };
    (void)sync_wait(owner());
  });
  CHECK(message.find("let another thread destroy the queue") != std::string::npos);
}

TEST_CASE("Coroutines that a queue releases do not nest") {
  // Each resumed coroutine enters the idle queue again, and so releases the next one.
  serial_queue queue;
  const int n = static_cast<int>(support::rounds(20'000));
  int resumed = 0;
  const auto client = [](serial_queue& q, int& count) -> support::detached {
    for (int i = 0; i < 3; ++i) co_await q.submit([] {});
    ++count;
  };
  {
    occupied busy(queue);
    for (int i = 0; i < n; ++i) client(queue, resumed);
  }
  queue.drain();
  CHECK(queue.stats().completed == static_cast<std::uint64_t>(3 * n) + 1);
  CHECK(resumed == n);
}
