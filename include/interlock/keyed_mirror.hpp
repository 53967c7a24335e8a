// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/keyed_mirror.hpp - keeps many slow copies in step, a row of a table for each key.
//
// Problem     A counter for each post, a profile for each user, written behind to a slow store.
//             Snapshots in a queue overtake each other and pile up. "Clear the dirty flag when the
//             write is done" loses what came during the write. A map of flags for each key that was
//             ever touched only grows.
// Guarantee   After a touch of a key a write begins that reads what its source held then or later.
//             At most one write of a key is in flight and touches meanwhile become one more write.
//             Keys do not wait for each other while a sender is free.
//             A failed write of a key is tried again with what its source holds by then.
//             Keys that are confirmed take no memory.
//             Closing reports each key whose last value is not confirmed.
// Progress    touch: a look-up under the lock of one of 16 shards, which a table that grows holds
//             for as long as it moves its keys; a handle's touch is wait-free while a write of its
//             key is due. With an executor that refuses: until it takes jobs again. flush, close:
//             blocking; with a deadline or a stop until then, and a write that has begun.
// Cost        A key that is due: one allocation, 256 bytes and the key. Clean keys: none, but
//             for min_interval after a write. options::parallel threads, or an allocation for each
//             job that an executor is given.
// Lifetime    Outlives its calls and its handles. What is due is sent in the destructor. A
//             coroutine that async_flush resumed ends it only after it has moved to another thread.
// Resumes on  async_flush: the thread that sends, after the write; the one that closes, stops or
//             rings if that ends the wait; or see resume_on().
// Cancellation async_flush takes a stop token and a deadline: they end the wait, not the write.
// Not for     Updates that must all arrive: merging_mirror, or a keyed_serial_queue. Hash, Equal,
//             the copy and the destructor of a key run under a lock and must not use the mirror.
//
// Example     // examples/keyed_mirror.cpp
//             keyed_mirror<std::string, int> rows(read, save, {.parallel = 4});
//             likes.at("dog").fetch_add(10'000);
//             rows.touch("dog");  // save("dog", value, version) follows
//             const auto said = rows.flush("dog");
//             const auto lost = rows.close();  // the keys whose last value is not confirmed

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "detail/mirror_calls.hpp"
#include "detail/mirror_rows.hpp"
#include "mirror_options.hpp"
#include "mirror_version.hpp"

namespace interlock {

// As mirror_options, but for the key in on_failure.
template <class Key>
struct keyed_mirror_options {
  std::uint32_t parallel = 1;  // so many keys at most are written at the same time
  std::size_t attempts = 5;
  std::function<void(const Key&, const mirror_failure&)> on_failure = {};
  std::function<std::chrono::nanoseconds(std::size_t failures)> delay = {};
  std::function<void(std::chrono::nanoseconds delay, std::function<void()> job)> schedule = {};
  std::function<std::chrono::steady_clock::time_point()> now = {};
  std::chrono::nanoseconds min_interval{0};
  std::chrono::nanoseconds max_staleness{0};
};

// A key whose last value the target may not have.
template <class Key, class Version>
struct mirror_unconfirmed {
  Key key;
  std::optional<Version> sent;       // what the last write carried, if there was one
  std::optional<Version> confirmed;  // what the target said that it has, if it is known
  bool in_flight;                    // a write has not returned yet
};

// Requirements: Key is copyable; Hash and Equal are as for std::unordered_map; the versions of a
// key compare with < and grow, and their copies do not throw.
template <class Key, class Value, class Version = std::uint64_t, class Hash = std::hash<Key>,
          class Equal = std::equal_to<Key>>
class keyed_mirror
    : detail::mirror_calls<keyed_mirror<Key, Value, Version, Hash, Equal>, Key, Version, true> {
  struct nothing {};
  using rows = detail::mirror_rows<keyed_mirror, Key, Version, nothing, Hash, Equal>;
  using row = typename rows::row;
  using calls = detail::mirror_calls<keyed_mirror, Key, Version, true>;
  friend rows;
  friend calls;

public:
  using snapshot = mirror_snapshot<Value, Version>;
  using options = keyed_mirror_options<Key>;
  using unconfirmed = mirror_unconfirmed<Key, Version>;
  using time_point = std::chrono::steady_clock::time_point;
  class handle;

  // `source(key)` answers something with .value and .version of one moment; a value that is an
  // empty optional says that the key was deleted. `target(key, value, version)` is given the value,
  // or where it takes a std::optional<Value>, that: empty to delete and to leave a tombstone. Both
  // are called for different keys at the same time if `parallel` allows it.
  // Throws: as a mirror's constructor; std::invalid_argument if parallel is 0.
  template <class Source, class Target>
  keyed_mirror(Source source, Target target, options how = {})
      : send_(sends<Source, Target>(std::move(source), std::move(target))),
        on_failure_(std::move(how.on_failure)),
        delay_(std::move(how.delay)),
        rows_{*this, detail::valid_pace(how), detail::valid_parallel(how.parallel),
              {std::move(how.schedule), std::move(how.now)}} {}  // braces: left to right

  keyed_mirror(const keyed_mirror&) = delete;
  keyed_mirror& operator=(const keyed_mirror&) = delete;
  // Effects: close(). Preconditions: as a mirror's; no handle is left.
  ~keyed_mirror() { rows_.end(); }

  // Effects: to be called after each change of the key's source, deletion too: has a write follow.
  // Returns: false if the mirror is closed. Throws: std::bad_alloc: then nothing follows.
  // Synchronization: what came before it happens before the source is read for that write.
  bool touch(const Key& key) {
    return rows_.touch(key, [](const row&) {});
  }

  // Returns: what touches this key without a look-up, in one load while a write is due already. The
  //          key takes memory until the handle is gone.
  [[nodiscard]] handle pin(const Key& key) { return handle(rows_, rows_.pin(key)); }

  // mirror_flush_result flush(key), flush(key, least)
  // Effects: has a write of the key follow, and blocks until the target has confirmed it; with
  //          `least`, what has this version or a newer one.
  // Throws: std::bad_alloc; std::system_error (resource_deadlock_would_occur) on a thread that
  //         sends.
  using calls::flush;
  // mirror_flush_result flush_until(deadline, key), flush_until(deadline, key, least)
  // Effects: the same, but the wait ends at the deadline.
  using calls::flush_until;

  // co_await async_flush(key), async_flush(key, least), each with a stop token behind it or none
  // Effects: flush() for coroutines, until a stop is requested, by any thread.
  // Throws: std::bad_alloc, by co_await.
  using calls::async_flush;
  // co_await async_flush_until(timer, deadline, key), the same with `least`, with a stop token
  // Effects: the same, until the deadline; the timer outlives the wait.
  using calls::async_flush_until;

  // Effects: refuses further touches, sends what was touched before, without regard to
  //          min_interval or a wait after a failure, and stops. Idempotent. What no job of an
  //          executor has come for is sent by this thread.
  // Returns: the keys that were given up: after `attempts` failures in a row.
  // Throws: as flush().
  std::vector<unconfirmed> close() {
    rows_.close(nullptr);
    return report();
  }
  // Effects: the same, but from the deadline on no write begins any more. Returns: also the keys
  //          that were not written by then. The destructor waits for writes in flight.
  std::vector<unconfirmed> close_until(time_point deadline) {
    rows_.close(&deadline);
    return report();
  }

  using calls::statistics;
  // Returns: how many keys are due or being written, at one moment.
  using calls::dirty_keys_approx;
  // Returns: how many keys take memory, at one moment.
  using calls::known_keys_approx;

private:
  using sender = std::function<detail::mirror_end(row&, std::optional<Version>&)>;

  // One call of the source and one of the target.
  template <class Source, class Target>
  static sender sends(Source source, Target target) {
    using read = std::invoke_result_t<Source&, const Key&>;
    constexpr bool takes_deleted =
        std::is_invocable_r_v<mirror_write_result, Target&, const Key&, std::optional<Value>,
                              const Version&>;
    static_assert(requires(read& seen) { seen.value; Version(seen.version); },
                  "interlock::keyed_mirror: source(key) answers something with .value and "
                  ".version of one moment");
    static_assert(takes_deleted || std::is_convertible_v<decltype(read::value), Value>,
                  "interlock::keyed_mirror: the source can say that a key was deleted; the target "
                  "has to take a std::optional<Value>");
    return [source = std::move(source), target = std::move(target)](
               row& of, std::optional<Version>& version) mutable {
      auto now = source(of.name);
      version.emplace(now.version);
      if (of.confirmed && !(*of.confirmed < *version)) return detail::mirror_end::skipped;
      if constexpr (takes_deleted) {
        return detail::end_of(
            target(of.name, std::optional<Value>(std::move(now.value)), std::as_const(*version)));
      } else {
        return detail::end_of(
            target(of.name, Value(std::move(now.value)), std::as_const(*version)));
      }
    };
  }

  detail::mirror_attempt<Version> attempt(row& r) noexcept {
    return detail::attempt_once<Version>([&](auto& done) { return send_(r, done.version); });
  }
  void surface(const row& r, const mirror_failure& failure) noexcept {
    if (on_failure_) on_failure_(r.name, failure);
  }
  std::chrono::nanoseconds pause(std::size_t failures) noexcept {
    return delay_ ? delay_(failures) : detail::usual_delay(failures);
  }

  std::vector<unconfirmed> report() {
    std::vector<unconfirmed> all;
    rows_.for_each_lost([&](const row& r, bool in_flight) {
      all.push_back({r.name, r.sent, r.confirmed, in_flight});
    });
    return all;
  }

  sender send_;
  const std::function<void(const Key&, const mirror_failure&)> on_failure_;
  const std::function<std::chrono::nanoseconds(std::size_t)> delay_;
  rows rows_;  // last: its threads call what is above
};

// A key that stays known: to be touched often.
template <class Key, class Value, class Version, class Hash, class Equal>
class keyed_mirror<Key, Value, Version, Hash, Equal>::handle {
public:
  handle(handle&& other) noexcept
      : rows_(other.rows_), row_(std::exchange(other.row_, nullptr)) {}
  handle& operator=(handle&&) = delete;
  ~handle() {
    if (row_ != nullptr) rows_.unpin(*row_);
  }

  // Effects: as touch(key). Preconditions: not moved from.
  bool touch() noexcept { return rows_.touch(*row_); }
  [[nodiscard]] const Key& key() const noexcept { return row_->name; }

private:
  friend keyed_mirror;
  handle(rows& home, row& pinned) noexcept : rows_(home), row_(&pinned) {}

  rows& rows_;
  row* row_;
};

}  // namespace interlock
