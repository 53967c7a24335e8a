// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/throwaway_redis.hpp - a Redis server for one test, on a socket in a folder.
//
// Problem     A test against a server that others use, or that was installed with settings that
//             nobody looked at, shows nothing about what survives a crash.
// Guarantee   A throwaway Redis answers when its constructor returns and is gone with it.
//             What a Redis with appendonly always acknowledged survives its crash.
//             What a Redis without appendonly acknowledged is lost in its crash.
//             A paused Redis answers nobody until it is resumed.
//             A Redis with a password refuses who has none.
// Progress    blocking: processes and time.
// Cost        10 to 30 ms to start; 10 MB of memory.
// Lifetime    The server ends with the object, and with the test if that is killed.
// Not for     Production. Systems other than Linux.
//
// Example     // examples/testing/throwaway_redis.cpp
//             throwaway_redis server({.appendonly = redis_appendonly::always});
//             std::printf("%s\n", server.url().c_str());
//             server.crash();
//             server.restart();

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "detail/sockets.hpp"
#include "endpoint.hpp"
#include "server_process.hpp"

namespace interlock::testing {

enum class redis_appendonly { none, everysec, always };

struct redis_options {
  redis_appendonly appendonly = redis_appendonly::none;
  std::string maxmemory{};  // such as "8mb"; empty: none
  std::string maxmemory_policy = "noeviction";
  std::string password{};  // empty: none
  bool tcp = false;        // listen at a free port of 127.0.0.1 instead of a socket in the folder
  std::vector<std::string> settings{};  // more lines of redis.conf; the last of a name counts
  std::map<std::string, std::string> environment{};
};

class throwaway_redis {
public:
  // Effects: starts a server and waits until it answers.
  // Throws: std::runtime_error, with the end of the server's log, if it does not.
  explicit throwaway_redis(redis_options how = {});

  [[nodiscard]] static bool available() { return server_process::available(program); }

  // Returns: "unix:///folder/redis.sock" or "redis://127.0.0.1:6379"; with a password
  //          "unix://:password@/..." and "redis://:password@...".
  [[nodiscard]] std::string url() const { return url(where_); }
  // The same for another place that leads here, such as a lossy_proxy.
  [[nodiscard]] std::string url(const endpoint& through) const;
  [[nodiscard]] const endpoint& where() const noexcept { return where_; }

  // Effects: kill -9. What was not written to a file is gone.
  void crash() { process_.kill(); }
  // Effects: starts it again with the files that it left; first ends it properly if it runs.
  void restart();
  // Effects: stops it as SIGSTOP does: connections stay, nothing is answered.
  void pause() { process_.pause(); }
  void resume() { process_.resume(); }

  // Effects: sends a command on a connection of its own, waits for the answer.
  // Returns: the answer as Redis words it, "+PONG\r\n"; less or nothing if it did not come.
  std::string command(const std::vector<std::string>& words,
                      std::chrono::milliseconds most = std::chrono::milliseconds(5'000)) const {
    return command_through(where_, words, most);
  }
  // The same by way of another place, such as a lossy_proxy.
  std::string command_through(
      const endpoint& place, const std::vector<std::string>& words,
      std::chrono::milliseconds most = std::chrono::milliseconds(5'000)) const;

  [[nodiscard]] double cpu_seconds() const { return process_.cpu_seconds(); }
  [[nodiscard]] server_process& process() noexcept { return process_; }

private:
  static constexpr const char* program = "redis-server";

  void write_configuration() const;
  void await();

  redis_options how_;
  server_process process_;
  endpoint where_;
};

namespace server_detail {

// Returns: the command as the protocol has it.
[[nodiscard]] inline std::string redis_request(const std::vector<std::string>& words) {
  std::string text = "*";
  text.append(std::to_string(words.size())).append("\r\n");
  for (const std::string& word : words) {
    text.append("$").append(std::to_string(word.size())).append("\r\n");
    text.append(word).append("\r\n");
  }
  return text;
}

// Returns: where the answer that begins at `from` ends; npos if it is not all there.
[[nodiscard]] inline std::size_t redis_answer_end(const std::string& text, std::size_t from) {
  constexpr auto npos = std::string::npos;
  const auto line = text.find("\r\n", from);
  if (line == npos) return npos;
  std::size_t end = line + 2;
  const char kind = text[from];
  if (kind != '$' && kind != '*') return end;
  const long count = std::stol(text.substr(from + 1, line - from - 1));
  if (kind == '$') {
    if (count >= 0) end += static_cast<std::size_t>(count) + 2;
    return end <= text.size() ? end : npos;
  }
  for (long i = 0; i < count && end != npos; ++i) end = redis_answer_end(text, end);
  return end;
}

}  // namespace server_detail

inline throwaway_redis::throwaway_redis(redis_options how)
    : how_(std::move(how)), process_({"redis-server", how_.environment, {}}) {
  if (!how_.tcp) where_.path = process_.folder() + "/redis.sock";
  for (int attempt = 1;; ++attempt) {
    if (how_.tcp) where_.port = server_detail::free_port();
    write_configuration();
    process_.start(program, {process_.folder() + "/redis.conf"});
    try {
      await();
      return;
    } catch (const std::runtime_error& error) {
      const bool taken = std::string_view(error.what()).find("in use") != std::string_view::npos;
      if (!how_.tcp || !taken || attempt == 5) throw;  // somebody took the free port in between
    }
  }
}

inline void throwaway_redis::write_configuration() const {
  static constexpr const char* fsyncs[] = {"everysec", "everysec", "always"};
  std::string text = "save \"\"\ndir " + process_.folder() + "\n";
  text += "bind 127.0.0.1\nport " + std::to_string(where_.port) + "\n";
  if (!how_.tcp) text += "unixsocket " + where_.path + "\nunixsocketperm 700\n";
  text += how_.appendonly == redis_appendonly::none ? "appendonly no\n" : "appendonly yes\n";
  text += "appendfsync ";
  text += fsyncs[static_cast<int>(how_.appendonly)];
  text += "\n";
  if (!how_.maxmemory.empty()) text += "maxmemory " + how_.maxmemory + "\n";
  text += "maxmemory-policy " + how_.maxmemory_policy + "\n";
  if (!how_.password.empty())
    text += "requirepass " + server_detail::quoted(how_.password, '"') + "\n";
  for (const std::string& line : how_.settings) text += line + "\n";
  std::ofstream(process_.folder() + "/redis.conf") << text;
}

inline std::string throwaway_redis::url(const endpoint& through) const {
  std::string text = through.path.empty() ? "redis://" : "unix://";
  if (!how_.password.empty()) text += ":" + server_detail::percent_encoded(how_.password) + "@";
  return text + through.text();
}

inline void throwaway_redis::restart() {
  process_.restart();
  await();
}

inline void throwaway_redis::await() {
  bool answers = false;
  const bool decided = server_detail::until(std::chrono::milliseconds(30'000), [&] {
    answers = command({"PING"}) == "+PONG\r\n";  // also -LOADING
    return answers || !process_.running();
  });
  if (answers) return;
  std::string text = decided ? "redis-server ended" : "redis-server does not answer";
  throw std::runtime_error(text + ": " + process_.end_of_log());
}

inline std::string throwaway_redis::command_through(const endpoint& place,
                                                    const std::vector<std::string>& words,
                                                    std::chrono::milliseconds most) const {
  std::string request;
  std::size_t before = 0;  // the end of the answer to AUTH
  if (!how_.password.empty()) request = server_detail::redis_request({"AUTH", how_.password});
  const bool secret = !request.empty();
  request += server_detail::redis_request(words);
  const auto complete = [&](const std::string& text) {
    before = secret ? server_detail::redis_answer_end(text, 0) : 0;
    return before != std::string::npos && before < text.size() &&
           server_detail::redis_answer_end(text, before) != std::string::npos;
  };
  const std::string answer = server_detail::ask(place, request, most, complete);
  return before < answer.size() ? answer.substr(before) : std::string();
}

}  // namespace interlock::testing
