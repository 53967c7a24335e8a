// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/lease_lock.hpp - how the mutexes of stores are locked: ask, wait, ask
// again.
//
// Each acquisition has a fresh owner. A request whose answer is unknown is asked again with that
// owner, which either gets what it has or gets it anew. Who meets a holder asks again after the
// poll interval, of which up to a half is taken off at random, so that nobody comes in step; a
// growing pause would leave the lock to newcomers.

#include <algorithm>
#include <chrono>
#include <coroutine>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "../../inplace_stop_token.hpp"
#include "../../task.hpp"
#include "../lease_guard.hpp"
#include "../lock_options.hpp"
#include "../protocol.hpp"
#include "ask_again.hpp"
#include "deadline.hpp"
#include "held_lease.hpp"
#include "lease_keeper.hpp"
#include "local_clock.hpp"
#include "sleeper.hpp"

namespace interlock::store::detail {

template <class Lease>
class lease_lock {
public:
  using guard = lease_guard<Lease>;
  using result = outcome<guard, lease_busy>;
  using time_point = boot_clock::time_point;

  explicit lease_lock(Lease calls)
      : calls_(std::move(calls)),
        clock_(clock_of(calls_.at().client())),
        keeper_(lease_keeper::of_process()) {}

  [[nodiscard]] const Lease& calls() const noexcept { return calls_; }
  [[nodiscard]] time_point now() const { return clock_->now(); }
  // Returns: when a wait that begins now ends.
  [[nodiscard]] time_point limit(std::chrono::milliseconds wait) const {
    return now() + std::clamp<std::chrono::milliseconds>(wait, std::chrono::milliseconds(0),
                                                         std::chrono::hours(24 * 365));
  }

  result lock(const lock_options& how, time_point until, inplace_stop_token stop) const {
    if (auto wrong = bad(how)) return *std::move(wrong);
    const unique_id owner = unique_id::fresh();
    sleeper rest(stop);
    for (;;) {
      if (stop.stop_requested()) return cancelled();
      result said = ask(owner, how);
      if (!again(said, until)) return said;
      rest.until(*clock_, next(said, how, until));
    }
  }

  // As lock, with no thread that waits while another holds it. The task has its own handle.
  static task<result> async_lock(lease_lock self, lock_options how, time_point until,
                                 inplace_stop_token stop) {
    if (auto wrong = self.bad(how)) co_return *std::move(wrong);
    const unique_id owner = unique_id::fresh();
    for (;;) {
      if (stop.stop_requested()) co_return self.cancelled();
      auto request = self.request(owner, how);  // named: GCC 12 destroys a capture twice
      result said = co_await request;
      if (!self.again(said, until)) co_return said;
      later wakes{self, self.next(said, how, until)};
      auto pause = self.wait_for(wakes);
      co_await pause;
    }
  }

private:
  // What offloaded() takes for threads: those of the client, at that time.
  struct later {
    template <class F>
    void execute(const F& job) {
      lock.keeper_->at(lock.clock_, then, [client = lock.calls_.at().client(), job]() mutable {
        try {
          client.offload(job);
        } catch (...) {
          job();  // here, then
        }
      });
    }
    const lease_lock& lock;
    time_point then;
  };

  // Awaitables. They have copies: a call outlives a coroutine that is destroyed.
  auto request(const unique_id& owner, const lock_options& how) const {
    return calls_.at().async(
        {}, [self = *this, owner, how](const call_options&) { return self.ask(owner, how); });
  }
  static auto wait_for(later& wakes) {
    return offloaded(wakes, [] { return nothing{}; });
  }

  [[nodiscard]] std::optional<refusal> bad(const lock_options& how) const {
    using namespace std::chrono_literals;
    if (how.lease >= 10ms && how.lease <= 24h && how.poll >= 1ms) return std::nullopt;
    return refusal(failed(errc::bad_argument, "the lease or the poll interval cannot be kept",
                          "give a lease of 10 ms to 24 hours, and a poll of 1 ms at least"));
  }
  [[nodiscard]] error failed(errc code, std::string detail, std::string remedy) const {
    return calls_.at().failed(code, "mutex.lock", std::move(detail), std::move(remedy));
  }
  [[nodiscard]] refusal cancelled() const {
    return refusal(failed(errc::cancelled, "the stop was requested", ""));
  }

  // Effects: asks the engine once; while its answer is unknown, again, for one timeout in all. That
  //          is not cut at the end of the wait: a lock whose answer is not awaited is nobody's.
  result ask(const unique_id& owner, const lock_options& how) const {
    const call_deadline within(calls_.at().client().options().timeout);
    time_point sent;
    auto said = ask_again(within, {}, [&](const call_options& each) {
      sent = now();
      return calls_.acquire(owner, how.lease, each);
    });
    if (said) return taken(*std::move(said), sent, how);
    return std::move(said).template without_answer<guard>();
  }
  // Returns: a guard; refused, if the answer came so late that the lease is as good as over.
  result taken(typename Lease::hold got, time_point sent, const lock_options& how) const {
    using held = held_lease<Lease>;
    const auto mine = std::make_shared<held>(calls_, std::move(got), how.lease);
    auto kept = std::make_shared<kept_lease>(clock_, how.lease, sent,
                                             how.renew ? held::renews(mine) : kept_lease::ask());
    guard fresh(keeper_, mine, std::move(kept));
    if (fresh) return fresh;
    static_cast<void>(fresh.unlock());
    return refusal(failed(errc::lease_lost, "the lease was over before its answer came",
                          "give it a longer lease"));
  }
  [[nodiscard]] bool again(const result& said, time_point until) const {
    return said.conflicted() && now() < until;
  }
  [[nodiscard]] time_point next(const result& said, const lock_options& how,
                                time_point until) const {
    const auto most = std::min(how.poll, said.conflict().remaining);
    return std::min(until, now() + poll_pause(most));
  }

  Lease calls_;
  std::shared_ptr<const local_clock> clock_;
  std::shared_ptr<lease_keeper> keeper_;
};

}  // namespace interlock::store::detail
