// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/misuse.hpp - stop at a broken precondition with a sentence that says what to do.
//
// For contract violations that leave no state to return to (unlocking what is not locked,
// destroying what is waited on). Input that a caller can answer is a value or an exception instead.

#include <cstdio>
#include <cstdlib>

namespace interlock::detail {

// Effects: writes "interlock: <sentence>" to stderr and calls std::abort().
// The sentence names the operation, what is wrong, and the remedy.
[[noreturn]] inline void misuse(const char* sentence) noexcept {
  std::fputs("interlock: ", stderr);
  std::fputs(sentence, stderr);
  std::fputc('\n', stderr);
  std::abort();
}

}  // namespace interlock::detail
