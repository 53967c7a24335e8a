// SPDX-License-Identifier: BSL-1.0
// A million increments by two threads: what arrives at a store that takes its time, and in which
// order.
//
// How many writes that are is no property of a mirror alone: while the source changes, one follows
// the other. So it is the time of the run over the time of a write, or over min_interval where the
// user has set one; the mirror's own part is that there are no more than that. Two runs:
//   back to back  no options: the copy is as fresh as the store allows, and the store always busy
//   1 ms apart    what one sets for a store that has other things to do: this has the goal

#include <interlock/mirror.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
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
  double run_ms = 0;
  double too_many = 0;  // writes beyond one for each time that one takes or has to wait
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

tally by_mirror(std::chrono::microseconds takes, std::chrono::microseconds min_interval) {
  store row;
  std::atomic<std::int64_t> likes{0};
  const auto begin = std::chrono::steady_clock::now();
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
  const std::chrono::duration<double, std::micro> run = std::chrono::steady_clock::now() - begin;
  const auto apart = static_cast<double>(std::max(takes, min_interval).count());
  const double fit = std::floor(run.count() / apart) + 2;  // the first; and the last, at close
  return {row.writes(), row.regressions(), row.behind(likes.load()), run.count() / 1000,
          std::max(0.0, row.writes() - fit)};
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
void add_part(const std::string& name, const char* unit, Count count, double tally::*which) {
  bench::add_figure(name, unit, [=] { return count().*which; });
}

template <class Count>
void add_tally(const std::string& who, Count count) {
  add_part(who + ", writes", "writes", count, &tally::writes);
  add_part(who + ", regressions", "regressions", count, &tally::regressions);
  add_part(who + ", missing at the end", "increments", count, &tally::behind);
}

template <class Count>
void add_mirror(const std::string& who, Count count) {
  add_tally(who, count);
  add_part(who + ", the run", "ms", count, &tally::run_ms);
  add_part(who + ", writes more than fit", "writes", count, &tally::too_many);
}

const bench::contenders here([] {
  using std::chrono::microseconds;
  const std::string job = "mirror/1 000 000 increments/interlock::mirror, writes of 100 us, ";
  add_mirror(job + "1 ms apart", [] {
    static const tally seen = by_mirror(microseconds(100), microseconds(1000));
    return seen;
  });
  add_mirror(job + "back to back", [] {
    static const tally seen = by_mirror(microseconds(100), microseconds(0));
    return seen;
  });
  add_tally("mirror/4000 increments/std::deque of snapshots, 2 writers, writes of 100 us", [] {
    static const tally seen = by_snapshots(microseconds(100));
    return seen;
  });
});

}  // namespace
}  // namespace mirrors
