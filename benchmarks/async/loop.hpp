// SPDX-License-Identifier: BSL-1.0
#pragma once

// The smallest event loop that two threads can share work through: a queue of its own, and an inbox
// for what comes from other threads. Coroutines are spawned on it and yield to it.

#include <array>
#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstring>
#include <exception>
#include <mutex>
#include <type_traits>
#include <utility>
#include <vector>

namespace async {

class loops;

class loop {
public:
  explicit loop(loops& all) noexcept : all_(&all) {}

  // A small callable without a heap allocation: awaitables give a handle in a lambda.
  class job {
  public:
    job() = default;
    template <class F>
    explicit job(F f) noexcept : run_([](void* at) { (*static_cast<F*>(at))(); }) {
      static_assert(std::is_trivially_copyable_v<F> && sizeof(F) <= sizeof state_);
      std::memcpy(state_, &f, sizeof f);
    }
    void operator()() { run_(state_); }

  private:
    void (*run_)(void*) = nullptr;
    alignas(std::max_align_t) unsigned char state_[16] = {};
  };

  struct visitor;

  struct yield_awaiter {
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> self) const { current().post(self); }
    void await_resume() const noexcept {}
  };

  // Effects: runs f later; on the thread that calls run().
  template <class F>
  void execute(F f) {
    post(job(std::move(f)));
  }
  void post(std::coroutine_handle<> ready) {
    post(job([ready]() noexcept { ready.resume(); }));
  }

  // Effects: runs what is posted here until no visitor is left on any of the loops.
  void run();

  static loop& current() noexcept { return *running(); }

private:
  friend loops;

  // Out of line: a coroutine may change threads between two calls.
  [[gnu::noinline]] static loop*& running() noexcept {
    static thread_local loop* instance = nullptr;
    return instance;
  }

  void post(job each) {
    if (running() == this) {
      own_.push_back(each);
      return;
    }
    {
      const std::lock_guard held(door_);
      inbox_.push_back(each);
    }
    wake();
  }

  void wake() {
    if (!mail_.exchange(true)) mail_.notify_one();
  }

  void take_inbox() {
    mail_.wait(false);
    collect();
  }

  void collect() {
    mail_.store(false);
    const std::lock_guard held(door_);
    own_.insert(own_.end(), inbox_.begin(), inbox_.end());
    inbox_.clear();
  }

  std::vector<job> own_;   // to be run in the next turn
  std::vector<job> turn_;  // this turn's
  loops* const all_;
  alignas(64) std::atomic<bool> mail_{false};  // something is in the inbox
  std::mutex door_;
  std::vector<job> inbox_;
};

// Two of them that share work: a coroutine may end on the other one.
class loops {
public:
  loop& operator[](std::size_t index) noexcept { return two_[index]; }
  auto begin() noexcept { return two_.begin(); }
  auto end() noexcept { return two_.end(); }

private:
  friend loop;

  void leave() {
    if (visitors_.fetch_sub(1) != 1) return;
    for (loop& each : two_) each.wake();
  }

  std::atomic<std::size_t> visitors_{0};
  std::array<loop, 2> two_{{loop(*this), loop(*this)}};
};

// A coroutine that runs by itself from start to end, first on this loop, and counts as a visitor
// of all loops that share its work.
struct loop::visitor {
  struct promise_type {
    template <class... Args>
    explicit promise_type(loop& home, Args&...) noexcept : home_(home) {}
    visitor get_return_object() noexcept {
      home_.all_->visitors_.fetch_add(1, std::memory_order_relaxed);
      home_.post(std::coroutine_handle<promise_type>::from_promise(*this));
      return {};
    }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept {
      home_.all_->leave();
      return {};
    }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }

  private:
    loop& home_;
  };
};

inline void loop::run() {
  running() = this;
  while (all_->visitors_.load() != 0) {
    if (own_.empty()) take_inbox();
    turn_.swap(own_);
    for (job& each : turn_) {
      each();
      if (mail_.load(std::memory_order_relaxed)) collect();
    }
    turn_.clear();
  }
  running() = nullptr;
}

// For resume_on(): where a coroutine goes on.
struct executor {
  loop* home;
  template <class F>
  void execute(F f) const {
    home->execute(f);
  }
};

inline loop::yield_awaiter yield() noexcept {
  return {};
}

}  // namespace async
