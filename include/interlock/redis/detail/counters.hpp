// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/counters.hpp - counters and bounded counters of a client.

#include <array>
#include <cstdint>
#include <string_view>

#include "caller.hpp"
#include "scripts_counters.hpp"

namespace interlock::redis::detail {

template <class Executor>
class counters : public caller<Executor> {
public:
  using typename caller<Executor>::object;

  outcome<std::int64_t> counter_add(const object& at, std::int64_t n, const call_options& call) {
    const decimal amount(n);
    if (call.id) return from_script(script_counter_add(), {at, "add", call}, amount);
    const std::array<std::string_view, 3> command{"INCRBY", at.key(), amount};
    const asked by{at, "add", call};
    return this->template native<outcome<std::int64_t>>(
        by, command, [&](const auto& answer) { return number(by, answer); });
  }

  outcome<std::int64_t> counter_load(const object& at, const call_options& call) {
    const std::array<std::string_view, 2> command{"GET", at.key()};
    const asked by{at, "load", call, false};
    return this->template native<outcome<std::int64_t>>(by, command, [&](const auto& answer) {
      if (answer.kind() == value_kind::nil) return outcome<std::int64_t>(0);
      return number(by, answer);
    });
  }

  outcome<std::int64_t> counter_exchange(const object& at, std::int64_t to,
                                         const call_options& call) {
    const decimal text(to);
    return from_script(script_counter_exchange(), {at, "exchange", call}, text);
  }

  outcome<store::bounded_state> bounded_open(const object& at, store::bounded_state as,
                                             const call_options& call) {
    const asked by{at, "open", call};
    if (as.low > as.high || as.value < as.low || as.value > as.high) {
      return by.refuse(errc::bad_argument, "the value is not within its bounds",
                       "give low <= value <= high");
    }
    const decimal value(as.value);
    const decimal low(as.low);
    const decimal high(as.high);
    script_call script = this->calling(script_bounded_open(), by);
    for (const std::string_view part :
         {std::string_view(value), std::string_view(low), std::string_view(high)}) {
      script.parts.add(part);
    }
    return this->template run<outcome<store::bounded_state>>(
        by, script, [&](const auto& answer, bool) { return state<store::nothing>(by, answer, 1); });
  }

  outcome<std::int64_t, store::bounded_state> bounded_add(const object& at, std::int64_t n,
                                                          const call_options& call) {
    using out = outcome<std::int64_t, store::bounded_state>;
    const asked by{at, "add", call};
    const decimal amount(n);
    script_call script = this->calling(script_bounded_add(), by);
    script.parts.add(amount);
    return this->template run<out>(by, script, [&](const auto& answer, bool applied) -> out {
      if (applied) {
        reader in;
        in.expect(answer, 2);
        const auto sum = in.good() ? in.template number<std::int64_t>(answer.at(1)) : 0;
        if (!in.good()) return this->unreadable(by);
        return sum;
      }
      auto is = state<store::nothing>(by, answer, 1);
      if (!is) return std::move(is).template without_answer<std::int64_t, store::bounded_state>();
      return store::conflicting{*is};
    });
  }

  outcome<store::bounded_state> bounded_load(const object& at, const call_options& call) {
    using out = outcome<store::bounded_state>;
    const asked by{at, "load", call, false};
    const std::array<std::string_view, 5> command{"HMGET", at.key(), "v", "l", "h"};
    return this->template native<out>(by, command, [&](const auto& answer) -> out {
      if (answer.size() == 3 && answer.at(0).kind() == value_kind::nil) {
        return by.refuse(errc::wrong_kind, "it was never opened", "open it first");
      }
      return state<store::nothing>(by, answer, 0);
    });
  }

protected:
  using caller<Executor>::caller;

private:
  outcome<std::int64_t> from_script(const script& of, const asked& by, std::string_view amount) {
    using out = outcome<std::int64_t>;
    script_call script = this->calling(of, by);
    script.parts.add(amount);
    return this->template run<out>(by, script, [&](const auto& answer, bool) -> out {
      if (answer.size() < 2) return this->unreadable(by);
      return number(by, answer.at(1));
    });
  }
  template <class Answer>
  static outcome<std::int64_t> number(const asked& by, const Answer& answer) {
    reader in;
    const auto n = in.template number<std::int64_t>(answer);
    if (in.good()) return n;
    return caller<Executor>::unreadable(by);
  }
  template <class Conflict, class Answer>
  static outcome<store::bounded_state, Conflict> state(const asked& by, const Answer& answer,
                                                       std::size_t first) {
    reader in;
    in.expect(answer, first + 3);
    store::bounded_state is;
    for (std::int64_t* each : {&is.value, &is.low, &is.high}) {
      if (in.good()) *each = in.template number<std::int64_t>(answer.at(first++));
    }
    if (in.good()) return is;
    return caller<Executor>::unreadable(by);
  }
};

}  // namespace interlock::redis::detail
