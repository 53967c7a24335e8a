// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/held_lease.hpp - a lease that this process holds: what the engine knows it
// by, who renews it, and what its holder may ask for.
//
// `Lease` is server_lease or observed_lease. Requests about one lease go out one at a time: a fence
// that is raised while a renewal is under way would make the renewal fail. One whose raise was not
// answered may be the old or the new one, so that raise is asked again before anything else is.
// After a release none but another release goes out: what is free must not be taken by a renewal
// that comes late.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "../call_options.hpp"
#include "../outcome.hpp"
#include "../until_known.hpp"
#include "as_holder.hpp"
#include "deadline.hpp"
#include "lease_keeper.hpp"

namespace interlock::store::detail {

template <class Lease>
class held_lease {
public:
  using time_point = boot_clock::time_point;
  using hold = typename Lease::hold;

  held_lease(Lease calls, hold held, std::chrono::milliseconds lease)
      : calls_(std::move(calls)), held_(std::move(held)), fence_(held_.fence), lease_(lease) {}

  // Returns: the renewing half of `self`. It keeps `self` until the lease is ended.
  static kept_lease::ask renews(const std::shared_ptr<held_lease>& self) {
    return [self](std::chrono::milliseconds left) {
      const auto usual = self->calls_.at().client().options().timeout;
      return renewal_of(self->renew({{}, renewal_timeout(usual, left)}));
    };
  }

  [[nodiscard]] const Lease& calls() const noexcept { return calls_; }
  [[nodiscard]] std::uint64_t fence() const {
    const std::lock_guard lock(facts_);
    return fence_;
  }
  [[nodiscard]] const unique_id& owner() const noexcept { return held_.owner; }

  // Each of these waits for the request that is under way, within the call's time.
  // Never under an id: an answer that was kept says nothing of the time that is left now.
  outcome<nothing> renew(const call_options& call) {
    return in_turn("mutex.renew", call, [this](const call_options& left) -> outcome<nothing> {
      if (released()) return conflicting{nothing{}};
      return behind_raise(left, [this](const call_options& each) {
        return calls_.renew(held_, lease_, {{}, each.timeout});
      });
    });
  }
  outcome<nothing> release(const call_options& call) {
    {
      const std::lock_guard lock(facts_);
      released_ = true;
    }
    return in_turn("mutex.unlock", call, [this](const call_options& left) {
      return behind_raise(left, [this](const call_options& each) {
        return as_holder(held_.owner, each,
                         [this](const call_options& his) { return calls_.release(held_, his); });
      });
    });
  }
  // Effects: asks again under an id of its own while the answer is unknown and there is time. Not
  //          under that of the call: the answer that is kept may have been another holder's.
  outcome<std::uint64_t> raise(std::uint64_t above, const call_options& call) {
    outcome<nothing> said =
        in_turn("mutex.raise", call, [&](const call_options& left) -> outcome<nothing> {
          if (released()) return conflicting{nothing{}};
          return behind_raise({{}, left.timeout}, [&](const call_options& each) {
            const auto limit = calls_.at().deadline(each).rest().timeout;
            outcome<nothing> became = until_known(
                [&](const call_options& one) { return raise_once(above, one); },
                {.limit = limit, .timeout = limit, .conflict_is_final = true});
            if (became.unknown()) unanswered_ = {became.id(), above};
            return became;
          });
        });
    if (!said) return std::move(said).template without_answer<std::uint64_t>();
    return fence();
  }

private:
  struct raising {
    operation_id id;
    std::uint64_t above;
  };

  // Returns: ask(what is left of the call), which nothing else is under way beside; refused, if
  //          something was until the deadline.
  template <class Ask>
  outcome<nothing> in_turn(const char* operation, const call_options& call, Ask ask) {
    const call_deadline limit = calls_.at().deadline(call);
    std::unique_lock lock(facts_);
    const bool waits = asking_;
    if (waits && !next_.wait_until(lock, limit.at(), [this] { return !asking_; })) {
      return refusal(calls_.at().failed(errc::timed_out, operation,
                                        "a request about this lock was under way until then",
                                        "give the call a longer timeout"));
    }
    asking_ = true;
    lock.unlock();
    const turn mine{*this};
    return ask(waits ? limit.rest(call.id) : call);
  }
  struct turn {
    ~turn() {
      const std::lock_guard lock(of.facts_);
      of.asking_ = false;
      of.next_.notify_one();
    }
    held_lease& of;
  };
  [[nodiscard]] bool released() const {
    const std::lock_guard lock(facts_);
    return released_;
  }

  // These in turn.
  outcome<nothing> raise_once(std::uint64_t above, const call_options& call) {
    outcome<nothing> said = calls_.raise(held_, above, call);
    if (said) {
      const std::lock_guard known(facts_);
      fence_ = held_.fence;
    }
    return said;
  }
  // Effects: asks, once the fence is known.
  template <class Ask>
  outcome<nothing> behind_raise(const call_options& call, Ask ask) {
    const call_deadline limit = calls_.at().deadline(call);
    if (!unanswered_ || limit.hopeless()) return ask(call);
    const raising again = *unanswered_;
    outcome<nothing> said = raise_once(again.above, limit.rest(again.id));
    const bool never = said.refused() && (said.error().code == errc::bad_argument ||
                                          said.error().code == errc::expired);
    if (!said && !never) return said;
    unanswered_.reset();
    return ask(limit.rest(call.id));
  }

  const Lease calls_;
  hold held_;  // of who has the turn, but for the owner; so is the next
  std::optional<raising> unanswered_{};
  mutable std::mutex facts_;  // protects those below
  std::condition_variable next_;
  bool asking_ = false;    // one request at a time
  bool released_ = false;  // or will be by the request that is under way
  std::uint64_t fence_;
  const std::chrono::milliseconds lease_;
};

}  // namespace interlock::store::detail
