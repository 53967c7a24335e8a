// SPDX-License-Identifier: BSL-1.0
// What merging_mirror promises. The target adds up what it is sent, and tells batches by version.

#include <interlock/merging_mirror.hpp>
#include <interlock/task.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/detached.hpp"
#include "support/jobs_by_hand.hpp"
#include "support/threads.hpp"

using interlock::merging_mirror;
using interlock::mirror_flush_result;
using interlock::mirror_version;
using interlock::mirror_write_result;
using support::ends_here;
using support::jobs_by_hand;

namespace {

using words = merging_mirror<int, std::string>;

struct bench {
  std::map<int, std::string> table;
  std::map<int, mirror_version> version;
  std::vector<mirror_write_result> answers;  // to come, instead of applied
  std::vector<std::string> batches;
  std::vector<mirror_version> versions;
  std::function<void()> during = [] {};
  jobs_by_hand jobs;

  auto target() {
    return [this](int key, const std::string& update, const mirror_version& of) {
      batches.push_back(update);
      versions.push_back(of);
      during();
      mirror_write_result answer = mirror_write_result::applied;
      if (!answers.empty()) {
        answer = answers.front();
        answers.erase(answers.begin());
      }
      if (answer == mirror_write_result::failed) return answer;
      if (!(version[key] < of)) return mirror_write_result::stale;
      version[key] = of;
      table[key] += update;
      return answer;
    };
  }
  static auto merge() {
    return [](std::string& into, std::string&& newer) { into += newer; };
  }
  words::options options() {
    words::options chosen;
    chosen.attempts = 2;
    chosen.delay = [](std::size_t) { return std::chrono::seconds(1); };
    chosen.schedule = jobs.schedule();
    chosen.now = jobs.clock();
    return chosen;
  }
};

}  // namespace

TEST_CASE("Updates of a key that wait are merged in the order of their touches") {
  bench on;
  words all(on.target(), bench::merge(), on.options());
  const ends_here end{on.jobs};
  for (const char* each : {"a", "b", "c"}) CHECK(all.touch(1, each));
  all.touch(2, "x");
  on.jobs.run_all();
  CHECK(on.batches == std::vector<std::string>{"abc", "x"});
  CHECK(all.known_keys_approx() == 0);
}

TEST_CASE("At most one batch of a key is in flight") {
  bench on;
  words all(on.target(), bench::merge(), on.options());
  const ends_here end{on.jobs};
  int left = 3;
  on.during = [&] {
    if (left-- > 0) all.touch(1, "n");
    if (left-- > 0) all.touch(1, "m");
  };
  all.touch(1, "a");
  on.jobs.run_all();
  CHECK(on.batches == std::vector<std::string>{"a", "nm", "n"});
  CHECK(on.table[1] == "anmn");
}

TEST_CASE("A batch whose fate is unknown is sent again as it was under the same version") {
  bench on;
  words all(on.target(), bench::merge(), on.options());
  const ends_here end{on.jobs};
  on.answers = {mirror_write_result::unknown};  // applied, and the reply was lost
  all.touch(1, "a");
  on.jobs.run_one();
  all.touch(1, "b");
  on.jobs.run_all();
  CHECK(on.batches == std::vector<std::string>{"a", "a", "b"});
  CHECK(on.versions[0] == on.versions[1]);
  CHECK(on.versions[1] < on.versions[2]);
  CHECK(on.table[1] == "ab");  // not "aab"
}

TEST_CASE("a failure behind a time-out does not tell the fate of the batch") {
  bench on;
  words all(on.target(), bench::merge(), on.options());
  const ends_here end{on.jobs};
  on.answers = {mirror_write_result::unknown, mirror_write_result::failed};
  all.touch(1, "a");
  on.jobs.run_one();  // applied, and the reply was lost
  all.touch(1, "b");
  on.jobs.run_all();
  CHECK(on.batches == std::vector<std::string>{"a", "a", "a", "b"});
  CHECK(on.table[1] == "ab");
}

TEST_CASE("negative control: a batch that grows while its fate is unknown counts twice") {
  bench on;
  words all(on.target(), bench::merge(), on.options());
  const ends_here end{on.jobs};
  all.touch(1, "a");  // applied, and the reply was lost:
  on.jobs.run_all();
  all.touch(1, "a");  // so the naive form merges it with what came since
  all.touch(1, "b");
  on.jobs.run_all();
  CHECK(on.table[1] == "aab");
}

TEST_CASE("A batch that was not applied is merged with what came since") {
  bench on;
  words all(on.target(), bench::merge(), on.options());
  const ends_here end{on.jobs};
  on.answers = {mirror_write_result::failed};
  on.during = [&, first = true]() mutable {
    if (std::exchange(first, false)) all.touch(1, "b");
  };
  all.touch(1, "a");
  on.jobs.run_all();
  CHECK(on.batches == std::vector<std::string>{"a", "ab"});
  CHECK(on.table[1] == "ab");
}

TEST_CASE("a batch that was never sent before and is stale is no success") {
  bench on;
  std::vector<interlock::mirror_failure> surfaced;
  auto options = on.options();
  options.on_failure = [&](int, const interlock::mirror_failure& f) { surfaced.push_back(f); };
  words all(on.target(), bench::merge(), options, 1);
  const ends_here end{on.jobs};
  on.version[1] = {2, 7};  // of a process whose clock was ahead
  all.touch(1, "a");
  on.jobs.run_one();
  on.jobs.run_one();
  REQUIRE(surfaced.size() == 1);
  CHECK(surfaced[0].result == mirror_write_result::stale);
  on.answers = {mirror_write_result::unknown};
  all.touch(1, "b");
  on.jobs.run_one();
  on.jobs.run_one();  // stale again: nobody knows of a time when it was applied
  CHECK(all.statistics().stale == 0);
  on.jobs.open = false;
  const auto given = all.close();
  REQUIRE(given.size() == 1);
  CHECK(given[0].unknown == "a");
  CHECK(given[0].waiting == "b");
  CHECK(on.table[1].empty());
}

TEST_CASE("what a batch in doubt has settled is told apart from the next one") {
  bench on;
  int surfaced = 0;
  auto options = on.options();
  options.on_failure = [&](int, const interlock::mirror_failure&) { ++surfaced; };
  words all(on.target(), bench::merge(), options);
  const ends_here end{on.jobs};
  const auto never = mirror_write_result::failed;
  on.answers = {never, mirror_write_result::applied, never};
  all.touch(1, "a");
  on.answers.front() = mirror_write_result::unknown;
  on.jobs.run_one();
  all.touch(1, "b");
  CHECK(on.jobs.run_all() == 3);  // a again, b, b again
  CHECK(on.batches == std::vector<std::string>{"a", "a", "b", "b"});
  CHECK(surfaced == 0);  // never twice in a row
  CHECK(all.statistics().writes + all.statistics().stale == 2);
  CHECK(on.table[1] == "ab");
}

// A key whose copies run out.
struct scarce {
  explicit scarce(int n) : number(n) {}
  scarce(const scarce& other) : number(other.number) {
    if (copies-- <= 0) throw std::bad_alloc();
  }
  scarce(scarce&&) = default;
  scarce& operator=(scarce&&) = default;
  bool operator==(const scarce&) const = default;
  int number;
  inline static int copies = 1000;
};
struct hash_of_scarce {
  std::size_t operator()(const scarce& key) const { return static_cast<std::size_t>(key.number); }
};

TEST_CASE("closing that runs out of memory loses none of what it gives back") {
  jobs_by_hand jobs;
  using table = merging_mirror<scarce, int, hash_of_scarce>;
  table::options how;
  how.schedule = jobs.schedule();
  table all([](const scarce&, int, const mirror_version&) { return mirror_write_result::applied; },
            [](int& sum, int&& more) { sum += more; }, how);
  const ends_here end{jobs};
  for (int key = 0; key < 10; ++key) all.touch(scarce(key), 1);
  scarce::copies = 6;
  const auto now = std::chrono::steady_clock::now();
  CHECK_THROWS_AS(all.close_until(now), std::bad_alloc);
  scarce::copies = 1000;
  CHECK(all.close().size() == 10);
}

TEST_CASE("Closing gives back each batch that is not confirmed") {
  bench on;
  words all(on.target(), bench::merge(), on.options());
  const ends_here end{on.jobs};
  const auto unknown = mirror_write_result::unknown;
  all.touch(2, "fine");
  on.jobs.run_all();
  CHECK(on.table[2] == "fine");
  all.touch(3, "lost");
  on.answers = {unknown, unknown, unknown, unknown};
  on.during = [&, first = true]() mutable {
    on.version[3] = {};  // as if nothing was applied
    if (std::exchange(first, false)) all.touch(3, "more");
  };
  on.jobs.run_one();
  on.jobs.open = false;  // closing sends here, and gives up after two failures in a row
  const auto left = all.close();
  REQUIRE(left.size() == 1);
  CHECK(left[0].key == 3);
  CHECK(left[0].unknown == "lost");
  CHECK(left[0].waiting == "more");
  CHECK_FALSE(left[0].in_flight);
  CHECK(all.close().empty());  // it was given away
  std::string kept = "kept";
  CHECK_FALSE(all.touch(3, std::move(kept)));
  CHECK(kept == "kept");  // NOLINT: refused, so not moved from
}

TEST_CASE("Each update that touch accepted is part of exactly one batch") {
  using sums = merging_mirror<int, std::uint64_t>;
  std::map<int, std::uint64_t> table;
  std::map<int, mirror_version> version;
  std::mt19937 random(7);
  const std::size_t each = support::rounds(20'000);
  {
    std::mutex guard;
    sums::options options;
    options.parallel = 2;
    options.delay = [](std::size_t) { return std::chrono::microseconds(5); };
    sums all(
        [&](int key, std::uint64_t n, const mirror_version& of) {
          const std::lock_guard lock(guard);
          const auto dice = random() % 4;
          if (dice == 0) return mirror_write_result::failed;
          if (!(version[key] < of)) return mirror_write_result::stale;
          if (dice == 1) return mirror_write_result::unknown;  // not applied, and may not be
          version[key] = of;
          table[key] += n;
          if (dice == 2) throw std::runtime_error("the reply was lost");
          return mirror_write_result::applied;
        },
        [](std::uint64_t& sum, std::uint64_t&& more) { sum += more; }, std::move(options));
    support::run_threads(3, [&](std::size_t) {
      for (std::size_t i = 0; i < each; ++i) all.touch(static_cast<int>(i % 5), 1);
    });
    for (int key = 0; key < 5; ++key) {
      while (all.flush(key) != mirror_flush_result::flushed) {
      }
    }
    CHECK(all.close().empty());
  }
  std::uint64_t sum = 0;
  for (const auto& [key, n] : table) sum += n;
  CHECK(sum == 3 * each);
}

TEST_CASE("an update that throws as it moves leaves no key behind") {
  struct heavy {
    heavy() = default;
    heavy(heavy&&) { throw std::runtime_error("too heavy"); }
    heavy(const heavy&) = default;
    heavy& operator=(heavy&&) = default;
    heavy& operator=(const heavy&) = default;
  };
  jobs_by_hand jobs;
  merging_mirror<int, heavy>::options how;
  how.schedule = jobs.schedule();
  merging_mirror<int, heavy> all(
      [](int, const heavy&, const mirror_version&) { return mirror_write_result::applied; },
      [](heavy&, heavy&&) {}, how);
  const ends_here end{jobs};
  CHECK_THROWS_AS(all.touch(1, heavy()), std::runtime_error);
  CHECK(all.known_keys_approx() == 0);
  CHECK(jobs.line.empty());
}

TEST_CASE("updates without a merge function are refused") {
  bench on;
  CHECK_THROWS_AS(words(on.target(), nullptr), std::invalid_argument);
}

TEST_CASE("a flush of updates is answered by the batch that they are in") {
  bench on;
  words all(on.target(), bench::merge(), on.options());
  const ends_here end{on.jobs};
  on.answers = {mirror_write_result::unknown};
  all.touch(1, "a");
  on.jobs.run_one();
  all.touch(1, "b");
  std::string at_answer;
  const auto flush = [](words& from, bench& seen, std::string& then) -> support::detached {
    const auto said = co_await from.async_flush(1);
    if (said == mirror_flush_result::flushed) then = seen.table[1];
  };
  flush(all, on, at_answer);
  on.jobs.run_all();
  CHECK(at_answer == "ab");
}
