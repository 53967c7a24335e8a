// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the fault tests share. A program of the suite includes a place, which is an engine with its
// server (memory.hpp, sqlite.hpp, redis.hpp, postgres.hpp), and then the tests, which are written
// once. A place has
//   available()           whether there is a server for it; says so if not
//   place(kept)           a new data set, in quick settings or such that survive kill -9
//   open(options)         a client
//   address(), connect()  a client in another process (not in memory)
//   crash()               kill -9 of the server, and a new start (those with a server)
// and losing stands between clients and a place and loses a share of requests and replies.

#include <interlock/store/client_options.hpp>
#include <interlock/store/operation_id.hpp>

#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <string>
#include <thread>

namespace faults {

using namespace std::chrono_literals;
namespace store = interlock::store;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

enum class kept { quick, killed };  // what a place has to survive

// Returns: options with a prefix that no other test uses.
inline store::client_options fresh(store::client_options options = {}) {
  options.prefix = "f_" + store::unique_id::fresh().text().substr(0, 12);
  return options;
}

// Effects: one line of the summary, as printf.
[[gnu::format(printf, 2, 3)]] inline void tell(const char* engine, const char* format, ...) {
  std::printf("fault %-8s ", engine);
  std::va_list given;
  va_start(given, format);
  std::vprintf(format, given);
  va_end(given);
  std::printf("\n");
  std::fflush(stdout);
}

// Effects: asks until it is not refused, which did nothing. Returns: the last answer.
template <class F>
auto unless_refused(F f, milliseconds most = 20s) {
  const auto end = steady_clock::now() + most;
  for (;;) {
    auto said = f();
    if (!said.refused() || steady_clock::now() > end) return said;
    std::this_thread::sleep_for(1ms);
  }
}

}  // namespace faults
