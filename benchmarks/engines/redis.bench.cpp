// SPDX-License-Identifier: BSL-1.0
// A Redis on a socket in a folder. Where nothing is said of durability it has no file, so that the
// figures are those of the client and the round trip; durable jobs are appendfsync always. Raw
// contenders use hiredis as its documentation shows.

#include <hiredis/hiredis.h>

#include <interlock/redis/batch.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <memory>
#include <stdexcept>
#include <string>

#include "engines/jobs.hpp"

namespace engines {
namespace {

namespace redis = interlock::redis;

const interlock::testing::throwaway_redis& server() {
  static const interlock::testing::throwaway_redis one;
  return one;
}

struct place {
  static redis::client make() { return redis::client(server().url()); }
};
struct durable_place {
  static redis::client make() {
    static const interlock::testing::throwaway_redis one(
        {.appendonly = interlock::testing::redis_appendonly::always});
    return redis::client(one.url(), {.connections = 64});
  }
};

class raw_connection {
public:
  using answer = std::unique_ptr<redisReply, void (*)(void*)>;

  template <class... Parts>
  answer ask(const char* format, Parts... parts) {
    return checked(redisCommand(context_.get(), format, parts...));
  }
  answer send(const std::string& formatted) {
    redisAppendFormattedCommand(context_.get(), formatted.data(), formatted.size());
    return next();
  }
  template <class... Parts>
  void append(const char* format, Parts... parts) {
    redisAppendCommand(context_.get(), format, parts...);
  }
  answer next() {
    void* got = nullptr;
    redisGetReply(context_.get(), &got);
    return checked(got);
  }

private:
  static answer checked(void* got) {
    answer it(static_cast<redisReply*>(got), freeReplyObject);
    if (it == nullptr || it->type == REDIS_REPLY_ERROR) throw std::runtime_error("hiredis");
    return it;
  }

  std::unique_ptr<redisContext, void (*)(redisContext*)> context_{
      redisConnectUnix(server().where().path.c_str()), redisFree};
};

struct raw_add : raw_connection {
  void operator()() { benchmark::DoNotOptimize(ask("INCRBY %s %d", "hits", 1)->integer); }
};

// The same bytes each time, which no program knows beforehand: the least that hiredis can do.
struct raw_add_formatted : raw_connection {
  const std::string bytes = "*3\r\n$6\r\nINCRBY\r\n$4\r\nhits\r\n$1\r\n1\r\n";
  void operator()() { benchmark::DoNotOptimize(send(bytes)->integer); }
};

struct raw_load : raw_connection {
  raw_load() { ask("SET %s %d", "hits", 1); }
  void operator()() { benchmark::DoNotOptimize(std::stoll(ask("GET %s", "hits")->str)); }
};

struct raw_store : raw_connection {
  const redis::detail::script& script = redis::detail::script_cell_put();
  raw_store() { ask("SCRIPT LOAD %b", script.text.data(), script.text.size()); }
  void operator()() {
    const auto made = ask("EVALSHA %s 2 %s %s %s %d %s %s %b", script.sha.c_str(), "{raw}cell",
                          "{raw}versions", "", 0, "", "w", payload.data(), payload.size());
    benchmark::DoNotOptimize(std::stoll(made->element[1]->str));
  }
};

// No version: who read it before may save over it.
struct raw_set : raw_connection {
  void operator()() { ask("SET %s %b", "cell", payload.data(), payload.size()); }
};

constexpr int pipelined = 128;

struct raw_adds : raw_connection {
  void operator()() {
    for (int i = 0; i < pipelined; ++i) append("INCRBY %s %d", "hits", 1);
    for (int i = 0; i < pipelined; ++i) benchmark::DoNotOptimize(next()->integer);
  }
};

struct our_adds : our_counter<place> {
  redis::batch many{hits.client()};
  void operator()() {
    redis::batch::place<redis::batch::number> last{};
    for (int i = 0; i < pipelined; ++i) last = many.add(hits, 1);
    many.run();
    benchmark::DoNotOptimize(many[last].value());
  }
};

const bench::contenders here([] {
  bench::match("engines/redis counter add", "hiredis")
      .enter<raw_add>("hiredis")
      .enter<raw_add_formatted>("hiredis, formatted before")
      .enter<our_add<place>>("interlock::redis::counter")
      .enter<our_add_once<place>>("interlock::redis::counter, operation ids");
  bench::match("engines/redis counter add, 128 in a batch", "hiredis, pipelined", pipelined)
      .enter<raw_adds>("hiredis, pipelined")
      .enter<our_adds>("interlock::redis::batch");
  bench::callers("engines/redis counter add of many, durable")
      .enter<our_add_of_many<durable_place>>("interlock::redis::counter")
      .enter<our_combined_add<durable_place>>("interlock::redis::counter, combined");
  bench::match("engines/redis counter load", "hiredis")
      .enter<raw_load>("hiredis")
      .enter<our_load<place>>("interlock::redis::counter");
  bench::match("engines/redis cell store", "hiredis, the same script")
      .enter<raw_store>("hiredis, the same script")
      .enter<our_store<place>>("interlock::redis::versioned")
      .enter<raw_set>("hiredis, SET");
});

}  // namespace
}  // namespace engines
