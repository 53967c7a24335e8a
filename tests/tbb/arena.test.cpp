// SPDX-License-Identifier: BSL-1.0
// A tbb::task_arena is an executor: what it is given runs in it, and never inside the call.

#include <interlock/async_event.hpp>
#include <interlock/detail/any_executor.hpp>

#include <tbb/task_arena.h>

#include <atomic>
#include <future>

#include "support/catch.hpp"
#include "support/detached.hpp"

namespace il = interlock::detail;

namespace {

support::detached resumes_in(interlock::async_manual_reset_event& event, tbb::task_arena& arena,
                             std::promise<int>& place) {
  co_await event.wait().resume_on(arena);
  place.set_value(tbb::this_task_arena::max_concurrency());
}

struct note {
  std::promise<int> place;
  static void run(void* self) noexcept {
    static_cast<note*>(self)->place.set_value(tbb::this_task_arena::max_concurrency());
  }
  static constexpr il::job_actions actions{&run, nullptr};
};

}  // namespace

TEST_CASE("a coroutine goes on in the very arena, not in a copy and not inside the call") {
  STATIC_REQUIRE(interlock::executor<tbb::task_arena>);
  tbb::task_arena arena(7, 0);  // seven at most: the mark by which it is known
  interlock::async_manual_reset_event event;
  std::promise<int> place;
  resumes_in(event, arena, place);
  event.set();
  CHECK(place.get_future().get() == 7);
}

TEST_CASE("the work of a queue goes to the very arena") {
  tbb::task_arena arena(7, 0);
  note work;
  const interlock::any_executor any = arena;
  any.execute(il::job{&note::actions, &work});
  CHECK(work.place.get_future().get() == 7);
}
