// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/run_in_transaction.hpp - a request's key, its effect and its answer, in one
// transaction: done once, whatever crashes.
//
// Problem     A key that is claimed before the effect and completed after it leaves a doubt between
//             them: the effect was made, or not. Where the effect is in the same file, there need
//             be none.
// Guarantee   A key that is run in a transaction of SQLite has its effect once.
//             A process that is killed in a run leaves the key of SQLite free or its effect done.
//             A key of SQLite that is known with another fingerprint runs nothing.
// Outcomes    applied: the answer, of this run or the first. conflict: the key has another
//             fingerprint, or is claimed by a lease of the store. refused: nothing was done.
//             unknown: the system failed in the commit; ask again with the key: it is exact.
// Durability  As the file is set to, see probed() of the client.
// Progress    A duplicate waits for its turn to write, and finds the answer. No lease.
// Cost        Three statements more than the effect's transaction.
// Lifetime    The transaction& is the body's, on its thread.
// Not for     Effects elsewhere: claim, do, complete (idempotency_store).
//
// Example     // examples/engines/sqlite_idempotency.cpp
//             const auto sell = [&](sqlite::transaction& t) { return t.add(sales, 30); };
//             const auto paid = sqlite::run_in_transaction(db, payments, "order-7", print, sell);

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "../idempotency_outcome.hpp"
#include "transaction.hpp"

namespace interlock::sqlite {
namespace detail {

// Returns: the answer of a run before; or why there is none.
template <class R>
store::outcome<R, store::idempotency_claim> answer_of(const request& by,
                                                      store::idempotency_claim found) {
  if (found.what != store::idempotency_claim::state::done) {
    return store::conflicting{std::move(found)};
  }
  if (std::optional<R> answer = store::detail::kept_answer<R>(found.response)) {
    return *std::move(answer);
  }
  return by.refuse(store::errc::bad_value, "the answer that was kept does not decode",
                   "ask with the type that was kept");
}

}  // namespace detail

// Effects: runs body(transaction&) unless the key was run before, with the key's answer in the same
//          transaction, kept for `keep`.
// Store: an idempotency_store of the same client, or it is refused. What body returns has a codec,
// or is void. Throws: what the body throws; nothing was done then, and the key is free.
template <class Store, class F>
auto run_in_transaction(client by, const Store& in, std::string_view key, fingerprint print,
                        F&& body, std::chrono::milliseconds keep = std::chrono::hours(24),
                        const store::transaction_options& how = {})
    -> store::outcome<store::detail::body_answer<F, transaction>, store::idempotency_claim> {
  using R = store::detail::body_answer<F, transaction>;
  using result = store::outcome<R, store::idempotency_claim>;
  detail::database& data = detail::client_access::data(by);
  return detail::transaction_access::attempt<result>(
      data, "idempotency_store.run", in.name(), how,
      [&](detail::connection& on, const detail::request& asked,
          detail::ending_items& ending) -> result {
        const detail::request of{asked.operation, in.name(), store::object_kind::idempotency,
                                 asked.call, key};
        if (&detail::client_access::data(in.client()) != &data) {
          return of.refuse(store::errc::bad_argument, "the store is of another client",
                           "make it from the client that runs the transaction");
        }
        const store::unique_id me = store::unique_id::fresh();
        const detail::id_bytes owner(me);
        auto mine = detail::claim_key(on, of, print, owner, std::chrono::minutes(1), data.now(),
                                      data.options().retention);
        if (mine->what != store::idempotency_claim::state::claimed) {
          return detail::answer_of<R>(of, *std::move(mine));
        }
        R answer = detail::transaction_access::run<R>(data, on, of, ending, body);
        const std::string kept = store::detail::kept_form(answer);
        of.require_size(kept.size(), data.options().max_value_bytes);
        detail::complete_claim(on, of, owner, mine->attempt, kept, keep, data.now()).value();
        return answer;
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

}  // namespace interlock::sqlite
