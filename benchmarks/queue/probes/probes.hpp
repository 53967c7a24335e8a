// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a queue does where queues differ. Each probe runs in a child process with a time limit,
// since some end the process or hang; the answer is a few words.
//
// A subject has: name; post(f), which has f run later or at once; call(f), which also waits for it;
// told(), whether it was handed what a posted task threw. Its destructor is the queue's. A pair of
// lanes on one thread has post(lane, f).

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace probes {

using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

inline milliseconds limit{4000};     // of a probe: then it hangs
inline milliseconds patience{1000};  // with what should happen soon, before that

// Returns: what `probe` returned in a child, or how that ended.
inline std::string in_child(const std::function<std::string()>& probe) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child < 0) return "no process";
  if (child == 0) {
    ::close(ends[0]);
    ::close(STDERR_FILENO);  // who ends the process says so there
    const std::string answer = probe();
    const ssize_t written = ::write(ends[1], answer.data(), answer.size());
    ::_exit(written == static_cast<ssize_t>(answer.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  pollfd until{ends[0], POLLIN, 0};
  std::string answer;
  const bool came = ::poll(&until, 1, static_cast<int>(limit.count())) == 1;
  char text[128];
  const ssize_t size = came ? ::read(ends[0], text, sizeof text) : 0;
  if (size > 0) answer.assign(text, static_cast<std::size_t>(size));
  ::close(ends[0]);
  if (!came) ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!came) return "hangs";
  if (WIFSIGNALED(status)) return "the process ends";
  return answer;
}

// Returns: whether `ready` within that time.
template <class Ready>
bool within(milliseconds time, Ready ready) {
  const auto end = clock::now() + time;
  while (!ready()) {
    if (clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return true;
}
template <class Ready>
void until(Ready ready) {
  within(std::chrono::minutes(1), ready);
}

// Two threads post by turns while a task holds up the queue: each post comes after the one before.
template <class Subject>
std::string order_across_producers() {
  constexpr int count = 200;
  Subject subject;
  std::vector<int> seen(count);
  std::atomic<int> done{0};
  std::atomic<bool> busy{false};
  std::atomic<bool> go{false};
  std::thread holds([&] {
    subject.post([&] {
      busy = true;
      until([&] { return go.load(); });
    });
  });
  until([&] { return busy.load(); });
  std::atomic<int> turn{0};
  const auto produce = [&](int parity) {
    for (int i = parity; i < count; i += 2) {
      for (int now = turn; now != i; now = turn) turn.wait(now);
      subject.post([&seen, &done, i] { seen[static_cast<std::size_t>(done++)] = i; });
      turn = i + 1;
      turn.notify_all();
    }
  };
  std::thread first(produce, 0);
  std::thread second(produce, 1);
  first.join();
  second.join();
  go = true;
  until([&] { return done == count; });
  holds.join();
  int back = 0;
  for (std::size_t i = 1; i < seen.size(); ++i) back += seen[i] < seen[i - 1];
  return back == 0 ? "kept" : "broken: " + std::to_string(back) + " of 200 came too early";
}

// A task posts R behind X, which another thread has posted before.
template <class Subject>
std::string reentrant_post() {
  Subject subject;
  std::atomic<bool> busy{false};
  std::atomic<bool> posted{false};
  std::atomic<int> ended{0};
  std::atomic<int> first{0};
  const auto ends_as = [&](char who) {
    int nobody = 0;
    first.compare_exchange_strong(nobody, who);
    ++ended;
  };
  std::thread inside([&] {
    subject.post([&] {
      busy = true;
      until([&] { return posted.load(); });
      subject.post([&] { ends_as('R'); });
    });
  });
  until([&] { return busy.load(); });
  subject.post([&] { ends_as('X'); });
  posted = true;
  until([&] { return ended == 2; });
  inside.join();
  return first == 'X' ? "in its turn" : "overtakes";
}

template <class Subject>
std::string task_that_throws() {
  Subject subject;
  std::atomic<bool> next{false};
  subject.post([] { throw std::runtime_error("thrown by a task"); });
  subject.post([&] { next = true; });
  const bool runs = within(patience, [&] { return next.load(); });
  const std::string what = subject.told() ? "reported" : "swallowed";
  return what + (runs ? ", the next runs" : ", nothing runs any more");
}

template <class Subject>
std::string wait_from_inside() {
  Subject subject;
  std::atomic<int> end{0};
  subject.post([&] {
    try {
      subject.call([] {});
      end = 1;
    } catch (const std::system_error&) {
      end = 2;
    }
  });
  until([&] { return end != 0; });
  return end == 1 ? "waits for itself, and ends" : "an error";
}

// 500 tasks of 20 us behind one that ends only when the destructor has begun, or a little later.
template <class Subject>
std::string destroyed_with_work() {
  constexpr int count = 500;
  std::atomic<int> ran{0};
  std::atomic<bool> busy{false};
  std::atomic<bool> go{false};
  {
    Subject subject;
    std::thread holds([&] {
      subject.post([&] {
        busy = true;
        until([&] { return go.load(); });
      });
    });
    until([&] { return busy.load(); });
    for (int i = 0; i < count; ++i) {
      subject.post([&ran] {
        const auto end = clock::now() + std::chrono::microseconds(20);
        while (clock::now() < end) {
        }
        ++ran;
      });
    }
    go = true;
    holds.join();
  }
  return ran == count ? "all 500 run" : std::to_string(count - ran) + " of 500 have not run";
}

// A task of one lane that posts itself for ever, and one task of another lane on the same thread.
template <class Lanes>
std::string starvation() {
  Lanes& lanes = *new Lanes;  // never destroyed, nor what its tasks use: they do not end
  auto& ran = *new std::atomic<bool>(false);
  auto& rounds = *new std::atomic<int>(0);
  auto& again = *new std::function<void()>;
  again = [&] {
    ++rounds;
    lanes.post(0, again);
  };
  lanes.post(0, again);
  until([&] { return rounds > 100; });
  lanes.post(1, [&] { ran = true; });
  return within(patience, [&] { return ran.load(); }) ? "the other runs" : "starves";
}

struct report {
  std::string name;
  std::vector<std::string> answers;
};
inline const std::vector<std::string> questions{
    "order of posts by two threads", "a task posts behind a post of another thread",
    "a task throws", "a task waits for its own queue", "destroyed with 500 tasks queued",
    "a lane that is never empty, and another on its thread"};

// Returns: a line of the table.
inline std::string line_of(const report& each) {
  std::string text = "| " + each.name;
  for (const std::string& answer : each.answers) text += " | " + answer;
  return text + " |";
}

struct no_lanes {};

// Returns: the answers of a subject, and of a pair of lanes if there is one.
template <class Subject, class Lanes = no_lanes>
report ask() {
  report all{Subject::name,
             {in_child(order_across_producers<Subject>), in_child(reentrant_post<Subject>),
              in_child(task_that_throws<Subject>), in_child(wait_from_inside<Subject>),
              in_child(destroyed_with_work<Subject>)}};
  if constexpr (std::is_same_v<Lanes, no_lanes>) {
    all.answers.emplace_back("has its own thread");
  } else {
    all.answers.push_back(in_child(starvation<Lanes>));
  }
  return all;
}

}  // namespace probes
