// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/memory.hpp - what explored code allocates, and who touched which byte last.
//
// Arena: each thread allocates from its own region, so addresses depend on that thread alone and
// are the same in every execution with the same prefix. A block that the thread has freed may be
// given to it again (options::reuse_memory). All is dropped at the end of an execution.
//
// Shadow: for each 8 bytes, the accesses that a later access could race with (as FastTrack keeps
// them, with all reads). A new execution invalidates all of it by its number.

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "graph.hpp"

namespace interlock::testing {
namespace {

class arena {
public:
  static constexpr std::size_t bytes_per_thread = std::size_t{32} << 20U;

  struct block {
    std::size_t size;   // as asked for
    std::size_t bytes;  // from this header to the next
    const void* site;
    std::size_t live;
    block* older;  // freed by the same thread before this one
  };

  struct life {  // of a block that was freed before, and who allocated it when
    std::uintptr_t begin, end;
    unsigned thread;
    u16 epoch;
  };

  void reset() noexcept {
    for (std::size_t& used : used_) used = 0;
    for (block*& newest : freed_) newest = nullptr;
    reused_count_ = 0;
  }
  // Returns: null when the thread's region is full.
  void* allocate(unsigned thread, std::size_t size, std::size_t alignment, const void* site,
                 int poison) noexcept {
    if (base_ == nullptr) reserve();
    if (alignment < 16) alignment = 16;
    char* const region = base_ + thread * bytes_per_thread;
    const auto here = reinterpret_cast<std::uintptr_t>(region + used_[thread]);
    const std::uintptr_t user = (here + sizeof(block) + alignment - 1) & ~(alignment - 1);
    // Room behind each block keeps neighbours out of one shadow cell.
    const std::uintptr_t end = (user + size + 16 + 15) & ~std::uintptr_t{15};
    if (end - reinterpret_cast<std::uintptr_t>(region) > bytes_per_thread) return nullptr;
    // The header lies where the region was left off, so that the blocks can be walked.
    *reinterpret_cast<block*>(here) = {size, end - here, site, user, nullptr};
    used_[thread] += end - here;
    std::memset(reinterpret_cast<void*>(user), poison, size);
    return reinterpret_cast<void*>(user);
  }
  [[nodiscard]] bool holds(const void* address) const noexcept {
    return base_ != nullptr && static_cast<std::size_t>(static_cast<const char*>(address) - base_) <
                                   bytes_per_thread * max_threads;
  }
  // Returns: the header of the live or freed block that begins here; null if none does.
  [[nodiscard]] block* find(const void* user) noexcept {
    const auto offset = static_cast<std::size_t>(static_cast<const char*>(user) - base_);
    const auto thread = offset / bytes_per_thread;
    char* const region = base_ + thread * bytes_per_thread;
    for (std::size_t at = 0; at < used_[thread];) {
      auto* const header = reinterpret_cast<block*>(region + at);
      if ((header->live & ~std::uintptr_t{1}) == reinterpret_cast<std::uintptr_t>(user)) {
        return header;
      }
      at += header->bytes;
    }
    return nullptr;
  }
  static bool freed(const block& header) noexcept { return (header.live & 1U) != 0; }
  // It is not given to anyone again.
  static void mark_dropped(block& header) noexcept { header.live |= 1U; }
  void mark_freed(unsigned thread, block& header) noexcept {
    header.live |= 1U;
    header.older = freed_[thread];
    freed_[thread] = &header;
  }

  // Returns: the block that the thread freed last among those that fit; null if there is none.
  [[nodiscard]] block* reusable(unsigned thread, std::size_t size,
                                std::size_t alignment) const noexcept {
    if (reused_count_ == max_reused) return nullptr;
    for (block* b = freed_[thread]; b != nullptr; b = b->older) {
      if ((b->size + 15) / 16 == (size + 15) / 16 && (b->live - 1) % alignment == 0) return b;
    }
    return nullptr;
  }
  // Preconditions: epoch is that of the thread's next event.
  void* reuse(unsigned thread, u16 epoch, block& header, std::size_t size, const void* site,
              int poison) noexcept {
    block** link = &freed_[thread];
    while (*link != &header) link = &(*link)->older;
    *link = header.older;
    header.live &= ~std::uintptr_t{1};
    header.size = size;
    header.site = site;
    reused_[reused_count_++] = {header.live, header.live + size, thread, epoch};
    void* const user = reinterpret_cast<void*>(header.live);
    std::memset(user, poison, size);
    return user;
  }
  // Returns: whether the memory was used again by an allocation that is not known to that clock.
  [[nodiscard]] bool reused_behind(std::uintptr_t address, const vector_clock& hb) const noexcept {
    for (unsigned i = 0; i < reused_count_; ++i) {
      const life& l = reused_[i];
      if (address >= l.begin && address < l.end && hb.at[l.thread] < l.epoch) return true;
    }
    return false;
  }
  // Returns: how often the memory at this address was used again.
  [[nodiscard]] u16 lives_before(std::uintptr_t address) const noexcept {
    u16 lives = 0;
    for (unsigned i = 0; i < reused_count_; ++i) {
      if (address >= reused_[i].begin && address < reused_[i].end) ++lives;
    }
    return lives;
  }
  // Returns: a block that was not freed; null if there is none.
  [[nodiscard]] const block* leak() const noexcept {
    for (unsigned t = 0; t < max_threads; ++t) {
      const char* const region = base_ + t * bytes_per_thread;
      for (std::size_t at = 0; at < used_[t];) {
        const auto* const header = reinterpret_cast<const block*>(region + at);
        if (!freed(*header)) return header;
        at += header->bytes;
      }
    }
    return nullptr;
  }

private:
  void reserve() noexcept {
    void* const memory = mmap(nullptr, bytes_per_thread * max_threads, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      std::fputs("interlock::testing: no address space for explored allocations\n", stderr);
      std::exit(3);
    }
    base_ = static_cast<char*>(memory);
  }

  static constexpr unsigned max_reused = max_events;

  char* base_ = nullptr;
  std::size_t used_[max_threads] = {};
  block* freed_[max_threads] = {};  // the newest of each thread
  life reused_[max_reused];
  unsigned reused_count_ = 0;
};

enum access_flags : u8 { access_read = 0, access_write = 1, access_atomic = 2, access_free = 4 };

struct access {
  u8 thread;
  u8 mask;  // which of the 8 bytes
  u16 flags;
  unsigned epoch;  // events of the thread so far, plus one
  friend bool operator==(const access&, const access&) = default;
};

class shadow {
public:
  static constexpr unsigned entries = 24;
  static constexpr u8 shared = 0xFF;
  struct cell {
    std::uintptr_t granule;
    u64 execution;
    u16 count;
    u8 owner;         // the thread of all that is listed; `shared` if there are several
    bool has_atomic;  // whether one of these was set:
    u16 location[8];  // id + 1 of the atomic that begins at this byte and is in use
    access list[entries];
  };

  void next_execution() noexcept {
    if (cells_ == nullptr) reserve();
    ++execution_;
    used_ = 0;
  }

  cell& at(std::uintptr_t granule) noexcept {
    for (std::size_t slot = slot_of(granule);; slot = (slot + 1) & (count - 1)) {
      cell& c = cells_[slot];
      if (c.execution == execution_) {
        if (c.granule == granule) return c;
        continue;
      }
      if (++used_ > count * 3 / 4) {
        std::fputs("interlock::testing: an execution touches more than 400 KB\n", stderr);
        std::exit(3);
      }
      c.execution = execution_;
      c.granule = granule;
      c.count = 0;
      c.has_atomic = false;
      std::memset(c.location, 0, sizeof c.location);
      return c;
    }
  }

  // Returns: null if nobody has touched these 8 bytes.
  [[nodiscard]] const cell* find(std::uintptr_t granule) const noexcept {
    if (cells_ == nullptr) return nullptr;
    for (std::size_t slot = slot_of(granule); cells_[slot].execution == execution_;
         slot = (slot + 1) & (count - 1)) {
      if (cells_[slot].granule == granule) return &cells_[slot];
    }
    return nullptr;
  }

  // Effects: nobody has touched these 8 bytes but who took them into use again.
  void renew(std::uintptr_t granule, const access& now) noexcept {
    cell& c = at(granule);
    c.count = 1;
    c.list[0] = now;
    c.owner = now.thread;
    c.has_atomic = false;
    std::memset(c.location, 0, sizeof c.location);
  }

  enum class verdict { fine, race, after_free, too_many };

  // Effects: compares one access with the earlier ones to the same bytes, then adds it.
  // `other` is the conflicting access when there is one.
  static verdict record(cell& c, const access& now, const vector_clock& hb,
                        access& other) noexcept {
    if (c.count == 0) {
      c.owner = now.thread;
    } else if (now.flags <= access_write) {  // plain code that does the same again?
      access& last = c.list[c.count - 1];
      if (c.owner == now.thread && last.mask == now.mask && last.flags == now.flags) {
        last.epoch = now.epoch;
        return verdict::fine;
      }
      const access stronger{now.thread, now.mask, access_write, now.epoch};
      for (u16 i = 0; i < c.count; ++i) {
        if (c.list[i] == now || c.list[i] == stronger) return verdict::fine;
      }
    }
    if (c.owner != now.thread) c.owner = shared;
    const bool writes_now = (now.flags & access_write) != 0;
    const bool atomic_now = (now.flags & access_atomic) != 0;
    u16 kept = 0;
    for (u16 i = 0; i < c.count; ++i) {
      const access old = c.list[i];
      const bool atomic = (old.flags & access_atomic) != 0;
      const bool writes = (old.flags & access_write) != 0;
      if (atomic && atomic_now) {  // no race; the thread's own older one need not be kept
        const bool same = old.thread == now.thread && old.mask == now.mask;
        if (!same || (writes && !writes_now)) c.list[kept++] = old;
        continue;
      }
      const bool ordered = old.thread == now.thread || old.epoch <= hb.at[old.thread];
      if ((old.mask & now.mask) != 0) {
        if ((old.flags & access_free) != 0) {
          other = old;
          return verdict::after_free;
        }
        if (!ordered && (writes || writes_now)) {
          other = old;
          return verdict::race;
        }
      }
      // Whoever races with `old` races with `now` as well: `old` need not be kept.
      const bool covered = ordered && (old.mask & ~now.mask) == 0 && !atomic_now &&
                           (writes_now || (!writes && old.thread == now.thread));
      if (!covered) c.list[kept++] = old;
    }
    c.count = kept;
    if (kept == entries) return verdict::too_many;
    c.list[c.count++] = now;
    return verdict::fine;
  }

private:
  static constexpr unsigned bits = 16;
  static constexpr std::size_t count = std::size_t{1} << bits;

  static std::size_t slot_of(std::uintptr_t granule) noexcept {
    // Neighbours stay together; regions that lie far from each other meet anywhere.
    return (granule + (granule >> 12U) * 0x9E3779B1U) & (count - 1);
  }

  void reserve() noexcept {
    void* const memory = mmap(nullptr, count * sizeof(cell), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      std::fputs("interlock::testing: no address space for the shadow\n", stderr);
      std::exit(3);
    }
    cells_ = static_cast<cell*>(memory);
  }

  cell* cells_ = nullptr;
  u64 execution_ = 0;
  std::size_t used_ = 0;
};

}  // namespace
}  // namespace interlock::testing
