// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/outcome.hpp - what became of a request to an engine: four answers, not two.
//
//   applied    it was done; value() is its answer
//   conflict   it was not done, since the state is another: conflict() says which
//   refused    it was not done, for a reason: error()
//   unknown    the request left and no answer came: it was done, or will be, or never. error() says
//              why. If the call had an operation id, ask again with that id: the answer is exact.
//
// An engine that cannot tell says unknown, never refused.

#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>
#include <variant>

#include "error.hpp"
#include "operation_id.hpp"

namespace interlock::store {

// Where there is nothing to say.
struct nothing {
  friend bool operator==(nothing, nothing) = default;
};

enum class status : std::uint8_t { applied, conflict, refused, unknown };

// Returns: the name of the status.
constexpr const char* to_string(status s) noexcept {
  switch (s) {
    case status::applied: return "applied";
    case status::conflict: return "conflict";
    case status::refused: return "refused";
    case status::unknown: return "unknown";
  }
  return "no status";
}

// What converts to any outcome: `return refusal(...)`.
template <class C>
struct conflicting {
  C state;
};
template <class C>
conflicting(C) -> conflicting<C>;

struct refusal {
  explicit refusal(error reason) : why(std::make_shared<const error>(std::move(reason))) {}
  std::shared_ptr<const error> why;
};

struct doubt {
  explicit doubt(error reason, operation_id under = {})
      : why(std::make_shared<const error>(std::move(reason))), id(under) {}
  std::shared_ptr<const error> why;
  operation_id id;
};

template <class T, class Conflict = nothing>
class [[nodiscard]] outcome {
public:
  using value_type = T;
  using conflict_type = Conflict;

  outcome(T answer) : held_(std::in_place_index<0>, std::move(answer)) {}
  template <class C>
    requires std::is_convertible_v<C, Conflict>
  outcome(conflicting<C> other) : held_(std::in_place_index<1>, std::move(other.state)) {}
  outcome(refusal why) : held_(std::in_place_index<2>, std::move(why)) {}
  outcome(doubt why) : held_(std::in_place_index<3>, std::move(why)) {}

  [[nodiscard]] store::status status() const noexcept {
    return static_cast<store::status>(held_.index());
  }
  [[nodiscard]] bool applied() const noexcept { return held_.index() == 0; }
  [[nodiscard]] bool conflicted() const noexcept { return held_.index() == 1; }
  [[nodiscard]] bool refused() const noexcept { return held_.index() == 2; }
  [[nodiscard]] bool unknown() const noexcept { return held_.index() == 3; }
  [[nodiscard]] explicit operator bool() const noexcept { return applied(); }

  // Returns: the answer. Throws: failure if there is none, with why; so hits.add(1).value() alone
  // is a request whose failure nobody overlooks.
  T& value() & { return applied() ? *std::get_if<0>(&held_) : none(); }
  const T& value() const& {
    return applied() ? *std::get_if<0>(&held_) : const_cast<outcome*>(this)->none();
  }
  T value() && { return std::move(value()); }
  [[nodiscard]] T& operator*() & { return value(); }
  [[nodiscard]] const T& operator*() const& { return value(); }
  [[nodiscard]] T* operator->() { return &value(); }
  [[nodiscard]] const T* operator->() const { return &value(); }
  [[nodiscard]] T value_or(T other) const {
    return applied() ? *std::get_if<0>(&held_) : std::move(other);
  }

  // Returns: the state that was in the way. Throws: std::bad_variant_access without a conflict.
  [[nodiscard]] const Conflict& conflict() const { return std::get<1>(held_); }

  // Returns: why it was refused, or is unknown. Throws: std::bad_variant_access otherwise.
  [[nodiscard]] const store::error& error() const {
    return unknown() ? *std::get<3>(held_).why : *std::get<2>(held_).why;
  }

  // Returns: the id under which asking again is exact; false if the call had none.
  [[nodiscard]] operation_id id() const {
    return unknown() ? std::get<3>(held_).id : operation_id{};
  }

  // Returns: the same outcome with f(answer) in place of the answer.
  template <class F>
  [[nodiscard]] auto map(F f) && -> outcome<std::invoke_result_t<F, T>, Conflict> {
    if (T* const answer = std::get_if<0>(&held_)) return f(std::move(*answer));
    return std::move(*this).template without_answer<std::invoke_result_t<F, T>, Conflict>();
  }

  // Preconditions: not applied, and no conflict that Other does not take.
  // Returns: the same outcome as one with another type of answer.
  template <class Other, class OtherConflict = Conflict>
  [[nodiscard]] outcome<Other, OtherConflict> without_answer() && {
    if constexpr (std::is_convertible_v<Conflict, OtherConflict>) {
      if (Conflict* const state = std::get_if<1>(&held_)) {
        return conflicting<OtherConflict>{std::move(*state)};
      }
    }
    if (refusal* const why = std::get_if<2>(&held_)) return std::move(*why);
    return std::move(std::get<3>(held_));
  }

private:
  [[noreturn]] T& none() {
    if (conflicted()) {
      throw failure({errc::engine_failure, "store", "outcome.value", "",
                     "the operation met another state and was not done",
                     "look at conflicted() before value()"});
    }
    throw failure(error());
  }

  std::variant<T, Conflict, refusal, doubt> held_;
};

}  // namespace interlock::store
