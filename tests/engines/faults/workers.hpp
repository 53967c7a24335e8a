// SPDX-License-Identifier: BSL-1.0
#pragma once

// Processes of a test that can be stopped and killed: this very program, started anew with a role.
// They hear lines and say lines. Include a place before.

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "common.hpp"
#include "support/catch.hpp"

namespace faults {

inline constexpr const char* worker_case = "a worker of the fault suite";

// A pipe's end, with lines in it.
class lines {
public:
  explicit lines(int file) : file_(file) {}

  // Returns: the next line; none if none came in time, or ever will.
  std::optional<std::string> next(milliseconds most) {
    const auto end = steady_clock::now() + most;
    for (;;) {
      const auto line = held_.find('\n');
      if (line != std::string::npos) {
        std::string text = held_.substr(0, line);
        held_.erase(0, line + 1);
        return text;
      }
      const auto left = std::chrono::ceil<milliseconds>(end - steady_clock::now());
      pollfd wait{file_, POLLIN, 0};
      const int ready =
          ::poll(&wait, 1, static_cast<int>(std::max<milliseconds>(left, 0ms).count()));
      if (ready < 0 && errno == EINTR) continue;
      if (ready <= 0) return std::nullopt;
      std::array<char, 4096> some;
      const auto got = ::read(file_, some.data(), some.size());
      if (got <= 0) return std::nullopt;
      held_.append(some.data(), static_cast<std::size_t>(got));
    }
  }

private:
  int file_;
  std::string held_;
};

inline void put_line(int file, std::string line) {
  line += '\n';
  [[maybe_unused]] const auto sent = ::write(file, line.data(), line.size());
}

// In the worker.
class orders {
public:
  static constexpr int reports = 3;  // the file for what it says

  [[nodiscard]] static std::string given(const char* name) {
    const char* const found = std::getenv(name);
    return found == nullptr ? "" : found;
  }
  void say(std::string line) const { put_line(reports, std::move(line)); }
  // Returns: what comes next; ends the process when nothing can.
  std::string hear() {
    for (;;) {
      if (auto line = in_.next(1h)) return *std::move(line);
      ::_exit(0);
    }
  }
  [[nodiscard]] static place::client open() {
    store::client_options options;
    options.prefix = given("INTERLOCK_FAULT_PREFIX");
    options.timeout = 5s;
    return place::connect(given("INTERLOCK_FAULT_ADDRESS"), options);
  }

private:
  lines in_{STDIN_FILENO};
};

using role = std::function<void(orders&)>;
inline std::map<std::string, role>& roles() {
  static std::map<std::string, role> all;
  return all;
}
inline bool add_role(const std::string& name, role what) {
  return roles().emplace(name, std::move(what)).second;
}

// In the test. Started by the main thread; killed, if it still runs.
class worker {
public:
  worker(const std::string& what, const place& where, const std::string& prefix) {
    std::array<int, 2> in{}, out{};
    if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0) {
      throw std::runtime_error("no pipe");
    }
    std::vector<std::string> texts;
    for (char** one = environ; *one != nullptr; ++one) texts.emplace_back(*one);
    texts.push_back("INTERLOCK_FAULT_ROLE=" + what);
    texts.push_back("INTERLOCK_FAULT_ADDRESS=" + std::string(where.address()));
    texts.push_back("INTERLOCK_FAULT_PREFIX=" + prefix);
    std::vector<char*> environment;
    for (std::string& one : texts) environment.push_back(one.data());
    environment.push_back(nullptr);
    std::string self = "/proc/self/exe", name = worker_case;
    char* const arguments[] = {self.data(), name.data(), nullptr};
    const pid_t parent = ::getpid();
    id_ = ::fork();
    if (id_ < 0) throw std::runtime_error("fork failed");
    if (id_ == 0) {  // only calls of the system here
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(1);
      const int copy = ::fcntl(out[1], F_DUPFD, 10), nowhere = ::open("/dev/null", O_WRONLY);
      ::dup2(in[0], STDIN_FILENO);
      ::dup2(nowhere, STDOUT_FILENO);
      ::dup2(copy, orders::reports);
      ::execve(arguments[0], arguments, environment.data());
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    in_ = in[1];
    out_ = out[0];
    heard_ = lines(out_);
  }
  worker(worker&& other) noexcept
      : id_(std::exchange(other.id_, 0)),
        in_(std::exchange(other.in_, -1)),
        out_(std::exchange(other.out_, -1)),
        heard_(std::move(other.heard_)) {}
  worker& operator=(worker&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(in_, other.in_);
    std::swap(out_, other.out_);
    std::swap(heard_, other.heard_);
    return *this;
  }
  ~worker() {
    kill();
    if (in_ >= 0) ::close(in_);
    if (out_ >= 0) ::close(out_);
  }

  void say(std::string line) { put_line(in_, std::move(line)); }
  // Returns: what it said next; none if it said nothing in time.
  std::optional<std::string> heard(milliseconds most = 20s) { return heard_.next(most); }
  // Returns: its answer to a line.
  std::string ask(std::string line) {
    say(std::move(line));
    return heard().value_or("no answer");
  }

  // Effects: SIGSTOP. Returns when it stands still.
  void stop() {
    int how = 0;
    ::kill(id_, SIGSTOP);
    ::waitpid(id_, &how, WUNTRACED);
  }
  void go_on() { ::kill(id_, SIGCONT); }
  void kill() {
    if (id_ <= 0) return;
    ::kill(id_, SIGKILL);
    ::waitpid(std::exchange(id_, 0), nullptr, 0);
  }

private:
  pid_t id_ = 0;
  int in_ = -1, out_ = -1;
  lines heard_{-1};
};

}  // namespace faults

TEST_CASE("a worker of the fault suite", "[.]") {
  using namespace faults;
  const auto found = roles().find(orders::given("INTERLOCK_FAULT_ROLE"));
  if (found == roles().end()) return;  // called by a person
  orders mine;
  try {
    found->second(mine);
  } catch (const std::exception& error) {
    mine.say(std::string("failed: ") + error.what());
    ::_exit(1);
  }
  ::_exit(0);
}
