// SPDX-License-Identifier: BSL-1.0
// Three who wait for letters, and one who brings two; the third one is told to go home.
// Prints: 2 letters taken, 1 went home without

#include <interlock/async_condition.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/task.hpp>
#include <interlock/when_all.hpp>

#include <cstddef>
#include <cstdio>
#include <deque>
#include <utility>
#include <vector>

using interlock::async_condition;
using interlock::async_mutex;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::sync_wait;
using interlock::task;
using interlock::wait_status;
using interlock::when_all;

namespace {

struct mailbox {
  async_mutex door;
  async_condition filled;
  std::deque<int> letters;
};

task<int> take(mailbox& from, inplace_stop_token stop) {
  auto held = co_await from.door.lock();
  const auto filled = [&] { return !from.letters.empty(); };
  const wait_status how = co_await from.filled.wait(held, filled, stop);
  if (how != wait_status::acquired) co_return 0;
  const int letter = from.letters.front();
  from.letters.pop_front();
  co_return letter;
}

task<int> bring(mailbox& to, inplace_stop_source& evening) {
  for (const int letter : {1, 2}) {
    {
      const auto held = co_await to.door.lock();
      to.letters.push_back(letter);
    }
    to.filled.notify_one();
    co_await interlock::reschedule();
  }
  evening.request_stop();
  co_return 0;
}

}  // namespace

int main() {
  mailbox box;
  inplace_stop_source evening;
  std::vector<task<int>> people;
  for (int i = 0; i < 3; ++i) people.push_back(take(box, evening.get_token()));
  people.push_back(bring(box, evening));
  const std::vector<int> letters = sync_wait(when_all(std::move(people)));

  int taken = 0;
  for (int i = 0; i < 3; ++i) taken += letters[static_cast<std::size_t>(i)] != 0 ? 1 : 0;
  std::printf("%d letters taken, %d went home without\n", taken, 3 - taken);
  return taken == 2 ? 0 : 1;
}
