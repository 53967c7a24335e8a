// SPDX-License-Identifier: BSL-1.0
#pragma once

// The smallest object that is awaited: permits, each for one who waits. All of it is what
// wait_queue and waiting<> ask for, so that the tests of those two have something to wait for.

#include <interlock/detail/misuse.hpp>
#include <interlock/detail/parking.hpp>
#include <interlock/detail/wait_queue.hpp>
#include <interlock/detail/waiting.hpp>

#include <chrono>
#include <utility>

namespace support {

// What one must not do: the mistakes that the tests have to find.
enum class flaw { none, forgets_that_it_decided, reads_after_wake, wakes_under_the_lock };

template <flaw Flaw>
class permits_with {
  class place;

public:
  permits_with() = default;
  explicit permits_with(int given) : free_(given) {}
  ~permits_with() { queue_.expect_empty("~permits: somebody waits"); }

  // Effects: lets the first one in, or keeps the permit for whoever comes.
  void give() noexcept {
    interlock::detail::waiter* lucky = nullptr;
    {
      interlock::detail::wait_queue::locked waiting(queue_);
      if (waiting.empty()) {
        ++free_;
      } else {
        lucky = &waiting.pop_front();
        if constexpr (Flaw == flaw::wakes_under_the_lock) std::exchange(lucky, nullptr)->wake();
      }
    }
    if (lucky == nullptr) return;
    lucky->wake();
    if constexpr (Flaw == flaw::reads_after_wake) lucky->ended = true;
  }

  // Effects: tells all who wait and all who come.
  void close() noexcept {
    interlock::detail::waiter* all = nullptr;
    {
      interlock::detail::wait_queue::locked waiting(queue_);
      closed_ = true;
      while (!waiting.empty()) {
        interlock::detail::waiter& last = *waiting.first()->previous;
        waiting.remove(last);
        last.status = interlock::wait_status::closed;
        last.next = std::exchange(all, &last);
      }
    }
    interlock::detail::wake_all(all);
  }

  int free() noexcept {
    const interlock::detail::wait_queue::locked waiting(queue_);
    return free_;
  }

  // Returns: an awaitable of the wait_status.
  template <class... Ends>
  auto take(Ends... ends) {
    return interlock::detail::waiting<place, interlock::detail::by_trampoline, Ends...>(
        this, {}, std::move(ends)...);
  }
  template <interlock::detail::stop_token_like Token>
  auto take_unless(Token stop) {
    return take(interlock::detail::stop_end<Token>{std::move(stop)});
  }
  template <class Timer>
  auto take_until(Timer& timer, typename Timer::time_point deadline) {
    return take(interlock::detail::deadline_end<Timer>{&timer, deadline});
  }
  template <class Timer, interlock::detail::stop_token_like Token>
  auto take_until(Timer& timer, typename Timer::time_point deadline, Token stop) {
    return take(interlock::detail::stop_end<Token>{std::move(stop)},
                interlock::detail::deadline_end<Timer>{&timer, deadline});
  }

  interlock::wait_status take_blocking(
      const std::chrono::steady_clock::time_point* deadline = nullptr) noexcept {
    interlock::detail::thread_waiter self;
    {
      interlock::detail::wait_queue::locked waiting(queue_);
      if (!let_in(waiting, self)) return self.status;
    }
    return interlock::detail::wait_in(queue_, self, deadline,
                                      [](interlock::detail::wait_queue::locked&) {});
  }

private:
  // Returns: true if it has to wait, and is listed.
  bool let_in(interlock::detail::wait_queue::locked& waiting,
              interlock::detail::waiter& node) noexcept {
    if (node.ended) return false;
    if (closed_) return waiting.settle(node, interlock::wait_status::closed);
    if (free_ == 0) return waiting.enlist(node);
    --free_;
    if constexpr (Flaw == flaw::forgets_that_it_decided) return false;
    return waiting.settle(node, interlock::wait_status::acquired);
  }

  interlock::detail::wait_queue queue_;
  int free_ = 0;         // under the lock, as the rest
  bool closed_ = false;
};

template <flaw Flaw>
class permits_with<Flaw>::place : public interlock::detail::coroutine_waiter {
public:
  using request = permits_with*;

  place(const request& from, wake_function function) noexcept
      : coroutine_waiter(function), from_(from) {}
  ~place() {
    if (!suspended) return;
    if (interlock::detail::wait_queue::locked(from_->queue_).remove(*this)) return;
    if (!interlock::detail::trampoline::forget(*this)) {
      interlock::detail::misuse("destroyed while another thread was about to resume it");
    }
    if (status == interlock::wait_status::acquired) from_->give();
  }
  request what() const noexcept { return from_; }
  bool try_now() noexcept {
    if constexpr (Flaw == flaw::forgets_that_it_decided) return false;  // it decides in suspend()
    interlock::detail::wait_queue::locked waiting(from_->queue_);
    if (from_->closed_) {
      status = interlock::wait_status::closed;
      return true;
    }
    if (from_->free_ == 0) return false;
    --from_->free_;
    return true;
  }
  bool suspend() noexcept {
    if constexpr (Flaw == flaw::forgets_that_it_decided) return suspend_and_dawdle();
    interlock::detail::wait_queue::locked waiting(from_->queue_);
    return from_->let_in(waiting, *this);
  }
  void end(interlock::wait_status why) noexcept {
    if (interlock::detail::wait_queue::locked(from_->queue_).withdraw(*this, why)) wake();
  }
  interlock::wait_status finish() noexcept {
    suspended = false;
    return status;
  }

private:
  // Where nothing says that it was decided, an end may come now.
  bool suspend_and_dawdle() noexcept {
    const bool listed = [this] {
      interlock::detail::wait_queue::locked waiting(from_->queue_);
      return from_->let_in(waiting, *this);
    }();
    for (int i = 0; i < 64 && !listed; ++i) interlock::detail::yield_thread();
    return listed;
  }

  permits_with* from_;
};

using permits = permits_with<flaw::none>;

}  // namespace support
