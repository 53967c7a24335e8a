// SPDX-License-Identifier: BSL-1.0
// A coroutine waits for a lock that another thread holds, and goes on in the event loop of main, not
// where that thread unlocks.
// Prints: unlocked
//         goes on in the loop

#include <interlock/async_mutex.hpp>
#include <interlock/task.hpp>

#include <condition_variable>
#include <functional>
#include <iostream>
#include <mutex>
#include <queue>
#include <thread>
#include <utility>

using namespace interlock;

// Any loop will do that runs what it is given.
class event_loop {
public:
  void execute(std::function<void()> job) {
    const std::lock_guard lock(guard_);
    jobs_.push(std::move(job));
    news_.notify_one();
  }
  void run_one() {
    std::unique_lock lock(guard_);
    news_.wait(lock, [&] { return !jobs_.empty(); });
    const auto job = std::move(jobs_.front());
    jobs_.pop();
    lock.unlock();
    job();
  }

private:
  std::mutex guard_;
  std::condition_variable news_;
  std::queue<std::function<void()>> jobs_;
};

task<> show(async_mutex& page, event_loop& loop, std::thread::id loop_thread) {
  const auto on_loop = [&loop](auto job) { loop.execute(job); };
  const auto held = co_await page.lock().resume_on(on_loop);
  const bool there = std::this_thread::get_id() == loop_thread;
  std::cout << (there ? "goes on in the loop\n" : "goes on elsewhere\n");
}

int main() {
  event_loop loop;
  async_mutex page;
  auto held = page.lock_blocking();
  std::thread request([&, here = std::this_thread::get_id()] { sync_wait(show(page, loop, here)); });
  while (page.waiters_approx() == 0) std::this_thread::yield();
  std::thread([&] {
    held.unlock();
    std::cout << "unlocked\n";
  }).join();
  loop.run_one();
  request.join();
  return 0;
}
