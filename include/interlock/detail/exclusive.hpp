// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/exclusive.hpp - a callable that runs as the owner of a lock, over any awaitable
// of a guard.

#include <coroutine>
#include <optional>
#include <type_traits>
#include <utility>

#include "../run_result.hpp"
#include "awaitable.hpp"

namespace interlock::detail {

// A callable whose result is a coroutine.
template <class F>
concept coroutine_function =
    requires { typename std::coroutine_traits<std::invoke_result_t<F&>>::promise_type; };

// A callable whose result is something else to await, which would outlive the lock.
template <class F>
concept awaitable_function = awaitable<std::invoke_result_t<F&>>;

// task<R> to task<run_result<R>>, for every kind of coroutine that names its result first.
template <class Coroutine>
struct with_result {};
template <template <class...> class Kind, class R, class... Rest>
struct with_result<Kind<R, Rest...>> {
  using result = run_result<R>;
  using type = Kind<result, Rest...>;
};

// Returns: what f gave; for void, that it ran.
template <class F>
run_result<std::invoke_result_t<F&>> ran(F& f) {
  if constexpr (std::is_void_v<std::invoke_result_t<F&>>) {
    f();
    return {};
  } else {
    return run_result<std::invoke_result_t<F&>>(f());
  }
}

// Awaits the guard and calls f, which gives nothing that is to be awaited.
template <class F, class Wait>
class [[nodiscard("write co_await")]] exclusive_call {
public:
  static_assert(!awaitable_function<F>, "make f a coroutine that awaits this itself");
  static_assert(alignof(F) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__,
                "compilers do not over-align coroutine frames: capture a pointer instead");

  // make() gives the awaitable.
  template <class Make>
  exclusive_call(F f, Make make) : wait_(make()), f_(std::move(f)) {}

  bool await_ready() noexcept(noexcept(std::declval<Wait&>().await_ready())) {
    return wait_.await_ready();
  }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> self) {
    return wait_.await_suspend(self);
  }
  auto await_resume() {
    const auto held = wait_.await_resume();
    return held ? ran(f_) : run_result<std::invoke_result_t<F&>>(held.status());
  }

private:
  Wait wait_;
  F f_;
};

// Awaits the guard and then what f gives. Coroutine: of f; ours is of the same kind.
// make() comes first: behind an f without captures it would cost the frame a word, and a call on a
// free lock a tenth (GCC 12).
template <class Coroutine, class Make, class F>
typename with_result<Coroutine>::type exclusive_coroutine(Make make, F f) {
  using result = typename with_result<Coroutine>::result;
  const auto held = co_await make();
  if (!held) co_return result(held.status());
  if constexpr (std::is_same_v<result, run_result<void>>) {
    co_await f();
    co_return result();
  } else {
    co_return result(co_await f());
  }
}

// Returns: an awaitable of what f gives as the owner of what the awaitable that make() gives owns.
template <class F, class Make>
auto run_as_owner(F f, Make make) {
  if constexpr (coroutine_function<F>) {
    using coroutine = std::invoke_result_t<F&>;
    static_assert(
        requires { typename with_result<coroutine>::type; },
        "f gives a coroutine that is no kind<result, ...>: use lock() and a guard");
    return exclusive_coroutine<coroutine>(std::move(make), std::move(f));
  } else {
    return exclusive_call<F, decltype(make())>(std::move(f), std::move(make));
  }
}

// Tells the guard, which wants to know, which coroutine has it.
template <class Guard>
struct settle {
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> self) const noexcept {
    held.belongs_to(self);
    return false;
  }
  void await_resume() const noexcept {}

  const Guard& held;
};

template <class Guard, class F>
std::invoke_result_t<F&> owning_coroutine(Guard held, F f) {
  const Guard until_done = std::move(held);  // a parameter would last as long as the frame
  if constexpr (requires { until_done.belongs_to(std::coroutine_handle<>()); }) {
    co_await settle<Guard>{until_done};
  }
  co_return co_await f();
}

// Returns: an optional of what f gives as the owner, empty if the guard owns nothing; for void, a
//          bool.
template <class Guard, class F>
auto run_if_owner(Guard held, F f) {
  using result = std::invoke_result_t<F&>;
  static_assert(coroutine_function<F> || !awaitable_function<F>,
                "make f a coroutine that awaits this itself");
  if constexpr (std::is_void_v<result>) {
    if (held) f();
    return held.owns_lock();
  } else if constexpr (coroutine_function<F>) {
    return held ? std::optional<result>(owning_coroutine(std::move(held), std::move(f)))
                : std::nullopt;
  } else {
    return held ? std::optional<result>(f()) : std::nullopt;
  }
}

}  // namespace interlock::detail
