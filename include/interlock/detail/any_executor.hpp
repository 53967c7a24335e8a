// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/any_executor.hpp - an executor of whatever type, in the options of a queue.
//
// Copies are the same executor. One of up to two pointers that is trivially copied is held inside,
// any other by one allocation that the copies share. To hand a job over allocates nothing here.

#include <atomic>
#include <cstddef>
#include <cstring>
#include <new>

#include "../executor.hpp"

namespace interlock {
namespace detail {

// What a queue has done later: 16 bytes, called once, or dropped if it was moved and not called.
struct job_actions {
  void (*run)(void*) noexcept;
  void (*dropped)(void*) noexcept;  // or nullptr; also before execute() throws
};
struct job {
  void operator()() const noexcept { what->run(on); }

  const job_actions* what;
  void* on;
};
class moving_job {
public:
  explicit moving_job(job given) noexcept : job_(given) {}
  moving_job(moving_job&& other) noexcept
      : job_{std::exchange(other.job_.what, nullptr), other.job_.on} {}
  moving_job& operator=(moving_job&&) = delete;
  ~moving_job() {
    if (job_.what != nullptr && job_.what->dropped != nullptr) job_.what->dropped(job_.on);
  }
  void operator()() noexcept { std::exchange(job_.what, nullptr)->run(job_.on); }

private:
  job job_;
};

}  // namespace detail

class any_executor {
public:
  any_executor() noexcept = default;       // none
  any_executor(std::nullptr_t) noexcept {}  // NOLINT: the same, as of std::function

  template <executor E>
    requires(!std::same_as<std::remove_cvref_t<E>, any_executor>)
  any_executor(E&& given) {  // NOLINT: any executor is one
    using kept = detail::kept_executor<E>;
    put<kept::moves>(kept::of(std::forward<E>(given)));
  }
  any_executor(const any_executor& other) noexcept : how_(other.how_) {
    std::memcpy(held_, other.held_, sizeof(held_));
    if (how_ != nullptr && how_->shared != nullptr) how_->shared(*this, +1);
  }
  any_executor(any_executor&& other) noexcept : how_(std::exchange(other.how_, nullptr)) {
    std::memcpy(held_, other.held_, sizeof(held_));
  }
  any_executor& operator=(any_executor other) noexcept {
    std::swap(how_, other.how_);
    std::swap(held_, other.held_);
    return *this;
  }
  ~any_executor() {
    if (how_ != nullptr && how_->shared != nullptr) how_->shared(*this, -1);
  }

  explicit operator bool() const noexcept { return how_ != nullptr; }

  // Preconditions: not empty. Throws: what the executor throws: it has not taken the job then.
  void execute(detail::job later) const { how_->hand(const_cast<any_executor&>(*this), later); }

private:
  struct manner {
    void (*hand)(any_executor&, detail::job);
    void (*shared)(any_executor&, int) noexcept;  // nullptr: held inside
  };
  template <class Kept>
  struct block {
    Kept executor;
    std::atomic<std::size_t> users;
  };

  template <class Kept>
  static constexpr bool fits = sizeof(Kept) <= 2 * sizeof(void*) &&
                               alignof(Kept) <= alignof(void*) &&
                               std::is_trivially_copyable_v<Kept>;

  template <class Kept>
  static Kept& in(any_executor& self) noexcept {
    void* const place = self.held_;
    if constexpr (fits<Kept>) {
      return *std::launder(static_cast<Kept*>(place));
    } else {
      return (*static_cast<block<Kept>**>(place))->executor;
    }
  }

  template <class Kept, bool Moves>
  static void hand(any_executor& self, detail::job later) {
    if constexpr (Moves) {
      detail::hand_to(in<Kept>(self), detail::moving_job(later));
    } else {
      detail::hand_to(in<Kept>(self), later);
    }
  }
  template <class Kept>
  static void share(any_executor& self, int change) noexcept {
    void* const place = self.held_;
    block<Kept>* const at = *static_cast<block<Kept>**>(place);
    if (change > 0) {
      // order: relaxed: whoever copies has one, so it stays
      at->users.fetch_add(1, std::memory_order_relaxed);
      // order: acq_rel [any_executor.release] pairs with [any_executor.release]: the last sees all that the others did with it
    } else if (at->users.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      delete at;
    }
  }

  template <bool Moves, class Kept>
  void put(Kept kept) {
    if constexpr (fits<Kept>) {
      static constexpr manner how{&hand<Kept, Moves>, nullptr};
      ::new (static_cast<void*>(held_)) Kept(std::move(kept));
      how_ = &how;
    } else {
      static constexpr manner how{&hand<Kept, Moves>, &share<Kept>};
      auto* const at = new block<Kept>{std::move(kept), 1};
      ::new (static_cast<void*>(held_)) block<Kept>*(at);
      how_ = &how;
    }
  }

  const manner* how_ = nullptr;
  alignas(void*) unsigned char held_[2 * sizeof(void*)]{};
};

static_assert(sizeof(any_executor) == 3 * sizeof(void*), "options are copied into every queue");

}  // namespace interlock
