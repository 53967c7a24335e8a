// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/key_posts.hpp - tasks that nobody waits for, and who waits for a place for one.

#include <chrono>
#include <exception>
#include <future>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "key_lanes.hpp"
#include "refuse_nothing.hpp"
#include "stoppable.hpp"
#include "submitted.hpp"

namespace interlock::detail {

// ---- the nodes ----------------------------------------------------------------------------------

// Destroys a posted task that was not queued, and its node.
struct refused_post {
  template <class Posted>
  void operator()(Posted* work) const noexcept {
    work->drop_task();
    delete work;
  }
};
template <class Posted>
using unqueued_post = std::unique_ptr<Posted, refused_post>;

// A posted task that a stop takes out of its line.
template <class Lanes, class Key, class Task, class Stop>
struct stoppable_key_work : posted_key_work<Key, Task> {
  using base = posted_key_work<Key, Task>;
  struct on_stop {
    stoppable_key_work* self;
    void operator()() const noexcept { self->stop(); }
  };

  template <class F>
  stoppable_key_work(const Key& key, F&& f, Lanes& its)
      : base(key, std::forward<F>(f), &perform_it), lanes(its) {}

  void stop() noexcept {
    typename Lanes::chain placed;
    Lanes& its = lanes;
    if (!its.withdraw_posted(*this, placed)) return;  // not in line yet, or it has its turn
    refused_post()(this);
    its.has_withdrawn(placed);
  }
  static ending perform_it(key_work& self, const queue_options* options,
                           key_work::step now) noexcept {
    auto& work = static_cast<stoppable_key_work&>(self);
    if (now == key_work::step::finish) {
      delete &work;
      return ending::none;
    }
    work.armed.reset();
    return base::perform_it(self, options, now);
  }

  Lanes& lanes;
  std::optional<typename stop_callback_of<Stop, on_stop>::type> armed;
};

// A posted task whose result goes into a future.
template <class Key, class Task>
struct promised_key_work : posted_key_work<Key, Task> {
  using value = std::invoke_result_t<Task>;

  template <class F>
  promised_key_work(const Key& key, F&& f)
      : posted_key_work<Key, Task>(key, std::forward<F>(f), &perform_it) {}

  static ending perform_it(key_work& self, const queue_options*, key_work::step now) noexcept {
    auto& work = static_cast<promised_key_work&>(self);
    if (now == key_work::step::finish) {
      delete &work;
      return ending::none;
    }
    result<value> outcome;
    const bool cancelled = now == key_work::step::cancel;
    const ending how = cancelled ? outcome.cancel() : outcome.run(std::move(work.task));
    work.drop_task();  // before its end is published
    give_to(work.promise, outcome);
    return how;
  }

  std::promise<value> promise;
};

// A thread that waits for a place.
template <class Key>
struct placing_key_work : seeking_key_work<Key> {
  placing_key_work(key_work& its, const Key& key) noexcept
      : seeking_key_work<Key>(key_work::kind::called, &perform_it, its, key) {
    this->hash = its.hash;
  }
  static ending perform_it(key_work& self, const queue_options* options,
                           key_work::step now) noexcept {
    if (now == key_work::step::finish) return finish_called(self);
    return static_cast<placing_key_work&>(self).perform_task(options, now);
  }
};

// ---- the calls ----------------------------------------------------------------------------------

template <class Lanes, class Key, class F>
bool post_entered(Lanes& lanes, const Key& key, std::uint32_t hash, F&& f) {
  if (lanes.posts_rest()) return false;
  entered_key_work<Key> head(key);
  head.hash = hash;
  typename Lanes::turn now(lanes);
  if (!lanes.enter(head, true)) return false;
  key_stay<Lanes, entered_key_work<Key>> here{lanes, head, now, ending::none};
  try {
    std::decay_t<F> task(std::forward<F>(f));
    here.how = attempt(task, lanes.options());
  } catch (...) {  // it could not even be copied
    lanes.never_came(head);
    here.end();
    throw;
  }
  return true;
}

// Effects: gives the node to the line, or to who waits for a place: then it says so in `who`.
template <class Lanes, class Posted, class Seeker>
key_arrival bring(Lanes& lanes, unqueued_post<Posted>& work, Seeker* who, key_work* own) {
  using standing = key_arrival::standing;
  Posted& task = *work;
  const bool rests = lanes.posts_rest();  // before this thread is at work
  typename Lanes::turn now(lanes);
  const key_arrival arrived =
      who == nullptr ? lanes.admit(task, rests) : lanes.seek(*who, task, rests);
  const bool stands = arrived.how == standing::in_line || arrived.how == standing::runner ||
                      arrived.how == standing::resting;
  if (stands) {
    if (!arrived.waits) static_cast<void>(work.release());  // it frees itself once it is done
    lanes.settle(arrived, arrived.waits ? own : nullptr, now);
  }
  return arrived;
}

// Returns: what a task is told that has not found a place, and waits for none.
inline post_result refused(key_arrival::standing how) {
  using standing = key_arrival::standing;
  if (how == standing::closed) return post_result::closed;
  if (how == standing::ended) return post_result::cancelled;
  if (how == standing::deadlock) throw_waits_for_itself();
  return how == standing::full ? post_result::full : post_result::accepted;
}

// Returns: the same, of one that has waited for a place.
template <class Seeker>
post_result waited(wait_status how, const Seeker& who) noexcept {
  if (how == wait_status::timed_out) return post_result::timed_out;
  if (how == wait_status::cancelled) return post_result::cancelled;
  return who.became == Seeker::state::closed ? post_result::closed : post_result::accepted;
}
// Effects: of a task that is in the line, or has begun, nothing is left with who brought it.
template <class Posted, class Seeker>
void let_go(unqueued_post<Posted>& work, const Seeker& who) noexcept {
  if (work == nullptr) return;
  if (who.became == Seeker::state::placed) static_cast<void>(work.release());
  if (who.became == Seeker::state::begun) delete work.release();
}

// Effects: queues the task as soon as there is a place.
template <class Lanes, class Posted, class Stop>
[[gnu::noinline]] post_result post_when_placed(
    Lanes& lanes, unqueued_post<Posted> work, const std::chrono::steady_clock::time_point* deadline,
    const Stop& stop) {
  using seeker = placing_key_work<typename Posted::key_type>;
  seeker place(*work, work->key());
  place.helps = !lanes.by_crew() || lanes.works_here();
  const key_arrival arrived = bring(lanes, work, &place, &place);
  if (!arrived.waits) return refused(arrived.how);
  if (arrived.how == key_arrival::standing::deadlock) throw_waits_for_itself();
  const wait_status how = lanes.wait_until(place, deadline, stop);
  let_go(work, place);
  if (how == wait_status::overloaded) throw_waits_for_itself();
  return waited(how, place);
}

template <class Lanes, class Posted, class Stop = never_stopped>
post_result post_made(Lanes& lanes, unqueued_post<Posted> work, const Stop& stop = {}) {
  using seeker = placing_key_work<typename Posted::key_type>;
  if (lanes.options().full == when_full::block) {
    return post_when_placed(lanes, std::move(work), nullptr, stop);
  }
  return refused(bring(lanes, work, static_cast<seeker*>(nullptr), nullptr).how);
}

template <class Posted, class Key, class F, class... More>
unqueued_post<Posted> make_post(const Key& key, std::uint32_t hash, F&& f, More&... more) {
  unqueued_post<Posted> work(new Posted(key, std::forward<F>(f), more...));
  work->hash = hash;
  return work;
}

template <class Lanes, class Key, class F>
[[gnu::noinline]] post_result post_in_line(Lanes& lanes, const Key& key, std::uint32_t hash, F&& f,
                                           bool droppable) {
  auto work = make_post<posted_key_work<Key, std::decay_t<F>>>(key, hash, std::forward<F>(f));
  work->droppable = droppable;
  return post_made(lanes, std::move(work));
}

template <class Lanes, class Key, class F>
post_result post_for_key(Lanes& lanes, const Key& key, F&& f, bool droppable = false) {
  refuse_coroutine<std::decay_t<F>>();
  refuse_nothing(f);
  const std::uint32_t hash = lanes.hash_of(key);
  if (post_entered(lanes, key, hash, std::forward<F>(f))) return post_result::accepted;
  return post_in_line(lanes, key, hash, std::forward<F>(f), droppable);
}

template <class Lanes, class Key, class F, class Stop>
post_result post_for_key_stoppable(Lanes& lanes, const Key& key, F&& f, const Stop& stop) {
  using posted = stoppable_key_work<Lanes, Key, std::decay_t<F>, Stop>;
  refuse_coroutine<std::decay_t<F>>();
  refuse_nothing(f);
  if (stop.stop_requested()) return post_result::cancelled;
  const std::uint32_t hash = lanes.hash_of(key);
  if (post_entered(lanes, key, hash, std::forward<F>(f))) return post_result::accepted;
  auto work = make_post<posted>(key, hash, std::forward<F>(f), lanes);
  work->armed.emplace(stop, typename posted::on_stop{work.get()});
  return post_made(lanes, std::move(work), stop);
}

template <class Lanes, class Key, class F, class Stop = never_stopped>
post_result post_for_key_waiting(Lanes& lanes, const Key& key, F&& f,
                                 const std::chrono::steady_clock::time_point* deadline,
                                 const Stop& stop = {}) {
  refuse_coroutine<std::decay_t<F>>();
  refuse_nothing(f);
  if (stop.stop_requested()) return post_result::cancelled;
  const std::uint32_t hash = lanes.hash_of(key);
  if (post_entered(lanes, key, hash, std::forward<F>(f))) return post_result::accepted;
  return post_when_placed(
      lanes, make_post<posted_key_work<Key, std::decay_t<F>>>(key, hash, std::forward<F>(f)),
      deadline, stop);
}

template <class Lanes, class Key, class F>
auto submit_future_for_key(Lanes& lanes, const Key& key, F&& f) {
  using posted = promised_key_work<Key, std::decay_t<F>>;
  refuse_coroutine<std::decay_t<F>>();
  refuse_nothing(f);
  auto work = make_post<posted>(key, lanes.hash_of(key), std::forward<F>(f));
  auto future = work->promise.get_future();
  const post_result how = post_made(lanes, std::move(work));
  if (how == post_result::closed) throw_closed();
  if (how != post_result::accepted) throw_full();
  return future;
}

}  // namespace interlock::detail
