// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/lossy_proxy.hpp - stands between a client and a server and loses what is said.
//
// Problem     A reply that is lost leaves a client without knowing whether its request had an
//             effect. On the loopback no reply is ever lost.
// Guarantee   A proxy without losses passes on every byte in order.
//             A request that a proxy drops never reaches the server.
//             A reply that a proxy drops belongs to a request that the server has seen.
//             After cut nothing passes and nobody connects until heal.
//             What a silenced proxy holds back is late and not lost.
// Progress    A thread of its own that waits in poll().
// Cost        Two more passes through the kernel a message, about 20 us.
// Lifetime    Its connections end with it.
// Not for     Loss of packets, which TCP hides: a connection is what gets lost. A message is what
//             one read() gives: with pipelined requests, several may be one.
//
// Example     // examples/testing/lossy_proxy.cpp
//             lossy_proxy proxy(server.where(), {.drop_reply = 0.02, .seed = 7});
//             const std::string url = server.url(proxy.where());

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "detail/sockets.hpp"
#include "endpoint.hpp"
#include "temporary_folder.hpp"

namespace interlock::testing {

struct proxy_losses {
  double drop_request = 0;  // probability, for each message of the client, to close in its place
  double drop_reply = 0;    // the same for the server's
  double reset = 0;         // for each message: TCP ends by RST, not by FIN
  double delayed = 0;       // for each message: it waits for the time below
  std::chrono::milliseconds delay{0};
  std::uint64_t seed = 1;  // the n-th message of the m-th connection always fares alike
  unsigned spared = 0;     // so many first messages each way are safe: a handshake
};

struct proxy_counts {
  std::uint64_t connections = 0;
  std::uint64_t requests = 0, replies = 0;  // messages passed on
  std::uint64_t requests_dropped = 0, replies_dropped = 0, resets = 0, delays = 0;
};

class lossy_proxy {
public:
  // Effects: listens at a socket of the server's name in a folder of its own, or at a free port.
  explicit lossy_proxy(endpoint server, proxy_losses how = {});
  lossy_proxy(const lossy_proxy&) = delete;
  lossy_proxy& operator=(const lossy_proxy&) = delete;
  ~lossy_proxy();

  // Returns: where clients connect, for url() of the server.
  [[nodiscard]] const endpoint& where() const noexcept { return where_; }
  [[nodiscard]] proxy_counts counts() const;

  // Effects: other losses from now on, for connections that are open too.
  void set(proxy_losses how);
  // Effects: closes all connections; new ones are refused.
  void cut();
  // Effects: nothing moves any more, connections stay open, new ones wait: a network that is gone.
  void silence();
  // Effects: ends cut() and silence().
  void heal();

private:
  using clock = std::chrono::steady_clock;

  // One way of a connection.
  struct lane {
    server_detail::descriptor* from = nullptr;
    server_detail::descriptor* to = nullptr;
    bool request = false;
    std::string held;         // read, not yet written
    clock::time_point due{};  // when it may be written
    bool ended = false;       // nothing comes any more
    std::uint64_t messages = 0;
    std::mt19937_64 random;
  };
  struct connection {
    server_detail::descriptor client, server;
    lane requests, replies;
    bool over = false;
  };
  enum class state { passing, cut, silent, ending };

  void become(state wanted);
  void run();
  void watch(std::vector<pollfd>& all, clock::time_point& next);
  void serve();
  void accept();
  void move(connection& in, lane& way);
  void read(connection& in, lane& way);
  [[nodiscard]] bool lost(connection& in, lane& way);
  static void close(connection& what, bool reset);

  endpoint server_;
  temporary_folder folder_;
  endpoint where_;
  server_detail::descriptor wake_;

  // Who wants the state takes `turn_` first, so that a busy proxy does not keep others out.
  mutable std::mutex turn_, lock_;  // for what follows
  proxy_losses how_;
  proxy_counts counts_;
  state state_ = state::passing;
  server_detail::descriptor listening_;
  std::list<connection> connections_;

  std::thread thread_;
};

inline lossy_proxy::lossy_proxy(endpoint server, proxy_losses how)
    : server_(std::move(server)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), how_(how) {
  if (!wake_) server_detail::fail(errno, "no eventfd");
  if (!server_.path.empty()) where_.path = folder_.path() + "/" + server_.name();
  listening_ = server_detail::listen_at(where_);
  ::fcntl(listening_.get(), F_SETFL, O_NONBLOCK);
  thread_ = std::thread([this] { run(); });
}

inline lossy_proxy::~lossy_proxy() {
  become(state::ending);
  thread_.join();
}

inline proxy_counts lossy_proxy::counts() const {
  const std::scoped_lock hold(turn_, lock_);
  return counts_;
}

inline void lossy_proxy::set(proxy_losses how) {
  const std::scoped_lock hold(turn_, lock_);
  how_ = how;
}

inline void lossy_proxy::cut() {
  become(state::cut);
}
inline void lossy_proxy::silence() {
  become(state::silent);
}
inline void lossy_proxy::heal() {
  become(state::passing);
}

inline void lossy_proxy::become(state wanted) {
  const std::scoped_lock hold(turn_, lock_);
  state_ = wanted;
  if (wanted == state::cut) {
    for (connection& one : connections_) close(one, false);
    ::shutdown(listening_.get(), SHUT_RDWR);  // close() alone waits for the poll() of the thread
    listening_.close();
  } else if (wanted != state::ending && !listening_) {
    listening_ = server_detail::listen_at(where_);
    ::fcntl(listening_.get(), F_SETFL, O_NONBLOCK);
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto woken = ::write(wake_.get(), &one, sizeof one);
}

inline void lossy_proxy::close(connection& what, bool reset) {
  const linger at_once{1, 0};
  for (server_detail::descriptor* one : {&what.client, &what.server}) {
    if (reset) ::setsockopt(one->get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    if (!reset) ::shutdown(one->get(), SHUT_RDWR);
    one->close();
  }
  what.over = true;
}

inline void lossy_proxy::run() {
  std::vector<pollfd> all;
  for (;;) {
    clock::time_point next = clock::time_point::max();
    all.assign(1, {wake_.get(), POLLIN, 0});
    {
      std::unique_lock turn(turn_);
      const std::lock_guard hold(lock_);
      turn.unlock();
      if (state_ == state::ending) return;
      if (state_ == state::passing) serve();
      connections_.remove_if([](const connection& one) { return one.over; });
      if (state_ == state::passing) watch(all, next);
    }
    int wait = -1;
    if (next != clock::time_point::max()) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - clock::now()).count();
      wait = static_cast<int>(std::max<std::int64_t>(left, 0));
    }
    ::poll(all.data(), all.size(), wait);
    std::uint64_t woken = 0;
    [[maybe_unused]] const auto got = ::read(wake_.get(), &woken, sizeof woken);
  }
}

// What to wait for: only what can be used, or poll() would return at once.
inline void lossy_proxy::watch(std::vector<pollfd>& all, clock::time_point& next) {
  const auto now = clock::now();
  all.push_back({listening_.get(), POLLIN, 0});
  for (connection& one : connections_) {
    for (const lane* way : {&one.requests, &one.replies}) {
      if (way->held.empty()) {
        if (!way->ended) all.push_back({way->from->get(), POLLIN, 0});
      } else if (way->due > now) {
        next = std::min(next, way->due);
      } else {
        all.push_back({way->to->get(), POLLOUT, 0});
      }
    }
  }
}

inline void lossy_proxy::serve() {
  accept();
  for (connection& one : connections_) {
    for (lane* way : {&one.requests, &one.replies}) {
      if (!one.over) move(one, *way);
    }
  }
}

inline void lossy_proxy::accept() {
  for (;;) {
    server_detail::descriptor client(
        ::accept4(listening_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!client) return;
    const std::uint64_t number = counts_.connections++;
    server_detail::descriptor server = server_detail::connect_to(server_);
    if (!server) continue;  // closes the client's: nobody is there
    ::fcntl(server.get(), F_SETFL, O_NONBLOCK);
    connection& made = connections_.emplace_back();
    made.client = std::move(client);
    made.server = std::move(server);
    made.requests.from = made.replies.to = &made.client;
    made.requests.to = made.replies.from = &made.server;
    made.requests.request = true;
    for (lane* way : {&made.requests, &made.replies}) {
      std::seed_seq seed{how_.seed, number, std::uint64_t{way->request}};
      way->random.seed(seed);
    }
  }
}

// Effects: writes what is due; reads a message if none waits.
inline void lossy_proxy::move(connection& in, lane& way) {
  if (way.held.empty() && !way.ended) read(in, way);
  if (in.over) return;
  while (!way.held.empty() && clock::now() >= way.due) {
    const auto sent = ::send(way.to->get(), way.held.data(), way.held.size(), MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (sent < 0) return close(in, false);
    way.held.erase(0, static_cast<std::size_t>(sent));
  }
  if (!way.ended || !way.held.empty()) return;
  if (!way.request) return close(in, false);
  ::shutdown(way.to->get(), SHUT_WR);  // the server may still answer
}

inline void lossy_proxy::read(connection& in, lane& way) {
  char some[64 * 1024];
  const auto got = ::recv(way.from->get(), some, sizeof some, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got < 0) return close(in, false);
  way.ended = got == 0;
  if (way.ended || lost(in, way)) return;
  way.held.assign(some, static_cast<std::size_t>(got));
  ++(way.request ? counts_.requests : counts_.replies);
}

// Returns: true if the message, just read, is the end of the connection.
inline bool lossy_proxy::lost(connection& in, lane& way) {
  std::uniform_real_distribution<double> chance(0, 1);
  const double dropped = chance(way.random), reset = chance(way.random),
               delayed = chance(way.random);
  way.due = clock::time_point::min();
  if (way.messages++ < how_.spared) return false;
  if (dropped < (way.request ? how_.drop_request : how_.drop_reply)) {
    ++(way.request ? counts_.requests_dropped : counts_.replies_dropped);
    close(in, false);
    return true;
  }
  if (reset < how_.reset) {
    ++counts_.resets;
    close(in, true);
    return true;
  }
  if (delayed < how_.delayed) {
    ++counts_.delays;
    way.due = clock::now() + how_.delay;
  }
  return false;
}

}  // namespace interlock::testing
