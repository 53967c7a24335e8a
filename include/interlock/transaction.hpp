// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/transaction.hpp - read and replace several versioned cells as if alone.
//
// Problem     Money leaves one account and an exception, a crash of the step or another request
//             comes before it arrives at the other: the sum is wrong, for a moment or for good.
// Guarantee   A transaction takes effect as a whole or not at all.
//             The body never sees two moments at once.
//             Transactions are serializable so there is no write skew.
//             A transaction reads what it wrote.
//             An exception that leaves the body publishes nothing.
//             A transaction that keeps losing to other transactions gets a turn and commits.
// Progress    Optimistic: the body runs again when another commit has changed, or is about to
//             change, what it read. After 16 losses it takes a turn, first come first served, and
//             the others hold back their attempts, each for one turn and at most 50 ms. Plain
//             commits and bodies under way may still win.
// Cost        No state shared by all, but a look at whether somebody has the turn. Commit: one CAS
//             for each cell written, one load for each read. Reading n cells is n*n/2 loads, so
//             keep it to tens. No allocation up to 16 reads, 16 writes, 1 KiB of inline values.
// Lifetime    The cells outlive the call; the transaction& is the body's, on its thread.
// Not for     One cell (versioned::update). Bodies with effects outside their cells, which come
//             again with each attempt, that wait for another thread's transaction, or that run
//             other work on their thread (sync_wait, serial_queue::run).
//
// Example     atomically([&](transaction& t) {                         // examples/transaction.cpp
//               if (t.read(from) < amount) throw std::runtime_error("not enough money");
//               t.update(from, [&](int& money) { money -= amount; });
//               t.update(to, [&](int& money) { money += amount; });
//             });

#include <cstddef>
#include <functional>
#include <limits>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

#include "detail/awaitable.hpp"
#include "detail/transaction_log.hpp"
#include "versioned.hpp"

namespace interlock {

// What the body of atomically() reads and writes with.
//
// A read that cannot be true together with the earlier ones leaves the body by an exception of a
// private type, for the next attempt. A body may have catch (...), best with a `throw;`: one that
// swallows it is run again all the same, and cannot read anything more until then.
class transaction {
public:
  transaction(const transaction&) = delete;
  transaction& operator=(const transaction&) = delete;

  // Returns: what this transaction wrote to the cell, else the cell's value, which was current at
  //          one moment together with all that was read before.
  // Throws: what T's copy throws; std::bad_alloc; see above.
  template <class T>
  [[nodiscard]] T read(const versioned<T>& cell) {
    if (const auto* const own = log_.draft_of(cell.cell_)) return own->value();
    auto seen = cell.cell_.read();
    log_.saw(cell.cell_, seen.version);
    return std::move(seen).take();
  }

  // Effects: the commit replaces the cell's value, whatever it is unless it was read as well.
  // Throws: what T's copy throws; std::bad_alloc.
  template <class T>
  void write(versioned<T>& cell, std::type_identity_t<T> value) {
    log_.write(cell.cell_, std::move(value));
  }

  // Effects: write(cell, f(read(cell))), where f is T f(const T&) or void f(T&).
  template <class T, class F>
  void update(versioned<T>& cell, F&& f) {
    write(cell, detail::updated(read(cell), f));
  }

  // What atomically() with an attempt limit returns: the body's result, or true if it has none;
  // empty, or false, if all attempts lost.
  template <class R>
  using outcome = std::conditional_t<std::is_void_v<R>, bool, std::optional<std::decay_t<R>>>;

private:
  template <class F>
  friend auto atomically(F&& body, std::size_t max_attempts)
      -> outcome<std::invoke_result_t<F&, transaction&>>;

  transaction() = default;

  template <class R, class F>
  static outcome<R> attempt(F& body);

  // True while a body runs on this thread.
  struct running {
    running() noexcept { here = true; }
    ~running() { here = false; }
    running(const running&) = delete;
    running& operator=(const running&) = delete;
    static inline constinit thread_local bool here = false;
  };

  detail::transaction_log log_;
};

// Effects: as atomically(body), but calls the body at most max_attempts times.
// Returns: the body's result; nothing, and nothing was done, if it lost each time: to a commit, to
//          one under way, or to a reader of a cell that keeps its value on the heap.
template <class F>
[[nodiscard("without a result nothing was done")]] auto atomically(F&& body,
                                                                   std::size_t max_attempts)
    -> transaction::outcome<std::invoke_result_t<F&, transaction&>> {
  using result = std::invoke_result_t<F&, transaction&>;
  static_assert(!detail::awaitable<result>,
                "interlock::atomically: the body of a transaction is plain code; nothing would "
                "await what it returns");
  static_assert(!std::is_reference_v<result>,
                "interlock::atomically: the body returns a value, which is true of one moment; "
                "a reference would be read later");
  static_assert(std::is_void_v<result> || std::is_nothrow_move_constructible_v<result>,
                "interlock::atomically: the result is moved to the caller after the commit, which "
                "must not throw; hand it over in a variable of the caller's");
  if (transaction::running::here) {
    throw std::system_error(
        std::make_error_code(std::errc::resource_deadlock_would_occur),
        "interlock::atomically: called inside another body, whose reads and writes it could not "
        "join; pass that body's transaction& to the inner function");
  }
  detail::attempts attempts;
  for (std::size_t made = 0; made < max_attempts; ++made) {
    attempts.next();
    if (auto done = transaction::attempt<result>(body)) return done;
  }
  return {};
}

// Effects: calls body(transaction&) until its reads and writes fit in one moment, then makes the
//          writes visible. The body may be called any number of times.
// Returns: what the body returned the last time.
// Throws: what the body throws, if all it read is still true: nothing is published then, and the
//         body is run again if not. std::overflow_error at the last version of a cell.
//         std::system_error (resource_deadlock_would_occur) inside another body.
// Synchronization: transactions and plain operations on cells have one total order.
template <class F>
std::invoke_result_t<F&, transaction&> atomically(F&& body) {
  auto done = atomically(body, std::numeric_limits<std::size_t>::max());
  if constexpr (!std::is_void_v<std::invoke_result_t<F&, transaction&>>) {
    return *std::move(done);
  }
}

template <class R, class F>
auto transaction::attempt(F& body) -> outcome<R> {
  transaction t;
  outcome<R> done{};
  try {
    const running now;
    if constexpr (std::is_void_v<R>) {
      std::invoke(body, t);
      done = true;
    } else {
      done.emplace(std::invoke(body, t));
    }
  } catch (...) {
    if (t.log_.holds()) throw;
    return {};
  }
  if (!t.log_.commit()) return {};
  return done;
}

}  // namespace interlock
