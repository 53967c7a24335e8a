// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/key_work.hpp - a piece of work of a key; the first of each key stands for it.
//
// A table of active keys needs an entry for each. Here the entry is the work itself: the head of a
// key, which is being done or comes next, hangs in the table and holds the line of those behind it.
// When it is done the next one takes its place there. So a key that comes and goes allocates
// nothing and copies no key: the head lies on the stack of the thread that does it. And nobody can
// keep a pointer to the entry of a key that is gone: there is none.
//
// All fields but `news` are protected by the lock of the shard; those of a head that runs, by that
// and by the role: its runner reads what does not change meanwhile.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <type_traits>
#include <utility>

#include "block_cache.hpp"
#include "lane_work.hpp"
#include "parking.hpp"

namespace interlock::detail {

struct key_work : news_kinds {
  // posted: in a block of its own. called, barrier: on the stack of a thread that waits. awaited:
  // in a coroutine's frame. signal: somewhere, of a drain of all keys.
  enum class kind : std::uint8_t { posted, called, barrier, awaited, signal };
  // nowhere: not yet, or done. queued: behind a head. resting: a head that nobody does yet.
  // running: a head with a runner, or with a coroutine that holds the key.
  enum class place : std::uint8_t { nowhere, queued, resting, running };
  // run, or cancel instead: with the key held. finish: off the key; the last touch of the work.
  enum class step : std::uint8_t { run, cancel, finish };
  using performer = ending (*)(key_work&, const queue_options*, step) noexcept;

  key_work(kind k, performer p) noexcept : perform(p), what(k) {}
  key_work(const key_work&) = delete;
  key_work& operator=(const key_work&) = delete;

  bool counts() const noexcept { return what != kind::barrier && what != kind::signal; }
  bool has_begun() const noexcept { return where == place::running || where == place::nowhere; }

  const performer perform;
  key_work* next = nullptr;      // behind it in the line of the key
  key_work* previous = nullptr;  // queued: before it in the line; head: the next in its bucket
  key_work* last = nullptr;      // head: the newest of the line
  // resting: the next that rests in this shard; last of a line: the first there that seeks a place;
  // head that begins: those behind it that have one now, to be told
  key_work* ready = nullptr;
  std::int64_t since = 0;        // when it was queued, in nanoseconds, if somebody wants to know
  std::uint32_t hash = 0;
  std::uint32_t posts = 0;    // head: how many of its line were posted and have not begun
  std::uint32_t others = 0;   // head: how many others of its line have not begun
  std::uint32_t helpers = 0;  // head: how many of its line can take the role
  park_word news{waiting};
  const kind what;
  place where = place::nowhere;
  bool helps : 1 = false;      // its thread does the work of the key, if asked
  bool droppable : 1 = false;  // a newer one may take its place
  bool sampled : 1 = false;    // for the metrics; these three are written by who brings it
  std::uint8_t : 0;
  bool ended : 1 = false;  // it has begun, or will not
  bool given : 1 = false;  // the role, and its thread has not taken note yet
  bool seeks : 1 = false;  // it is queued, and its task has no place: see key_room.hpp

  // Returns: done; role: this thread has it; or waiting: the deadline, if there is one, has passed.
  std::uint32_t wait(const std::chrono::steady_clock::time_point* deadline) noexcept {
    return wait_for_news(news, deadline);
  }
  // Effects: tells the thread that waits: the last touch of the work.
  void tell(std::uint32_t what_happened) noexcept { tell_news(news, what_happened); }
};

// A small key lies in the work, a larger one elsewhere: then it lives as long as the work.
template <class Key>
inline constexpr bool key_is_small = sizeof(Key) <= sizeof(void*) &&
                                     std::is_trivially_copyable_v<Key>;

template <class Key, bool Small = key_is_small<Key>>
struct keyed_work : key_work {
  using key_type = Key;
  keyed_work(kind k, performer p, const Key& key) noexcept : key_work(k, p), key_(&key) {}
  const Key& key() const noexcept { return *key_; }

private:
  const Key* key_;
};
template <class Key>
struct keyed_work<Key, true> : key_work {
  using key_type = Key;
  keyed_work(kind k, performer p, const Key& key) noexcept : key_work(k, p), key_(key) {}
  const Key& key() const noexcept { return key_; }

private:
  Key key_;
};

// What owns its key, if the work does not.
template <class Key, bool Small = key_is_small<Key>>
struct own_key {
  explicit own_key(const Key& key) : copy(key) {}
  const Key& of(const Key&) const noexcept { return copy; }
  const Key copy;
};
template <class Key>
struct own_key<Key, true> {
  explicit own_key(const Key&) noexcept {}
  const Key& of(const Key& key) const noexcept { return key; }
};

// Effects: tells the thread that waits for it.
inline ending finish_called(key_work& self) noexcept {
  self.tell(key_work::done);
  return ending::none;
}

template <class Key, class F>
struct called_key_work : keyed_work<Key> {
  called_key_work(const Key& key, F& f) noexcept
      : keyed_work<Key>(key_work::kind::called, &perform_it, key), function(f) {}

  static ending perform_it(key_work& self, const queue_options*, key_work::step now) noexcept {
    auto& work = static_cast<called_key_work&>(self);
    if (now == key_work::step::finish) return finish_called(self);
    if (now == key_work::step::run) return work.outcome.run(std::forward<F>(work.function));
    work.cancelled = true;
    return work.outcome.cancel();
  }
  F& function;
  bool cancelled = false;
  result<std::invoke_result_t<F>> outcome;
};

template <class Key>
struct barrier_key_work : keyed_work<Key> {
  explicit barrier_key_work(const Key& key) noexcept
      : keyed_work<Key>(key_work::kind::barrier, &perform_it, key) {}
  static ending perform_it(key_work& self, const queue_options*, key_work::step now) noexcept {
    return now == key_work::step::finish ? finish_called(self) : ending::none;
  }
};

// The head of a key that this thread does without any line, on its stack.
template <class Key>
struct entered_key_work : keyed_work<Key> {
  explicit entered_key_work(const Key& key) noexcept
      : keyed_work<Key>(key_work::kind::called, nullptr, key) {}
};

template <class Key, class Task>
struct posted_key_work : private own_key<Key>, keyed_work<Key>, cached_block {
  template <class F>
  posted_key_work(const Key& key, F&& f, key_work::performer does = &perform_it)
      : own_key<Key>(key),
        keyed_work<Key>(key_work::kind::posted, does, own_key<Key>::of(key)),
        task(std::forward<F>(f)) {}
  ~posted_key_work() {}  // the task went before

  static ending perform_it(key_work& self, const queue_options* options,
                           key_work::step now) noexcept {
    auto& work = static_cast<posted_key_work&>(self);
    if (now == key_work::step::finish) {
      delete &work;
      return ending::none;
    }
    const bool cancelled = now == key_work::step::cancel;
    const ending how = cancelled ? ending::cancelled : attempt(work.task, *options);
    work.task.~Task();
    return how;
  }
  void drop_task() noexcept { task.~Task(); }  // of one that was refused

  union {
    Task task;
  };
};

// ---- the table ----------------------------------------------------------------------------------

// A few instructions, no user code but Equal, so who waits spins and gives its time slice away. To
// let go is a plain store: half the price of a mutex, twice for each piece of work.
class brief_lock {
public:
  void lock() noexcept {
    // order: acquire [brief_lock.lock] pairs with [brief_lock.unlock]: sees the last section
    while (taken_.exchange(true, std::memory_order_acquire)) {
      unsigned round = 0;
      // order: relaxed: a look before the exchange
      while (taken_.load(std::memory_order_relaxed)) spin_hint(round++);
    }
  }
  void unlock() noexcept {
    // order: release [brief_lock.unlock] pairs with [brief_lock.lock]: publishes the section
    taken_.store(false, std::memory_order_release);
  }

private:
  std::atomic<bool> taken_{false};
};

// The heads, by key: a list while they are few, then buckets.
template <class Key, class Equal>
class key_table {
public:
  using work = keyed_work<Key>;

  key_table() = default;
  key_table(const key_table&) = delete;
  key_table& operator=(const key_table&) = delete;
  ~key_table() {
    if (mask_ != 0) delete[] buckets_;
  }

  std::size_t size() const noexcept { return size_; }

  key_work* find(std::uint32_t hash, const Key& key, const Equal& equal) const {
    for (key_work* w = bucket(hash); w != nullptr; w = w->previous) {
      if (w->hash == hash && equal(static_cast<const work*>(w)->key(), key)) return w;
    }
    return nullptr;
  }
  void insert(key_work& head) noexcept {
    if (size_ >= 2 * (mask_ + 1) && size_ >= few) grow();
    head.previous = std::exchange(bucket(head.hash), &head);
    ++size_;
  }
  void replace(key_work& head, key_work& by) noexcept {
    by.previous = head.previous;
    place_of(head) = &by;
  }
  void erase(key_work& head) noexcept {
    place_of(head) = head.previous;
    if (--size_ == 0 && mask_ >= kept) shrink();
  }
  template <class F>
  void for_each(F f) const {
    for (std::uint32_t i = 0; i <= mask_; ++i) {
      for (key_work* w = bucket(i); w != nullptr;) f(*std::exchange(w, w->previous));
    }
  }

private:
  static constexpr std::uint32_t few = 4;
  static constexpr std::uint32_t kept = 64;  // buckets, when there are no keys
  static constexpr std::uint32_t most = std::uint32_t{1} << 26;

  key_work*& bucket(std::uint32_t hash) noexcept {
    return mask_ == 0 ? only_ : buckets_[hash & mask_];
  }
  key_work* bucket(std::uint32_t hash) const noexcept {
    return mask_ == 0 ? only_ : buckets_[hash & mask_];
  }
  key_work*& place_of(key_work& head) noexcept {
    key_work** at = &bucket(head.hash);
    while (*at != &head) at = &(*at)->previous;
    return *at;
  }
  [[gnu::noinline]] void shrink() noexcept {
    delete[] buckets_;
    only_ = nullptr;
    mask_ = 0;
  }
  [[gnu::noinline]] void grow() noexcept {
    const std::uint32_t more = 8 * (mask_ + 1);
    if (more > most) return;  // longer chains, then
    auto* const larger = new (std::nothrow) key_work*[more]();
    if (larger == nullptr) return;
    for_each([&](key_work& w) {
      w.previous = std::exchange(larger[w.hash & (more - 1)], &w);
    });
    if (mask_ != 0) delete[] buckets_;
    buckets_ = larger;
    mask_ = more - 1;
  }

  union {
    key_work* only_ = nullptr;  // while there is one bucket
    key_work** buckets_;
  };
  std::uint32_t size_ = 0;
  std::uint32_t mask_ = 0;
};

// Spreads what a hash function left in the low bits over all of them.
inline std::uint32_t mixed(std::uint64_t hash) noexcept {
  hash = (hash ^ (hash >> 32U)) * 0x9E3779B97F4A7C15U;
  return static_cast<std::uint32_t>(hash >> 32U);
}

}  // namespace interlock::detail
