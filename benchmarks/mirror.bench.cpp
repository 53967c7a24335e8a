// SPDX-License-Identifier: BSL-1.0
#include <interlock/mirror.hpp>
#include <interlock/versioned.hpp>

#include "support/yardsticks.hpp"

namespace {

struct snapshot {
  std::int64_t value;
  std::int64_t version;
};

// An increment and a touch; the target takes its time, as a store does.
struct touched_increment {
  std::atomic<std::int64_t> likes{0};
  std::atomic<std::int64_t> stored{0};
  struct read {
    std::atomic<std::int64_t>& likes;
    snapshot operator()() const {
      const std::int64_t now = likes.load();
      return {now, now};
    }
  };
  struct write {
    std::atomic<std::int64_t>& stored;
    interlock::mirror_write_result operator()(std::int64_t value, std::int64_t) const {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      stored.store(value);
      return interlock::mirror_write_result::applied;
    }
  };
  interlock::mirror<read, write> copy{read{likes}, write{stored}};
};

struct touch : touched_increment {
  void operator()(unsigned) {
    likes.fetch_add(1);
    copy.touch();
  }
};


// The cure without conflation: every increment is written, under a mutex that keeps the order.
struct write_through_mutex {
  std::mutex mutex;
  std::int64_t likes = 0;
  std::int64_t stored = 0;
  void operator()(unsigned) {
    const std::lock_guard lock(mutex);
    ++likes;
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    benchmark::DoNotOptimize(stored = likes);
  }
};

}  // namespace

int main(int argc, char** argv) {
  bench::add<yardstick::atomic_fetch_add>("mirror/std::atomic increment alone");
  bench::add<touch>("mirror/increment and touch");
  bench::add<write_through_mutex>("mirror/write through, std::mutex");
  return bench::run(argc, argv);
}
