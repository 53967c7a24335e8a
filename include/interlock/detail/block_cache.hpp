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

// Addresses, so that nobody touches a block that is not in use.
struct magazine {
  static constexpr std::size_t room = 64;

  bool full() const noexcept { return count == room; }

  std::size_t count = 0;
  void* blocks[room]{};
};

// Full magazines that nobody uses.
class block_depot {
public:
  static constexpr std::size_t most_magazines = 128;  // a megabyte

  // Effects: fills the empty magazine, if there is a full one.
  void get(magazine& empty) noexcept {
    const std::lock_guard lock(mutex_);
    if (count_ != 0) empty = magazines_[--count_];
  }
  // Preconditions: it is full. Returns: false if there are enough.
  bool put(const magazine& full) noexcept {
    const std::lock_guard lock(mutex_);
    if (count_ == most_magazines) return false;
    magazines_[count_++] = full;
    return true;
  }

private:
  futex_mutex mutex_;
  std::size_t count_ = 0;
  magazine magazines_[most_magazines]{};
};

class block_cache {
public:
  static constexpr std::size_t block_size = 128;
  static constexpr std::size_t alignment = 128;  // processors fetch lines in pairs

  constexpr explicit block_cache(block_depot& depot) noexcept : depot_(&depot) {}
  block_cache(const block_cache&) = delete;
  block_cache& operator=(const block_cache&) = delete;

  // Returns: a block, or nullptr if there is none.
  void* take() noexcept {
    if (now().count == 0 && !reload()) return nullptr;
    magazine& from = now();
    void* const block = from.blocks[--from.count];
    // The next ones come from another core, as a rule.
    for (std::size_t line = 0; from.count >= 2 && line != block_size; line += 64) {
      __builtin_prefetch(static_cast<const char*>(from.blocks[from.count - 2]) + line);
    }
    return block;
  }
  // Returns: as a rule, the block that was taken eight times ago. An address to fetch early, and no
  //          more: the block may be anybody's, or no block any more.
  void* taken_before() const noexcept {
    const std::size_t at = magazines_[now_].count + 8;
    return at < magazine::room ? magazines_[now_].blocks[at]
                               : magazines_[now_ ^ 1U].blocks[at - magazine::room];
  }
  void give(void* block) noexcept {
    if (now().full()) make_room();
    magazine& to = now();
    to.blocks[to.count++] = block;
  }
  // Effects: gives back all that it has.
  void clear() noexcept {
    for (magazine& each : magazines_) {
      if (!each.full() || !depot_->put(each)) free_all(each);
      each.count = 0;
    }
  }

  static void* allocate() { return ::operator new(block_size, std::align_val_t{alignment}); }
  static void free(void* block) noexcept { ::operator delete(block, std::align_val_t{alignment}); }

private:
  magazine& now() noexcept { return magazines_[now_]; }

  [[gnu::noinline]] bool reload() noexcept {
    now_ ^= 1U;
    if (now().count == 0) depot_->get(now());
    return now().count != 0;
  }
  [[gnu::noinline]] void make_room() noexcept {
    now_ ^= 1U;
    if (!now().full()) return;
    if (!depot_->put(now())) free_all(now());
    now().count = 0;
  }
  static void free_all(magazine& of) noexcept {
    while (of.count != 0) free(of.blocks[--of.count]);
  }

  magazine magazines_[2]{};
  unsigned now_ = 0;
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
  static void* taken_before() noexcept { return cache.taken_before(); }

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
