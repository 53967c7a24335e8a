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
// Progress    touch: wait-free while a write is due; else a lock for a few instructions, and a
//             wake-up. With an executor that refuses: until it takes jobs again, as that thread
//             writes. flush, close, destructor: blocking; with a deadline or a stop until then, and
//             a write that this thread has begun.
// Cost        While a write is due touch is one load (one fetch_or where the system has no
//             membarrier, and under ThreadSanitizer). One thread; with an executor none, and an
//             allocation for each job. Touches take no memory. A write costs a membarrier, some
//             microseconds.
// Lifetime    Outlives its calls; a job or a wait that comes later finds nobody. The last flush is
//             tried in the destructor. Source and target outlive the mirror. A coroutine that
//             async_flush resumed ends it only after it has moved to another thread.
// Resumes on  async_flush: the thread that sends, after the write; the one that closes, stops or
//             rings if that ends the wait; or see resume_on().
// Cancellation async_flush takes a stop token and a deadline: they end the wait, not the write.
// Not for     Changes that must all arrive, one by one (serial_queue). Several processes writing
//             one target, unless it refuses older versions itself: see mirror_write_result. Many
//             keys: keyed_mirror.
//
// Example     versioned<int> likes(0);                    // examples/mirror.cpp
//             mirror row(likes, save, options);           // save(value, version) writes to the row
//             likes.update([](int& n) { ++n; });          // by many threads
//             row.touch();                                // becomes a few writes
//             const bool saved = row.flush() == mirror_flush_result::flushed;

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "detail/mirror_flush.hpp"
#include "detail/mirror_line.hpp"
#include "detail/mirror_pace.hpp"
#include "detail/waiting.hpp"
#include "mirror_options.hpp"

namespace interlock {

template <class Source, class Target>
class mirror {
  template <class... Ends>
  using waits = detail::waiting<detail::flush_place<mirror>, detail::by_trampoline, Ends...>;

public:
  using time_point = std::chrono::steady_clock::time_point;

  // A value and its version, from the same moment; versions compare with < and grow, and their
  // copies do not throw.
  using snapshot = decltype(detail::read_source(std::declval<Source&>()));
  static_assert(requires(snapshot& seen) { seen.value; seen.version; },
                "interlock::mirror: Source answers something with .value and .version of one "
                "moment, as versioned::load() does");
  using version_type = std::remove_cv_t<decltype(snapshot::version)>;

  static_assert(std::is_invocable_r_v<mirror_write_result, Target&, decltype(snapshot::value),
                                      const version_type&>,
                "interlock::mirror: Target is called as target(value, version) and returns "
                "mirror_write_result");

  // `source` is called as source(), or as source.load(); it answers something with .value and
  // .version. An object with load() is referred to, a callable is kept: see the deduction guides.
  // Throws: std::invalid_argument if options.attempts is 0, a time is negative, max_staleness is
  //         shorter than min_interval, or there is a clock without a schedule; std::system_error
  //         without a thread.
  mirror(Source source, Target target, mirror_options options = {})
      : source_(std::forward<Source>(source)),
        target_(std::forward<Target>(target)),
        on_failure_(std::move(options.on_failure)),
        delay_(std::move(options.delay)),
        line_{*this, detail::valid_pace(options), 1,
              {std::move(options.schedule), std::move(options.now)}} {}  // braces: left to right

  mirror(const mirror&) = delete;
  mirror& operator=(const mirror&) = delete;

  // Effects: close().
  // Preconditions: not called by source, target, on_failure, or a coroutine that they resume; nor
  // by one that async_flush resumed, until it has moved to another thread.
  ~mirror() {
    const auto how = line_.wait_for_end(nullptr, &key_);
    if (how == detail::mirror_ending::is_sender) detail::misuse_of_mirror();
  }

  // Effects: to be called after each change of the source: has a write follow. While a write is due
  //          already this is one load.
  // Returns: false if the mirror is closed.
  // Synchronization: what came before it happens before the source is read for that write.
  bool touch() noexcept { return line_.touch(key_); }

  // Effects: has a write follow, and blocks until the target has confirmed it; with `least`, what
  //          has this version or a newer one: no write if that is confirmed already.
  // Preconditions: this is not the only thread that an executor has: write co_await async_flush().
  // Throws: std::system_error (resource_deadlock_would_occur) on the thread that is sending.
  [[nodiscard("a flush may have failed")]] mirror_flush_result flush() {
    return flush_by({this, std::nullopt}, nullptr);
  }
  [[nodiscard("a flush may have failed")]] mirror_flush_result flush(const version_type& least) {
    return flush_by({this, least}, nullptr);
  }
  // Effects: the same, but the wait ends at the deadline.
  [[nodiscard("a flush may have failed")]] mirror_flush_result flush_until(time_point deadline) {
    return flush_by({this, std::nullopt}, &deadline);
  }
  [[nodiscard("a flush may have failed")]] mirror_flush_result flush_until(
      time_point deadline, const version_type& least) {
    return flush_by({this, least}, &deadline);
  }

  // Effects: co_await async_flush() is flush() for coroutines.
  [[nodiscard("write co_await")]] auto async_flush() { return waits<>({this, std::nullopt}); }
  [[nodiscard("write co_await")]] auto async_flush(const version_type& least) {
    return waits<>({this, least});
  }
  // Effects: the same, until a stop is requested, by any thread.
  template <detail::stop_token_like Token>
  [[nodiscard("write co_await")]] auto async_flush(Token stop) {
    using stopped = detail::stop_end<Token>;
    return waits<stopped>({this, std::nullopt}, {}, stopped{std::move(stop)});
  }
  template <detail::stop_token_like Token>
  [[nodiscard("write co_await")]] auto async_flush(const version_type& least, Token stop) {
    using stopped = detail::stop_end<Token>;
    return waits<stopped>({this, least}, {}, stopped{std::move(stop)});
  }
  // Effects: the same, until the deadline; the timer outlives the wait.
  template <timer Timer, detail::stop_token_like... Token>
  [[nodiscard("write co_await")]] auto async_flush_until(Timer& timer,
                                                         typename Timer::time_point deadline,
                                                         Token... stop) {
    using late = detail::deadline_end<Timer>;
    return waits<late, detail::stop_end<Token>...>({this, std::nullopt}, {}, late{&timer, deadline},
                                                   detail::stop_end<Token>{std::move(stop)}...);
  }
  template <timer Timer, detail::stop_token_like... Token>
  [[nodiscard("write co_await")]] auto async_flush_until(Timer& timer,
                                                         typename Timer::time_point deadline,
                                                         const version_type& least, Token... stop) {
    using late = detail::deadline_end<Timer>;
    return waits<late, detail::stop_end<Token>...>({this, least}, {}, late{&timer, deadline},
                                                   detail::stop_end<Token>{std::move(stop)}...);
  }

  // Effects: refuses further touches, sends what was touched before, without regard to
  //          min_interval or a wait after a failure, and stops. Idempotent. What no job of an
  //          executor has come for is sent by this thread.
  // Returns: flushed, or failed if the target may not have the last value.
  // Throws: as flush().
  mirror_flush_result close() { return close_by(nullptr); }
  // Effects: the same, but from the deadline on no write begins any more.
  // Returns: timed_out in that case. One may be in flight: the destructor waits for it.
  mirror_flush_result close_until(time_point deadline) { return close_by(&deadline); }

  // Returns: the version that the target confirmed last, if any: it has that or a newer one.
  [[nodiscard]] std::optional<version_type> confirmed() {
    return line_.locked([&] { return key_.confirmed; });
  }

  // Returns: what has happened so far.
  [[nodiscard]] mirror_statistics statistics() { return line_.statistics(); }

private:
  using line = detail::mirror_line<mirror, version_type>;
  using key = typename line::key;
  using node = typename line::node;
  friend line;
  friend class detail::flush_place<mirror>;
  template <class Mirror>
  friend mirror_flush_result detail::flush_in(Mirror&, const typename Mirror::flush_request&,
                                              const std::chrono::steady_clock::time_point*);

  struct flush_request {
    mirror* from;
    std::optional<version_type> least;
  };

  mirror_flush_result flush_by(const flush_request& what, const time_point* deadline) {
    return detail::flush_in(*this, what, deadline);
  }

  mirror_flush_result close_by(const time_point* deadline) {
    switch (line_.wait_for_end(deadline, &key_)) {
      case detail::mirror_ending::sent: return mirror_flush_result::flushed;
      case detail::mirror_ending::lost: return mirror_flush_result::failed;
      case detail::mirror_ending::too_late: abandon(); break;
      case detail::mirror_ending::is_sender:
        detail::throw_deadlock(
            "interlock::mirror: close() on the thread that sends would wait for itself");
    }
    return mirror_flush_result::timed_out;
  }

  void abandon() noexcept {
    node* answered = nullptr;
    typename line::errand todo;
    line_.abandon(key_, answered, todo);
    line_.complete(answered, todo);
  }

  void touch(const flush_request&) noexcept {
    const detail::lent_hand none = detail::lent_hand::none();  // its wait is over
    line_.touch(key_, &none);
  }
  bool enlist(const flush_request&, node& n) noexcept {
    typename line::errand todo;
    detail::lent_hand hand;
    const bool listed = line_.enlist(key_, n, todo, hand);
    line_.run(todo, hand);
    return listed;
  }
  bool leave(const flush_request&, node& n, const wait_status* why) noexcept {
    key* spare = nullptr;
    typename line::errand todo;
    const bool was_listed = line_.withdraw(n, why, spare, todo);
    line_.run(todo);
    return was_listed;
  }

  // For line_, which calls one of these at a time.
  detail::mirror_attempt<version_type> attempt(key& k) noexcept {
    return detail::attempt_once<version_type>([&](auto& done) {
      auto now = detail::read_source(source_);
      done.version = now.version;
      if (k.confirmed && !(*k.confirmed < now.version)) return detail::mirror_end::skipped;
      return detail::end_of(target_(std::move(now.value), *done.version));
    });
  }
  void surface(const key&, const mirror_failure& failure) noexcept {
    if (on_failure_) on_failure_(failure);
  }
  std::chrono::nanoseconds pause(std::size_t failures) noexcept {
    return delay_ ? delay_(failures) : detail::usual_delay(failures);
  }
  static std::nullptr_t hold(const key&) noexcept { return nullptr; }
  static void retire(const key&) noexcept {}

  Source source_;
  Target target_;
  const std::function<void(const mirror_failure&)> on_failure_;
  const std::function<std::chrono::nanoseconds(std::size_t)> delay_;
  key key_{line::looks()};
  line line_;  // last: its threads call what is above
};

template <class Source, class Target>
  requires std::invocable<std::decay_t<Source>&>
mirror(Source&&, Target&&, mirror_options = {})
    -> mirror<std::decay_t<Source>, std::decay_t<Target>>;

template <class Source, class Target>
  requires(!std::invocable<Source&>)
mirror(Source&, Target&&, mirror_options = {}) -> mirror<Source&, std::decay_t<Target>>;

}  // namespace interlock
