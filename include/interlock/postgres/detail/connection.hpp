// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/detail/connection.hpp - one connection of libpq: a statement and its answer by
// a deadline.
//
// A request goes out at once, then poll() waits: one look at the clock per call, and another each
// time that poll() comes back before the answer is complete. The answer is complete when the server
// is ready again: a statement outside a transaction commits after its rows were sent, and an error
// of the commit follows them. A connection that missed a deadline or broke is of no more use.

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "../../store/detail/deadline.hpp"
#include "faults.hpp"
#include "statements.hpp"
#include "wire.hpp"

namespace interlock::postgres::detail {

using store::detail::call_deadline;

enum class fate : std::uint8_t {
  answered,    // `rows` are what came of it
  failed,      // the server refused: `rows` say why; nothing was done
  not_sent,    // the connection was broken before
  unanswered,  // the connection broke, or the server ended, before the answer; it may say why
  late         // the deadline passed before the answer
};

struct reply {
  fate what = fate::not_sent;
  result rows;
};

// The texts of all statements for one schema, and their names.
struct statement_set {
  std::array<std::string, statement_count * 2> texts;  // the second half: under an id
  std::array<std::string, statement_count * 2> names;
  bool prepare = true;

  explicit statement_set(std::string_view schema) {
    for (std::size_t i = 0; i < statement_count; ++i) {
      const auto s = static_cast<statement>(i);
      texts[i] = plain_sql(s, schema);
      if (takes_id(s)) texts[i + statement_count] = once_sql(s, schema);
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      names[i] = "interlock_";
      names[i] += std::to_string(i);
    }
  }
};

class connection {
public:
  explicit connection(PGconn* made) noexcept : pg_(made) {
    if (pg_ == nullptr) return;
    PQsetnonblocking(pg_, 1);
    PQsetNoticeReceiver(pg_, &connection::notice, this);
  }
  ~connection() { PQfinish(pg_); }
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  // Effects: connects, by the deadline. Then broken() says whether it did, and said() what
  // happened.
  [[nodiscard]] static std::unique_ptr<connection> open(const std::string& conninfo,
                                                        const call_deadline& deadline);

  [[nodiscard]] PGconn* get() const noexcept { return pg_; }
  [[nodiscard]] bool broken() const noexcept { return PQstatus(pg_) != CONNECTION_OK; }
  [[nodiscard]] bool late() const noexcept { return late_; }
  [[nodiscard]] bool usable() const noexcept { return !late_ && !broken(); }
  // Returns: whether nothing that was asked here before is left to the next caller.
  [[nodiscard]] bool settled() const noexcept {
    return usable() && PQpipelineStatus(pg_) == PQ_PIPELINE_OFF &&
           PQtransactionStatus(pg_) == PQTRANS_IDLE;
  }
  [[nodiscard]] std::string said() const { return first_line(PQerrorMessage(pg_)); }

  // Returns: whether the server answers.
  [[nodiscard]] bool healthy(const call_deadline& deadline) noexcept {
    if (broken() || PQsendQuery(pg_, "") == 0) return false;
    return receive(deadline).what == fate::answered;
  }

  // Effects: runs statement `index` of the set, prepared on its first use here.
  [[nodiscard]] reply run(const statement_set& set, std::size_t index, const parameters& given,
                          const call_deadline& deadline, bool first = false) {
    if (set.prepare && !prepared_[index]) {
      reply ready = prepare(set, index, deadline);
      if (ready.what != fate::answered) return ready;
      first = false;  // that took time
    }
    unreplicated_ = false;
    if (!set.prepare) return run(set.texts[index].c_str(), given, deadline);
    if (PQsendQueryPrepared(pg_, set.names[index].c_str(), given.count(), given.values(),
                            given.lengths(), parameters::formats(), 1) == 0) {
      return unsent();
    }
    return receive(deadline, first);
  }
  // Effects: runs a text with parameters.
  [[nodiscard]] reply run(const char* sql, const parameters& given, const call_deadline& deadline) {
    unreplicated_ = false;
    if (PQsendQueryParams(pg_, sql, given.count(), nullptr, given.values(), given.lengths(),
                          parameters::formats(), 1) == 0) {
      return unsent();
    }
    return receive(deadline);
  }
  // Effects: runs one or more statements without parameters; the answer is in the text format.
  [[nodiscard]] reply run(const char* sql, const call_deadline& deadline) {
    unreplicated_ = false;
    if (PQsendQuery(pg_, sql) == 0) return unsent();
    return receive(deadline);
  }

  // Returns: whether the last commit is on this server alone, as the wait for a standby was ended.
  [[nodiscard]] bool unreplicated() const noexcept { return unreplicated_; }
  // Returns: true now and then, when it is time to delete what is old.
  [[nodiscard]] bool time_to_prune() noexcept { return (++changes_ & 511U) == 0; }

  [[nodiscard]] bool prepared(std::size_t index) const noexcept { return prepared_[index]; }
  void note_prepared(std::size_t index) noexcept { prepared_[index] = true; }
  void forget_notices() noexcept { unreplicated_ = false; }

  // Effects: reads until the server is ready for the next request. `first`: the call has just
  // begun.
  [[nodiscard]] reply receive(const call_deadline& deadline, bool first = false);
  // Returns: whether an answer, or the end of them (null), can be taken without blocking.
  // `first`: the call has just begun.
  [[nodiscard]] bool await(const call_deadline& deadline, bool first = false) noexcept;

private:
  [[nodiscard]] reply unsent() {
    // Nothing of a request that libpq refuses is sent; if it broke while sending, some may be.
    return {broken() ? fate::unanswered : fate::not_sent, {}};
  }
  [[nodiscard]] reply prepare(const statement_set& set, std::size_t index,
                              const call_deadline& deadline) {
    if (PQsendPrepare(pg_, set.names[index].c_str(), set.texts[index].c_str(), 0, nullptr) == 0) {
      return {fate::not_sent, {}};
    }
    reply ready = receive(deadline);
    prepared_[index] = ready.what == fate::answered;
    // It was not run, so whatever happened, nothing was done.
    if (ready.what != fate::answered && ready.what != fate::failed) ready.what = fate::not_sent;
    return ready;
  }
  // A message that is no answer. Of those, the one that takes back a promise.
  static void notice(void* self, const PGresult* message) {
    const char* const function = PQresultErrorField(message, PG_DIAG_SOURCE_FUNCTION);
    const char* const file = PQresultErrorField(message, PG_DIAG_SOURCE_FILE);
    if ((function != nullptr && std::string_view(function) == "SyncRepWaitForLSN") ||
        (file != nullptr && std::string_view(file).ends_with("syncrep.c"))) {
      static_cast<connection*>(self)->unreplicated_ = true;
    }
  }

  PGconn* pg_;
  bool late_ = false;
  bool unreplicated_ = false;
  std::uint32_t changes_ = 0;
  std::array<bool, statement_count * 2> prepared_{};
};

// Effects: poll() for at most `left` milliseconds. Returns: false when they have passed.
[[nodiscard]] inline bool poll_for(int socket, short events, std::int64_t left) noexcept {
  if (left <= 0) return false;
  pollfd entry{socket, events, 0};
  return ::poll(&entry, 1, static_cast<int>(std::min<std::int64_t>(left, INT_MAX))) != 0;
}

inline bool connection::await(const call_deadline& deadline, bool first) noexcept {
  using std::chrono::ceil, std::chrono::milliseconds;
  for (;; first = false) {
    const int unsent_bytes = PQflush(pg_);
    if (unsent_bytes < 0 || (unsent_bytes == 0 && PQisBusy(pg_) == 0)) return true;
    const std::int64_t left = first ? ceil<milliseconds>(deadline.at() - deadline.begun()).count()
                                    : deadline.remaining().count();
    if (left <= 0) {
      late_ = true;
      return false;
    }
    const auto events = static_cast<short>(unsent_bytes == 1 ? POLLIN | POLLOUT : POLLIN);
    if (!poll_for(PQsocket(pg_), events, left)) continue;
    if (PQconsumeInput(pg_) == 0) return true;  // the error is in the answer
  }
}

inline reply connection::receive(const call_deadline& deadline, bool first) {
  reply all{fate::unanswered, {}};
  bool wrong = false;
  for (;;) {
    if (!await(deadline, std::exchange(first, false))) return {fate::late, {}};
    result next(PQgetResult(pg_));
    if (next == nullptr) return all;
    const ExecStatusType status = PQresultStatus(next.get());
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY) {
      if (!wrong) all = {fate::answered, std::move(next)};
    } else if (!std::exchange(wrong, true)) {  // the first error is the reason
      // Without a SQLSTATE it is libpq that speaks: the connection broke. A server that ends after
      // it has sent rows may have committed.
      const std::string_view state = state_of(next.get());
      const bool instead = all.what != fate::answered && comes_instead(state);
      const bool known = !state.empty() && (instead || !ends_connection(next.get()));
      all = {known ? fate::failed : fate::unanswered, std::move(next)};
    }
    if (broken()) return all;
  }
}

inline std::unique_ptr<connection> connection::open(const std::string& conninfo,
                                                    const call_deadline& deadline) {
  auto made = std::make_unique<connection>(PQconnectStart(conninfo.c_str()));
  if (made->pg_ == nullptr) throw std::bad_alloc();
  PQsetErrorVerbosity(made->pg_, PQERRORS_VERBOSE);  // with the SQLSTATE, see connect_fault()
  auto next = PGRES_POLLING_WRITING;
  while (!(PQstatus(made->pg_) == CONNECTION_BAD)) {
    const std::int64_t left = deadline.remaining().count();
    if (left <= 0) {
      made->late_ = true;
      break;
    }
    const short events = next == PGRES_POLLING_READING ? POLLIN : POLLOUT;
    if (!poll_for(PQsocket(made->pg_), events, left)) continue;
    next = PQconnectPoll(made->pg_);
    if (next == PGRES_POLLING_OK || next == PGRES_POLLING_FAILED) break;
  }
  PQsetErrorVerbosity(made->pg_, PQERRORS_DEFAULT);
  return made;
}

}  // namespace interlock::postgres::detail
