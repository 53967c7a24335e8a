// SPDX-License-Identifier: BSL-1.0

#include "machine.hpp"

#include <sys/utsname.h>
#include <interlock/version.hpp>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <string_view>
#include <thread>

// Given by CMake; a build without it says so.
#ifndef LAB_BUILD_FLAGS
#define LAB_BUILD_FLAGS "unknown"
#endif

namespace lab {

namespace {

// Returns: what follows "key<separators>" on the first such line of the file, without quotes; "" if
//          there is none.
std::string line_of(const char* file, std::string_view key) {
  std::ifstream in(file);
  std::string line;
  while (std::getline(in, line)) {
    if (line.compare(0, key.size(), key) != 0) continue;
    const std::size_t begin = line.find_first_not_of("=: \t\"", key.size());
    if (begin == std::string::npos) return "";
    return line.substr(begin, line.find_last_not_of("\" \t") + 1 - begin);
  }
  return "";
}

std::string processor() {
  const std::string model = line_of("/proc/cpuinfo", "model name");
  if (!model.empty()) return model;
  utsname name{};
  return ::uname(&name) == 0 ? std::string(name.machine) : "unknown";
}

std::string system() {
  const std::string distribution = line_of("/etc/os-release", "PRETTY_NAME");
  utsname name{};
  if (::uname(&name) != 0) return distribution;
  const std::string kernel = std::string(name.sysname) + " " + name.release + ", " + name.machine;
  return distribution.empty() ? kernel : distribution + ", " + kernel;
}

std::string compiler() {
#if defined(__clang__)
  const std::string name = "Clang " __clang_version__;
#else
  const std::string name = "GCC " __VERSION__;
#endif
#if defined(_LIBCPP_VERSION)
  return name + ", libc++";
#else
  return name + ", libstdc++";
#endif
}

std::string now() {
  const std::time_t moment = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&moment, &parts);
  char buffer[64];
  std::strftime(buffer, sizeof buffer, "%Y-%m-%d %H:%M UTC", &parts);
  return buffer;
}

std::string single_spaced(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out += c;
  }
  return out;
}

}  // namespace

machine this_machine() {
  machine out;
  out.cpus = std::max(std::thread::hardware_concurrency(), 1U);
  out.facts = {
      {"Interlock", INTERLOCK_VERSION_STRING},   {"Date", now()},      {"Processor", processor()},
      {"CPUs", std::to_string(out.cpus)},        {"System", system()}, {"Compiler", compiler()},
      {"Flags", single_spaced(LAB_BUILD_FLAGS)},
  };
  return out;
}

}  // namespace lab
