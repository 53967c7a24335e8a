// SPDX-License-Identifier: BSL-1.0
#pragma once

// Other processes for tests of a file: children of fork() that run a function, and what they share.

#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <new>
#include <stdexcept>

namespace support {

// A T in memory that children see too. It begins as T{}.
template <class T>
class shared_with_children {
public:
  shared_with_children() {
    void* const place =
        ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED) throw std::bad_alloc();
    value_ = new (place) T{};
  }
  shared_with_children(const shared_with_children&) = delete;
  shared_with_children& operator=(const shared_with_children&) = delete;
  ~shared_with_children() { ::munmap(value_, sizeof(T)); }

  T* operator->() const noexcept { return value_; }
  T& operator*() const noexcept { return *value_; }

private:
  T* value_;
};

// A process that runs f and ends with 0; with 1 if something left f. Killed, if it still runs.
// Preconditions: no other thread is running.
class child_process {
public:
  template <class F>
  explicit child_process(F f) : id_(::fork()) {
    if (id_ < 0) throw std::runtime_error("fork failed");
    if (id_ != 0) return;
    try {
      f();
      ::_exit(0);
    } catch (...) {
      ::_exit(1);
    }
  }
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;
  ~child_process() {
    if (id_ > 0) kill();
  }

  void kill() {
    ::kill(id_, SIGKILL);
    static_cast<void>(status());
  }
  void stop() const { ::kill(id_, SIGSTOP); }
  void go_on() const { ::kill(id_, SIGCONT); }
  // Returns: whether f came to its end.
  [[nodiscard]] bool ended_well() {
    const int how = status();
    return WIFEXITED(how) && WEXITSTATUS(how) == 0;
  }

private:
  int status() {
    int how = 0;
    ::waitpid(id_, &how, 0);
    id_ = 0;
    return how;
  }
  pid_t id_;
};

}  // namespace support
