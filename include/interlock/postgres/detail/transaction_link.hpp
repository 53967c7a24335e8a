// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/detail/transaction_link.hpp - one attempt at a transaction: its connection,
// and what its end means.
//
// BEGIN goes with the first statement, and what needs no answer goes with COMMIT, so an attempt is
// one round trip for each answer that the body waits for, and one more. Before COMMIT was sent a
// lost connection means that nothing was done.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pipeline.hpp"
#include "session.hpp"

namespace interlock::postgres::detail {

struct attempt_lost {};  // leaves the body: this attempt cannot succeed

class transaction_link {
public:
  transaction_link(session& of, pool::lease at, const call_deadline& deadline,
                   const store::operation_id& id)
      : session_(&of),
        deadline_(deadline),
        call_{id, {}},
        lease_(std::move(at)),
        line_(std::make_unique<pipeline>(*lease_, of.statements())),
        deaf_(!of.prepares()) {}
  // Effects: rolls back, unless it ended.
  ~transaction_link() { leave(); }
  transaction_link(const transaction_link&) = delete;
  transaction_link& operator=(const transaction_link&) = delete;

  [[nodiscard]] session& of() const noexcept { return *session_; }
  // Returns: whether the body is on its way out, or should be.
  [[nodiscard]] bool ended() const noexcept { return ended_; }
  // Returns: why another attempt makes no sense; null if it does.
  [[nodiscard]] const std::optional<answer>& failed() const noexcept { return failed_; }
  // Returns: whether a row was there that should not be, and a read before had not seen it, or it
  //          may be of the same id.
  [[nodiscard]] bool was_duplicate() const noexcept { return duplicate_; }
  // Returns: the answer that was kept under the id, if there is one.
  [[nodiscard]] const std::optional<std::string>& kept() const noexcept { return kept_; }

  [[nodiscard]] request asks(const char* operation, std::string_view object = {}) const {
    return {operation, object, call_, deadline_, false};
  }
  // Effects: goes with the next round trip.
  void defer(const request& by, statement s, const parameters& given) {
    check(by, given);
    begin();
    records_ = records_ || session::leaves_records(s);
    line_->add(s, given);
    ++queued_;
  }
  // Effects: runs what was put off, and this. Returns: its rows.
  // Throws: attempt_lost.
  const result& run(const request& by, statement s, const parameters& given) {
    defer(by, s, given);
    return exchange(by);
  }
  const result& run_text(const request& by, const char* sql, const std::vector<const char*>& values,
                         const std::vector<int>& lengths, const std::vector<int>& formats) {
    if (ended_) throw attempt_lost();
    begin();
    deaf_ = true;
    line_->add_text(sql, values, lengths, formats);
    ++queued_;
    return exchange(by, true);
  }

  // Effects: the connection is not used after this transaction.
  void close_after() noexcept { altered_ = true; }

  // Effects: asks what was kept under the id, if the body went before any round could.
  // Returns: whether this attempt ends by that: there is something, or the connection is lost.
  [[nodiscard]] bool ends_as_before();

  // Effects: commits; with `kept`, under the id.
  // Returns: false if another attempt is to be made, or failed() says why none is.
  [[nodiscard]] bool commit(std::optional<std::string_view> kept);
  [[noreturn]] void fail(const request& by, errc code, std::string_view detail,
                         std::string_view remedy) {
    failed_.emplace(refusal(session::error_of(by, code, detail, remedy)));
    lose();
  }

private:
  [[noreturn]] void lose() {
    ended_ = true;
    throw attempt_lost();
  }
  void check(const request& by, const parameters& given) {
    if (ended_) throw attempt_lost();
    auto wrong = session_->wrong_with(by, given);
    if (!wrong) return;
    failed_.emplace(refusal(*std::move(wrong)));
    lose();
  }
  void begin();
  // `text`: the last statement is the program's own.
  const result& exchange(const request& by, bool text = false);
  void note_failure(const request& by, const reply& came, bool text = false);
  // Returns: whether a constraint to have something once was in the way.
  [[nodiscard]] static bool is_duplicate(std::string_view state) noexcept {
    return state == "23505" || state == "23P01";
  }
  void look_up();
  void leave() noexcept;

  session* session_;
  const call_deadline deadline_;
  const call_options call_;
  pool::lease lease_;
  std::unique_ptr<pipeline> line_;  // null once it has ended
  bool begun_ = false;
  bool looked_up_ = false;
  bool ended_ = false;
  bool drop_ = false;     // the connection
  bool altered_ = false;  // the connection was, by the body
  bool deaf_;             // it may not be told of what COMMIT warns of
  bool records_ = false;  // it leaves rows that grow old
  bool committed_ = false;
  bool duplicate_ = false;
  std::size_t queued_ = 0;  // of this round
  std::size_t answers_ = 0;
  std::optional<std::string> kept_;
  std::int64_t age_ = 0;  // of it, in milliseconds
  std::optional<answer> failed_;
};

inline void transaction_link::begin() {
  if (std::exchange(begun_, true)) return;
  line_->add("begin isolation level serializable", parameters());
  ++queued_;
  if (!call_.id) return;
  parameters who;
  line_->add(statement::run_find, who.id(call_.id.session));
  ++queued_;
}

inline const result& transaction_link::exchange(const request& by, bool text) {
  const reply came = line_->exchange(deadline_);
  const std::size_t last = std::exchange(queued_, 0) - 1;
  // What was done under the id before may well be why the first statement failed.
  const bool said = came.what == fate::answered || came.what == fate::failed;
  if (said && !line_->streams() && line_->count() > 1) look_up();
  if (came.what != fate::answered) {
    note_failure(by, came, text);
    lose();
  }
  ++answers_;
  if (PQtransactionStatus(lease_->get()) != PQTRANS_INTRANS) {
    drop_ = true;
    failed_.emplace(store::doubt(session::error_of(by, errc::bad_argument,
                                                   "the statement ended the transaction",
                                                   "leave that to the transaction")));
    lose();
  }
  return line_->rows(last);
}

// Effects: takes note of what the first round found under the id.
inline void transaction_link::look_up() {
  if (!call_.id || std::exchange(looked_up_, true)) return;
  const result& found = line_->rows(1);
  if (PQntuples(found.get()) == 0) return;
  const std::uint64_t last = count_in(found, 0, 0);
  if (last < call_.id.sequence) return;
  if (last == call_.id.sequence) {
    kept_ = std::string(bytes_in(found, 0, 1));
    age_ = number_in(found, 0, 2);
    lose();
  }
  fail(asks("transaction.begin"), errc::expired, "the session has had a later answer since",
       "what became of this transaction is not known any more");
}

inline bool transaction_link::ends_as_before() {
  if (!call_.id || looked_up_ || drop_ || (begun_ && queued_ == 0)) return false;
  std::optional<answer> why = std::exchange(failed_, std::nullopt);
  try {
    begin();
    (void)exchange(asks("transaction.begin"));
  } catch (const attempt_lost&) {
    if (kept_ || !failed_ || failed_->code() == errc::expired) return true;
  }
  ended_ = true;
  failed_ = std::move(why);
  return false;
}

// Effects: takes note of a round that failed before COMMIT: nothing was done.
inline void transaction_link::note_failure(const request& by, const reply& came, bool text) {
  ended_ = true;
  if (line_->streams()) {
    drop_ = true;
    failed_.emplace(refusal(session::error_of(by, errc::bad_argument,
                                              "COPY moves rows outside of statements",
                                              "copy on a connection of your own")));
  } else if (came.what == fate::late) {
    drop_ = true;
    failed_.emplace(refusal(session::error_of(by, errc::timed_out, "no answer by the deadline",
                                              "nothing was done; give it more time")));
  } else if (came.what != fate::failed) {
    drop_ = true;  // another attempt on another connection
  } else if (is_duplicate(state_of(came.rows.get())) && (answers_ != 0 || call_.id)) {
    duplicate_ = true;
    failed_.emplace(refusal(session::error_of(by, errc::engine_failure, said_in(came.rows.get()),
                                              "the row is there already")));
  } else if (text && line_->came_to_last() && is_mistake(state_of(came.rows.get()))) {
    failed_.emplace(refusal(session::error_of(by, errc::bad_argument, said_in(came.rows.get()),
                                              is_missing(state_of(came.rows.get()))
                                                  ? "make what the statement names, or correct it"
                                                  : "correct the statement, or what it is given")));
  } else {
    session::verdict judged = session_->judge(by, came, *lease_, false);
    drop_ = drop_ || judged.broken;
    if (judged.is) failed_.emplace(*std::move(judged.is));
  }
}

inline bool transaction_link::commit(std::optional<std::string_view> kept) {
  const request by = asks("transaction.commit");
  if (ended_) return false;
  if (!begun_ && !call_.id) return true;  // nothing was asked for
  try {
    if (call_.id && !looked_up_) {
      begin();
      (void)exchange(by);
    }
    if (call_.id) {
      parameters record;
      record.id(call_.id.session).number(call_.id.sequence).value(kept);
      defer(by, statement::run_record, record);
    }
  } catch (const attempt_lost&) {
    return false;
  }
  if (deadline_.passed()) {
    ended_ = true;
    failed_.emplace(refusal(session::error_of(by, errc::timed_out,
                                              "the deadline passed before COMMIT was sent",
                                              "nothing was done; give it more time")));
    return false;
  }
  if (deaf_) {
    line_->add(hears_warnings, parameters());
    ++queued_;
  }
  line_->add("commit", parameters());
  const std::size_t before = std::exchange(queued_, 0);
  const reply came = line_->exchange(deadline_);
  ended_ = true;
  // The error of a statement before it, which COMMIT did not follow; or that of COMMIT itself.
  const bool reached = came.what == fate::unanswered || came.what == fate::late ||
                       (came.what == fate::failed && line_->came_to_last() &&
                        fault_of(state_of(came.rows.get())).broken);
  if (came.what == fate::answered && !lease_->unreplicated()) {
    begun_ = false;
    const result& last = line_->rows(before);
    if (std::string_view(PQcmdStatus(last.get())) == "COMMIT") return committed_ = true;
    failed_.emplace(refusal(session::error_of(by, errc::engine_failure, "it was rolled back",
                                              "see the log of the server")));
    return false;
  }
  if (!reached && came.what == fate::failed) {
    note_failure(by, came);
    return false;
  }
  drop_ = came.what != fate::answered;
  begun_ = drop_;
  const bool alone = came.what == fate::answered;
  failed_.emplace(store::doubt(
      session::error_of(by,
                        alone                     ? errc::killed
                        : came.what == fate::late ? errc::timed_out
                                                  : errc::connection_lost,
                        alone ? "the wait for a synchronous standby was ended: it is on this "
                                "server alone"
                              : "COMMIT was sent and not answered",
                        call_.id ? "run it again under the same operation id"
                                 : "read what it changed, or give transactions an operation id"),
      call_.id));
  return false;
}

// Effects: rolls back if there is something to, deletes what is old, and lets go of the connection.
inline void transaction_link::leave() noexcept {
  if (line_ == nullptr) return;
  bool usable = !drop_ && lease_->usable();
  try {
    if (usable && begun_) {
      line_->add("rollback", parameters());
      usable = line_->exchange(deadline_).what == fate::answered;
    }
    line_.reset();
    if (usable && !altered_ && kept_ && session_->grows_old(age_)) {
      parameters who;  // noted that it was asked for again; what comes of that is nobody's concern
      who.bytes("").number(std::int64_t{100}).id(call_.id.session);
      (void)lease_->run(session_->statements(),
                        static_cast<std::size_t>(statement::operation_touch), who, deadline_);
    }
    if (usable && !altered_ && committed_ && records_) session_->prune(*lease_, deadline_);
  } catch (...) {  // no memory
    line_.reset();
    usable = false;
  }
  if (!usable || altered_) lease_.discard();  // one that is not settled goes by itself
}

}  // namespace interlock::postgres::detail
