// SPDX-License-Identifier: BSL-1.0
// A million increments by two threads: what arrives at a store that takes its time, and in which
// order.

#include <interlock/mirror.hpp>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "support/bench.hpp"

namespace mirrors {
namespace {

// The row. Writes to it may be on their way side by side; each takes effect at its end.
class store {
public:
  void write(std::int64_t value, std::chrono::microseconds takes) {
    std::this_thread::sleep_for(takes);
    const std::lock_guard lock(mutex_);
    ++writes_;
    regressions_ += value < value_;
    value_ = value;
  }
  double writes() const { return static_cast<double>(writes_); }
  double regressions() const { return static_cast<double>(regressions_); }
  double behind(std::int64_t newest) const { return static_cast<double>(newest - value_); }

private:
  std::mutex mutex_;
  std::int64_t value_ = 0;
  std::int64_t writes_ = 0;
  std::int64_t regressions_ = 0;
};

struct tally {
  double writes;
  double regressions;
  double behind;  // what the row lacks when all is over
};

// Effects: two threads that call each() so often together.
template <class Each>
void two_producers(int count, Each each) {
  const auto half = [&] {
    for (int i = 0; i < count / 2; ++i) each();
  };
  std::thread other(half);
  half();
  other.join();
}

struct snapshot {
  std::int64_t value;
  std::int64_t version;
};

int increments() { return bench::quick ? 100'000 : 1'000'000; }

tally by_mirror(std::chrono::microseconds takes, std::chrono::nanoseconds min_interval) {
  store row;
  std::atomic<std::int64_t> likes{0};
  {
    const auto read = [&] {
      const std::int64_t now = likes.load();
      return snapshot{now, now};
    };
    const auto save = [&](std::int64_t value, std::int64_t) {
      row.write(value, takes);
      return interlock::mirror_write_result::applied;
    };
    interlock::mirror_options options;
    options.min_interval = min_interval;
    interlock::mirror copy(read, save, options);
    two_producers(increments(), [&] {
      likes.fetch_add(1);
      copy.touch();
    });
  }
  return {row.writes(), row.regressions(), row.behind(likes.load())};
}

// What most code does: a snapshot for each change in a queue, and two threads that write.
tally by_snapshots(std::chrono::microseconds takes) {
  store row;
  std::atomic<std::int64_t> likes{0};
  std::mutex mutex;
  std::condition_variable more;
  std::deque<std::int64_t> queue;
  bool over = false;
  const auto work = [&] {
    for (std::unique_lock lock(mutex);;) {
      more.wait(lock, [&] { return over || !queue.empty(); });
      if (queue.empty()) return;
      const std::int64_t value = queue.front();
      queue.pop_front();
      lock.unlock();
      row.write(value, takes);
      lock.lock();
    }
  };
  std::thread first(work);
  std::thread second(work);
  two_producers(bench::quick ? 200 : 4000, [&] {
    const std::int64_t now = likes.fetch_add(1) + 1;
    {
      const std::lock_guard lock(mutex);
      queue.push_back(now);
    }
    more.notify_one();
  });
  {
    const std::lock_guard lock(mutex);
    over = true;
  }
  more.notify_all();
  first.join();
  second.join();
  return {row.writes(), row.regressions(), row.behind(likes.load())};
}

template <class Count>
void add_tally(const std::string& who, Count count) {
  const auto add = [&](const char* what, const char* unit, double tally::*which) {
    bench::add_figure(who + ", " + what, unit, [=] { return count().*which; });
  };
  add("writes", "writes", &tally::writes);
  add("regressions", "regressions", &tally::regressions);
  add("missing at the end", "increments", &tally::behind);
}

const bench::contenders here([] {
  using std::chrono::microseconds;
  const std::string job = "mirror/1 000 000 increments/interlock::mirror, ";
  add_tally(job + "writes of 100 us", [] {
    static const tally seen = by_mirror(microseconds(100), {});
    return seen;
  });
  add_tally(job + "writes of 1 us, 1 ms apart", [] {
    static const tally seen = by_mirror(microseconds(1), microseconds(1000));
    return seen;
  });
  add_tally("mirror/4000 increments/std::deque of snapshots, 2 writers, writes of 100 us", [] {
    static const tally seen = by_snapshots(microseconds(100));
    return seen;
  });
});

}  // namespace
}  // namespace mirrors
