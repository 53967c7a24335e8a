// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/places.hpp - which objects explored code touches: atomic ones, parking words' hidden
// queues, and plain memory with its races.

#include "engine.hpp"
#include "stacks.hpp"

namespace interlock::testing {
namespace {

inline u16 engine::place_of(std::uintptr_t address, u8 size, bool hidden) {
  if (places_ == nullptr) places_ = static_cast<place*>(std::calloc(max_places, sizeof(place)));
  // A parking word's queue belongs to the address: whoever unparks a word that is gone may wake a
  // sleeper of what is there now.
  const u16 life = hidden ? u16{0}
                          : to16(heap.lives_before(address & ~lock_bit) +
                                 lives_on_stack_before(address & ~lock_bit));
  const std::uintptr_t key = (address * 2 + (hidden ? 1 : 0)) ^ (std::uintptr_t{life} << 50U);
  std::size_t slot = (key * 0x9E3779B97F4A7C15U) >> 51U;
  for (;; slot = (slot + 1) % 8192) {
    const u16 id = place_index_[slot];
    if (id == 0) break;
    place& p = places_[id - 1];
    if (p.address == address && p.hidden == hidden && p.life == life) {
      if (p.size != size && !hidden) {
        if (p.execution == run_ && (p.stores != 0 || p.reads != 0 || p.known)) {
          fail("an object is accessed by atomic operations of different sizes", nullptr);
        }
        p.size = size;
      }
      return to16(id - 1);
    }
  }
  if (place_count_ == max_places) {
    std::fputs("interlock::testing: more than 2000 atomic objects\n", stderr);
    std::exit(3);
  }
  place& p = places_[place_count_];
  p.address = address;
  p.size = size;
  p.hidden = hidden;
  p.life = life;
  place_index_[slot] = ++place_count_;
  return to16(place_count_ - 1);
}

inline void engine::activate(place& p) {
  if (p.execution == run_) return;
  p.execution = run_;
  p.known = false;
  p.unread_plain = initial;
  p.stores = 0;
  p.reads = 0;
  p.in_memory = 0;
}

inline value_t load_memory(std::uintptr_t address, unsigned size) noexcept {
  value_t v;
  std::memcpy(&v, reinterpret_cast<const void*>(address), size);
  return v;
}

// Effects: takes over what plain code wrote: the initial value, or a plain store's.
inline void engine::fetch(place& p) {
  activate(p);
  if (p.hidden || p.is_lock()) {
    p.known = true;
    p.initial_value = {};
    return;
  }
  if (!p.known) {
    p.known = true;
    p.initial_value = load_memory(p.address, p.size);
  }
  if (p.unread_plain != initial) {
    g_.events[p.unread_plain].value = load_memory(p.address, p.size);
    p.unread_plain = initial;
  }
}

// ---- plain memory -------------------------------------------------------------------------------

inline const char* name_of(shadow::verdict verdict, unsigned flags, const access& other,
                           bool reused) {
  if (verdict == shadow::verdict::too_many) return "too many threads touch the same 8 bytes";
  const bool frees = (flags & access_free) != 0;
  if (verdict == shadow::verdict::after_free) return frees ? "double free" : "use after free";
  if (reused) return "use after free: the memory is another object's by now";
  if (frees) return "memory is freed while another thread uses it";
  return (flags & other.flags & access_write) != 0
             ? "data race: two threads write a plain object"
             : "data race: a plain object is read and written by two threads";
}

// `location` is that of an atomic access, else 0.
// Returns: what is wrong with it; null if nothing is.
inline const char* engine::touch(std::uintptr_t address, std::size_t size, unsigned flags,
                                 unsigned id, u16 location, bool& of_atomic) {
  const std::size_t owner = fiber::owner_of(address);
  if (owner < max_threads && owner != id) {
    const char* const problem = use_stack_of(static_cast<unsigned>(owner), address);
    if (problem != nullptr) return problem;
  }
  const explored_thread& t = threads[id];
  const bool atomic = (flags & access_atomic) != 0;
  access now{static_cast<u8>(id), 0, to16(flags), atomic ? t.done : t.done + 1U};
  const std::uintptr_t end = address + size;
  for (std::uintptr_t from = address; from < end;) {
    const unsigned first = from % 8;
    const unsigned bytes = end - from < 8 - first ? static_cast<unsigned>(end - from) : 8 - first;
    now.mask = static_cast<u8>((0xFFU >> (8 - bytes)) << first);
    shadow::cell& c = shadow_.at(from / 8);
    access other{};
    const shadow::verdict verdict = shadow::record(c, now, t.hb, other);
    if (verdict != shadow::verdict::fine) [[unlikely]] {
      const bool reused = other.thread != id && heap.reused_behind(address, t.hb);
      return name_of(verdict, flags, other, reused);
    }
    if (atomic && from == address) {
      c.has_atomic = true;
      c.location[first] = to16(location + 1);
    }
    of_atomic = of_atomic || c.has_atomic;
    from += bytes;
  }
  return nullptr;
}

inline void* engine::reuse_memory(arena::block& block, std::size_t size, const void* site) {
  const u16 epoch = to16(current->done + 1);
  void* const memory = heap.reuse(current_id, epoch, block, size, site, poison);
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  const access now{static_cast<u8>(current_id), 0xFF, access_write, epoch};
  for (std::uintptr_t granule = begin / 8; granule * 8 < begin + size; ++granule) {
    shadow_.renew(granule, now);
  }
  return memory;
}

// Returns: how many allocations of this execution were made to fail.
inline unsigned engine::failed_allocations() const {
  unsigned count = 0;
  for (u16 i = 0; i < g_.size; ++i) {
    const event& e = g_.events[i];
    count += e.what == kind::choice && e.co == 1 &&
             static_cast<choice_of>(e.about) == choice_of::allocation;
  }
  return count;
}

// A plain write to what was an atomic before: an object's memory is used again, or it is assigned
// by its owner. It becomes a store of its own; the value is fetched from memory at the next access.
inline void engine::overwrite_atomics(std::uintptr_t address, std::size_t size, const void* site) {
  for (std::uintptr_t granule = address / 8; granule <= (address + size - 1) / 8; ++granule) {
    for (unsigned byte = 0; byte < 8; ++byte) {
      const u16 id = shadow_.at(granule).location[byte];
      if (id == 0) continue;
      place& p = places_[id - 1];
      if (p.address + p.size <= address || p.address >= address + size) continue;
      if (p.unread_plain != initial) continue;  // the value is fetched later anyway
      current->op = operation{};
      current->op.what = op_kind::plain;
      current->op.location = to16(id - 1);
      current->op.site = site;
      post();
    }
  }
}

inline bool engine::touch_atomic(unsigned id, u16 location, u8 flags) {
  const place& p = places_[location];
  if (p.hidden || p.is_lock() || tls.holds(p.address)) return true;
  bool unused = false;
  const char* const problem =
      touch(p.address, p.size, flags | access_atomic, id, location, unused);
  if (problem == nullptr) return true;
  fail(problem, threads[id].op.site);
  return false;
}

}  // namespace
}  // namespace interlock::testing
