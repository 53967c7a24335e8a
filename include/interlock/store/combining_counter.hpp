// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/combining_counter.hpp - many callers count in a store at the price of a few.
//
// Problem     Each add to a durable counter waits for a disk or a server. Sixty callers that add at
//             once wait for sixty of those, one after the other.
// Guarantee   No combined add is lost or counted twice. Each caller gets the value as if the adds
//             had come one after the other. A batch with a lost reply is asked again under its id.
//             What becomes of a batch holds for each add in it. A sum that does not fit is sent in
//             its parts.
// Progress    Blocks for the batch before and its own at most, each up to `patience` where replies
//             are lost. async_add suspends; no thread waits for each of them.
// Cost        Alone: the counter's add and two locks. Together: an add of the counter for each
//             batch, which holds what came while the one before was under way.
// Lifetime    A handle: copies combine with each other. It keeps its counter.
// Resumes on  A thread of the client, or the one that sent the batch.
// Cancellation None; a suspended coroutine may be destroyed where its batch cannot end meanwhile.
//             Its add is taken out of the line, or counts.
// Not for     Adds under an id of the caller's: those go by themselves, as do those with a timeout.
//
// Example     // examples/engines/store_combining_counter.cpp
//             store::combining_counter hits(memory::counter(engine, "hits"));
//             hits.add(1).value();

#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <utility>

#include "../detail/misuse.hpp"
#include "../detail/waiter.hpp"
#include "detail/combiner.hpp"

namespace interlock::store {

struct combining_options {
  std::size_t max_batch = 4096;  // adds
  // Batches under way at once, each with a connection and a session of its own.
  std::size_t in_flight = 1;
  // How long a batch whose reply was lost is asked again before it is unknown.
  std::chrono::milliseconds patience = std::chrono::seconds(10);
};

// Counter: basic_counter<E>, or what has add(n, call_options) -> outcome<int64_t> and load; for
// async_add, client() with offload() too.
template <class Counter>
class combining_counter {
public:
  using value_type = std::int64_t;

  // Throws: std::invalid_argument if max_batch or in_flight is 0.
  explicit combining_counter(Counter counter, const combining_options& how = {})
      : shared_(std::make_shared<combiner>(
            std::move(counter),
            detail::combiner_settings{valid(how.max_batch), valid(how.in_flight), how.patience})) {}

  // Effects: adds n, together with what others add. Returns: the value after. If it is unknown,
  //          that has no id: the batch's would stand for all that is in it.
  outcome<std::int64_t> add(std::int64_t n) const { return shared_->add(n); }
  // Effects: as above, but by itself if the call says anything.
  outcome<std::int64_t> add(std::int64_t n, const call_options& call) const {
    if (!call.id && call.timeout.count() == 0) return add(n);
    return counter().add(n, call);
  }
  [[nodiscard]] outcome<std::int64_t> load(const call_options& call = {}) const {
    Counter& at = counter();
    return at.load(call);
  }

  class awaiter;
  // Returns: an awaitable of what add(n) returns.
  [[nodiscard("write co_await")]] awaiter async_add(std::int64_t n) const {
    return awaiter(shared_, n);
  }

  [[nodiscard]] Counter& counter() const noexcept { return shared_->counter(); }

private:
  using combiner = detail::combiner<Counter>;

  static std::size_t valid(std::size_t n) {
    if (n == 0) {
      throw std::invalid_argument("interlock::store::combining_counter: give 1 or more");
    }
    return n;
  }

  std::shared_ptr<combiner> shared_;
};

template <class Counter>
class [[nodiscard("write co_await")]] combining_counter<Counter>::awaiter {
public:
  awaiter(std::shared_ptr<combiner> in, std::int64_t n) : in_(std::move(in)), n_(n) {}
  awaiter(awaiter && other) noexcept
      : in_(std::move(other.in_)), n_(other.n_) {}  // not awaited yet
  awaiter& operator=(awaiter&&) = delete;
  ~awaiter() {
    if (!waits_ || in_->abandon(*mine_) || interlock::detail::trampoline::forget(node_)) return;
    interlock::detail::misuse(
        "a coroutine that awaits a combining_counter was destroyed while another thread was about "
        "to resume it; destroy it where its batch cannot end meanwhile");
  }

  bool await_ready() const noexcept {
    return false;
  }
  void await_suspend(std::coroutine_handle<> self) {
    const std::shared_ptr<combiner> in = in_;  // this may be gone before enqueue returns
    const auto mine = mine_ = std::make_shared<detail::combined_add>(n_, false);
    node_.continuation = self;
    mine->who = &node_;
    waits_ = true;
    try {
      in->enqueue(mine);
    } catch (...) {
      waits_ = false;
      throw;
    }
  }
  outcome<std::int64_t> await_resume() {
    waits_ = false;
    return *std::move(mine_->answer);
  }

private:
  std::shared_ptr<combiner> in_;
  const std::int64_t n_;
  std::shared_ptr<detail::combined_add> mine_;
  bool waits_ = false;
  interlock::detail::coroutine_waiter node_;
};

}  // namespace interlock::store
