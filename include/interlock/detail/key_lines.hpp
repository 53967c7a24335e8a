// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/key_lines.hpp - the lines of the keys: who stands where. The shard is locked.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "key_crew.hpp"
#include "key_room.hpp"
#include "key_shards.hpp"
#include "key_waits.hpp"

namespace interlock::detail {

struct key_limits {
  std::size_t posts_per_key, posts, keys;
};

// How a piece of work was received.
struct key_arrival {
  enum class standing : std::uint8_t {
    closed, full, deadlock, ended,  // refused: it is nowhere
    idle,                           // of a barrier: there is nothing to wait for
    in_line,                        // somebody else does it: it may be done and gone
    runner,                         // this thread has the role of the head
    resting,                        // for the crew: see key_lanes::settle()
  } how;
  key_work* head = nullptr;
  key_crew::claim_result call = key_crew::claim_result::somebody_comes;
  key_work* dropped = nullptr;  // whose place it has taken: the caller ends that
  bool waits = false;           // not the task is in line, but who waits for a place for it
};

template <class Key, class Hash, class Equal>
class key_lines : public key_shards<Key, Hash, Equal> {
  using base = key_shards<Key, Hash, Equal>;

public:
  using typename base::kind;
  using typename base::place;
  using typename base::shard;
  using typename base::work;
  using seeking = seeking_key_work<Key>;
  using standing = key_arrival::standing;
  using claim_result = key_crew::claim_result;

  struct chain {
    void add(key_work& w) noexcept {
      w.next = nullptr;
      *end = &w;
      end = &w.next;
    }
    key_work* first = nullptr;
    key_work** end = &first;
  };

  queue_metrics metrics() const noexcept {
    if (metrics_ == nullptr) return {};
    std::int64_t oldest = INT64_MAX;
    this->each_shard([&](const shard& home) {
      home.keys.for_each([&](const key_work& head) {
        const key_work* w = &head;
        while (w != nullptr && (w->has_begun() || !w->counts())) w = w->next;
        if (w != nullptr) oldest = std::min(oldest, w->since);
      });
    });
    return metrics_->read(oldest);
  }

  // Effects: f(key) for each key, under a lock; the work that it gives goes to the end of the line.
  template <class F>
  void each_line(F f) {
    this->each_shard([&](shard& home) {
      home.keys.for_each([&](key_work& head) {
        work& last = f(static_cast<const work&>(head).key());
        last.hash = head.hash;
        append(head, last);
      });
    });
  }

protected:
  key_lines(const queue_options& options, key_limits bounds, const any_executor& executor,
            std::uint32_t most_jobs, key_crew::duties duties)
      : options_(options),
        bounds_(bounds),
        limited_(bounds.posts_per_key != SIZE_MAX || bounds.posts != SIZE_MAX ||
                 bounds.keys != SIZE_MAX),
        metrics_(options.metrics ? std::make_unique<queue_recorder>() : nullptr),
        crew_(executor, most_jobs, duties) {}
  ~key_lines() = default;

  struct key_step {
    key_work* head = nullptr;  // what comes next of the key; nullptr: nothing
    key_work* heir = nullptr;  // who does it; nullptr and not at rest: this thread
    bool rests = false;
    claim_result call = claim_result::somebody_comes;

    bool mine() const noexcept { return head != nullptr && heir == nullptr && !rests; }
  };

  bool has_room(const key_work* head) noexcept {
    if (head != nullptr && head->posts >= bounds_.posts_per_key) return false;
    return bounds_.posts == SIZE_MAX || take(places_taken_, bounds_.posts);
  }
  bool take_key(bool limited) noexcept {
    return bounds_.keys == SIZE_MAX || take(keys_taken_, limited ? bounds_.keys : SIZE_MAX);
  }
  void free_place() noexcept {
    // order: relaxed: a number only
    if (bounds_.posts != SIZE_MAX) places_taken_.fetch_sub(1, std::memory_order_relaxed);
  }
  void free_key() noexcept {
    // order: relaxed: a number only
    if (bounds_.keys != SIZE_MAX) keys_taken_.fetch_sub(1, std::memory_order_relaxed);
  }
  static bool take(std::atomic<std::size_t>& taken, std::size_t most) noexcept {
    // order: relaxed: a guess that the exchange below verifies
    std::size_t seen = taken.load(std::memory_order_relaxed);
    do {
      if (seen >= most) return false;
      // order: relaxed/relaxed: a number only
    } while (!taken.compare_exchange_weak(seen, seen + 1, std::memory_order_relaxed,
                                          std::memory_order_relaxed));
    return true;
  }

  key_arrival no_key_left() noexcept {
    free_place();
    return {standing::full};
  }
  key_arrival first_of_key(shard& home, work& w, bool rests) noexcept {
    home.keys.insert(w);
    w.last = &w;
    list(w, w, 1);
    if (!rests) return start(w), key_arrival{standing::runner, &w};
    note_queued(w);
    return {standing::resting, nullptr, rest(home, w)};
  }
  void append(key_work& head, key_work& w) noexcept {
    key_seekers::append(head, w);
    w.where = place::queued;
    list(head, w, 1);
  }
  static void list(key_work& head, const key_work& w, std::uint32_t one) noexcept {
    (w.what == kind::posted ? head.posts : head.others) += one;
    if (w.helps) head.helpers += one;
  }

  // ---- who waits for a place

  // Effects: gives the places that there are to those in the line who wait for one, in the order of
  //          arrival. They are added to the chain, to be told without the lock.
  void give_places(shard& home, key_work& head, chain& placed) noexcept {
    if (!limited_) return;
    key_work* next = key_seekers::first(head);
    while (next != nullptr) {
      auto& seeker = static_cast<seeking&>(*std::exchange(next, key_seekers::next(*next)));
      if (seeker.task.ended) continue;  // a stop takes it away now
      if (!has_room(&head)) return;
      key_seekers::replace(head, seeker, seeker.task);
      list(head, seeker, ~std::uint32_t{0});
      list(head, seeker.task, 1);
      seeker.task.where = place::queued;
      seeker.where = place::nowhere;
      seeker.ended = true;
      seeker.became = seeking::state::placed;
      ++home.accepted;
      placed.add(seeker);
    }
  }
  // Effects: it is accepted: it has its turn next, or the role.
  static void seeks_no_more(shard& home, key_work& head, key_work& w) noexcept {
    if (!w.seeks) return;
    key_seekers::stop(head, w);
    ++home.accepted;
  }
  // Effects: takes all who wait for a place out of the line: the key is closed.
  void refuse_seekers(shard& home, key_work& head, chain& refused) noexcept {
    for (key_work* w = key_seekers::first(head); w != nullptr; w = key_seekers::first(head)) {
      auto& seeker = static_cast<seeking&>(*w);
      remove(home, seeker);
      seeker.became = seeking::state::closed;
      refused.add(seeker);
    }
  }

  // Returns: what gives way to one more task of the key: the oldest that may be dropped.
  key_work* to_drop(key_work* head) const noexcept {
    if (options_.full != when_full::drop_oldest) return nullptr;
    while (head != nullptr && (head->has_begun() || !head->droppable)) head = head->next;
    return head;
  }

  void note_queued(key_work& w) noexcept {
    if (metrics_ != nullptr && w.counts()) metrics_->queued(w);
  }
  void note_removed(const key_work& w) noexcept {
    if (metrics_ != nullptr && w.counts()) metrics_->withdrawn();
  }
  // Effects: does what the head is there for. Returns: how that has ended.
  ending perform(key_work& head) noexcept {
    if (metrics_ == nullptr || !head.sampled) {
      return head.perform(head, &options_, key_work::step::run);
    }
    const auto began = queue_recorder::now();
    const ending how = head.perform(head, &options_, key_work::step::run);
    if (how != ending::suspended) {  // else this may be gone
      metrics_->ran(queue_recorder::now() - began);
    }
    return how;
  }

  // Effects: the head begins, with this thread as its runner.
  void begin(key_work& head) noexcept {
    if (metrics_ != nullptr && head.counts()) metrics_->begins(head);
    start(head);
    chain placed;
    give_places(this->home_of(head.hash), head, placed);
    head.ready = placed.first;  // the caller tells them
  }
  void start(key_work& head) noexcept {
    list(head, head, ~std::uint32_t{0});
    head.where = place::running;
    key_frame::does(&head);
    head.ended = true;
    if (head.what == kind::posted) free_place();
  }

  // Effects: the head leaves its key. Returns: the new head, which nobody does yet, or nullptr.
  key_work* next_of(shard& home, key_work& head, bool& was_last) noexcept {
    head.where = place::nowhere;
    key_work* const next = head.next;
    if (next != nullptr) {
      seeks_no_more(home, head, *next);
      next->last = head.last;
      next->posts = head.posts;
      next->others = head.others;
      next->helpers = head.helpers;
      next->where = place::running;
      home.keys.replace(head, *next);
      return next;
    }
    home.keys.erase(head);
    free_key();
    if (home.closed && home.keys.size() == 0) {
      // order: relaxed: the lock orders it for the destructor, which alone reads it
      home.emptied.fetch_add(1, std::memory_order_relaxed);
      was_last = true;
    }
    return nullptr;
  }
  void count(shard& home, ending how) noexcept {
    home.completed += how == ending::completed;
    if (how == ending::failed) [[unlikely]] this->seldom_.count_failed();
  }
  key_work* retire(shard& home, key_work& head, ending how, bool& was_last) noexcept {
    count(home, how);
    return next_of(home, head, was_last);
  }

  static void lay_down(shard& home, key_work& head) noexcept {
    head.where = place::resting;
    head.ready = nullptr;
    (home.ready == nullptr ? home.ready : home.ready_last->ready) = &head;
    home.ready_last = &head;
  }

  // Effects: the head is for the crew. Returns: who has to be called for it.
  claim_result rest(shard& home, key_work& head) noexcept {
    lay_down(home, head);
    if (home.marked) return claim_result::somebody_comes;
    home.marked = true;
    crew_.mark(this->number_of(home));
    const claim_result call = crew_.claim();
    if (call == claim_result::alone) crew_.pass_gate();
    return call;
  }
  // Effects: the head rests no longer, or another one in its place.
  void wake_up(shard& home, key_work& head, key_work* by = nullptr) noexcept {
    key_work** at = &home.ready;
    key_work* before = nullptr;
    while (*at != &head) at = &(before = *at)->ready;
    key_work* const after = head.ready;
    if (by != nullptr) by->ready = after;
    *at = by != nullptr ? by : after;
    if (home.ready_last == &head) home.ready_last = by != nullptr ? by : before;
    unmark(home);
  }
  void unmark(shard& home) noexcept {
    if (home.ready != nullptr || !home.marked) return;
    home.marked = false;
    crew_.clear(this->number_of(home));
  }

  key_step decide(shard& home, key_work& next, bool spent) noexcept {
    if (spent && next.helpers != 0) {
      key_work* heir = &next;
      while (!heir->helps) heir = heir->next;
      heir->given = true;
      seeks_no_more(home, next, *heir);
      return {&next, heir};
    }
    if (spent && crew_.works()) return {&next, nullptr, true, rest(home, next)};
    begin(next);
    return {&next};
  }

  // Effects: takes work that has not begun out of its line, or off its key. Its place is free, or
  //          that of another one now.
  void remove(shard& home, work& w, bool place_goes_on = false) {
    w.ended = true;
    note_removed(w);
    if (w.what == kind::posted && !place_goes_on) free_place();
    if (w.where == place::resting) {
      list(w, w, ~std::uint32_t{0});
      bool was_last = false;
      key_work* const next = next_of(home, w, was_last);
      wake_up(home, w, next);  // behind next_of(), which writes where the list of those is
      if (next != nullptr) next->where = place::resting;
      if (was_last) unpark_all(&home.emptied);
      return;
    }
    key_work* const head = home.keys.find(w.hash, w.key(), equal_);
    list(*head, w, ~std::uint32_t{0});
    w.where = place::nowhere;
    if (w.seeks) key_seekers::stop(*head, w);
    key_seekers::unlink(*head, w);
  }

  // Effects: ends what has not begun of a key; then those have its places who wait for them.
  void cut(shard& home, key_work& head, chain& ended, chain& placed) {
    key_work* stays = nullptr;  // the first that does: the head
    bool sought = false;        // w, before what was ahead of it was taken away
    for (key_work* w = &head; w != nullptr;) {
      key_work* const next = w->next;
      const bool next_seeks = next != nullptr && next->seeks;
      if (!w->has_begun() && w->counts() && !w->given && !sought) {
        remove(home, static_cast<work&>(*w));
        this->seldom_.count_cancelled();
        ended.add(*w);
      } else if (stays == nullptr) {
        stays = w;
      }
      w = next;
      sought = next_seeks;
    }
    if (stays != nullptr) give_places(home, *stays, placed);
  }

  using base::equal_;
  const queue_options& options_;
  const key_limits bounds_;
  const bool limited_;
  const std::unique_ptr<queue_recorder> metrics_;
  std::atomic<std::size_t> places_taken_{0};
  std::atomic<std::size_t> keys_taken_{0};
  withdrawals withdrawals_;
  key_crew crew_;
};

}  // namespace interlock::detail
