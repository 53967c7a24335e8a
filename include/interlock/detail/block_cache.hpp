// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/block_cache.hpp - blocks of 128 bytes that go round between threads.
//
// A thread keeps two magazines of blocks that it gives and takes without synchronisation. What one
// thread takes and another gives back, as queued tasks are, travels by whole magazines through a
// depot: its lock is taken once for that many blocks. A thread that ends leaves its blocks to the
// depot. Source: J. Bonwick, J. Adams, "Magazines and Vmem", USENIX 2001.
//
// Under a sanitizer (and in the explorer) every block comes from operator new, so that a late
// access is found.

#include <cstddef>
#include <mutex>
#include <new>
#include <utility>

#include "futex_mutex.hpp"

namespace interlock::detail {

struct free_block {
  free_block* next;
  free_block* next_magazine;  // in the depot, of the first of a magazine
};

struct magazine {
  static constexpr std::size_t room = 32;

  bool full() const noexcept { return count == room; }
  void push(void* memory) noexcept {
    first = ::new (memory) free_block{first, nullptr};
    ++count;
  }
  void* pop() noexcept {
    --count;
    return std::exchange(first, first->next);
  }

  free_block* first = nullptr;
  std::size_t count = 0;
};

// Full magazines that nobody uses.
class block_depot {
public:
  static constexpr std::size_t most_magazines = 64;

  // Returns: a full magazine, or an empty one if there is none.
  magazine get() noexcept {
    const std::lock_guard lock(mutex_);
    if (first_ == nullptr) return {};
    --count_;
    return {std::exchange(first_, first_->next_magazine), magazine::room};
  }
  // Preconditions: it is full. Returns: false if there are enough.
  bool put(const magazine& full) noexcept {
    const std::lock_guard lock(mutex_);
    if (count_ == most_magazines) return false;
    ++count_;
    full.first->next_magazine = std::exchange(first_, full.first);
    return true;
  }

private:
  futex_mutex mutex_;
  free_block* first_ = nullptr;
  std::size_t count_ = 0;
};

class block_cache {
public:
  static constexpr std::size_t block_size = 128;
  static constexpr std::size_t alignment = 64;

  constexpr explicit block_cache(block_depot& depot) noexcept : depot_(&depot) {}
  block_cache(const block_cache&) = delete;
  block_cache& operator=(const block_cache&) = delete;

  // Returns: a block, or nullptr if there is none.
  void* take() noexcept {
    if (now_.count == 0) {
      std::swap(now_, other_);
      if (now_.count == 0) now_ = depot_->get();
      if (now_.count == 0) return nullptr;
    }
    return now_.pop();
  }
  void give(void* block) noexcept {
    if (now_.full()) {
      if (other_.full() && !depot_->put(other_)) free_all(other_);
      other_ = std::exchange(now_, {});
    }
    now_.push(block);
  }
  // Effects: gives back all that it has.
  void clear() noexcept {
    for (magazine* const each : {&now_, &other_}) {
      if (!each->full() || !depot_->put(*each)) free_all(*each);
      *each = {};
    }
  }

  static void* allocate() { return ::operator new(block_size, std::align_val_t{alignment}); }
  static void free(void* block) noexcept { ::operator delete(block, std::align_val_t{alignment}); }

private:
  static void free_all(magazine& of) noexcept {
    while (of.count != 0) free(of.pop());
  }

  magazine now_;
  magazine other_;  // full or empty
  block_depot* depot_;
};

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool caches_blocks = false;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer) || \
    __has_feature(memory_sanitizer)
inline constexpr bool caches_blocks = false;
#else
inline constexpr bool caches_blocks = true;
#endif
#else
inline constexpr bool caches_blocks = true;
#endif

// The cache of this thread. What a thread_local or static object takes or gives that is destroyed
// behind it comes from the heap and goes there.
class thread_blocks {
public:
  static void* take() {
    void* const block = caches_blocks && lives() ? cache.take() : nullptr;
    return block != nullptr ? block : block_cache::allocate();
  }
  static void give(void* block) noexcept {
    if (!caches_blocks || !lives()) return block_cache::free(block);
    cache.give(block);
  }

private:
  enum class life : unsigned char { unborn, alive, over };
  struct end {
    ~end() {
      state = life::over;
      cache.clear();
    }
  };

  static bool lives() noexcept {
    if (state == life::alive) [[likely]] return true;
    if (state == life::over) return false;
    thread_local const end at_exit;
    state = life::alive;
    return true;
  }

  static inline constinit block_depot depot{};
  static inline constinit thread_local block_cache cache{depot};
  static inline constinit thread_local life state = life::unborn;
};

// A base whose derived classes live in such blocks, if they fit.
struct cached_block {
  static void* operator new(std::size_t size) {
    return size <= block_cache::block_size ? thread_blocks::take() : ::operator new(size);
  }
  static void* operator new(std::size_t size, std::align_val_t alignment) {
    const bool fits = size <= block_cache::block_size &&
                      static_cast<std::size_t>(alignment) <= block_cache::alignment;
    return fits ? thread_blocks::take() : ::operator new(size, alignment);
  }
  static void operator delete(void* memory, std::size_t size) noexcept {
    size <= block_cache::block_size ? thread_blocks::give(memory)
                                    : ::operator delete(memory, size);
  }
  static void operator delete(void* memory, std::size_t size, std::align_val_t alignment) noexcept {
    const bool fits = size <= block_cache::block_size &&
                      static_cast<std::size_t>(alignment) <= block_cache::alignment;
    fits ? thread_blocks::give(memory) : ::operator delete(memory, size, alignment);
  }
};

}  // namespace interlock::detail
