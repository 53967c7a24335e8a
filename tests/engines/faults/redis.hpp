// SPDX-License-Identifier: BSL-1.0
#pragma once

// A Redis as a place.

#include <interlock/redis/client.hpp>
#include <interlock/redis/transaction.hpp>
#include <interlock/testing/endpoint.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <string>
#include <utility>

#include "proxied.hpp"
#include "support/servers.hpp"

namespace faults {

class place {
public:
  using client = interlock::redis::client;
  using transaction = interlock::redis::transaction;
  using server_type = interlock::testing::throwaway_redis;
  using server_options = interlock::testing::redis_options;
  static constexpr const char* engine = "redis";

  static constexpr unsigned handshake = 8;  // messages each way

  static bool available() { return support::need_redis(); }
  explicit place(kept what = kept::quick, server_options how = {})
      : server_(what == kept::quick ? how : with_files(how)) {}
  [[nodiscard]] client open(store::client_options options) const {
    return connect(address(), std::move(options));
  }
  [[nodiscard]] client open_at(const interlock::testing::endpoint& through,
                               store::client_options options) const {
    return connect(server_.url(through), std::move(options));
  }
  [[nodiscard]] std::string address() const { return server_.url(); }
  [[nodiscard]] static client connect(const std::string& address, store::client_options options) {
    return client(address, std::move(options));
  }
  void crash() {
    server_.crash();
    server_.restart();
  }
  [[nodiscard]] const interlock::testing::endpoint& where() const { return server_.where(); }
  [[nodiscard]] server_type& server() { return server_; }

  template <class F>
  static auto transact(const client& on, F body, const store::transaction_options& how) {
    return interlock::redis::atomically(on, body, how);
  }

private:
  static server_options with_files(server_options how) {
    how.appendonly = interlock::testing::redis_appendonly::always;
    return how;
  }
  server_type server_;
};

using losing = proxied<place>;

}  // namespace faults
