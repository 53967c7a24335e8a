// SPDX-License-Identifier: BSL-1.0
// The queue under every waiting type, and the awaiter on top of it: who decides how a wait ends,
// and where the coroutine goes on.

#include <interlock/detail/ring.hpp>
#include <interlock/detail/wait_queue.hpp>
#include <interlock/detail/waiting.hpp>

#include <coroutine>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/permits.hpp"
#include "support/stopping.hpp"

namespace il = interlock::detail;

using interlock::wait_status;
using support::permits;

namespace {

// An executor that keeps what it is given until told to run it.
struct later {
  std::vector<std::function<void()>>* jobs;
  template <class F>
  void execute(F f) const {
    jobs->push_back(f);
  }
};

template <class Wait>
support::detached logs(Wait wait, std::vector<std::string>& log, std::string name) {
  const wait_status how = co_await wait();
  log.push_back(name + " " + to_string(how));
}

}  // namespace

TEST_CASE("an executor resumes the coroutine, and may have it destroyed before execute returns") {
  permits from;
  std::vector<std::function<void()>> jobs;
  std::vector<std::string> log;
  logs([&] { return from.take().resume_on(later{&jobs}); }, log, "a");
  from.give();
  CHECK(log.empty());
  REQUIRE(jobs.size() == 1);
  jobs[0]();
  CHECK(log == std::vector<std::string>{"a acquired"});

  const auto at_once = [](auto f) { f(); };  // the frame is gone when it returns
  logs([&] { return from.take().resume_on(at_once); }, log, "b");
  from.give();
  CHECK(log == std::vector<std::string>{"a acquired", "b acquired"});
}

TEST_CASE("an executor that throws loses nothing: the coroutine goes on where it was let in") {
  permits from;
  std::vector<std::string> log;
  const auto full = [](auto) { throw std::runtime_error("full"); };
  logs([&] { return from.take().resume_on(full); }, log, "a");
  from.give();
  CHECK(log == std::vector<std::string>{"a acquired"});
}
