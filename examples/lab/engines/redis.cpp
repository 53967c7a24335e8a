// SPDX-License-Identifier: BSL-1.0

// The stories on Redis: a server on a socket in a temporary folder, which keeps all it
// acknowledged.

#include <interlock/redis/client.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "stories.hpp"
#include "types.hpp"

namespace lab {

namespace {

struct on_redis : engine_types<interlock::redis::client> {
  static constexpr const char* name = "redis";
  static constexpr const char* package = "redis-server";
  static constexpr const char* library = "libhiredis-dev";
  static bool installed() { return interlock::testing::throwaway_redis::available(); }
  static constexpr bool sql = false;
  static constexpr bool renewed = true;

  class throwaway {
  public:
    [[nodiscard]] std::string url() const { return server_.url(); }

  private:
    interlock::testing::throwaway_redis server_{
        {.appendonly = interlock::testing::redis_appendonly::always}};
  };

  // Leaves none of the prefix' keys on a server of the user's.
  class guest {
  public:
    guest(std::string url, std::string prefix) : url_(std::move(url)), prefix_(std::move(prefix)) {}
    guest(const guest&) = delete;
    guest& operator=(const guest&) = delete;
    ~guest() {
      try {
        remove();
      } catch (const std::exception&) {  // the server is gone
      }
    }

  private:
    using reply = interlock::redis::detail::reply;
    using words = std::vector<std::string_view>;

    void remove() const {
      interlock::store::client_options options;
      options.prefix = prefix_;
      interlock::redis::detail::pooled server(
          url_, options, {},
          std::make_shared<interlock::redis::detail::history>(prefix_, options.retention));
      const auto ask = [&](const words& command) {
        return server.execute_anyway(
            command, interlock::store::detail::call_deadline(std::chrono::seconds(2)));
      };
      const std::string pattern = "{" + prefix_ + "}:*";
      std::string cursor = "0";
      do {
        const reply page = ask({"SCAN", cursor, "MATCH", pattern, "COUNT", "1000"});
        if (page.size() != 2) return;
        words command{"UNLINK"};
        for (std::size_t i = 0; i < page.at(1).size(); ++i) {
          command.push_back(page.at(1).at(i).text());
        }
        if (command.size() > 1) static_cast<void>(ask(command));
        cursor = page.at(0).text();
      } while (cursor != "0");
    }

    const std::string url_;
    const std::string prefix_;
  };
};

}  // namespace

engine redis_engine() {
  return engine_of<on_redis>();
}

}  // namespace lab
