// SPDX-License-Identifier: BSL-1.0
// redis::client: what it promises, what became of each request, and bad input of every kind.

#include <interlock/redis/batch.hpp>
#include <interlock/redis/client.hpp>
#include <interlock/testing/temporary_folder.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <sys/socket.h>
#include <sys/time.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engines/support/every_write.hpp"

#include "support/catch.hpp"
#include "support/eventually.hpp"
#include "support/servers.hpp"

namespace redis = interlock::redis;
namespace store = interlock::store;
using interlock::testing::redis_appendonly;
using interlock::testing::throwaway_redis;
using namespace std::chrono_literals;
using store::durability;
using store::errc;
using store::object_kind;
using store::operation_id;

namespace {

auto counter_of(const redis::client& c, const char* name = "hits") {
  return c.object_named(object_kind::counter, name);
}

// Returns: why the client was not made; nothing if it was.
std::optional<store::error> refusal_of(const std::string& url, store::client_options options = {}) {
  try {
    const redis::client made(url, options);
    return std::nullopt;
  } catch (const store::failure& why) {
    return why.error();
  }
}
errc code_of(const std::string& url, store::client_options options = {}) {
  const auto why = refusal_of(url, std::move(options));
  REQUIRE(why);
  CHECK(why->engine == "redis");
  CHECK_FALSE(why->remedy.empty());
  return why->code;
}

// One of each kind of operation.
class every_kind : every_write<redis::client> {
public:
  using every_write::every_write;

  void check_refused(const operation_id& id) {
    writes(id, [](const char* name, const auto& came) { refused(name, came); });
    reads([](const char* name, const auto& came) { refused(name, came); });
    redis::batch many(client);
    const redis::counter counted(client, "count");
    const auto added = many.add(counted, 1, id);
    const auto loaded = many.load(counted);
    many.run();
    refused("batch: add", many[added]);
    refused("batch: load", many[loaded]);
  }
  void check_applied(const operation_id& id) {
    const auto applied = [](const char* name, const auto& came) {
      CAPTURE(name);
      if (!came.applied() && !came.conflicted()) FAIL_CHECK(came.error().message());
      CHECK(came.applied());
    };
    writes(id, applied);
    reads(applied);
  }
  void check_unchanged() {
    CHECK(client.counter_load(count, {}).value() == 0);
    CHECK(client.bounded_load(stock, {}).value().value == 5);
    CHECK(client.cell_load(cell, {}).value().version == 0);
    CHECK_FALSE(client.mirror_get(mirror, "k", {}).value().version);
    CHECK(client.queue_depth(queue, {}).value().waiting == 2);
  }

private:
  template <class Outcome>
  static void refused(const char* name, const Outcome& came) {
    CAPTURE(name);
    REQUIRE(came.refused());
    const store::error& why = came.error();
    CAPTURE(why.message());
    CHECK(why.code == errc::busy);
    CHECK(why.engine == "redis");
    CHECK(why.operation.find('.') != std::string::npos);
    CHECK_FALSE(why.object.empty());
    CHECK(why.remedy.find("SCRIPT KILL") != std::string::npos);
  }
  template <class Note>
  void writes(const operation_id& id, Note note) {
    note("bounded_counter.open", client.bounded_open(stock, {5, 0, 10}, {}));
    note("fenced.open", client.fenced_open(fenced, grant(), me, {}));
    ask(id, note);
  }
  template <class Note>
  void reads(Note note) {
    note("load", client.counter_load(count, {}));
    note("bounded load", client.bounded_load(stock, {}));
    note("cell load", client.cell_load(cell, {}));
    note("aside", client.queue_set_aside(queue, 9, {}));
    note("depth", client.queue_depth(queue, {}));
    note("mirror get", client.mirror_get(mirror, "k", {}));
  }
};

}  // namespace

TEST_CASE(
    "A client probes what its server promises, and assumes the worst of what it may not read") {
  if (!support::need_redis()) return;
  struct row {
    redis_appendonly appendonly;
    std::string policy;
    durability keeps;
    bool keeps_keys;
  };
  for (const row& each :
       {row{redis_appendonly::none, "noeviction", durability::none, true},
        row{redis_appendonly::everysec, "noeviction", durability::none, true},
        row{redis_appendonly::always, "noeviction", durability::power_loss, true},
        row{redis_appendonly::always, "allkeys-lru", durability::power_loss, false},
        row{redis_appendonly::always, "volatile-ttl", durability::power_loss, false}}) {
    const throwaway_redis server({.appendonly = each.appendonly, .maxmemory_policy = each.policy});
    const redis::client c(server.url());
    const auto probed = c.probed();
    CHECK(probed.promised.keeps == each.keeps);
    CHECK(probed.promised.keeps_all_keys == each.keeps_keys);
    CHECK(probed.promised.linearizable);
    CHECK(probed.promised.fence == store::fence_kind::monotone_across_data_loss);
    CHECK(probed.server.rfind("redis ", 0) == 0);
  }

  // The same server, to somebody who may not read its settings.
  const throwaway_redis server({.appendonly = redis_appendonly::always});
  server.command({"ACL", "SETUSER", "guest", "on", ">secret", "~*", "+@all", "-config"});
  const std::string guest = "unix://guest:secret@" + server.where().path;
  const auto hidden = redis::client(guest).probed();
  CHECK(hidden.promised.keeps == durability::none);
  CHECK_FALSE(hidden.promised.keeps_all_keys);
}

TEST_CASE(
    "A server whose settings promise less than is required is refused with the setting to change") {
  if (!support::need_redis()) return;
  store::guarantees needed;
  needed.keeps = durability::power_loss;
  needed.keeps_all_keys = true;
  const throwaway_redis server({.maxmemory_policy = "allkeys-lru"});
  const auto remedy = [&] {
    const auto why = refusal_of(server.url(), {.require = needed});
    if (!why) return std::string("none");
    CHECK(why->code == errc::guarantee_not_met);
    return why->remedy;
  };
  // Each time what it says is done, until nothing is in the way.
  CHECK(remedy() == "CONFIG SET appendonly yes, and in redis.conf");
  server.command({"CONFIG", "SET", "appendonly", "yes"});
  CHECK(remedy() == "CONFIG SET appendfsync always, and in redis.conf");
  server.command({"CONFIG", "SET", "appendfsync", "always"});
  CHECK(remedy() == "CONFIG SET maxmemory-policy noeviction, and in redis.conf");
  server.command({"CONFIG", "SET", "maxmemory-policy", "noeviction"});
  CHECK(remedy() == "none");
  needed.keeps = durability::failover;
  CHECK(remedy() == "require less, or use another engine");
}

TEST_CASE(
    "A write that left and was not answered is unknown, and exact when asked again under its id") {
  if (!support::need_redis()) return;
  throwaway_redis server;
  redis::client c(server.url());
  const auto hits = counter_of(c);
  REQUIRE(c.counter_add(hits, 1, {}).applied());
  const auto id = operation_id::fresh();

  server.pause();
  const auto doubtful = c.counter_add(hits, 5, {id, 60ms});
  const auto naive = c.counter_add(hits, 100, {{}, 60ms});
  const auto read = c.counter_load(hits, {{}, 60ms});
  server.resume();

  REQUIRE(doubtful.unknown());
  CHECK(doubtful.id() == id);
  CHECK(doubtful.error().code == errc::timed_out);
  CHECK(doubtful.error().operation == "counter.add");
  CHECK(doubtful.error().object == "hits");
  REQUIRE(read.refused());
  CHECK(read.error().code == errc::timed_out);
  REQUIRE(support::eventually([&] { return c.counter_add(hits, 5, {.id = id}).applied(); }));
  const auto once = c.counter_add(hits, 5, {.id = id});
  REQUIRE(once.applied());
  CHECK(once.value() % 100 == 6);
  // The control: what was asked again without an id counts as often as it was asked.
  if (naive.unknown()) {
    REQUIRE(c.counter_add(hits, 100, {}).applied());
    CHECK(support::eventually([&] { return c.counter_load(hits, {}).value_or(0) == 206; }));
  }
}

TEST_CASE("redis::client: an answer is kept for the retention since its id was heard last") {
  if (!support::need_redis()) return;
  const throwaway_redis server;
  redis::client c(server.url(), {.retention = 1h});
  const auto hits = counter_of(c);
  const auto id = operation_id::fresh();
  REQUIRE(c.counter_add(hits, 5, {.id = id}).value_or(0) == 5);
  const std::string record = "{interlock}:id:counter:" + id.session.text() + ":hits";
  const auto left = [&] {
    const std::string text = server.command({"PTTL", record});
    return text.size() > 1 && text[0] == ':' ? std::stoll(text.substr(1)) : 0;
  };
  CHECK(left() > 3'000'000);
  // As if nearly all of it had passed.
  REQUIRE(server.command({"PEXPIRE", record, "60000"}) == ":1\r\n");
  CHECK(left() <= 60'000);
  CHECK(c.counter_add(hits, 5, {.id = id}).value_or(0) == 5);
  CHECK(left() > 3'000'000);
  // Who keeps answers for less time takes none from those that are there.
  redis::client brief(server.url(), {.retention = 1min});
  CHECK(brief.counter_add(counter_of(brief), 5, {.id = id}).value_or(0) == 5);
  CHECK(left() > 3'000'000);
  // Who may not write has the answer all the same.
  server.command({"REPLICAOF", "127.0.0.1", "1"});
  CHECK(c.counter_add(hits, 5, {.id = id}).value_or(0) == 5);
  server.command({"REPLICAOF", "NO", "ONE"});
}

TEST_CASE("After its data set was lost a client is refused until it accepts that") {
  if (!support::need_redis()) return;
  throwaway_redis server;
  redis::client c(server.url(), {}, {.look_every = 20ms});
  const auto hits = counter_of(c);
  const std::string known = c.incarnation();
  REQUIRE(c.counter_add(hits, 1, {}).applied());

  SECTION("the server was restarted without a file") {
    server.crash();
    CHECK(c.counter_add(hits, 1, {}).status() != store::status::applied);
    server.restart();
    CHECK(support::eventually([&] {
      const auto now = c.counter_load(hits, {});
      return now.refused() && now.error().code == errc::history_lost;
    }));
  }
  SECTION("somebody emptied it, and the connection is still there") {
    server.command({"FLUSHALL"});
    CHECK(support::eventually([&] { return c.counter_add(hits, 1, {}).refused(); }));
    CHECK(c.counter_add(hits, 1, {}).error().code == errc::history_lost);
  }
  SECTION("it came back with an older state of the same data set") {
    server.command({"SAVE"});
    // A look at the data set, which the snapshot lacks.
    std::this_thread::sleep_for(30ms);
    REQUIRE(c.counter_add(hits, 1, {}).applied());
    server.crash();
    server.restart();
    CHECK(support::eventually([&] {
      const auto now = c.counter_load(hits, {});
      return now.refused() && now.error().code == errc::history_lost;
    }));
    CHECK(c.incarnation() == known);
  }
  const auto refused = c.counter_add(hits, 1, {});
  REQUIRE(refused.refused());
  CHECK(refused.error().code == errc::history_lost);
  CHECK(refused.error().remedy.find("accept_history()") != std::string::npos);
  c.accept_history();
  CHECK(c.counter_add(hits, 1, {}).applied());
  std::this_thread::sleep_for(30ms);
  CHECK(c.counter_add(hits, 1, {}).applied());
}

TEST_CASE("redis::client: who accepted a data set uses no connection from before") {
  if (!support::need_redis()) return;
  const throwaway_redis first, second;
  const interlock::testing::temporary_folder place;
  const std::string name = place.path() + "/redis.sock";
  std::filesystem::create_symlink(first.where().path, name);
  redis::client c("unix://" + name, {}, {.look_every = 1h});
  const auto hits = counter_of(c);
  const std::string known = c.incarnation();
  REQUIRE(c.counter_add(hits, 7, {}).value_or(0) == 7);
  // The name leads to another server from now on, and the first lives on.
  std::filesystem::remove(name);
  std::filesystem::create_symlink(second.where().path, name);
  c.accept_history();
  CHECK(c.incarnation() != known);
  CHECK(c.counter_add(hits, 1, {}).value_or(0) == 1);
  redis::client other(second.url());
  CHECK(other.counter_load(counter_of(other), {}).value_or(0) == 1);
  CHECK(other.incarnation() == c.incarnation());
}

TEST_CASE("redis::client: a server that kept its data is the same one after a crash") {
  if (!support::need_redis()) return;
  throwaway_redis server({.appendonly = redis_appendonly::always});
  redis::client c(server.url(), {}, {.look_every = 1ms});
  const auto hits = counter_of(c);
  for (int i = 0; i < 20; ++i) REQUIRE(c.counter_add(hits, 1, {}).applied());
  server.crash();
  CHECK_FALSE(c.counter_load(hits, {}).applied());
  server.restart();
  CHECK(support::eventually([&] { return c.counter_load(hits, {}).value_or(0) == 20; }));
  CHECK(c.counter_add(hits, 1, {}).value_or(0) == 21);
}

TEST_CASE("redis::client: an address that cannot be read, or where nobody is") {
  for (const char* url :
       {"", "localhost:6379", "http://localhost", "redis://", "redis://:70000", "redis://host:0x1",
        "redis://host:99999", "redis://host/x", "redis://user@host", "redis://u:%zz@host",
        "unix://relative", "unix:///path?x=1", "redis://[::1", "rediss://host"}) {
    CAPTURE(url);
    CHECK(code_of(url) == errc::bad_address);
  }
  CHECK(code_of("unix:///nonexistent/socket") == errc::not_connected);
  CHECK(code_of("redis://127.0.0.1:1") == errc::not_connected);
  CHECK(code_of("redis://no-such-host.invalid:1", {.timeout = 500ms}) == errc::bad_address);
  CHECK(code_of("unix:///nonexistent", {.prefix = "a:b"}) == errc::bad_argument);
}

TEST_CASE("redis::client: a server that says nothing in the handshake is waited for no longer") {
  namespace testing = interlock::testing;
  testing::endpoint where{};
  const auto listener = testing::server_detail::listen_at(where);
  int handshakes = 0;
  bool limited = true;
  const auto handshake = [&](redisContext& on, const std::string&) {
    ++handshakes;
    timeval limit{};
    socklen_t size = sizeof limit;
    getsockopt(on.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, &size);
    limited = limited && limit.tv_sec == 0 && limit.tv_usec != 0;
    char byte = 0;
    if (limited && ::recv(on.fd, &byte, 1, 0) == -1) return std::string("nobody spoke");
    return std::string("not limited");
  };
  const std::string url = "rediss://127.0.0.1:" + std::to_string(where.port);
  const auto begun = std::chrono::steady_clock::now();
  std::string detail;
  try {
    const redis::client made(url, {.timeout = 200ms}, {.secure = handshake});
  } catch (const store::failure& why) {
    CHECK(why.error().code == errc::not_connected);
    detail = why.error().detail;
  }
  CHECK(detail == "TLS: nobody spoke");
  CHECK(limited);
  CHECK(handshakes > 0);
  CHECK(std::chrono::steady_clock::now() - begun < 20s);
}

TEST_CASE("redis::client: passwords, users and permissions") {
  if (!support::need_redis()) return;
  const throwaway_redis server({.password = "s3cret:@/ %"});
  CHECK_FALSE(refusal_of(server.url()));
  const std::string path = server.where().path;
  CHECK(code_of("unix://" + path) == errc::access_denied);
  CHECK(code_of("unix://:wrong@" + path) == errc::access_denied);
  CHECK(code_of("unix://nobody:wrong@" + path) == errc::access_denied);
  CHECK(code_of(server.url() + "?db=9999") == errc::engine_failure);

  server.command({"ACL", "SETUSER", "reader", "on", ">r", "~*", "+@all", "-@write"});
  CHECK(code_of("unix://reader:r@" + path) == errc::access_denied);
  server.command({"ACL", "SETUSER", "some", "on", ">s", "~*", "+@all", "-hset"});
  const auto why = refusal_of("unix://some:s@" + path);
  REQUIRE(why);
  CHECK(why->code == errc::access_denied);
  CHECK(why->detail.find("HSET") != std::string::npos);
  // The same in the words of each version.
  for (const char* words :
       {"ERR ACL failure in script: User some has no permissions to run the 'set' command",
        "ERR The user executing the script can't run this command or subcommand",
        "NOPERM this user has no permissions to run the 'set' command"}) {
    const std::string says = "local redis = {pcall = function() return {err = [[" +
                             std::string(words) + "]]} end}" +
                             redis::detail::script_permissions().text;
    const std::string answer = server.command({"EVAL", says, "1", "k"});
    CAPTURE(answer);
    CHECK(answer.find(words) != std::string::npos);
  }
}

TEST_CASE("redis::client: data of another schema is refused") {
  if (!support::need_redis()) return;
  const throwaway_redis server;
  CHECK_FALSE(refusal_of(server.url()));
  server.command({"SET", "{interlock}:schema", "2"});
  CHECK(code_of(server.url()) == errc::wrong_schema);
  CHECK_FALSE(refusal_of(server.url(), {.prefix = "other"}));
}

TEST_CASE("redis::client: keys of other programs are not taken for its own") {
  if (!support::need_redis()) return;
  const throwaway_redis server;
  redis::client c(server.url());
  const auto hits = counter_of(c);
  server.command({"LPUSH", "{interlock}:counter:hits", "x"});
  for (const auto& now :
       {c.counter_add(hits, 1, {}), c.counter_load(hits, {}),
        c.counter_add(hits, 1, {.id = operation_id::fresh()}), c.counter_exchange(hits, 1, {})}) {
    REQUIRE(now.refused());
    CHECK(now.error().code == errc::wrong_kind);
  }
  server.command({"SET", "{interlock}:counter:text", "many"});
  const auto text = counter_of(c, "text");
  for (const auto& now :
       {c.counter_add(text, 1, {}), c.counter_load(text, {}),
        c.counter_add(text, 1, {.id = operation_id::fresh()}), c.counter_exchange(text, 1, {})}) {
    REQUIRE(now.refused());
    CHECK(now.error().code == errc::bad_value);
  }
  // What a 64 bit number cannot hold is refused before it is replaced.
  const auto far = counter_of(c, "far");
  for (const char* each : {"9999999999999999999", "9223372036854775808", "-9223372036854775809"}) {
    server.command({"SET", "{interlock}:counter:far", each});
    for (const operation_id id : {operation_id(), operation_id::fresh()}) {
      const auto now = c.counter_exchange(far, 0, {.id = id});
      REQUIRE(now.refused());
      CHECK(now.error().code == errc::bad_value);
    }
    CHECK(server.command({"GET", "{interlock}:counter:far"}).find(each) != std::string::npos);
  }
  for (const std::int64_t each : {INT64_MAX, INT64_MIN}) {
    server.command({"SET", "{interlock}:counter:far", std::to_string(each)});
    CHECK(c.counter_exchange(far, 0, {}).value_or(0) == each);
  }
  server.command({"HSET", "{interlock}:versioned:cell", "v", "not a number"});
  const auto cell = c.cell_load(c.object_named(object_kind::cell, "cell"), {});
  REQUIRE(cell.refused());
  CHECK(cell.error().code == errc::bad_value);
}

TEST_CASE("redis::client: names, keys and values over the limit") {
  if (!support::need_redis()) return;
  const throwaway_redis server;
  redis::client c(server.url(), {.max_value_bytes = 1000});
  CHECK_THROWS_AS(counter_of(c, ""), store::failure);
  CHECK_THROWS_AS(c.object_named(object_kind::cell, std::string(513, 'x')), store::failure);
  const auto cell = c.object_named(object_kind::cell, std::string(512, 'x'));
  CHECK(c.cell_put(cell, {}, std::string(1000, 'v'), {}).applied());
  const auto big = c.cell_put(cell, {}, std::string(1001, 'v'), {});
  REQUIRE(big.refused());
  CHECK(big.error().code == errc::too_large);
  const auto queue = c.object_named(object_kind::queue, "q");
  CHECK(c.queue_push(queue, "k", std::string(1001, 'v'), {}).error().code == errc::too_large);
  CHECK(c.queue_push(queue, "", "v", {}).error().code == errc::bad_argument);
  CHECK(c.queue_push(queue, std::string(513, 'k'), "v", {}).error().code == errc::too_large);
  CHECK(c.queue_depth(queue, {})->waiting == 0);
}

TEST_CASE("redis::client: a server that is full, or a replica, refuses writes and says so") {
  if (!support::need_redis()) return;
  const throwaway_redis server;
  redis::client c(server.url());
  const auto hits = counter_of(c);
  REQUIRE(c.counter_add(hits, 1, {}).applied());
  const auto writes = [&](errc expected) {
    const auto plain = c.counter_add(hits, 1, {});
    const auto with_id = c.counter_add(hits, 1, {.id = operation_id::fresh()});
    REQUIRE(plain.refused());
    CHECK(plain.error().code == expected);
    REQUIRE(with_id.refused());
    CHECK(with_id.error().code == expected);
    CHECK(c.counter_load(hits, {}).value_or(0) == 1);
  };
  server.command({"CONFIG", "SET", "maxmemory", "1"});
  writes(errc::out_of_space);
  server.command({"CONFIG", "SET", "maxmemory", "0"});
  server.command({"CONFIG", "SET", "min-replicas-to-write", "1"});
  writes(errc::guarantee_not_met);
  server.command({"CONFIG", "SET", "min-replicas-to-write", "0"});
  server.command({"CONFIG", "SET", "replica-serve-stale-data", "yes"});
  server.command({"REPLICAOF", "127.0.0.1", "1"});
  writes(errc::read_only);
  CHECK_FALSE(redis::client(server.url()).probed().promised.linearizable);
  server.command({"REPLICAOF", "NO", "ONE"});
  CHECK(c.counter_add(hits, 1, {}).value_or(0) == 2);
}

TEST_CASE("redis::client: a script of somebody else is waited for or killed, ours was not begun") {
  if (!support::need_redis()) return;
  throwaway_redis server(
      {.appendonly = redis_appendonly::always, .settings = {"busy-reply-threshold 10"}});
  redis::client c(server.url());
  const auto hits = counter_of(c);
  REQUIRE(c.counter_add(hits, 1, {}).applied());
  every_kind all(c);
  const auto is_busy = [&] {
    const auto now = c.counter_load(hits, {{}, 200ms});
    return now.refused() && now.error().code == errc::busy;
  };
  const auto id = operation_id::fresh();
  const auto while_busy = [&] {
    all.check_refused(operation_id());
    all.check_refused(id);
    const auto made = refusal_of(server.url());
    REQUIRE(made);
    CHECK(made->code == errc::busy);
    CHECK(made->remedy.find("SCRIPT KILL") != std::string::npos);
  };
  const auto run = [&server](const char* text) {
    return std::thread([&server, text] { server.command({"EVAL", text, "1", "theirs"}); });
  };

  std::thread stray = run("while true do end");
  CHECK(support::eventually(is_busy));
  while_busy();
  CHECK(server.command({"SCRIPT", "KILL"}) == "+OK\r\n");
  stray.join();
  CHECK(c.counter_load(hits, {}).value_or(0) == 1);
  all.check_unchanged();

  // One that has written cannot be killed: the server is ended instead, and its write is gone.
  std::thread writer = run("redis.call('SET', KEYS[1], 'half') while true do end");
  CHECK(support::eventually(is_busy));
  while_busy();
  CHECK(server.command({"SCRIPT", "KILL"}).find("UNKILLABLE") != std::string::npos);
  CHECK(is_busy());
  CHECK(c.counter_load(hits, {}).error().remedy.find("SHUTDOWN NOSAVE") != std::string::npos);
  server.command({"SHUTDOWN", "NOSAVE"});
  writer.join();
  server.restart();
  REQUIRE(support::eventually([&] { return c.counter_load(hits, {}).applied(); }));
  CHECK(server.command({"GET", "theirs"}) == "$-1\r\n");
  CHECK(c.counter_load(hits, {}).value() == 1);
  all.check_unchanged();
  all.check_applied(id);
}

TEST_CASE(
    "redis::client: a script of ours that is killed did nothing, and is exact when asked again") {
  if (!support::need_redis()) return;
  const throwaway_redis server({.settings = {"busy-reply-threshold 1"}});
  redis::client c(server.url(), {.timeout = 20s});
  using object = redis::client::object;
  const object read = c.object_named(object_kind::cell, "read");
  const object written = c.object_named(object_kind::cell, "written");
  // Long enough to be killed while it reads, and to be met while it writes.
  const std::vector<store::cell_check<object>> checks(40'000, {&read, 0});
  const std::vector<store::cell_write<object>> writes(20'000, {&written, "x"});
  std::uint64_t version = 0;
  bool killed = false;
  const auto truthful = [&] {
    std::atomic<bool> over{false};
    std::thread killer([&] {
      // order: relaxed: it only ends the loop
      while (!over.load(std::memory_order_relaxed)) server.command({"SCRIPT", "KILL"});
    });
    const auto id = operation_id::fresh();
    const auto came = c.cells_commit(checks, writes, {.id = id});
    // order: relaxed: joined before what it did counts
    over.store(true, std::memory_order_relaxed);
    killer.join();
    const auto now = c.cell_load(written, {});
    REQUIRE(now.applied());
    CHECK_FALSE(came.unknown());
    CHECK(came.applied() == (now->version != version));
    if (came.refused()) {
      killed = true;
      CHECK(came.error().code == errc::killed);
      CHECK(came.error().object == "written");
      CHECK(came.error().remedy == "it was SCRIPT KILL; ask again");
    }
    const auto again = c.cells_commit(checks, writes, {.id = id});
    REQUIRE(again.applied());
    if (came.applied()) CHECK(again.value() == came.value());
    CHECK(again.value() > version);
    version = again.value();
    CHECK(c.cell_load(written, {})->version == version);
    return killed;
  };
  CHECK(support::eventually(truthful));
}

TEST_CASE("redis::client: the server's scripts may be flushed at any time") {
  if (!support::need_redis()) return;
  const throwaway_redis server;
  redis::client c(server.url());
  const auto hits = counter_of(c);
  for (int i = 1; i <= 20; ++i) {
    if (i % 3 == 0) server.command({"SCRIPT", "FLUSH"});
    CHECK(c.counter_add(hits, 1, {.id = operation_id::fresh()}).value_or(0) == i);
  }
}

TEST_CASE(
    "redis::client: deadlines hold with a server that stands still, and with no time at all") {
  if (!support::need_redis()) return;
  throwaway_redis server;
  redis::client c(server.url(), {.connections = 1});
  const auto hits = counter_of(c);
  REQUIRE(c.counter_add(hits, 1, {}).applied());
  const auto no_time = c.counter_add(hits, 1, {{}, -1ms});
  REQUIRE(no_time.refused());
  CHECK(no_time.error().code == errc::timed_out);
  server.pause();
  std::vector<store::status> seen(3);
  const auto begun = std::chrono::steady_clock::now();
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    threads.emplace_back([&, i] { seen[i] = c.counter_add(hits, 1, {{}, 150ms}).status(); });
  }
  for (std::thread& each : threads) each.join();
  const auto took = std::chrono::steady_clock::now() - begun;
  server.resume();
  CHECK(took >= 150ms);
  CHECK(took < 5s);  // not one after the other for ever
  for (const store::status each : seen) CHECK(each != store::status::applied);
  CHECK(support::eventually([&] { return c.counter_load(hits, {}).applied(); }));
}

TEST_CASE(
    "redis::client: a connection that the server dropped is replaced, and nothing was doubted") {
  if (!support::need_redis()) return;
  const throwaway_redis server;
  redis::client c(server.url());
  const auto hits = counter_of(c);
  for (int i = 1; i <= 10; ++i) {
    server.command({"CLIENT", "KILL", "TYPE", "normal"});
    CHECK(c.counter_add(hits, 1, {}).value_or(0) == i);
  }
  c.close();
  const auto closed = c.counter_add(hits, 1, {});
  REQUIRE(closed.refused());
  CHECK(closed.error().code == errc::closed);
}
