// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/merging_mirror.hpp - write-behind of updates that all count: merged, then written once.
//
// Problem     Likes that are added in the store (UPDATE ... SET n = n + ?), columns that changed,
//             flags of a request: there is no last value to send. A newer update that replaces the
//             waiting one loses it; one that is sent again after a time-out counts twice.
// Guarantee   Each update that touch accepted is part of exactly one batch.
//             Updates of a key that wait are merged in the order of their touches.
//             At most one batch of a key is in flight.
//             A batch whose fate is unknown is sent again as it was under the same version.
//             A batch that was not applied is merged with what came since.
//             Closing gives back each batch that is not confirmed.
// Progress    touch: a look-up and the merge under the lock of one of 16 shards. With an executor
//             that refuses: until it takes jobs again. flush, close, destructor: blocking; with a
//             deadline or a stop until then, and a write that has begun.
// Cost        A key that is due: one allocation, 256 bytes, the key and two updates. Clean
//             keys: none. options::parallel threads, or an allocation for each job.
// Lifetime    Outlives its calls. What is due is sent in the destructor. A coroutine that
//             async_flush resumed ends it only after it has moved to another thread.
// Resumes on  async_flush: the thread that sends, after the write; the one that closes, stops or
//             rings if that ends the wait; or see resume_on().
// Cancellation async_flush takes a stop token and a deadline: they end the wait, not the write.
// Not for     Copies of a value that is somewhere (keyed_mirror). Targets that cannot tell a batch
//             by its version: after a time-out they count it twice. Two mirrors for one row at the
//             same time.
//
// Example     // examples/keyed_mirror.cpp
//             merging_mirror<std::string, int> views(add, sum_up);
//             views.touch("cat", 1);  // merged with what waits

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

#include "detail/mirror_calls.hpp"
#include "detail/mirror_rows.hpp"
#include "keyed_mirror.hpp"
#include "mirror_options.hpp"
#include "mirror_version.hpp"

namespace interlock {

// Updates of a key that the target may not have.
template <class Key, class Update>
struct mirror_unsent {
  Key key;
  std::optional<Update> unknown;  // sent under that version, and nobody knows; or it was stale
  mirror_version version;
  std::optional<Update> waiting;  // not sent, or not applied
  bool in_flight;                 // a write has not returned yet, with what is not told here
};

// Requirements: Key is copyable; Update can be moved; their destructors run under a lock and do not
// use the mirror; Hash and Equal as for std::unordered_map.
template <class Key, class Update, class Hash = std::hash<Key>, class Equal = std::equal_to<Key>>
class merging_mirror
    : detail::mirror_calls<merging_mirror<Key, Update, Hash, Equal>, Key, mirror_version, false> {
  struct batches {
    std::optional<Update> waiting;  // under the lock of the shard
    std::optional<Update> sent;     // of whoever sends: in flight, or nobody knows
    mirror_version version{};       // of `sent`
    bool in_doubt = false;          // `sent` may be applied
    bool refused = false;           // it was stale when nobody had sent it before
  };
  using rows = detail::mirror_rows<merging_mirror, Key, mirror_version, batches, Hash, Equal>;
  using row = typename rows::row;
  using calls = detail::mirror_calls<merging_mirror, Key, mirror_version, false>;
  friend rows;
  friend calls;

public:
  using options = keyed_mirror_options<Key>;
  using unsent = mirror_unsent<Key, Update>;
  using time_point = std::chrono::steady_clock::time_point;
  using merge_function = std::function<void(Update& into, Update&& newer)>;

  // `target(key, update, version)` applies the batch unless it has applied one of this version or a
  // newer one for the key: then it answers `stale`. To a batch that no send before left in doubt
  // that is a failure: somebody else writes here, or the epoch is too old. It is surfaced, sent
  // again as it is, and given back in the end. So a target that repeats its requests by itself
  // answers `applied` if a repetition is stale. `merge` is called under a lock and must not use the
  // mirror, nor throw. Versions are (epoch, 1), (epoch, 2)...; an epoch is larger than those of the
  // processes before. std::nullopt: the system's clock, which must not have been set back.
  // Throws: as a keyed_mirror's constructor; std::invalid_argument without a merge function.
  template <class Target>
  merging_mirror(Target target, merge_function merge, options how = {},
                 std::optional<std::uint64_t> epoch = std::nullopt)
      : target_(std::move(target)),
        merge_(valid(std::move(merge))),
        on_failure_(std::move(how.on_failure)),
        delay_(std::move(how.delay)),
        epoch_(epoch ? *epoch : this_moment()),
        rows_{*this, detail::valid_pace(how), detail::valid_parallel(how.parallel),
              {std::move(how.schedule), std::move(how.now)}} {}  // braces: left to right

  merging_mirror(const merging_mirror&) = delete;
  merging_mirror& operator=(const merging_mirror&) = delete;
  // Effects: close(). Preconditions: as a mirror's.
  ~merging_mirror() { rows_.end(); }

  // Effects: the update is merged behind those of the key that wait, and a write follows.
  // Returns: false if the mirror is closed: then `update` is as it was.
  // Throws: std::bad_alloc, and what a move of the update throws; then nothing follows.
  bool touch(const Key& key, Update&& update) {
    return rows_.touch(key, [&](row& r) {
      std::optional<Update>& waiting = r.extra.waiting;
      waiting ? merge_(*waiting, std::move(update)) : void(waiting.emplace(std::move(update)));
    });
  }
  bool touch(const Key& key, const Update& update) { return touch(key, Update(update)); }

  // mirror_flush_result flush(key)
  // Effects: blocks until the target has confirmed what was touched before.
  // Throws: std::bad_alloc; std::system_error (resource_deadlock_would_occur) on a thread that
  //         sends.
  using calls::flush;
  // mirror_flush_result flush_until(deadline, key)
  // Effects: the same, but the wait ends at the deadline.
  using calls::flush_until;
  // co_await async_flush(key), async_flush(key, stop)
  // Effects: flush() for coroutines, until a stop is requested, by any thread.
  // Throws: std::bad_alloc, by co_await.
  using calls::async_flush;
  // co_await async_flush_until(timer, deadline, key), the same with a stop token
  // Effects: the same, until the deadline; the timer outlives the wait.
  using calls::async_flush_until;

  // Effects: refuses further touches, sends what was touched before, without regard to
  //          min_interval or a wait after a failure, and stops.
  // Returns: what was given up, after `attempts` failures in a row. It is given away: a second call
  //          has nothing to return. Throws: as flush(); then call it again, nothing is lost.
  std::vector<unsent> close() {
    rows_.close(nullptr);
    return give_back();
  }
  // Effects: the same, but from the deadline on no write begins any more.
  // Returns: also what was not written by then. The destructor waits for writes in flight.
  std::vector<unsent> close_until(time_point deadline) {
    rows_.close(&deadline);
    return give_back();
  }

  using calls::statistics;
  // Returns: how many keys are due or being written, at one moment.
  using calls::dirty_keys_approx;
  // Returns: how many keys take memory, at one moment.
  using calls::known_keys_approx;

private:
  static merge_function valid(merge_function merge) {
    if (merge) return merge;
    throw std::invalid_argument("interlock::merging_mirror: updates need a merge function");
  }
  static std::uint64_t this_moment() noexcept {
    return static_cast<std::uint64_t>(
        std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
  }

  // A batch whose fate is unknown goes first and alone: merged with newer ones it would be a batch
  // that the target cannot tell. What waits is the next one, for which the same flushes wait.
  detail::mirror_attempt<mirror_version> attempt(row& r) noexcept {
    return detail::attempt_once<mirror_version>([&](auto& done) {
      if (!r.extra.sent) return take(r) ? write(r, done.version) : detail::mirror_end::skipped;
      const auto how = write(r, done.version);
      const auto lock = rows_.hold(r);
      done.partly = r.extra.waiting.has_value();
      return how;
    });
  }

  // Effects: what waits is a batch. Returns: whether there was something.
  bool take(row& r) noexcept {
    batches& of = r.extra;
    const auto lock = rows_.hold(r);
    if (!of.waiting) return false;
    of.sent = std::move(of.waiting);
    of.waiting.reset();
    // order: relaxed: a number that no other batch has; the key's sends are ordered
    of.version = {epoch_, sequence_.fetch_add(1, std::memory_order_relaxed) + 1};
    return true;
  }

  // A failure tells the fate of its own write, not that of an earlier one of the same batch.
  detail::mirror_end write(row& r, std::optional<mirror_version>& version) {
    batches& of = r.extra;
    version = of.version;
    const bool in_doubt = std::exchange(of.in_doubt, true);  // also if the target throws
    const mirror_write_result result =
        target_(r.name, std::as_const(*of.sent), std::as_const(of.version));
    if (result == mirror_write_result::unknown) return detail::end_of(result);
    // It was not applied, or the target repeats its requests: again and alone, until that is clear.
    if (result == mirror_write_result::stale && (of.refused || !in_doubt)) {
      of.refused = true;
      return detail::mirror_end::refused;
    }
    if (result == mirror_write_result::failed) {
      if (in_doubt) return detail::end_of(result);
      const auto lock = rows_.hold(r);
      if (of.waiting) merge_(*of.sent, std::move(*of.waiting));
      of.waiting = std::move(of.sent);
    }
    of.sent.reset();
    of.in_doubt = of.refused = false;
    return detail::end_of(result);
  }

  void surface(const row& r, const mirror_failure& failure) noexcept {
    if (on_failure_) on_failure_(r.name, failure);
  }
  std::chrono::nanoseconds pause(std::size_t failures) noexcept {
    return delay_ ? delay_(failures) : detail::usual_delay(failures);
  }

  std::vector<unsent> give_back() {
    // What may throw comes first. After close() no row comes or goes.
    std::vector<unsent> all;
    std::vector<const row*> lost;
    const auto nothing = [](const row& r, bool in_flight) {
      return !in_flight && !r.extra.sent && !r.extra.waiting;
    };
    rows_.for_each_lost([&](row& r, bool in_flight) {
      if (nothing(r, in_flight)) return;
      lost.push_back(&r);
      all.push_back({r.name, std::nullopt, {}, std::nullopt, false});
    });
    std::size_t at = 0;
    rows_.for_each_lost([&](row& r, bool in_flight) {
      if (nothing(r, in_flight)) return;
      while (at != lost.size() && lost[at] != &r) ++at;  // confirmed meanwhile
      if (at == lost.size()) return;
      batches& of = r.extra;
      unsent& given = all[at++];
      given.version = of.version;
      given.in_flight = in_flight;
      if (!in_flight) given.unknown = std::exchange(of.sent, std::nullopt);
      given.waiting = std::exchange(of.waiting, std::nullopt);
    });
    std::erase_if(all, [](const unsent& u) { return !u.unknown && !u.waiting && !u.in_flight; });
    return all;
  }

  const std::function<mirror_write_result(const Key&, const Update&, const mirror_version&)>
      target_;
  const merge_function merge_;
  const std::function<void(const Key&, const mirror_failure&)> on_failure_;
  const std::function<std::chrono::nanoseconds(std::size_t)> delay_;
  const std::uint64_t epoch_;
  std::atomic<std::uint64_t> sequence_{0};
  rows rows_;  // last: its threads call what is above
};

}  // namespace interlock
