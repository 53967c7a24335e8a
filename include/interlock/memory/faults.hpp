// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/memory/faults.hpp - what goes wrong between a program and its engine, on demand.
//
// Problem     Lost replies, refused requests and late ones come once in a million calls, and then
//             the code that handles them runs for the first time.
// Guarantee   A dropped request is refused and has no effect.
//             A lost reply is unknown and has its effect.
//             A delay longer than the timeout is refused before the request and unknown after it.
//             Faults from one seed are the same each time.
// Outcomes    refused: dropped, or refused on demand. unknown: the reply was lost, or came late.
// Durability  none.
// Progress    The function is called without any lock, on the thread of the call; it may use the
//             client, with calls that are asked about in their turn, or another one.
// Cost        A call of the function before and after each operation.
// Lifetime    A copy is kept by the client.
// Not for     Real servers: put a proxy in between.
//
// Example     // examples/engines/memory_client.cpp
//             engine.inject(memory::faults([](const memory::request& r) {
//               return r.operation == "counter.add" && r.done ? memory::fault::lose_reply()
//                                                             : memory::fault::none();
//             }));

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string_view>
#include <utility>

#include "../store/error.hpp"

namespace interlock::memory {

// What is asked about: twice, before it is done and after.
struct request {
  std::string_view operation;  // "counter.add", "mutex.acquire"
  std::string_view object;
  bool done = false;  // asked about the reply
  bool writes = true;
  std::uint64_t number = 0;  // of the request: 1, 2, 3 ... for this client
};

// What happens to it. Before: none, drop, refuse, delay; lose_reply, which is asked for early.
// After: none, delay; all else is a lost reply, for what is done cannot be refused.
struct fault {
  enum class kind : std::uint8_t { none, drop, lose_reply, refuse, delay };

  [[nodiscard]] static fault none() { return {}; }
  [[nodiscard]] static fault drop() { return {kind::drop}; }
  [[nodiscard]] static fault lose_reply() { return {kind::lose_reply}; }
  [[nodiscard]] static fault refuse(store::errc why) { return {kind::refuse, why}; }
  // With a manual clock, that goes on by so much; otherwise the thread sleeps.
  [[nodiscard]] static fault delay(std::chrono::milliseconds by) {
    return {kind::delay, store::errc::timed_out, by};
  }

  kind what = kind::none;
  store::errc why = store::errc::not_connected;
  std::chrono::milliseconds by{0};
};

// How often, of a thousand requests.
struct fault_rates {
  unsigned drop = 10;
  unsigned lose_reply = 10;
  unsigned refuse = 0;
  unsigned delay = 0;
  std::chrono::milliseconds by{1};
};

class faults {
public:
  using function = std::function<fault(const request&)>;

  faults() = default;
  explicit faults(function asked) : asked_(std::move(asked)) {}

  // Returns: faults at random, the same ones for the same requests in the same order.
  [[nodiscard]] static faults seeded(std::uint64_t seed, fault_rates rates = {}) {
    struct dice {
      std::mutex guard;
      std::mt19937_64 next;
    };
    auto shared = std::make_shared<dice>();
    shared->next.seed(seed);
    return faults([shared, rates](const request& asked) {
      const unsigned rolled = [&shared] {
        const std::lock_guard lock(shared->guard);
        return static_cast<unsigned>(shared->next() % 1000);
      }();
      if (asked.done) {
        return rolled < rates.lose_reply ? fault::lose_reply() : fault::none();
      }
      unsigned below = rates.drop;
      if (rolled < below) return fault::drop();
      if (rolled < (below += rates.refuse)) return fault::refuse(store::errc::busy);
      if (rolled < below + rates.delay) return fault::delay(rates.by);
      return fault::none();
    });
  }

  // Returns: what happens to it. Throws: what the function throws, out of the client's call.
  [[nodiscard]] fault operator()(const request& asked) const {
    return asked_ ? asked_(asked) : fault::none();
  }
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(asked_); }

private:
  function asked_;
};

}  // namespace interlock::memory
