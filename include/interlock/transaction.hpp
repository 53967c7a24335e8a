// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/transaction.hpp - read and replace several versioned cells as if alone.
//
// Problem     Money leaves one account and an exception, a crash of the step or another request
//             comes before it arrives at the other: the sum is wrong, for a moment or for good.
// Guarantee   A transaction takes effect as a whole or not at all.
//             The body never sees two moments at once.
//             Transactions are serializable so there is no write skew.
//             An exception that leaves the body publishes nothing.
//             A retry blocks until a cell that was read has changed and misses no change.
//             A transaction that keeps losing to other transactions gets a turn and commits.
// Progress    Optimistic: the body runs again when another commit has changed, or is about to
//             change, what it read. After 16 losses it takes a turn, first come first served, and
//             the others hold back their attempts, each for one turn and at most 50 ms. Plain
//             commits and bodies under way may still win. Readers wait for no body.
// Cost        No state shared by all, but a look at whether somebody has the turn. Commit: one CAS
//             for each cell written, one load for each read, and a fence if there are claims.
//             Reading n cells is n*n/2 loads, so keep it to tens. No allocation up to 16 cells, 4
//             hooks and 1 KiB of inline values.
// Lifetime    The cells outlive the call; the transaction& is the body's, on its thread.
// Not for     One cell (versioned::update), or only reading (snapshot). Bodies with effects outside
//             their cells, which come again with each attempt, that wait for another thread's
//             transaction, or that run other work on their thread (sync_wait, serial_queue::run).
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
#include "detail/transaction_commit.hpp"
#include "detail/transaction_log.hpp"
#include "detail/transaction_savepoint.hpp"
#include "detail/turnstile.hpp"
#include "versioned.hpp"

namespace interlock {

template <class R>
class transaction_outcome;

// What the body of atomically() reads and writes with.
//
// A read that cannot be true together with the earlier ones leaves the body by an exception of a
// private type, for the next attempt; so does retry(). A body may have catch (...), best with a
// `throw;`: one that swallows it is run again all the same, and cannot read anything more until
// then.
class transaction {
public:
  transaction(const transaction&) = delete;
  transaction& operator=(const transaction&) = delete;

  // Returns: what this transaction wrote to the cell, else the cell's value, which was current at
  //          one moment together with all that was read before.
  // Throws: what T's copy throws; std::bad_alloc; see above.
  template <class T>
  [[nodiscard]] T read(const versioned<T>& cell) {
    return log_.read(cell.cell_);
  }

  // Effects: the commit replaces the cell's value, whatever it is unless it was read as well.
  // Throws: what T's copy throws; std::bad_alloc.
  template <class T>
  void write(versioned<T>& cell, std::type_identity_t<T> value) {
    log_.write(cell.cell_, std::move(value));
  }

  // Effects: write(cell, f(read(cell))), where f is T f(const T&) or void f(T&).
  // Throws: as read() and write(); what f throws, and the cell is not written then.
  template <class T, class F>
  void update(versioned<T>& cell, F&& f) {
    log_.update(cell.cell_, f);
  }

  // Effects: as update(), and claims the cell before it calls f: until this attempt has ended,
  //          other commits wait or lose, and readers go on with the old value; who begins to wait
  //          for its next version spins and yields until then, a coroutine too. So what comes after
  //          cannot be lost to this cell. If another transaction has claimed it, this attempt is
  //          lost: who holds a claim waits for none. T is kept inline (versioned<T>::storage).
  // Preconditions: until the end of the body nothing on this thread changes the cell by a plain
  //          operation or waits for its version, which would wait for itself, and the body waits
  //          for nobody who does.
  // Throws: as update().
  template <class T, class F>
  void update_locked(versioned<T>& cell, F&& f) {
    static_assert(versioned<T>::storage != versioned<T>::storage_kind::node,
                  "interlock::transaction::update_locked: the cell keeps its value inline; "
                  "readers of one on the heap would have to wait for the body; use update()");
    log_.update_locked(cell.cell_, f);
  }

  // Effects: undoes the body, blocks until one of the cells that it has read changes, and calls it
  //          again. Inside or_else(), see there.
  // Throws: always, see above; atomically() throws std::system_error
  //         (resource_deadlock_would_occur) if nothing was read: it would wait for ever.
  [[noreturn]] void retry() { log_.retry(); }

  // Effects: calls f(transaction&); if that ends in retry(), undoes what it wrote, claimed and
  //          hooked, but not what it read, and calls g(transaction&) instead. If both end in
  //          retry(), waits for whatever either has read. An exception that leaves f or g undoes
  //          what that one did.
  // Returns: what f or g has returned.
  template <class F, class G>
  std::invoke_result_t<F&, transaction&> or_else(F&& f, G&& g) {
    static_assert(std::is_same_v<std::invoke_result_t<F&, transaction&>,
                                 std::invoke_result_t<G&, transaction&>>,
                  "interlock::transaction::or_else: both alternatives return the same type");
    log_.go_on();  // a retry that the body has swallowed is not f's
    try {
      return part(f);
    } catch (const detail::transaction_retry&) {
      log_.go_on_instead();
    }
    return part(g);
  }

  // Effects: calls f() once, after the commit and outside of all locks, on this thread, in the
  //          order of these calls; or never, if this attempt does not commit. f may use cells and
  //          start transactions, which are its own.
  // Throws: what f's copy throws; std::bad_alloc. f itself throws nothing: the commit stands, and
  //         an exception would tell the caller otherwise.
  template <class F>
  void on_commit(F&& f) {
    static_assert(std::is_nothrow_invocable_v<std::decay_t<F>&>,
                  "interlock::transaction::on_commit: the commit stands when f runs, so f may not "
                  "throw: declare it noexcept");
    log_.add_hook(std::forward<F>(f));
  }

  template <class R>
  using outcome = transaction_outcome<R>;

private:
  template <class F>
  friend auto atomically(F&& body, std::size_t max_attempts)
      -> transaction_outcome<std::invoke_result_t<F&, transaction&>>;

  transaction() = default;

  // Effects: one attempt, without its hooks.
  template <class R, class F>
  [[gnu::always_inline]] inline outcome<R> attempt(F& body);

  // Effects: calls f as a part of this transaction that can be undone.
  template <class F>
  std::invoke_result_t<F&, transaction&> part(F& f) {
    detail::transaction_log::savepoint before(log_);
    if constexpr (std::is_void_v<std::invoke_result_t<F&, transaction&>>) {
      std::invoke(f, *this);
      before.keep();
    } else {
      auto result = std::invoke(f, *this);
      before.keep();
      return result;
    }
  }

  // Names the transaction whose body runs on this thread.
  struct running {
    explicit running(transaction& t) noexcept { here = &t; }
    ~running() { here = nullptr; }
    running(const running&) = delete;
    running& operator=(const running&) = delete;
    static inline constinit thread_local transaction* here = nullptr;
  };

  detail::transaction_log log_;
};

namespace detail {

// std::optional of a result that holds no value.
class done {
public:
  explicit operator bool() const noexcept { return done_; }
  [[nodiscard]] bool has_value() const noexcept { return done_; }
  void emplace() noexcept { done_ = true; }

private:
  bool done_ = false;
};

}  // namespace detail

// What atomically() with an attempt limit returns: a std::optional of the body's result (or, if it
// returns nothing, only whether it has taken effect), and what was in the way if it is empty.
template <class R>
class [[nodiscard("without a result nothing was done")]] transaction_outcome
    : public std::conditional_t<std::is_void_v<R>, detail::done, std::optional<R>> {
public:
  // Returns: the address of the versioned cell that the last attempt was lost to; nullptr if it
  //          was not lost, but has ended in retry() or was not made.
  [[nodiscard]] const void* contended() const noexcept { return contended_; }

private:
  template <class F>
  friend auto atomically(F&& body, std::size_t max_attempts)
      -> transaction_outcome<std::invoke_result_t<F&, transaction&>>;

  const void* contended_ = nullptr;
};

// Effects: as atomically(body), but calls the body at most max_attempts times; each time that it
//          ends in retry() counts as well, and after the last one there is no wait. Inside another
//          body the call is a part of that one, which wins or loses as a whole: the outer limit
//          holds, and of this one only whether it is 0.
// Returns: the body's result; empty, and nothing was done, if it lost each time: to a commit, to
//          one under way, to a claim, or to a reader of a cell that keeps its value on the heap.
template <class F>
[[nodiscard("without a result nothing was done")]] auto atomically(F&& body,
                                                                   std::size_t max_attempts)
    -> transaction_outcome<std::invoke_result_t<F&, transaction&>> {
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
  transaction_outcome<result> none;
  if (transaction* const outer = transaction::running::here) {
    if (max_attempts == 0) return none;
    if constexpr (std::is_void_v<result>) {
      outer->part(body);
      none.emplace();
    } else {
      none.emplace(outer->part(body));
    }
    return none;
  }
  detail::attempts attempts;
  for (std::size_t left = max_attempts; left != 0; --left) {
    attempts.next();
    transaction t;
    if (auto done = t.attempt<result>(body)) {
      attempts.leave();
      t.log_.wake_waiters();
      t.log_.run_hooks();
      return done;
    }
    none.contended_ = t.log_.lost_to();
    if (t.log_.now() != detail::transaction_log::state::waits || left == 1) continue;
    attempts.leave();
    if (!t.log_.wait_for_change()) {
      throw std::system_error(
          std::make_error_code(std::errc::resource_deadlock_would_occur),
          "interlock::transaction::retry: nothing was read, so nothing could end the wait; read "
          "the cells whose change the body waits for");
    }
  }
  return none;
}

// Effects: calls body(transaction&) until its reads and writes fit in one moment, then makes the
//          writes visible. The body may be called any number of times. Inside another body on this
//          thread the call is a part of that one: it takes effect with it or not at all, and an
//          exception that leaves it undoes what it wrote, claimed and hooked.
// Returns: what the body returned the last time.
// Throws: what the body throws, if all it read is still true: nothing is published then, and the
//         body is run again if not. std::overflow_error at the last version of a cell.
//         std::system_error if the body ends in retry() and has read nothing.
// Synchronization: transactions and plain operations on cells have one total order.
template <class F>
std::invoke_result_t<F&, transaction&> atomically(F&& body) {
  auto done = atomically(body, std::numeric_limits<std::size_t>::max());
  if constexpr (!std::is_void_v<std::invoke_result_t<F&, transaction&>>) {
    return *std::move(done);
  }
}

template <class R, class F>
inline auto transaction::attempt(F& body) -> outcome<R> {
  outcome<R> done;
  try {
    const running now(*this);
    if constexpr (std::is_void_v<R>) {
      std::invoke(body, *this);
      done.emplace();
    } else {
      done.emplace(std::invoke(body, *this));
    }
  } catch (const detail::transaction_conflict&) {
    return {};
  } catch (const detail::transaction_retry&) {
    return {};
  } catch (...) {
    if (log_.holds()) throw;
    return {};
  }
  if (!log_.commit()) return {};
  return done;
}

}  // namespace interlock
