// SPDX-License-Identifier: BSL-1.0
#pragma once

// An SQLite file as a place. Between a program and its file nothing is lost, so here the caller
// itself loses a share of what it asks for and of what it is told.

#include <interlock/sqlite/client.hpp>
#include <interlock/sqlite/transaction.hpp>
#include <interlock/testing/temporary_folder.hpp>

#include <cstdint>
#include <mutex>
#include <random>
#include <string>
#include <utility>

#include "common.hpp"

namespace faults {

class place {
public:
  using client = interlock::sqlite::client;
  using transaction = interlock::sqlite::transaction;
  static constexpr const char* engine = "sqlite";

  static bool available() { return true; }
  explicit place(kept what = kept::quick)
      : address_((what == kept::quick ? "quick " : "killed ") + folder_.path() + "/data.db") {}
  [[nodiscard]] client open(store::client_options options) const {
    return connect(address_, std::move(options));
  }
  [[nodiscard]] const std::string& address() const { return address_; }
  // What a commit leaves in the system survives kill -9; not to wait for the disk saves minutes.
  [[nodiscard]] static client connect(const std::string& address, store::client_options options) {
    namespace sqlite = interlock::sqlite;
    const bool quick = address.substr(0, 6) == "quick ";
    return client(address.substr(address.find(' ') + 1), std::move(options),
                  {.synchronous = quick ? sqlite::synchronous::off : sqlite::synchronous::normal});
  }

  template <class F>
  static auto transact(const client& on, F body, const store::transaction_options& how) {
    return interlock::sqlite::atomically(on, body, how);
  }

private:
  interlock::testing::temporary_folder folder_;
  std::string address_;
};

class losing {
public:
  losing(place& of, double share, std::uint64_t seed) : of_(&of), share_(share), random_(seed) {}
  [[nodiscard]] place::client open(store::client_options options) const {
    return of_->open(std::move(options));
  }
  // Returns: what f says; or unknown, and then f was not called, or was.
  template <class F>
  auto ask(F f) -> decltype(f()) {
    if (lost()) return store::doubt(said());
    auto answer = f();
    if (lost()) return store::doubt(said());
    return answer;
  }

private:
  static store::error said() {
    return {store::errc::connection_lost, place::engine, "fault", "", "lost by the caller", ""};
  }
  bool lost() {
    const std::lock_guard hold(guard_);
    return std::uniform_real_distribution<double>(0, 1)(random_) < share_;
  }

  place* of_;
  double share_;
  std::mutex guard_;
  std::mt19937_64 random_;
};

}  // namespace faults
