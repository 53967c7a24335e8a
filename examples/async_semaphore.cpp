// SPDX-License-Identifier: BSL-1.0
// Twenty requests share three connections, ten of them may wait; then a reload that needs all
// three, a request that waits ten milliseconds at most, and the end of the pool.
// Prints: 13 served, 7 overloaded, the reload had 3, the hasty one timed out, the last one closed

#include <interlock/async_semaphore.hpp>
#include <interlock/task.hpp>
#include <interlock/timer_thread.hpp>
#include <interlock/when_all.hpp>

#include <chrono>
#include <cstdio>
#include <utility>
#include <vector>

using interlock::async_semaphore;
using interlock::max_waiters;
using interlock::sync_wait;
using interlock::task;
using interlock::timer_thread;
using interlock::wait_status;
using interlock::when_all;

namespace {

// All of it is used by the one thread that runs the requests. With several, `idle` needs a lock of
// its own, for a moment; the semaphore does not.
struct pool {
  async_semaphore permits{3, max_waiters{10}};
  std::vector<int> idle{1, 2, 3};  // connections
};

task<> talk(int) { co_await interlock::reschedule(); }

task<wait_status> query(pool& from) {
  const auto permit = co_await from.permits.acquire();
  if (!permit) co_return permit.status();  // overloaded: say 503 now, not later
  const int connection = from.idle.back();  // there is one for each permit
  from.idle.pop_back();
  co_await talk(connection);
  from.idle.push_back(connection);
  co_return wait_status::acquired;
}

// Waits in the same line as the small ones, which do not pass it by.
task<std::size_t> reload(pool& all) {
  const auto permits = co_await all.permits.acquire(3);
  co_return permits ? all.idle.size() : 0;
}

task<wait_status> query_soon(pool& from, timer_thread& timer, std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  const auto permit = co_await from.permits.acquire_until(timer, deadline);
  co_return permit.status();
}

}  // namespace

int main() {
  pool connections;
  std::vector<task<wait_status>> requests;
  for (int i = 0; i < 20; ++i) requests.push_back(query(connections));
  int served = 0;
  int refused = 0;
  for (const wait_status each : sync_wait(when_all(std::move(requests)))) {
    ++(each == wait_status::acquired ? served : refused);
  }

  const std::size_t had = sync_wait(reload(connections));

  timer_thread timer;
  auto stuck = connections.permits.try_acquire(3);
  const wait_status hasty =
      sync_wait(query_soon(connections, timer, std::chrono::milliseconds(10)));
  connections.permits.close();
  stuck.give_back();
  const wait_status last = sync_wait(query(connections));

  std::printf("%d served, %d overloaded, the reload had %zu, the hasty one %s, the last one %s\n", served,
              refused, had, to_string(hasty), to_string(last));
  return served == 13 && refused == 7 && had == 3 && hasty == wait_status::timed_out &&
                 last == wait_status::closed
             ? 0
             : 1;
}
