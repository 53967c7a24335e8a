// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/active_keys.hpp - the keys that have work just now, and the threads that do it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "futex_mutex.hpp"
#include "lane_work.hpp"

namespace interlock::detail {

template <class Key>
struct active_key {
  std::optional<Key> key;
  std::uint64_t hash = 0;
  std::unique_ptr<active_key> next{};  // in the bucket, or in the spare list
  void* queue = nullptr;               // for the job that an executor does
  active_key* next_ready = nullptr;    // in the list of keys that wait for a worker
  work* first = nullptr;               // queued, oldest first
  work* last = nullptr;                // meaningful while first is not null
  std::size_t posts = 0;               // how many of those take a place
  std::size_t threads = 0;             // how many of those a thread waits for

  void push(work& w) noexcept {
    posts += w.what == work::kind::posted;
    threads += w.has_thread();
    w.next = nullptr;
    (first == nullptr ? first : last->next) = &w;
    last = &w;
  }
  work& pop() noexcept {
    work& w = *first;
    first = w.next;
    posts -= w.what == work::kind::posted;
    threads -= w.has_thread();
    return w;
  }
  work& first_with_thread() const noexcept {
    work* w = first;
    while (!w->has_thread()) w = w->next;
    return *w;
  }
};

// A hash table of them. Entries are recycled, so a key that comes and goes allocates nothing, and a
// key without work takes no memory. The table has no lock of its own.
template <class Key, class Equal>
class active_keys {
public:
  using entry = active_key<Key>;

  bool empty() const noexcept { return size_ == 0; }
  std::size_t size() const noexcept { return size_; }

  entry* find(std::uint64_t hash, const Key& key, const Equal& equal) const {
    if (buckets_.empty()) return nullptr;
    entry* e = bucket(hash).get();
    while (e != nullptr && !(e->hash == hash && equal(*e->key, key))) e = e->next.get();
    return e;
  }

  // Preconditions: find() has not found it. Effects: none if it throws.
  entry& insert(std::uint64_t hash, const Key& key) {
    if (size_ >= buckets_.size()) grow();
    std::unique_ptr<entry> fresh = std::move(spare_);
    if (fresh == nullptr) {
      fresh = std::make_unique<entry>();
    } else {
      spare_ = std::move(fresh->next);
      --spares_;
    }
    fresh->key.emplace(key);
    fresh->hash = hash;
    fresh->next = std::move(bucket(hash));
    ++size_;
    return *(bucket(hash) = std::move(fresh));
  }

  void erase(entry& gone) noexcept {
    std::unique_ptr<entry>* place = &bucket(gone.hash);
    while (place->get() != &gone) place = &(*place)->next;
    std::unique_ptr<entry> taken = std::move(*place);
    *place = std::move(taken->next);
    --size_;
    taken->key.reset();
    if (spares_ == most_spares) return;
    taken->next = std::move(spare_);
    spare_ = std::move(taken);
    ++spares_;
  }

  template <class F>
  void for_each(F f) {
    for (std::unique_ptr<entry>& head : buckets_) {
      for (entry* e = head.get(); e != nullptr; e = e->next.get()) f(*e);
    }
  }

private:
  static constexpr std::size_t most_spares = 16;

  std::unique_ptr<entry>& bucket(std::uint64_t hash) noexcept {
    return buckets_[hash & (buckets_.size() - 1)];
  }
  const std::unique_ptr<entry>& bucket(std::uint64_t hash) const noexcept {
    return buckets_[hash & (buckets_.size() - 1)];
  }

  void grow() {
    std::vector<std::unique_ptr<entry>> old(buckets_.empty() ? 8 : buckets_.size() * 2);
    old.swap(buckets_);
    for (std::unique_ptr<entry>& head : old) {
      while (head != nullptr) {
        std::unique_ptr<entry> moved = std::move(head);
        head = std::move(moved->next);
        std::unique_ptr<entry>& place = bucket(moved->hash);
        moved->next = std::move(place);
        place = std::move(moved);
      }
    }
  }

  std::vector<std::unique_ptr<entry>> buckets_;  // a power of two of them, or none
  std::size_t size_ = 0;
  std::unique_ptr<entry> spare_;
  std::size_t spares_ = 0;
};

// Spreads what a hash function left in the low bits over all of them.
inline std::uint64_t mixed(std::uint64_t hash) noexcept {
  hash = (hash ^ (hash >> 32U)) * 0x9E3779B97F4A7C15U;
  return hash ^ (hash >> 29U);
}

inline void count(queue_stats& numbers, ending how) noexcept {
  numbers.completed += how == ending::completed;
  numbers.failed += how == ending::failed;
  numbers.cancelled += how == ending::cancelled;
}

// Waits, at the end of its life, for all the signals that were made for it.
class gathering {
public:
  gathering() = default;
  ~gathering() {
    arrive();
    gate_.wait_for_role();
  }
  gathering(const gathering&) = delete;
  gathering& operator=(const gathering&) = delete;

  struct signal : work {  // goes through the line of one key
    explicit signal(gathering& g) noexcept : work(kind::awaited, &perform_it), all(g) {
      // order: relaxed: counted before it can arrive
      all.missing_.fetch_add(1, std::memory_order_relaxed);
    }
    static ending perform_it(work& self, const queue_options*, step) noexcept {
      static_cast<signal&>(self).all.arrive();
      return ending::none;
    }
    gathering& all;
  };

private:
  void arrive() noexcept {
    // order: acq_rel [gathering.arrive] pairs with [gathering.arrive]: the last one has seen all that the others did
    if (missing_.fetch_sub(1, std::memory_order_acq_rel) == 1) gate_.tell(work::done);
  }

  std::atomic<std::size_t> missing_{1};
  work gate_{work::kind::called, nullptr};
};

// Threads that serve what is scheduled, oldest first. Destroyed after the last of it was served.
template <class Entry>
class crew {
public:
  crew() = default;
  ~crew() {
    for (std::size_t i = 0; i < threads_.size(); ++i) {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      call_one();
    }
    for (std::thread& thread : threads_) thread.join();
  }
  crew(const crew&) = delete;
  crew& operator=(const crew&) = delete;

  template <class Serve>
  void start(std::size_t n, Serve serve) {
    while (threads_.size() < n) threads_.emplace_back([this, serve] { work_off(serve); });
  }

  void schedule(Entry& e) noexcept {
    const std::lock_guard lock(mutex_);
    e.next_ready = nullptr;
    (ready_ == nullptr ? ready_ : ready_last_->next_ready) = &e;
    ready_last_ = &e;
    call_one();
  }

private:
  void call_one() noexcept {
    // order: relaxed: the mutex is held
    calls_.fetch_add(1, std::memory_order_relaxed);
    if (sleepers_ != 0) unpark_one(&calls_);
  }

  template <class Serve>
  void work_off(Serve& serve) noexcept {
    std::unique_lock lock(mutex_);
    while (ready_ != nullptr || !stopping_) {
      if (ready_ != nullptr) {
        Entry& e = *std::exchange(ready_, ready_->next_ready);
        lock.unlock();
        serve(e);
        lock.lock();
        continue;
      }
      // order: relaxed: the mutex is held
      const std::uint32_t seen = calls_.load(std::memory_order_relaxed);
      ++sleepers_;
      lock.unlock();
      park(calls_, seen);
      lock.lock();
      --sleepers_;
    }
  }

  futex_mutex mutex_;  // protects all of this but the threads
  Entry* ready_ = nullptr;
  Entry* ready_last_ = nullptr;  // meaningful while ready_ is not null
  std::size_t sleepers_ = 0;
  bool stopping_ = false;
  park_word calls_{0};  // changes whenever a sleeper may have something to do
  std::vector<std::thread> threads_;
};

}  // namespace interlock::detail
