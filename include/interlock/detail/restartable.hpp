// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/restartable.hpp - change a word of the processor one runs on, without a lock.
//
// A restartable sequence is a few instructions that end in one store. If the thread is preempted,
// migrated or signalled amid them, the kernel makes it go on at an abort handler: the store then
// has not happened. So what the sequence has read is still true when it stores, as far as threads
// of this processor are concerned, and no other processor stores to this one's slots.
// docs/internals/restartable.md shows how it is laid out, why it is safe and how it was checked.
//
//   available()     whether this process can do the three below; decided once
//   rows()          how many rows a column needs: if available, one per possible processor
//   add(state, n)   adds n to this processor's slot of the object
//   take(state, n)  share -= n and room += n, if the share is as much; slot = share << 32 | room
//   put(state, n)   share += n and room -= n, if the room is as much
//                   These return whether they did it. false: nothing changed, for one of: the
//                   object has no slots or is frozen; the slot has too little; the sequence was cut
//                   short; this thread or this process cannot. The caller has another way then.
//   interrupt()     after it, a sequence that began before it has stored or never will; only if
//                   available
//
// Synchronization: a store to a slot releases, towards who reads the slot with acquire.
// Progress: wait-free; nothing is tried twice, so a debugger may step through.
// Freezing: make slots_open(state) false, then interrupt(): no slot changes until it is true again.
//
// One file per platform; algorithms hold no #ifdef.

#include <atomic>
#include <bit>
#include <cstdint>
#include <thread>

#include "stripe_state.hpp"

namespace interlock::detail::restartable {

// Returns: the rows of a column that threads choose from by themselves: a power of two.
inline unsigned rows_for_threads() noexcept {
  static const unsigned count = [] {
    const unsigned processors = std::thread::hardware_concurrency();  // 0: not known
    return std::bit_ceil(processors == 0 ? 1U : processors);
  }();
  return count;
}

// Where the code of a sequence can be unloaded, nothing that points at it may stay in a thread that
// lives on. A library can be, an executable cannot.
#if defined(__PIC__) && !defined(__PIE__)
constexpr bool unloadable = true;
#else
constexpr bool unloadable = false;
#endif

// What tests vary: pauses between the sequence's load and its store; whether the kernel knows of
// it; whether it is made to forget it at the end.
struct manner {
  int pauses;
  bool restarts;
  bool clears;
};
constexpr manner usual{0, true, unloadable};

}  // namespace interlock::detail::restartable

// glibc registers each thread from 2.35 on. A sanitizer does not see what assembly does.
#if !defined(__linux__) || !defined(__GLIBC__) || !defined(__LP64__) || \
    (!defined(__x86_64__) && !defined(__AARCH64EL__)) ||                \
    defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#include "restartable_none.hpp"
#elif !__GLIBC_PREREQ(2, 35)
#include "restartable_none.hpp"
#elif !defined(__has_feature)
#include "restartable_linux.hpp"
#elif __has_feature(thread_sanitizer) || __has_feature(address_sanitizer) || \
    __has_feature(memory_sanitizer) || __has_feature(hwaddress_sanitizer)
#include "restartable_none.hpp"
#else
#include "restartable_linux.hpp"
#endif
