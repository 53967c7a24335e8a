// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/versioned_cell.hpp - where versioned<T> keeps its value: behind a version
// word, either the bytes themselves or a pointer to a heap node.
//
// Both kinds offer the same few steps, so a plain commit and a transaction are one protocol:
//   read()                      the value and the version it belongs to
//   draft(value)                the next value, made ready before anything is locked; may throw
//   lock() or lock_at(version)  from here to publish() or unlock() no user code runs
//   put(draft)                  exchanges the contents; the draft keeps what has to be destroyed
//   publish(version)            ends it; unlock(version) ends it with nothing changed
// and the steps by which a claim comes first, see version_word.hpp.

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include "shared_bytes.hpp"
#include "version_word.hpp"

namespace interlock::detail {

// A trivially copyable value, inline, as a sequence lock: readers write nothing. They copy the
// bytes while a writer may be storing some, and keep the copy only if the version has not moved.
//
// A larger one has several places, of which each commit fills the next: it only has a claim while
// it does, and a copy is whole unless so many commits came meanwhile that its place was in use
// again. So one hot writer does not starve readers. Two kinds of commit are in, and keep readers
// waiting, while they fill the next place: one that goes up by more than one, since the place that
// it falls on may be the one being read, and one of a transaction.
template <class T, std::size_t places = 1>
class seqlock_cell : public version_word {
public:
  struct view {
    T value;
    version_type version;
    const T& get() const noexcept { return value; }
    T take() && { return std::move(value); }
  };

  class draft {
  public:
    explicit draft(const T& value) noexcept : value_(value) {}
    const T& value() const noexcept { return value_; }

  private:
    T value_;
  };

  seqlock_cell(const T& value, version_type version) noexcept : version_word(version) {
    place_of(version).store(value);
  }

  view read() const noexcept { return read_as<view>(); }

  // Returns: the value and its version as an R.
  template <class R>
  R read_as() const noexcept {
    copy_type copy;
    const version_type version = read_into(copy);
    union room {  // a T that no constructor made: its bytes do, here
      room() noexcept {}
      R made;
    } space;
    copy.fill(std::addressof(space.made.value));
    space.made.version = version;
    return space.made;
  }

  // A plain commit: enter, and commit() or unlock().
  version_type enter() const noexcept { return alone ? lock() : claim(); }
  bool enter_at(version_type version) const noexcept {
    return alone ? lock_at(version) : claim_at(version);
  }
  void commit(const draft& next, version_type from, version_type to) noexcept {
    if (!alone && to != from + 1) mark_busy(from);
    place_of(to).store(next.value());
    if constexpr (alone) {
      publish_and_wake(to);
    } else {
      publish_claimed(to);
    }
  }

  // Preconditions: this thread is in by lock(). Only publish() of the next version may follow.
  void put(const draft& next) noexcept {
    place_of(alone ? 0 : own_version() + 1).store(next.value());
  }

private:
  using copy_type = typename shared_bytes<T>::copy;
  static constexpr bool alone = places == 1;
  static_assert(alone || places > 2, "with two, a copy would not outlive the next commit");

  // Returns: the version that the copy belongs to.
  version_type read_into(copy_type& copy) const noexcept {
    for (std::uint64_t seen = peek();; seen = peek_again()) {
      if (!is_settled(seen)) [[unlikely]] continue;
      bytes_[version_of(seen) % places].load(copy);
      if (has_not_moved(seen)) [[likely]] return version_of(seen);
    }
  }
  bool has_not_moved(std::uint64_t seen) const noexcept {
    if constexpr (alone) return unchanged(seen);
    // The next commit but this many may be storing where the copy was made, with a claim.
    return at_most_past(seen, places - 2);
  }

  shared_bytes<T>& place_of(version_type version) noexcept { return bytes_[version % places]; }

  std::array<shared_bytes<T>, places> bytes_;
};

// Any other value: an immutable node on the heap. A reader enters for as long as it takes to count
// itself in, and copies outside; the last one out destroys the node.
template <class T>
class node_cell : public version_word {
  struct node {
    template <class V>
    explicit node(V&& v) : value(std::forward<V>(v)) {}
    std::atomic<std::size_t> owners{1};
    const T value;
  };

public:
  class draft {
  public:
    template <class V>
      requires std::is_same_v<std::remove_cvref_t<V>, T>
    explicit draft(V&& value) : node_(new node(std::forward<V>(value))) {}
    draft(draft&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
    draft& operator=(draft&& other) noexcept {
      std::swap(node_, other.node_);
      return *this;
    }
    ~draft() {
      // order: acq_rel [node.drop] pairs with [node.drop]: the last owner sees what all others did with the node
      if (node_ != nullptr && node_->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        delete node_;
      }
    }

    // Preconditions: this thread is in the cell that owns the node.
    draft share() const noexcept {
      // order: relaxed: the cell's own count keeps the node alive meanwhile
      node_->owners.fetch_add(1, std::memory_order_relaxed);
      return draft(node_);
    }
    const T& value() const noexcept { return node_->value; }

  private:
    explicit draft(node* owned) noexcept : node_(owned) {}
    node* node_;
  };

  struct view {
    draft shared;
    version_type version;
    const T& get() const noexcept { return shared.value(); }
    T take() && { return shared.value(); }
  };

  node_cell(const T& value, version_type version) : version_word(version), current_(value) {}
  node_cell(T&& value, version_type version) : version_word(version), current_(std::move(value)) {}

  view read() const noexcept {
    const version_type version = lock();
    draft shared = current_.share();
    unlock(version);
    return {std::move(shared), version};
  }

  template <class R>
  R read_as() const {
    const view seen = read();
    return R{seen.get(), seen.version};
  }

  version_type enter() const noexcept { return lock(); }
  bool enter_at(version_type version) const noexcept { return lock_at(version); }
  void commit(draft& next, version_type, version_type to) noexcept {
    put(next);
    publish_and_wake(to);
  }

  // Preconditions: this thread is in.
  void put(draft& next) noexcept { std::swap(current_, next); }

private:
  draft current_;
};

// Up to the first size a copy is over before a commit can come between often. Up to the second,
// places for four: with two, the next commit but one spoils a copy, which then takes twice as long
// under a hot writer. Beyond, four would be much memory for one value.
inline constexpr std::size_t max_single_size = 64;
inline constexpr std::size_t max_inline_size = 256;

template <class T>
inline constexpr bool fits_inline =
    std::is_trivially_copyable_v<T> && sizeof(T) <= max_inline_size;

template <class T>
using versioned_cell =
    std::conditional_t<fits_inline<T>, seqlock_cell<T, sizeof(T) <= max_single_size ? 1 : 4>,
                       node_cell<T>>;

// Returns: what f makes of the value: its result, or the copy that it changed.
template <class T, class F>
T updated(const T& value, F& f) {
  static_assert(std::is_invocable_v<F&, T&>,
                "interlock: f is called with the value: T f(const T&) or void f(T&)");
  if constexpr (std::is_void_v<std::invoke_result_t<F&, T&>>) {
    static_assert(!std::is_invocable_v<F&, T>,
                  "interlock: an f that returns nothing takes its argument by T&, to change it");
    T changed(value);
    std::invoke(f, changed);
    return changed;
  } else if constexpr (std::is_invocable_v<F&, const T&>) {
    // Nothing is converted: an f that returns a comparison is a mistake, and a sum may be wider.
    using result = std::remove_cvref_t<std::invoke_result_t<F&, const T&>>;
    static_assert(std::is_same_v<result, T>,
                  "interlock: f returns the new value, a T; convert it yourself");
    return std::invoke(f, value);
  } else {
    static_assert(!std::is_invocable_v<F&, T&>,
                  "interlock: an f that returns the new value takes const T&; one that changes it "
                  "in place returns nothing");
    return value;
  }
}

}  // namespace interlock::detail
