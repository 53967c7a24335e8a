// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/mirror_rows.hpp - the keys of a mirror that are due, in tables, and their line.
//
// A row exists while its key is in line or being sent, while somebody waits for it, and while it is
// pinned. Of its Owner: attempt(row), surface(row, failure), pause(failures), as a line's owner.
// Lock order: the shard of a key, then the line.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "futex_mutex.hpp"
#include "mirror_flush.hpp"
#include "mirror_line.hpp"

namespace interlock::detail {

// Extra: what the owner keeps in a row; under the lock of its shard, or of whoever sends.
template <class Key, class Version, class Extra>
struct mirror_row : mirror_key<Version> {
  mirror_row(bool looks, const Key& key, std::uint64_t of)
      : mirror_key<Version>(looks), name(key), hash(of) {}
  const Key name;
  const std::uint64_t hash;
  std::unique_ptr<mirror_row> behind{};  // in the bucket
  Extra extra{};
};

// A hash table of rows, which stay where they are. Has no lock.
template <class Row>
class mirror_table {
public:
  template <class Key, class Equal>
  Row* find(std::uint64_t hash, const Key& key, const Equal& equal) const {
    if (buckets_.empty()) return nullptr;
    Row* each = buckets_[place(hash)].get();
    while (each != nullptr && !(each->hash == hash && equal(each->name, key))) {
      each = each->behind.get();
    }
    return each;
  }
  // Effects: none if it throws.
  template <class Key>
  Row& insert(std::uint64_t hash, const Key& key, bool looks) {
    if (size_ >= buckets_.size()) grow();
    auto fresh = std::make_unique<Row>(looks, key, hash);
    std::unique_ptr<Row>& head = buckets_[place(hash)];
    fresh->behind = std::move(head);
    ++size_;
    return *(head = std::move(fresh));
  }
  // Returns: the row, for whoever destroys it.
  std::unique_ptr<Row> remove(Row& gone) noexcept {
    std::unique_ptr<Row>* at = &buckets_[place(gone.hash)];
    while (at->get() != &gone) at = &(*at)->behind;
    std::unique_ptr<Row> taken = std::move(*at);
    *at = std::move(taken->behind);
    if (--size_ == 0 && buckets_.size() > few) std::vector<std::unique_ptr<Row>>().swap(buckets_);
    return taken;
  }
  template <class F>
  void for_each(F f) {
    for (std::unique_ptr<Row>& head : buckets_) {
      for (Row* each = head.get(); each != nullptr; each = each->behind.get()) f(*each);
    }
  }
  std::size_t size() const noexcept { return size_; }

private:
  static constexpr std::size_t few = 8;

  std::size_t place(std::uint64_t hash) const noexcept { return hash & (buckets_.size() - 1); }

  void grow() {
    std::vector<std::unique_ptr<Row>> old(buckets_.empty() ? few : buckets_.size() * 2);
    old.swap(buckets_);
    for (std::unique_ptr<Row>& head : old) {
      while (head != nullptr) {
        std::unique_ptr<Row> moved = std::move(head);
        head = std::move(moved->behind);
        std::unique_ptr<Row>& to = buckets_[place(moved->hash)];
        moved->behind = std::move(to);
        to = std::move(moved);
      }
    }
  }

  std::vector<std::unique_ptr<Row>> buckets_;  // a power of two of them, or none
  std::size_t size_ = 0;
};

template <class Owner, class Key, class Version, class Extra, class Hash, class Equal>
class mirror_rows {
public:
  using row = mirror_row<Key, Version, Extra>;
  using line = mirror_line<mirror_rows, Version>;
  using key = typename line::key;
  using node = typename line::node;
  using errand = typename line::errand;
  using time_point = typename line::time_point;
  using version_type = Version;

  // What a call said.
  struct flush_request {
    mirror_rows* from;
    Key name;
    std::uint64_t hash;
    std::optional<Version> least;
  };

  mirror_rows(Owner& owner, mirror_pace pace, std::uint32_t parallel, mirror_schedule how)
      : owner_(owner), line_(*this, pace, parallel, std::move(how)) {}

  // Effects: calls change(row) with its shard locked, then has a send follow.
  // Returns: false if closed: then nothing was changed.
  // Throws: std::bad_alloc; what change and the key throw: then there is no new row.
  template <class F>
  bool touch(const Key& name, F change, const lent_hand* hand = nullptr) {
    errand todo;
    todo.hand = hand;
    {
      const std::uint64_t hash = spread(name);
      shard& home = home_of(hash);
      const std::lock_guard lock(home.mutex);
      if (home.closed) return false;
      row& r = at(home, hash, name);
      unless_spare kept{*this, home, r};
      change(r);
      if (!line::is_due(r)) line_.mark(r, todo);
      kept.needed = true;
    }
    line_.run(todo);
    return true;
  }

  row& pin(const Key& name) {
    const std::uint64_t hash = spread(name);
    shard& home = home_of(hash);
    const std::lock_guard lock(home.mutex);
    row* const known = home.rows.find(hash, name, equal_);
    row& r = known != nullptr ? *known : home.rows.insert(hash, name, line::looks());
    ++r.pins;
    if (home.closed && known == nullptr) shut_new(r);
    return r;
  }
  bool touch(row& pinned) noexcept { return line_.touch(pinned); }
  void touch(const flush_request& what) {
    const lent_hand none = lent_hand::none();  // its wait is over
    touch(what.name, [](const row&) {}, &none);
  }
  void unpin(row& r) noexcept {
    std::unique_ptr<row> spare;
    shard& home = home_of(r.hash);
    const std::lock_guard lock(home.mutex);
    --r.pins;
    if (line_.is_spare(r)) spare = home.rows.remove(r);
  }

  flush_request asks(Key name, std::optional<Version> least = std::nullopt) {
    const std::uint64_t hash = spread(name);
    return {this, std::move(name), hash, std::move(least)};
  }
  mirror_flush_result flush(const flush_request& what, const time_point* deadline) {
    return flush_in(*this, what, deadline);
  }
  bool enlist(const flush_request& what, node& n) {
    errand todo;
    lent_hand hand;
    bool listed = false;
    {
      shard& home = home_of(what.hash);
      const std::lock_guard lock(home.mutex);
      if (std::exchange(n.who.ended, true) || home.closed) return false;
      row& r = at(home, what.hash, what.name);  // throws: then it has ended
      n.who.ended = false;
      listed = line_.enlist(r, n, todo, hand);
      if (!listed && line_.is_spare(r)) home.rows.remove(r);
    }
    line_.run(todo, hand);
    return listed;
  }
  bool leave(const flush_request& what, node& n, const wait_status* why) noexcept {
    errand todo;
    bool was_listed = false;
    {
      shard& home = home_of(what.hash);
      const std::lock_guard lock(home.mutex);
      key* spare = nullptr;
      was_listed = line_.withdraw(n, why, spare, todo);
      if (spare != nullptr) home.rows.remove(static_cast<row&>(*spare));
    }
    line_.run(todo);
    return was_listed;
  }

  // Returns: whether everything has ended in time; call report() then.
  // Throws: std::system_error on a thread that sends.
  bool close(const time_point* deadline) {
    if (line_.is_sender()) {
      throw_deadlock("interlock::mirror: close() on the thread that sends would wait for itself");
    }
    lent_hand hand{deadline};
    for_all([&](shard& home, node*& answered, errand& todo) {
      todo.hand = &hand;
      home.closed = true;
      home.rows.for_each([&](row& r) { line_.close(r, answered, todo); });
    });
    if (line_.wait_for_end(deadline) == mirror_ending::sent) return true;
    for_all([&](shard& home, node*& answered, errand& todo) {
      home.rows.for_each([&](row& r) { line_.abandon(r, answered, todo); });
    });
    return false;
  }
  void end() noexcept {
    if (line_.is_sender()) misuse_of_mirror();
    close(nullptr);
  }

  // Effects: calls f(row, in flight) for each key that the target may not have the last value of,
  //          with its shard and the line locked.
  template <class F>
  void for_each_lost(F f) {
    for (shard& home : shards_) {
      const std::lock_guard lock(home.mutex);
      home.rows.for_each([&](row& r) {
        line_.locked([&] {
          const bool in_flight = r.at == mirror_place::sending;
          if (r.lost || in_flight) f(r, in_flight);
        });
      });
    }
  }

  mirror_statistics statistics() noexcept { return line_.statistics(); }
  std::size_t in_line() noexcept { return line_.in_line(); }
  // Returns: how many rows there are.
  std::size_t size() noexcept {
    std::size_t all = 0;
    for (shard& home : shards_) {
      const std::lock_guard lock(home.mutex);
      all += home.rows.size();
    }
    return all;
  }

  // For the line:
  mirror_attempt<Version> attempt(key& k) noexcept { return owner_.attempt(static_cast<row&>(k)); }
  void surface(const key& k, const mirror_failure& failure) noexcept {
    owner_.surface(static_cast<const row&>(k), failure);
  }
  std::chrono::nanoseconds pause(std::size_t failures) noexcept { return owner_.pause(failures); }
  std::unique_lock<futex_mutex> hold(const key& k) noexcept {
    return std::unique_lock(home_of(static_cast<const row&>(k).hash).mutex);
  }
  void retire(key& k) noexcept {
    auto& r = static_cast<row&>(k);
    home_of(r.hash).rows.remove(r);
  }

private:
  struct alignas(64) shard {
    futex_mutex mutex;
    bool closed = false;
    mirror_table<row> rows;
  };
  static constexpr unsigned shard_bits = 4;

  // Forgets the row of a touch that ends half-way, if nothing is known of it.
  struct unless_spare {
    mirror_rows& all;
    shard& home;
    row& touched;
    bool needed = false;
    ~unless_spare() {
      if (!needed && all.line_.is_spare(touched)) home.rows.remove(touched);
    }
  };

  // The bits of a hash that tell nothing are spread over all.
  std::uint64_t spread(const Key& name) const {
    const std::uint64_t mixed = std::uint64_t{hash_(name)} * 0x9E3779B97F4A7C15U;
    return mixed ^ (mixed >> 32U);
  }
  shard& home_of(std::uint64_t hash) noexcept { return shards_[hash >> (64 - shard_bits)]; }

  row& at(shard& home, std::uint64_t hash, const Key& name) {
    row* const found = home.rows.find(hash, name, equal_);
    return found != nullptr ? *found : home.rows.insert(hash, name, line::looks());
  }

  // Effects: f(shard, answered, todo) for each with it locked, then what is left to do.
  template <class F>
  void for_all(F f) noexcept {
    for (shard& home : shards_) {
      node* answered = nullptr;
      errand todo;
      {
        const std::lock_guard lock(home.mutex);
        f(home, answered, todo);
      }
      line_.complete(answered, todo);
    }
  }
  void shut_new(row& r) noexcept {
    node* answered = nullptr;
    errand todo;
    line_.close(r, answered, todo);  // idle: nothing is left to do
  }

  Owner& owner_;
  Hash hash_{};
  Equal equal_{};
  std::array<shard, 1U << shard_bits> shards_{};
  line line_;  // last: its threads call what is above
};

}  // namespace interlock::detail
