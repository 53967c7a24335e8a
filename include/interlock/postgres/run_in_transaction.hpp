// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/run_in_transaction.hpp - a request's key, its effect and its answer, in one
// transaction: done once, whatever crashes.
//
// Problem     A key that is claimed before the effect and completed after it leaves a doubt between
//             them: the effect was made, or not. Where the effect is in the same database, there
//             need be none.
// Guarantee   A key that was run in a transaction has its effect once and each caller its answer.
//             Of callers with one key at once the others wait and get the answer of the first.
//             A key that is known with another fingerprint runs nothing.
// Outcomes    applied: the answer, of this run or the first. conflict: the key has another
//             fingerprint, or is claimed by a lease of the store. refused: nothing was done.
//             unknown: COMMIT was not answered; ask again with the key: the answer is exact.
// Durability  As the server commits, see counter.hpp.
// Progress    A duplicate waits for the row until the first commits. No lease: a crash rolls back.
// Cost        A round trip to claim, one to answer and commit, and those of the effect.
// Lifetime    The transaction& is the body's, on its thread.
// Not for     Effects elsewhere: claim, do, complete (idempotency_store).
//
// Example     // examples/engines/postgres_idempotency.cpp
//             const auto sell = [&](postgres::transaction& t) { return t.add(sales, 30); };
//             const auto paid = postgres::run_in_transaction(db, payments, "order-7", print, sell);

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "../idempotency_outcome.hpp"
#include "transaction.hpp"

namespace interlock::postgres {
namespace detail {

// Effects: claims the key within the transaction. Returns: what is there instead, if anything is.
template <class Outcome, class R>
std::optional<Outcome> claim_in(transaction_link& in, std::string_view store_name,
                                std::string_view key, fingerprint print) {
  using state = store::idempotency_claim::state;
  const request by = in.asks("idempotency_store.run", key);
  const auto bits = static_cast<std::int64_t>(print);
  parameters given;
  given.bytes(store_name).key(key).number(bits);
  if (PQntuples(in.run(by, statement::run_claim, given).get()) != 0) return std::nullopt;
  parameters names;
  names.bytes(store_name).key(key);
  const result& now = in.run(by, statement::idempotency_state, names);
  if (PQntuples(now.get()) == 0) return std::nullopt;  // not in one snapshot
  store::idempotency_claim seen{state::busy, 0, {}, std::chrono::milliseconds(0)};
  if (number_in(now, 0, 0) != bits) {
    seen.what = state::mismatch;
  } else if (bytes_in(now, 0, 1)[0] != 0) {
    if (std::optional<R> answer = store::detail::kept_answer<R>(bytes_in(now, 0, 2))) {
      return Outcome(*std::move(answer));
    }
    return Outcome(
        refusal(session::error_of(by, errc::bad_value, "the answer that was kept does not decode",
                                  "ask with the type that was kept")));
  } else {
    seen.remaining = std::chrono::milliseconds(number_in(now, 0, 3));
  }
  return Outcome(store::conflicting{std::move(seen)});
}

}  // namespace detail

// Effects: runs body(transaction&) unless the key was run before, with the key's answer in the same
//          transaction, kept for `keep`. The body may run several times, but takes effect once.
// Store: an idempotency_store of the same client, or it is refused. What body returns has a codec,
// or is void. Throws: what the body throws; nothing was done then, and the key is free.
template <class Store, class F>
auto run_in_transaction(const client& by, const Store& in, std::string_view key, fingerprint print,
                        F&& body, std::chrono::milliseconds keep = std::chrono::hours(24),
                        const store::transaction_options& how = {})
    -> store::outcome<store::detail::body_answer<std::remove_reference_t<F>, transaction>,
                      store::idempotency_claim> {
  using R = store::detail::body_answer<std::remove_reference_t<F>, transaction>;
  using result = store::outcome<R, store::idempotency_claim>;
  static_assert(store::detail::keepable<R>,
                "the answer is kept as bytes: specialise store::codec for it");
  return detail::transaction_run::run<result, R>(
      by, how,
      [&](detail::transaction_link& link) {
        detail::transaction_run::require_same(link, "idempotency_store.run", in);
        return detail::claim_in<result, R>(link, in.name(), key, print);
      },
      body,
      [&](detail::transaction_link& link, const R& answer) {
        const std::string kept = store::detail::kept_form(answer);
        detail::parameters given;
        given.bytes(in.name()).key(key).value(kept).time(keep);
        link.defer(link.asks("idempotency_store.run", key), detail::statement::run_complete, given);
      });
}

// Returns: an awaitable of the same; the body runs on a thread of the client. The time runs from
//          now.
template <class Store, class F>
[[nodiscard("write co_await")]] auto async_run_in_transaction(
    client by, Store in, std::string key, fingerprint print, F body,
    std::chrono::milliseconds keep = std::chrono::hours(24),
    const store::transaction_options& how = {}) {
  const store::detail::call_deadline limit({how.id, how.timeout}, by.options().timeout);
  auto job = [by, in = std::move(in), key = std::move(key), print, body = std::move(body), keep,
              how = store::transaction_options(how), limit]() mutable {
    how.timeout = limit.timeout_left();
    return run_in_transaction(by, in, key, print, body, keep, how);
  };
  return store::detail::offloaded<client, decltype(job)>(by, std::move(job));
}

}  // namespace interlock::postgres
