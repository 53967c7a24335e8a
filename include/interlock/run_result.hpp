// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/run_result.hpp - what a callable gave that had to wait for its turn, or how the wait
// ended without it: the result of run_exclusive().
//
// A callable that did not run must not look as if it had. So a refusal that nobody asks about ends
// the program with a sentence, as a guard's does (see detail/ownership.hpp).

#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "detail/misuse.hpp"
#include "wait_status.hpp"

namespace interlock {

namespace detail {

class asked_refusal {
public:
  // Returns: true if the callable ran.
  [[nodiscard]] bool ran() const noexcept {
    now_asked();
    return status_ == wait_status::acquired;
  }
  explicit operator bool() const noexcept { return ran(); }
  // Returns: how the wait ended.
  [[nodiscard]] wait_status status() const noexcept {
    now_asked();
    return status_;
  }

protected:
  asked_refusal() = default;
  explicit asked_refusal(wait_status refused) noexcept : status_(refused), unasked_(true) {}
  asked_refusal(asked_refusal&& other) noexcept
      : status_(other.status_), unasked_(std::exchange(other.unasked_, false)) {}
  asked_refusal& operator=(asked_refusal&& other) noexcept {
    expect_asked();
    status_ = other.status_;
    unasked_ = std::exchange(other.unasked_, false);
    return *this;
  }
  ~asked_refusal() { expect_asked(); }

  void expect_ran() const noexcept {
    if (status_ != wait_status::acquired) {
      misuse("run_exclusive: the result of a callable that did not run; ask ran() first");
    }
  }

private:
  // No write if it was asked before, or ran: many may ask a result that they only read.
  void now_asked() const noexcept {
    if (unasked_) unasked_ = false;
  }
  void expect_asked() const noexcept {
    if (!unasked_) return;
    misuse(
        "run_exclusive was refused (cancelled, timed out, closed or overloaded), its callable did "
        "not run, and nobody asked: look at the result, if (!result), before you go on");
  }

  wait_status status_ = wait_status::acquired;
  mutable bool unasked_ = false;
};

}  // namespace detail

// A value, a reference or nothing, in the manner of std::optional; see ran() and status().
template <class R>
class [[nodiscard("the callable may not have run")]] run_result : public detail::asked_refusal {
public:
  explicit run_result(wait_status refused) noexcept : asked_refusal(refused) {}
  explicit run_result(R&& value) noexcept(std::is_nothrow_move_constructible_v<R>)
      : value_(std::move(value)) {}

  // Preconditions: ran().
  R& operator*() & noexcept {
    expect_ran();
    return *value_;
  }
  const R& operator*() const& noexcept {
    expect_ran();
    return *value_;
  }
  R&& operator*() && noexcept { return std::move(**this); }
  R* operator->() noexcept { return std::addressof(**this); }
  const R* operator->() const noexcept { return std::addressof(**this); }

private:
  std::optional<R> value_;
};

template <class R>
class [[nodiscard("the callable may not have run")]] run_result<R&> : public detail::asked_refusal {
public:
  explicit run_result(wait_status refused) noexcept : asked_refusal(refused) {}
  explicit run_result(R& value) noexcept : value_(std::addressof(value)) {}

  // Preconditions: ran().
  R& operator*() const noexcept {
    expect_ran();
    return *value_;
  }
  R* operator->() const noexcept { return std::addressof(**this); }

private:
  R* value_ = nullptr;
};

template <>
class run_result<void> : public detail::asked_refusal {  // may be dropped, but then see above
public:
  run_result() = default;
  explicit run_result(wait_status refused) noexcept : asked_refusal(refused) {}
};

}  // namespace interlock
