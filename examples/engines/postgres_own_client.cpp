// SPDX-License-Identifier: BSL-1.0
// A program that has its own way to connect (a password from a vault, a service of libpqxx) hands
// its connections to the client.
// Prints: 5 hits, over 2 connections of the program

#include <interlock/postgres/counter.hpp>
#include <interlock/testing/throwaway_postgres.hpp>

#include <atomic>
#include <cstdio>
#include <string>
#include <utility>

namespace postgres = interlock::postgres;
using interlock::testing::throwaway_postgres;

namespace {

// What a program has already. With libpqxx: std::move(connection).release_raw_connection().
class connections {
public:
  explicit connections(std::string address) : address_(std::move(address)) {}
  PGconn* make() {
    // order: relaxed: a number to print
    made_.fetch_add(1, std::memory_order_relaxed);
    const std::string password = "from the vault";
    return PQconnectdb((address_ + " password='" + password + "'").c_str());
  }
  [[nodiscard]] int made() const {
    // order: relaxed: a number to print
    return made_.load(std::memory_order_relaxed);
  }

private:
  std::string address_;
  std::atomic<int> made_{0};
};

}  // namespace

int main() {
  if (!throwaway_postgres::available()) {
    std::puts("skipped: no PostgreSQL here");
    return 0;
  }
  const throwaway_postgres server;
  connections mine(server.conninfo());
  postgres::client db("", {}, {.connect = [&mine] { return mine.make(); }});

  postgres::counter hits(db, "hits");
  hits.add(5).value();
  const int count = static_cast<int>(hits.load().value());
  std::printf("%d hits, over %d connections of the program\n", count, mine.made());
  return count == 5 && mine.made() == 2 ? 0 : 1;
}
