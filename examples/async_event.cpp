// SPDX-License-Identifier: BSL-1.0
// Requests wait at a gate until the configuration is there; a worker sleeps until its bell rings.
// Prints: 5 requests saw limit 8, the worker added up 45

#include <interlock/async_event.hpp>
#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <cstdio>
#include <utility>
#include <vector>

using interlock::async_auto_reset_event;
using interlock::async_manual_reset_event;
using interlock::sync_wait;
using interlock::task;
using interlock::wait_status;
using interlock::when_all;

namespace {

struct config {
  async_manual_reset_event ready;
  int limit = 0;
};

task<> request(config& settings, int& saw_limit) {
  const wait_status how = co_await settings.ready.wait();
  if (how == wait_status::acquired && settings.limit == 8) ++saw_limit;
}

task<> load(config& settings) {
  co_await interlock::reschedule();  // reads a file
  settings.limit = 8;
  settings.ready.set();
}

task<> worker(async_auto_reset_event& bell, std::vector<int>& inbox, int& sum) {
  wait_status how = co_await bell.wait();
  while (how != wait_status::closed) {
    for (; !inbox.empty(); inbox.pop_back()) sum += inbox.back();
    how = co_await bell.wait();  // rings that nobody heard are one: look at all there is
  }
}

task<> produce(async_auto_reset_event& bell, std::vector<int>& inbox) {
  for (int i = 0; i < 10; ++i) {
    inbox.push_back(i);
    bell.set();
    if (i % 3 == 0) co_await interlock::reschedule();
  }
  co_await interlock::reschedule();
  bell.close();
}

}  // namespace

int main() {
  config settings;
  int saw_limit = 0;
  std::vector<task<>> tasks;
  for (int i = 0; i < 5; ++i) tasks.push_back(request(settings, saw_limit));
  tasks.push_back(load(settings));

  async_auto_reset_event bell;
  std::vector<int> inbox;
  int sum = 0;
  tasks.push_back(worker(bell, inbox, sum));
  tasks.push_back(produce(bell, inbox));
  sync_wait(when_all(std::move(tasks)));

  std::printf("%d requests saw limit 8, the worker added up %d\n", saw_limit, sum);
  return saw_limit == 5 && sum == 45 ? 0 : 1;
}
