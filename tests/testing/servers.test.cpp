// SPDX-License-Identifier: BSL-1.0
// Throwaway servers: what survives their crash, who gets an answer.

#include <interlock/testing/lossy_proxy.hpp>
#include <interlock/testing/throwaway_postgres.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <chrono>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>

#include "support/catch.hpp"
#include "support/servers.hpp"

using namespace std::chrono_literals;
using interlock::testing::endpoint;
using interlock::testing::lossy_proxy;
using interlock::testing::proxy_losses;
using interlock::testing::redis_appendonly;
using interlock::testing::throwaway_postgres;
using interlock::testing::throwaway_redis;

namespace {

namespace inside = interlock::testing::server_detail;

// Returns: how many of 200 acknowledged writes are there after kill -9.
int survivors(redis_appendonly how) {
  throwaway_redis server({.appendonly = how});
  for (int i = 0; i < 200; ++i) {
    if (server.command({"INCR", "writes"}) != ":" + std::to_string(i + 1) + "\r\n") return -1;
  }
  server.crash();
  server.restart();
  const std::string answer = server.command({"GET", "writes"});
  return answer == "$-1\r\n" ? 0 : std::stoi(answer.substr(answer.find('\n') + 1));
}

}  // namespace

// ---- Redis --------------------------------------------------------------------------------------

TEST_CASE("A throwaway Redis answers when its constructor returns and is gone with it") {
  if (!support::need_redis()) return;
  for (const bool tcp : {false, true}) {
    std::string folder;
    pid_t id = 0;
    {
      throwaway_redis server({.tcp = tcp});
      CHECK(server.url().rfind(tcp ? "redis://127.0.0.1:" : "unix:///", 0) == 0);
      CHECK(server.command({"PING"}) == "+PONG\r\n");
      folder = server.process().folder();
      id = server.process().pid();
      CHECK(std::filesystem::exists(folder));
    }
    CHECK(inside::entry_of(id).gone());
    CHECK_FALSE(std::filesystem::exists(folder));
  }
}

TEST_CASE("What a Redis with appendonly always acknowledged survives its crash") {
  if (!support::need_redis()) return;
  CHECK(survivors(redis_appendonly::always) == 200);
}

TEST_CASE("What a Redis without appendonly acknowledged is lost in its crash") {
  if (!support::need_redis()) return;
  CHECK(survivors(redis_appendonly::none) == 0);
}

TEST_CASE("A paused Redis answers nobody until it is resumed") {
  if (!support::need_redis()) return;
  throwaway_redis server;
  server.pause();
  CHECK(server.command({"INCR", "a"}, 50ms).empty());
  server.resume();
  CHECK(server.command({"INCR", "b"}) == ":1\r\n");
  // It was only late: the request that got no answer has its effect.
  CHECK(inside::until(10s, [&] { return server.command({"GET", "a"}) == "$1\r\n1\r\n"; }));
}

TEST_CASE("A Redis with a password refuses who has none") {
  if (!support::need_redis()) return;
  throwaway_redis server({.password = "open \"sesame\"", .tcp = true});
  CHECK(server.command({"PING"}) == "+PONG\r\n");
  CHECK(server.url().rfind("redis://:open%20%22sesame%22@127.0.0.1:", 0) == 0);
  const std::string answer =
      inside::ask(server.where(), "PING\r\n", 5s,
                  [](const std::string& text) { return text.find('\n') != std::string::npos; });
  CHECK(answer.rfind("-NOAUTH", 0) == 0);
}

TEST_CASE("a Redis takes more settings, and says which it does not know") {
  if (!support::need_redis()) return;
  throwaway_redis server({.maxmemory = "2mb", .settings = {"hz 50"}});
  const std::string much(100'000, 'x');
  CHECK(server.command({"CONFIG", "GET", "hz"}).find("50") != std::string::npos);
  std::string answer = "+OK\r\n";
  for (int i = 0; i < 30 && answer == "+OK\r\n"; ++i) {
    answer = server.command({"SET", std::to_string(i), much});
  }
  CHECK(answer.rfind("-OOM", 0) == 0);
  CHECK(server.cpu_seconds() >= 0);
  std::string refused;
  try {
    throwaway_redis({.settings = {"no-such-setting 1"}});
  } catch (const std::runtime_error& error) {
    refused = error.what();
  }
  CHECK(refused.find("no-such-setting") != std::string::npos);
}

// ---- PostgreSQL ---------------------------------------------------------------------------------

TEST_CASE("A throwaway PostgreSQL answers when its constructor returns and is gone with it") {
  if (!support::need_postgres()) return;
  for (const bool tcp : {false, true}) {
    std::string folder;
    std::vector<pid_t> all;
    {
      throwaway_postgres server({.settings = {{"log_line_prefix", "it's %p "}}, .tcp = tcp});
      CHECK(server.query("SHOW log_line_prefix") == "it's %p \n");
      CHECK(server.query("SHOW fsync") == "on\n");
      CHECK(server.url().rfind(tcp ? "postgresql://postgres@127.0.0.1:" : "postgresql:///", 0) ==
            0);
      folder = server.process().folder();
      all = server.process().processes();
      CHECK(all.size() > 3);
    }
    for (const pid_t one : all) CHECK(inside::entry_of(one).gone());
    CHECK_FALSE(std::filesystem::exists(folder));
  }
}

TEST_CASE("What a PostgreSQL committed survives its crash") {
  if (!support::need_postgres()) return;
  throwaway_postgres server({.settings = {{"wal_writer_delay", "10s"}}});
  CHECK(server.query("CREATE TABLE writes (n int)").empty());
  std::string many = "SET synchronous_commit = off;";
  for (int i = 0; i < 20; ++i) {
    CHECK(server.query("INSERT INTO writes VALUES (1)").empty());
    many += "COMMIT; BEGIN; INSERT INTO writes VALUES (2);";
  }
  CHECK(server.query(many + "COMMIT").find("ERROR") == std::string::npos);
  CHECK(server.query("SELECT count(*) FROM writes") == "40\n");
  server.crash();
  server.restart();
  CHECK(server.query("SELECT count(*) FROM writes WHERE n = 1") == "20\n");
  // What was acknowledged before it was on the disk, and written out seconds later, is gone.
  CHECK(server.query("SELECT count(*) < 20 FROM writes WHERE n = 2") == "t\n");
}

TEST_CASE("The crash of one backend ends all connections and the server recovers by itself") {
  if (!support::need_postgres()) return;
  throwaway_postgres server({.fsync = false});
  const pid_t id = server.process().pid();
  CHECK(server.query("CREATE TABLE writes AS SELECT 1 AS n").empty());
  CHECK_FALSE(server.crash_backend(1));  // not one of its own
  std::string interrupted = "nothing yet";
  std::thread client([&] { interrupted = server.query("SELECT pg_sleep(1000)", 100s); });
  std::string sleeper;
  (void)inside::until(20s, [&] {
    sleeper = server.query("SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    return !sleeper.empty();
  });
  const bool crashed = !sleeper.empty() && server.crash_backend(std::stoi(sleeper));
  client.join();
  CHECK(crashed);
  CHECK(interrupted.empty());
  CHECK(server.query("SELECT n FROM writes") == "1\n");
  CHECK(server.process().pid() == id);
}

TEST_CASE("A paused PostgreSQL answers nobody until it is resumed") {
  if (!support::need_postgres()) return;
  throwaway_postgres server({.fsync = false});
  server.pause();
  CHECK(server.query("SELECT 1", 50ms).empty());
  server.resume();
  CHECK(server.query("SELECT 1") == "1\n");
}

TEST_CASE("A PostgreSQL with a password refuses who has none") {
  if (!support::need_postgres()) return;
  throwaway_postgres server({.fsync = false, .password = "open 'sesame'", .tcp = true});
  CHECK(server.query("SELECT 1").rfind("FATAL", 0) == 0);
  CHECK(server.url().rfind("postgresql://postgres:open%20%27sesame%27@127.0.0.1:", 0) == 0);
  CHECK(server.conninfo().find("password='open \\'sesame\\''") != std::string::npos);
}

TEST_CASE("a PostgreSQL says which setting it does not know") {
  if (!support::need_postgres()) return;
  std::string refused;
  try {
    throwaway_postgres({.settings = {{"no_such_setting", "1"}}});
  } catch (const std::runtime_error& error) {
    refused = error.what();
  }
  CHECK(refused.find("no_such_setting") != std::string::npos);
}

// ---- the proxy ----------------------------------------------------------------------------------

namespace {

struct tally {
  int answered = 0, counted = 0;
  interlock::testing::proxy_counts proxy;
};

// Increments through a proxy, each on a connection of its own: what clients and server saw.
tally increments(int wanted, const proxy_losses& how, bool tcp = false) {
  throwaway_redis server({.tcp = tcp});
  lossy_proxy proxy(server.where(), how);
  tally all;
  for (int i = 0; i < wanted; ++i) {
    if (!server.command_through(proxy.where(), {"INCR", "hits"}).empty()) ++all.answered;
  }
  const std::string answer = server.command({"GET", "hits"});
  all.counted = answer == "$-1\r\n" ? 0 : std::stoi(answer.substr(answer.find('\n') + 1));
  all.proxy = proxy.counts();
  return all;
}

}  // namespace

TEST_CASE("A proxy without losses passes on every byte in order") {
  if (!support::need_redis()) return;
  for (const bool tcp : {false, true}) {
    throwaway_redis server({.tcp = tcp});
    lossy_proxy proxy(server.where());
    CHECK(proxy.where().path.empty() == tcp);
    std::string much(3'000'000, 'x');
    for (std::size_t i = 0; i < much.size(); i += 7) much[i] = static_cast<char>('a' + i % 26);
    CHECK(server.command_through(proxy.where(), {"SET", "much", much}) == "+OK\r\n");
    CHECK(server.command({"GET", "much"}) == "$3000000\r\n" + much + "\r\n");
    CHECK(server.command_through(proxy.where(), {"GET", "much"}) == "$3000000\r\n" + much + "\r\n");
    const auto counts = proxy.counts();
    CHECK(counts.connections == 2);
    CHECK(counts.requests_dropped + counts.replies_dropped + counts.resets + counts.delays == 0);

    const tally all = increments(300, {}, tcp);
    CHECK(all.answered == 300);
    CHECK(all.counted == 300);
    CHECK(all.proxy.requests == 300);
    CHECK(all.proxy.replies == 300);
  }
}

TEST_CASE("A request that a proxy drops never reaches the server") {
  if (!support::need_redis()) return;
  const tally all = increments(500, {.drop_request = 0.1});
  CHECK(all.proxy.requests_dropped > 0);
  CHECK(all.answered == 500 - static_cast<int>(all.proxy.requests_dropped));
  CHECK(all.counted == all.answered);
}

TEST_CASE("A reply that a proxy drops belongs to a request that the server has seen") {
  if (!support::need_redis()) return;
  const tally all = increments(500, {.drop_reply = 0.1});
  CHECK(all.proxy.replies_dropped > 0);
  CHECK(all.answered == 500 - static_cast<int>(all.proxy.replies_dropped));
  CHECK(all.counted == 500);
  CHECK(increments(500, {.drop_reply = 0.1}).answered == all.answered);  // the same seed
  CHECK(increments(500, {.drop_reply = 0.1, .spared = 1}).answered == 500);
}

TEST_CASE("a proxy resets connections and delays messages") {
  if (!support::need_redis()) return;
  const tally resets = increments(300, {.reset = 0.1}, true);
  CHECK(resets.proxy.resets > 0);
  CHECK(resets.answered == 300 - static_cast<int>(resets.proxy.resets));
  CHECK(resets.counted >= resets.answered);

  const auto start = std::chrono::steady_clock::now();
  const tally late = increments(10, {.delayed = 1, .delay = 5ms});
  CHECK(std::chrono::steady_clock::now() - start >= 100ms);  // 10 requests and 10 replies
  CHECK(late.answered == 10);
  CHECK(late.proxy.delays == 20);
}

TEST_CASE("After cut nothing passes and nobody connects until heal") {
  if (!support::need_redis()) return;
  for (const bool tcp : {false, true}) {
    throwaway_redis server({.tcp = tcp});
    lossy_proxy proxy(server.where());
    const auto hit = [&] { return server.command_through(proxy.where(), {"INCR", "hits"}); };
    CHECK(hit() == ":1\r\n");
    const auto open = inside::connect_to(proxy.where());
    REQUIRE(open);
    const endpoint before = proxy.where();
    proxy.cut();
    CHECK_FALSE(inside::connect_to(proxy.where()));
    CHECK(hit().empty());
    char end = 0;
    CHECK(::recv(open.get(), &end, 1, 0) <= 0);  // the old connection has ended
    proxy.heal();
    CHECK(proxy.where() == before);
    CHECK(hit() == ":2\r\n");
  }
}

TEST_CASE("What a silenced proxy holds back is late and not lost") {
  if (!support::need_redis()) return;
  throwaway_redis server;
  lossy_proxy proxy(server.where());
  proxy.silence();
  CHECK(server.command_through(proxy.where(), {"INCR", "late"}, 50ms).empty());
  CHECK(server.command({"GET", "late"}) == "$-1\r\n");
  proxy.heal();
  CHECK(inside::until(10s, [&] { return server.command({"GET", "late"}) == "$1\r\n1\r\n"; }));
  CHECK(server.command_through(proxy.where(), {"PING"}) == "+PONG\r\n");
}

TEST_CASE("a proxy stands before a PostgreSQL as well") {
  if (!support::need_postgres()) return;
  throwaway_postgres server({.fsync = false});
  lossy_proxy proxy(server.where());
  CHECK(server.conninfo(proxy.where()).rfind("host=" + proxy.where().folder(), 0) == 0);
  CHECK(server.conninfo(proxy.where()).find(" port=5432 ") != std::string::npos);
  const std::string answer =
      inside::ask(proxy.where(), inside::postgres_startup(), 5s,
                  [](const std::string& text) { return inside::count_messages(text, 'Z') == 1; });
  CHECK(inside::count_messages(answer, 'Z') == 1);
}
