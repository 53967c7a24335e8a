// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/key_service.hpp - the work at rest: who comes for it, and what a turn does.
//
// A job of the crew goes from shard to shard and does heads at rest, one of a key after the other
// up to the quantum, then the next key, then the next shard. One exchange of a byte for each piece
// of work: in the same section the last one leaves and the next one begins. A head that begins is
// off the list, all others can be taken by anybody: none waits for one that is blocked.

#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>

#include "key_lines.hpp"
#include "processor.hpp"

namespace interlock::detail {

template <class Key, class Hash, class Equal>
class key_service : public key_lines<Key, Hash, Equal> {
  using base = key_lines<Key, Hash, Equal>;

public:
  using typename base::chain;
  using typename base::claim_result;
  using typename base::kind;
  using typename base::place;
  using typename base::seeking;
  using typename base::shard;

  bool by_crew() const noexcept { return crew_.works(); }
  std::uint32_t help() const noexcept { return by_crew() ? 0 : options_.quantum; }
  // Returns: whether what this thread posts rests, also if its key is idle.
  bool posts_rest() const noexcept { return by_crew() || key_frame::of(this) != nullptr; }
  const queue_options& options() const noexcept { return options_; }
  // Returns: whether this thread does work of some queue, or is one of those who do it here.
  bool works_here() const noexcept { return inside::innermost != nullptr || crew_.here(); }
  // Returns: whether this thread does work of this queue: it must not wait for all of it.
  bool is_own_thread() const noexcept { return key_frame::of(this) != nullptr || crew_.here(); }

  // The thread is at work for this queue. When it has left its keys it does what its tasks have
  // left at rest, and wakes the coroutines whose work it has done.
  class turn {
  public:
    explicit turn(key_service& lanes) noexcept : lanes_(lanes), frame_(&lanes) {}
    turn(const turn&) = delete;
    turn& operator=(const turn&) = delete;
    ~turn() { end(); }
    void end() noexcept {
      frame_.pop();
      if (std::exchange(frame_.owes, false)) lanes_.pay();
      if (awake.first == nullptr) return;
      // Together: the first one may end another of them.
      trampoline::together([this] {
        for (key_work* w = std::exchange(awake.first, nullptr); w != nullptr;) {
          key_work& each = *std::exchange(w, w->next);
          each.perform(each, nullptr, key_work::step::finish);
        }
        awake.end = &awake.first;
      });
    }
    chain awake;

  private:
    key_service& lanes_;
    key_frame frame_;
  };

  // Effects: does what rests, if no crew does; for a thread that is about to wait for all.
  void lend_a_hand() noexcept {
    while (!by_crew() && crew_.rests() != 0) serve(UINT32_MAX);
  }
  // Effects: the same, until the deadline; what has begun then is done.
  void lend_a_hand_until(std::chrono::steady_clock::time_point deadline) noexcept {
    while (!by_crew() && crew_.rests() != 0 && std::chrono::steady_clock::now() < deadline) {
      serve(options_.quantum);
    }
  }

protected:
  using typename base::key_step;
  using base::crew_;
  using base::options_;
  using base::shards_;

  key_service(const queue_options& options, key_limits bounds, const any_executor& executor,
              std::uint32_t most_jobs, bool own_workers)
      : base(options, bounds, executor, most_jobs, {&serve_for_crew, &report, this}),
        own_workers_(own_workers) {}
  ~key_service() = default;

  // Effects: tells those who wait for it; coroutines later, when this thread holds no key.
  static void finish(key_work& ended, chain& awake) noexcept {
    if (ended.what == kind::awaited) return awake.add(ended);
    ended.perform(ended, nullptr, key_work::step::finish);
  }
  // Effects: tells those who have a place since the head has begun.
  static void tell_placed(key_work& head, chain& awake) noexcept {
    for (key_work* w = std::exchange(head.ready, nullptr); w != nullptr;) {
      finish(*std::exchange(w, w->next), awake);
    }
  }

  // ---- what rests

  void call(claim_result how) noexcept {
    if (how == claim_result::somebody_comes) return;
    if (how == claim_result::ask && crew_.ask()) return;
    // This thread does it, when it has left its keys; the gate keeps the queue until then.
    key_frame* const frame = key_frame::of(this);
    if (frame == nullptr) return pay();
    if (frame->owes) {
      crew_.leave_gate();
    } else {
      frame->owes = true;
    }
  }
  void pay() noexcept {
    while (crew_.rests() != 0) serve(UINT32_MAX);
    crew_.leave_gate();
  }

  static void serve_for_crew(void* self) noexcept {
    auto& lanes = *static_cast<key_service*>(self);
    if (!lanes.own_workers_) return lanes.serve(lanes.options_.quantum);
    do {
      lanes.serve(UINT32_MAX);
    } while (lanes.crew_.rests() != 0 || lanes.search());
  }
  static void report(void* self) noexcept {
    report_error(static_cast<key_service*>(self)->options_);
  }

  // Returns: true if there is work again.
  bool search() noexcept {
    if (!crew_.begin_search()) return false;
    bool found = false;
    for (unsigned round = 0; round < spin_rounds && !found; ++round) {
      spin_hint(round);
      found = crew_.rests() != 0;
    }
    crew_.end_search();
    return found || crew_.rests() != 0;
  }

  // Preconditions: this thread is at the gate. Effects: does work at rest, up to so many pieces.
  void serve(std::uint32_t budget) noexcept {
    turn now(*this);
    // order: relaxed: a place to begin
    unsigned at = next_shard_.load(std::memory_order_relaxed);
    while (budget != 0 && now.awake.first == nullptr) {
      const std::uint64_t bits = crew_.rests();
      if (bits == 0) break;
      at = next_bit(bits, at);
      visit(shards_[at], budget, now.awake);
    }
    // order: relaxed: a place to begin
    next_shard_.store(at, std::memory_order_relaxed);
  }

  static unsigned next_bit(std::uint64_t bits, unsigned behind) noexcept {
    const unsigned from = (behind + 1) % 64;
    const int away = std::countr_zero(std::rotr(bits, static_cast<int>(from)));
    return (from + static_cast<unsigned>(away)) % 64;
  }

  void visit(shard& home, std::uint32_t& budget, chain& awake) noexcept {
    std::uint32_t of_visit = options_.quantum;
    std::uint32_t of_key = 0;
    ending how = ending::none;
    key_work* ended = nullptr;
    for (bool first = true;; first = false) {
      bool was_last = false;
      const bool leaves = budget == 0 || of_visit == 0 || awake.first != nullptr ||
                          (ended != nullptr && ended->what == kind::awaited);
      const key_step to = next_at_rest(home, ended, how, leaves, of_key, was_last);
      if (was_last) unpark_all(&home.emptied);
      if (ended != nullptr) finish(*ended, awake);
      if (to.heir != nullptr) to.heir->tell(key_work::role);
      if (to.head == nullptr) return;
      tell_placed(*to.head, awake);
      if (first && crew_.rests() != 0) call_another();
      how = this->perform(*to.head);
      ended = how == ending::suspended ? nullptr : to.head;
      --budget;
      --of_visit;
      --of_key;
    }
  }

  // Effects: the head has ended; takes what comes next, of the key or of those at rest.
  key_step next_at_rest(shard& home, key_work* ended, ending how, bool leaves,
                        std::uint32_t& of_key, bool& was_last) noexcept {
    key_frame::does(nullptr);
    const std::lock_guard lock(home.lock);
    key_work* next = ended == nullptr ? nullptr : this->retire(home, *ended, how, was_last);
    key_step to;
    if (next != nullptr && (leaves || of_key == 0)) {
      if (next->helpers != 0) {
        to = this->decide(home, *next, true);
        to.head = nullptr;
      } else {
        base::lay_down(home, *next);
      }
      next = nullptr;
    }
    if (next == nullptr && !leaves && home.ready != nullptr) {
      next = home.ready;
      home.ready = next->ready;
      if (home.ready != nullptr) fetch(home.ready);
      of_key = options_.quantum;
    }
    if (home.ready != nullptr && !home.marked) {
      home.marked = true;
      crew_.mark(this->number_of(home));
    }
    this->unmark(home);
    if (next != nullptr) {
      this->begin(*next);
      to.head = next;
    }
    return to;
  }
  // Effects: has the node brought here while this thread does the task before it.
  static void fetch(const key_work* next) noexcept {
    about_to_write(next);
    about_to_write(reinterpret_cast<const unsigned char*>(next) + 64);  // the task
  }
  void call_another() noexcept {
    const claim_result how = crew_.claim();
    if (how == claim_result::ask && !crew_.ask()) crew_.leave_gate();  // this thread is here
  }

private:
  const bool own_workers_;
  std::atomic<unsigned> next_shard_{0};
};

}  // namespace interlock::detail
