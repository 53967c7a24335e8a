// SPDX-License-Identifier: BSL-1.0
#pragma once

// A stop token for one callback, in the manner of std::stop_token, which not every library has and
// which the explorer cannot look into.

#include <atomic>
#include <thread>
#include <utility>

namespace support {

class stop_source {
public:
  class token;

  // Effects: calls the callback, if there is one, once.
  void request_stop() {
    base* const found = callback_.exchange(&requested, std::memory_order_acq_rel);
    if (found == nullptr || found == &requested) return;
    caller_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    found->call(*found);
    done_.store(true, std::memory_order_release);
  }
  token get_token() noexcept;

private:
  struct base {
    void (*call)(base&);
  };
  inline static base requested{nullptr};

  std::atomic<base*> callback_{nullptr};
  std::atomic<std::thread::id> caller_{};
  std::atomic<bool> done_{false};
};

class stop_source::token {
public:
  template <class F>
  class callback_type : base {
  public:
    callback_type(const token& from, F f)
        : base{[](base& self) { static_cast<callback_type&>(self).f_(); }},
          source_(*from.source_),
          f_(std::move(f)) {
      base* none = nullptr;
      registered_ = source_.callback_.compare_exchange_strong(none, this, std::memory_order_acq_rel,
                                                              std::memory_order_acquire);
      if (!registered_) f_();
    }
    callback_type(const callback_type&) = delete;
    callback_type& operator=(const callback_type&) = delete;
    ~callback_type() {
      base* self = this;
      if (!registered_ ||
          source_.callback_.compare_exchange_strong(self, nullptr, std::memory_order_acq_rel,
                                                    std::memory_order_acquire)) {
        return;
      }
      while (source_.caller_.load(std::memory_order_relaxed) != std::this_thread::get_id() &&
             !source_.done_.load(std::memory_order_acquire)) {
        std::this_thread::yield();
      }
    }

  private:
    stop_source& source_;
    F f_;
    bool registered_ = false;
  };

  explicit token(stop_source& source) noexcept : source_(&source) {}
  bool stop_requested() const noexcept {
    return source_->callback_.load(std::memory_order_acquire) == &requested;
  }

private:
  stop_source* source_;
};

inline stop_source::token stop_source::get_token() noexcept {
  return token(*this);
}

}  // namespace support
