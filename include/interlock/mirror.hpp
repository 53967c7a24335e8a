// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/mirror.hpp - keeps a slow copy (a row, a file) in step with a source that changes fast.
//
// Problem     v = incr(); db.write(v): the writes overtake each other and the copy ends at an older
//             value. Fetching the latest before the write only narrows the window. Queueing every
//             snapshot writes a million times what one write would say.
// Guarantee   After a touch a write begins that reads what the source held then or later.
//             At most one write is in flight and touches meanwhile become one more write.
//             A version that is not newer than the last confirmed one is never written.
//             A failed write is tried again with what the source holds by then.
//             A flush answers flushed only if the target confirmed what the source held at the
//             call or later.
//             Closing sends what was touched before and then nothing more.
// Progress    touch: wait-free but for the wake-up. flush, close, destructor: blocking.
// Cost        touch is one fetch_add, unsafe_touch one load while a write is due. One thread, or
//             none with an executor. Nothing is queued: touches take no memory.
// Lifetime    Outlives its calls and, with an executor, each job: close() waits for them. The last
//             flush is tried in the destructor. Source and target outlive the mirror. A coroutine
//             that async_flush resumed ends it only after it has moved to another thread.
// Resumes on  async_flush: the thread that sends, after the write.
// Cancellation none: a flush ends with the write that it waits for, or when the mirror is closed.
// Not for     Changes that must all arrive, one by one (serial_queue). Several processes writing
//             one target, unless it refuses older versions itself: see mirror_write_result.
//
// Example     versioned<int> likes(0);                    // examples/mirror.cpp
//             mirror row(likes, save, options);           // save(value, version) writes to the row
//             likes.update([](int& n) { ++n; });          // by many threads
//             row.touch();                                // becomes a few writes
//             const bool saved = row.flush() == mirror_flush_result::flushed;

#include <algorithm>
#include <atomic>
#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "detail/mirror_sender.hpp"

namespace interlock {

// What the target says to a write. The mirror keeps its own writes in order, but a target that
// other processes write to as well, or that may apply a write after it timed out, has to compare
// in the write itself: UPDATE t SET v = ?, version = ? WHERE version < ?
enum class mirror_write_result {
  applied,
  stale,   // the target holds this version or a newer one: nothing left to do
  failed,  // not known to be applied, as after an exception: tried again
};

enum class mirror_flush_result {
  flushed,  // confirmed by the target
  failed,   // as many writes failed in a row as mirror_options::attempts says; they go on
  closed,   // the mirror was closed before a write could begin
};

struct mirror_failure {
  std::size_t failures;      // in a row
  std::exception_ptr error;  // of the last one; null if the target answered `failed`
};

struct mirror_options {
  // Failures in a row until they are surfaced: on_failure is called, a flush answers `failed`. The
  // mirror does not give up; the same again after as many more. close() gives up at that point.
  std::size_t attempts = 5;

  // Called on the thread that sends. Must not throw.
  std::function<void(const mirror_failure&)> on_failure = {};

  // Returns: how long to wait after that many failures in a row. Must not throw.
  // Empty: 10 ms, doubled each time up to 1 s, of which up to a half is taken off at random.
  std::function<std::chrono::nanoseconds(std::size_t failures)> delay = {};

  // Runs the job once, `delay` from now or later, not within the call: each job is one write.
  // If it throws, the thread that called it writes. Empty: a thread of the mirror's own. close()
  // waits for the job that is out: it cannot cut its delay short, as it does for the own thread.
  std::function<void(std::chrono::nanoseconds delay, std::function<void()> job)> schedule = {};
};

// Each count is exact once the mirror is idle; until then they may be of different moments.
struct mirror_statistics {
  std::uint64_t touches;   // and flushes; not those refused, or that unsafe_touch found due already
  std::uint64_t writes;    // applied
  std::uint64_t stale;     // refused by the target
  std::uint64_t skipped;   // not written: the version was confirmed already
  std::uint64_t failures;  // each of them is tried again, until close() gives up
};

namespace detail {

template <class Source>
auto read_source(Source& source) {
  if constexpr (std::invocable<Source&>) {
    return source();
  } else {
    return source.load();
  }
}

}  // namespace detail

template <class Source, class Target>
class mirror {
public:
  // A value and its version, from the same moment; versions compare with < and grow.
  using snapshot = decltype(detail::read_source(std::declval<Source&>()));
  static_assert(requires(snapshot& seen) { seen.value; seen.version; },
                "interlock::mirror: Source answers something with .value and .version of one "
                "moment, as versioned::load() does");
  using version_type = decltype(snapshot::version);

  static_assert(std::is_invocable_r_v<mirror_write_result, Target&, decltype(snapshot::value),
                                      const version_type&>,
                "interlock::mirror: Target is called as target(value, version) and returns "
                "mirror_write_result");

  class flush_awaitable;

  // `source` is called as source(), or as source.load(); it answers something with .value and
  // .version. An object with load() is referred to, a callable is kept: see the deduction guides.
  // Throws: std::invalid_argument if options.attempts is 0; std::system_error without a thread.
  mirror(Source source, Target target, mirror_options options = {})
      : source_(std::forward<Source>(source)),
        target_(std::forward<Target>(target)),
        on_failure_(std::move(options.on_failure)),
        delay_(std::move(options.delay)),
        sender_(*this, valid(options.attempts), std::move(options.schedule)) {}

  mirror(const mirror&) = delete;
  mirror& operator=(const mirror&) = delete;

  // Effects: close().
  // Preconditions: not called by source, target, on_failure, or a coroutine that they resume; nor
  // by one that async_flush resumed, until it has moved to another thread.
  ~mirror() = default;

  // Effects: to be called after each change of the source: has a write follow.
  // Returns: false if the mirror is closed.
  // Synchronization: what came before it happens before the source is read for that write.
  bool touch() noexcept { return sender_.request(); }

  // Effects: as touch(), but while a write is due already this is one load.
  // Preconditions: the change was made by a seq_cst operation that Source reads with seq_cst (the
  // default of std::atomic; versioned<T>), or under a lock that Source takes as well.
  bool unsafe_touch() noexcept { return sender_.is_requested() || sender_.request(); }

  // Effects: has a write follow, and blocks until the target has confirmed it.
  // Throws: std::system_error (resource_deadlock_would_occur) on the thread that is sending.
  [[nodiscard("a flush may have failed")]] mirror_flush_result flush() {
    return result_of(sender_.flush());
  }

  // Effects: co_await async_flush() is flush() for coroutines.
  [[nodiscard("nothing is flushed until it is awaited")]] flush_awaitable async_flush() noexcept {
    return flush_awaitable(sender_);
  }

  // Effects: refuses further touches, sends what was touched before, and stops. Idempotent.
  // Returns: flushed, or failed if the target does not have the last value.
  // Throws: as flush().
  mirror_flush_result close() { return result_of(sender_.close()); }

  // Returns: what has happened so far.
  [[nodiscard]] mirror_statistics statistics() const noexcept {
    return {sender_.requests(), get(writes_), get(stale_), get(skipped_), get(failures_)};
  }

private:
  using sender_type = detail::mirror_sender<mirror>;
  friend sender_type;

  static std::size_t valid(std::size_t attempts) {
    if (attempts != 0) return attempts;
    throw std::invalid_argument("interlock::mirror: 0 attempts can write nothing; use at least 1");
  }

  static mirror_flush_result result_of(detail::send_result result) noexcept {
    switch (result) {
      case detail::send_result::done: return mirror_flush_result::flushed;
      case detail::send_result::failed: return mirror_flush_result::failed;
      default: return mirror_flush_result::closed;
    }
  }

  static std::uint64_t get(const std::atomic<std::uint64_t>& counter) noexcept {
    // order: relaxed: statistics, publishes nothing
    return counter.load(std::memory_order_relaxed);
  }

  static void count(std::atomic<std::uint64_t>& counter) noexcept {
    // order: relaxed: statistics, publishes nothing
    counter.fetch_add(1, std::memory_order_relaxed);
  }

  // For sender_, which calls one of these at a time.
  bool attempt() noexcept;
  bool write();
  void surface(std::size_t failures) noexcept;
  std::chrono::nanoseconds delay(std::size_t failures) noexcept;

  Source source_;
  Target target_;
  const std::function<void(const mirror_failure&)> on_failure_;
  const std::function<std::chrono::nanoseconds(std::size_t)> delay_;

  std::optional<version_type> confirmed_;  // the target has this version or a newer one
  std::exception_ptr error_;               // of the last attempt
  std::atomic<std::uint64_t> writes_{0};
  std::atomic<std::uint64_t> stale_{0};
  std::atomic<std::uint64_t> skipped_{0};
  std::atomic<std::uint64_t> failures_{0};

  sender_type sender_;  // last: its destructor sends, so all else has to be there
};

template <class Source, class Target>
  requires std::invocable<std::decay_t<Source>&>
mirror(Source&&, Target&&, mirror_options = {})
    -> mirror<std::decay_t<Source>, std::decay_t<Target>>;

template <class Source, class Target>
  requires(!std::invocable<Source&>)
mirror(Source&, Target&&, mirror_options = {}) -> mirror<Source&, std::decay_t<Target>>;

template <class Source, class Target>
class [[nodiscard("co_await it")]] mirror<Source, Target>::flush_awaitable {
public:
  flush_awaitable(const flush_awaitable&) = delete;
  flush_awaitable& operator=(const flush_awaitable&) = delete;

  bool await_ready() const noexcept { return false; }

  bool await_suspend(std::coroutine_handle<> self) noexcept {
    waiter_.continuation = self;
    if (!sender_.enlist(request_)) return false;
    sender_.request();
    // Only now may the coroutine go on, and the mirror with it end: the write may be done already.
    return !request_.arrive();
  }

  mirror_flush_result await_resume() const noexcept { return result_of(request_.result); }

private:
  friend mirror;
  explicit flush_awaitable(sender_type& sender) noexcept : sender_(sender) {}

  sender_type& sender_;
  detail::coroutine_waiter waiter_;
  detail::send_request request_{waiter_};
};

template <class Source, class Target>
bool mirror<Source, Target>::attempt() noexcept {
  error_ = nullptr;
  try {
    if (write()) return true;
  } catch (...) {
    error_ = std::current_exception();
  }
  count(failures_);
  return false;
}

template <class Source, class Target>
bool mirror<Source, Target>::write() {
  auto now = detail::read_source(source_);
  const version_type version = now.version;
  if (confirmed_ && !(*confirmed_ < version)) {
    count(skipped_);
    return true;
  }
  const mirror_write_result result = target_(std::move(now.value), version);
  if (result == mirror_write_result::failed) return false;
  count(result == mirror_write_result::applied ? writes_ : stale_);
  confirmed_ = version;
  return true;
}

template <class Source, class Target>
void mirror<Source, Target>::surface(std::size_t failures) noexcept {
  if (on_failure_) on_failure_({failures, error_});
}

template <class Source, class Target>
std::chrono::nanoseconds mirror<Source, Target>::delay(std::size_t failures) noexcept {
  if (delay_) return delay_(failures);
  const std::int64_t doubled = 10LL << std::min<std::size_t>(failures - 1, 10);
  const std::chrono::nanoseconds full =
      std::chrono::milliseconds(std::min(doubled, std::int64_t{1000}));
  // Mirrors that failed together should not come back together: a different part off each time.
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  const std::uint64_t mixed = static_cast<std::uint64_t>(now) * 0x9E3779B97F4A7C15U >> 54U;
  return full - full * static_cast<std::int64_t>(mixed) / 2048;
}

}  // namespace interlock
