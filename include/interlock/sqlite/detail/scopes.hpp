// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/scopes.hpp - transactions, and steps of them, that are undone unless they
// came to their end.

#include "connection.hpp"

namespace interlock::sqlite::detail {

// Effects: ends the transaction; if that fails, the connection is closed soon, which does.
inline void roll_back(connection& on) noexcept {
  try {
    statement(on, sql::rollback).run();
  } catch (...) {
  }
}

// BEGIN: what is read in the scope is of one moment.
class reading_scope {
public:
  // Throws: fault.
  explicit reading_scope(connection& on) : on_(&on) { statement(on, sql::begin_reading).run(); }
  reading_scope(const reading_scope&) = delete;
  reading_scope& operator=(const reading_scope&) = delete;
  ~reading_scope() { roll_back(*on_); }

private:
  connection* on_;
};

// BEGIN IMMEDIATE; undone at the end of the scope, unless it was committed.
class transaction_scope {
public:
  // Throws: fault; nothing was done then.
  explicit transaction_scope(connection& on) : on_(&on) {
    try {
      statement(on, sql::begin).run();
    } catch (fault& why) {
      why.in_doubt = false;
      throw;
    }
    on.in_scope = true;
    on.repeats = false;
  }
  transaction_scope(const transaction_scope&) = delete;
  transaction_scope& operator=(const transaction_scope&) = delete;
  ~transaction_scope() {
    if (on_->in_transaction()) roll_back(*on_);
    on_->in_scope = false;
  }

  // Throws: fault, in doubt where it may have been done.
  void commit() {
    try {
      statement(*on_, sql::commit).run();
    } catch (fault& why) {
      why.in_doubt = !on_->surely_undone(why.code);
      throw;
    }
  }
  // Effects: it is to be committed although the answer is no.
  void keep() noexcept { kept_ = true; }
  [[nodiscard]] bool kept() const noexcept { return kept_; }

private:
  connection* on_;
  bool kept_ = false;
};

// SAVEPOINT: what is done in the scope is undone at its end, unless it was kept. SQLite undoes a
// statement that fails by a constraint, but not what one did before an error of a function, or
// before RAISE(FAIL).
class step_scope {
public:
  // Preconditions: a transaction. Throws: fault.
  explicit step_scope(connection& on) : on_(&on) { statement(on, sql::step_begin).run(); }
  step_scope(const step_scope&) = delete;
  step_scope& operator=(const step_scope&) = delete;
  // Effects: where that fails the whole transaction is undone.
  ~step_scope() {
    if (kept_ || !on_->in_transaction()) return;
    try {
      statement(*on_, sql::step_undo).run();
      statement(*on_, sql::step_end).run();
    } catch (...) {
      roll_back(*on_);
    }
  }

  // Throws: fault.
  void keep() {
    if (on_->in_transaction()) statement(*on_, sql::step_end).run();
    kept_ = true;
  }

private:
  connection* on_;
  bool kept_ = false;
};

}  // namespace interlock::sqlite::detail
