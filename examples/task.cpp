// SPDX-License-Identifier: BSL-1.0
// Tasks: one awaits another, and fifty requests overlap on one thread.
// Prints: 42 twice is 84, 50 requests gave 1225

#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <cstdio>
#include <numeric>
#include <utility>
#include <vector>

using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::when_all;

namespace {

task<int> answer() { co_return 42; }

task<int> twice() {
  const int once = co_await answer();
  co_return 2 * once;
}

task<int> handle(int request) {
  co_await reschedule();  // the other requests go on here
  co_return request;
}

}  // namespace

int main() {
  const int result = sync_wait(twice());

  std::vector<task<int>> requests;
  for (int i = 0; i < 50; ++i) requests.push_back(handle(i));
  const std::vector<int> replies = sync_wait(when_all(std::move(requests)));
  const int sum = std::accumulate(replies.begin(), replies.end(), 0);

  std::printf("42 twice is %d, 50 requests gave %d\n", result, sum);
  return result == 84 && sum == 1225 ? 0 : 1;
}
