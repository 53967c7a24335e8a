// SPDX-License-Identifier: BSL-1.0
#pragma once

// Misuse ends the process; a test looks at it from outside, through a forked child.

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>

namespace support {

// Returns: what f wrote to stderr before it aborted; "(survived)" if it did not abort.
// Preconditions: no other thread is running.
template <class F>
std::string death_message(F f) {
  int ends[2];
  if (::pipe(ends) != 0) return "(no pipe)";
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    ::dup2(ends[1], STDERR_FILENO);
    std::signal(SIGABRT, SIG_DFL);  // past the test framework's own handler
    f();
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string message;
  char buffer[512];
  for (ssize_t n = 0; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
    message.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  const bool aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
  return aborted ? message : "(survived)";
}

}  // namespace support
