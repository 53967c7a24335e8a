// SPDX-License-Identifier: BSL-1.0
// when_all on one thread.

#include <interlock/when_all.hpp>

#include <coroutine>
#include <cstddef>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/detached.hpp"
#include "support/small_stack.hpp"
#include "support/threads.hpp"

using interlock::reschedule;
using interlock::sync_wait;
using interlock::task;
using interlock::when_all;

using support::detached;

namespace {

task<int> square_later(int value, std::vector<std::string>& log) {
  log.push_back("start " + std::to_string(value));
  for (int i = value; i < 3; ++i) co_await reschedule();  // the first one ends last
  log.push_back("end " + std::to_string(value));
  co_return value * value;
}

task<int> fail_later(std::string why, int after, int& ended) {
  for (int i = 0; i < after; ++i) co_await reschedule();
  ++ended;
  throw std::runtime_error(why);
}

task<int> succeed_later(int after, int& ended) {
  for (int i = 0; i < after; ++i) co_await reschedule();
  ++ended;
  co_return 0;
}

detached sum_of(std::vector<task<int>> tasks, int& sum) {
  const std::vector<int> results = co_await when_all(std::move(tasks));
  for (const int each : results) sum += each;
}

task<> count(std::size_t& counter) {
  ++counter;
  co_return;
}

}  // namespace

TEST_CASE("when_all starts the tasks in order without waiting for any of them") {
  std::vector<std::string> log;
  std::vector<task<int>> tasks;
  for (int i = 1; i <= 3; ++i) tasks.push_back(square_later(i, log));
  sync_wait(when_all(std::move(tasks)));
  CHECK(log ==
        std::vector<std::string>{"start 1", "start 2", "start 3", "end 3", "end 2", "end 1"});
}

TEST_CASE("It ends when all tasks have ended and gives their results in order") {
  std::vector<std::string> log;
  std::vector<task<int>> tasks;
  for (int i = 1; i <= 3; ++i) tasks.push_back(square_later(i, log));
  CHECK(sync_wait(when_all(std::move(tasks))) == std::vector<int>{1, 4, 9});
  CHECK(log.size() == 6);
}

TEST_CASE("The first failure in that order is thrown only after all tasks have ended") {
  int ended = 0;
  std::string caught;
  std::vector<task<int>> tasks;
  tasks.push_back(succeed_later(9, ended));
  tasks.push_back(fail_later("second", 5, ended));
  tasks.push_back(fail_later("third", 0, ended));
  try {
    sync_wait(when_all(std::move(tasks)));
  } catch (const std::runtime_error& failure) {
    caught = failure.what();
  }
  CHECK(caught == "second");
  CHECK(ended == 3);
}

TEST_CASE("when_all of nothing is done at once") {
  CHECK(sync_wait(when_all(std::vector<task<int>>())).empty());
  sync_wait(when_all(std::vector<task<>>()));
}

TEST_CASE("when_all can be awaited by a coroutine of another kind") {
  std::vector<std::string> log;
  int sum = 0;
  std::vector<task<int>> tasks;
  for (int i = 1; i <= 3; ++i) tasks.push_back(square_later(i, log));
  sum_of(std::move(tasks), sum);
  CHECK(sum == 14);
}

TEST_CASE("when_all gives values that can only be moved") {
  const auto boxed = [](int value) -> task<std::unique_ptr<int>> {
    co_return std::make_unique<int>(value);
  };
  std::vector<task<std::unique_ptr<int>>> tasks;
  tasks.push_back(boxed(1));
  tasks.push_back(boxed(2));
  const auto results = sync_wait(when_all(std::move(tasks)));
  REQUIRE(results.size() == 2);
  CHECK(*results[1] == 2);
}

TEST_CASE("when_all of a hundred thousand tasks needs no deep stack") {
  const std::size_t n = support::rounds(100'000);
  std::size_t counter = 0;
  REQUIRE(support::on_small_stack([&] {
    std::vector<task<>> tasks;
    for (std::size_t i = 0; i < n; ++i) tasks.push_back(count(counter));
    sync_wait(when_all(std::move(tasks)));
  }));
  CHECK(counter == n);
}
