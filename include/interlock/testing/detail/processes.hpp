// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/detail/processes.hpp - a process and those below it, as /proc has them.

#include <sys/types.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace interlock::testing::server_detail {

inline void pause_for(std::chrono::nanoseconds time) {
  timespec left{static_cast<time_t>(time.count() / 1'000'000'000),
                static_cast<long>(time.count() % 1'000'000'000)};
  while (::nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

// Effects: calls done() until it is true or time is over, at first every 0.2 ms, then less often.
template <class Done>
[[nodiscard]] bool until(std::chrono::milliseconds most, Done done) {
  const auto deadline = std::chrono::steady_clock::now() + most;
  constexpr std::chrono::microseconds longest{5000};
  for (std::chrono::microseconds step{200}; !done(); step = std::min(step * 2, longest)) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    pause_for(step);
  }
  return true;
}

// Returns: what can be read of it. The file of a process that ends meanwhile cannot: no error.
[[nodiscard]] inline std::string contents_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();  // takes what the buffer throws for the end; an iterator does not
  return std::move(text).str();
}

struct process_entry {
  pid_t id = 0;
  pid_t parent = 0;
  char state = 'X';         // as in ps: R, S, D run, T and t are stopped, Z has ended, X is gone
  std::uint64_t ticks = 0;  // of processor time

  [[nodiscard]] bool gone() const noexcept { return state == 'Z' || state == 'X'; }
  [[nodiscard]] bool stopped() const noexcept { return state == 'T' || state == 't' || gone(); }
};

// Returns: its entry; with the state X if there is no such process.
[[nodiscard]] inline process_entry entry_of(pid_t id) {
  process_entry found;
  found.id = id;
  const std::string text = contents_of("/proc/" + std::to_string(id) + "/stat");
  const auto name_end = text.rfind(')');  // the name may hold blanks and brackets
  if (name_end == std::string::npos) return found;
  std::istringstream fields(text.substr(name_end + 1));
  std::uint64_t user = 0, system = 0;
  fields >> found.state >> found.parent;
  std::string skipped;
  for (int field = 5; field <= 13; ++field) fields >> skipped;
  fields >> user >> system;
  found.ticks = user + system;
  return found;
}

// Returns: the process and all below it, parents before children.
[[nodiscard]] inline std::vector<process_entry> tree_of(pid_t root) {
  std::vector<process_entry> all, tree{entry_of(root)};
  std::error_code ignored;
  for (const auto& folder : std::filesystem::directory_iterator("/proc", ignored)) {
    const std::string name = folder.path().filename().string();
    pid_t id = 0;
    const auto read = std::from_chars(name.data(), name.data() + name.size(), id);
    if (read.ec == std::errc() && id != root) all.push_back(entry_of(id));
  }
  for (std::size_t at = 0; at < tree.size(); ++at) {
    const pid_t parent = tree[at].id;
    for (const process_entry& one : all) {
      if (one.parent == parent && one.state != 'X') tree.push_back(one);
    }
  }
  return tree;
}

}  // namespace interlock::testing::server_detail
