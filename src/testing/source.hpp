// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/source.hpp - the line of the source that a place in the machine code comes from.

#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

#if defined(__linux__)
#include <dlfcn.h>
#include <unistd.h>
#endif

namespace interlock::testing {
namespace {

inline std::map<const void*, std::string>& known_lines() {
  static auto& lines = *new std::map<const void*, std::string>;
  return lines;
}

// The counts of std::shared_ptr: their orders are the standard library's own.
inline std::set<const void*>& shared_counts() {
  static auto& sites = *new std::set<const void*>;
  return sites;
}

// Returns: whether a line belongs to the kit or to the standard library, whose callers count.
inline bool of_support(const std::string& line) {
  const bool in_include = line.find("/include/") != std::string::npos;
  return line.find("??") == 0 || (in_include && line.find("/c++/") != std::string::npos) ||
         line.find("/c++/v1/") != std::string::npos ||
         line.find("/interlock/testing/model.hpp") != std::string::npos;
}

// Effects: asks addr2line once for all places that are not known yet.
inline void learn_lines(const std::vector<const void*>& sites) {
  auto& known = known_lines();
  std::vector<const void*> asked;
  std::string addresses;
  for (const void* const site : sites) {
    if (site == nullptr || !known[site].empty()) continue;
    char text[32];
    std::snprintf(text, sizeof text, "%p", site);
    known[site] = text;
#if defined(__linux__)
    Dl_info info{};
    if (dladdr(site, &info) == 0) continue;
    Dl_info own{};
    dladdr(reinterpret_cast<const void*>(&of_support), &own);
    if (info.dli_fbase != own.dli_fbase) continue;  // a shared library's
    // The return address is behind the call.
    const auto offset =
        static_cast<const char*>(site) - static_cast<const char*>(info.dli_fbase) - 1;
    std::snprintf(text, sizeof text, " 0x%lx", static_cast<unsigned long>(offset));
    addresses += text;
    asked.push_back(site);
#endif
  }
#if defined(__linux__)
  char program[1024];
  const auto length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (asked.empty() || length <= 0) return;
  program[length] = 0;
  const std::string command =
      "addr2line -a -i -e '" + std::string(program) + "'" + addresses + " 2>/dev/null";
  std::FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return;
  char line[1024];
  std::size_t next = 0;  // each answer begins with the address, then the lines, innermost first
  bool found = true, innermost = false;
  while (std::fgets(line, sizeof line, pipe) != nullptr) {
    std::string text = line;
    text.resize(text.find_first_of("\n "));
    if (text.rfind("0x", 0) == 0) {
      ++next;
      found = false;
      innermost = true;
      continue;
    }
    if (innermost && next <= asked.size() &&
        (text.find("/ext/atomicity.h") != std::string::npos ||
         text.find("shared_ptr") != std::string::npos)) {
      shared_counts().insert(asked[next - 1]);
    }
    innermost = false;
    if (found || next > asked.size() || of_support(text)) continue;
    found = true;
    const auto slash = text.rfind('/');
    known[asked[next - 1]] = slash == std::string::npos ? text : text.substr(slash + 1);
  }
  pclose(pipe);
#endif
}

// Returns: "file.cpp:12" of the innermost line of the user's or the library's; else the address.
inline std::string source_line(const void* site) {
  if (site == nullptr) return "";
  learn_lines({site});
  return known_lines()[site];
}

}  // namespace
}  // namespace interlock::testing
