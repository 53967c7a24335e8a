// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/mirror_flush.hpp - a coroutine or a thread that waits until a mirror has sent.
//
// Of a Mirror: flush_request, what a call said, copied; enlist(request, node) and leave(request,
// node, why), the line's enlist() and withdraw() with what comes before and behind. An enlist()
// that is not noexcept throws before the node is listed, and has ended its wait. touch(request) has
// a send follow.

#include <chrono>
#include <exception>
#include <system_error>
#include <utility>

#include "mirror_key.hpp"
#include "misuse.hpp"
#include "waiter.hpp"

namespace interlock::detail {

// A place for waiting<>.
template <class Mirror>
class flush_place : public coroutine_waiter {
public:
  using request = typename Mirror::flush_request;

  flush_place(const request& what, wake_function function)
      : coroutine_waiter(function), what_(what), node_(*this) {
    if (what_.least) node_.least = &*what_.least;
  }
  flush_place(const flush_place&) = delete;
  flush_place& operator=(const flush_place&) = delete;
  ~flush_place() {
    if (!suspended || trampoline::forget(*this) || what_.from->leave(what_, node_, nullptr)) return;
    misuse(
        "a coroutine was destroyed while another thread was about to resume it; destroy it "
        "where no write that it waits for can end meanwhile");
  }

  const request& what() const noexcept { return what_; }
  bool try_now() const noexcept { return false; }
  bool suspend() noexcept {
    if constexpr (throws) {
      try {
        return what_.from->enlist(what_, node_);
      } catch (...) {
        error_ = std::current_exception();
        return false;
      }
    } else {
      return what_.from->enlist(what_, node_);
    }
  }
  void end(wait_status why) noexcept {
    if (what_.from->leave(what_, node_, &why)) wake();
  }
  mirror_flush_result finish() noexcept(!throws) {
    suspended = false;
    if (node_.of == nullptr && status != wait_status::acquired) what_.from->touch(what_);
    if constexpr (throws) {
      if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    }
    switch (status) {
      case wait_status::cancelled: return mirror_flush_result::cancelled;
      case wait_status::timed_out: return mirror_flush_result::timed_out;
      default: return node_.result;
    }
  }

private:
  using node = flush_node<typename Mirror::version_type>;
  static constexpr bool throws =
      !noexcept(std::declval<Mirror&>().enlist(std::declval<const request&>(),
                                               std::declval<node&>()));

  const request what_;
  node node_;
  std::exception_ptr error_{};  // of enlist()
};

[[noreturn]] inline void throw_deadlock(const char* sentence) {
  const auto code = std::make_error_code(std::errc::resource_deadlock_would_occur);
  throw std::system_error(code, sentence);
}

// Effects: blocks this thread until it has its answer, or past the deadline if there is one.
template <class Mirror>
mirror_flush_result flush_in(Mirror& from, const typename Mirror::flush_request& what,
                             const std::chrono::steady_clock::time_point* deadline) {
  thread_waiter self;
  flush_node<typename Mirror::version_type> node(self);
  if (what.least) node.least = &*what.least;
  node.blocks = true;
  node.until = deadline;
  if (!from.enlist(what, node)) {
    if (!node.is_sender) return node.result;
    throw_deadlock("interlock::mirror: flush() on the thread that sends would wait for itself");
  }
  if (deadline != nullptr && !self.wait_until(*deadline) && from.leave(what, node, nullptr)) {
    return mirror_flush_result::timed_out;
  }
  self.wait();
  return node.result;
}

}  // namespace interlock::detail
