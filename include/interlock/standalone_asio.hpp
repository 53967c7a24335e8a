// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/standalone_asio.hpp - asio.hpp for Asio without Boost: see there.
//
// A program may include both; then it says which: interlock::boost_asio::async_lock or
// interlock::standalone_asio::async_lock.

#include <asio/any_io_executor.hpp>
#include <asio/associated_allocator.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/error.hpp>
#include <asio/execution/context.hpp>
#include <asio/execution_context.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/query.hpp>
#include <asio/recycling_allocator.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/version.hpp>

#include <system_error>
#include <utility>

#include "detail/asio_bridge.hpp"
#include "wait_status.hpp"

static_assert(ASIO_VERSION >= 102200, "interlock/standalone_asio.hpp needs Asio 1.22 or newer");

namespace interlock {

namespace detail {

// The names of Asio that the bridge needs.
struct standalone_asio {
  using execution_context = ::asio::execution_context;
  using any_io_executor = ::asio::any_io_executor;
  using steady_timer = ::asio::steady_timer;
  using cancellation_type = ::asio::cancellation_type_t;
  using error_code = std::error_code;
  using error_category = std::error_category;
  template <class Executor>
  using work_guard = ::asio::executor_work_guard<Executor>;
  using context_property = ::asio::execution::context_t;
  template <class Executor>
  using strand = ::asio::strand<Executor>;

  template <class Handler>
  static auto executor_of(const Handler& handler) noexcept {
    return ::asio::get_associated_executor(handler);
  }
  template <class Handler>
  static auto slot_of(const Handler& handler) noexcept {
    return ::asio::get_associated_cancellation_slot(handler);
  }
  template <class Handler>
  static auto allocator_of(const Handler& handler) noexcept {
    return ::asio::get_associated_allocator(handler,
                                            ::asio::recycling_allocator<void>());
  }
  static bool cancels(cancellation_type type) noexcept {
    return type != cancellation_type::none;
  }

  template <class Service, class Executor>
  static Service& service(const Executor& executor) {
    if constexpr (::asio::can_query_v<const Executor&, ::asio::execution::context_t>) {
      return ::asio::use_service<Service>(
          ::asio::query(executor, ::asio::execution::context));
    } else {
      return ::asio::use_service<Service>(executor.context());
    }
  }
  template <class Executor, class F>
  static void post(const Executor& executor, F&& f) {
    ::asio::post(executor, std::forward<F>(f));
  }
  template <class Signature, class Initiation, class Token>
  static auto initiate(Initiation&& initiation, Token&& token) {
    return ::asio::async_initiate<Token, Signature>(std::forward<Initiation>(initiation),
                                                         token);
  }

  static error_code error_of(wait_status status) noexcept {
    return asio_error<standalone_asio>(status);
  }
  static error_code aborted() noexcept { return ::asio::error::operation_aborted; }
  static error_code timed_out() noexcept { return ::asio::error::timed_out; }
};

}  // namespace detail

// Inline, so that interlock::async_lock is this one where the other header is not included.
inline namespace standalone_asio {

// See asio.hpp for what each of these does.
inline constexpr detail::asio_lock<detail::standalone_asio> async_lock{};
inline constexpr detail::asio_lock_until<detail::standalone_asio> async_lock_until{};
inline constexpr detail::asio_lock_shared<detail::standalone_asio> async_lock_shared{};
inline constexpr detail::asio_lock_shared_until<detail::standalone_asio> async_lock_shared_until{};
inline constexpr detail::asio_acquire<detail::standalone_asio> async_acquire{};
inline constexpr detail::asio_acquire_until<detail::standalone_asio> async_acquire_until{};
inline constexpr detail::asio_wait<detail::standalone_asio> async_wait{};
inline constexpr detail::asio_wait_until<detail::standalone_asio> async_wait_until{};

// Returns: the error that an operation which ends like this completes with.
inline std::error_code error_of(wait_status status) noexcept {
  return detail::standalone_asio::error_of(status);
}

// For the deadlines of any awaitable: calls on the executor's threads, by a steady_timer each.
// Preconditions: what the executor belongs to outlives the alarms.
using asio_timer = detail::basic_asio_timer<detail::standalone_asio>;

// For resume_on(): the coroutine goes on where the executor posts it, never inside wake-up.
template <class Executor>
class asio_executor : public detail::basic_asio_executor<detail::standalone_asio, Executor> {
public:
  using detail::basic_asio_executor<detail::standalone_asio, Executor>::basic_asio_executor;
};
template <class Executor>
asio_executor(Executor) -> asio_executor<Executor>;

}  // namespace standalone_asio

}  // namespace interlock
