// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/asio.hpp - locks, permits and events as operations of Boost.Asio.
//
// (standalone_asio.hpp is the same for Asio without Boost; a program may use both.)
//
// Problem     A coroutine of Asio awaits nothing but operations of Asio, a callback awaits nothing
//             at all, and both may outlive the io_context that was to run them.
// Guarantee   An operation ends on the executor of its handler and never inside the call that began
//             it. The cancellation slot of a handler ends its wait with operation_aborted.
//             An io_context that waits for a lock has work. An io_context that is destroyed leaves
//             no waiter behind. A lock that nobody took over is passed on. An alarm that is
//             destroyed is not being called on another thread.
// Progress    To begin, to cancel and to complete: as the awaitable, and what Asio does: its locks.
// Cost        Two allocations from the handler's allocator (Asio's recycled memory if it has none),
//             and one by new if a slot is connected and the wait is not over at once.
//             asio_timer: one by new for each alarm.
// Lifetime    The mutex, the timer and what an executor belongs to must outlive the operation; a
//             cancellation signal need not. An io_context may be destroyed while its operations
//             wait: their handlers are destroyed and not called.
// Resumes on  The associated executor of the handler, by post. Without one: Asio's system threads.
// Cancellation Total, partial and terminal all end the wait; what was taken is given back.
// Not for     Coroutines that can await anything: co_await m.lock() needs no allocation, and
//             m.lock().resume_on(asio_executor(e)) goes on where Asio says.
//
// Example     net::awaitable<void> deposit(account& to, int amount) {  // examples/asio_server.cpp
//               const auto held = co_await async_lock(to.door, net::use_awaitable);
//               co_await add(to, amount);  // others may run meanwhile, but not inside this account
//             }

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/recycling_allocator.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/version.hpp>

#include <utility>

#include "detail/asio_bridge.hpp"
#include "wait_status.hpp"

static_assert(BOOST_ASIO_VERSION >= 102200, "interlock/asio.hpp needs Boost 1.79 or newer");

namespace interlock {

namespace detail {

// The names of Boost.Asio that the bridge needs.
struct boost_asio {
  using execution_context = boost::asio::execution_context;
  using any_io_executor = boost::asio::any_io_executor;
  using steady_timer = boost::asio::steady_timer;
  using cancellation_type = boost::asio::cancellation_type_t;
  using error_code = boost::system::error_code;
  using error_category = boost::system::error_category;
  template <class Executor>
  using work_guard = boost::asio::executor_work_guard<Executor>;
  using context_property = boost::asio::execution::context_t;
  template <class Executor>
  using strand = boost::asio::strand<Executor>;

  template <class Handler>
  static auto executor_of(const Handler& handler) noexcept {
    return boost::asio::get_associated_executor(handler);
  }
  template <class Handler>
  static auto slot_of(const Handler& handler) noexcept {
    return boost::asio::get_associated_cancellation_slot(handler);
  }
  template <class Handler>
  static auto allocator_of(const Handler& handler) noexcept {
    return boost::asio::get_associated_allocator(handler,
                                                 boost::asio::recycling_allocator<void>());
  }
  static bool cancels(cancellation_type type) noexcept {
    return type != cancellation_type::none;
  }

  template <class Service, class Executor>
  static Service& service(const Executor& executor) {
    if constexpr (boost::asio::can_query_v<const Executor&, boost::asio::execution::context_t>) {
      return boost::asio::use_service<Service>(
          boost::asio::query(executor, boost::asio::execution::context));
    } else {
      return boost::asio::use_service<Service>(executor.context());
    }
  }
  template <class Executor, class F>
  static void post(const Executor& executor, F&& f) {
    boost::asio::post(executor, std::forward<F>(f));
  }
  template <class Signature, class Initiation, class Token>
  static auto initiate(Initiation&& initiation, Token&& token) {
    return boost::asio::async_initiate<Token, Signature>(std::forward<Initiation>(initiation),
                                                         token);
  }

  static error_code error_of(wait_status status) noexcept { return asio_error<boost_asio>(status); }
  static error_code aborted() noexcept { return boost::asio::error::operation_aborted; }
  static error_code timed_out() noexcept { return boost::asio::error::timed_out; }
};

}  // namespace detail

// Inline, so that interlock::async_lock is this one where the other header is not included.
inline namespace boost_asio {

// Each of these takes any completion token and gives the error of how the wait ended: none, or
// operation_aborted, timed_out, or error_of(closed or overloaded). The guard says the same by its
// status(), and owns nothing in these cases.

// Effects: async_lock(mutex, token) takes the mutex. Completes with (error_code, guard).
inline constexpr detail::asio_lock<detail::boost_asio> async_lock{};
// Effects: async_lock_until(mutex, timer, deadline, token): the same, or gives up.
inline constexpr detail::asio_lock_until<detail::boost_asio> async_lock_until{};

// Effects: async_lock_shared(mutex, token) shares the mutex. Completes with (error_code, guard).
inline constexpr detail::asio_lock_shared<detail::boost_asio> async_lock_shared{};
// Effects: async_lock_shared_until(mutex, timer, deadline, token): the same, or gives up.
inline constexpr detail::asio_lock_shared_until<detail::boost_asio> async_lock_shared_until{};

// Effects: async_acquire(semaphore, n, token) takes n permits. Completes with (error_code, guard).
inline constexpr detail::asio_acquire<detail::boost_asio> async_acquire{};
// Effects: async_acquire_until(semaphore, timer, deadline, n, token): the same, or gives up.
inline constexpr detail::asio_acquire_until<detail::boost_asio> async_acquire_until{};

// Effects: async_wait(event, token) waits until the event is set. Completes with (error_code).
inline constexpr detail::asio_wait<detail::boost_asio> async_wait{};
// Effects: async_wait_until(event, timer, deadline, token): the same, or gives up.
inline constexpr detail::asio_wait_until<detail::boost_asio> async_wait_until{};

// Returns: the error that an operation which ends like this completes with.
inline boost::system::error_code error_of(wait_status status) noexcept {
  return detail::boost_asio::error_of(status);
}

// For the deadlines of any awaitable: calls on the executor's threads, by a steady_timer each.
// Preconditions: what the executor belongs to outlives the alarms.
using asio_timer = detail::basic_asio_timer<detail::boost_asio>;

// For resume_on(): the coroutine goes on where the executor posts it, never inside wake-up.
template <class Executor>
class asio_executor : public detail::basic_asio_executor<detail::boost_asio, Executor> {
public:
  using detail::basic_asio_executor<detail::boost_asio, Executor>::basic_asio_executor;
};
template <class Executor>
asio_executor(Executor) -> asio_executor<Executor>;

}  // namespace boost_asio

}  // namespace interlock
