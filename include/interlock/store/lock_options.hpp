// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/lock_options.hpp - how long a lock is leased, and how long one waits for it.

#include <chrono>

namespace interlock::store {

struct lock_options {
  // So long after the holder's last sign others may have it. 10 ms to 24 hours.
  std::chrono::milliseconds lease = std::chrono::seconds(10);
  // Renewed at a third of the lease, by a thread of the library's own.
  bool renew = true;
  // How long to wait for one that is held; longest_wait: until it is free or a stop. A request that
  // is under way then has the client's timeout all the same.
  std::chrono::milliseconds wait = longest_wait;
  // Somebody who waits asks about so often; sooner if the holder's lease ends before.
  std::chrono::milliseconds poll{20};

  static constexpr std::chrono::milliseconds longest_wait = std::chrono::milliseconds::max();
};

}  // namespace interlock::store
