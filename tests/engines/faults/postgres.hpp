// SPDX-License-Identifier: BSL-1.0
#pragma once

// A PostgreSQL as a place. A commit that the system has survives kill -9; not to wait for the disk
// saves minutes.

#include <interlock/postgres/client.hpp>
#include <interlock/postgres/transaction.hpp>
#include <interlock/testing/endpoint.hpp>
#include <interlock/testing/throwaway_postgres.hpp>

#include <string>
#include <utility>

#include "proxied.hpp"
#include "support/servers.hpp"

namespace faults {

class place {
public:
  using client = interlock::postgres::client;
  using transaction = interlock::postgres::transaction;
  using server_type = interlock::testing::throwaway_postgres;
  using server_options = interlock::testing::postgres_options;
  static constexpr const char* engine = "postgres";

  static constexpr unsigned handshake = 8;  // messages each way

  static bool available() { return support::need_postgres(); }
  explicit place(kept = kept::quick, server_options how = {}) : server_(without_fsync(how)) {}
  [[nodiscard]] client open(store::client_options options) const {
    return connect(address(), std::move(options));
  }
  [[nodiscard]] client open_at(const interlock::testing::endpoint& through,
                               store::client_options options) const {
    return connect(server_.conninfo(through), std::move(options));
  }
  [[nodiscard]] std::string address() const { return server_.conninfo(); }
  [[nodiscard]] static client connect(const std::string& address, store::client_options options) {
    return client(address, std::move(options));
  }
  // One backend; the server ends all others and recovers.
  void crash() { server_.crash_backend(); }
  [[nodiscard]] const interlock::testing::endpoint& where() const { return server_.where(); }
  [[nodiscard]] server_type& server() { return server_; }

  template <class F>
  static auto transact(const client& on, F body, const store::transaction_options& how) {
    return interlock::postgres::atomically(on, body, how);
  }

private:
  static server_options without_fsync(server_options how) {
    how.fsync = false;
    return how;
  }
  server_type server_;
};

using losing = proxied<place>;

}  // namespace faults
