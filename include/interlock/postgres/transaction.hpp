// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/transaction.hpp - counters, cells, queues and your own tables, all or nothing.
//
// Problem     READ COMMITTED lets two transactions read the same balance and both spend it, and
//             SERIALIZABLE ends one of them with an error that most programs do not expect.
// Guarantee   A transaction of PostgreSQL takes effect as a whole or not at all.
//             A body that met others in PostgreSQL runs again as a whole.
//             An exception that leaves the body rolls back and goes on to the caller.
//             A commit to PostgreSQL that was not answered is unknown until its id is asked again.
//             A statement that would end the transaction is refused and nothing is done.
// Outcomes    applied: what the body returned. conflict: never. refused: nothing was done:
//             too_many_conflicts after `attempts`, or what the server said. unknown: COMMIT was
//             sent and not answered; under an id, run it again: what was kept is the answer.
// Durability  As the server commits, see counter.hpp.
// Progress    SERIALIZABLE; the whole body again, after a pause that grows, on 40001 and 40P01, a
//             lost connection before COMMIT, and a row that is there though a read did not see it.
// Cost        A round trip for each answer that the body asks for, and one to commit; BEGIN goes
//             with the first, writes of cells with the last.
// Lifetime    The transaction& is the body's, on its thread.
// Not for     Bodies with effects outside: they come again with each attempt. Long bodies: they
//             hold a connection, and those who meet them start again. A cell that bodies only read
//             and a plain request writes: who sees that and not the body saw no one order.
//
// Example     // examples/engines/postgres_transaction.cpp
//             const auto paid = postgres::atomically(db, [&](postgres::transaction& t) {
//               const int money = t.read(wallet).value_or(0);
//               if (money < 30) return false;
//               t.write(wallet, money - 30);
//               t.add(sales, 1);
//               t.execute("insert into orders (item, price) values ($1, $2)", "book", 30);
//               return true;
//             });

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "../store/detail/body_answer.hpp"
#include "../store/detail/kept_claim.hpp"
#include "../store/transaction_options.hpp"
#include "bounded_counter.hpp"
#include "client.hpp"
#include "counter.hpp"
#include "detail/text_parameters.hpp"
#include "detail/transaction_link.hpp"
#include "versioned.hpp"

namespace interlock::postgres {
namespace detail {
struct transaction_run;
}

// What the body works with; its objects are of the same client. An attempt that cannot succeed
// leaves the body by an exception of a private type; one that swallows it is run again all the
// same.
class transaction {
public:
  using rows = store::sql_rows;

  transaction(const transaction&) = delete;
  transaction& operator=(const transaction&) = delete;

  // Returns: what this transaction wrote to the cell, else its value. None: there is none.
  template <class T>
  [[nodiscard]] std::optional<T> read(const versioned<T>& cell) {
    const auto by = asks("transaction.read", cell);
    entry& here = cells_[std::string(cell.name())];
    if (!here.known) {
      detail::parameters given;
      load(here, link_.run(by, detail::statement::cell_load, given.bytes(cell.name())));
    }
    if (!here.bytes) return std::nullopt;
    std::optional<T> value = store::codec<T>::decode(*here.bytes);
    if (!value) {
      link_.fail(by, store::errc::bad_value, "what is stored does not decode",
                 "read it as the type that was written");
    }
    return value;
  }
  // Effects: replaces the cell's value when the transaction commits.
  template <class T>
  void write(const versioned<T>& cell, const std::type_identity_t<T>& value) {
    put(asks("transaction.write", cell), store::codec<T>::encode(value));
  }
  template <class T>
  void erase(const versioned<T>& cell) {
    put(asks("transaction.erase", cell), std::nullopt);
  }
  // Effects: writes what f(value) makes of a value, or T{} where there is none.
  template <class T, class F>
  void update(const versioned<T>& cell, F&& f) {
    T value = read(cell).value_or(T{});
    std::invoke(f, value);
    write(cell, value);
  }
  // Effects: reads the cells in one round trip; reading them costs none then.
  template <class... T>
  void prefetch(const versioned<T>&... cells) {
    (void)(asks("transaction.prefetch", cells), ...);
    fetch({cells.name()...});
  }

  // Effects: adds n. Returns: the value after.
  std::int64_t add(const counter& to, std::int64_t n) {
    detail::parameters given;
    return detail::number_in(link_.run(asks("transaction.add", to), detail::statement::counter_add,
                                       given.bytes(to.name()).number(n)),
                             0, 0);
  }
  // Effects: adds n, if that passes no bound. Returns: the value after; none if it would.
  [[nodiscard("none: nothing was added")]] std::optional<std::int64_t> add(
      const bounded_counter& to, std::int64_t n) {
    detail::parameters given;
    const detail::result& row =
        link_.run(asks("transaction.add", to), detail::statement::bounded_add,
                  given.bytes(to.name()).number(n));
    if (PQntuples(row.get()) == 0) return std::nullopt;
    return detail::number_in(row, 0, 0);
  }
  // Effects: pushes an item for the key when the transaction commits. Queue: a serial_queue.
  template <class Queue, class T>
  requires store::encodable<T>
  void push(const Queue& queue, std::string_view key, const T& item) {
    const std::string payload = store::codec<T>::encode(item);
    detail::parameters given;
    link_.defer(asks("transaction.push", queue), detail::statement::queue_push,
                given.bytes(queue.name()).key(key).value(payload));
  }

  // Effects: the take of this item ends, its item leaves the queue. If the take is another's by
  //          now, the transaction is refused (lease_lost) and nothing is done.
  template <class Queue>
  void finish(const Queue& queue, std::string_view key, const store::unique_id& owner,
              std::uint64_t attempt) {
    const auto by = asks("transaction.finish", queue);
    detail::parameters given;
    given.bytes(queue.name()).key(key).id(owner).number(attempt);
    if (PQntuples(link_.run(by, detail::statement::queue_finish, given).get()) == 0) {
      link_.fail(by, store::errc::lease_lost, "the item was given to another",
                 "drop it: the other one does it; or take with a longer lease");
    }
  }
  // Effects: the same, for an item that was taken from the queue; it is ended with the commit.
  template <class Queue>
  void finish(const Queue& queue, const typename Queue::item& taken) {
    ending_.add(taken);
    finish(queue, taken.key(), taken.owner(), taken.attempt());
  }

  // Effects: runs a statement of yours; $1, $2 and so on are the parameters: numbers, text,
  //          std::optional of those, bytes as std::span<const std::byte>. A statement that fails
  //          ends the transaction, refused with what the server said. One that changes its
  //          connection (SET without LOCAL, LISTEN, PREPARE, a temporary table, a cursor WITH HOLD
  //          and such) costs that: it is closed after the transaction. What a function changes, as
  //          set_config() may, stays.
  template <class... T>
  rows execute(std::string_view sql, const T&... values) {
    const auto by = link_.asks("transaction.execute", sql.substr(0, 40));
    if (detail::ends_transaction(sql)) {
      link_.fail(by, store::errc::bad_argument, "the statement would end the transaction",
                 "return from the body to commit, throw to roll back");
    }
    const detail::text_parameters given(values...);
    if (given.torn() || sql.find('\0') != std::string_view::npos) {
      link_.fail(by, store::errc::bad_argument, "a text has a zero byte",
                 "give bytes (std::span<const std::byte>) for a bytea");
    }
    if (detail::alters_session(sql)) link_.close_after();
    const std::string first = detail::first_words(sql).next();
    if (first == "savepoint") send_cells();
    if (first == "rollback") cells_.clear();  // what was not sent was written after the savepoint
    return detail::rows_of(link_.run_text(by, std::string(sql).c_str(), given.values(),
                                          given.lengths(), given.formats()));
  }

private:
  friend struct detail::transaction_run;
  struct entry {
    bool known = false;
    bool written = false;
    std::optional<std::string> bytes{};
  };

  transaction(detail::session& of, detail::pool::lease at,
              const store::detail::call_deadline& deadline, const store::operation_id& id)
      : link_(of, std::move(at), deadline, id) {}

  template <class Object>
  detail::request asks(const char* operation, const Object& about) {
    require_same(link_, operation, about);
    return link_.asks(operation, about.name());
  }
  template <class Object>
  static void require_same(detail::transaction_link& link, const char* operation,
                           const Object& about) {
    if (about.client().session_.get() == &link.of()) return;
    link.fail(link.asks(operation, about.name()), store::errc::bad_argument,
              "it is of another client",
              "make its objects from the client that runs the transaction");
  }
  static void load(entry& here, const detail::result& row) {
    here.known = true;
    if (PQntuples(row.get()) != 0) here.bytes = detail::bytes_or_none(row, 0, 1);
  }
  void put(const detail::request& by, std::optional<std::string> bytes) {
    if (link_.ended()) throw detail::attempt_lost();
    entry& here = cells_[std::string(by.object)];
    here.known = here.written = true;
    here.bytes = std::move(bytes);
  }
  void fetch(std::vector<std::string_view> names);
  // Effects: what was written to cells goes with the next round: the commit, or a savepoint.
  void send_cells();

  store::detail::ending_items ending_;  // tells holders of a loss at its end: behind the rollback
  detail::transaction_link link_;
  std::map<std::string, entry> cells_;
};

inline void transaction::fetch(std::vector<std::string_view> names) {
  detail::array_text list(detail::array_text::of_bytes, names.size());
  for (const std::string_view name : names) list.add(name);
  detail::parameters given;
  const detail::result& found = link_.run(link_.asks("transaction.prefetch"),
                                          detail::statement::cells_load, given.bytes(list.text()));
  for (const std::string_view name : names) {
    entry& here = cells_[std::string(name)];
    here.known = true;
  }
  for (int row = 0; row < PQntuples(found.get()); ++row) {
    entry& here = cells_[std::string(names[detail::count_in(found, row, 0)])];
    if (!here.written) here.bytes = detail::bytes_or_none(found, row, 2);
  }
}

inline void transaction::send_cells() {
  for (auto& [name, cell] : cells_) {
    if (!std::exchange(cell.written, false)) continue;
    detail::parameters given;
    given.bytes(name).value(cell.bytes ? std::optional<std::string_view>(*cell.bytes)
                                       : std::nullopt);
    link_.defer(link_.asks("transaction.write", name), detail::statement::cell_put, given);
  }
}

namespace detail {

struct transaction_run {
  // Effects: runs the body until an attempt commits. `first` and `last` frame it: the first returns
  //          an outcome if the body is not to be run.
  template <class Outcome, class R, class First, class F, class Last>
  static Outcome run(const client& by, const store::transaction_options& how, First first, F& body,
                     Last last) {
    session& of = *by.session_;
    const call_options call{how.id, how.timeout};
    const call_deadline limit(call, of.options().timeout);
    const request asks{"transaction.begin", {}, call, limit, false};
    if (how.id && !store::detail::keepable<R>) {
      return refusal(session::error_of(asks, errc::bad_argument,
                                       "the body's answer cannot be kept under an id",
                                       "return a type that has a codec"));
    }
    store::detail::backoff pace(std::chrono::microseconds(500), std::chrono::milliseconds(50));
    std::size_t duplicates = 0;
    for (std::size_t attempt = 0; attempt < how.attempts; ++attempt) {
      if (attempt != 0 && !store::detail::pause(pace, limit.at())) break;
      auto at = of.connections().checkout(limit, "transaction.begin");
      if (!at.applied()) return refusal(at.error());
      transaction t(of, std::move(at).value(), limit, how.id);
      if (std::optional<Outcome> answer = once<Outcome, R>(t, how, first, body, last)) {
        return *std::move(answer);
      }
      if (t.link_.was_duplicate() && ++duplicates < 3) continue;
      if (t.link_.failed()) return *t.link_.failed();
    }
    return refusal(session::error_of(asks, errc::too_many_conflicts, "others came first each time",
                                     "allow more attempts or time, or let fewer transactions meet "
                                     "in a row"));
  }

  // Throws: attempt_lost, if the object is of another client.
  template <class Object>
  static void require_same(transaction_link& link, const char* operation, const Object& about) {
    transaction::require_same(link, operation, about);
  }

private:
  // Returns: the outcome of one attempt; none, if the link says why, or to try again.
  template <class Outcome, class R, class First, class F, class Last>
  static std::optional<Outcome> once(transaction& t, const store::transaction_options& how,
                                     First& first, F& body, Last& last) {
    std::optional<R> answer;
    try {
      if (std::optional<Outcome> instead = first(t.link_)) return instead;
      if constexpr (std::is_void_v<std::invoke_result_t<F&, transaction&>>) {
        std::invoke(body, t);
        answer.emplace();
      } else {
        answer.emplace(std::invoke(body, t));
      }
      t.send_cells();
      last(t.link_, *answer);
    } catch (...) {
      if (!t.link_.ended() && !t.link_.ends_as_before()) throw;
    }
    if (t.link_.ended()) (void)t.link_.ends_as_before();
    if (answer && !t.link_.ended()) {
      const std::string kept = how.id ? store::detail::kept_form(*answer) : std::string();
      if (t.link_.commit(kept)) {
        t.ending_.done();
        return Outcome(*std::move(answer));
      }
    }
    if (!t.link_.kept()) return std::nullopt;
    // Which items were finished then, this attempt does not know.
    if (std::optional<R> same = store::detail::kept_answer<R>(*t.link_.kept())) {
      return Outcome(*std::move(same));
    }
    return Outcome(refusal(session::error_of(
        t.link_.asks("transaction.begin"), errc::bad_value,
        "the answer that was kept under the id does not decode", "ask with the same type")));
  }
};

}  // namespace detail

// Effects: calls body(transaction&) until what it read and did is one step, as often as the options
//          allow. Under an id, one that was done before is not run: its answer is given again.
// Returns: what the body returned. Throws: what the body throws; nothing was done then, and nothing
// is kept under the id.
template <class F>
auto atomically(const client& by, F&& body, const store::transaction_options& how = {})
    -> store::outcome<store::detail::body_answer<std::remove_reference_t<F>, transaction>> {
  using R = store::detail::body_answer<std::remove_reference_t<F>, transaction>;
  using result = store::outcome<R>;
  return detail::transaction_run::run<result, R>(
      by, how, [](detail::transaction_link&) { return std::optional<result>(); }, body,
      [](detail::transaction_link&, const R&) {});
}

// Returns: an awaitable of the same; the body runs on a thread of the client. The time runs from
//          now.
template <class F>
[[nodiscard("write co_await")]] auto async_atomically(client by, F body,
                                                      const store::transaction_options& how = {}) {
  const store::detail::call_deadline limit({how.id, how.timeout}, by.options().timeout);
  auto job = [by, body = std::move(body), how = store::transaction_options(how),
              limit]() mutable {
    how.timeout = limit.timeout_left();
    return atomically(by, body, how);
  };
  return store::detail::offloaded<client, decltype(job)>(by, std::move(job));
}

}  // namespace interlock::postgres
