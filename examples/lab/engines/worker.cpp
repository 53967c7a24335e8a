// SPDX-License-Identifier: BSL-1.0

#include "worker.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>

namespace lab {

namespace {

constexpr int patience = 60'000;  // milliseconds

[[noreturn]] void fail(int code, const char* what) {
  throw std::system_error(code, std::generic_category(), what);
}

}  // namespace

void wire::say(std::string text) {
  text += '\n';
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t sent = ::send(descriptor_, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return;
    rest.remove_prefix(static_cast<std::size_t>(sent));
  }
}

std::string wire::hear() {
  for (;;) {
    const std::size_t end = read_.find('\n');
    if (end != std::string::npos) {
      std::string text = read_.substr(0, end);
      read_.erase(0, end + 1);
      return text;
    }
    pollfd ready{descriptor_, POLLIN, 0};
    const int some = ::poll(&ready, 1, patience);
    if (some < 0 && errno == EINTR) continue;
    if (some <= 0) throw std::runtime_error("another process of the story says nothing");
    std::array<char, 512> piece{};
    const ssize_t got = ::recv(descriptor_, piece.data(), piece.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw std::runtime_error("another process of the story has ended");
    read_.append(piece.data(), static_cast<std::size_t>(got));
  }
}

worker::worker(std::string_view engine, const std::string& url, const std::string& prefix,
               const std::string& part, const std::string& object)
    : wire(-1) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    fail(errno, "no socket for another process");
  }
  descriptor_ = ends[0];
  posix_spawn_file_actions_t plan{};
  ::posix_spawn_file_actions_init(&plan);
  ::posix_spawn_file_actions_adddup2(&plan, ends[1], STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&plan, ends[1], STDOUT_FILENO);
  std::string program = "/proc/self/exe";
  std::string option = "--work-for";
  std::string name(engine);
  std::array<char*, 4> words{program.data(), option.data(), name.data(), nullptr};
  const int bad = ::posix_spawn(&process_, program.c_str(), &plan, nullptr, words.data(), environ);
  ::posix_spawn_file_actions_destroy(&plan);
  ::close(ends[1]);
  if (bad != 0) {
    ::close(descriptor_);
    fail(bad, "cannot start another process of the story");
  }
  for (const std::string& each : {url, prefix, part, object}) say(each);
}

worker::~worker() {
  if (process_ > 0) {
    ::kill(process_, SIGKILL);
    while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  ::close(descriptor_);
}

void worker::stop() {
  ::kill(process_, SIGSTOP);
  int status = 0;
  while (::waitpid(process_, &status, WUNTRACED) < 0 && errno == EINTR) {
  }
  if (WIFSTOPPED(status)) return;
  process_ = -1;
  throw std::runtime_error("another process of the story has ended");
}

employer::employer() : wire(STDIN_FILENO) {
#if defined(__linux__)
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
  url = hear();
  prefix = hear();
  part = hear();
  object = hear();
}

}  // namespace lab
