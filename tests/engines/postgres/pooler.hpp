// SPDX-License-Identifier: BSL-1.0
#pragma once

// A pooler before a PostgreSQL: passes everything on, until it is told to lose its server.

#include <interlock/testing/detail/sockets.hpp>
#include <interlock/testing/temporary_folder.hpp>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <atomic>
#include <cstdint>
#include <iterator>
#include <list>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

class pooler {
  using descriptor = interlock::testing::server_detail::descriptor;

public:
  explicit pooler(interlock::testing::endpoint server)
      : server_(std::move(server)), wake_(::eventfd(0, EFD_CLOEXEC)) {
    if (!server_.path.empty()) where_.path = folder_.path() + "/" + server_.name();
    listening_ = interlock::testing::server_detail::listen_at(where_);
    thread_ = std::thread([this] { run(); });
  }
  ~pooler() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto woken = ::write(wake_.get(), &one, sizeof one);
    thread_.join();
  }
  pooler(const pooler&) = delete;
  pooler& operator=(const pooler&) = delete;

  [[nodiscard]] const interlock::testing::endpoint& where() const noexcept { return where_; }
  // Effects: the next request that has `mark` in it reaches the server, its answer nobody: in its
  //          place comes an error of this severity and SQLSTATE, and the end of the connection.
  void lose_next(std::string severity, std::string state, std::string mark) {
    severity_ = std::move(severity);
    state_ = std::move(state);
    mark_ = std::move(mark);
    // order: release; the thread reads what is above
    armed_.store(true, std::memory_order_release);
  }
  [[nodiscard]] bool lost() const noexcept {
    // order: acquire; after what the thread did
    return !armed_.load(std::memory_order_acquire);
  }

private:
  struct pair {
    descriptor client, server;
    bool losing = false;
    std::string swallowed;
  };

  static bool pass(const descriptor& to, std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = ::send(to.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  // Returns: what came; "" at the end.
  static std::string some(const descriptor& from) {
    std::string bytes(64 * 1024, '\0');
    const auto got = ::recv(from.get(), bytes.data(), bytes.size(), 0);
    bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return bytes;
  }
  [[nodiscard]] std::string error_message() const {
    std::string fields;
    for (const auto& [type, text] : {std::pair<char, std::string>('S', severity_),
                                     {'V', severity_},
                                     {'C', state_},
                                     {'M', "server conn crashed?"}}) {
      fields += type;
      fields += text;
      fields += '\0';
    }
    fields += '\0';
    std::string message("E\0\0\0", 4);
    message += static_cast<char>(fields.size() + 4);
    return message + fields;
  }
  // Returns: false when the connection is over.
  bool from_client(pair& one) {
    const std::string bytes = some(one.client);
    // order: acquire; with the release above
    if (armed_.load(std::memory_order_acquire) && bytes.find(mark_) != std::string::npos) {
      one.losing = true;
    }
    return !bytes.empty() && pass(one.server, bytes);
  }
  bool from_server(pair& one) {
    const std::string bytes = some(one.server);
    if (!one.losing) return !bytes.empty() && pass(one.client, bytes);
    one.swallowed += bytes;
    const std::string_view so_far = one.swallowed;
    const bool ready = so_far.size() >= 6 &&
                       so_far.substr(so_far.size() - 6, 5) == std::string_view("Z\0\0\0\5", 5);
    if (!ready && !bytes.empty()) return true;
    pass(one.client, error_message());
    // order: release; the caller sees what the server did
    armed_.store(false, std::memory_order_release);
    return false;
  }
  void run() {
    for (std::list<pair> pairs;;) {
      std::vector<pollfd> all{{wake_.get(), POLLIN, 0}, {listening_.get(), POLLIN, 0}};
      for (const pair& one : pairs) {
        all.push_back({one.client.get(), POLLIN, 0});
        all.push_back({one.server.get(), POLLIN, 0});
      }
      ::poll(all.data(), all.size(), -1);
      if (all[0].revents != 0) return;
      std::size_t at = 2;
      for (auto one = pairs.begin(); one != pairs.end(); at += 2) {
        const bool open = (all[at].revents == 0 || from_client(*one)) &&
                          (all[at + 1].revents == 0 || from_server(*one));
        one = open ? std::next(one) : pairs.erase(one);
      }
      if (all[1].revents == 0) continue;
      pairs.push_back({descriptor(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC)),
                       interlock::testing::server_detail::connect_to(server_),
                       false,
                       {}});
    }
  }

  interlock::testing::endpoint server_;
  interlock::testing::temporary_folder folder_;
  interlock::testing::endpoint where_;
  descriptor wake_;
  descriptor listening_;
  std::string severity_, state_, mark_;
  std::atomic<bool> armed_{false};
  std::thread thread_;
};
