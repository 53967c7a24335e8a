// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/detail/sockets.hpp - descriptors that close themselves, and sockets at an
// endpoint.

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "../endpoint.hpp"

namespace interlock::testing::server_detail {

[[noreturn]] inline void fail(int error, const std::string& what) {
  throw std::system_error(error, std::generic_category(), what);
}

class descriptor {
public:
  descriptor() = default;
  explicit descriptor(int number) noexcept : number_(number) {}
  descriptor(descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    other.close();
    return *this;
  }
  ~descriptor() { close(); }

  void close() noexcept {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
  }
  [[nodiscard]] int get() const noexcept { return number_; }
  explicit operator bool() const noexcept { return number_ >= 0; }

private:
  int number_ = -1;
};

// An address in the form of the system calls.
class address {
public:
  explicit address(const endpoint& at) {
    if (at.path.empty()) {
      tcp_.sin_family = AF_INET;
      tcp_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      tcp_.sin_port = htons(at.port);
      std::memcpy(&any_, &tcp_, size_ = sizeof tcp_);
      return;
    }
    if (at.path.size() >= sizeof unix_.sun_path) {
      throw std::invalid_argument("the path of a socket is longer than 107 bytes: " + at.path);
    }
    unix_.sun_family = AF_UNIX;
    std::memcpy(unix_.sun_path, at.path.c_str(), at.path.size() + 1);
    std::memcpy(&any_, &unix_, size_ = sizeof unix_);
  }

  [[nodiscard]] const sockaddr* get() const noexcept {
    return static_cast<const sockaddr*>(static_cast<const void*>(&any_));
  }
  [[nodiscard]] socklen_t size() const noexcept { return static_cast<socklen_t>(size_); }

private:
  sockaddr_in tcp_{};
  sockaddr_un unix_{};
  sockaddr_storage any_{};
  std::size_t size_ = 0;
};

[[nodiscard]] inline descriptor socket_for(const endpoint& at) {
  const int family = at.path.empty() ? AF_INET : AF_UNIX;
  descriptor made(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!made) fail(errno, "no socket");
  return made;
}

// Returns: a connected socket; none if nobody listens there.
[[nodiscard]] inline descriptor connect_to(const endpoint& at) {
  descriptor made = socket_for(at);
  const address where(at);
  if (::connect(made.get(), where.get(), where.size()) != 0) made.close();
  return made;
}

// Returns: a socket that listens there. A port 0 becomes one that is free.
[[nodiscard]] inline descriptor listen_at(endpoint& at) {
  descriptor made = socket_for(at);
  if (!at.path.empty()) ::unlink(at.path.c_str());
  const int on = 1;
  if (at.path.empty()) ::setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const address where(at);
  if (::bind(made.get(), where.get(), where.size()) != 0 || ::listen(made.get(), 128) != 0) {
    fail(errno, "cannot listen at " + at.text());
  }
  if (at.path.empty()) {
    sockaddr_in bound{};
    socklen_t size = sizeof bound;
    ::getsockname(made.get(), static_cast<sockaddr*>(static_cast<void*>(&bound)), &size);
    at.port = ntohs(bound.sin_port);
  }
  return made;
}

// Returns: a port at which nobody listens.
[[nodiscard]] inline std::uint16_t free_port() {
  endpoint at;
  const descriptor held = listen_at(at);
  return at.port;
}

// Returns: the text as it may stand in a URL.
[[nodiscard]] inline std::string percent_encoded(std::string_view text) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char one : text) {
    if (plain.find(one) != std::string_view::npos) {
      out += one;
      continue;
    }
    const auto byte = static_cast<unsigned char>(one);
    out += '%';
    out += digits[byte / 16];
    out += digits[byte % 16];
  }
  return out;
}

// Returns: the text between quotes, each quote and backslash in it behind a backslash.
[[nodiscard]] inline std::string quoted(std::string_view text, char quote) {
  std::string out(1, quote);
  for (const char one : text) {
    if (one == quote || one == '\\') out += '\\';
    out += one;
  }
  return out += quote;
}

// Effects: sends the request, and reads the answer until `complete` or the deadline.
// Returns: the answer; less or nothing if the connection ended or time did.
template <class Complete>
std::string ask(const endpoint& at, std::string_view request, std::chrono::milliseconds most,
                Complete complete) {
  const auto deadline = std::chrono::steady_clock::now() + most;
  std::string answer;
  const descriptor to = connect_to(at);
  if (!to || ::send(to.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return answer;
  while (!complete(answer)) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd one{to.get(), POLLIN, 0};
    if (left.count() <= 0 || ::poll(&one, 1, static_cast<int>(left.count())) <= 0) break;
    char some[512];
    const auto got = ::recv(to.get(), some, sizeof some, 0);
    if (got <= 0) break;
    answer.append(some, static_cast<std::size_t>(got));
  }
  return answer;
}

}  // namespace interlock::testing::server_detail
