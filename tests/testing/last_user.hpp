// SPDX-License-Identifier: BSL-1.0
#pragma once

// tests/testing/last_user.hpp - an object that the thread which is done with it last destroys.

#include <utility>

#include "testing/front.hpp"

// Lives on the heap; each user calls leave() once, as the last that it does with the object.
template <class T>
class used_by {
public:
  template <class... Args>
  static used_by* make(int users, Args&&... args) {
    return new used_by(users, std::forward<Args>(args)...);
  }
  used_by(const used_by&) = delete;
  used_by& operator=(const used_by&) = delete;

  T& operator*() noexcept { return object_; }
  T* operator->() noexcept { return &object_; }
  void leave() {
    if (users_.fetch_sub(1, ar) == 1) delete this;
  }

private:
  template <class... Args>
  explicit used_by(int users, Args&&... args)
      : users_(users), object_(std::forward<Args>(args)...) {}
  ~used_by() = default;

  std::atomic<int> users_;
  T object_;
};
