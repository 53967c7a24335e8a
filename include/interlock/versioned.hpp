// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/versioned.hpp - a value and its version, read together and replaced by version.
//
// Problem     Two requests read a value, compute, and save: the second save wipes out the first.
// Guarantee   No commit is lost when several threads update one cell.
//             Every load returns a whole value together with its own version.
//             A version is given out once so a stale compare_and_set is refused.
//             A function that throws inside update leaves the cell as it was.
//             A waiter returns once the version has passed the one it names and misses no commit.
//             Operations on all cells take effect in one total order.
// Progress    Blocking in the strict sense: a commit is a few stores, and who meets it half done
//             spins, then yields. No user code, allocation or destructor of T runs in there.
// Cost        Trivially copyable T up to 64 bytes: inline, T rounded up and 16 more; a load writes
//             nothing, a commit is one CAS. Up to 256 bytes: four times T, and a commit is a CAS
//             and an atomic store. Any other T: one heap node for each commit, and a load is
//             one CAS and two counts before T's own copy. A reader that keeps its copy: one load
//             while nothing changes. No system call unless somebody waits.
// Lifetime    Must outlive every operation on it, except a commit whose version was seen already.
//             Nobody may be waiting.
// Resumes on  The committing thread: when the coroutine that runs there (see sync_wait) suspends,
//             or inside the commit if none does, as on a plain thread. Or the one that stops it.
// Cancellation By a stop token, on any thread, or a deadline. A suspended coroutine may also be
//             destroyed, unless another thread commits what it waits for or ends its wait
//             meanwhile, or did so.
// Not for     A plain number (counter, std::atomic), or several cells at once (transaction).
//
// Example     versioned<int> wallet(1000);                         // examples/versioned.cpp
//             wallet.update([](int& money) { money -= 300; });     // recomputed on conflict
//             const auto seen = wallet.load();                     // value and version
//             const auto saved = wallet.compare_and_set(seen.version, seen.value - 500);
//             if (!saved) std::printf("now at %d\n", saved.current().value);

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "detail/parking.hpp"
#include "detail/versioned_cell.hpp"
#include "detail/waiting.hpp"
#include "timer.hpp"

namespace interlock {

class transaction;
namespace detail {
struct snapshot_access;
}

template <class T>
class versioned {
  static_assert(std::is_object_v<T> && std::is_same_v<T, std::remove_cv_t<T>>,
                "interlock::versioned<T>: T is a plain object type, without const or volatile");
  static_assert(std::is_copy_constructible_v<T>,
                "interlock::versioned<T>: every reader gets a copy, so T must be copyable; "
                "keep a move-only value as std::shared_ptr<const T>");

public:
  // Starts at 0 (or as given), grows by 1 with each commit; store_if_newer may jump ahead.
  using version_type = std::uint64_t;
  static constexpr version_type max_version = detail::version_word::max_version;  // 2^62 - 1

  enum class storage_kind {
    seqlock,  // the bytes of T, inline
    slots,    // the bytes of T, inline in four places that commits fill in turn
    node,     // an immutable T on the heap, counted
  };
  static constexpr storage_kind storage =
      !detail::fits_inline<T> ? storage_kind::node
      : sizeof(T) <= detail::max_single_size ? storage_kind::seqlock
                                             : storage_kind::slots;

  // No thread is held up for long, but a thread that the system stops inside a commit holds up
  // the others: neither kind is lock-free in the standard's sense.
  static constexpr bool is_always_lock_free = false;

  struct snapshot {
    T value;
    version_type version;
  };

  class result;
  class reader;

  versioned()
    requires std::default_initializable<T>
      : versioned(T()) {}

  // Throws: std::invalid_argument if version > max_version; what T's copy throws; std::bad_alloc.
  explicit versioned(T value, version_type version = 0) : cell_(std::move(value), valid(version)) {}

  versioned(const versioned&) = delete;
  versioned& operator=(const versioned&) = delete;

  // Returns: the value and its version, at one moment.
  // Throws: what T's copy throws.
  [[nodiscard]] snapshot load() const { return cell_.template read_as<snapshot>(); }

  // Returns: the version. It may be out of date already.
  [[nodiscard]] version_type version() const noexcept { return cell_.settled(); }

  // Effects: if the cell is at version `expected`, replaces the value.
  // Returns: the new version, or the snapshot that refused it.
  // Throws: as store(); std::invalid_argument if expected > max_version.
  [[nodiscard("a refused compare_and_set has changed nothing")]] result compare_and_set(
      version_type expected, T desired);

  // Effects: replaces the value by f(value), or by a copy that f(copy) has changed; computed anew
  //          while other commits come first. f runs outside any lock and may read this cell.
  // Returns: the new version.
  // Throws: what f throws, and as store(); the cell is unchanged then.
  template <class F>
  version_type update(F&& f) {
    return *update(f, std::numeric_limits<std::size_t>::max());
  }

  // Effects: as update(f), but calls f at most max_attempts times.
  // Returns: the new version, or nothing if other commits came first each time.
  template <class F>
  [[nodiscard("without a version nothing was stored")]] std::optional<version_type> update(
      F&& f, std::size_t max_attempts);

  // Effects: replaces the value, whatever it was.
  // Returns: the new version.
  // Throws: what T's copy throws; std::bad_alloc; std::overflow_error at max_version.
  version_type store(T desired) {
    draft next(std::move(desired));
    return commit(next, cell_.enter());
  }

  // Effects: if version is greater than the cell's, takes over the value and that version: a late
  //          answer from the source of the versions cannot undo a newer one.
  // Returns: true if taken.
  // Throws: std::invalid_argument if version > max_version; what T's copy throws; std::bad_alloc.
  bool store_if_newer(version_type version, T value);

  // Effects: blocks until the version is greater than `seen`.
  // Returns: a snapshot newer than `seen`; commits in between may have been passed over.
  // Throws: std::invalid_argument if seen >= max_version; what T's copy throws.
  [[nodiscard]] snapshot wait(version_type seen) const {
    cell_.wait_past(awaitable(seen), nullptr);
    return load();
  }

  // Effects: as wait(), but not past the deadline, unless a commit under way is held up by then.
  // Returns: nothing if the version was not greater than `seen` by then.
  [[nodiscard]] std::optional<snapshot> wait_until(
      version_type seen, std::chrono::steady_clock::time_point deadline) const {
    if (!cell_.wait_past(awaitable(seen), &deadline)) return std::nullopt;
    return load();
  }

  // Effects: co_await async_wait(seen) suspends the coroutine until the version is greater than
  //          `seen`. Works in coroutines of any type.
  // Returns: an awaitable of what wait() returns.
  // Throws: as wait(); for a wrong `seen` at once, else from co_await.
  [[nodiscard("write co_await")]] auto async_wait(version_type seen) const {
    return detail::waiting<place<false>, detail::by_trampoline>({this, awaitable(seen)});
  }

  // Effects: as above, and until the token's stop is requested, by any thread, which resumes the
  //          coroutine if it is still suspended. Token: std::stop_token, or one of its kind.
  // Returns: an awaitable of what wait_until() returns.
  template <detail::stop_token_like Token>
  [[nodiscard("write co_await")]] auto async_wait(version_type seen, Token stop) const {
    return until<detail::stop_end<Token>>(seen, {std::move(stop)});
  }

  // Effects: as above, and not past the deadline, or until the stop is requested if a token is
  //          given. Returns, throws: as above.
  template <timer Timer>
  [[nodiscard("write co_await")]] auto async_wait_until(Timer& timer,
                                                        typename Timer::time_point deadline,
                                                        version_type seen) const {
    return until<detail::deadline_end<Timer>>(seen, {&timer, deadline});
  }
  template <timer Timer, detail::stop_token_like Token>
  [[nodiscard("write co_await")]] auto async_wait_until(Timer& timer,
                                                        typename Timer::time_point deadline,
                                                        version_type seen, Token stop) const {
    return until<detail::stop_end<Token>, detail::deadline_end<Timer>>(seen, {std::move(stop)},
                                                                       {&timer, deadline});
  }

private:
  template <bool MayEnd>
  class place;
  friend class transaction;
  friend struct detail::snapshot_access;
  using draft = typename detail::versioned_cell<T>::draft;

  // Preconditions: this thread has locked the cell at `version`.
  version_type commit(draft& next, version_type version);

  static version_type valid(version_type version) {
    if (version > max_version) {
      throw std::invalid_argument(
          "interlock::versioned: versions end at 2^62 - 1; pass one that load() or the source of "
          "the versions gave out");
    }
    return version;
  }

  template <class... Ends>
  auto until(version_type seen, Ends... ends) const {
    return detail::waiting<place<true>, detail::by_trampoline, Ends...>({this, awaitable(seen)},
                                                                       {}, std::move(ends)...);
  }

  static version_type awaitable(version_type seen) {
    if (seen >= max_version) {
      throw std::invalid_argument(
          "interlock::versioned: no version follows 2^62 - 1; wait for an earlier one");
    }
    return seen;
  }

  detail::versioned_cell<T> cell_;
};

// Where a coroutine waits for a version; until an end comes, if that may be.
template <class T>
template <bool MayEnd>
class versioned<T>::place : public detail::version_word::place {
public:
  struct request {
    const versioned* cell;
    version_type seen;
  };
  place(const request& what, detail::waiter::wake_function function) noexcept
      : detail::version_word::place(what.cell->cell_, what.seen, function), cell_(*what.cell) {}

  request what() const noexcept { return {&cell_, this->seen()}; }
  std::conditional_t<MayEnd, std::optional<snapshot>, snapshot> finish() {
    this->suspended = false;
    if constexpr (MayEnd) {
      if (!this->try_now()) return std::nullopt;
    }
    return cell_.load();
  }

private:
  const versioned& cell_;
};

// Reads one cell often where it changes seldom: keeps its copy, and looks at the version alone as
// long as that has not moved. For one thread at a time; within the cell's lifetime. A value on the
// heap is not copied but kept alive, so ~T may run in get() and in the destructor.
template <class T>
class versioned<T>::reader {
public:
  explicit reader(const versioned& cell) noexcept : cell_(cell.cell_), seen_(cell_.read()) {}
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;

  // Returns: the value, as load() would; the reference is good until the next get().
  [[nodiscard]] const T& get() noexcept {
    if (!cell_.is_settled_at(seen_->version)) [[unlikely]] look_again();
    return seen_->get();
  }

  // Returns: the version of what get() returned last.
  [[nodiscard]] version_type version() const noexcept { return seen_->version; }

private:
  using cell_type = detail::versioned_cell<T>;

  [[gnu::noinline]] void look_again() noexcept { seen_.emplace(cell_.read()); }

  const cell_type& cell_;
  std::optional<typename cell_type::view> seen_;  // never empty: T need not be assignable
};

// What compare_and_set() did: true if it replaced the value.
template <class T>
class versioned<T>::result {
public:
  explicit operator bool() const noexcept { return !current_.has_value(); }

  // Returns: the new version; if refused, the version of current().
  [[nodiscard]] version_type version() const noexcept { return version_; }

  // Returns: the snapshot that refused it.
  // Throws: std::bad_optional_access if the value was replaced.
  [[nodiscard]] const snapshot& current() const& { return current_.value(); }
  [[nodiscard]] snapshot&& current() && { return std::move(current_).value(); }

private:
  friend versioned;
  explicit result(version_type committed) noexcept : version_(committed) {}
  explicit result(snapshot&& refusal) : version_(refusal.version), current_(std::move(refusal)) {}

  version_type version_;
  std::optional<snapshot> current_;
};

template <class T>
auto versioned<T>::compare_and_set(version_type expected, T desired) -> result {
  draft next(std::move(desired));
  while (!cell_.enter_at(valid(expected))) {
    snapshot current = load();
    // Equal if the cell was behind `expected` and has come up to it meanwhile.
    if (current.version != expected) return result(std::move(current));
  }
  return result(commit(next, expected));
}

template <class T>
template <class F>
auto versioned<T>::update(F&& f, std::size_t max_attempts) -> std::optional<version_type> {
  for (std::size_t attempt = 0; attempt < max_attempts; ++attempt) {
    if (attempt > 0) detail::spin_hint(static_cast<unsigned>(attempt - 1));
    const auto seen = cell_.read();
    draft next(detail::updated(seen.get(), f));
    if (cell_.enter_at(seen.version)) return commit(next, seen.version);
  }
  return std::nullopt;
}

template <class T>
bool versioned<T>::store_if_newer(version_type version, T value) {
  if (valid(version) <= cell_.settled()) return false;  // the common refusal allocates nothing
  draft next(std::move(value));
  for (version_type current = cell_.settled(); current < version; current = cell_.settled()) {
    if (!cell_.enter_at(current)) continue;
    cell_.commit(next, current, version);
    return true;
  }
  return false;
}

template <class T>
auto versioned<T>::commit(draft& next, version_type version) -> version_type {
  if (version == max_version) {
    cell_.unlock(version);
    throw std::overflow_error(cell_.exhausted);
  }
  cell_.commit(next, version, version + 1);
  // By now the cell may be gone, destroyed by somebody who saw the new version.
  return version + 1;
}

}  // namespace interlock
