// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/list_append.hpp - records transactions that append to lists and read them, and
// tells which anomalies of isolation there were, by their names.
//
// Problem     A store says serializable. Sums that come out right do not show it: write skew, a
//             read of what was rolled back, or an append that a crash took leave no trace in them.
// Guarantee   Each kind of anomaly is found and named.
//             A strictly serializable store is accused of nothing.
//             A store with a seeded bug is caught within 400 transactions.
//             A transaction with an unknown outcome counts once one of its appends was read.
//             Real time counts only for strict serializability and for appends that were lost.
// Progress    record: wait-free, but for the growth of the worker's own log.
// Cost        check: O(n log n) in operations, and the lengths of the lists that were read.
//             See dependency_graph.hpp for what an accusation costs.
// Lifetime    Outlives the workers that record, transactions() and check() when they have ended.
// Not for     Lists that were not empty at the begin. Reads of replicas that lag: an append that
//             has not arrived counts as lost. Read each list once more when all have ended.
//
// Example     list_append log(workers);                    // examples/testing/list_append.cpp
//             auto t = log.begin(me);
//             const auto list = rows.read(x);
//             t.read(x, list);
//             rows.append(y, t.append(y));
//             rows.commit() ? t.applied() : t.aborted();  // neither: its outcome is unknown
//             const append_report found = log.check();
//             const verdict answer = found.at(isolation::serializable);

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "append_report.hpp"
#include "check_list_append.hpp"
#include "history.hpp"

namespace interlock::testing {

// Records them: each worker, a thread or a coroutine, has a number of its own.
class list_append {
  using log = history<append_transaction>;

public:
  explicit list_append(std::size_t workers) : log_(clock_, workers), values_(workers) {}
  list_append(const list_append&) = delete;
  list_append& operator=(const list_append&) = delete;

  // One that began and has not ended. Destroyed before it ends, its outcome is unknown.
  class transaction {
  public:
    transaction(transaction&& other)
        : to_(other.to_),
          worker_(other.worker_),
          call_(other.call_),
          now_(std::move(other.now_)),
          ended_(std::exchange(other.ended_, true)) {}
    ~transaction() {
      if (!ended_) end(append_outcome::unknown);
    }

    // Returns: a new value; the store is asked to append it after this, since it may have happened
    //          even if the store does not answer.
    [[nodiscard]] std::uint64_t append(std::uint64_t key) {
      const std::uint64_t value = to_->new_value(worker_);
      now_.operations.push_back({true, key, value, {}});
      return value;
    }
    // Effects: records what the store gave.
    void read(std::uint64_t key, std::vector<std::uint64_t> list) {
      now_.operations.push_back({false, key, 0, std::move(list)});
    }

    // Effects: that was its end. Once.
    void applied() { end(append_outcome::applied); }
    void aborted() { end(append_outcome::aborted); }
    void unknown() { end(append_outcome::unknown); }
    // Effects: this attempt was aborted and the next one begins.
    void again() {
      end(append_outcome::aborted);
      call_ = to_->log_.begin(worker_, {});
      ended_ = false;
    }

  private:
    friend list_append;
    transaction(list_append& to, std::size_t worker)
        : to_(&to), worker_(worker), call_(to.log_.begin(worker, {})) {}

    void end(append_outcome outcome) {
      now_.outcome = outcome;
      call_.answer(std::exchange(now_, {}));
      ended_ = true;
    }

    list_append* to_;
    std::size_t worker_;
    log::call call_;
    append_transaction now_;
    bool ended_ = false;
  };

  // Effects: a transaction of this worker begins now.
  [[nodiscard]] transaction begin(std::size_t worker) { return transaction(*this, worker); }

  [[nodiscard]] std::vector<recorded<append_transaction>> transactions() const {
    return log_.operations();
  }
  [[nodiscard]] append_report check() const { return check_list_append(transactions()); }

private:
  struct alignas(64) counted {
    std::uint64_t values = 0;
  };

  std::uint64_t new_value(std::size_t worker) {
    return ++values_[worker].values * values_.size() + worker;
  }

  ticket_clock clock_;
  log log_;
  std::vector<counted> values_;  // each by its worker
};

}  // namespace interlock::testing
