// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/asymmetric_fence.hpp - a fence of which one side pays for both.
//
// Store buffering: one thread writes x and reads y, another writes y and reads x; without a fence
// on each side both may read the old value. Where the first does so all the time and the second
// rarely, the second makes all processors that run a thread of this process pass a full fence:
// then the first needs no more than that the compiler keeps its two accesses in order.
//
//   available()   whether the two below are a fence together; decided before main
//   light()       of the frequent side: no instruction
//   heavy()       of the rare side: a system call, and an interrupt of each processor that runs a
//                 thread of this process
// A light() and a heavy() are to each other as two seq_cst fences. Two light() are nothing.
//
// Not available to ThreadSanitizer, which sees no fences, and on other systems: who uses them has
// another way then. Sources: the paper P1202 (D. Goldblatt); membarrier(2).
//
// One file per platform; algorithms hold no #ifdef.

#if !defined(__linux__) || defined(__SANITIZE_THREAD__)
#include "asymmetric_fence_none.hpp"
#elif !defined(__has_feature)
#include "asymmetric_fence_linux.hpp"
#elif __has_feature(thread_sanitizer)
#include "asymmetric_fence_none.hpp"
#else
#include "asymmetric_fence_linux.hpp"
#endif
