// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/detail/pipeline.hpp - several statements in one round trip, in order.
//
// The first that fails ends the rest of the round; libpq says so of each of them.

#include <libpq-fe.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "connection.hpp"

namespace interlock::postgres::detail {

// While there is one, the connection is used through it alone.
class pipeline {
public:
  pipeline(connection& at, const statement_set& set) : at_(&at), set_(&set) {
    open_ = PQenterPipelineMode(at.get()) == 1;
  }
  ~pipeline() {
    if (open_) PQexitPipelineMode(at_->get());
  }
  pipeline(const pipeline&) = delete;
  pipeline& operator=(const pipeline&) = delete;

  // Effects: the next round runs this statement too.
  void add(statement s, const parameters& given) {
    const auto index = static_cast<std::size_t>(s);
    const char* const name = set_->names[index].c_str();
    if (!set_->prepare) return add(set_->texts[index].c_str(), given);
    if (!at_->prepared(index) && !prepares_already(static_cast<int>(index))) {
      queued_.push_back(static_cast<int>(index));
      note(PQsendPrepare(at_->get(), name, set_->texts[index].c_str(), 0, nullptr));
    }
    queued_.push_back(plain);
    note(PQsendQueryPrepared(at_->get(), name, given.count(), given.values(), given.lengths(),
                             parameters::formats(), 1));
  }
  void add(const char* sql, const parameters& given) {
    queued_.push_back(plain);
    note(PQsendQueryParams(at_->get(), sql, given.count(), nullptr, given.values(), given.lengths(),
                           parameters::formats(), 1));
  }
  // Effects: the same with parameters as text; the rows are text.
  void add_text(const char* sql, const std::vector<const char*>& values,
                const std::vector<int>& lengths, const std::vector<int>& formats) {
    queued_.push_back(plain);
    note(PQsendQueryParams(at_->get(), sql, static_cast<int>(values.size()), nullptr, values.data(),
                           lengths.data(), formats.data(), 0));
  }

  // Returns: whether the round ended with a COPY, after which the connection is of no more use.
  [[nodiscard]] bool streams() const noexcept { return streams_; }
  // Effects: sends what was added, and waits for all answers. A round that failed has the error.
  // Returns: what came of the last statement, or of the first that failed.
  [[nodiscard]] reply exchange(const call_deadline& deadline);
  // Returns: whether the round came to its last statement, done or not.
  [[nodiscard]] bool came_to_last() const noexcept { return done_ + 1 >= asked_; }
  // Returns: how many statements of the round were done, whatever came after them.
  [[nodiscard]] std::size_t count() const noexcept { return results_.size(); }
  // Returns: rows of the round, those of the statement that was added as n-th.
  [[nodiscard]] const result& rows(std::size_t n) const noexcept { return results_[n]; }
  [[nodiscard]] result take(std::size_t n) noexcept { return std::move(results_[n]); }

private:
  static constexpr int plain = -1;

  // Returns: whether this round prepares the statement; it is noted when that was answered.
  [[nodiscard]] bool prepares_already(int index) const noexcept {
    return std::find(queued_.begin(), queued_.end(), index) != queued_.end();
  }
  void note(int sent) noexcept { sent_ = sent_ && sent == 1; }

  connection* at_;
  const statement_set* set_;
  bool open_ = false;
  bool sent_ = true;
  bool streams_ = false;
  std::vector<int> queued_;  // what each statement prepares, or plain; before it is sent
  std::vector<result> results_;
  std::size_t asked_ = 0;
  std::size_t done_ = 0;
};

inline reply pipeline::exchange(const call_deadline& deadline) {
  results_.clear();
  results_.reserve(queued_.size());  // all answers are taken, even where memory ends
  const std::vector<int> asked = std::exchange(queued_, {});
  done_ = 0;
  asked_ = asked.size();
  at_->forget_notices();
  if (!open_ || !std::exchange(sent_, true) || PQpipelineSync(at_->get()) == 0) {
    return {fate::unanswered, {}};
  }
  reply failed{fate::answered, {}};
  for (std::size_t nulls = 0; nulls < 2;) {
    if (!at_->await(deadline)) return {fate::late, {}};
    result next(PQgetResult(at_->get()));
    if (next == nullptr) {
      ++nulls;
      continue;
    }
    nulls = 0;
    const ExecStatusType status = PQresultStatus(next.get());
    if (status == PGRES_PIPELINE_SYNC) return failed;
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
      streams_ = true;  // libpq gives this again and again until the rows are read or sent
      return {fate::unanswered, std::move(next)};
    }
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY) {
      const int prepares = done_ < asked.size() ? asked[done_] : plain;
      ++done_;
      if (prepares != plain) {
        at_->note_prepared(static_cast<std::size_t>(prepares));
      } else {
        results_.push_back(std::move(next));
      }
    } else if (status != PGRES_PIPELINE_ABORTED && failed.what == fate::answered) {
      const std::string_view state = state_of(next.get());
      const bool known = !state.empty() && (comes_instead(state) || !ends_connection(next.get()));
      failed = {known ? fate::failed : fate::unanswered, std::move(next)};
    }
  }
  if (failed.what == fate::answered) failed.what = fate::unanswered;  // it ended before the sync
  return failed;
}

}  // namespace interlock::postgres::detail
