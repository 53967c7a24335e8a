// SPDX-License-Identifier: BSL-1.0
// redis::client with servers that load, kill, lose replies or have replicas that do not follow.

#include <interlock/redis/client.hpp>
#include <interlock/redis/counter.hpp>
#include <interlock/testing/lossy_proxy.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/servers.hpp"

namespace redis = interlock::redis;
namespace store = interlock::store;
using interlock::testing::lossy_proxy;
using interlock::testing::throwaway_redis;
using namespace std::chrono_literals;
using store::errc;
using store::operation_id;

namespace {

// A connection of hiredis to a test. `library`: hiredis writes and reads, as with TLS.
struct wired {
  explicit wired(bool library) : ends(made()), connection(redisConnectFd(ends[0]), library) {
    const int little = 4096;
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &little, sizeof little);
  }
  wired(const wired&) = delete;
  wired& operator=(const wired&) = delete;
  ~wired() { close(ends[1]); }

  // Effects: reads until that many bytes came or none comes for ever. Returns: how many came.
  [[nodiscard]] std::size_t read(std::size_t wanted, std::chrono::milliseconds pause) const {
    char bytes[4096];
    std::size_t all = 0;
    while (all < wanted) {
      if (pause != 0ms) std::this_thread::sleep_for(pause);
      const ssize_t n = ::recv(ends[1], bytes, sizeof bytes, 0);
      if (n <= 0) break;
      all += static_cast<std::size_t>(n);
    }
    return all;
  }

  static std::array<int, 2> made() {
    std::array<int, 2> out{-1, -1};
    static_cast<void>(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out.data()));
    return out;
  }
  std::array<int, 2> ends;
  redis::detail::connection connection;
};

}  // namespace

TEST_CASE(
    "redis::settings: a write that too few replicas have is unknown, and exact under its id") {
  if (!support::need_redis()) return;
  const throwaway_redis primary({.tcp = true});
  throwaway_redis replica(
      {.settings = {"replicaof 127.0.0.1 " + std::to_string(primary.where().port)}});
  REQUIRE(support::eventually([&] {
    return replica.command({"INFO", "replication"}).find("master_link_status:up") !=
           std::string::npos;
  }));
  redis::client c(primary.url(), {}, {.replicas = 1});
  redis::counter hits(c, "hits");
  REQUIRE(support::eventually([&] { return hits.add(0).applied(); }));
  CHECK(hits.add(1).value() == 1);
  CHECK(replica.command({"GET", "{interlock}:counter:hits"}) == "$1\r\n1\r\n");
  const auto id = operation_id::fresh();
  CHECK(hits.add(1, {.id = operation_id::fresh()}).value() == 2);

  replica.pause();
  const auto doubtful = hits.add(5, {id, 150ms});
  CHECK(hits.load().value() == 7);  // the primary has it
  // The control: a client that does not wait takes it for done.
  redis::client naive(primary.url());
  CHECK(redis::counter(naive, "hits").add(0, {{}, 150ms}).applied());
  replica.resume();
  REQUIRE(doubtful.unknown());
  CHECK(doubtful.error().detail.find("replicas") != std::string::npos);
  CHECK(support::eventually([&] { return hits.add(5, {.id = id}).applied(); }));
  CHECK(hits.load().value() == 7);
  CHECK(c.probed().settings.back().value == "1");
}

TEST_CASE("redis::client: a server that loads its data is busy, not empty") {
  if (!support::need_redis()) return;
  throwaway_redis server(
      {.settings = {"key-load-delay 1500", "loading-process-events-interval-bytes 1024"}});
  redis::client c(server.url());
  redis::counter hits(c, "hits");
  REQUIRE(hits.add(7).applied());
  for (int i = 0; i < 400; ++i) server.command({"SET", "k" + std::to_string(i), "v"});
  server.command({"SAVE"});
  server.crash();
  std::thread starting([&] { server.restart(); });
  bool busy = false;
  bool wrong = false;
  const bool answered = support::eventually([&] {
    const auto now = hits.load();
    busy = busy || (now.refused() && now.error().code == errc::busy);
    wrong = wrong || (now.applied() && *now != 7);
    return now.applied();
  });
  starting.join();
  CHECK(answered);
  CHECK(busy);
  CHECK_FALSE(wrong);
}

TEST_CASE("redis::client: what a server says is told from what may have been done") {
  using redis::detail::meaning_of;
  const auto killed = meaning_of(
      "ERR Error running script (call to f_1): @user_script:1: Script killed by user with SCRIPT "
      "KILL...",
      true);
  CHECK(killed.code == errc::killed);
  CHECK(killed.without_effect);
  CHECK(meaning_of("NOREPLICAS Not enough good replicas to write.", true).without_effect);
  CHECK(meaning_of("UNKILLABLE Sorry the script already executed write commands", true).code ==
        errc::busy);
  // A command that a script may not run: what came before it may be done.
  for (const char* denied :
       {"ERR ACL failure in script: User u has no permissions to run the 'hset' command",
        "NOPERM The user executing the script can't run this command or subcommand",
        "ERR The user executing the script can't run this command or subcommand"}) {
    CAPTURE(denied);
    CHECK(meaning_of(denied, true).code == errc::access_denied);
    CHECK_FALSE(meaning_of(denied, true).without_effect);
    CHECK(meaning_of(denied, false).without_effect);
  }
  CHECK(meaning_of("NOPERM User u has no permissions to run the 'evalsha' command", true)
            .without_effect);
  // A number of another program in the middle of a script.
  CHECK(meaning_of("ERR hash value is not an integer", true).code == errc::bad_value);
  CHECK_FALSE(meaning_of("ERR hash value is not an integer", true).without_effect);
  CHECK(meaning_of("ERR value is not an integer or out of range", false).without_effect);
  for (const bool script : {false, true}) {
    const auto over = meaning_of("ERR increment or decrement would overflow", script);
    CHECK(over.code == errc::bad_argument);
    CHECK(over.without_effect == !script);
  }
  CHECK(meaning_of("MOVED 3999 127.0.0.1:6381", false).code == errc::bad_address);
  // An error that nobody has thought of: a command was not done, a script may be half done.
  CHECK(meaning_of("ERR unheard of", false).without_effect);
  CHECK_FALSE(meaning_of("ERR unheard of", true).without_effect);
}

TEST_CASE("redis::client: a write that drains slowly ends at its deadline, and nothing was done") {
  const std::string value(std::size_t{8} << 20U, 'x');
  const std::array<std::string_view, 3> set{"SET", "k", value};
  for (const bool library : {false, true}) {
    CAPTURE(library);
    wired to(library);
    std::size_t came = 0;
    std::thread slow([&] { came = to.read(value.size(), 5ms); });  // needs 10 seconds for all
    const auto begun = std::chrono::steady_clock::now();
    const auto answer = to.connection.execute(set, store::detail::call_deadline(300ms));
    const auto took = std::chrono::steady_clock::now() - begun;
    shutdown(to.ends[0], SHUT_RDWR);
    slow.join();
    CHECK(answer.kind() == redis::value_kind::not_sent);
    CHECK(answer.code() == errc::timed_out);
    CHECK(to.connection.broken());
    CHECK(took >= 300ms);
    CHECK(took < 5s);
    CHECK(came < value.size());
  }
}

TEST_CASE("redis::client: a write that stalls goes on when the server reads again") {
  const std::string value(std::size_t{1} << 20U, 'x');
  const std::array<std::string_view, 3> set{"SET", "k", value};
  for (const bool library : {false, true}) {
    CAPTURE(library);
    wired to(library);
    std::size_t came = 0;
    std::thread late([&] {
      std::this_thread::sleep_for(200ms);  // longer than the kernel blocks at once
      came = to.read(value.size() + 30, 0ms);
      static_cast<void>(::send(to.ends[1], "+OK\r\n", 5, MSG_NOSIGNAL));
    });
    const auto answer = to.connection.execute(set, store::detail::call_deadline(30s));
    shutdown(to.ends[0], SHUT_RDWR);
    late.join();
    CHECK(answer.kind() == redis::value_kind::bytes);
    CHECK(answer.text() == "OK");
    CHECK(to.connection.settled());
    CHECK(came > value.size());
  }
}

TEST_CASE("redis::client: lost requests and replies are unknown, and ids make them exact") {
  if (!support::need_redis()) return;
  const throwaway_redis server;
  lossy_proxy proxy(server.where(),
                    {.drop_request = 0.02, .drop_reply = 0.02, .seed = 5, .spared = 30});
  redis::client direct(server.url());
  redis::client c(server.url(proxy.where()), {.connections = 2});
  redis::counter exact(c, "exact");
  redis::counter naive(c, "naive");
  constexpr std::int64_t wanted = 1500;
  std::int64_t unknown = 0;
  std::int64_t acknowledged = 0;
  bool right = true;
  for (std::int64_t i = 0; i < wanted; ++i) {
    const auto id = operation_id::fresh();
    bool first = true;
    right = right && support::eventually([&] {
              const auto now = exact.add(1, {.id = id});
              if (first && now.unknown()) ++unknown;
              first = false;
              return now.applied();
            });
    right = right && support::eventually([&] { return naive.add(1).applied(); });
    ++acknowledged;
  }
  CHECK(right);
  CHECK(unknown > 0);
  CHECK(redis::counter(direct, "exact").load().value() == acknowledged);
  CHECK(redis::counter(direct, "naive").load().value() > acknowledged);  // the control
}
