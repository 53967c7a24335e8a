// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/queue_options.hpp - how long a worker may be silent, how often an item is tried.

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <string>

#include "error.hpp"

namespace interlock::store {

struct queue_options {
  // So long after the last heartbeat of a worker another takes his item: 10 ms to a day.
  std::chrono::milliseconds lease = std::chrono::seconds(5);
  // An item that was taken so often and never finished is set aside, and its key goes on.
  std::uint64_t tries = 5;
  // Who finds nothing to do asks again so often, sooner if something is due before.
  std::chrono::milliseconds poll{100};
};

// How work() goes on after failures.
struct work_options {
  // How long an item rests after its n-th try has failed; empty: 100 ms, doubled up to a minute.
  std::function<std::chrono::milliseconds(std::uint64_t tries)> delay{};
  // Told what f threw, of which key. Called on the thread that works; must not throw.
  std::function<void(const std::string& key, const std::exception_ptr&)> on_failure{};
  // Told when the engine refuses to give an item, or its end is unknown; work goes on after a
  // pause.
  std::function<void(const error&)> on_error{};
};

// What one call of work() did.
struct work_done {
  std::uint64_t finished = 0;  // or f has ended the item itself, or moved it elsewhere
  std::uint64_t failed = 0;   // f threw: given back
  std::uint64_t lost = 0;     // f ran, but the item was another worker's by then
  std::uint64_t unknown = 0;  // f ran, and nobody knows whether the engine took the end of it
};

}  // namespace interlock::store
