// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/asio_bridge.hpp - what asio.hpp and standalone_asio.hpp have in common: the
// functions, the timer, the executor and the errors, for either namespace of Asio.
//
// Net is a struct of the names that are needed; nothing of Asio is included here.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "../fwd.hpp"
#include "../wait_status.hpp"
#include "asio_operation.hpp"
#include "parking.hpp"
#include "waiter.hpp"

namespace interlock::detail {

// ---- the functions ------------------------------------------------------------------------------

template <class Net>
struct asio_lock {
  template <class Mutex, class Token>
    requires requires(Mutex& m, late_stop_token stop) { m.lock(stop); }
  auto operator()(Mutex& mutex, Token&& token) const {
    return start_asio_wait<Net>([&mutex](auto stop) { return mutex.lock(stop); },
                                std::forward<Token>(token));
  }
};

template <class Net>
struct asio_lock_until {
  template <class Mutex, class Timer, class Token>
    requires requires(Mutex& m, Timer& t, late_stop_token stop) { m.lock_until(t, {}, stop); }
  auto operator()(Mutex& mutex, Timer& timer, typename Timer::time_point deadline,
                  Token&& token) const {
    return start_asio_wait<Net>(
        [&mutex, &timer, deadline](auto stop) { return mutex.lock_until(timer, deadline, stop); },
        std::forward<Token>(token));
  }
};

template <class Net>
struct asio_lock_shared {
  template <class Mutex, class Token>
    requires requires(Mutex& m, late_stop_token stop) { m.lock_shared(stop); }
  auto operator()(Mutex& mutex, Token&& token) const {
    return start_asio_wait<Net>([&mutex](auto stop) { return mutex.lock_shared(stop); },
                                std::forward<Token>(token));
  }
};

template <class Net>
struct asio_lock_shared_until {
  template <class Mutex, class Timer, class Token>
    requires requires(Mutex& m, Timer& t, late_stop_token stop) {
      m.lock_shared_until(t, {}, stop);
    }
  auto operator()(Mutex& mutex, Timer& timer, typename Timer::time_point deadline,
                  Token&& token) const {
    return start_asio_wait<Net>(
        [&mutex, &timer, deadline](auto stop) {
          return mutex.lock_shared_until(timer, deadline, stop);
        },
        std::forward<Token>(token));
  }
};

template <class Net>
struct asio_acquire {
  template <class Semaphore, class Token>
    requires requires(Semaphore& s, std::uint64_t n, late_stop_token stop) { s.acquire(n, stop); }
  auto operator()(Semaphore& semaphore, std::uint64_t n, Token&& token) const {
    return start_asio_wait<Net>(
        [&semaphore, n](auto stop) { return semaphore.acquire(n, stop); },
        std::forward<Token>(token));
  }
};

template <class Net>
struct asio_acquire_until {
  template <class Semaphore, class Timer, class Token>
    requires requires(Semaphore& s, Timer& t, std::uint64_t n, late_stop_token stop) {
      s.acquire_until(t, {}, n, stop);
    }
  auto operator()(Semaphore& semaphore, Timer& timer, typename Timer::time_point deadline,
                  std::uint64_t n, Token&& token) const {
    return start_asio_wait<Net>(
        [&semaphore, &timer, deadline, n](auto stop) {
          return semaphore.acquire_until(timer, deadline, n, stop);
        },
        std::forward<Token>(token));
  }
};

template <class Event>
inline constexpr bool one_for_each_set = false;
template <event_reset Reset>
inline constexpr bool one_for_each_set<async_event<Reset>> = Reset != event_reset();  // not manual

// A wait for an event. What an auto-reset one gave to nobody is given to the next.
template <class Event, class Wait>
struct event_wait {
  auto operator()(late_stop_token stop) const { return wait(stop); }
  void pass_on() const noexcept {
    if constexpr (one_for_each_set<Event>) event->set();
  }

  Event* event;
  Wait wait;
};
template <class Event, class Wait>
event_wait(Event*, Wait) -> event_wait<Event, Wait>;

template <class Net>
struct asio_wait {
  template <class Event, class Token>
    requires requires(Event& e, late_stop_token stop) { e.wait(stop); }
  auto operator()(Event& event, Token&& token) const {
    const auto wait = [&event](late_stop_token stop) { return event.wait(stop); };
    return start_asio_wait<Net>(event_wait{&event, wait}, std::forward<Token>(token));
  }
};

template <class Net>
struct asio_wait_until {
  template <class Event, class Timer, class Token>
    requires requires(Event& e, Timer& t, late_stop_token stop) { e.wait_until(t, {}, stop); }
  auto operator()(Event& event, Timer& timer, typename Timer::time_point deadline,
                  Token&& token) const {
    const auto wait = [&event, &timer, deadline](late_stop_token stop) {
      return event.wait_until(timer, deadline, stop);
    };
    return start_asio_wait<Net>(event_wait{&event, wait}, std::forward<Token>(token));
  }
};

// ---- errors -------------------------------------------------------------------------------------

#if defined(__GNUC__)
#pragma GCC diagnostic push  // the base of Boost has no virtual destructor; this is final
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"
#endif
// Of what Asio has no word for.
template <class Net>
class asio_wait_category final : public Net::error_category {
public:
  const char* name() const noexcept override { return "interlock.wait_status"; }
  std::string message(int value) const override {
    return to_string(static_cast<wait_status>(value));
  }

  static const asio_wait_category& instance() noexcept {
    static const asio_wait_category only;
    return only;
  }
};
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

template <class Net>
typename Net::error_code asio_error(wait_status status) noexcept {
  using code = typename Net::error_code;
  switch (status) {
    case wait_status::acquired: return code();
    case wait_status::cancelled: return Net::aborted();
    case wait_status::timed_out: return Net::timed_out();
    default: return code(static_cast<int>(status), asio_wait_category<Net>::instance());
  }
}

// ---- the executor -------------------------------------------------------------------------------

template <class Net, class Executor>
class basic_asio_executor {
public:
  using moves_what_it_runs = void;  // so a coroutine knows when its context has dropped it

  explicit basic_asio_executor(Executor executor) noexcept : executor_(std::move(executor)) {}

  template <class F>
  void execute(F f) const {
    Net::post(executor_, std::move(f));
  }

private:
  Executor executor_;
};

// ---- the timer ----------------------------------------------------------------------------------

template <class Net>
class basic_asio_timer {
public:
  using time_point = std::chrono::steady_clock::time_point;
  template <class F>
  class alarm;

  explicit basic_asio_timer(typename Net::any_io_executor executor) noexcept
      : executor_(std::move(executor)) {}

  [[nodiscard]] static time_point now() noexcept { return std::chrono::steady_clock::now(); }

private:
  typename Net::any_io_executor executor_;
};

// Asio calls a handler even of a timer that was cancelled, so the handler shares what it looks at.
template <class Net>
template <class F>
class basic_asio_timer<Net>::alarm {
public:
  alarm(basic_asio_timer& timer, time_point deadline, F f) {
    if (deadline <= std::chrono::steady_clock::now()) {
      f();
      return;
    }
    call_ = std::make_shared<call>(timer.executor_, deadline, std::move(f));
    call_->timer.async_wait([shared = call_](typename Net::error_code) { shared->run(); });
  }
  alarm(const alarm&) = delete;
  alarm& operator=(const alarm&) = delete;
  ~alarm() {
    if (call_ == nullptr) return;
    if (call_->call_off()) call_->timer.cancel();
  }

private:
  struct call {
    call(const typename Net::any_io_executor& executor, time_point deadline, F&& function)
        : timer(executor, deadline), f(std::move(function)) {}

    void run() {
      caller = std::this_thread::get_id();
      std::uint32_t seen = due_later;
      // order: release/relaxed [asio_alarm.run] pairs with [asio_alarm.call_off]: publishes the caller
      if (!state.compare_exchange_strong(seen, running, std::memory_order_release,
                                         std::memory_order_relaxed)) {
        return;
      }
      // Coroutines that it lets in go on behind it: nobody who waits for it waits for them.
      trampoline::together([this]() noexcept {
        f();  // the alarm may be gone now
        // order: release [asio_alarm.done] pairs with [asio_alarm.call_off], [asio_alarm.wait]: publishes what the call did
        state.store(over, std::memory_order_release);
        unpark_one(&state);
      });
    }

    // Returns: false if the call was or is being made; then it is not at it on another thread.
    bool call_off() noexcept {
      std::uint32_t seen = due_later;
      // order: acquire/acquire [asio_alarm.call_off] pairs with [asio_alarm.run], [asio_alarm.done]: sees the caller, or what the call did
      if (state.compare_exchange_strong(seen, over, std::memory_order_acquire,
                                        std::memory_order_acquire)) {
        return true;
      }
      if (seen == running && caller == std::this_thread::get_id()) return false;
      while (seen == running) {
        park(state, running);
        // order: acquire [asio_alarm.wait] pairs with [asio_alarm.done]: sees what the call did
        seen = state.load(std::memory_order_acquire);
      }
      return false;
    }

    // due_later -> running -> over, or due_later -> over
    static constexpr std::uint32_t due_later = 0;
    static constexpr std::uint32_t running = 1;
    static constexpr std::uint32_t over = 2;

    typename Net::steady_timer timer;
    F f;
    park_word state{due_later};
    std::thread::id caller;  // written before `running`, by the one who calls
  };

  std::shared_ptr<call> call_;
};

}  // namespace interlock::detail
