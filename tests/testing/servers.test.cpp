// SPDX-License-Identifier: BSL-1.0
// Throwaway servers: what survives their crash, who gets an answer.

#include <interlock/testing/throwaway_redis.hpp>

#include <chrono>
#include <filesystem>
#include <string>

#include "support/catch.hpp"
#include "support/servers.hpp"

using namespace std::chrono_literals;
using interlock::testing::redis_appendonly;
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
