// SPDX-License-Identifier: BSL-1.0
#pragma once

// A Redis client in little, in place of the one that your program has: one connection, one command
// at a time, the protocol RESP2.

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace own {

struct not_sent : std::runtime_error {
  using runtime_error::runtime_error;
};
struct no_answer : std::runtime_error {
  using runtime_error::runtime_error;
};

struct answer {
  char type = '$';  // + - : $ * as in the protocol; _ for nil
  std::string text{};
  std::int64_t number = 0;
  std::vector<answer> items{};
};

class client {
public:
  using time_point = std::chrono::steady_clock::time_point;

  explicit client(std::string path) : path_(std::move(path)) {}
  client(const client&) = delete;
  client& operator=(const client&) = delete;
  ~client() { hang_up(); }

  // Throws: not_sent, no_answer.
  answer ask(const std::string& command, time_point deadline) {
    const std::lock_guard lock(mutex_);
    if (fd_ < 0) dial();
    const ssize_t sent = send(fd_, command.data(), command.size(), MSG_NOSIGNAL);
    if (sent != static_cast<ssize_t>(command.size())) {
      hang_up();
      throw not_sent("the connection took no more");
    }
    try {
      return read(deadline);
    } catch (...) {
      hang_up();  // the answer may come yet, and would be taken for the next one's
      throw;
    }
  }

private:
  void dial() {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::memcpy(to.sun_path, path_.c_str(), path_.size() + 1);
    fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return;
    hang_up();
    throw not_sent("nobody listens at " + path_);
  }
  void hang_up() noexcept {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
    unread_.clear();
  }
  void more(time_point deadline) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd one{fd_, POLLIN, 0};
    if (left.count() <= 0 || poll(&one, 1, static_cast<int>(left.count())) <= 0) {
      throw no_answer("no answer in time");
    }
    char bytes[4096];
    const ssize_t n = recv(fd_, bytes, sizeof bytes, 0);
    if (n <= 0) throw no_answer("the server hung up");
    unread_.append(bytes, static_cast<std::size_t>(n));
  }
  std::string take(std::size_t bytes, time_point deadline) {
    while (unread_.size() < bytes) more(deadline);
    std::string part = unread_.substr(0, bytes);
    unread_.erase(0, bytes);
    return part;
  }
  answer read(time_point deadline) {
    while (unread_.find("\r\n") == std::string::npos) more(deadline);
    const std::string line = take(unread_.find("\r\n") + 2, deadline);
    answer out{line[0], line.substr(1, line.size() - 3)};
    if (out.type == '+' || out.type == '-') return out;
    out.number = std::stoll(out.text);
    if (out.type == ':') return out;
    if (out.number < 0) return {'_'};
    const auto count = static_cast<std::size_t>(out.number);
    if (out.type == '$') {
      out.text = take(count + 2, deadline).substr(0, count);
    } else {
      for (std::size_t i = 0; i < count; ++i) out.items.push_back(read(deadline));
    }
    return out;
  }

  const std::string path_;
  std::mutex mutex_;  // protects all below
  int fd_ = -1;
  std::string unread_;
};

}  // namespace own
