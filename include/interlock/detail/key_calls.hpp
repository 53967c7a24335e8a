// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/key_calls.hpp - what the calls of a keyed_serial_queue do, but submit.

#include <atomic>
#include <chrono>
#include <forward_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "key_lanes.hpp"
#include "stoppable.hpp"
#include "submitted.hpp"

namespace interlock::detail {

inline key_limits checked_limits(std::size_t per_key, std::size_t total, std::size_t keys) {
  if (total == 0 || keys == 0) {
    throw std::invalid_argument(
        "interlock::keyed_serial_queue: with a bound of 0 it does no work; use at least 1");
  }
  return {per_key, total, keys};
}

// ---- at once ------------------------------------------------------------------------------------

// Preconditions: this thread has entered the head, and was at work before: `now`.
template <class Lanes, class Work, class F>
std::invoke_result_t<F> run_entered(Lanes& lanes, Work& head, typename Lanes::turn& now, F&& f) {
  key_stay<Lanes, Work> here{lanes, head, now, ending::failed};
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
      std::invoke(std::forward<F>(f));
      here.how = ending::completed;
    } else {
      std::invoke_result_t<F> given = std::invoke(std::forward<F>(f));
      here.how = ending::completed;
      return std::forward<std::invoke_result_t<F>>(given);
    }
  } catch (...) {
    here.end();
    throw;
  }
}

template <class Lanes, class Key, class F>
auto try_run_for_key(Lanes& lanes, const Key& key, F&& f) {
  refuse_coroutine<F>();
  entered_key_work<Key> head(key);
  head.hash = lanes.hash_of(key);
  typename Lanes::turn now(lanes);
  const bool mine = lanes.enter(head);
  if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
    if (mine) run_entered(lanes, head, now, std::forward<F>(f));
    return mine;
  } else {
    using answer = std::optional<std::invoke_result_t<F>>;
    return mine ? answer(run_entered(lanes, head, now, std::forward<F>(f))) : answer();
  }
}

// ---- in its turn --------------------------------------------------------------------------------

// Effects: the work takes its place, and if the key is idle, or rests, this thread goes to work.
template <class Lanes, class Work>
key_arrival::standing begin_in_turn(Lanes& lanes, Work& work) {
  typename Lanes::turn now(lanes);
  const key_arrival arrived = lanes.admit(work, false);
  lanes.settle(arrived, &work, now);
  return arrived.how;
}

// Effects: the work takes its place, and this thread waits until it is done.
// Returns: how it was received. Throws: if it would wait for itself.
template <class Lanes, class Work>
key_arrival::standing do_in_turn(Lanes& lanes, Work& work) {
  using standing = key_arrival::standing;
  work.helps = !lanes.by_crew() || lanes.works_here();
  const standing how = begin_in_turn(lanes, work);
  if (how == standing::deadlock) throw_waits_for_itself();
  if (how != standing::in_line && how != standing::runner) return how;
  if (!lanes.wait(work)) throw_waits_for_itself();
  return how;
}

template <class Lanes, class Key, class F>
std::invoke_result_t<F> run_for_key(Lanes& lanes, const Key& key, F&& f) {
  refuse_coroutine<F>();
  const std::uint32_t hash = lanes.hash_of(key);
  {
    entered_key_work<Key> head(key);
    head.hash = hash;
    typename Lanes::turn now(lanes);
    if (lanes.enter(head)) return run_entered(lanes, head, now, std::forward<F>(f));
  }
  called_key_work<Key, F> work(key, f);
  work.hash = hash;
  if (do_in_turn(lanes, work) == key_arrival::standing::closed) throw_closed();
  return work.outcome.take();
}

// Effects: the same, but ends with the stop or behind the deadline if f has not begun by then.
template <class Lanes, class Key, class F, class Stop>
run_result<std::invoke_result_t<F>> run_for_key_ending(
    Lanes& lanes, const Key& key, F&& f, const std::chrono::steady_clock::time_point* deadline,
    const Stop& stop) {
  using standing = key_arrival::standing;
  using given = run_result<std::invoke_result_t<F>>;
  refuse_coroutine<F>();
  if (stop.stop_requested()) return given(wait_status::cancelled);
  called_key_work<Key, F> work(key, f);
  work.hash = lanes.hash_of(key);
  work.helps = !lanes.by_crew() || lanes.works_here();
  const standing began = begin_in_turn(lanes, work);
  if (began == standing::deadlock) throw_waits_for_itself();
  if (began == standing::closed) return given(wait_status::closed);
  const wait_status how = lanes.wait_until(work, deadline, stop);
  if (how == wait_status::overloaded) throw_waits_for_itself();
  if (how != wait_status::acquired) return given(how);
  if (work.cancelled) return given(wait_status::cancelled);
  return ran_with(work.outcome);
}

// ---- the end of what was accepted before --------------------------------------------------------

template <class Lanes, class Key>
void drain_key(Lanes& lanes, const Key& key) {
  barrier_key_work<Key> barrier(key);
  barrier.hash = lanes.hash_of(key);
  do_in_turn(lanes, barrier);
  lanes.expect_withdrawn();
}
// Returns: false if that has not ended by the deadline.
template <class Lanes, class Key>
bool drain_key_until(Lanes& lanes, const Key& key, std::chrono::steady_clock::time_point deadline) {
  using standing = key_arrival::standing;
  barrier_key_work<Key> barrier(key);
  barrier.hash = lanes.hash_of(key);
  barrier.helps = !lanes.by_crew() || lanes.works_here();
  const standing began = begin_in_turn(lanes, barrier);
  if (began == standing::deadlock) throw_waits_for_itself();
  if (began == standing::in_line || began == standing::runner) {
    const wait_status how = lanes.wait_until(barrier, &deadline, never_stopped());
    if (how == wait_status::overloaded) throw_waits_for_itself();
    if (how != wait_status::acquired) return false;
  }
  return lanes.expect_withdrawn(&deadline);
}

// Waits, at the end of its life, for all the signals that were made for it.
template <class Key>
class gathering {
public:
  struct signal : private own_key<Key>, keyed_work<Key> {
    signal(gathering& g, const Key& key)
        : own_key<Key>(key),
          keyed_work<Key>(key_work::kind::signal, &perform_it, own_key<Key>::of(key)),
          all(g) {
      // order: relaxed: counted before it can arrive
      all.missing_.fetch_add(1, std::memory_order_relaxed);
    }
    static ending perform_it(key_work& self, const queue_options*, key_work::step now) noexcept {
      if (now == key_work::step::finish) static_cast<signal&>(self).arrive();
      return ending::none;
    }
    void arrive() noexcept { all.arrive(); }

  private:
    gathering& all;
  };

  gathering() = default;
  ~gathering() { wait(nullptr); }
  // Returns: false if the deadline has passed.
  bool wait(const std::chrono::steady_clock::time_point* deadline) noexcept {
    if (std::exchange(waits_for_more_, false)) arrive();
    trampoline::run_ready();
    return gate_.wait(deadline) == key_work::done;
  }
  gathering(const gathering&) = delete;
  gathering& operator=(const gathering&) = delete;

private:
  void arrive() noexcept {
    // order: acq_rel [gathering.arrive] pairs with [gathering.arrive]: the last one has seen all that the others did
    if (missing_.fetch_sub(1, std::memory_order_acq_rel) == 1) gate_.tell(key_work::done);
  }

  std::atomic<std::size_t> missing_{1};
  bool waits_for_more_ = true;
  key_work gate_{key_work::kind::called, nullptr};
};

// Effects: waits until all that was accepted before has ended, or until the deadline, if there is
//          one. Returns: false if that came first.
template <class Key, class Hash, class Equal>
bool drain_keys(key_lanes<Key, Hash, Equal>& lanes,
                const std::chrono::steady_clock::time_point* deadline = nullptr) {
  if (lanes.is_own_thread()) throw_waits_for_itself();
  using signal = typename gathering<Key>::signal;
  std::forward_list<signal> signals;
  std::forward_list<typename key_lanes<Key, Hash, Equal>::listed_wait> listed;
  {
    gathering<Key> all;  // waits for the signals, also if their allocation fails
    lanes.each_line([&](const Key& key) -> keyed_work<Key>& {
      return signals.emplace_front(all, key);
    });
    const auto give_up = [&](const signal* but) noexcept {
      for (signal& each : signals) {
        if (&each == but || lanes.withdraw(each, false)) each.arrive();
      }
    };
    if (inside::innermost != nullptr) {
      for (signal& each : signals) {
        listed.emplace_front(lanes, each, deadline != nullptr);
        if (!listed.front().closes_circle() || !lanes.withdraw(each, false)) continue;
        give_up(&each);
        throw_waits_for_itself();
      }
    }
    deadline == nullptr ? lanes.lend_a_hand() : lanes.lend_a_hand_until(*deadline);
    if (deadline != nullptr && !all.wait(deadline)) {
      give_up(nullptr);
      return false;
    }
  }
  return lanes.expect_withdrawn(deadline);
}

}  // namespace interlock::detail
