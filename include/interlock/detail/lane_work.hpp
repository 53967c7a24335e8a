// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/lane_work.hpp - the words that the queues share, and what a lane runs.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <type_traits>
#include <utility>

#include "any_executor.hpp"
#include "block_cache.hpp"
#include "news.hpp"
#include "refuse_nothing.hpp"

namespace interlock {

// What became of a posted task. The last two: of a wait for room, which ended.
enum class post_result { accepted, full, closed, cancelled, timed_out };

// What post() does when the queue is full: refuse; wait; or take the place of the oldest task that
// was posted as droppable and has not begun, and refuse if there is none.
enum class when_full { reject, block, drop_oldest };

struct queue_options {
  std::size_t capacity = SIZE_MAX;     // posted tasks that may wait in line; run, submit may always
  when_full full = when_full::reject;  // what post() does beyond that
  std::uint32_t quantum = 64;          // tasks that a thread does for others before it hands over
  std::size_t workers = 0;             // threads of the queue's own that do what is queued
  // Or this has the work done: any executor, see executor.hpp. One that throws, drops the job or
  // runs it within the call has not taken it: then who asked does the work. Neither this nor
  // workers: the callers do it.
  any_executor executor{};
  // Gets what posted tasks throw, and what the executor throws. Without it such an exception ends
  // the program.
  std::function<void(std::exception_ptr)> on_error{};
  bool strict = false;   // run, post queue at once where they else look thrice if they can get in
  bool metrics = false;  // queue_metrics: two atomic additions and a time for each queued task
};

// When nothing is queued or running: accepted == completed + failed + cancelled + dropped. Before
// that each number is right by itself. A task counts as accepted once a runner has picked it up
// (serial_queue) or as soon as it is in the line of its key (keyed_serial_queue).
struct queue_stats {
  std::uint64_t accepted = 0;
  std::uint64_t completed = 0;  // returned
  std::uint64_t failed = 0;     // threw
  std::uint64_t cancelled = 0;  // never ran, because of cancel_pending() or its stop token
  std::uint64_t dropped = 0;    // never ran, because a newer one took its place
};

namespace detail {

[[noreturn]] inline void throw_error(std::errc code, const char* sentence) {
  throw std::system_error(std::make_error_code(code), sentence);
}
// Finds less than detail::awaitable, but a task, and costs no header.
template <class R>
concept looks_awaitable = requires(R&& r) { std::forward<R>(r).operator co_await(); } ||
                          requires(R&& r) { r.await_ready(); };
template <class F>
constexpr void refuse_coroutine() noexcept {
  static_assert(!looks_awaitable<std::invoke_result_t<F>>,
                "interlock: nothing would await what f returns here; use serial_queue::submit()");
}

// The stop token of a call that has none.
struct never_stopped {
  template <class F>
  struct callback_type {
    callback_type(never_stopped, F) noexcept {}
    ~callback_type() {}  // NOLINT: not trivial, so that nobody calls a variable of it unused
  };
  static constexpr bool stop_requested() noexcept { return false; }
};
template <class Stop>
inline constexpr bool can_stop = !std::is_same_v<Stop, never_stopped>;

[[noreturn]] inline void throw_closed() {
  throw_error(std::errc::broken_pipe,
              "interlock: the queue is closed and takes no work; close it after its last user");
}

// Returns: the options. Throws: std::invalid_argument if no queue can work with them.
inline queue_options checked(queue_options options, std::size_t most_workers) {
  if (options.capacity == 0 || options.quantum == 0) {
    throw std::invalid_argument(
        "interlock: a queue with a capacity or quantum of 0 does no work; use at least 1");
  }
  if (options.workers > most_workers || (options.workers != 0 && options.executor)) {
    throw std::invalid_argument(
        "interlock: a serial_queue has one worker at most, and an executor replaces the workers of "
        "any queue; leave out what is too much");
  }
  return options;
}

// How work ended; none: it never began, suspended: it has not ended.
enum class ending : std::uint8_t { none, completed, failed, cancelled, suspended };

// A piece of work: on the heap (post), on its thread's stack (run), in a coroutine frame (submit).
struct alignas(16) work : news_kinds {  // a lane keeps flags in the four low bits of the address
  enum class kind : std::uint8_t { posted, called, awaited, resumed, barrier, taker };
  enum class step : std::uint8_t { run, cancel, resume };  // resume: awaited work, off the lane
  using performer = ending (*)(work&, const queue_options*, step) noexcept;

  work(kind k, performer p) noexcept : perform(p), what(k) {}
  bool is_task() const noexcept { return what != kind::barrier && what != kind::taker; }
  bool has_thread() const noexcept { return what == kind::called || !is_task(); }

  // Returns: true when this thread has been made the runner, false when the work is done.
  bool wait_for_role() noexcept { return wait(nullptr) == role; }

  // Returns: done; role, of which this thread has taken note; or waiting: it is late.
  std::uint32_t wait(const std::chrono::steady_clock::time_point* deadline) noexcept {
    return wait_for_news(news, deadline);
  }
  // Effects: tells the thread that waits: the last touch of the node, and with `role` of the lane.
  // Returns: what was there. If that is `abandoned` nobody waits, and both are still the caller's.
  std::uint32_t tell(std::uint32_t what_happened) noexcept {
    return tell_news(news, what_happened);
  }

  work* next = nullptr;
  work* previous = nullptr;  // null while in no ring (see ring.hpp), but see lane::push_and_attend
  const performer perform;   // posted work frees itself
  std::int64_t since = 0;    // when it was queued, in nanoseconds, if somebody wants to know
  std::uint32_t generation = 0;
  park_word news{waiting};
  kind what;
  bool may_leave = false;  // it stands in a line, from which a stop or a deadline takes it
  bool droppable = false;
  bool sampled = false;  // for the metrics
  bool holds = true;     // a task, where that is not destroyed with the node
};

// What a runner has taken and not done, oldest first. It goes with the role.
struct batch {
  void append(work* chain, work* its_last) noexcept {
    (first == nullptr ? first : last->next) = chain;
    last = its_last;
  }
  work* first = nullptr;
  work* last = nullptr;       // meaningful while first is not null
  std::uint32_t threads = 0;  // how many nodes a thread waits for
};

// Work that the role can go to, with what its last holder had.
struct heir_work : work {
  using work::work;
  batch inherited;
};

[[noreturn]] inline void throw_would_deadlock() {
  throw_error(std::errc::resource_deadlock_would_occur,
              "interlock: a task waits for the queue that runs it, itself or through tasks of "
              "other queues, which never ends; call the function directly, or post() it to run "
              "afterwards; on the worker of a serial_queue, outside its tasks, co_await submit() "
              "instead");
}

// The lanes that this thread does the work of, innermost first.
struct inside {
  explicit inside(const void* lane) noexcept : which(lane), outer(std::exchange(innermost, this)) {}
  ~inside() { innermost = outer; }
  inside(const inside&) = delete;
  inside& operator=(const inside&) = delete;

  // Returns: whether this frame, or one outside of it, is of this lane or what stands for a key.
  static bool holds(const inside* from, const void* what) noexcept {
    while (from != nullptr && from->which != what) from = from->outer;
    return from != nullptr;
  }

  const void* which;  // may change while it is the innermost: see key_frame
  const inside* const outer;
  static inline constinit thread_local const inside* innermost = nullptr;
};

// What a task returned or threw, on its way to the submitter.
template <class R>
class result {
public:
  template <class F>
  ending run(F&& f) noexcept {
    try {
      if constexpr (std::is_void_v<R>) {
        std::invoke(std::forward<F>(f));
      } else {
        value_.emplace(box{std::invoke(std::forward<F>(f))});
      }
      return ending::completed;
    } catch (...) {
      error_ = std::current_exception();
      return ending::failed;
    }
  }

  ending cancel() noexcept {
    run([]() -> R {
      throw_error(std::errc::operation_canceled,
                  "interlock: cancel_pending() came before this task had started");
    });
    return ending::cancelled;
  }

  R take() {
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    if constexpr (!std::is_void_v<R>) return std::forward<R>(value_->held);
  }

private:
  struct box {
    std::conditional_t<std::is_void_v<R>, bool, R> held;
  };
  std::optional<box> value_;
  std::exception_ptr error_;
};

struct barrier_work : heir_work {
  barrier_work() noexcept : heir_work(kind::barrier, nullptr) {}
};

// Stands behind what a thread has posted that waits a moment for the role.
struct taker_work : heir_work, cached_block {
  taker_work() noexcept : heir_work(kind::taker, nullptr) {}

  // Returns: nullptr if there is no memory.
  static taker_work* make() noexcept {
    try {
      return new taker_work;
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }

  // Returns: true if this thread has been made the runner; else this is gone, or not its any more.
  bool wait_for_offer() noexcept {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    std::uint32_t said = wait(&deadline);
    if (said == waiting) {  // it is late, so it had parked
      std::uint32_t seen = parked;
      // order: release/relaxed [taker.leave] pairs with [news.tell]: the node is the runner's then
      if (news.compare_exchange_strong(seen, abandoned, std::memory_order_release,
                                       std::memory_order_relaxed)) {
        return false;
      }
      said = wait(nullptr);  // there are news
    }
    if (said == done) delete this;
    return said == role;
  }
  // Effects: by the runner: no role for it.
  static void let_go(work& taker) noexcept {
    if (taker.tell(done) == abandoned) delete static_cast<taker_work*>(&taker);
  }

  // How long a poster may be held up. Most tasks end before that.
  static constexpr std::chrono::milliseconds patience{10};
};

template <class F>
struct called_work : heir_work {
  explicit called_work(F& f) noexcept : heir_work(kind::called, &perform_it), function(f) {}

  static ending perform_it(work& self, const queue_options*, step what_to_do) noexcept {
    auto& node = static_cast<called_work&>(self);
    node.cancelled = what_to_do == step::cancel;
    if (node.cancelled) return node.outcome.cancel();
    return node.outcome.run(std::forward<F>(node.function));
  }
  F& function;
  bool cancelled = false;
  result<std::invoke_result_t<F>> outcome;
};

// Effects: hands the exception that is being handled to on_error: nobody else will see it.
inline void report_error(const queue_options& options) noexcept {
  if (!options.on_error) std::terminate();
  options.on_error(std::current_exception());
}

template <class Task>
ending attempt(Task& task, const queue_options& options) noexcept {
  try {
    std::invoke(std::move(task));
    return ending::completed;
  } catch (...) {
    report_error(options);
    return ending::failed;
  }
}

template <class Task>
struct posted_work : work, cached_block {
  template <class F>
  explicit posted_work(F&& f) : work(kind::posted, &perform_it) {
    ::new (static_cast<void*>(&task)) Task(std::forward<F>(f));
  }
  ~posted_work() {
    if (holds) std::destroy_at(&task);
  }

  static ending perform_it(work& self, const queue_options* options, step what_to_do) noexcept {
    auto& node = static_cast<posted_work&>(self);
    const bool cancelled = what_to_do == step::cancel;
    const ending how = cancelled ? ending::cancelled : attempt(node.task, *options);
    if (node.what == kind::posted) {
      delete &node;
    } else {
      node.holds = false;
      std::destroy_at(&node.task);
    }
    return how;
  }
  union {
    Task task;
  };
};

}  // namespace detail
}  // namespace interlock
