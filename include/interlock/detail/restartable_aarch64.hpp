// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/restartable_aarch64.hpp - the sequence for AArch64, little-endian.
// Included by restartable_linux.hpp only.
//
// Orders. The store to the slot is an stlr: it releases. The loads need no acquire:
//   - the slot's address is made from the state, and the store to it depends on the state through a
//     branch, so neither comes before the load of the state;
//   - only threads of this processor have written the slot since it was cleared, and the kernel
//     orders all that one thread does before it hands the processor to the next.
// An ldar would have to wait for the stlr of the call before.
//
// x16 and x17 may also be changed by what a linker puts between distant pieces of code.

#include <atomic>
#include <cstdint>

#include "stripe_state.hpp"

namespace interlock::detail::restartable {

// Effects: adds `change` to this processor's slot, if `asked` has at least `least`.
template <half asked, manner how, bool /*immediate*/>
[[gnu::always_inline]] inline bool sequence(const std::atomic<std::uint64_t>& state,
                                            std::uint64_t change, std::uint32_t least) noexcept {
  static_assert(row_bytes == std::size_t{1} << 9, "the shift in the sequence");
  // clang-format off
  asm inline goto(
      // What the kernel reads: version, flags, start, length, abort handler.
      ".pushsection __rseq_cs, \"aw?\"\n"
      ".balign 32\n"
      "3: .long 0, 0\n"
      ".quad 1f, 2f - 1f, 4f\n"
      ".popsection\n"
      // The abort handler, after the signature that glibc registers, as an instruction (brk).
      ".pushsection __rseq_failure, \"ax?\"\n"
      ".inst 0xd428bc00\n"
      "4: b %l[undone]\n"
      ".popsection\n"
      "mrs x15, tpidr_el0\n"
      "add x15, x15, %[area]\n"
      ".if %c[restarts]\n"
      "adrp x16, 3b\n"
      "add x16, x16, :lo12:3b\n"
      "str x16, [x15, #8]\n"               // rseq_cs
      ".endif\n"
      "1:\n"
      "ldr w16, [x15, #4]\n"               // cpu_id
      "ldr w17, %[column_bytes]\n"
      "lsl w16, w16, #9\n"
      "cmp w16, w17\n"
      "b.hs %l[undone]\n"
      "ldr x17, %[state]\n"
      "add x16, x16, x17\n"
      "cmp x17, #0\n"
      "b.le %l[undone]\n"                  // not slots_open
      "ldr x17, [x16]\n"
      ".if %c[half] >= 0\n"
      "ubfx x14, x17, #%c[bit], #32\n"
      "cmp w14, %w[least]\n"
      "b.lo %l[undone]\n"
      ".endif\n"
      "add x17, x17, %[change]\n"
      ".rept %c[pauses]\n"
      "yield\n"
      ".endr\n"
      "stlr x17, [x16]\n"
      "2:\n"
      ".if %c[clears]\n"
      "str xzr, [x15, #8]\n"
      ".endif\n"
      :
      : [area] "r"(__rseq_offset), [state] "Q"(state), [column_bytes] "Q"(column_bytes),
        [change] "r"(change), [least] "r"(least), [half] "i"(static_cast<int>(asked)),
        [bit] "i"(asked == half::share ? 32 : 0), [pauses] "i"(how.pauses),
        [restarts] "i"(how.restarts ? 1 : 0), [clears] "i"(how.clears ? 1 : 0)
      : "memory", "cc", "x14", "x15", "x16", "x17"
      : undone);
  return true;
undone:
  if (how.clears) {
    asm volatile("mrs x15, tpidr_el0\n"
                 "add x15, x15, %0\n"
                 "str xzr, [x15, #8]\n"
                 :
                 : "r"(__rseq_offset)
                 : "memory", "x15");
  }
  // clang-format on
  return false;
}

}  // namespace interlock::detail::restartable
