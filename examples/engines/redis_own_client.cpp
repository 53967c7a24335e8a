// SPDX-License-Identifier: BSL-1.0
// A program that has a Redis client already lends it to interlock: an executor of one function.
// Prints: 3 hits over a connection of the program's own

#include <interlock/redis/basic_client.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <chrono>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "own_redis_client.hpp"

namespace redis = interlock::redis;
namespace store = interlock::store;

class own_executor {
public:
  explicit own_executor(std::shared_ptr<own::client> client) : client_(std::move(client)) {}

  redis::value execute(std::span<const std::string_view> command,
                       std::chrono::steady_clock::time_point deadline) {
    std::string bytes = "*" + std::to_string(command.size()) + "\r\n";
    for (const std::string_view part : command) {
      bytes += "$" + std::to_string(part.size()) + "\r\n";
      bytes.append(part).append("\r\n");
    }
    try {
      return translated(client_->ask(bytes, deadline));
    } catch (const own::not_sent& why) {
      return redis::value::not_sent(why.what());
    } catch (const own::no_answer& why) {
      return redis::value::unanswered(why.what());
    }
  }

private:
  static redis::value translated(own::answer from) {
    if (from.type == ':') return redis::value::of(from.number);
    if (from.type == '-') return redis::value::error(std::move(from.text));
    if (from.type == '_') return {};
    if (from.type != '*') return redis::value::of(std::move(from.text));
    std::vector<redis::value> items;
    for (own::answer& each : from.items) items.push_back(translated(std::move(each)));
    return redis::value::of(std::move(items));
  }

  std::shared_ptr<own::client> client_;
};

int main() {
  if (!interlock::testing::throwaway_redis::available()) {
    std::puts("skipped: no redis-server");
    return 77;
  }
  const interlock::testing::throwaway_redis server;
  const auto connection = std::make_shared<own::client>(server.where().path);

  redis::basic_client<own_executor> engine(own_executor{connection});
  const auto hits = engine.object_named(store::object_kind::counter, "hits");
  const auto first = engine.counter_add(hits, 1, {});
  const auto second = engine.counter_add(hits, 2, {.id = store::operation_id::fresh()});

  std::printf("%d hits over a connection of the program's own\n",
              static_cast<int>(second.value_or(0)));
  return first.applied() && second.value_or(0) == 3 ? 0 : 1;
}
