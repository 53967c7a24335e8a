// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/client.hpp - PostgreSQL as an engine: all types of stores in its tables.
//
// Problem     Several machines count, lock and queue through one database that is there already.
// Guarantee   PostgreSQL does once what is asked for twice under one id.
//             PostgreSQL refuses an id that is older than its session as expired.
//             A client of PostgreSQL that finds another data set is refused until it accepts that.
//             What was sent to PostgreSQL and not answered is unknown and never refused.
//             What is promised follows from the settings of PostgreSQL.
//             A commit whose wait for a standby was cancelled is unknown.
// Outcomes    conflict as the protocol says. refused: the server said no, and nothing was done.
//             unknown: no answer by the deadline, the connection broke, or the wait for a
//             synchronous standby was cancelled.
// Durability  power_loss with fsync, full_page_writes and synchronous_commit on; failover with a
//             synchronous standby too; none with synchronous_commit off. probed() says which.
// Progress    Blocks on the socket, until the deadline of the call. The server orders those who
//             change one row. A commit of several cells is SERIALIZABLE, and is sent again on
//             40001; what asks for one object is READ COMMITTED.
// Cost        A round trip of one prepared statement; two where it finds a conflict. Parameters
//             and results are binary. An id costs the server about 25 us more.
// Lifetime    Copies are handles to one client. Awaited calls keep it.
// Not for     Standbys: they cannot write, and their reads are late. Counts of millions a second.
//
// Example     // examples/engines/postgres_client.cpp
//             postgres::client db(address, {.prefix = "shop"});
//             const auto hits = db.object_named(store::object_kind::counter, "hits");
//             const auto first = db.counter_add(hits, 5, {.id = id});
//             const auto again = db.counter_add(hits, 5, {.id = id});  // the same answer

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../store/client_options.hpp"
#include "../store/protocol.hpp"
#include "detail/session.hpp"
#include "settings.hpp"

namespace interlock::postgres {
namespace detail {
struct transaction_run;
}

class client {
  using call_options = store::call_options;
  using unique_id = store::unique_id;
  using nothing = store::nothing;
  using milliseconds = std::chrono::milliseconds;
  using text = std::string_view;
  template <class T, class C = nothing>
  using outcome = store::outcome<T, C>;

public:
  static constexpr store::guarantees claims = detail::best;
  static constexpr const char* engine_name = detail::engine;

  class object {
  public:
    [[nodiscard]] text name() const noexcept { return name_; }

  private:
    friend client;
    explicit object(text name) : name_(name) {}

    std::string name_;
  };

  // Effects: connects, and makes the schema that is named as the prefix, and its tables, if they
  //          are not there. `address`: postgresql://user@host/database?sslmode=verify-full or
  //          "host=... dbname=..."; what it leaves out, libpq takes from PGHOST and so on.
  // Throws: failure: bad_address, not_connected, access_denied, read_only, wrong_schema,
  //         guarantee_not_met and what else may be in the way, each with its remedy.
  explicit client(std::string address, store::client_options options = {}, settings how = {})
      : session_(std::make_shared<detail::session>(std::move(address), std::move(options),
                                                   std::move(how))) {}

  // Effects: goes on with the data set that is there now, or makes one.
  // Throws: failure, as the constructor.
  void accept_history() { session_->accept_history(); }
  // Effects: calls are refused from now on, in all copies. What is in use ends its call first.
  void close() noexcept { session_->connections().close(); }

  [[nodiscard]] const store::client_options& options() const noexcept {
    return session_->options();
  }
  [[nodiscard]] store::probed_guarantees probed() const { return session_->probed(); }
  [[nodiscard]] std::string incarnation() const { return session_->incarnation(); }
  // Throws: failure (bad_argument, too_large).
  [[nodiscard]] object object_named(store::object_kind kind, text name) const {
    store::detail::require_none(store::detail::bad_name(engine_name, store::to_string(kind), name));
    return object(name);
  }
  template <class F>
  void offload(F&& f) {
    session_->threads().execute(std::forward<F>(f));
  }

  // Operations: see store/protocol.hpp.
  outcome<std::int64_t> counter_add(const object& at, std::int64_t n, const call_options& call);
  outcome<std::int64_t> counter_load(const object& at, const call_options& call);
  outcome<std::int64_t> counter_exchange(const object& at, std::int64_t to,
                                         const call_options& call);

  outcome<store::bounded_state> bounded_open(const object& at, store::bounded_state as,
                                             const call_options& call);
  outcome<std::int64_t, store::bounded_state> bounded_add(const object& at, std::int64_t n,
                                                          const call_options& call);
  outcome<store::bounded_state> bounded_load(const object& at, const call_options& call);

  outcome<store::cell_state> cell_load(const object& at, const call_options& call);
  outcome<std::vector<store::cell_state>> cells_load(std::span<const object* const> all,
                                                     const call_options& call);
  outcome<std::uint64_t, store::cell_state> cell_put(const object& at,
                                                     std::optional<std::uint64_t> expected,
                                                     std::optional<text> bytes,
                                                     const call_options& call);
  outcome<std::uint64_t, store::cell_conflict> cells_commit(
      std::span<const store::cell_check<object>> checks,
      std::span<const store::cell_write<object>> writes, const call_options& call);

  outcome<store::lease_grant, store::lease_busy> lease_acquire(const object& at,
                                                               const unique_id& owner,
                                                               milliseconds lease,
                                                               const call_options& call);
  outcome<nothing> lease_renew(const object& at, const unique_id& owner, std::uint64_t fence,
                               milliseconds lease, const call_options& call);
  outcome<nothing> lease_release(const object& at, const unique_id& owner, std::uint64_t fence,
                                 const call_options& call);
  outcome<store::lease_grant> lease_raise(const object& at, const unique_id& owner,
                                          std::uint64_t fence, std::uint64_t above,
                                          const call_options& call);

  outcome<store::fenced_state, store::stale_fence> fenced_open(const object& at,
                                                               std::uint64_t fence,
                                                               const unique_id& owner,
                                                               const call_options& call);
  outcome<nothing, store::stale_fence> fenced_write(const object& at, std::uint64_t fence,
                                                    const unique_id& owner, text bytes,
                                                    const call_options& call);

  outcome<store::idempotency_claim> idempotency_claim(const object& at, text key, fingerprint print,
                                                      const unique_id& owner, milliseconds lease,
                                                      const call_options& call);
  outcome<nothing> idempotency_complete(const object& at, text key, const unique_id& owner,
                                        std::uint64_t attempt, text response, milliseconds keep,
                                        const call_options& call);
  outcome<nothing> idempotency_release(const object& at, text key, const unique_id& owner,
                                       std::uint64_t attempt, const call_options& call);
  outcome<nothing> idempotency_heartbeat(const object& at, text key, const unique_id& owner,
                                         std::uint64_t attempt, milliseconds lease,
                                         const call_options& call);

  outcome<std::uint64_t> queue_push(const object& at, text key, text payload,
                                    const call_options& call);
  outcome<store::queue_item, store::queue_idle> queue_take(const object& at, const unique_id& owner,
                                                           milliseconds lease, std::uint64_t most,
                                                           const call_options& call);
  outcome<nothing> queue_finish(const object& at, text key, const unique_id& owner,
                                std::uint64_t attempt, const call_options& call);
  outcome<nothing> queue_give_back(const object& at, text key, const unique_id& owner,
                                   std::uint64_t attempt, milliseconds delay,
                                   const call_options& call);
  outcome<nothing> queue_heartbeat(const object& at, text key, const unique_id& owner,
                                   std::uint64_t attempt, milliseconds lease,
                                   const call_options& call);
  outcome<std::vector<store::queue_item>> queue_set_aside(const object& at, std::uint64_t most,
                                                          const call_options& call);
  outcome<std::uint64_t> queue_restore(const object& at, text key, std::uint64_t sequence,
                                       const call_options& call);
  outcome<store::queue_depth> queue_depth(const object& at, const call_options& call);

  outcome<nothing, store::mirror_row> mirror_put(const object& at, text key, mirror_version version,
                                                 std::optional<text> bytes,
                                                 const call_options& call);
  outcome<store::mirror_row> mirror_get(const object& at, text key, const call_options& call);

private:
  friend class transaction;
  friend struct detail::transaction_run;
  using statement = detail::statement;

  // One call: its deadline, and what it is about.
  struct asking {
    asking(const client& by, const char* operation, const object& at, const call_options& call)
        : session(*by.session_),
          deadline(call, session.options().timeout),
          what{operation, at.name(), call, deadline, true} {}
    // Effects: notes that the id was asked for again, if that is due. What comes of it is nobody's
    //          concern: the answer is known.
    void note(statement s, const detail::answer& before) const;
    // Returns: of a try that did nothing, the answer of an earlier one under the same id, if that
    //          did it; unknown, if that could not be found out.
    [[nodiscard]] std::optional<detail::answer> earlier(statement s) const;
    // Returns: the same of a try that the server refused; else what came.
    [[nodiscard]] detail::answer settled(detail::answer came, statement s) const;
    // Effects: runs one that changes something. Returns: its rows, settled().
    [[nodiscard]] detail::answer write(statement s, detail::parameters& given) const;
    // Effects: runs one that gives a row if it was done, and is a conflict with nothing if not.
    template <class T>
    [[nodiscard]] outcome<T> done(statement s, detail::parameters& given) const;
    // Returns: a refusal of this call.
    [[nodiscard]] store::refusal no(store::errc code, text detail, text remedy) const {
      return store::refusal(detail::session::error_of(what, code, detail, remedy));
    }

    detail::session& session;
    detail::call_deadline deadline;
    detail::request what;
  };

  std::shared_ptr<detail::session> session_;
};

}  // namespace interlock::postgres

#include "detail/client_keys.hpp"
#include "detail/client_leases.hpp"
#include "detail/client_numbers.hpp"
