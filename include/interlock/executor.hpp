// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/executor.hpp - who runs later what it is given: Asio's, oneTBB's, your own.
//
// An executor takes a callable without arguments and runs it later, once, on some thread. These are
// executors; the first that fits counts:
//
//   ex.enqueue(f);   // tbb::task_arena: its execute() is synchronous, and its copy a new arena
//   ex.execute(f);   // Asio's executors, worker_pool, your own
//   ex(f);           // a plain callable: [&loop](auto job) { loop.execute(job); }
//
// - One that has enqueue(), or cannot be copied, is taken by reference: name it, and let it outlive
//   what you give it to. Any other is copied; std::ref() takes that by reference too.
// - The callable is small (16 bytes at most), trivially copied and noexcept, so a std::function
//   holds it without allocation. An executor that has `using moves_what_it_runs = void;` gets one
//   that is moved and never copied, and that notes when it is destroyed instead of called.
// - An executor that throws has not taken the callable: then who gave it does the work itself.
//   So it is, for queues, with one that runs the callable inside the call.
// - One that takes the callable and never runs it leaves the coroutine suspended, and the queue
//   with work that nobody does; with moves_what_it_runs the owner learns of it.

#include <concepts>
#include <functional>
#include <type_traits>
#include <utility>

namespace interlock {
namespace detail {

struct any_job {
  void operator()() const noexcept {}
};
template <class E>
concept moves_jobs = requires { typename E::moves_what_it_runs; };
template <class E>
struct moved_job : any_job {
  moved_job(moved_job&&) = default;
};
template <class E>
using job_for = std::conditional_t<moves_jobs<E>, moved_job<E>, any_job>;

template <class E>
concept enqueues = requires(E& to, any_job job) { to.enqueue(std::move(job)); };
template <class E>
concept executes = requires(E& to, job_for<E> job) { to.execute(std::move(job)); };
template <class E>
concept calls = requires(E& to, job_for<E> job) { to(std::move(job)); };

// An executor that is somewhere else.
template <class E>
struct executor_reference {
  E* to;
};

// Effects: gives the job to the executor. Throws: what the executor throws.
template <class E, class Job>
void hand_to(E& to, Job&& job) {
  if constexpr (enqueues<E>) {
    to.enqueue(std::forward<Job>(job));
  } else if constexpr (executes<E>) {
    to.execute(std::forward<Job>(job));
  } else {
    to(std::forward<Job>(job));
  }
}
template <class E, class Job>
void hand_to(executor_reference<E>& to, Job&& job) {
  hand_to(*to.to, std::forward<Job>(job));
}

template <class E>
concept any_executor_type = enqueues<E> || executes<E> || calls<E>;

}  // namespace detail

// Requirements: as above.
template <class E>
concept executor = detail::any_executor_type<std::unwrap_reference_t<std::remove_cvref_t<E>>>;

namespace detail {

// What is kept of an executor, and how: kept_executor<E>::of(std::forward<E>(given)).
template <class E, class Plain = std::remove_cvref_t<E>>
struct kept_executor {
  static constexpr bool moves = moves_jobs<Plain>;
  static constexpr bool referred = enqueues<Plain> || !std::copy_constructible<Plain>;
  static_assert(!referred || std::is_lvalue_reference_v<E>,
                "interlock: this executor is taken by reference; give a name to it, and let it "
                "outlive what you give it to");
  static_assert(!referred || !std::is_const_v<std::remove_reference_t<E>>,
                "interlock: this executor is taken by reference, and must not be const");

  using type = std::conditional_t<referred, executor_reference<Plain>, Plain>;
  static type of(E&& given) {
    if constexpr (referred) {
      return {&given};
    } else {
      return std::forward<E>(given);
    }
  }
};
template <class E, class To>
struct kept_executor<E, std::reference_wrapper<To>> {
  static constexpr bool moves = moves_jobs<To>;
  using type = executor_reference<To>;
  static type of(const std::reference_wrapper<To>& given) noexcept { return {&given.get()}; }
};

}  // namespace detail
}  // namespace interlock
