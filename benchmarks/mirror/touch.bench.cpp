// SPDX-License-Identifier: BSL-1.0
// What a producer pays for a copy that follows.

#include <interlock/keyed_mirror.hpp>
#include <interlock/mirror.hpp>

#include <thread>

#include "support/yardsticks.hpp"

namespace mirrors {
namespace {

struct snapshot {
  std::int64_t value;
  std::int64_t version;
};

struct reads {
  std::atomic<std::int64_t>* from;
  snapshot operator()() const {
    const std::int64_t now = from->load();
    return {now, now};
  }
};

// A write that ends with the contender: so a write is due all the time.
struct never_done {
  std::atomic<bool>* over;
  interlock::mirror_write_result operator()(std::int64_t, std::int64_t) const {
    over->wait(false);
    return interlock::mirror_write_result::applied;
  }
};

// A store that takes its time.
struct slow {
  interlock::mirror_write_result operator()(std::int64_t, std::int64_t) const {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    return interlock::mirror_write_result::applied;
  }
};

struct touch_when_due {
  alignas(64) std::atomic<std::int64_t> likes{0};
  alignas(64) std::atomic<bool> over{false};
  interlock::mirror<reads, never_done> copy{reads{&likes}, never_done{&over}};

  touch_when_due() {
    copy.touch();
    while (copy.statistics().touches == 0) std::this_thread::yield();
    copy.touch();
  }
  ~touch_when_due() {
    over.store(true);
    over.notify_all();
  }
  void operator()(unsigned) {
    likes.fetch_add(1);
    copy.touch();
  }
};

// The same by one of many keys, whose place in the table is known.
struct keyed_touch_when_due {
  alignas(64) std::atomic<std::int64_t> likes{0};
  alignas(64) std::atomic<bool> over{false};
  interlock::keyed_mirror<int, std::int64_t, std::int64_t> rows{
      [this](int) { return reads{&likes}(); },
      [this](int, std::int64_t value, std::int64_t version) {
        return never_done{&over}(value, version);
      }};
  decltype(rows.pin(0)) row = rows.pin(0);

  keyed_touch_when_due() {
    row.touch();
    row.touch();
  }
  ~keyed_touch_when_due() {
    over.store(true);
    over.notify_all();
  }
  void operator()(unsigned) {
    likes.fetch_add(1);
    row.touch();
  }
};

struct touch {
  alignas(64) std::atomic<std::int64_t> likes{0};
  interlock::mirror<reads, slow> copy{reads{&likes}, slow{}};
  void operator()(unsigned) {
    likes.fetch_add(1);
    copy.touch();
  }
};

// What one load behind the increment costs: the price under which no touch can be.
struct add_and_look {
  alignas(64) std::atomic<std::int64_t> likes{0};
  alignas(64) std::atomic<std::uint32_t> due{1};
  void operator()(unsigned) {
    likes.fetch_add(1);
    if (due.load(std::memory_order_acquire) == 0) due.store(1);
  }
};

// Every increment is written, under a mutex that keeps the order.
struct write_through {
  std::mutex mutex;
  std::int64_t likes = 0;
  void operator()(unsigned) {
    const std::lock_guard lock(mutex);
    ++likes;
    slow()(likes, likes);
  }
};

const bench::contenders here([] {
  const std::string job = "mirror/increment and touch/";
  bench::add<yardstick::atomic_fetch_add>(job + "std::atomic fetch_add, no copy");
  bench::add<add_and_look>(job + "std::atomic fetch_add and a load");
  bench::add<touch_when_due>(job + "interlock::mirror, a write is due");
  bench::add<keyed_touch_when_due>(job + "interlock::keyed_mirror handle, a write is due");
  bench::add<touch>(job + "interlock::mirror, writes of 100 us");
  bench::add<write_through>(job + "std::mutex, written through, 100 us");
});

}  // namespace
}  // namespace mirrors
