// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/membarrier.hpp - a fence in two halves: one that is free, one that pays for both.
//
//   light_fence()   on the side that runs often: keeps the compiler in order, no more
//   heavy_fence()   on the side that runs seldom: makes every running thread of the process pass a
//                   full fence, wherever it is
//
// Of a store, light_fence(), load here and a store, heavy_fence(), load there, at least one load
// sees the other side's store: as with two full fences. Where the system has no such call, and
// wherever a tool has to see each step (ThreadSanitizer, the explorer), both are full fences: that
// is the form which the explorer proves. A process uses one form, decided before main().
//
// One file per platform; algorithms hold no #ifdef.

#include "processor.hpp"

#if !defined(__linux__) || defined(__SANITIZE_THREAD__)
#include "membarrier_none.hpp"
#elif !defined(__has_feature)
#include "membarrier_linux.hpp"
#elif __has_feature(thread_sanitizer)
#include "membarrier_none.hpp"
#else
#include "membarrier_linux.hpp"
#endif
