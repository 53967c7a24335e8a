// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/parking.hpp - three hooks: park, unpark, spin_hint. Nothing else waits or spins.
//
// park and unpark are a futex: a wait on a 32-bit word that returns when the word no longer
// holds the expected value, when unparked, or for no reason. Every caller therefore loops.
//
// unpark uses the word's address alone and touches no memory: the word may already be gone
// (its owner saw the new value without sleeping and left). What then shares the address is
// woken for no reason, which the rule above allows.
//
// One file per platform; algorithms hold no #ifdef. The same file has coarse_now(), a clock for
// those who read it on every call and need no more than milliseconds.

#if defined(__linux__)
#include "parking_linux.hpp"
#else
#include "parking_portable.hpp"
#endif

namespace interlock::detail {

// Rounds of spin_hint before a waiter parks: about as long as a park and its wake-up cost.
inline constexpr unsigned spin_rounds = 7;

// Effects: one round of waiting for another thread that is about to act. Early rounds pause the
// core, 2^round times; from round 6 on the time slice goes to whoever needs it.
inline void spin_hint(unsigned round) noexcept {
  if (round >= 6) {
    yield_thread();
    return;
  }
  for (unsigned i = 0; i < (1U << round); ++i) pause_core();
}

}  // namespace interlock::detail
