// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/restartable_x86_64.hpp - the sequence for x86-64.
// Included by restartable_linux.hpp only.
//
// Orders: a store of x86-64 releases and a load acquires. The state is read before the slot.
//
// Why it is written like this. The slot's address is in a plain register, and an amount that is no
// immediate operand is loaded before the slot is added to it: with an indexed address or with
// `add %reg, (mem)` some processors do not forward the slot to the next call within a cycle, and
// the sequence costs three times as much. An immediate amount is added in place, in fewer bytes.
// cpu_id is scaled before it is compared: a thread without registration has -1 or -2 there, far
// outside; and what passes the comparison is a slot of this object whatever it was.

#include <atomic>
#include <cstdint>

#include "stripe_state.hpp"

namespace interlock::detail::restartable {

// Effects: adds `change` to this processor's slot, if `asked` has at least `least`.
template <half asked, manner how, bool immediate>
[[gnu::always_inline]] inline bool sequence(const std::atomic<std::uint64_t>& state,
                                            std::uint64_t change, std::uint32_t least) noexcept {
  // clang-format off
  asm inline goto(
      // What the kernel reads: version, flags, start, length, abort handler.
      ".pushsection __rseq_cs, \"aw?\"\n"
      ".balign 32\n"
      "3: .long 0, 0\n"
      ".quad 1f, 2f - 1f, 4f\n"
      ".popsection\n"
      // The abort handler, after the signature that glibc registers, as an instruction (ud1).
      ".pushsection __rseq_failure, \"ax?\"\n"
      ".byte 0x0f, 0xb9, 0x3d\n"
      ".long 0x53053053\n"
      "4: jmp %l[undone]\n"
      ".popsection\n"
      ".if %c[restarts]\n"
      "leaq 3b(%%rip), %%rax\n"
      "movq %%rax, %%fs:8(%[area])\n"                  // rseq_cs
      ".endif\n"
      "1:\n"
      "imull %[row_bytes], %%fs:4(%[area]), %%ecx\n"  // cpu_id
      "cmpl %[column_bytes], %%ecx\n"
      "jae %l[undone]\n"
      "addq %[state], %%rcx\n"
      "jle %l[undone]\n"                               // not slots_open
      ".if %c[half] >= 0\n"
      "cmpl %[least], %c[half] / 8(%%rcx)\n"
      "jb %l[undone]\n"
      ".endif\n"
      ".if %c[immediate]\n"
      "addq %[change], (%%rcx)\n"
      ".else\n"
      "movq %[change], %%rax\n"
      "addq (%%rcx), %%rax\n"
      ".rept %c[pauses]\n"
      "pause\n"
      ".endr\n"
      "movq %%rax, (%%rcx)\n"
      ".endif\n"
      "2:\n"
      ".if %c[clears]\n"
      "movq $0, %%fs:8(%[area])\n"
      ".endif\n"
      :
      : [area] "r"(__rseq_offset), [state] "m"(state), [column_bytes] "m"(column_bytes),
        [change] "er"(change), [least] "ri"(least), [row_bytes] "i"(row_bytes),
        [half] "i"(static_cast<int>(asked)), [immediate] "i"(immediate ? 1 : 0),
        [pauses] "i"(how.pauses),
        [restarts] "i"(how.restarts ? 1 : 0), [clears] "i"(how.clears ? 1 : 0)
      : "memory", "cc", "rax", "rcx"
      : undone);
  // clang-format on
  return true;
undone:
  if (how.clears) asm volatile("movq $0, %%fs:8(%0)" : : "r"(__rseq_offset) : "memory");
  return false;
}

}  // namespace interlock::detail::restartable
