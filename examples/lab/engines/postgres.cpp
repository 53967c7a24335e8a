// SPDX-License-Identifier: BSL-1.0

// The stories on PostgreSQL: a cluster with its socket in a temporary folder, with Debian's
// settings.

#include <libpq-fe.h>
#include <interlock/postgres/client.hpp>
#include <interlock/postgres/run_in_transaction.hpp>
#include <interlock/postgres/transaction.hpp>
#include <interlock/testing/throwaway_postgres.hpp>

#include <memory>
#include <string>
#include <utility>

#include "stories.hpp"
#include "types.hpp"

namespace lab {

namespace {

struct on_postgres : engine_types<interlock::postgres::client> {
  static constexpr const char* name = "postgres";
  static constexpr const char* package = "postgresql";
  static constexpr const char* library = "libpq-dev";
  static bool installed() { return interlock::testing::throwaway_postgres::available(); }
  static constexpr bool sql = true;
  static constexpr bool renewed = true;

  using transaction = interlock::postgres::transaction;
  template <class Body>
  static auto atomically(client& on, Body&& body) {
    return interlock::postgres::atomically(on, std::forward<Body>(body));
  }
  template <class Store, class Body>
  static auto run_in_transaction(client& on, const Store& in, const std::string& key, Body&& body) {
    return interlock::postgres::run_in_transaction(on, in, key, interlock::fingerprint{},
                                                   std::forward<Body>(body));
  }

  class throwaway {
  public:
    [[nodiscard]] std::string url() const { return server_.url(); }

  private:
    interlock::testing::throwaway_postgres server_;
  };

  // Leaves no schema of the prefix on a server of the user's.
  class guest {
  public:
    guest(std::string url, std::string prefix) : url_(std::move(url)), prefix_(std::move(prefix)) {}
    guest(const guest&) = delete;
    guest& operator=(const guest&) = delete;
    ~guest() {
      const std::unique_ptr<PGconn, decltype(&PQfinish)> on(PQconnectdb(url_.c_str()), &PQfinish);
      PQsetNoticeProcessor(
          on.get(), [](void*, const char*) {}, nullptr);
      PQclear(PQexec(on.get(), ("DROP SCHEMA IF EXISTS \"" + prefix_ + "\" CASCADE").c_str()));
    }

  private:
    const std::string url_;
    const std::string prefix_;
  };
};

}  // namespace

engine postgres_engine() {
  return engine_of<on_postgres>();
}

}  // namespace lab
