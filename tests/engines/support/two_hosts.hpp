// SPDX-License-Identifier: BSL-1.0
#pragma once

// Two hosts and a cable between them that can be cut: network namespaces of Linux. What a thread
// starts while it visits a host, and the sockets that it makes then, are of that host. Sockets with
// a path are reached from everywhere.

#include <interlock/testing/detail/sockets.hpp>
#include <interlock/testing/server_process.hpp>

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>

#include "support/servers.hpp"
#include "support/skipped.hpp"

namespace support {

// Effects: runs ip(8) where the thread is. Throws: std::runtime_error if it fails.
inline void ip(const std::string& words) {
  const std::string command = interlock::testing::server_process::find("ip") + " " + words;
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
}

class host {
  using descriptor = interlock::testing::server_detail::descriptor;

public:
  // Makes a host with no network but its own loopback.
  // Throws: std::system_error where that is not allowed.
  host() {
    const descriptor from = here();
    if (::unshare(CLONE_NEWNET) != 0) {
      interlock::testing::server_detail::fail(errno, "no network namespace");
    }
    at_ = here();
    go(from);
    const visit there(*this);
    ip("link set lo up");
  }

  // While it lives, its thread is there.
  class visit {
  public:
    explicit visit(const host& to) : from_(here()) { go(to.at_); }
    visit(const visit&) = delete;
    visit& operator=(const visit&) = delete;
    ~visit() { go(from_); }  // ends the program if that fails: all that follows would be wrong

  private:
    descriptor from_;
  };

  // Returns: what f returns, which runs there.
  template <class F>
  auto on(F f) const {
    const visit there(*this);
    return f();
  }
  // Returns: its name for other programs.
  [[nodiscard]] std::string path() const {
    return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(at_.get());
  }

private:
  static descriptor here() {
    descriptor found(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!found) interlock::testing::server_detail::fail(errno, "no /proc/thread-self/ns/net");
    return found;
  }
  static void go(const descriptor& to) {
    if (::setns(to.get(), CLONE_NEWNET) != 0) {
      interlock::testing::server_detail::fail(errno, "no way into a network namespace");
    }
  }

  descriptor at_;
};

// left has the address 10.77.0.1, right 10.77.0.2.
struct two_hosts {
  host left, right;

  two_hosts() {
    left.on([&] { ip("link add cable type veth peer name cable netns " + right.path()); });
    left.on([] { ip("address add 10.77.0.1/24 dev cable"); });
    right.on([] { ip("address add 10.77.0.2/24 dev cable"); });
    right.on([] { ip("link set cable up"); });
    mend();
  }
  // Effects: nothing passes any more, and nobody is told: connections stay.
  void cut() const {
    left.on([] { ip("link set cable down"); });
  }
  void mend() const {
    left.on([] { ip("link set cable up"); });
  }
};

// Returns: whether two_hosts can be had; says so if not. A container may forbid namespaces: that
// skips the test in CI too, where a missing program fails it.
[[nodiscard]] inline bool need_two_hosts() {
  if (!need(interlock::testing::server_process::available("ip"), "ip (package iproute2)")) {
    return false;
  }
  std::string why;
  std::thread([&] {  // whose namespace goes with it
    try {
      host().on([] { ip("link add cable type veth peer name end"); });
    } catch (const std::exception& error) {
      why = error.what();
    }
  }).join();
  if (why.empty()) return true;
  std::printf("skipped: no two hosts: %s; be root, or use unshare --user --map-root-user --net\n",
              why.c_str());
  skipped = true;
  return false;
}

}  // namespace support
