// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/kept_lease.hpp - one lease that a process has: when to renew it, when it
// ends, and how its holder is told.
//
// A renewal that comes to the engine behind the holder's own end is told that the lease is gone. So
// the engine's word is believed at once only while no such end is under way.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "../../inplace_stop_token.hpp"
#include "../boot_clock.hpp"
#include "../outcome.hpp"
#include "local_clock.hpp"

namespace interlock::store::detail {

// What an engine said to a renewal.
enum class renewal : std::uint8_t {
  confirmed,
  gone,    // the lease is not the holder's any more
  no_word  // not done, or not known: to be tried again
};

[[nodiscard]] inline renewal renewal_of(const outcome<nothing>& said) {
  if (said) return renewal::confirmed;
  const bool gone =
      said.conflicted() || (said.refused() && said.error().code == errc::history_lost);
  return gone ? renewal::gone : renewal::no_word;
}
// Returns: a timeout for a renewal: half of what is left, so that there is time for another one.
[[nodiscard]] inline std::chrono::milliseconds renewal_timeout(std::chrono::milliseconds usual,
                                                               std::chrono::milliseconds left) {
  return std::max(std::min(usual, left / 2), std::chrono::milliseconds(1));
}

// When a lease that was asked for at `sent` ends for its holder: a hundredth before the engine ends
// it at the earliest, for clocks that differ in speed. He is told a little before that.
struct lease_times {
  using time_point = boot_clock::time_point;
  std::chrono::nanoseconds lease;

  [[nodiscard]] time_point deadline(time_point sent) const { return sent + lease - lease / 100; }
  [[nodiscard]] time_point told(time_point sent) const {
    const auto margin =
        std::min<std::chrono::nanoseconds>(lease / 20, std::chrono::milliseconds(200));
    return deadline(sent) - margin;
  }
  [[nodiscard]] time_point renewed(time_point sent) const { return sent + lease / 3; }
};

class lease_keeper;

// One lease that a process has.
class kept_lease {
public:
  using time_point = boot_clock::time_point;
  // Asks the engine, and answers within the time given. Called by one thread at a time.
  using ask = std::function<renewal(std::chrono::milliseconds)>;

  // Without an `ask` it is not renewed, and told of all the same.
  kept_lease(std::shared_ptr<const local_clock> clock, std::chrono::nanoseconds lease,
             time_point sent, ask renew)
      : clock_(std::move(clock)), times_{lease}, sent_(sent), renew_(std::move(renew)) {
    next_ = renew_ ? times_.renewed(sent) : times_.told(sent);
  }

  [[nodiscard]] time_point now() const { return clock_->now(); }
  [[nodiscard]] time_point deadline() const {
    const std::lock_guard lock(guard_);
    return times_.deadline(sent_);
  }
  // Returns: how long an operation may take that has to end before the holder is told.
  [[nodiscard]] std::chrono::nanoseconds left() const {
    const std::lock_guard lock(guard_);
    return times_.told(sent_) - clock_->now();
  }
  // Returns: whether the lease is the holder's by his own clock.
  [[nodiscard]] bool holds() const {
    const std::lock_guard lock(guard_);
    return is_ == phase::held && clock_->now() < times_.told(sent_);
  }
  [[nodiscard]] inplace_stop_token lost() const noexcept { return source_.get_token(); }

  // Effects: the engine has confirmed what was asked for at `sent`.
  void confirm(time_point sent) {
    const std::lock_guard lock(guard_);
    sent_ = std::max(sent_, sent);
  }
  // Effects: tells the holder, on this thread, unless the lease was ended.
  void lose() {
    {
      const std::lock_guard lock(guard_);
      if (is_ != phase::held) return;
      is_ = phase::lost;
    }
    source_.request_stop();
  }
  // Effects: as lose(), for an engine that said so. While the holder's own end is under way, the
  //          engine may speak of that: then it is noted.
  void gone() {
    {
      const std::lock_guard lock(guard_);
      if (ending_ != 0) {
        gone_ = true;
        return;
      }
    }
    lose();
  }
  // Effects: the holder asks the engine for the end. Renewals go on; he is told of the deadline.
  void begin_end() {
    const std::lock_guard lock(guard_);
    ++ending_;
  }
  // Effects: the engine has answered, or will not. Tells the holder, on this thread, what was noted
  //          meanwhile, unless the lease was ended.
  void leave_end() {
    {
      const std::lock_guard lock(guard_);
      if (--ending_ != 0 || !gone_) return;
    }
    lose();
  }
  [[nodiscard]] bool ended() const {
    const std::lock_guard lock(guard_);
    return over_;
  }
  // Effects: nothing is asked or told from now on; what is under way goes on.
  void end() {
    ask dropped;
    const std::lock_guard lock(guard_);
    over_ = true;
    if (is_ == phase::held) is_ = phase::ended;
    dropped.swap(renew_);  // which may hold a client
  }

private:
  friend lease_keeper;
  enum class phase : std::uint8_t { held, lost, ended };
  enum class step : std::uint8_t { wait, renew, tell, drop };

  // Returns: what is to be done now. Effects: `next_` is when to look again.
  step due() {
    const std::lock_guard lock(guard_);
    if (is_ != phase::held) return step::drop;
    const time_point now = clock_->now();
    const time_point told = times_.told(sent_);
    if (now >= told) return step::tell;
    if (!renew_ || asking_) {
      next_ = told;
      return step::wait;
    }
    next_ = std::min(told, std::max(times_.renewed(sent_), not_before_));
    if (now < next_) return step::wait;
    asking_ = true;
    next_ = told;
    return step::renew;
  }
  // Effects: renews, on a thread that may block. Returns: whether the holder is to be told.
  bool renew_now() {
    ask asked;
    time_point told;
    const time_point sent = clock_->now();
    {
      const std::lock_guard lock(guard_);
      asked = renew_;
      told = times_.told(sent_);
    }
    renewal said = renewal::no_word;
    const auto left = std::chrono::floor<std::chrono::milliseconds>(told - sent);
    if (asked && left.count() > 0) {
      try {
        said = asked(left);
      } catch (...) {
        said = renewal::no_word;
      }
    }
    const std::lock_guard lock(guard_);
    asking_ = false;
    if (said == renewal::confirmed) {
      sent_ = std::max(sent_, sent);
      return false;
    }
    not_before_ = clock_->now() + times_.lease / 12;
    if (said == renewal::no_word) return false;
    gone_ = gone_ || ending_ != 0;
    return ending_ == 0;
  }

  const std::shared_ptr<const local_clock> clock_;
  const lease_times times_;
  mutable std::mutex guard_;
  time_point sent_;  // of the last request that was confirmed
  ask renew_;
  phase is_ = phase::held;
  bool over_ = false;  // ended, if only after the loss was told
  bool asking_ = false;
  unsigned ending_ = 0;  // ends that the holder has asked for and was not answered
  bool gone_ = false;    // an engine said so meanwhile
  time_point not_before_{};
  inplace_stop_source source_;
  time_point next_;  // when to look again; under the keeper's guard, as the next one
  std::uint64_t looks_ = 0;
};

}  // namespace interlock::store::detail
