// SPDX-License-Identifier: BSL-1.0

// The lab on a server of the user's: it works under a prefix of its own and leaves nothing. LAB
// names the program.

#include <interlock/testing/server_process.hpp>
#include <interlock/testing/throwaway_postgres.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/servers.hpp"

namespace {

using interlock::testing::throwaway_postgres;
using interlock::testing::throwaway_redis;

struct answer {
  int status = -1;
  std::string text;  // what it wrote, to both streams
};

answer lab(const std::string& engine, const std::string& url) {
  const char* const program = std::getenv("LAB");
  interlock::testing::server_process run;
  run.start(program == nullptr ? "lab" : program,
            {"--engine", engine, "--url", url, "--no-html", "--seconds", "2", "fifty_clicks",
             "busy_endpoint", "order_pipeline", "two_servers"});
  const std::optional<int> status = run.wait(std::chrono::seconds(120));
  return {status.value_or(-1), run.end_of_log()};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("on a Redis of the user's the lab leaves his keys and none of its own") {
  if (!support::need_redis()) return;
  const throwaway_redis server({.password = "a secret"});
  server.command({"SET", "kept", "1"});
  server.command({"SET", "{lab-kept}:counter:x", "1"});
  const answer said = lab("redis", server.url());
  INFO(said.text);
  CHECK(said.status == 0);
  CHECK(contains(said.text, "the one of --url"));
  CHECK_FALSE(contains(said.text, "secret"));
  CHECK(server.command({"DBSIZE"}) == ":2\r\n");
  CHECK(contains(server.command({"INFO", "commandstats"}), "cmdstat_evalsha"));  // it was here
}

TEST_CASE("on a PostgreSQL of the user's the lab leaves his schemas and none of its own") {
  if (!support::need_postgres()) return;
  const throwaway_postgres server({.fsync = false});
  server.query("create schema \"lab-kept\"");
  const answer said = lab("postgres", server.url());
  INFO(said.text);
  CHECK(said.status == 0);
  CHECK(contains(said.text, "the one of --url"));
  CHECK(server.query("select nspname from pg_namespace where nspname like 'lab-%'") ==
        "lab-kept\n");
}

TEST_CASE("a server that refuses the password is named, and the password is not") {
  if (!support::need_redis()) return;
  const throwaway_redis server({.password = "a secret"});
  std::string wrong = server.url();
  wrong.replace(wrong.find("secret"), 6, "riddle");
  const answer said = lab("redis", wrong);
  CHECK(said.status == 2);
  CHECK(contains(said.text, "lab: --engine redis: redis: client: access denied"));
  CHECK_FALSE(contains(said.text, "riddle"));
}
