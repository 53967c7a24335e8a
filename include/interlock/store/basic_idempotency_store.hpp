// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/basic_idempotency_store.hpp - runs a request once per key, among all processes.
//
// Problem     A client sends the same POST again, to another server. The first one may be running
//             it, or have crashed over it, or be about to answer late.
// Guarantee   Of the callers of a key in all processes one executes while its heartbeat lasts.
//             Whoever repeats a request later gets the answer that was kept. A key that comes with
//             another payload is refused. A late owner cannot overwrite what his successor did. A
//             function that throws leaves its key free. A claim whose reply was lost is the same
//             attempt when it is asked for again.
// Outcomes    applied: the answer. conflict: see idempotency_conflict. refused: f did not run, or
//             an answer is there that does not decode. unknown: with an attempt that ran, whether
//             its answer is kept; or perhaps the key is taken until its lease ends.
// Durability  That of the engine, see its idempotency_store.hpp. An answer that is lost is a run
//             that is repeated.
// Progress    run blocks while f runs, and while another does, as idempotency_options::wait says.
// Cost        Two requests for a run, one for a repetition, one each third of a lease.
// Lifetime    A handle: copies are cheap and share the client. Tickets keep it. Not across fork().
// Resumes on  async_ forms: a thread of the client.
// Cancellation None: a request that was sent is done or not. The coroutine may be destroyed.
// Not for     Effects that must happen once though a process dies in f: record them in the same
//             transaction (run_in_transaction, SQLite and PostgreSQL), or hand key and attempt on.
//
// Example     // examples/engines/store_idempotency.cpp
//             memory::idempotency_store<int> payments(engine, "payments");
//             const auto paid = payments.run(key, interlock::fingerprint_of(body), [&] {
//               return pay(body);
//             });
//             if (paid.conflicted()) return refuse(paid.conflict().why);

#include <chrono>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "codec.hpp"
#include "detail/as_holder.hpp"
#include "detail/ask_again.hpp"
#include "detail/bound_object.hpp"
#include "detail/kept_claim.hpp"
#include "detail/sleeper.hpp"
#include "idempotency_options.hpp"
#include "protocol.hpp"

namespace interlock::store {

// E: an engine's client, of which it needs the idempotency functions.
template <encodable R, class E>
class basic_idempotency_store {
public:
  using response_type = R;
  using client_type = E;
  using answer = idempotent_answer<R>;
  using result = outcome<answer, idempotency_conflict>;
  class ticket;
  // A run to settle, or the answer of one before.
  struct claimed {
    std::optional<ticket> run;
    std::optional<answer> known;
  };

  // Throws: failure (bad_argument, too_large) for a name that is not 1 to 512 bytes.
  basic_idempotency_store(E client, std::string_view name, idempotency_options how = {})
      : at_(std::move(client), object_kind::idempotency, name),
        how_(how),
        clock_(detail::clock_of(at_.client())),
        keeper_(detail::lease_keeper::of_process()) {}

  // Effects: executes f(), or f(ticket), unless the key has an answer or another runs it; waits for
  //          that one as the options say. Keeps what f returns, unless f settled the ticket itself:
  //          then the outcome is what that was told.
  // Throws: what f throws; the key is free then.
  template <class F>
  result run(std::string_view key, fingerprint payload, F&& f, const call_options& call = {},
             inplace_stop_token stop = {}) const;

  // Effects: asks once, and does not wait for another's run.
  // Returns: a ticket, or what was kept; conflict: in_flight or payload_mismatch.
  outcome<claimed, idempotency_conflict> claim(std::string_view key, fingerprint payload,
                                               const call_options& call = {}) const {
    return claim_as(unique_id::fresh(), key, payload, call);
  }
  // Returns: an awaitable of what claim() returns.
  [[nodiscard("write co_await")]] auto async_claim(std::string key, fingerprint payload,
                                                   const call_options& call = {}) const {
    return at_.async(call, [self = *this, k = std::move(key), payload](const call_options& c) {
      return self.claim(k, payload, c);
    });
  }

  [[nodiscard]] std::string_view name() const noexcept { return at_.name(); }
  [[nodiscard]] E& client() const noexcept { return at_.client(); }
  [[nodiscard]] const typename E::object& object() const noexcept { return at_.object(); }
  [[nodiscard]] const idempotency_options& options() const noexcept { return how_; }

private:
  using claim_outcome = outcome<claimed, idempotency_conflict>;

  claim_outcome claim_as(const unique_id& owner, std::string_view key, fingerprint payload,
                         const call_options& call) const;
  claim_outcome concluded(idempotency_claim said, const unique_id& owner, std::string_view key,
                          boot_clock::time_point sent) const;
  template <class F>
  result execute(ticket mine, F& f, const call_options& call) const;

  detail::bound_object<E> at_;
  idempotency_options how_;
  std::shared_ptr<const detail::local_clock> clock_;
  std::shared_ptr<detail::lease_keeper> keeper_;
};

// The right and the duty to answer a key. Its heartbeat goes on by itself. One dropped unsettled
// frees the key. One that was settled asks nothing any more, and says again what it was told then;
// conflict where it does not know.
template <encodable R, class E>
class basic_idempotency_store<R, E>::ticket {
public:
  ticket(ticket&& other) noexcept
      : home_(std::move(other.home_)),
        key_(std::move(other.key_)),
        owner_(other.owner_),
        attempt_(std::exchange(other.attempt_, 0)),
        settled_(std::move(other.settled_)),
        kept_(std::move(other.kept_)) {}
  ticket& operator=(ticket&&) = delete;
  ~ticket() {
    if (attempt_ == 0) return;
    try {
      static_cast<void>(release());
    } catch (...) {  // no memory for the request: the lease ends it
    }
  }

  [[nodiscard]] const std::string& key() const noexcept { return key_; }
  // Returns: which run of the key this is: for an effect elsewhere, (key, attempt) is its fence.
  [[nodiscard]] std::uint64_t attempt() const noexcept { return attempt_; }
  // Returns: a token that is stopped before another may run the key. Valid as long as the ticket.
  [[nodiscard]] inplace_stop_token lost() const noexcept { return kept_.lost(); }

  // Effects: the lease begins anew, each time: an id of the call is not used. Returns: conflict if
  //          the key is another's.
  outcome<nothing> heartbeat(const call_options& call = {}) {
    return kept_.beat_now([&] {
      return home_.client().idempotency_heartbeat(home_.object(), key_, owner_, attempt_,
                                                  home_.how_.lease, {{}, call.timeout});
    });
  }
  // Effects: keeps the answer, for those who repeat the request; asks again while it is unknown.
  // Returns: conflict if the key is another's by now. The ticket is settled, whatever the answer.
  outcome<nothing> complete(const R& response, const call_options& call = {}) {
    const std::string bytes = codec<R>::encode(response);
    return settle(call, [&](const call_options& each) {
      return home_.client().idempotency_complete(home_.object(), key_, owner_, attempt_, bytes,
                                                 home_.how_.keep, each);
    });
  }
  // Effects: asks once, on a thread of the client; no more heartbeats from now on.
  // Returns: an awaitable of what complete() returns.
  [[nodiscard("write co_await")]] auto async_complete(const R& response,
                                                      const call_options& call = {}) {
    std::string encoded = codec<R>::encode(response);
    kept_.end();
    return home_.at_.async(
        call, [home = home_, key = key_, owner = owner_, attempt = std::exchange(attempt_, 0),
               told = told_before(), bytes = std::move(encoded)](const call_options& c) {
          if (attempt == 0) return told;
          return detail::as_holder(owner, c, [&](const call_options& his) {
            return home.client().idempotency_complete(home.object(), key, owner, attempt, bytes,
                                                      home.how_.keep, his);
          });
        });
  }
  // Effects: frees the key. Returns: as complete.
  outcome<nothing> release(const call_options& call = {}) {
    if (attempt_ == 0) return told_before();
    kept_.end();
    const std::uint64_t attempt = std::exchange(attempt_, 0);
    settled_ = detail::as_holder(owner_, call, [&](const call_options& his) {
      return home_.client().idempotency_release(home_.object(), key_, owner_, attempt, his);
    });
    return *settled_;
  }

private:
  friend basic_idempotency_store;
  ticket(const basic_idempotency_store& home, std::string_view key, const unique_id& owner,
         std::uint64_t attempt, boot_clock::time_point sent)
      : home_(home),
        key_(key),
        owner_(owner),
        attempt_(attempt),
        kept_(home_.keeper_, home_.clock_, home_.how_.lease, sent, home_.client().options().timeout,
              [at = home_.at_, k = key_, owner, attempt,
               lease = home_.how_.lease](std::chrono::milliseconds timeout) {
                return at.client().idempotency_heartbeat(at.object(), k, owner, attempt, lease,
                                                         {{}, timeout});
              }) {}

  // Returns: what one that is settled was told.
  [[nodiscard]] outcome<nothing> told_before() const {
    return settled_ ? *settled_ : outcome<nothing>(conflicting{nothing{}});
  }
  template <class Ask>
  outcome<nothing> settle(const call_options& call, Ask ask) {
    if (attempt_ == 0) return told_before();
    const detail::ending_lease under_way = kept_.ending();
    outcome<nothing> said =
        detail::ask_again(home_.at_.deadline(call), call.id, [&](const call_options& each) {
          return detail::as_holder(owner_, each, ask);
        });
    kept_.end();
    attempt_ = 0;
    settled_ = said;
    return said;
  }

  basic_idempotency_store home_;
  std::string key_;
  unique_id owner_;
  std::uint64_t attempt_;  // 0: settled or moved from
  std::optional<outcome<nothing>> settled_{};
  detail::kept_claim kept_;
};

template <encodable R, class E>
auto basic_idempotency_store<R, E>::claim_as(const unique_id& owner, std::string_view key,
                                             fingerprint payload, const call_options& call) const
    -> claim_outcome {
  using namespace std::chrono_literals;
  if (how_.lease < 10ms || how_.lease > 24h || how_.keep < 1ms || how_.poll < 1ms) {
    return refusal(at_.failed(errc::bad_argument, "idempotency_store.claim",
                              "the options' times cannot be kept",
                              "give a lease of 10 ms to 24 hours, and times above 0"));
  }
  boot_clock::time_point sent;
  auto said = detail::ask_again(at_.deadline(call), {}, [&](const call_options& each) {
    sent = clock_->now();
    return at_.client().idempotency_claim(at_.object(), key, payload, owner, how_.lease, each);
  });
  if (said) return concluded(*std::move(said), owner, key, sent);
  return std::move(said).template without_answer<claimed, idempotency_conflict>();
}

template <encodable R, class E>
auto basic_idempotency_store<R, E>::concluded(idempotency_claim said, const unique_id& owner,
                                              std::string_view key,
                                              boot_clock::time_point sent) const -> claim_outcome {
  switch (said.what) {
    case idempotency_claim::state::claimed: {
      claimed mine;
      mine.run.emplace(ticket(*this, key, owner, said.attempt, sent));
      return mine;
    }
    case idempotency_claim::state::busy:
      return conflicting{idempotency_conflict{idempotency_outcome::in_flight, said.remaining}};
    case idempotency_claim::state::mismatch:
      return conflicting{idempotency_conflict{idempotency_outcome::payload_mismatch, {}}};
    case idempotency_claim::state::done:
      break;
  }
  std::optional<R> response = codec<R>::decode(said.response);
  if (response) {
    claimed before;
    before.known.emplace(answer{*std::move(response), idempotency_outcome::replayed, said.attempt});
    return before;
  }
  std::string detail = "the answer that is kept does not decode: ";
  detail += detail::printable(said.response);
  return refusal(at_.failed(errc::bad_value, "idempotency_store.claim", std::move(detail),
                            "look for a writer of another type"));
}

template <encodable R, class E>
template <class F>
auto basic_idempotency_store<R, E>::run(std::string_view key, fingerprint payload, F&& f,
                                        const call_options& call, inplace_stop_token stop) const
    -> result {
  const unique_id owner = unique_id::fresh();
  const auto until =
      clock_->now() + std::clamp<std::chrono::milliseconds>(how_.wait, std::chrono::milliseconds(0),
                                                            std::chrono::hours(24 * 365));
  detail::sleeper rest(stop);
  for (;;) {
    if (stop.stop_requested()) {
      return refusal(
          at_.failed(errc::cancelled, "idempotency_store.run", "the stop was requested", ""));
    }
    claim_outcome said = claim_as(owner, key, payload, call);
    if (said) {
      if (said->known) return *std::move(said->known);
      return execute(*std::move(said->run), f, call);
    }
    const bool busy = said.conflicted() && said.conflict().why == idempotency_outcome::in_flight;
    if (!busy || clock_->now() >= until) return std::move(said).template without_answer<answer>();
    const auto most = std::min(how_.poll, said.conflict().remaining);
    rest.until(*clock_, std::min(until, clock_->now() + detail::poll_pause(most)));
  }
}

template <encodable R, class E>
template <class F>
auto basic_idempotency_store<R, E>::execute(ticket mine, F& f, const call_options& call) const
    -> result {
  const std::uint64_t attempt = mine.attempt();
  if (!mine.kept_.holds()) {
    return refusal(at_.failed(errc::lease_lost, "idempotency_store.run",
                              "the lease was over before the claim's answer came",
                              "give it a longer lease"));
  }
  R response = [&]() -> R {  // what it throws drops the ticket, which frees the key
    if constexpr (std::is_invocable_v<F&, ticket&>) {
      return f(mine);
    } else {
      return f();
    }
  }();
  const bool open = mine.attempt_ != 0;
  if (!open && !mine.settled_) {
    return doubt(at_.failed(errc::engine_failure, "idempotency_store.run",
                            "the function handed its ticket on, and nobody knows its end here",
                            "settle the ticket in the function, or leave it"));
  }
  outcome<nothing> said = open ? mine.complete(response, call) : *mine.settled_;
  if (said) return answer{std::move(response), idempotency_outcome::executed, attempt};
  if (said.conflicted()) {
    return conflicting{idempotency_conflict{idempotency_outcome::lost_ownership, {}}};
  }
  if (said.refused()) return doubt(said.error());  // f ran: this is no refusal of the request
  return std::move(said).template without_answer<answer, idempotency_conflict>();
}

}  // namespace interlock::store
