// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/detail/session.hpp - what the copies of one client share: its connections, its
// statements, the data set that it knows, and the way of a request to an outcome.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "../../store/client_options.hpp"
#include "../../store/codec.hpp"
#include "../../store/detail/backoff.hpp"
#include "../../store/detail/connection_pool.hpp"
#include "../../store/detail/names.hpp"
#include "../../store/detail/offload.hpp"
#include "../../store/protocol.hpp"
#include "../settings.hpp"
#include "connection.hpp"
#include "pipeline.hpp"
#include "probe.hpp"
#include "schema.hpp"

namespace interlock::postgres::detail {

using store::call_options;
using store::errc;
using store::error;
using store::nothing;
using store::object_kind;
using store::outcome;
using store::refusal;
using store::unique_id;
using pool = store::detail::connection_pool<connection>;

inline constexpr const char* engine = "postgres";

// Before COMMIT, which warns if it is on this server alone.
inline constexpr const char* hears_warnings = "set local client_min_messages = warning";

// What a request is about, for statements and for messages.
struct request {
  const char* operation;
  std::string_view object;
  const call_options& call;
  const call_deadline& deadline;
  mutable bool first = true;  // nothing was sent yet: no look at the clock is needed
};

// What came of a request: rows, or why there are none, which any outcome takes.
class [[nodiscard]] answer {
public:
  explicit answer(result rows) noexcept : rows_(std::move(rows)) {}
  answer(refusal why) noexcept : why_(std::move(why.why)) {}
  answer(store::doubt why) noexcept : why_(std::move(why.why)), unknown_(true), id_(why.id) {}
  // The answer that was kept under an id, and for how many milliseconds.
  answer(std::int64_t kept, std::int64_t age) noexcept : kept_(kept), age_(age) {}

  [[nodiscard]] bool ok() const noexcept { return why_ == nullptr; }
  [[nodiscard]] bool any() const noexcept { return kept_ || PQntuples(rows_.get()) != 0; }
  [[nodiscard]] int count() const noexcept { return PQntuples(rows_.get()); }
  [[nodiscard]] const result& rows() const noexcept { return rows_; }
  // Preconditions: any(), and the statement gives an `answer`.
  [[nodiscard]] std::int64_t number() const noexcept {
    return kept_ ? *kept_ : number_in(rows_, 0, 0);
  }
  // Returns: how long ago the id was asked for last, in milliseconds; 0 if nothing was kept.
  [[nodiscard]] std::int64_t age() const noexcept { return age_; }
  [[nodiscard]] const error& why() const noexcept { return *why_; }
  [[nodiscard]] errc code() const noexcept { return why_->code; }
  [[nodiscard]] bool unknown() const noexcept { return unknown_; }
  // Returns: whether it is a refusal of the server's, for a reason of the request's.
  [[nodiscard]] bool by_server() const noexcept { return by_server_; }
  [[nodiscard]] static answer refused_by_server(error why) {
    answer made = refusal(std::move(why));
    made.by_server_ = true;
    return made;
  }

  // Preconditions: not ok().
  template <class T, class C>
  operator outcome<T, C>() const {
    if (unknown_) return store::doubt(*why_, id_);
    return refusal(*why_);
  }

private:
  result rows_;
  std::optional<std::int64_t> kept_;
  std::int64_t age_ = 0;
  std::shared_ptr<const error> why_;
  bool unknown_ = false;
  bool by_server_ = false;
  store::operation_id id_;
};

class session {
public:
  // Throws: failure.
  session(std::string address, store::client_options options, settings how);

  [[nodiscard]] const store::client_options& options() const noexcept { return options_; }
  [[nodiscard]] const statement_set& statements() const noexcept { return statements_; }
  [[nodiscard]] const std::string& schema() const noexcept { return schema_; }
  [[nodiscard]] bool prepares() const noexcept { return statements_.prepare; }
  [[nodiscard]] store::detail::offload_threads& threads() noexcept { return threads_; }
  [[nodiscard]] pool& connections() noexcept { return pool_; }
  [[nodiscard]] store::probed_guarantees probed() const {
    const std::lock_guard lock(mutex_);
    return probed_;
  }
  [[nodiscard]] std::string incarnation() const {
    const std::lock_guard lock(mutex_);
    return incarnation_;
  }
  // Effects: goes on with the data set that is there, or makes one.
  // Throws: failure.
  void accept_history() {
    const call_deadline deadline(options_.timeout);
    begin(deadline);
    pool_.renew();  // what was connected before may be to another server
  }

  // Effects: runs one statement, again if others were in its way, until the deadline.
  // Returns: its rows; or refused, or for one that writes, unknown.
  [[nodiscard]] answer write(const request& asked, statement s, parameters& given) {
    const auto index = static_cast<std::size_t>(s);
    if (!asked.call.id) return run(asked, index, given, true);
    given.id(asked.call.id.session).number(asked.call.id.sequence);
    return run(asked, index + statement_count, given, true);
  }
  [[nodiscard]] answer read(const request& asked, statement s, const parameters& given) {
    return run(asked, static_cast<std::size_t>(s), given, false);
  }
  // Effects: the same for one that changes something harmless to repeat, or takes its id itself.
  [[nodiscard]] answer change(const request& asked, statement s, const parameters& given) {
    return run(asked, static_cast<std::size_t>(s), given, true);
  }
  // Effects: the same in a transaction of its own, serializable with those of programs.
  [[nodiscard]] answer transact(const request& asked, statement s, const parameters& given) {
    return run(asked, static_cast<std::size_t>(s), given, true, true);
  }

  // Returns: what is wrong with parameters that no statement takes.
  [[nodiscard]] std::optional<error> wrong_with(const request& asked,
                                                const parameters& given) const;
  [[nodiscard]] static error error_of(const request& asked, errc code, std::string_view detail,
                                      std::string_view remedy) {
    return {code,
            engine,
            asked.operation,
            store::detail::printable(asked.object),
            std::string(detail),
            std::string(remedy)};
  }

  // Returns: whether an id that is asked for again after so many milliseconds has to be noted, so
  //          that it is kept for as long as was said.
  [[nodiscard]] bool grows_old(std::int64_t age) const noexcept {
    return age > std::max<std::int64_t>(options_.retention.count() / 4, 0);  // see prune()
  }
  [[nodiscard]] static refusal of_another(const request& asked) {
    return refusal(error_of(asked, errc::bad_argument, "the id is of another operation",
                            "give each operation an id of its own"));
  }

  // What a failed reply comes to.
  struct verdict {
    std::optional<answer> is;  // none: try again
    bool broken = false;       // the connection is to be dropped
  };
  [[nodiscard]] verdict judge(const request& asked, const reply& came, const connection& by,
                              bool writes) const;

  // Returns: whether the statement, without an id, makes rows that grow old.
  [[nodiscard]] static constexpr bool leaves_records(statement s) noexcept {
    return s == statement::idempotency_claim || s == statement::queue_push ||
           s == statement::run_record || s == statement::run_claim;
  }
  // Effects: after one that left such rows: now and then deletes some that are old. What comes of
  //          that is nobody's concern.
  void prune(connection& at, const call_deadline& deadline);

private:
  [[nodiscard]] answer run(const request& asked, std::size_t index, const parameters& given,
                           bool writes, bool serializable = false);
  [[nodiscard]] reply serialize(connection& at, statement s, const parameters& given,
                                const call_deadline& deadline);
  [[nodiscard]] pool::made connect(const call_deadline& deadline);
  void begin(const call_deadline& deadline);
  [[nodiscard]] std::unique_ptr<connection> open(const call_deadline& deadline);
  [[nodiscard]] std::optional<std::string> data_set_of(connection& at,
                                                       const call_deadline& deadline);
  void make_tables(connection& at, const call_deadline& deadline);
  [[noreturn]] void fail(errc code, std::string_view detail, std::string_view remedy) const {
    throw store::failure(
        {code, engine, "client", options_.prefix, std::string(detail), std::string(remedy)});
  }
  [[noreturn]] void fail(const reply& came, const connection& at) const;

  const std::string address_;
  const store::client_options options_;
  const settings how_;
  const std::string schema_;  // "\"prefix\"."
  statement_set statements_;
  mutable std::mutex mutex_;  // protects the next two
  std::string incarnation_;
  store::probed_guarantees probed_;
  pool pool_;
  store::detail::offload_threads threads_;  // the first to go: it may use all the others
};

inline std::optional<error> session::wrong_with(const request& asked,
                                                const parameters& given) const {
  if (given.bad_key()) {
    return store::detail::bad_name(engine, asked.operation, *given.bad_key(), "key");
  }
  if (given.too_high()) {
    return error_of(asked, errc::bad_argument, "a number is over 2^63 - 1", "give a smaller one");
  }
  return store::detail::bad_size(engine, asked.operation, asked.object, given.largest(),
                                 options_.max_value_bytes);
}

// Effects: runs the statement between BEGIN and COMMIT, in one round trip.
inline reply session::serialize(connection& at, statement s, const parameters& given,
                                const call_deadline& deadline) {
  if (at.broken()) return {fate::not_sent, {}};
  pipeline line(at, statements_);
  line.add("begin isolation level serializable", parameters());
  line.add(s, given);
  if (!prepares()) line.add(hears_warnings, parameters());
  line.add("commit", parameters());
  reply came = line.exchange(deadline);
  if (came.what == fate::answered) {
    came.rows = line.take(1);
  } else if (came.what == fate::failed) {
    const bool ended = fault_of(state_of(came.rows.get())).broken;
    if (ended && line.came_to_last()) came.what = fate::unanswered;
    if (!ended && PQtransactionStatus(at.get()) != PQTRANS_IDLE) {
      line.add("rollback", parameters());
      (void)line.exchange(deadline);
    }
  }
  return came;
}

inline answer session::run(const request& asked, std::size_t index, const parameters& given,
                           bool writes, bool serializable) {
  if (given.bad_key() || given.too_high() || given.largest() > options_.max_value_bytes) {
    return refusal(*wrong_with(asked, given));
  }
  std::optional<store::detail::backoff> pace;
  for (;;) {
    auto got = pool_.checkout(asked.deadline, asked.operation, asked.object);
    if (!got.applied()) return refusal(got.error());
    connection& at = **got;
    const bool first = std::exchange(asked.first, false) && got->at_once();
    if (!first && asked.deadline.passed()) {
      return refusal(error_of(asked, errc::timed_out, "the deadline passed before it was sent",
                              "nothing was done; give the call a longer timeout"));
    }
    reply came = serializable ? serialize(at, static_cast<statement>(index), given, asked.deadline)
                              : at.run(statements_, index, given, asked.deadline, first);
    if (came.what == fate::answered && !at.unreplicated()) {
      const bool kept = writes && asked.call.id;
      if (kept || leaves_records(static_cast<statement>(index))) prune(at, asked.deadline);
      if (!at.usable()) got->discard();
      return answer(std::move(came.rows));
    }
    verdict judged = judge(asked, came, at, writes);
    if (judged.broken || PQtransactionStatus(at.get()) != PQTRANS_IDLE) got->discard();
    if (judged.is) return *std::move(judged.is);
    if (!pace) pace.emplace(std::chrono::milliseconds(1), std::chrono::milliseconds(50));
    if (!store::detail::pause(*pace, asked.deadline.at())) {
      return refusal(error_of(asked, fault_of(state_of(came.rows.get())).code,
                              said_in(came.rows.get()), "give the call a longer timeout"));
    }
  }
}

inline session::verdict session::judge(const request& asked, const reply& came,
                                       const connection& by, bool writes) const {
  const auto uncertain = [&](errc code, std::string_view detail) -> answer {
    error why = error_of(asked, code, detail,
                         asked.call.id ? "ask again with the same operation id"
                                       : "read the object, or give calls an operation id");
    if (!writes) return refusal(std::move(why));
    return store::doubt(std::move(why), asked.call.id);
  };
  switch (came.what) {
    case fate::answered:
      return {uncertain(errc::killed,
                        "the wait for a synchronous standby was ended: it is on this "
                        "server alone"),
              false};
    case fate::late:
      return {uncertain(errc::timed_out, "no answer by the deadline"), true};
    case fate::unanswered:
      if (!writes && fault_of(state_of(came.rows.get())).again) return {std::nullopt, true};
      return {uncertain(errc::connection_lost, by.said()), true};
    case fate::not_sent:
      return {refusal(error_of(asked, by.late() ? errc::timed_out : errc::not_connected, by.said(),
                               "nothing was done: try again")),
              true};
    case fate::failed:
      break;
  }
  const std::string_view state = state_of(came.rows.get());
  if (state == "IL001") {
    const std::string_view kept = PQresultErrorField(came.rows.get(), PG_DIAG_MESSAGE_PRIMARY);
    const std::size_t colon = kept.find(':'), second = kept.rfind(':');
    const auto sequence = store::codec<std::uint64_t>::decode(kept.substr(0, colon));
    const auto number =
        store::codec<std::int64_t>::decode(kept.substr(colon + 1, second - colon - 1));
    const auto age = store::codec<std::int64_t>::decode(kept.substr(second + 1));
    if (sequence == asked.call.id.sequence && number) {
      return {answer(*number, age.value_or(0)), false};
    }
    return {refusal(error_of(asked, errc::expired, "the session has had a later answer since",
                             "read the object: what became of this request is not known any "
                             "more")),
            false};
  }
  if (state == "IL002") return {of_another(asked), false};
  const fault meant = fault_of(state);
  if (meant.again) return {std::nullopt, meant.broken || by.broken()};
  return {answer::refused_by_server(
              error_of(asked, meant.code, said_in(came.rows.get()), meant.remedy)),
          meant.broken || by.broken()};
}

}  // namespace interlock::postgres::detail

#include "session_start.hpp"
