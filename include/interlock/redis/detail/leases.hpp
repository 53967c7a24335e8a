// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/leases.hpp - mutexes, fenced resources and idempotency stores of a client.

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "cells.hpp"
#include "scripts_leases.hpp"

namespace interlock::redis::detail {

template <class Executor>
class leases : public cells<Executor> {
public:
  using typename caller<Executor>::object;

  outcome<store::lease_grant, store::lease_busy> lease_acquire(const object& at,
                                                               const unique_id& owner,
                                                               milliseconds lease,
                                                               const call_options& call) {
    using out = outcome<store::lease_grant, store::lease_busy>;
    const asked by{at, "acquire", call};
    const decimal time(script_time(lease));
    return ask<out>(
        script_lease_acquire(), by, {owner.text(), time},
        [&](reader& in, const auto& answer, bool applied) -> out {
          in.expect(answer, 2);
          if (!in.good()) return this->unreadable(by);
          const auto n = in.template number<std::uint64_t>(answer.at(1));
          if (!in.good()) return this->unreadable(by);
          if (applied) return store::lease_grant{n};
          return store::conflicting{store::lease_busy{milliseconds(static_cast<std::int64_t>(n))}};
        });
  }
  outcome<nothing> lease_renew(const object& at, const unique_id& owner, std::uint64_t fence,
                               milliseconds lease, const call_options& call) {
    const decimal number(fence);
    const decimal time(script_time(lease));
    return yes_or_no(script_lease_renew(), {at, "renew", call}, {owner.text(), number, time});
  }
  outcome<nothing> lease_release(const object& at, const unique_id& owner, std::uint64_t fence,
                                 const call_options& call) {
    const decimal number(fence);
    return yes_or_no(script_lease_release(), {at, "release", call}, {owner.text(), number});
  }
  outcome<store::lease_grant> lease_raise(const object& at, const unique_id& owner,
                                          std::uint64_t fence, std::uint64_t above,
                                          const call_options& call) {
    using out = outcome<store::lease_grant>;
    const asked by{at, "raise", call};
    if (above == std::numeric_limits<std::uint64_t>::max()) {
      return by.refuse(errc::bad_argument, "no fence is larger than that",
                       "see who opened the resource with it");
    }
    const decimal number(fence);
    const decimal least(above);
    return ask<out>(script_lease_raise(), by, {owner.text(), number, least},
                    [&](reader& in, const auto& answer, bool applied) -> out {
                      if (!applied) return store::conflicting{nothing{}};
                      in.expect(answer, 2);
                      if (!in.good()) return this->unreadable(by);
                      const auto n = in.template number<std::uint64_t>(answer.at(1));
                      if (in.good()) return store::lease_grant{n};
                      return this->unreadable(by);
                    });
  }

  outcome<store::fenced_state, store::stale_fence> fenced_open(const object& at,
                                                               std::uint64_t fence,
                                                               const unique_id& owner,
                                                               const call_options& call) {
    using out = outcome<store::fenced_state, store::stale_fence>;
    const call_options each{{}, call.timeout};  // what is kept opens nothing
    const asked by{at, "open", each};
    const decimal number(fence);
    return ask<out>(script_fenced_open(), by, {number, owner.text()},
                    [&](reader& in, const auto& answer, bool applied) -> out {
                      if (!applied) return stale<out>(in, by, answer);
                      in.expect(answer, 2);
                      if (!in.good()) return this->unreadable(by);
                      store::fenced_state is{in.bytes(answer.at(1))};
                      if (in.good()) return is;
                      return this->unreadable(by);
                    });
  }
  outcome<nothing, store::stale_fence> fenced_write(const object& at, std::uint64_t fence,
                                                    const unique_id& owner, std::string_view bytes,
                                                    const call_options& call) {
    using out = outcome<nothing, store::stale_fence>;
    const asked by{at, "write", call};
    if (auto bad = this->bad_size(by, bytes.size())) return *std::move(bad);
    const decimal number(fence);
    return ask<out>(script_fenced_write(), by, {number, owner.text(), bytes},
                    [&](reader& in, const auto& answer, bool applied) -> out {
                      if (applied) return nothing{};
                      return stale<out>(in, by, answer);
                    });
  }

  outcome<store::idempotency_claim> idempotency_claim(const object& at, std::string_view key,
                                                      fingerprint print, const unique_id& owner,
                                                      milliseconds lease,
                                                      const call_options& call) {
    using out = outcome<store::idempotency_claim>;
    const asked by{at, "claim", call};
    const decimal hash(static_cast<std::uint64_t>(print));
    const decimal time(script_time(lease));
    return ask_row<out>(
        script_idempotency_claim(), by, key, {hash, owner.text(), time},
        [&](reader& in, const auto& answer, bool) -> out {
          in.expect(answer, 4);
          if (!in.good()) return this->unreadable(by);
          store::idempotency_claim is;
          is.what = static_cast<store::idempotency_claim::state>(answer.at(1).integer());
          is.attempt = in.template number<std::uint64_t>(answer.at(2));
          if (is.what == store::idempotency_claim::state::busy) {
            is.remaining = milliseconds(in.template number<std::int64_t>(answer.at(3)));
          } else {
            is.response = in.bytes(answer.at(3)).value_or("");
          }
          if (in.good()) return is;
          return this->unreadable(by);
        });
  }
  outcome<nothing> idempotency_complete(const object& at, std::string_view key,
                                        const unique_id& owner, std::uint64_t attempt,
                                        std::string_view response, milliseconds keep,
                                        const call_options& call) {
    const asked by{at, "complete", call};
    if (auto bad = this->bad_size(by, response.size())) return *std::move(bad);
    const decimal number(attempt);
    const decimal time(script_time(keep));
    return row_yes_or_no(script_idempotency_complete(), by, key,
                         {owner.text(), number, response, time});
  }
  outcome<nothing> idempotency_release(const object& at, std::string_view key,
                                       const unique_id& owner, std::uint64_t attempt,
                                       const call_options& call) {
    const decimal number(attempt);
    return row_yes_or_no(script_idempotency_release(), {at, "release", call}, key,
                         {owner.text(), number});
  }
  outcome<nothing> idempotency_heartbeat(const object& at, std::string_view key,
                                         const unique_id& owner, std::uint64_t attempt,
                                         milliseconds lease, const call_options& call) {
    const decimal number(attempt);
    const decimal time(script_time(lease));
    return row_yes_or_no(script_idempotency_heartbeat(), {at, "heartbeat", call}, key,
                         {owner.text(), number, time});
  }

protected:
  using cells<Executor>::cells;

  // What scripts get after their sequence and retention. A text that an owner gives lives as long.
  using list = std::initializer_list<argument>;

  template <class Out, class F>
  Out ask(const script& of, const asked& by, list arguments, F f) {
    script_call script = this->calling(of, by);
    return ask_with<Out>(by, script, arguments, f);
  }
  template <class Out, class F>
  Out ask_row(const script& of, const asked& by, std::string_view key, list arguments, F f) {
    if (auto bad = this->bad_key(by, key)) return *std::move(bad);
    const std::string whole = this->row(by.at, key);
    const std::string_view one = whole;
    script_call script = this->calling(of, by, {&one, 1});
    return ask_with<Out>(by, script, arguments, f);
  }
  template <class Out, class F>
  Out ask_with(const asked& by, script_call& script, list arguments, F& f) {
    for (const argument& each : arguments) script.parts.add(each.text());
    return this->template run<Out>(by, script, [&](const auto& answer, bool applied) -> Out {
      reader in;
      return f(in, answer, applied);
    });
  }
  outcome<nothing> yes_or_no(const script& of, const asked& by, list arguments) {
    return ask<outcome<nothing>>(of, by, arguments, done_or_conflict);
  }
  outcome<nothing> row_yes_or_no(const script& of, const asked& by, std::string_view key,
                                 list arguments) {
    return ask_row<outcome<nothing>>(of, by, key, arguments, done_or_conflict);
  }
  static constexpr auto done_or_conflict = [](reader&, const auto&,
                                              bool applied) -> outcome<nothing> {
    if (applied) return nothing{};
    return store::conflicting{nothing{}};
  };

private:
  template <class Out, class Answer>
  static Out stale(reader& in, const asked& by, const Answer& answer) {
    in.expect(answer, 2);
    const auto n = in.good() ? in.template number<std::uint64_t>(answer.at(1)) : 0;
    if (in.good()) return store::conflicting{store::stale_fence{n}};
    return caller<Executor>::unreadable(by);
  }
};

}  // namespace interlock::redis::detail
