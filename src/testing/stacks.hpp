// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/stacks.hpp - objects on the stack of one thread that others use: they have to be
// alive. A thread's frames are known from __tsan_func_entry and __tsan_func_exit (front end A), and
// how far down its stack is in use from where it last called the runtime (both front ends).

#include "engine.hpp"

namespace interlock::testing {
namespace {

// Where the code that called the runtime has its stack pointer, or a little below. Each entry point
// that may give way to another thread sets it.
inline std::uintptr_t entry_frame = 0;

// The frames of the thread that runs; null where none does.
inline frame_list* running_frames = nullptr;

inline void engine::post() {
  explored_thread& self = *current;
  self.live_from = entry_frame;
  self.state = thread_state::posted;
  if (!fibers_go_on_ || !goes_on()) self.stack.leave();
  entry_frame = self.live_from;  // it is still in the same call
}

inline void frame_list::enter(std::uintptr_t frame) noexcept {
  // What lies lower was left without a word, as a tail call does.
  while (depth != 0 && lowest[depth - 1] <= frame) --depth;
  if (depth == capacity) {
    ++beyond;
  } else {
    lowest[depth++] = frame;
  }
}

// Returns: the end of what is alive from now on: all that lies lower is gone.
inline std::uintptr_t frame_list::exit(std::uintptr_t frame) noexcept {
  if (beyond != 0) {
    --beyond;
    return 0;
  }
  constexpr std::uintptr_t slack = 64;  // between the frames of enter's and exit's callers
  while (depth != 0 && lowest[depth - 1] + slack < frame) --depth;
  if (depth != 0) --depth;
  return depth != 0 ? lowest[depth - 1] : ~std::uintptr_t{0};
}

// Effects: notes that a thread uses an object on another one's stack.
// Returns: what is wrong with that; null if nothing is.
inline const char* engine::use_stack_of(unsigned owner, std::uintptr_t address) {
  explored_thread& t = threads[owner];
  const bool started = t.state == thread_state::posted || t.state == thread_state::running ||
                       t.state == thread_state::awaiting;
  if (!started || address < t.live_from) {
    return "use of a stack object after its function returned";
  }
  if (address < t.frames.used_by_others) t.frames.used_by_others = address;
  return nullptr;
}

// What comes to lie where an atomic object was is another one, whether or not the compiler tells of
// its construction: Clang does not, as long as no other thread can know the object.
// Returns: how many were at this address of a stack before; the object counts as alive from now on.
inline u16 engine::lives_on_stack_before(std::uintptr_t address) noexcept {
  const std::size_t owner = fiber::owner_of(address);
  if (owner >= max_threads) return 0;
  frame_list& frames = threads[owner].frames;
  for (unsigned i = 0; i < frames.object_count; ++i) {
    if (frames.objects[i].address != address) continue;
    frames.objects[i].alive = true;
    return frames.objects[i].ended;
  }
  if (frames.object_count < frame_list::most_objects) {
    frames.objects[frames.object_count++] = {address, 0, true};
  }
  return 0;
}

// Called on a fiber whose function returns.
inline void engine::end_objects(std::uintptr_t end) noexcept {
  frame_list& frames = current->frames;
  for (unsigned i = 0; i < frames.object_count; ++i) {
    frame_list::object& o = frames.objects[i];
    if (!o.alive || o.address >= end) continue;
    o.alive = false;
    ++o.ended;
    if (shadow_.find(o.address / 8) != nullptr) {
      shadow_.at(o.address / 8).location[o.address % 8] = 0;
    }
  }
}

// Called on a fiber whose function returns: what others did to its objects has to happen before.
inline void engine::end_of_frame(std::uintptr_t end, const void* site) {
  frame_list& frames = current->frames;
  const std::uintptr_t top = current->stack.top();
  if (end > top) end = top;
  for (std::uintptr_t granule = frames.used_by_others / 8; granule * 8 < end; ++granule) {
    const shadow::cell* const cell = shadow_.find(granule);
    if (cell == nullptr) continue;
    for (u16 i = 0; i < cell->count; ++i) {
      const access& use = cell->list[i];
      if (use.thread == current_id || use.epoch <= current->hb.at[use.thread]) continue;
      fail_here("a stack object's lifetime ends while another thread uses it", site);
    }
  }
  frames.used_by_others = end;
}

}  // namespace
}  // namespace interlock::testing
