// SPDX-License-Identifier: BSL-1.0
// Who is an executor, how each is kept, and what becomes of work that it throws at or drops.

#include <interlock/async_event.hpp>
#include <interlock/detail/any_executor.hpp>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"

namespace il = interlock::detail;

using interlock::any_executor;
using interlock::executor;

namespace {

using job_list = std::vector<std::function<void()>>;

struct by_execute {
  job_list* jobs;
  template <class F>
  void execute(F f) const {
    jobs->push_back(f);
  }
};

// As tbb::task_arena: execute() is synchronous, and a copy is another arena.
struct arena {
  arena() = default;
  arena(const arena&) : copy_of_another(true) {}
  template <class F>
  auto execute(F&& f) -> decltype(f()) {
    ++executed;
    return f();
  }
  template <class F>
  void enqueue(F&& f) {
    jobs.push_back(std::forward<F>(f));
  }

  bool copy_of_another = false;
  int executed = 0;
  job_list jobs;
};

struct loop {  // cannot be copied
  loop() = default;
  loop(const loop&) = delete;
  loop& operator=(const loop&) = delete;
  void execute(std::function<void()> f) { jobs.push_back(std::move(f)); }
  job_list jobs;
};

// Moves what it is given, and lets it go when told.
struct mover {
  using moves_what_it_runs = void;
  template <class F>
  void execute(F f) const {
    static_assert(!std::is_copy_constructible_v<F>);
    if (full) throw std::runtime_error("full");
    *last = std::make_shared<F>(std::move(f));
  }
  std::shared_ptr<void>* last;
  bool full = false;
};

struct heavy {  // more than two pointers, and not trivially copied
  std::shared_ptr<job_list> jobs;
  std::string name;
  template <class F>
  void execute(F f) const {
    jobs->push_back(f);
  }
};

struct wants_an_argument {
  void execute(int) const {}
};

static_assert(executor<by_execute> && executor<arena> && executor<loop> && executor<mover>);
static_assert(executor<heavy> && executor<decltype([](auto&&) {})> && executor<const by_execute&>);
static_assert(executor<std::reference_wrapper<loop>> && executor<std::reference_wrapper<arena>>);
static_assert(executor<std::function<void(std::function<void()>)>>);
static_assert(!executor<int> && !executor<wants_an_argument> && !executor<std::string>);

// Counts its calls and its losses.
struct tally {
  int ran = 0;
  int dropped = 0;
  il::job job() noexcept { return {&actions, this}; }
  static void run(void* self) noexcept { ++static_cast<tally*>(self)->ran; }
  static void drop(void* self) noexcept { ++static_cast<tally*>(self)->dropped; }
  static constexpr il::job_actions actions{&run, &drop};
};

support::detached logs_when_set(interlock::async_manual_reset_event& event, auto& on, int& resumed) {
  co_await event.wait().resume_on(on);
  ++resumed;
}

void run_all(job_list& jobs) {
  for (const std::function<void()>& each : job_list(std::move(jobs))) each();
}

}  // namespace

TEST_CASE("a coroutine goes on where any kind of executor runs it") {
  interlock::async_manual_reset_event event;
  job_list jobs;
  by_execute first{&jobs};
  arena second;
  loop third;
  auto fourth = std::ref(third);
  const auto fifth = [&](auto job) { jobs.push_back(job); };
  const std::function<void(std::function<void()>)> sixth = fifth;
  int resumed = 0;
  logs_when_set(event, first, resumed);
  logs_when_set(event, second, resumed);
  logs_when_set(event, third, resumed);
  logs_when_set(event, fourth, resumed);
  logs_when_set(event, fifth, resumed);
  logs_when_set(event, sixth, resumed);
  event.set();
  CHECK(resumed == 0);
  CHECK(jobs.size() == 3);
  CHECK(second.jobs.size() == 1);
  CHECK(second.executed == 0);
  CHECK(third.jobs.size() == 2);
  run_all(jobs);
  run_all(second.jobs);
  run_all(third.jobs);
  CHECK(resumed == 6);
}

TEST_CASE("an arena is taken by reference and through enqueue") {
  arena here;
  using kept = il::kept_executor<arena&>;
  STATIC_REQUIRE(std::is_same_v<kept::type, il::executor_reference<arena>>);
  CHECK(kept::of(here).to == &here);
  any_executor any = here;
  tally work;
  any.execute(work.job());
  CHECK(work.ran == 0);
  REQUIRE(here.jobs.size() == 1);
  here.jobs[0]();
  CHECK(work.ran == 1);
  CHECK(here.executed == 0);
}

TEST_CASE("any_executor: any executor fits, or none") {
  CHECK_FALSE(any_executor());
  job_list jobs;
  loop own;
  const heavy shared{std::make_shared<job_list>(), std::string(40, 'x')};
  const std::vector<any_executor> all{by_execute{&jobs}, own, std::ref(own), shared,
                                      [&](auto job) { jobs.push_back(job); }};
  tally work;
  for (const any_executor& each : all) {
    CHECK(each);
    each.execute(work.job());
  }
  CHECK(jobs.size() == 2);
  CHECK(own.jobs.size() == 2);
  CHECK(shared.jobs->size() == 1);
  run_all(jobs);
  run_all(own.jobs);
  run_all(*shared.jobs);
  CHECK(work.ran == 5);
}

TEST_CASE("any_executor: copies are the same executor, which goes with the last of them") {
  auto jobs = std::make_shared<job_list>();
  {
    any_executor first = heavy{jobs, "name"};
    CHECK(jobs.use_count() == 2);
    any_executor second = first;
    CHECK(jobs.use_count() == 2);
    any_executor third;
    third = second;
    first = any_executor();
    CHECK_FALSE(first);
    const any_executor fourth = std::move(second);
    tally work;
    third.execute(work.job());
    fourth.execute(work.job());
    CHECK(jobs->size() == 2);
    run_all(*jobs);
    CHECK(work.ran == 2);
    CHECK(jobs.use_count() == 2);
  }
  CHECK(jobs.use_count() == 1);
}

TEST_CASE("any_executor: to copy it and to hand work over allocates nothing") {
  STATIC_REQUIRE(sizeof(any_executor) == 3 * sizeof(void*));
  STATIC_REQUIRE(sizeof(il::job) <= 2 * sizeof(void*));
  if (!support::counts_allocations) return;
  int ran = 0;
  const any_executor small = [&ran](const auto& job) {
    const std::function<void()> held = job;  // as many a loop keeps it
    held();
    ++ran;
  };
  const any_executor big = heavy{std::make_shared<job_list>(), std::string(40, 'x')};
  tally work;
  const std::size_t before = support::allocations();
  const any_executor copy_of_small = small;
  const any_executor copy_of_big = big;
  copy_of_small.execute(work.job());
  CHECK(support::allocations() == before);
  CHECK(work.ran == 1);
  CHECK(ran == 1);
}

TEST_CASE("an executor that throws has not taken the job") {
  tally work;
  const any_executor throws = [](auto) { throw std::runtime_error("full"); };
  CHECK_THROWS_AS(throws.execute(work.job()), std::runtime_error);
  CHECK(work.ran == 0);
  CHECK(work.dropped == 0);
  std::shared_ptr<void> last;
  const any_executor moves = mover{&last, true};
  CHECK_THROWS_AS(moves.execute(work.job()), std::runtime_error);
  CHECK(work.dropped == 1);  // told before the throw
  CHECK(work.ran == 0);

  interlock::async_manual_reset_event event;
  const auto full = [](auto) { throw std::runtime_error("full"); };
  int resumed = 0;
  logs_when_set(event, full, resumed);
  event.set();
  CHECK(resumed == 1);  // here: nothing is lost
}

TEST_CASE("one that moves what it runs tells when it drops that") {
  tally work;
  std::shared_ptr<void> last;
  const any_executor moves = mover{&last};
  moves.execute(work.job());
  CHECK(work.dropped == 0);
  last = nullptr;
  CHECK(work.dropped == 1);
  CHECK(work.ran == 0);

  moves.execute(work.job());
  (*std::static_pointer_cast<il::moving_job>(last))();
  last = nullptr;
  CHECK(work.ran == 1);
  CHECK(work.dropped == 1);
}

TEST_CASE("a job that is copied tells nothing when it is dropped") {
  job_list jobs;
  tally work;
  const any_executor copies = by_execute{&jobs};
  copies.execute(work.job());
  jobs.clear();
  CHECK(work.dropped == 0);
  CHECK(work.ran == 0);
}
