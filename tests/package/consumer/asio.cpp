// SPDX-License-Identifier: BSL-1.0
// A lock as an operation of Boost.Asio, and of Asio without Boost, in one program if both are there.

#if defined(USE_ASIO)
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <interlock/asio.hpp>
#endif
#if defined(USE_STANDALONE_ASIO)
#include <asio/bind_executor.hpp>
#include <asio/io_context.hpp>
#include <interlock/standalone_asio.hpp>
#endif
#include <interlock/async_mutex.hpp>

#include <cstdio>

int main() {
  interlock::async_mutex door;
  int owned = 0;
  int asked = 0;
  const auto count = [&owned](auto error, interlock::async_mutex::guard held) {
    owned += !error && held ? 1 : 0;
  };
#if defined(USE_ASIO)
  boost::asio::io_context boost_loop;
  interlock::boost_asio::async_lock(door, boost::asio::bind_executor(boost_loop, count));
  ++asked;
  boost_loop.run();
#endif
#if defined(USE_STANDALONE_ASIO)
  asio::io_context loop;
  interlock::standalone_asio::async_lock(door, asio::bind_executor(loop, count));
  ++asked;
  loop.run();
#endif
  std::printf("%d of %d\n", owned, asked);
  return owned == asked && asked > 0 ? 0 : 1;
}
