// SPDX-License-Identifier: BSL-1.0
// keyed_mirror, merging_mirror and fill_leases in every execution: no touch is missed while a key
// is being forgotten, no batch counts twice, no outdated fill passes.
//
// The line that all mirrors share has its proofs in mirror.model.cpp.

#include "testing/front.hpp"

#include <interlock/detail/futex_mutex.hpp>
#include <interlock/fill_leases.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/keyed_mirror.hpp>
#include <interlock/merging_mirror.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

#include "support/detached.hpp"

using interlock::mirror_flush_result;
using interlock::mirror_version;
using interlock::mirror_write_result;
using testing::world;

namespace {

struct refused {};

struct held {
  int value;
  int version;
};

using mirror_type = interlock::keyed_mirror<int, int, int>;

// An executor that refuses leaves the work to who asked.
mirror_type::options by_touchers(std::uint32_t parallel = 1) {
  mirror_type::options how;
  how.parallel = parallel;
  how.delay = [](std::size_t) { return std::chrono::nanoseconds(0); };
  how.schedule = [](std::chrono::nanoseconds, const std::function<void()>&) { throw refused(); };
  return how;
}

// One key of a table: plain, so a race if two writes are in flight.
struct office {
  explicit office(int failing = 0)
      : to_fail(failing),
        rows([this](int) { return read(); }, [this](int, int v, int of) { return write(v, of); },
             by_touchers()) {}

  held read() const {
    const int now = likes.load(rlx);
    return {now, now};
  }
  mirror_write_result write(int v, int version) {
    if (to_fail-- > 0) return mirror_write_result::failed;
    testing::check(version >= value, "the target never goes back");
    value = v;
    confirmed.store(v, rlx);
    return mirror_write_result::applied;
  }
  // For finally: all is sent, and nothing is kept.
  void expect(int total) {
    testing::check(value == total, "after a touch a write reads what the source held");
    testing::check(rows.known_keys_approx() == 0, "a clean key takes no memory");
  }

  std::atomic<int> likes{0};
  int value = 0;
  int to_fail = 0;
  std::atomic<int> confirmed{0};
  mirror_type rows;
};

void touches(world& w, int threads, int rounds, int failing) {
  auto* const o = new office(failing);
  w.threads(static_cast<unsigned>(threads), [o, rounds] {
    for (int i = 0; i < rounds; ++i) {
      o->likes.fetch_add(1, rlx);
      testing::check(o->rows.touch(7), "open");
    }
  });
  w.finally([o, threads, rounds] {
    o->expect(threads * rounds);
    delete o;
  });
}

// A handle comes and goes beside a touch.
void pins(world& w) {
  auto* const o = new office;
  w.thread([o] {
    auto pinned = o->rows.pin(7);
    o->likes.fetch_add(1, rlx);
    testing::check(pinned.touch(), "open");
  });
  w.thread([o] {
    o->likes.fetch_add(1, rlx);
    testing::check(o->rows.touch(7), "open");
  });
  w.finally([o] {
    o->expect(2);
    delete o;
  });
}

// A flush beside a touch.
void flushes(world& w) {
  auto* const o = new office;
  w.thread([o] {
    const int mine = o->likes.fetch_add(1, rlx) + 1;
    testing::check(o->rows.flush(7) == mirror_flush_result::flushed, "flushed");
    testing::check(o->confirmed.load(rlx) >= mine, "the target has confirmed it");
  });
  w.thread([o] {
    o->likes.fetch_add(1, rlx);
    o->rows.touch(7);
  });
  w.finally([o] {
    o->expect(2);
    delete o;
  });
}

// A coroutine that waits for a version is called off as the write that carries it ends.
void stops(world& w) {
  struct all : office {
    interlock::inplace_stop_source source;
    int answers = 0;
  };
  auto* const o = new all;
  const auto waits = [](all* of, world* at) -> support::detached {
    const auto said = co_await of->rows.async_flush(7, 1, of->source.get_token());
    ++of->answers;
    at->outcome(said == mirror_flush_result::cancelled);
  };
  waits(o, &w);  // no such version yet
  w.thread([o] {
    o->likes.fetch_add(1, rlx);
    o->rows.touch(7);
  });
  w.thread([o] { o->source.request_stop(); });
  w.finally([o] {
    testing::check(o->answers == 1, "one end");
    o->expect(1);
    delete o;
  });
}

void closes(world& w) {
  auto* const o = new office;
  std::atomic<bool> accepted{false};
  w.thread([&, o] {
    o->likes.fetch_add(1, rlx);
    accepted.store(o->rows.touch(7), rlx);
  });
  w.thread([o] {
    testing::check(o->rows.close().empty(), "the target has the last value");
    testing::check(!o->rows.touch(7), "refused");
  });
  w.finally([&, o] {
    testing::check(!accepted.load(rlx) || o->value == 1, "what was accepted is sent");
    w.outcome(accepted.load(rlx));
    delete o;
  });
}

// ---- updates that add up ------------------------------------------------------------------------

using sums = interlock::merging_mirror<int, int>;

struct ledger {
  explicit ledger(mirror_write_result first_answer, std::uint32_t parallel = 1)
      : first(first_answer),
        rows([this](int key, int n, const mirror_version& of) {
               return key == 7 ? add(n, of) : mirror_write_result::applied;
             },
             [](int& sum, int&& more) { sum += more; }, by_touchers(parallel), 1) {}

  mirror_write_result add(int n, const mirror_version& of) {
    const auto answer = std::exchange(first, mirror_write_result::applied);
    if (answer == mirror_write_result::failed) return answer;
    if (!(version < of)) return mirror_write_result::stale;
    version = of;
    total += n;
    return answer;
  }

  mirror_write_result first;
  int total = 0;
  mirror_version version{};
  sums rows;
};

void adds(world& w, mirror_write_result first) {
  auto* const l = new ledger(first);
  w.threads(2, [l] { testing::check(l->rows.touch(7, 1), "open"); });
  w.finally([l] {
    testing::check(l->total == 2, "each update counts once");
    testing::check(l->rows.known_keys_approx() == 0, "a clean key takes no memory");
    delete l;
  });
}

// Another key's batches take numbers meanwhile.
void numbers(world& w) {
  auto* const l = new ledger(mirror_write_result::applied, 2);
  w.thread([l] {
    for (int i = 0; i < 3; ++i) l->rows.touch(7, 1);
  });
  w.thread([l] { l->rows.touch(8, 1); });
  w.finally([l] {
    testing::check(l->total == 3, "each update counts once");
    delete l;
  });
}

// Each batch has a number of its own, whatever its key.
void numbers_differ(world& w) {
  struct scene {
    mirror_version of[2];
    sums rows{[this](int key, int, const mirror_version& version) {
                of[key] = version;
                return mirror_write_result::applied;
              },
              [](int& sum, int&& more) { sum += more; }, by_touchers(2), 1};
  };
  auto* const s = new scene;
  for (const int key : {0, 1}) {
    w.thread([s, key] { s->rows.touch(key, 1); });
  }
  w.finally([s] {
    testing::check(s->of[0] != s->of[1], "no other batch has its number");
    delete s;
  });
}

// ---- caches that readers fill -------------------------------------------------------------------

void fills(world& w, bool leased) {
  struct scene {
    std::atomic<int> store{1};
    interlock::detail::futex_mutex mutex;
    int cache = 0;  // 0: nothing
    interlock::fill_leases<int> leases{1};
    void put(int value) {
      const std::lock_guard lock(mutex);
      cache = value;
    }
  };
  auto* const s = new scene;
  w.thread([s, leased] {
    const auto lease = s->leases.take(7);
    const int read = s->store.load(rlx);
    if (leased) {
      s->leases.fill(lease, [&] { s->put(read); });
    } else {
      s->put(read);
    }
  });
  w.thread([s] {
    s->store.store(2, rlx);
    s->leases.invalidate(7, [&] { s->put(0); });
  });
  w.finally([&w, s] {
    testing::check(s->cache != 1, "nothing outdated stays in the cache");
    w.outcome(s->cache);
    delete s;
  });
}

// ---- what others do -----------------------------------------------------------------------------

// "Clean" is set when the write is done, with what came meanwhile.
void clears_after_the_write(world& w) {
  std::atomic<int> likes{1};
  std::atomic<bool> dirty{true};
  int row = 0;
  w.thread([&] {
    row = likes.load(acq);
    dirty.store(false, rel);
  });
  w.thread([&] {
    likes.fetch_add(1, ar);
    dirty.store(true, rel);
  });
  w.finally([&] { testing::check(dirty.load(rlx) || row == 2, "a touch is not lost"); });
}

// The flag is forgotten with its key by who found it clean, after somebody has set it again.
void forgets_what_is_dirty(world& w) {
  interlock::detail::futex_mutex mutex;
  std::atomic<int> likes{0};
  bool known = true;
  bool dirty = false;
  int row = 0;
  w.thread([&] {
    {
      const std::lock_guard lock(mutex);
      if (dirty) return;
    }
    const std::lock_guard lock(mutex);
    known = false;
  });
  w.thread([&] {
    likes.fetch_add(1, rlx);
    const std::lock_guard lock(mutex);
    dirty = true;
  });
  w.finally([&] {
    if (known && dirty) row = likes.load(rlx);
    testing::check(row == 1, "a touch is not lost");
  });
}

constexpr auto applied = mirror_write_result::applied;

}  // namespace

TEST_CASE("keyed_mirror: no touch is missed as a key is forgotten, and nothing is kept") {
  proved([](world& w) { touches(w, 2, 1, 0); }, whole_waits());
  proved([](world& w) { touches(w, 2, 1, 1); }, whole_waits());
  proved(pins, whole_waits());
}

TEST_CASE("keyed_mirror: three threads touch a key, and two do so twice", "[.deep]") {
  proved([](world& w) { touches(w, 3, 1, 0); }, whole_waits());
  proved([](world& w) { touches(w, 2, 2, 0); }, whole_waits());
}

TEST_CASE("keyed_mirror: a flush has one end") {
  proved(flushes, whole_waits());
  CHECK(joined(seen(proved(stops, whole_waits()))) == "0, 1");
}

TEST_CASE("keyed_mirror: closing sends what was accepted") {
  CHECK(joined(seen(proved(closes, whole_waits()))) == "0, 1");
}

TEST_CASE("merging_mirror: each update counts once, whatever the first write's fate") {
  proved([](world& w) { adds(w, applied); }, whole_waits());
  proved([](world& w) { adds(w, mirror_write_result::unknown); }, whole_waits());
  proved([](world& w) { adds(w, mirror_write_result::failed); }, whole_waits());
}

TEST_CASE("merging_mirror: batches of two keys at once have different numbers") {
  proved(numbers_differ, whole_waits());
}

TEST_CASE("merging_mirror: batches of a key have numbers that grow", "[.deep]") {
  proved(numbers, whole_waits());
}

TEST_CASE("fill_leases: nothing outdated stays in the cache") {
  CHECK(joined(seen(proved([](world& w) { fills(w, true); }, whole_waits()))) == "0, 2");
  const auto bare = failing([](world& w) { fills(w, false); });
  CHECK(bare.failure.find("nothing outdated stays in the cache") != std::string::npos);
}

TEST_CASE("mirrors: a flag that is cleared after the write, or forgotten with its key, is found") {
  for (const auto& naive : {clears_after_the_write, forgets_what_is_dirty}) {
    const auto report = failing(naive);
    CHECK(report.failure.find("a touch is not lost") != std::string::npos);
  }
}

TEST_CASE("keyed_mirror: mutants", "[.mutants]") {
  testing::mutation_options how;
  how.how = whole_waits();
  mutants({[](world& w) { fills(w, true); }, [](world& w) { touches(w, 2, 1, 0); },
           [](world& w) { adds(w, applied); },
           [](world& w) { adds(w, mirror_write_result::unknown); }, pins, flushes, closes, stops,
           numbers_differ},
          how);
}
