// SPDX-License-Identifier: BSL-1.0
// keyed_serial_queue: coroutines, stops, deadlines, the ends of single keys, circles of keys,
// executors that fail, what rests, memory.

#include <interlock/inplace_stop_token.hpp>
#include <interlock/keyed_serial_queue.hpp>
#include <interlock/manual_timer.hpp>
#include <interlock/serial_queue.hpp>
#include <interlock/task.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <new>
#include <semaphore>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/allocations.hpp"
#include "support/broken_token.hpp"
#include "support/catch.hpp"
#include "support/code_of.hpp"
#include "support/detached.hpp"
#include "support/occupied.hpp"
#include "support/owned.hpp"
#include "support/slow_capture.hpp"
#include "support/threads.hpp"

using interlock::inplace_stop_source;
using interlock::keyed_serial_queue;
using interlock::manual_timer;
using interlock::post_result;
using interlock::queue_options;
using interlock::task;
using interlock::wait_status;
using support::code_of;
using support::occupied;
using namespace std::chrono_literals;
using support::broken_token;

namespace {

constexpr auto deadlock = std::errc::resource_deadlock_would_occur;

template <class Queue>
void check_sums(const Queue& queue) {
  const interlock::queue_stats stats = queue.stats();
  CHECK(stats.accepted == stats.completed + stats.failed + stats.cancelled + stats.dropped);
}

template <class F>
void each_way(F f) {
  f(queue_options{});
  f(queue_options{.workers = 2});
  interlock::worker_pool pool({.threads = 2});
  f(queue_options{.executor = pool});
}

// What the body of a coroutine of a key waits for.
class gate {
public:
  auto operator co_await() noexcept {
    struct awaiter {
      gate& home;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> self) noexcept {
        home.waiting_.store(self.address(), std::memory_order_release);
      }
      void await_resume() const noexcept {}
    };
    return awaiter{*this};
  }
  bool has_waiter() const { return waiting_.load(std::memory_order_acquire) != nullptr; }
  void open() {
    void* const waiting = waiting_.exchange(nullptr, std::memory_order_acq_rel);
    std::coroutine_handle<>::from_address(waiting).resume();
  }

private:
  std::atomic<void*> waiting_{nullptr};
};

template <class Made>
support::detached tells(Made made, std::vector<std::string>& log, std::string name) {
  const auto result = co_await made();
  const bool ran = result.ran();
  log.push_back(name + (ran ? " ran" : std::string(" ") + to_string(result.status())));
}

// Only hands its work out when told, or drops it.
struct held_jobs {
  using moves_what_it_runs = void;
  struct any {
    virtual ~any() = default;
    virtual void run() = 0;
  };
  template <class F>
  struct one : any {
    explicit one(F given) : f(std::move(given)) {}
    void run() override { f(); }
    F f;
  };
  template <class F>
  void execute(F f) {
    const std::lock_guard lock(guard);
    jobs.push_back(std::make_unique<one<F>>(std::move(f)));
  }
  std::size_t run_all() {
    std::size_t ran = 0;
    for (;; ++ran) {
      std::unique_ptr<any> next;
      {
        const std::lock_guard lock(guard);
        if (jobs.empty()) return ran;
        next = std::move(jobs.front());
        jobs.erase(jobs.begin());
      }
      next->run();
    }
  }
  void drop_all() {
    std::vector<std::unique_ptr<any>> gone;
    const std::lock_guard lock(guard);
    gone.swap(jobs);
  }
  std::mutex guard;
  std::vector<std::unique_ptr<any>> jobs;
};

}  // namespace

// ---- coroutines ---------------------------------------------------------------------------------

TEST_CASE("submit gives what f, or its awaitable, returns or throws") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<std::string> queue(options);
    const auto all = [&]() -> task<int> {
      int sum = co_await queue.submit("a", [] { return 1; });
      sum += co_await queue.submit("a", []() -> task<int> { co_return 2; });
      co_await queue.submit("b", [&] { sum += 4; });
      const auto owned = co_await queue.submit("b", [] { return std::make_unique<int>(8); });
      sum += *owned;
      int& same = co_await queue.submit("c", [&]() -> int& { return sum; });
      same += 16;
      try {
        co_await queue.submit("a", [] { throw std::runtime_error("thrown"); });
      } catch (const std::runtime_error&) {
        sum += 32;
      }
      try {
        co_await queue.submit("a", []() -> task<void> {
          throw std::runtime_error("thrown");
          co_return;
        });
      } catch (const std::runtime_error&) {
        sum += 64;
      }
      co_return sum;
    };
    CHECK(interlock::sync_wait(all()) == 127);
    queue.drain();
    CHECK(queue.stats().failed == 2);
    check_sums(queue);
  });
}

TEST_CASE("a coroutine holds its key until it completes, and no other key") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<int> queue(options);
    gate inner;
    std::atomic<bool> over{false};
    std::vector<int> order;
    const auto holds = [&]() -> support::detached {
      co_await queue.submit(1, [&]() -> task<void> {
        order.push_back(1);
        co_await inner;
        order.push_back(2);
      });
      over = true;
    };
    holds();
    while (!inner.has_waiter()) std::this_thread::yield();
    CHECK(queue.post(1, [&] { order.push_back(3); }) == post_result::accepted);
    CHECK_FALSE(queue.try_run(1, [] {}));
    CHECK(queue.run(2, [] { return 5; }) == 5);
    CHECK(queue.depth_approx(1) == 1);
    CHECK_FALSE(over);
    inner.open();
    queue.drain();
    CHECK(order == std::vector<int>{1, 2, 3});
    while (!over) std::this_thread::yield();
  });
}

TEST_CASE("a coroutine that loops over submit on an idle key needs no deep stack") {
  keyed_serial_queue<int> queue;
  const auto loops = [&]() -> task<int> {
    int sum = 0;
    const int rounds = static_cast<int>(support::rounds(100'000));
    for (int i = 0; i < rounds; ++i) sum += co_await queue.submit(i % 3, [] { return 1; });
    co_return sum - rounds;
  };
  CHECK(interlock::sync_wait(loops()) == 0);
}

TEST_CASE("a coroutine that goes on on the only worker may wait for a key, and not for all") {
  keyed_serial_queue<int> queue({.workers = 1});
  std::promise<std::pair<int, std::errc>> told;
  const auto goes_on = [&]() -> support::detached {
    co_await queue.submit(1, [] {});
    (void)queue.post(2, [] {});
    const int answer = queue.run(2, [] { return 7; });  // nobody else is there for it
    told.set_value({answer, code_of([&] { queue.drain(); })});
  };
  goes_on();
  const auto got = told.get_future().get();
  CHECK(got.first == 7);
  CHECK(got.second == deadlock);
}

TEST_CASE("submit goes on where resume_on puts it") {
  keyed_serial_queue<int> queue;
  interlock::worker_pool pool({.threads = 1});
  std::promise<bool> told;
  occupied busy(queue, 1);
  const auto waits = [&]() -> support::detached {
    co_await queue.submit(1, [] {}).resume_on(pool);
    told.set_value(pool.runs_this_thread());
  };
  waits();
  busy.release();
  CHECK(told.get_future().get());
}

TEST_CASE("a stop or a deadline takes a waiting task of a coroutine out of its line") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<int> queue(options);
    manual_timer timer;
    inplace_stop_source stop;
    inplace_stop_source other;
    std::vector<std::string> log;
    int ran = 0;
    {
      occupied busy(queue, 1);
      const auto count = [&ran] { ++ran; };
      tells([&] { return queue.submit(1, count, stop.get_token()); }, log, "a");
      tells([&] { return queue.submit_until(timer, timer.now() + 5ms, 1, count); }, log, "b");
      tells([&] {
        return queue.submit_until(timer, timer.now() + 9ms, 1, count, other.get_token());
      }, log, "c");
      CHECK(queue.depth_approx(1) == 3);
      stop.request_stop();
      CHECK(log == std::vector<std::string>{"a cancelled"});
      CHECK(queue.depth_approx(1) == 2);
      timer.advance_to(timer.now() + 5ms);
      CHECK(log.size() == 2);
      other.request_stop();
      CHECK(queue.depth_approx(1) == 0);
      tells([&] { return queue.submit(1, count, stop.get_token()); }, log, "d");  // asked before
      CHECK(log == std::vector<std::string>{"a cancelled", "b timed out", "c cancelled",
                                            "d cancelled"});
    }
    CHECK(ran == 0);
    queue.drain();
    check_sums(queue);
    queue.close();
    tells([&] { return queue.submit(1, [] {}, other.get_token()); }, log, "e");
    tells([&] { return queue.submit_until(timer, timer.now() + 1ms, 1, [] {}); }, log, "f");
    CHECK(log[4] == "e cancelled");
    CHECK(log[5] == "f closed");
  });
}

TEST_CASE("a deadline that has passed lets submit run if the key is idle") {
  keyed_serial_queue<int> queue;
  manual_timer timer;
  std::vector<std::string> log;
  tells([&] { return queue.submit_until(timer, timer.now(), 1, [] {}); }, log, "a");
  occupied busy(queue, 1);
  tells([&] { return queue.submit_until(timer, timer.now(), 1, [] {}); }, log, "b");
  CHECK(log == std::vector<std::string>{"a ran", "b timed out"});
}

TEST_CASE("cancel_pending and close reach a coroutine") {
  keyed_serial_queue<int> queue;
  std::vector<std::errc> codes;
  const auto submits = [&]() -> support::detached {
    try {
      co_await queue.submit(1, [] {});
      codes.push_back(std::errc{});
    } catch (const std::system_error& e) {
      codes.push_back(static_cast<std::errc>(e.code().value()));
    }
  };
  {
    occupied busy(queue, 1);
    submits();
    queue.cancel_pending();
    CHECK(codes == std::vector<std::errc>{std::errc::operation_canceled});
  }
  queue.close();
  submits();
  CHECK(codes.back() == std::errc::broken_pipe);
  check_sums(queue);
}

TEST_CASE("a coroutine whose task waits in line may be destroyed") {
  keyed_serial_queue<int> queue;
  bool ran = false;
  occupied busy(queue, 1);
  const auto waits = [&]() -> support::owned { co_await queue.submit(1, [&] { ran = true; }); };
  const support::owned gone = waits();
  CHECK(queue.depth_approx(1) == 1);
  gone.handle.destroy();
  CHECK(queue.depth_approx(1) == 0);
  busy.release();
  CHECK_FALSE(ran);
}

// ---- threads with ends --------------------------------------------------------------------------

// A key that calls when a copy of it is destroyed.
struct telling_key {
  telling_key(int n) : number(n) {}  // NOLINT: a number is one
  telling_key(const telling_key& other) : number(other.number), is_copy(true) {}
  ~telling_key() {
    if (is_copy && at_end) std::exchange(at_end, nullptr)();
  }
  friend bool operator==(const telling_key& a, const telling_key& b) {
    return a.number == b.number;
  }
  int number;
  bool is_copy = false;
  static inline std::function<void()> at_end;
};
struct hash_of_telling_key {
  std::size_t operator()(const telling_key& key) const noexcept {
    return static_cast<std::size_t>(key.number);
  }
};

TEST_CASE("a stop that comes when a thread has been told to begin the task is too late") {
  keyed_serial_queue<telling_key, hash_of_telling_key> queue({.quantum = 1});
  inplace_stop_source stop;
  std::vector<std::string> log;
  std::thread heir;
  {
    occupied busy(queue, 1);
    // Its copy of the key goes when its thread has spent its quantum and chosen the heir, and
    // before that is told.
    (void)queue.post(1, [&] { telling_key::at_end = [&] { stop.request_stop(); }; });
    tells([&] { return queue.submit(1, [] {}, stop.get_token()); }, log, "a");
    heir = std::thread([&] { queue.run(1, [] {}); });
    while (queue.depth_approx(1) != 3) std::this_thread::yield();
  }
  heir.join();
  CHECK(log == std::vector<std::string>{"a ran"});
  CHECK(stop.stop_requested());
  check_sums(queue);
}

TEST_CASE("a thread whose task comes next leaves at a stop or a deadline if nobody has begun it") {
  held_jobs jobs;
  keyed_serial_queue<int> queue({.executor = jobs});
  for (const bool by_stop : {true, false}) {
    inplace_stop_source stop;
    std::promise<wait_status> how;
    occupied busy(queue, 1);
    std::thread waits([&] {
      using clock = std::chrono::steady_clock;
      const auto late = clock::now() + (by_stop ? 1h : 100ms);
      const auto got = queue.run_until(late, 1, [] {}, stop.get_token());
      how.set_value(got.status());
    });
    while (queue.depth_approx(1) != 1) std::this_thread::yield();
    busy.release();  // now it rests, and no job comes
    if (by_stop) stop.request_stop();
    auto answer = how.get_future();
    const bool left = answer.wait_for(20s) == std::future_status::ready;
    if (!left) jobs.run_all();
    waits.join();
    CHECK(left);
    CHECK(answer.get() == (by_stop ? wait_status::cancelled : wait_status::timed_out));
    CHECK(queue.active_keys_approx() == 0);
  }
  jobs.run_all();
  check_sums(queue);
}

TEST_CASE("a thread that is stopped while it works for others leaves the key to who waits for it") {
  keyed_serial_queue<int> queue({.quantum = 1});
  const auto wait_for_depth = [&](std::size_t depth) {
    while (queue.depth_approx(1) != depth) std::this_thread::yield();
  };
  const auto nothing = [] {};
  occupied first(queue, 1);
  CHECK(queue.post(1, nothing) == post_result::accepted);  // all that the first one does for others
  std::binary_semaphore begun{0};
  std::binary_semaphore go_on{0};
  CHECK(queue.post(1, [&] { begun.release(), go_on.acquire(); }) == post_result::accepted);
  inplace_stop_source stops;
  wait_status how = wait_status::acquired;
  std::thread stopped([&] { how = queue.run(1, nothing, stops.get_token()).status(); });
  wait_for_depth(3);
  CHECK(queue.post(1, nothing) == post_result::accepted);
  CHECK(queue.post(1, nothing) == post_result::accepted);
  bool by_itself = false;
  std::thread other([&] {
    const auto self = std::this_thread::get_id();
    queue.run(1, [&] { by_itself = std::this_thread::get_id() == self; });
  });
  wait_for_depth(6);
  first.release();
  begun.acquire();
  CHECK(stops.request_stop());
  go_on.release();
  stopped.join();
  other.join();
  CHECK(how == wait_status::cancelled);
  CHECK(by_itself);
}

TEST_CASE("what others get done on a thread whose task has thrown sees no exception in flight") {
  keyed_serial_queue<int> queue;
  int in_task = -1;
  int in_coroutine = -1;
  const auto waits = [&]() -> support::detached {
    co_await queue.submit(1, [&] { in_task = std::uncaught_exceptions(); });
    in_coroutine = std::uncaught_exceptions();
  };
  CHECK_THROWS_AS(queue.run(1, [&] {
    waits();
    throw std::runtime_error("mine");
  }), std::runtime_error);
  CHECK(in_task == 0);
  CHECK(in_coroutine == 0);
  struct copy_throws {
    copy_throws(std::function<void()> f) : before(std::move(f)) {}  // NOLINT
    copy_throws(const copy_throws& other) {
      other.before();
      throw std::runtime_error("copy");
    }
    void operator()() const {}
    std::function<void()> before;
  };
  in_task = in_coroutine = -1;
  CHECK_THROWS_AS(queue.post(1, copy_throws(waits)), std::runtime_error);
  CHECK(in_task == 0);
  CHECK(in_coroutine == 0);
  check_sums(queue);
}

TEST_CASE("a coroutine that an executor drops after the end of the queue may be destroyed") {
  auto jobs = std::make_unique<held_jobs>();
  auto queue = std::make_unique<keyed_serial_queue<int>>();
  const auto waits = [&]() -> support::owned { co_await queue->submit(1, [] {}).resume_on(*jobs); };
  support::owned coroutine{};
  {
    occupied busy(*queue, 1);
    coroutine = waits();
  }
  queue.reset();
  jobs.reset();
  coroutine.handle.destroy();
}

TEST_CASE("a coroutine that goes on may destroy one whose task has ended with its own") {
  for (const bool cancelled : {true, false}) {
    keyed_serial_queue<int> queue;
    support::owned other{};
    int ran = 0;
    bool went_on = false;
    const auto waits = [&](bool destroys) -> support::owned {
      const auto got = co_await queue.submit(1, [&] { ++ran; }, interlock::inplace_stop_token{});
      went_on = went_on || !destroys;
      if (destroys && got.ran() != cancelled) other.handle.destroy();
    };
    support::owned one{};
    queue.run(1, [&] {
      one = waits(true);
      other = waits(false);
      if (cancelled) queue.cancel_pending(1);
    });
    CHECK(ran == (cancelled ? 0 : 2));
    CHECK(!went_on);
    one.handle.destroy();
    check_sums(queue);
  }
}

TEST_CASE("run with a stop or a deadline says why f has not run") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<int> queue(options);
    inplace_stop_source stop;
    const auto soon = [] { return std::chrono::steady_clock::now() + 1ms; };
    const auto idle = queue.run(1, [] { return 3; }, stop.get_token());
    REQUIRE(idle.ran());
    int ran = 0;
    {
      occupied busy(queue, 1);
      const auto late = queue.run_until(soon(), 1, [&] { ++ran; });
      CHECK(late.status() == wait_status::timed_out);
      std::thread waits([&] {
        const auto stopped = queue.run(1, [&] { ++ran; }, stop.get_token());
        CHECK_FALSE(stopped.ran());
        CHECK(stopped.status() == wait_status::cancelled);
      });
      while (queue.depth_approx(1) == 0) std::this_thread::yield();
      stop.request_stop();
      waits.join();
      CHECK(queue.run(1, [&] { ++ran; }, stop.get_token()).status() == wait_status::cancelled);
      std::thread ends([&] {
        inplace_stop_source never;
        const auto cut = queue.run(1, [&] { ++ran; }, never.get_token());
        CHECK(cut.status() == wait_status::cancelled);
      });
      while (queue.depth_approx(1) == 0) std::this_thread::yield();
      queue.cancel_pending(1);
      ends.join();
    }
    CHECK(ran == 0);
    queue.drain();
    check_sums(queue);
    queue.close();
    CHECK(queue.run_until(soon(), 1, [] {}).status() == wait_status::closed);
  });
}

// ---- one key ------------------------------------------------------------------------------------

TEST_CASE("a closed key refuses, and others do not") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<std::string> queue(options);
    const std::string gone(40, 'g');
    int ran = 0;
    {
      occupied busy(queue, gone);
      CHECK(queue.post(gone, [&] { ++ran; }) == post_result::accepted);
      queue.close(gone);
      queue.close(gone);
      CHECK(queue.closed(gone));
      CHECK_FALSE(queue.closed("other"));
      CHECK(queue.post(gone, [&] { ++ran; }) == post_result::closed);
    }
    queue.drain(gone);
    CHECK(ran == 1);
    CHECK(queue.post(gone, [&] { ++ran; }) == post_result::closed);
    CHECK_FALSE(queue.try_run(gone, [] {}));
    CHECK(code_of([&] { queue.run(gone, [] {}); }) == std::errc::broken_pipe);
    CHECK(queue.run("other", [] { return 1; }) == 1);
    queue.reopen(gone);
    queue.reopen(gone);
    CHECK_FALSE(queue.closed(gone));
    queue.run(gone, [&] { ++ran; });
    CHECK(ran == 2);
    CHECK(queue.active_keys_approx() == 0);
  });
}

TEST_CASE("cancel_pending of a key destroys its functions at once, and leaves other keys alone") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<int> queue(options);
    const auto alive = std::make_shared<int>(0);
    int ran = 0;
    {
      occupied one(queue, 1);
      occupied two(queue, 2);
      for (int i = 0; i < 3; ++i) (void)queue.post(1, [&ran, alive] { ++ran; });
      (void)queue.post(2, [&ran, alive] { ++ran; });
      CHECK(queue.depth_approx(1) == 3);
      const auto deepest = queue.deepest_approx(5);
      REQUIRE(deepest.size() == 2);
      CHECK(deepest[0].key == 1);
      CHECK(deepest[0].depth == 3);
      CHECK(deepest[1].depth == 1);
      CHECK(queue.deepest_approx(1).size() == 1);
      queue.cancel_pending(1);
      CHECK(alive.use_count() == 2);
      CHECK(queue.depth_approx(1) == 0);
      CHECK(queue.stats().cancelled == 3);
    }
    queue.drain();
    CHECK(ran == 1);
    CHECK(alive.use_count() == 1);
    check_sums(queue);
  });
}

TEST_CASE("A bound of keys refuses a post for one more, and no other") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<int> queue(options, {.keys = 2});
    int ran = 0;
    {
      occupied one(queue, 1);
      occupied two(queue, 2);
      CHECK(queue.post(3, [&] { ++ran; }) == post_result::full);
      CHECK(queue.post(1, [&] { ++ran; }) == post_result::accepted);
      CHECK(queue.run(3, [] { return 4; }) == 4);  // who waits is bound enough
    }
    queue.drain();
    CHECK(queue.post(3, [&] { ++ran; }) == post_result::accepted);
    queue.drain();
    CHECK(ran == 2);
  });
  using queue_of_int = keyed_serial_queue<int>;
  CHECK_THROWS_AS(queue_of_int(queue_options{}, {.keys = 0}), std::invalid_argument);
}

TEST_CASE("an empty function is refused by name") {
  keyed_serial_queue<int> queue;
  CHECK_THROWS_AS(queue.post(1, std::function<void()>()), std::invalid_argument);
  void (*const nothing)() = nullptr;
  CHECK_THROWS_AS(queue.post(1, nothing), std::invalid_argument);
  const inplace_stop_source stop;
  CHECK_THROWS_AS(queue.post(1, nothing, stop.get_token()), std::invalid_argument);
  CHECK_THROWS_AS(queue.post_droppable(1, nothing), std::invalid_argument);
  CHECK_THROWS_AS(queue.post_wait(1, std::function<void()>()), std::invalid_argument);
  CHECK_THROWS_AS(queue.submit_future(1, nothing), std::invalid_argument);
  CHECK_THROWS_AS(queue.async_post(1, std::function<void()>()), std::invalid_argument);
  CHECK_THROWS_AS(queue.async_post(1, nothing, stop.get_token()), std::invalid_argument);
  CHECK(queue.active_keys_approx() == 0);
  CHECK(queue.stats().accepted == 0);
}

TEST_CASE("a keyed queue takes an empty key and a very long one") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<std::string> queue(options);
    const std::string longest(100'000, 'k');
    int ran = 0;
    (void)queue.post("", [&] { ++ran; });
    queue.drain("");
    (void)queue.post(longest, [&] { ++ran; });
    queue.drain(longest);
    CHECK(ran == 2);
  });
}

TEST_CASE("an Equal that throws does not harm the line") {
  struct touchy {
    int value;
    bool* angry;
  };
  struct hash {
    std::size_t operator()(const touchy&) const noexcept { return 1; }
  };
  struct equal {
    bool operator()(const touchy& a, const touchy& b) const {
      if (*a.angry) throw std::runtime_error("equal");
      return a.value == b.value;
    }
  };
  bool angry = false;
  keyed_serial_queue<touchy, hash, equal> queue;
  const auto seen = queue.run(touchy{1, &angry}, [&] {
    angry = true;
    bool thrown = false;
    try {
      (void)queue.post(touchy{2, &angry}, [] {});
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    angry = false;
    return thrown;
  });
  CHECK(seen);
  CHECK(queue.active_keys_approx() == 0);
}

// ---- circles ------------------------------------------------------------------------------------

TEST_CASE("keys whose tasks wait for each other get an error, and one of them goes on") {
  each_way([](const queue_options& options) {
    for (std::size_t round = 0; round < support::rounds(200); ++round) {
      keyed_serial_queue<int> queue(options);
      constexpr int ring = 3;
      std::array<std::binary_semaphore, ring> begun{std::binary_semaphore(0),
                                                    std::binary_semaphore(0),
                                                    std::binary_semaphore(0)};
      std::atomic<int> errors{0};
      std::atomic<int> fine{0};
      support::run_threads(ring, [&](std::size_t id) {
        const int own = static_cast<int>(id);
        queue.run(own, [&] {
          for (int i = 0; i < ring - 1; ++i) begun[id].release();
          for (std::size_t other = 0; other < ring; ++other) {
            if (other != id) begun[other].acquire();
          }
          const std::errc code = code_of([&] { queue.run((own + 1) % ring, [] {}); });
          ++(code == deadlock ? errors : fine);
        });
      });
      REQUIRE(errors >= 1);
      REQUIRE(errors + fine == ring);
      check_sums(queue);
    }
  });
}

TEST_CASE("a circle through two queues is found as well") {
  keyed_serial_queue<int> first;
  keyed_serial_queue<std::string> second({.workers = 1});
  std::binary_semaphore in_first{0};
  std::binary_semaphore in_second{0};
  std::array<std::errc, 2> codes{};
  std::thread a([&] {
    first.run(1, [&] {
      in_first.release();
      in_second.acquire();
      codes[0] = code_of([&] { second.run("x", [] {}); });
    });
  });
  second.run("x", [&] {
    in_second.release();
    in_first.acquire();
    codes[1] = code_of([&] { first.drain(1); });
  });
  a.join();
  const bool one = (codes[0] == deadlock) != (codes[1] == deadlock);
  CHECK(one);
}

// Runs `a` and `b` on two threads, each as the task that `in_a`, `in_b` run it as; they go on when
// both have begun. Returns: how many got the error.
template <class InA, class InB, class A, class B>
int errors_of_both(InA in_a, InB in_b, A a, B b) {
  std::binary_semaphore a_begun{0};
  std::binary_semaphore b_begun{0};
  std::array<std::errc, 2> codes{};
  std::thread other([&] {
    in_a([&] {
      a_begun.release();
      b_begun.acquire();
      codes[0] = code_of(a);
    });
  });
  in_b([&] {
    b_begun.release();
    a_begun.acquire();
    codes[1] = code_of(b);
  });
  other.join();
  return (codes[0] == deadlock) + (codes[1] == deadlock);
}

TEST_CASE("a circle through a key and a serial_queue is found") {
  for (std::size_t round = 0; round < support::rounds(100); ++round) {
    keyed_serial_queue<int> keys({.workers = round % 2});
    interlock::serial_queue lane;
    const auto in_key = [&](auto f) { keys.run(1, f); };
    const auto in_lane = [&](auto f) { lane.run(f); };
    const int errors =
        errors_of_both(in_key, in_lane, [&] { lane.run([] {}); }, [&] { keys.run(1, [] {}); });
    REQUIRE(errors == 1);
    check_sums(keys);
  }
}

TEST_CASE("a wait that a deadline ends is told that it closes a circle, and closes none for others") {
  keyed_serial_queue<int> keys;
  const auto in = [&](int key) { return [&keys, key](auto f) { keys.run(key, f); }; };
  const auto brief = [&](int key) {
    return [&keys, key] {
      while (!keys.run_until(std::chrono::steady_clock::now() + 2ms, key, [] {})) {
      }
    };
  };
  const int errors = errors_of_both(in(1), in(2), brief(2), [&] { keys.run(1, [] {}); });
  CHECK(errors == 1);  // of whichever came second: at the latest the brief one, when it tries again
  check_sums(keys);
}

TEST_CASE("a coroutine that awaits the key that it holds gets an error") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<std::string> queue(options);
    const auto inner = [&]() -> task<std::errc> {  // two coroutines away from who holds it
      std::errc code{};
      try {
        co_await queue.submit("a", [] {});
      } catch (const std::system_error& e) {
        code = static_cast<std::errc>(e.code().value());
      }
      co_return code;
    };
    const auto all = [&]() -> task<std::errc> {
      const std::errc code = co_await queue.submit("a", [&]() -> task<std::errc> {
        co_await queue.submit("b", [] {});  // another key is fine
        const std::errc got = co_await inner();
        co_return got;
      });
      co_return code;
    };
    CHECK(interlock::sync_wait(all()) == deadlock);
    queue.drain();
    CHECK(queue.stats().accepted == 2);
    check_sums(queue);
  });
}

template <class Queue>
task<void> goes_on(Queue& queue, gate& until, int next, std::errc& code) {
  co_await until;
  try {
    co_await queue.submit(next, [] {});
  } catch (const std::system_error& e) {
    code = static_cast<std::errc>(e.code().value());
  }
}
template <class Queue>
support::detached holds_and_awaits(Queue& queue, gate& until, int own, int next, std::errc& code) {
  co_await queue.submit(own, [&, next] { return goes_on(queue, until, next, code); });
}

TEST_CASE("coroutines that hold keys in a circle get an error, and those beside it none") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<int> queue(options);
    constexpr int ring = 3;
    std::array<gate, ring + 1> gates;
    std::array<std::errc, ring + 1> codes{};
    for (int i = 0; i <= ring; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const int next = i == ring ? 0 : (i + 1) % ring;  // the last one waits for the circle
      holds_and_awaits(queue, gates[at], i, next, codes[at]);
      while (!gates[at].has_waiter()) std::this_thread::yield();
    }
    for (std::size_t i = ring + 1; i-- > 0;) gates[i].open();
    queue.drain();
    CHECK(codes == std::array<std::errc, ring + 1>{deadlock, {}, {}, {}});  // 0 closes it
    CHECK(queue.stats().accepted == 2 * ring + 1);
    check_sums(queue);
  });
}

TEST_CASE("a thread that waits for a coroutine which waits for its key gets an error") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<int> queue(options);
    interlock::serial_queue lane;
    gate until;
    std::errc code{};
    const std::errc thread = queue.run(2, [&] {
      return lane.run([&] {
        holds_and_awaits(queue, until, 1, 2, code);
        while (!until.has_waiter()) std::this_thread::yield();
        until.open();
        return code_of([&] { queue.run(1, [] {}); });
      });
    });
    CHECK(thread == deadlock);
    queue.drain();
    CHECK(code == std::errc{});
    check_sums(queue);
  });
}

TEST_CASE("drain of all keys gets an error where it would close a circle, and waits for nothing then") {
  keyed_serial_queue<int> first;
  keyed_serial_queue<int> second({.workers = 1});
  const int errors = errors_of_both(
      [&](auto f) { first.run(1, f); },
      [&](auto f) {
        occupied other(second, 3);  // a key that is busy, but in no circle
        (void)second.post(3, [] {});
        second.run(2, [&] {
          f();
          other.release();
        });
      },
      [&] { second.drain(); }, [&] { first.run(1, [] {}); });
  CHECK(errors == 1);
  second.drain();
  check_sums(first);
  check_sums(second);
}

TEST_CASE("what a waiting thread makes ready goes on before it waits again") {
  keyed_serial_queue<int> outer;
  keyed_serial_queue<int> inner({.quantum = 1});
  gate critical;
  std::vector<int> log;
  occupied busy(inner, 1);
  (void)inner.post(1, [] {});  // spends the quantum of the thread that is in it
  const auto lets_go = [&]() -> support::detached {
    co_await inner.submit(1, [] {});
    log.push_back(1);
    critical.open();
  };
  const auto holds = [&]() -> support::detached {
    co_await inner.submit(1, [&]() -> task<void> {
      if (log.empty()) co_await critical;
    });
    log.push_back(2);
  };
  lets_go();
  holds();
  std::thread waits([&] {
    // Inside of work that a trampoline runs, so that what is woken there is only made ready.
    const auto all = [&]() -> support::detached {
      co_await outer.submit(1, [] {});
      inner.run(1, [&] { log.push_back(3); });
    };
    outer.run(1, [&] { all(); });
  });
  while (inner.depth_approx(1) != 4) std::this_thread::yield();
  busy.release();
  waits.join();
  CHECK(log.size() == 3);
}

TEST_CASE("tasks on every worker may wait for other keys: they do that work themselves") {
  keyed_serial_queue<int> queue({.workers = 2});
  std::atomic<int> sum{0};
  std::array<std::binary_semaphore, 2> begun{std::binary_semaphore(0), std::binary_semaphore(0)};
  for (int own = 0; own < 2; ++own) {
    const auto at = static_cast<std::size_t>(own);
    (void)queue.post(own, [&, own, at] {
      begun[at].release();
      begun[1 - at].acquire();
      (void)queue.post(10 + own, [&] { ++sum; });  // nobody is free for it
      sum += queue.run(10 + own, [] { return 10; });
    });
  }
  queue.drain();
  CHECK(sum == 22);
}

// ---- what rests ---------------------------------------------------------------------------------

TEST_CASE("a chain of posts through ever new keys needs no deep stack") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<int> queue(options);
    const int length = static_cast<int>(support::rounds(100'000));
    std::atomic<int> ran{0};
    struct link {
      keyed_serial_queue<int>& queue;
      std::atomic<int>& ran;
      int number, length;
      void operator()() const {
        ++ran;
        if (number < length) (void)queue.post(number + 1, link{queue, ran, number + 1, length});
      }
    };
    (void)queue.post(1, link{queue, ran, 1, length});
    while (ran != length) std::this_thread::yield();
    queue.drain();
    CHECK(queue.stats().completed == static_cast<std::uint64_t>(length));
  });
}

TEST_CASE("a blocked key keeps no other key waiting, also of the same shard") {
  struct one_shard {
    std::size_t operator()(int) const noexcept { return 7; }
  };
  std::binary_semaphore release{0};
  std::atomic<int> ran{0};
  keyed_serial_queue<int, one_shard> queue({.workers = 2});
  (void)queue.post(0, [&] { release.acquire(); });
  for (int key = 1; key < 500; ++key) (void)queue.post(key, [&] { ++ran; });
  for (int key = 1; key < 500; ++key) queue.drain(key);
  CHECK(ran == 499);
  CHECK(queue.active_keys_approx() == 1);
  release.release();
}

TEST_CASE("an executor is asked once for a burst, and jobs that come late find nothing") {
  held_jobs jobs;
  std::atomic<int> ran{0};
  {
    keyed_serial_queue<int> queue({.executor = jobs});
    for (int i = 0; i < 1000; ++i) (void)queue.post(i, [&] { ++ran; });
    CHECK(jobs.jobs.size() == 1);
    CHECK(queue.deepest_approx(3).size() == 3);
    while (queue.active_keys_approx() != 0) jobs.run_all();
    CHECK(ran == 1000);
    (void)queue.post(1, [&] { ++ran; });
    queue.cancel_pending();
    CHECK(queue.active_keys_approx() == 0);
    CHECK(jobs.jobs.size() == 1);  // it comes when the queue is gone
  }
  CHECK(jobs.run_all() == 1);
  CHECK(ran == 1000);
}

TEST_CASE("a key at rest whose first task leaves keeps its place among those that rest") {
  struct one_shard {
    std::size_t operator()(int) const noexcept { return 7; }
  };
  held_jobs jobs;
  std::vector<int> order;
  std::vector<std::string> log;
  inplace_stop_source stop;
  keyed_serial_queue<int, one_shard> queue({.executor = jobs});
  (void)queue.post(1, [&] { order.push_back(1); });
  tells([&] { return queue.submit(2, [&] { order.push_back(-2); }, stop.get_token()); }, log, "a");
  (void)queue.post(2, [&] { order.push_back(2); });
  (void)queue.post(3, [&] { order.push_back(3); });
  (void)queue.post(4, [&] { order.push_back(-4); });
  stop.request_stop();
  queue.cancel_pending(4);
  CHECK(log == std::vector<std::string>{"a cancelled"});
  CHECK(queue.active_keys_approx() == 3);
  jobs.run_all();
  CHECK(order == std::vector<int>{1, 2, 3});
  check_sums(queue);
}

TEST_CASE("work whose job the executor has dropped is done by who dropped it") {
  held_jobs jobs;
  int ran = 0;
  {
    keyed_serial_queue<int> queue({.executor = jobs});
    for (int i = 0; i < 10; ++i) (void)queue.post(i % 3, [&] { ++ran; });
    CHECK(ran == 0);
    jobs.drop_all();
    CHECK(ran == 10);
    (void)queue.post(1, [&] { ++ran; });  // from now on the callers do it
    CHECK(ran == 11);
    CHECK(queue.run(1, [&] { return queue.post(2, [&] { ++ran; }); }) == post_result::accepted);
    CHECK(ran == 12);
  }
  CHECK(ran == 12);
}

TEST_CASE("an executor that runs the job inside the call nests nothing") {
  int depth = 0;
  int deepest = 0;
  keyed_serial_queue<int> queue({.executor = [](auto job) { job(); }});
  std::function<void(int)> more = [&](int left) {
    deepest = std::max(deepest, ++depth);
    if (left != 0) (void)queue.post(left, [&, left] { more(left - 1); });
    --depth;
  };
  (void)queue.post(0, [&] { more(1000); });
  queue.drain();
  CHECK(deepest == 1);
  CHECK(queue.stats().completed == 1001);
}

// ---- who waits for a place, stops of what is queued, futures ------------------------------------

namespace {

auto soon() { return std::chrono::steady_clock::now() + 1ms; }
auto late() { return std::chrono::steady_clock::now() + 1h; }

// Who waits for a place stands in the line, and counts there.
template <class Queue>
void await_depth(const Queue& queue, int key, std::size_t depth) {
  while (queue.depth_approx(key) != depth) std::this_thread::yield();
}

}  // namespace

TEST_CASE("A stopped keyed task is destroyed and gives back its place at once") {
  each_way([](queue_options options) {
    options.capacity = 1;
    keyed_serial_queue<int> queue(options);
    inplace_stop_source stop;
    const auto alive = std::make_shared<int>(0);
    int ran = 0;
    {
      occupied busy(queue, 1);
      CHECK(queue.post(1, [alive, &ran] { ++ran; }, stop.get_token()) == post_result::accepted);
      CHECK(queue.post(1, [&ran] { ++ran; }) == post_result::full);
      CHECK(alive.use_count() == 2);
      stop.request_stop();
      CHECK(alive.use_count() == 1);
      CHECK(queue.depth_approx(1) == 0);
      CHECK(queue.post(1, [&ran] { ran += 10; }) == post_result::accepted);
      CHECK(queue.post(1, [&ran] { ++ran; }, stop.get_token()) == post_result::cancelled);
    }
    queue.drain();
    CHECK(ran == 10);
    CHECK(queue.stats().cancelled == 1);
    check_sums(queue);
    inplace_stop_source unused;
    CHECK(queue.post(1, [&ran] { ++ran; }, unused.get_token()) == post_result::accepted);
    queue.drain();
    unused.request_stop();  // behind its end: no effect
    CHECK(ran == 11);
  });
}

TEST_CASE("A stopped keyed task at rest leaves its key to the next, or to nobody") {
  held_jobs jobs;
  queue_options options;
  options.executor = std::ref(jobs);
  keyed_serial_queue<int> queue(options);
  std::array<inplace_stop_source, 2> stops;
  std::vector<int> ran;
  const auto note = [&ran](int i) { return [&ran, i] { ran.push_back(i); }; };
  CHECK(queue.post(1, note(1), stops[0].get_token()) == post_result::accepted);
  CHECK(queue.post(1, note(2)) == post_result::accepted);
  CHECK(queue.post(2, note(3), stops[1].get_token()) == post_result::accepted);
  stops[0].request_stop();
  stops[1].request_stop();
  CHECK(queue.active_keys_approx() == 1);
  while (queue.active_keys_approx() != 0) jobs.run_all();
  CHECK(ran == std::vector{2});
  CHECK(queue.stats().cancelled == 2);
  check_sums(queue);
  jobs.run_all();
}

TEST_CASE("A keyed post waits for a place until its deadline, its stop or the end of key or queue") {
  each_way([](queue_options options) {
    options.capacity = 1;
    keyed_serial_queue<int> queue(options);
    int ran = 0;
    const auto count = [&ran] { ++ran; };
    std::array<post_result, 4> how{};
    inplace_stop_source stop;
    {
      occupied busy(queue, 1);
      CHECK(queue.post_wait(1, count) == post_result::accepted);
      CHECK(queue.post_wait_until(soon(), 1, count) == post_result::timed_out);
      std::thread one([&] { how[0] = queue.post_wait(1, count, stop.get_token()); });
      await_depth(queue, 1, 2);
      stop.request_stop();
      one.join();
      CHECK(queue.post_wait(1, count, stop.get_token()) == post_result::cancelled);
      CHECK(queue.depth_approx(1) == 1);
      std::thread two([&] { how[1] = queue.post_wait(1, count); });
      await_depth(queue, 1, 2);
      busy.release();
      two.join();
    }
    queue.drain();
    CHECK(how[0] == post_result::cancelled);
    CHECK(how[1] == post_result::accepted);
    CHECK(ran == 2);
    CHECK(queue.stats().accepted == queue.stats().completed);
    for (const bool all : {false, true}) {
      occupied busy(queue, 1);
      CHECK(queue.post(1, count) == post_result::accepted);
      std::thread three([&] { how[all ? 2 : 3] = queue.post_wait(1, count); });
      await_depth(queue, 1, 2);
      all ? queue.close() : queue.close(1);
      three.join();
      queue.reopen(1);
    }
    CHECK(how[2] == post_result::closed);
    CHECK(how[3] == post_result::closed);
    queue.drain();
    CHECK(ran == 4);
    CHECK(queue.depth_approx(1) == 0);
    check_sums(queue);
  });
}

TEST_CASE("A thread that waits for a place goes on when there is one, not when its task has run") {
  each_way([](queue_options options) {
    options.capacity = 1;
    keyed_serial_queue<int> queue(options);
    std::binary_semaphore posted{0};
    bool before = false;
    std::vector<int> ran;
    occupied busy(queue, 1);
    CHECK(queue.post(1, [&] {
      posted.acquire();  // by who has waited for the place that this one has left
      before = ran.empty();
    }) == post_result::accepted);
    std::thread waits([&] {
      CHECK(queue.post_wait(1, [&] { ran.push_back(1); }) == post_result::accepted);
      posted.release();
    });
    await_depth(queue, 1, 2);
    busy.release();
    waits.join();
    queue.drain();
    CHECK(before);
    CHECK(ran == std::vector{1});
  });
}

TEST_CASE("co_await async_post waits for a place of its key, in the order of arrival") {
  each_way([](queue_options options) {
    options.capacity = 1;
    keyed_serial_queue<std::string> queue(options);
    manual_timer timer;
    inplace_stop_source stop;
    const std::string key(100, 'k');
    std::vector<int> ran;
    std::vector<post_result> how;
    std::counting_semaphore<> told{0};
    const auto client = [&](int i) -> support::detached {
      const post_result got = co_await queue.async_post(key, [&ran, i] { ran.push_back(i); });
      if (got == post_result::accepted) told.release();
      if (got == post_result::closed) how.push_back(got);
    };
    const auto stopped = [&]() -> support::detached {
      const post_result got =
          co_await queue.async_post(key, [&ran] { ran.push_back(-1); }, stop.get_token());
      how.push_back(got);
    };
    const auto delayed = [&]() -> support::detached {
      const auto end = timer.now() + 1s;
      const post_result got =
          co_await queue.async_post_until(timer, end, key, [&ran] { ran.push_back(-1); });
      how.push_back(got);
    };
    {
      occupied busy(queue, key);
      client(1);
      told.acquire();
      client(2);
      stopped();
      client(3);
      delayed();
      client(4);
      CHECK(queue.depth_approx(key) == 6);
      stop.request_stop();
      timer.advance_to(timer.now() + 1s);
      CHECK(how == std::vector{post_result::cancelled, post_result::timed_out});
      CHECK(queue.depth_approx(key) == 4);
      CHECK(queue.post(key, [] {}) == post_result::full);
      stopped();
      CHECK(how.back() == post_result::cancelled);
    }
    for (int i = 0; i < 3; ++i) told.acquire();
    queue.drain();
    CHECK(ran == std::vector{1, 2, 3, 4});
    CHECK(queue.stats().cancelled == 0);
    check_sums(queue);
    {
      occupied busy(queue, key);
      client(5);
      client(6);
      told.acquire();
      queue.close();
      CHECK(how.back() == post_result::closed);
      how.clear();
      client(7);
      CHECK(how == std::vector{post_result::closed});
    }
    queue.drain();
    CHECK(ran.size() == 5);
    check_sums(queue);
  });
}

TEST_CASE("What waits for a place and what does not keep the order of their key") {
  each_way([](queue_options options) {
    options.capacity = 2;
    options.quantum = 1;
    keyed_serial_queue<int> queue(options);
    std::vector<int> ran;
    std::vector<std::thread> threads;
    std::atomic<int> ended{0};
    const auto note = [&ran](int i) { return [&ran, i] { ran.push_back(i); }; };
    const auto posts = [&](int i) -> support::detached {
      const post_result got = co_await queue.async_post(1, note(i));
      ended += got == post_result::accepted;
    };
    {
      occupied busy(queue, 1);
      for (int i = 0; i < 12; ++i) {
        if (i % 3 == 0) threads.emplace_back([&, i] { queue.run(1, note(i)); });
        if (i % 3 == 1) posts(i);
        if (i % 3 == 2) {
          threads.emplace_back([&, i] { ended += queue.post_wait(1, note(i)) == post_result::accepted; });
        }
        await_depth(queue, 1, static_cast<std::size_t>(i) + 1);
      }
    }
    for (std::thread& each : threads) each.join();
    queue.drain();
    while (ended != 8) std::this_thread::yield();
    CHECK(ran == std::vector{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
    check_sums(queue);
  });
}

TEST_CASE("Where all keys share the places, who waits has one in its turn at the latest") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<int> queue(options, {.total = 1});
    int ran = 0;
    std::atomic<bool> over{false};
    const auto posts = [&](int key) -> support::detached {
      const post_result got = co_await queue.async_post(key, [&ran] { ++ran; });
      CHECK(got == post_result::accepted);
      over = true;
    };
    {
      occupied busy(queue, 1);
      CHECK(queue.post(1, [&ran] { ++ran; }) == post_result::accepted);
      CHECK(queue.post_wait(2, [&ran] { ++ran; }) == post_result::accepted);  // idle: its turn
      queue.drain(2);
      CHECK(ran == 1);
      posts(2);
      while (!over) std::this_thread::yield();
      queue.drain(2);
      CHECK(ran == 2);
      occupied other(queue, 3);
      std::thread waits([&] {
        CHECK(queue.post_wait(3, [&ran] { ++ran; }) == post_result::accepted);
      });
      await_depth(queue, 3, 1);
      CHECK(queue.post(3, [] {}) == post_result::full);
      other.release();
      waits.join();
      queue.drain(3);
      CHECK(ran == 3);
    }
    queue.drain();
    CHECK(ran == 4);
    check_sums(queue);
  });
}

TEST_CASE("cancel_pending makes room for those who wait, and does not end them") {
  each_way([](queue_options options) {
    options.capacity = 2;
    keyed_serial_queue<int> queue(options);
    std::vector<int> ran;
    std::atomic<int> told{0};
    const auto posts = [&](int i) -> support::detached {
      const post_result got = co_await queue.async_post(1, [&ran, i] { ran.push_back(i); });
      told += got == post_result::accepted;
    };
    {
      occupied busy(queue, 1);
      for (int i = 0; i < 5; ++i) posts(i);
      CHECK(told == 2);
      queue.cancel_pending(1);
      CHECK(told == 4);
      queue.cancel_pending();
      CHECK(told == 5);
    }
    queue.drain();
    CHECK(ran == std::vector{4});
    CHECK(queue.stats().cancelled == 4);
    check_sums(queue);
  });
  // The same where nobody has begun what is first.
  held_jobs jobs;
  queue_options options{.capacity = 1};
  options.executor = std::ref(jobs);
  keyed_serial_queue<int> queue(options);
  int ran = 0;
  int told = 0;
  const auto posts = [&]() -> support::detached {
    const post_result got = co_await queue.async_post(1, [&ran] { ++ran; });
    told += got == post_result::accepted;
  };
  for (int i = 0; i < 4; ++i) posts();
  CHECK(told == 1);
  queue.cancel_pending();
  while (queue.active_keys_approx() != 0) jobs.run_all();
  CHECK(told == 4);
  CHECK(ran == 3);
  CHECK(queue.stats().cancelled == 1);
  check_sums(queue);
  jobs.run_all();
}

TEST_CASE("A coroutine that waits for a place may be destroyed") {
  keyed_serial_queue<int> queue({.capacity = 1});
  const auto alive = std::make_shared<int>(0);
  const auto posts = [&]() -> support::owned {
    const auto keeps = [alive] {};
    const post_result got = co_await queue.async_post(1, keeps);
    static_cast<void>(got);
  };
  {
    occupied busy(queue, 1);
    CHECK(queue.post(1, [] {}) == post_result::accepted);
    support::start_and_destroy(9, posts);
    CHECK(queue.depth_approx(1) == 1);
  }
  queue.drain();
  CHECK(alive.use_count() == 1);
  CHECK(queue.stats().accepted == 2);
}

TEST_CASE("A coroutine that waits for a place of the key that it holds gets an error") {
  each_way([](queue_options options) {
    options.capacity = 1;
    keyed_serial_queue<int> queue(options);
    int ran = 0;
    std::errc code{};
    const auto outer = [&]() -> task<void> {
      co_await queue.submit(1, [&]() -> task<void> {
        const post_result first = co_await queue.async_post(1, [&ran] { ++ran; });
        CHECK(first == post_result::accepted);
        try {
          static_cast<void>(co_await queue.async_post(1, [&ran] { ran += 100; }));
        } catch (const std::system_error& e) {
          code = static_cast<std::errc>(e.code().value());
        }
        const post_result other = co_await queue.async_post(2, [&ran] { ++ran; });
        CHECK(other == post_result::accepted);
        queue.drain(2);
      });
    };
    interlock::sync_wait(outer());
    queue.drain();
    CHECK(code == deadlock);
    CHECK(ran == 2);
    check_sums(queue);
  });
}

TEST_CASE("submit_future of a key gives what the task returns, throws, or that it was cancelled") {
  each_way([](queue_options options) {
    options.capacity = 1;
    keyed_serial_queue<int> queue(options);
    auto value = queue.submit_future(1, [] { return std::make_unique<int>(4); });
    CHECK(*value.get() == 4);
    queue.drain();
    auto thrown = queue.submit_future(1, []() -> int { throw std::runtime_error("thrown"); });
    queue.drain();
    std::future<void> cancelled;
    {
      occupied busy(queue, 1);
      cancelled = queue.submit_future(1, [] {});
      CHECK(code_of([&] { static_cast<void>(queue.submit_future(1, [] {})); }) ==
            std::errc::resource_unavailable_try_again);
      queue.cancel_pending(1);
    }
    queue.drain();  // ThreadSanitizer does not see libstdc++ count the owners of an exception
    CHECK_THROWS_AS(thrown.get(), std::runtime_error);
    CHECK(code_of([&] { cancelled.get(); }) == std::errc::operation_canceled);
    CHECK(queue.stats().failed == 1);
    CHECK(queue.stats().cancelled == 1);
    check_sums(queue);
    queue.close();
    CHECK(code_of([&] { static_cast<void>(queue.submit_future(1, [] {})); }) ==
          std::errc::broken_pipe);
  });
}

TEST_CASE("drain_until of a key or of all gives up at its deadline and leaves no trace") {
  each_way([](const queue_options& options) {
    keyed_serial_queue<int> queue(options);
    {
      occupied one(queue, 1);
      occupied two(queue, 2);
      CHECK_FALSE(queue.drain_until(soon()));
      CHECK_FALSE(queue.drain_until(soon(), 1));
      CHECK(queue.drain_until(soon(), 3));
      CHECK(queue.depth_approx(1) == 0);
      one.release();
      CHECK(queue.drain_until(late(), 1));
      CHECK_FALSE(queue.drain_until(soon()));
    }
    CHECK(queue.drain_until(late()));
    CHECK(queue.active_keys_approx() == 0);
    CHECK(queue.stats().cancelled == 0);
    check_sums(queue);
    queue.run(1, [&] {
      CHECK(code_of([&] { static_cast<void>(queue.drain_until(late(), 1)); }) == deadlock);
      CHECK(code_of([&] { static_cast<void>(queue.drain_until(late())); }) == deadlock);
      CHECK(queue.drain_until(late(), 2));
    });
  });
}

TEST_CASE("drain of a keyed queue waits until the captures of what has ended early are destroyed") {
  using slow = support::slow_capture;
  for (const std::string by : {"stop", "drop", "cancel", "cancel of all"}) {
    keyed_serial_queue<int> queue({.capacity = 1, .full = interlock::when_full::drop_oldest});
    inplace_stop_source stop;
    std::binary_semaphore begun{0};
    std::binary_semaphore go{0};
    std::thread other;
    {
      occupied busy(queue, 1);
      const auto posted = by == "stop" ? queue.post(1, slow(begun, go), stop.get_token())
                                       : queue.post_droppable(1, slow(begun, go));
      CHECK(posted == post_result::accepted);
      other = std::thread([&] {
        if (by == "stop") stop.request_stop();
        if (by == "drop") static_cast<void>(queue.post(1, [] {}));
        if (by == "cancel") queue.cancel_pending(1);
        if (by == "cancel of all") queue.cancel_pending();
      });
      begun.acquire();
    }
    CHECK_FALSE(queue.drain_until(soon()));
    CHECK_FALSE(queue.drain_until(soon(), 1));
    go.release();
    queue.drain();
    other.join();
    check_sums(queue);
  }
}

TEST_CASE("Whoever gets the place of a stopped keyed task may destroy the queue") {
  auto queue = std::make_unique<keyed_serial_queue<int>>(queue_options{.capacity = 1});
  inplace_stop_source stop;
  int ran = 0;
  std::binary_semaphore placed{0};
  const auto posts = [&]() -> support::detached {
    const post_result got = co_await queue->async_post(1, [&ran] { ++ran; });
    CHECK(got == post_result::accepted);
    placed.release();
  };
  std::thread destroys;
  {
    occupied busy(*queue, 1);
    CHECK(queue->post(1, [&ran] { ran += 100; }, stop.get_token()) == post_result::accepted);
    posts();
    destroys = std::thread([&] {
      placed.acquire();
      queue.reset();
    });
    stop.request_stop();
  }
  destroys.join();
  CHECK(ran == 1);
}

TEST_CASE("A stop callback that cannot be made is thrown, and leaves nothing in the line of a key") {
  each_way([](queue_options options) {
    options.capacity = 2;
    keyed_serial_queue<int> queue(options);
    const auto alive = std::make_shared<int>(0);
    int threw = 0;
    const auto never = [alive] { ++*alive; };
    const auto posts = [&]() -> task<void> {
      try {
        static_cast<void>(co_await queue.async_post(1, never, broken_token{}));
      } catch (const std::bad_alloc&) {
        ++threw;
      }
    };
    {
      occupied busy(queue, 1);
      CHECK_THROWS_AS(queue.run(1, never, broken_token{}), std::bad_alloc);
      CHECK_THROWS_AS(queue.run_until(late(), 1, never, broken_token{}), std::bad_alloc);
      for (int i = 0; i < 4; ++i) {
        CHECK_THROWS_AS(static_cast<void>(queue.post(1, never, broken_token{})), std::bad_alloc);
      }
      CHECK(queue.post(1, [] {}) == post_result::accepted);
      CHECK(queue.post(1, [] {}) == post_result::accepted);
      CHECK_THROWS_AS(static_cast<void>(queue.post_wait(1, never, broken_token{})), std::bad_alloc);
      interlock::sync_wait(posts());
      CHECK(queue.post(1, [] {}) == post_result::full);
      CHECK(queue.depth_approx(1) == 2);
    }
    queue.drain();
    CHECK(threw == 1);
    CHECK(queue.stats().completed == 3);
    check_sums(queue);
    CHECK(*alive == 0);
    CHECK(alive.use_count() == 2);
  });
}

TEST_CASE("What a key gives while a stop callback cannot be made is not lost") {
  each_way([](queue_options options) {
    options.capacity = 1;
    keyed_serial_queue<int> queue(options);
    {
      // The task has begun: its result is what counts.
      occupied busy(queue, 1);
      std::binary_semaphore ran(0);
      const std::function<void()> until_it_ran = [&] {
        busy.release();
        ran.acquire();
      };
      const auto seven = [&ran] {
        ran.release();
        return 7;
      };
      CHECK(*queue.run(1, seven, broken_token{&until_it_ran}) == 7);
    }
    int posted = 0;
    {
      // The place has come: the task has it.
      occupied busy(queue, 1);
      CHECK(queue.post(1, [] {}) == post_result::accepted);
      const std::function<void()> until_there_is_room = [&] {
        busy.release();
        queue.drain();
      };
      CHECK(queue.post_wait(1, [&posted] { ++posted; }, broken_token{&until_there_is_room}) ==
            post_result::accepted);
    }
    CHECK(posted == 1);
    check_sums(queue);
  });
}

TEST_CASE("After close each keyed call says so, and nothing runs") {
  each_way([](queue_options options) {
    options.capacity = 2;
    keyed_serial_queue<int> queue(options);
    inplace_stop_source stop;
    manual_timer timer;
    const auto token = stop.get_token();
    int ran = 0;
    const auto f = [&ran] { ++ran; };
    queue.close();
    CHECK(queue.post(1, f) == post_result::closed);
    CHECK(queue.post(1, f, token) == post_result::closed);
    CHECK(queue.post_droppable(1, f) == post_result::closed);
    CHECK(queue.post_wait(1, f) == post_result::closed);
    CHECK(queue.post_wait(1, f, token) == post_result::closed);
    CHECK(queue.post_wait_until(soon(), 1, f) == post_result::closed);
    CHECK(queue.run(1, f, token).status() == wait_status::closed);
    CHECK(queue.run_until(soon(), 1, f).status() == wait_status::closed);
    CHECK_FALSE(queue.try_run(1, f));
    CHECK(code_of([&] { queue.run(1, f); }) == std::errc::broken_pipe);
    CHECK(code_of([&] { static_cast<void>(queue.submit_future(1, f)); }) == std::errc::broken_pipe);
    const auto client = [&]() -> task<void> {
      CHECK(co_await queue.async_post(1, f) == post_result::closed);
      CHECK(co_await queue.async_post(1, f, token) == post_result::closed);
      CHECK(co_await queue.async_post_until(timer, timer.now() + 1s, 1, f) == post_result::closed);
      const auto stopped = co_await queue.submit(1, f, token);
      CHECK(stopped.status() == wait_status::closed);
      co_await queue.submit(1, f);
    };
    CHECK(code_of([&] { interlock::sync_wait(client()); }) == std::errc::broken_pipe);
    queue.drain();
    CHECK(queue.drain_until(soon()));
    CHECK(ran == 0);
    CHECK(queue.stats().accepted == 0);
  });
}

TEST_CASE("From inside of a task each call that would wait for its own key says so") {
  each_way([](queue_options options) {
    options.capacity = 1;
    keyed_serial_queue<int> queue(options);
    inplace_stop_source stop;
    int posted = 0;
    queue.run(1, [&] {
      const auto never = [] { FAIL("it would have overtaken its caller"); };
      CHECK_FALSE(queue.try_run(1, never));
      CHECK(code_of([&] { queue.run(1, never); }) == deadlock);
      CHECK(code_of([&] { static_cast<void>(queue.run(1, never, stop.get_token())); }) == deadlock);
      CHECK(code_of([&] { queue.drain(1); }) == deadlock);
      CHECK(queue.post_wait(1, [&posted] { ++posted; }) == post_result::accepted);
      CHECK(code_of([&] { static_cast<void>(queue.post_wait(1, never)); }) == deadlock);
      CHECK(code_of([&] { static_cast<void>(queue.post_wait_until(late(), 1, never)); }) == deadlock);
      CHECK(code_of([&] { static_cast<void>(queue.post_wait(1, never, stop.get_token())); }) ==
            deadlock);
      CHECK(queue.post(1, never, stop.get_token()) == post_result::full);
      CHECK(queue.depth_approx(1) == 1);
    });
    queue.drain();
    CHECK(posted == 1);
    check_sums(queue);
  });
}

// ---- bounds that drop, numbers ------------------------------------------------------------------

TEST_CASE("A full key drops the oldest that may be dropped, and no other key's") {
  struct counted {
    int* alive;
    std::vector<int>* order;
    int number;
    counted(int* a, std::vector<int>* o, int n) : alive(a), order(o), number(n) { ++*alive; }
    counted(const counted& other) : counted(other.alive, other.order, other.number) {}
    counted(counted&& other) noexcept : counted(other.alive, other.order, other.number) {}
    ~counted() { --*alive; }
    void operator()() const { order->push_back(number); }
  };
  held_jobs jobs;
  int alive = 0;
  std::vector<int> order;
  const auto task_of = [&](int number) { return counted(&alive, &order, number); };
  constexpr auto accepted = post_result::accepted;
  queue_options options{.capacity = 3, .full = interlock::when_full::drop_oldest};
  options.executor = std::ref(jobs);
  options.metrics = true;
  keyed_serial_queue<int> queue(options, {.total = 4});

  CHECK(queue.post_droppable(1, task_of(1)) == accepted);  // it rests: the first to go
  CHECK(queue.post(1, task_of(2)) == accepted);
  CHECK(queue.post_droppable(1, task_of(3)) == accepted);
  CHECK(queue.post(1, task_of(4)) == accepted);
  CHECK(alive == 3);
  CHECK(queue.post_droppable(1, task_of(5)) == accepted);  // instead of 3
  CHECK(queue.post_droppable(2, task_of(6)) == accepted);  // the last place of all
  CHECK(queue.post(1, task_of(7)) == accepted);            // instead of 5, not of 6
  CHECK(queue.post(1, task_of(8)) == post_result::full);
  CHECK(queue.post(3, task_of(9)) == post_result::full);  // it has none to drop
  CHECK(queue.post(2, task_of(10)) == accepted);          // instead of 6, and the key stays
  CHECK(alive == 4);
  CHECK(queue.depth_approx(1) == 3);
  const auto before = queue.metrics();
  CHECK(before.depth == 4);
  CHECK(before.queued == 8);
  CHECK(before.high_water == 4);

  while (queue.active_keys_approx() != 0) jobs.run_all();
  CHECK(alive == 0);
  std::vector<int> of_one = order;
  std::erase(of_one, 10);
  CHECK(of_one == std::vector<int>{2, 4, 7});
  const auto stats = queue.stats();
  CHECK(stats.accepted == 8);
  CHECK(stats.completed == 4);
  CHECK(stats.dropped == 4);
  CHECK(queue.post_droppable(1, task_of(11)) == accepted);
  CHECK(queue.post(1, task_of(12)) == accepted);  // there is room
  while (queue.active_keys_approx() != 0) jobs.run_all();
  CHECK(queue.stats().dropped == 4);
}

TEST_CASE("A keyed queue measures depth, waits, runs and the age of the oldest, and they add up") {
  each_way([](queue_options options) {
    options.metrics = true;
    keyed_serial_queue<int> queue(options);
    queue.run(1, [] {});
    CHECK(queue.metrics().queued == 0);  // at once: nothing waited
    {
      occupied first(queue, 1);
      occupied second(queue, 2);
      for (int i = 0; i < 65; ++i) (void)queue.post(1 + i % 2, [] {});
      const auto now = queue.metrics();
      CHECK(now.queued == 65);
      CHECK(now.depth == 65);
      CHECK(now.high_water == 65);
      CHECK(now.wait.samples == 0);
      const auto patience = std::chrono::steady_clock::now() + 20s;
      while (queue.metrics().oldest == 0ns && std::chrono::steady_clock::now() < patience) {
        std::this_thread::yield();
      }
      CHECK(queue.metrics().oldest > 0ns);
      queue.cancel_pending(2);
      CHECK(queue.metrics().depth == 33);
    }
    queue.drain();
    const auto then = queue.metrics();
    CHECK(then.queued == 65);
    CHECK(then.depth == 0);
    CHECK(then.high_water == 65);
    CHECK(then.oldest == 0ns);
    CHECK(then.wait.samples == 2);  // the first and the last
    CHECK(then.wait.total >= then.wait.longest);
    CHECK(then.wait.longest > 0);
    CHECK(then.run.samples == then.wait.samples);
    check_sums(queue);
  });
  keyed_serial_queue<int> plain;
  plain.run(1, [&] { (void)plain.post(1, [] {}); });
  CHECK(plain.metrics().queued == 0);
}

// ---- memory -------------------------------------------------------------------------------------

TEST_CASE("an idle key costs nothing, and 48 bytes of captures no allocation") {
  if (!support::counts_allocations) return;
  struct payload {
    std::uint64_t* sum;
    std::array<std::uint64_t, 5> data;
    void operator()() const { *sum += data[0]; }
  };
  STATIC_REQUIRE(sizeof(payload) == 48);
  STATIC_REQUIRE(sizeof(keyed_serial_queue<std::uint64_t>) <= 4608);
  STATIC_REQUIRE(sizeof(interlock::detail::posted_key_work<std::uint64_t, payload>) <= 128);
  std::uint64_t sum = 0;
  {
    keyed_serial_queue<std::uint64_t> queue;
    const std::size_t before = support::allocations();
    for (std::uint64_t key = 0; key < 100'000; ++key) {
      (void)queue.post(key, payload{&sum, {1}});
      queue.run(key, [&] { ++sum; });
      (void)queue.try_run(key, [&] { ++sum; });
    }
    CHECK(support::allocations() == before);
    CHECK(queue.active_keys_approx() == 0);
  }
  CHECK(sum == 300'000);

  keyed_serial_queue<std::uint64_t> pooled({.workers = 1});
  const auto burst = [&] {
    for (std::uint64_t key = 0; key < 1'000; ++key) (void)pooled.post(key, payload{&sum, {1}});
    pooled.drain(1);
    while (pooled.active_keys_approx() != 0) std::this_thread::yield();
  };
  for (int i = 0; i < 20; ++i) burst();
  const std::size_t warm = support::allocations();
  for (int i = 0; i < 20; ++i) burst();
  CHECK(support::allocations() - warm < 2'000);  // of 20'000 posts: tables and magazines
}
