// SPDX-License-Identifier: BSL-1.0
#pragma once

// Memory with a lock on it: a page that must not be written ("writes nothing", tested by the
// hardware), and a page whose next access stops the thread that makes it, in the middle of
// whatever it does, and runs something else first.

#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <new>
#include <utility>

namespace support {

inline std::size_t page_size() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

class pages {
public:
  explicit pages(std::size_t count)
      : size_(count * page_size()),
        start_(static_cast<std::byte*>(::mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    if (start_ == MAP_FAILED) throw std::bad_alloc();
  }
  pages(const pages&) = delete;
  pages& operator=(const pages&) = delete;
  ~pages() { ::munmap(start_, size_); }

  std::byte* start() const { return start_; }
  bool hold(const void* address) const { return address >= start_ && address < start_ + size_; }

private:
  std::size_t size_;
  std::byte* start_;
};

// An object alone on a page.
template <class T>
class paged {
public:
  template <class... Args>
  explicit paged(Args&&... args) : object_(::new (page_.start()) T(std::forward<Args>(args)...)) {}
  ~paged() {
    ::mprotect(page_.start(), page_size(), PROT_READ | PROT_WRITE);
    object_->~T();
  }

  // Effects: from here on a write to the object ends the program.
  // Returns: true if the page could be protected.
  [[nodiscard]] bool forbid_writes() {
    return ::mprotect(page_.start(), page_size(), PROT_READ) == 0;
  }

  T& operator*() { return *object_; }
  T* operator->() { return object_; }

private:
  pages page_{1};
  T* object_;
};

// Effects: the next write (or, with `any`, the next access) to the page at `start` calls f first,
//          on the thread that makes it. Once; then the page is as open as before.
enum class access { write, any };
inline void stop_at(void* start, access what, std::function<void()> f) {
  static void* trapped = nullptr;
  static std::function<void()> action;
  trapped = start;
  action = std::move(f);
  struct sigaction handler = {};
  handler.sa_flags = SA_NODEFER;
  handler.sa_handler = [](int) {
    if (trapped == nullptr) std::abort();  // a fault that no test asked for
    void* const page = std::exchange(trapped, nullptr);
    ::mprotect(page, page_size(), PROT_READ | PROT_WRITE);
    action();
  };
  ::sigaction(SIGSEGV, &handler, nullptr);
  ::mprotect(start, page_size(), what == access::any ? PROT_NONE : PROT_READ);
}

}  // namespace support
