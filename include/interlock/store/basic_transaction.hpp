// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/basic_transaction.hpp - read and replace several cells of a store as if alone.
//
// Problem     Money leaves one account and the process ends before it arrives at the other; or two
//             processes read the same balance and both spend it.
// Guarantee   A transaction of a store takes effect as a whole or not at all. The body of a store's
//             transaction never sees two moments at once. A transaction whose reads have changed
//             runs again or is refused. An exception that leaves the body sends nothing. A
//             transaction that is repeated under its id is made once.
// Outcomes    applied: what the body returned. conflict: never; the body runs again. refused:
//             nothing was written; too_many_conflicts, bad_value, what the engine refuses. unknown:
//             the commit was sent and not answered; run it again under its id.
// Durability  That of the engine's cells, see its versioned.hpp; what its client's probed() says.
// Progress    Optimistic: the body runs again, after a pause that grows, when others came first.
//             Blocks until the timeout at most, and the body's own time. async_ forms suspend.
// Cost        A request for each read, of all that was read so far, or one for all with prefetch();
//             one for the commit, none if nothing is written. Tens of cells.
// Lifetime    The transaction& is the body's, on its thread.
// Not for     One cell (versioned::update). Bodies with effects outside, which come again with each
//             attempt. Cells that many write at once: each commit then costs several attempts.
//
// Example     // examples/engines/store_transaction.cpp
//             const auto moved = memory::atomically(engine, [&](memory::transaction& t) {
//               t.prefetch(from, to);  // one request instead of two
//               if (t.read(from).value_or(0) < 300) return false;
//               t.update(from, [](int& money) { money -= 300; });
//               t.update(to, [](int& money) { money += 300; });
//               return true;
//             });

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "basic_versioned.hpp"
#include "detail/body_answer.hpp"
#include "detail/cell_log.hpp"
#include "detail/changed.hpp"
#include "transaction_options.hpp"

namespace interlock::store {
namespace detail {
struct transaction_run;
}  // namespace detail

// What the body reads and writes with.
//
// An attempt that cannot succeed leaves the body by an exception of a private type. A body may have
// catch (...), best with a `throw;`: one that swallows it is run again all the same.
template <class E>
class basic_transaction {
public:
  basic_transaction(const basic_transaction&) = delete;
  basic_transaction& operator=(const basic_transaction&) = delete;

  // Returns: what this transaction wrote to the cell, else its value, which was current at one
  //          moment together with all that was read before. None: there is none.
  template <class T>
  [[nodiscard]] std::optional<T> read(const basic_versioned<T, E>& cell) {
    if (ended_) throw lost();
    entry& here = log_.of(cell.at_);
    if (here.written) return decode(cell, {here.state.version, here.bytes});
    if (!here.loaded) load();
    here.read = true;
    return decode(cell, here.state);
  }

  // Effects: the commit replaces the cell's value, whatever it is unless it was read as well.
  template <class T>
  void write(const basic_versioned<T, E>& cell, const std::type_identity_t<T>& value) {
    put(log_.of(cell.at_), codec<T>::encode(value));
  }
  template <class T>
  void erase(const basic_versioned<T, E>& cell) {
    put(log_.of(cell.at_), std::nullopt);
  }
  // Effects: writes what f makes of what is read; f as for versioned::update.
  template <class T, class F>
  void update(const basic_versioned<T, E>& cell, F&& f) {
    const std::optional<T> next = detail::changed<T>(f, read(cell));
    if (next) {
      write(cell, *next);
    } else {
      erase(cell);
    }
  }

  // Effects: loads the cells in one request; reading them costs none then.
  template <class... T>
  void prefetch(const basic_versioned<T, E>&... cells) {
    if (ended_) throw lost();
    bool all = true;
    ((all = log_.of(cells.at_).loaded && all), ...);
    if (!all) load();
  }

private:
  friend struct detail::transaction_run;
  using entry = typename detail::cell_log<E>::entry;
  struct lost {};  // leaves the body: the attempt cannot succeed

  basic_transaction(E client, const detail::call_deadline& limit)
      : log_(std::move(client)), limit_(limit) {}

  void load() {
    const outcome<bool> same = log_.load(limit_);
    if (same && *same) return;
    ended_ = true;
    if (!same) failed_.emplace(same.error());
    throw lost();
  }
  template <class T>
  std::optional<T> decode(const basic_versioned<T, E>& cell, const cell_state& state) {
    auto seen = cell.decoded(state, "transaction.read");
    if (seen) return std::move(seen->value);
    ended_ = true;
    failed_.emplace(seen.error());
    throw lost();
  }
  static void put(entry& here, std::optional<std::string> bytes) {
    here.written = true;
    here.bytes = std::move(bytes);
  }

  detail::cell_log<E> log_;
  const detail::call_deadline limit_;
  bool ended_ = false;             // this attempt is lost; the body is on its way out
  std::optional<refusal> failed_;  // ... and the next one would be too
};

namespace detail {

struct transaction_run {
  template <class E, class F, class R = body_answer<F, basic_transaction<E>>>
  static outcome<R> run(E client, F& body, const transaction_options& how) {
    const call_deadline limit(how.timeout.count() != 0 ? how.timeout : client.options().timeout);
    basic_transaction<E> t(client, limit);
    backoff pace(std::chrono::microseconds(200), std::chrono::milliseconds(50));
    for (std::size_t attempt = 0; attempt < how.attempts; ++attempt) {
      if (attempt > 0) {
        if (!pause(pace, limit.at())) break;
        t.log_.begin_again();
        t.ended_ = false;
      }
      std::optional<R> answer = call<R>(body, t);
      if (t.failed_) return *t.failed_;
      if (t.ended_) continue;
      auto done = t.log_.commit(how.id, limit);
      if (done) return *std::move(answer);
      if (!done.conflicted()) return std::move(done).template without_answer<R, nothing>();
    }
    return refusal({errc::too_many_conflicts, E::engine_name, "transaction.commit", "",
                    "others came first each time",
                    "allow more attempts or time, or let fewer transactions meet in a cell"});
  }

private:
  // Returns: what the body returned; none if the attempt is lost. Throws: what the body throws.
  template <class R, class E, class F>
  static std::optional<R> call(F& body, basic_transaction<E>& t) {
    try {
      if constexpr (std::is_void_v<std::invoke_result_t<F&, basic_transaction<E>&>>) {
        std::invoke(body, t);
        return R();
      } else {
        return std::invoke(body, t);
      }
    } catch (...) {
      if (!t.ended_) throw;
      return std::nullopt;
    }
  }
};

}  // namespace detail

// Effects: calls body(transaction&) until what it read and wrote is one step of the store, on this
//          thread, as often as the options allow.
// Returns: what the body returned, once that is so. Repeated under an id it is of the repetition,
//          whose body saw the state that the first one left.
// Throws: what the body throws; nothing was written then.
template <class E, class F>
auto atomically(E client, F&& body, const transaction_options& how = {})
    -> outcome<detail::body_answer<std::remove_reference_t<F>, basic_transaction<E>>> {
  return detail::transaction_run::run(std::move(client), body, how);
}

// Returns: an awaitable of the same; the body runs on a thread of the client. The time runs from
//          now.
template <class E, class F>
[[nodiscard("write co_await")]] auto async_atomically(E client, F body,
                                                      const transaction_options& how = {}) {
  const detail::call_deadline limit({how.id, how.timeout}, client.options().timeout);
  auto job = [client, body = std::move(body), how = transaction_options(how), limit]() mutable {
    how.timeout = limit.timeout_left();
    return detail::transaction_run::run(client, body, how);
  };
  return detail::offloaded<E, decltype(job)>(client, std::move(job));
}

}  // namespace interlock::store
