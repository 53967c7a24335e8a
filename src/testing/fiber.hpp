// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/fiber.hpp - one stack for each explored thread, and the switch between them.
//
// A fiber is abandoned by never switching to it again: nothing is unwound. Therefore code that runs
// on a fiber owns nothing outside the arena (memory.hpp), and the engine runs on the host's stack.
//
// Each fiber has its own copy of the program's thread_local variables and of the exceptions that
// are being handled; both are exchanged at a switch.

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#if defined(__linux__)
#include <link.h>
#endif

// INTERLOCK_TESTING_UCONTEXT chooses the C library's switch where there is one of our own: it is a
// system call slower, and the one that other processors have.
#if (defined(__x86_64__) || defined(__aarch64__)) && !defined(INTERLOCK_TESTING_UCONTEXT)
#define INTERLOCK_OWN_SWITCH 1
#else
#define INTERLOCK_OWN_SWITCH 0
#include <ucontext.h>
#endif

namespace __cxxabiv1 {
struct __cxa_eh_globals;
extern "C" __cxa_eh_globals* __cxa_get_globals() noexcept;
}  // namespace __cxxabiv1

#if INTERLOCK_OWN_SWITCH
// Effects: saves the callee-saved registers and the stack pointer, continues on another stack.
extern "C" void interlock_testing_switch(void** save, void* resume);
#endif
#if INTERLOCK_OWN_SWITCH && defined(__x86_64__)
asm(R"(
.text
.globl interlock_testing_switch
.hidden interlock_testing_switch
.type interlock_testing_switch, @function
interlock_testing_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size interlock_testing_switch, . - interlock_testing_switch
)");
#elif INTERLOCK_OWN_SWITCH
asm(R"(
.text
.globl interlock_testing_switch
.hidden interlock_testing_switch
.type interlock_testing_switch, %function
interlock_testing_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size interlock_testing_switch, . - interlock_testing_switch
)");
#endif

namespace interlock::testing {
namespace {

// The memory of the program's thread_local variables, as the one real thread sees it.
struct tls_block {
  char* begin = nullptr;
  std::size_t size = 0;
  char* exceptions = nullptr;  // the state of those that are being handled

  static tls_block of_program() noexcept {
    tls_block found;
    found.exceptions = reinterpret_cast<char*>(__cxxabiv1::__cxa_get_globals());
#if defined(__linux__)
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* result) -> int {
          auto& block = *static_cast<tls_block*>(result);
          for (unsigned i = 0; i < info->dlpi_phnum; ++i) {
            if (info->dlpi_phdr[i].p_type != PT_TLS) continue;
            auto* const begin = static_cast<char*>(info->dlpi_tls_data);
            block.add(begin, info->dlpi_phdr[i].p_memsz, block.first);
          }
          block.first = false;  // which is the program itself
          return 0;
        },
        &found);
#endif
    return found;
  }
  // Returns: whether the variable at this address is thread_local, the program's or a library's.
  [[nodiscard]] bool holds(std::uintptr_t address) const noexcept {
    return address - all_begin < all_end - all_begin;
  }

private:
  // Those of the program and of the libraries that it was started with lie in one piece.
  void add(char* from, std::size_t bytes, bool program) noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(from);
    constexpr std::uintptr_t near = std::uintptr_t{64} << 10U;
    if (from == nullptr) return;
    if (program) {
      begin = from;
      size = bytes;
    }
    if (all_begin == all_end) {
      all_begin = address;
      all_end = address + bytes;
    } else if (address < all_end + near && all_begin < address + bytes + near) {
      if (address < all_begin) all_begin = address;
      if (address + bytes > all_end) all_end = address + bytes;
    }
  }

  bool first = true;
  std::uintptr_t all_begin = 0, all_end = 0;
};

constexpr std::size_t exception_state_size = 2 * sizeof(void*);

class fiber {
public:
  static constexpr std::size_t stack_size = 256 * 1024;
  static constexpr unsigned most = 8;
  using entry_function = void (*)();

  fiber() = default;
  fiber(const fiber&) = delete;
  fiber& operator=(const fiber&) = delete;

  // Returns: whether the address is on this stack.
  [[nodiscard]] bool holds(const volatile void* address) const noexcept {
    return static_cast<std::size_t>(static_cast<const volatile char*>(address) - stack_) <
           stack_size;
  }

  [[nodiscard]] std::uintptr_t top() const noexcept {
    return reinterpret_cast<std::uintptr_t>(stack_) + stack_size;
  }
  // Returns: the number of the fiber that has this address on its stack; at least `most` if none.
  static std::size_t owner_of(std::uintptr_t address) noexcept {
    return (address - reinterpret_cast<std::uintptr_t>(stacks_)) / stride;
  }

  // `fill`, unless negative, is left in the part of the stack that will be used first.
  // Preconditions: number < most, another one for each fiber.
  void prepare(unsigned number, entry_function entry, const tls_block& tls,
               const char* initial_tls, int fill) {
    if (stack_ == nullptr) allocate(number, tls.size);
    if (fill >= 0) std::memset(stack_ + stack_size - filled_size, fill, filled_size);
    entry_ = entry;
    if (tls.size != 0) std::memcpy(tls_, initial_tls, tls.size);
    std::memset(exceptions_, 0, sizeof exceptions_);
#if INTERLOCK_OWN_SWITCH && defined(__x86_64__)
    void** top = reinterpret_cast<void**>(stack_ + stack_size);
    *--top = nullptr;  // where a call would leave its return address: the stack ends here
    *--top = reinterpret_cast<void*>(&fiber::begin);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    resume_ = top;
#elif INTERLOCK_OWN_SWITCH
    char* top = stack_ + stack_size - 160;
    std::memset(top, 0, 160);
    void* const start = reinterpret_cast<void*>(&fiber::begin);
    std::memcpy(top + 88, &start, sizeof start);  // x30
    resume_ = top;
#else
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack_;
    context_.uc_stack.ss_size = stack_size;
    context_.uc_link = nullptr;
    makecontext(&context_, &fiber::begin, 0);
#endif
  }

  // Effects: runs the fiber until it calls leave().
  void enter(const tls_block& tls) {
    running_ = this;
    exchange(tls);
#if INTERLOCK_OWN_SWITCH
    interlock_testing_switch(&host_, resume_);
#else
    swapcontext(&host_context_, &context_);
#endif
    exchange(tls);
    running_ = nullptr;
  }

  // Effects: returns to the host; the call returns when the fiber is entered again.
  void leave() {
#if INTERLOCK_OWN_SWITCH
    interlock_testing_switch(&resume_, host_);
#else
    swapcontext(&context_, &host_context_);
#endif
  }

private:
  static void begin() {
    running_->entry_();
    std::abort();  // the entry function leaves for good
  }

  // All stacks are in one piece, each at the end of its part, whose rest guards it.
  void allocate(unsigned number, std::size_t tls_size) {
    if (stacks_ == nullptr) {
      void* const memory =
          mmap(nullptr, most * stride, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
               0);
      if (memory != MAP_FAILED) stacks_ = static_cast<char*>(memory);
    }
    stack_ = stacks_ + number * stride + stride - stack_size;
    if (stacks_ == nullptr || mprotect(stack_, stack_size, PROT_READ | PROT_WRITE) != 0) {
      std::fputs("interlock::testing: no memory for the stack of a thread\n", stderr);
      std::exit(3);
    }
    tls_ = static_cast<char*>(std::malloc(tls_size + 1));
  }

  // Exchanges what is in place with what this object keeps.
  void exchange(const tls_block& tls) noexcept {
    exchange(tls_, tls.begin, tls.size);
    char other[exception_state_size];
    std::memcpy(other, exceptions_, sizeof other);
    std::memcpy(exceptions_, tls.exceptions, sizeof other);
    std::memcpy(tls.exceptions, other, sizeof other);
  }
  static void exchange(char* a, char* b, std::size_t size) noexcept {
    char other[64];
    for (std::size_t at = 0; at < size;) {
      const std::size_t part = size - at < sizeof other ? size - at : sizeof other;
      std::memcpy(other, a + at, part);
      std::memcpy(a + at, b + at, part);
      std::memcpy(b + at, other, part);
      at += part;
    }
  }

  static constexpr std::size_t filled_size = 8 * 1024;
  static constexpr std::size_t stride = 2 * stack_size;
  inline static char* stacks_ = nullptr;
  inline static fiber* running_ = nullptr;

  char* stack_ = nullptr;
  char* tls_ = nullptr;
  entry_function entry_ = nullptr;
  char exceptions_[exception_state_size] = {};
#if INTERLOCK_OWN_SWITCH
  void* resume_ = nullptr;
  void* host_ = nullptr;
#else
  ucontext_t context_{};
  ucontext_t host_context_{};
#endif
};

}  // namespace
}  // namespace interlock::testing

#undef INTERLOCK_OWN_SWITCH
