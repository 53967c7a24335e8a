// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/transaction.hpp - cells, counters, queues and your own tables change together.
//
// Problem     Money leaves one account and does not arrive at the other; a row is written and the
//             job that belongs to it is not queued.
// Guarantee   All that a transaction of SQLite does is done or none of it.
//             A transaction of SQLite sees what no other writer changes until it ends.
//             An exception out of the body undoes a transaction of SQLite and goes on.
//             A statement that would end a transaction of SQLite is refused.
//             A transaction of SQLite that is repeated under its id is made once.
// Outcomes    applied: what the body returned. refused: undone, with why: the file was held by
//             others (busy), the disk is full, the deadline passed, a value did not decode.
//             unknown: the system failed in the commit; ask again under the id. No conflict.
// Durability  That of the client: what probed() says.
// Progress    Blocks: waits for its turn among the writers, then for those of other processes.
//             Others that write wait while the body runs: keep it short.
// Cost        BEGIN IMMEDIATE, COMMIT, and a statement for each step; three for one of yours that
//             writes; one flush if durable.
// Lifetime    The transaction ends with its body: keep no reference to it. One thread.
// Not for     Calls of the client itself inside the body: they would wait for it, and are refused.
//
// Example     // examples/engines/sqlite_transaction.cpp
//             sqlite::atomically(db, [&](sqlite::transaction& t) {
//               t.write(wallet, *t.read(wallet) - 300);
//               t.add(sold, 1);
//               t.execute("INSERT INTO orders(item, price) VALUES(?, ?)", "lamp", 300);
//             }).value();

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "../store/detail/body_answer.hpp"
#include "../store/detail/kept_claim.hpp"
#include "../store/sql_rows.hpp"
#include "../store/transaction_options.hpp"
#include "bounded_counter.hpp"
#include "client.hpp"
#include "counter.hpp"
#include "detail/user_sql.hpp"
#include "versioned.hpp"

namespace interlock::sqlite {

namespace detail {
struct transaction_access;
using store::detail::ending_items;

struct client_access {
  static database& data(client& of) noexcept { return *of.db_; }
};
}  // namespace detail

class transaction {
  template <class T>
  using cell = store::basic_versioned<T, client>;

public:
  transaction(const transaction&) = delete;
  transaction& operator=(const transaction&) = delete;

  // Each of these leaves the body, if the engine fails; the transaction is undone then.

  // Returns: the value; none if it never was, or was erased.
  template <class T>
  [[nodiscard]] std::optional<T> read(const cell<T>& from) {
    return step("transaction.read", from, [&](const detail::request& by) {
      auto found = from.decoded(detail::find_cell(*on_, by.name), by.operation);
      if (found.refused()) throw store::refusal(found.error());
      return std::move(found.value().value);
    });
  }
  template <class T>
  void write(const cell<T>& to, const std::type_identity_t<T>& value) {
    const std::string bytes = store::codec<T>::encode(value);
    step("transaction.write", to, [&](const detail::request& by) {
      by.require_size(bytes.size(), data_->options().max_value_bytes);
      detail::set_cell(*on_, by.name, version(), bytes);
      return true;
    });
  }
  template <class T>
  void erase(const cell<T>& from) {
    step("transaction.erase", from, [&](const detail::request& by) {
      detail::set_cell(*on_, by.name, version(), std::nullopt);
      return true;
    });
  }
  // Effects: writes what f makes of what is read; f as for versioned::update.
  template <class T, class F>
  void update(const cell<T>& of, F&& f) {
    const std::optional<T> next = store::detail::changed<T>(f, read(of));
    if (next) {
      write(of, *next);
    } else {
      erase(of);
    }
  }
  // Effects: none here, where each read is one look at the file.
  template <class... Cells>
  void prefetch(const Cells&...) noexcept {}

  // Returns: the value after. A sum that does not fit ends the transaction.
  std::int64_t add(const store::basic_counter<client>& to, std::int64_t n) {
    return step("transaction.add", to, [&](const detail::request& by) {
      auto sum = detail::add_to_counter(*on_, by, n);
      if (!sum) throw store::refusal(sum.error());
      return *sum;
    });
  }
  [[nodiscard]] std::int64_t load(const store::basic_counter<client>& from) {
    return step("transaction.load", from,
                [&](const detail::request& by) { return detail::load_counter(*on_, by).value(); });
  }
  // Effects: adds n, if that passes no bound. Returns: the value after; none if it would.
  [[nodiscard("none: nothing was added")]] std::optional<std::int64_t> add(
      const store::basic_bounded_counter<client>& to, std::int64_t n) {
    return step("transaction.add", to, [&](const detail::request& by) {
      auto sum = detail::add_to_bounded(*on_, by, n);
      if (sum.refused()) throw store::refusal(sum.error());
      return sum ? std::optional<std::int64_t>(*sum) : std::nullopt;
    });
  }

  // Effects: pushes an item for the key. Queue: a serial_queue. Returns: its number in its key.
  template <class Queue, class T>
  requires store::encodable<T> std::uint64_t push(const Queue& queue, std::string_view key,
                                                  const T& item) {
    const std::string payload = store::codec<T>::encode(item);
    return step(
        "transaction.push", queue,
        [&](const detail::request& by) {
          by.require_size(payload.size(), data_->options().max_value_bytes);
          detail::step_scope whole(*on_);
          const std::uint64_t number = detail::push_item(*on_, by, payload).value();
          whole.keep();
          return number;
        },
        key);
  }
  // Effects: the take of this item ends, and it leaves the queue. If it is another's by now, the
  //          transaction is refused (lease_lost) and nothing is done.
  template <class Queue>
  void finish(const Queue& queue, std::string_view key, const store::unique_id& owner,
              std::uint64_t attempt) {
    step(
        "transaction.finish", queue,
        [&](const detail::request& by) {
          if (detail::finish_item(*on_, by, detail::id_bytes(owner), attempt)) return true;
          throw by.refuse(store::errc::lease_lost, "the item was given to another",
                          "drop it: the other one does it; or take with a longer lease");
        },
        key);
  }
  // Effects: the same, for an item that was taken from the queue; it is ended with the commit.
  template <class Queue>
  void finish(const Queue& queue, const typename Queue::item& taken) {
    ending_->add(taken);
    finish(queue, taken.key(), taken.owner(), taken.attempt());
  }

  // Effects: runs one statement on your own tables; '?' stand for the values: numbers, text, bytes
  //          (std::span<const std::byte>), nullptr, or optionals of these.
  // Throws: store::failure if the statement is wrong or a constraint is not met; the statement is
  //         undone, and the transaction may go on.
  template <class... Values>
  store::sql_rows execute(std::string_view sql, const Values&... values) {
    const detail::request by{"transaction.execute", sql, {}, *call_};
    return guarded(by, [&] {
      store::sql_rows rows = detail::run_user_sql(*on_, sql, values...);
      require_open();
      return rows;
    });
  }

private:
  friend struct detail::transaction_access;

  transaction(detail::database& data, detail::connection& on, const store::call_options& call,
              store::detail::ending_items& ending)
      : data_(&data), on_(&on), call_(&call), ending_(&ending) {}

  struct ended {};  // thrown through the body

  // Returns: f(request) for an object of this client.
  template <class Object, class F>
  std::invoke_result_t<F&, const detail::request&> step(const char* operation, const Object& of,
                                                        F f, std::string_view key = {}) {
    const detail::request by{operation, of.name(), of.object().kind(), *call_, key};
    return guarded(by, [&] {
      if (&detail::client_access::data(of.client()) != data_) {
        throw by.refuse(store::errc::bad_argument, "the object belongs to another client",
                        "make it from the client of the transaction");
      }
      return f(by);
    });
  }
  template <class F>
  std::invoke_result_t<F&> guarded(const detail::request& by, F f) {
    if (broken()) throw ended{};
    try {
      return f();
    } catch (const detail::fault& why) {
      if (on_->in_transaction() && of_statement(why)) throw store::failure(explained(why, by));
      fault_.emplace(why);
    } catch (const store::refusal& why) {
      refusal_.emplace(why);
    }
    throw ended{};
  }
  // Returns: whether it is the statement that is wrong, not the engine.
  static bool of_statement(const detail::fault& why) noexcept {
    switch (why.code & 0xff) {
      case SQLITE_ERROR:
      case SQLITE_CONSTRAINT:
      case SQLITE_MISMATCH:
      case SQLITE_MISUSE:
      case SQLITE_RANGE:
      case SQLITE_AUTH:
      case SQLITE_TOOBIG:
        return true;
      default:
        return false;
    }
  }
  static store::error explained(const detail::fault& why, const detail::request& by) {
    store::error said = detail::error_of(why, by.operation, by.name);
    const int kind = why.code & 0xff;
    if (kind == SQLITE_AUTH || kind == SQLITE_MISUSE || kind == SQLITE_ERROR) {
      said.code = store::errc::bad_argument;
    }
    if (kind == SQLITE_AUTH) {
      said.remedy =
          "leave BEGIN, COMMIT, ROLLBACK, SAVEPOINT, ATTACH, PRAGMA and TEMP out: the body is "
          "the transaction; settings::on_connect is for the others";
    } else if (kind == SQLITE_MISUSE) {
      said.remedy = "give one statement, and a value for each '?'";
    }
    return said;
  }
  // Throws: fault, if a trigger or ON CONFLICT ROLLBACK has undone it all.
  void require_open() const {
    if (on_->in_transaction()) return;
    throw detail::fault{SQLITE_ABORT_ROLLBACK, "a statement undid the transaction", 0, false};
  }

  std::uint64_t version() {
    if (version_ == 0) version_ = detail::next_version(*on_);
    return version_;
  }
  [[nodiscard]] bool broken() const noexcept { return fault_ || refusal_; }
  // Preconditions: broken().
  [[noreturn]] void rethrow() const {
    if (fault_) throw *fault_;
    throw *refusal_;
  }

  detail::database* data_;
  detail::connection* on_;
  const store::call_options* call_;
  store::detail::ending_items* ending_;  // which outlives the commit
  std::uint64_t version_ = 0;           // of all cells that it writes; 0: none yet
  std::optional<detail::fault> fault_;  // why it is over; at most one of these two
  std::optional<store::refusal> refusal_;
};

namespace detail {

struct transaction_access {
  // Returns: what body(transaction) returns.
  // Throws: what body throws; fault or store::refusal, if the engine ended it.
  template <class R, class F>
  static R run(database& data, connection& on, const request& by, ending_items& ending, F& body) {
    transaction steps(data, on, by.call, ending);
    std::optional<R> answer;
    try {
      if constexpr (std::is_void_v<std::invoke_result_t<F&, transaction&>>) {
        body(steps);
        answer.emplace();
      } else {
        answer.emplace(body(steps));
      }
    } catch (const transaction::ended&) {
    }
    if (steps.broken()) steps.rethrow();
    if (call_deadline::clock::now() >= on.until()) {
      throw by.refuse(store::errc::timed_out, "the body took longer than the call's time",
                      "do less in the body, or give the call a longer timeout");
    }
    return *std::move(answer);
  }

  // Returns: body(connection, request, items to end), in one transaction; anew while others hold
  //          the file.
  template <class Outcome, class F>
  static Outcome attempt(database& data, const char* operation, std::string_view key,
                         const store::transaction_options& options, F body) {
    const store::call_options call{options.id, options.timeout};
    const call_deadline limit(call, data.options().timeout);
    for (std::size_t tries = 1;; ++tries) {
      const store::call_options rest = tries == 1 ? call : limit.rest(options.id);
      const request by{operation, key, store::object_kind::cell, rest};
      ending_items ending;
      Outcome answer = data.write<Outcome>(
          by, [&](connection& on, transaction_scope&) -> Outcome { return body(on, by, ending); });
      if (answer) ending.done();
      const bool again = answer.refused() && answer.error().code == store::errc::busy;
      if (!again || tries >= options.attempts || limit.passed()) return answer;
    }
  }
};

// Returns: body's answer, kept as bytes under the id: once, whoever asks again.
template <class R, class F>
store::outcome<R> once_as_bytes(database& data, connection& on, const request& by,
                                ending_items& ending, F& body) {
  using bytes = store::outcome<std::string>;
  bytes kept = once<bytes>(on, by, data.now(), data.options().retention, [&]() -> bytes {
    return store::detail::kept_form(transaction_access::run<R>(data, on, by, ending, body));
  });
  if (!kept) return std::move(kept).template without_answer<R>();
  if (std::optional<R> answer = store::detail::kept_answer<R>(*kept)) return *std::move(answer);
  throw by.refuse(store::errc::bad_value, "the answer that was kept does not decode",
                  "ask with the type that was asked for first");
}

}  // namespace detail

// Effects: body(transaction) in one transaction, which is undone if body throws. Under an id of
//          `options`, once; the answer is kept, so it is void or has a codec.
// Returns: what body returned. Throws: what body throws.
template <class F>
auto atomically(client db, F&& body, const store::transaction_options& options = {}) {
  using R = store::detail::body_answer<F, transaction>;
  detail::database& data = detail::client_access::data(db);
  return detail::transaction_access::attempt<store::outcome<R>>(
      data, "transaction.commit", {}, options,
      [&](detail::connection& on, const detail::request& by,
          detail::ending_items& ending) -> store::outcome<R> {
        if (!by.call.id) return detail::transaction_access::run<R>(data, on, by, ending, body);
        if constexpr (store::detail::keepable<R>) {
          return detail::once_as_bytes<R>(data, on, by, ending, body);
        } else {
          return by.refuse(store::errc::bad_argument, "the answer of the body has no codec",
                           "return nothing or an encodable type, or give no id");
        }
      });
}

// Returns: an awaitable of the same; the body runs on a thread of the client. The time runs from
//          now.
template <class F>
[[nodiscard("write co_await")]] auto async_atomically(client db, F body,
                                                      const store::transaction_options& how = {}) {
  const store::detail::call_deadline limit({how.id, how.timeout}, db.options().timeout);
  auto job = [db, body = std::move(body), how = store::transaction_options(how),
              limit]() mutable {
    how.timeout = limit.timeout_left();
    return atomically(db, body, how);
  };
  return store::detail::offloaded<client, decltype(job)>(db, std::move(job));
}

}  // namespace interlock::sqlite
