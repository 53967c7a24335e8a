// SPDX-License-Identifier: BSL-1.0
// wait_list on one thread: order, leaving, coroutines that are destroyed, misuse.

#include <interlock/detail/wait_list.hpp>

#include <algorithm>
#include <array>
#include <deque>
#include <latch>
#include <random>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/listed_in.hpp"
#include "support/owned.hpp"

namespace il = interlock::detail;
using wait_list = il::wait_list<int>;
using support::owned;

namespace {

constexpr auto always = [] { return true; };

// Appends its number to a list when it is woken.
struct scribe : il::waiter {
  scribe(std::vector<int>& l, int n)
      : waiter([](waiter& self) noexcept {
          auto& me = static_cast<scribe&>(self);
          me.list.push_back(me.number);
        }),
        list(l),
        number(n) {}
  std::vector<int>& list;
  int number;
};

template <class Then>
owned waits(wait_list& list, Then then) {
  co_await support::listed_in(list, 1);
  then();
}

}  // namespace

TEST_CASE("wait_list wakes in the order of arrival, without those that left") {
  wait_list list;
  CHECK(list.empty());
  std::vector<int> woken;
  std::deque<scribe> who;
  std::array<wait_list::node, 6> nodes;
  for (int i = 0; i < 6; ++i) {
    nodes[static_cast<std::size_t>(i)].stand_for(who.emplace_back(woken, i), 1);
    REQUIRE(list.add(nodes[static_cast<std::size_t>(i)], always));
  }
  CHECK_FALSE(list.empty());
  for (const std::size_t gone : {0U, 3U, 5U}) CHECK(nodes[gone].leave());
  CHECK_FALSE(nodes[3].leave());
  wait_list::wake(list.take(1));
  CHECK(woken == std::vector<int>{1, 2, 4});
  CHECK(list.empty());
  CHECK_FALSE(nodes[1].leave());
  CHECK(list.add(nodes[1], always));  // again
  CHECK_FALSE(list.add(nodes[0], [] { return false; }));
  CHECK(nodes[1].leave());
  CHECK(list.take(1) == nullptr);
}

TEST_CASE("wait_list keeps an order, and those of one height in the order of arrival") {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    wait_list list;
    std::vector<int> woken;
    std::deque<scribe> who;
    std::deque<wait_list::node> nodes;
    std::vector<std::pair<int, int>> expected;  // height, number
    for (int i = 0; i < 12; ++i) {
      const int height = static_cast<int>(random() % 6);
      list.add(nodes.emplace_back(who.emplace_back(woken, i), height), always);
      expected.emplace_back(height, i);
    }
    for (int i = 0; i < 3; ++i) {
      const std::size_t gone = random() % nodes.size();
      if (nodes[gone].leave()) {
        std::erase_if(expected, [&](auto& one) { return one.second == static_cast<int>(gone); });
      }
    }
    std::sort(expected.begin(), expected.end());
    for (int height = -1; height < 6; ++height) {
      if (wait_list::node* const reached = list.take(height)) wait_list::wake(reached);
      const auto lower = std::count_if(expected.begin(), expected.end(),
                                       [&](auto& one) { return one.first <= height; });
      CHECK(woken.size() == static_cast<std::size_t>(lower));
    }
    std::vector<int> order;
    for (const auto& [height, number] : expected) order.push_back(number);
    CHECK(woken == order);
    CHECK(list.empty());
  }
}

TEST_CASE("a suspended coroutine that is destroyed leaves its wait_list") {
  wait_list list;
  int went_on = 0;
  const auto count = [&] { ++went_on; };
  std::array<owned, 3> all{waits(list, count), waits(list, count), waits(list, count)};
  all[1].handle.destroy();
  wait_list::wake(list.take(1));
  CHECK(went_on == 2);
  all[0].handle.destroy();
  all[2].handle.destroy();
}

TEST_CASE("a coroutine that was woken may be destroyed by one that was woken before it") {
  wait_list list;
  bool went_on = false;
  owned second{};
  const owned first = waits(list, [&] { second.handle.destroy(); });
  second = waits(list, [&] { went_on = true; });
  wait_list::wake(list.take(1));
  CHECK_FALSE(went_on);
  CHECK(list.empty());
  first.handle.destroy();
}

TEST_CASE("wait_list stops at misuse with a sentence") {
  CHECK(support::death_message([] {
          wait_list list;
          wait_list::node here;
          list.add(here, always);
          list.expect_empty("~cell: a sentence");
        }) == "interlock: ~cell: a sentence\n");
  CHECK(support::death_message([] {
          wait_list list;
          const owned waiting = waits(list, [] {});
          std::latch woken(1);
          std::thread other([&] {
            woken.wait();
            waiting.handle.destroy();
          });
          il::trampoline::together([&] {  // as in a coroutine that wakes and goes on
            wait_list::wake(list.take(1));
            woken.count_down();
            other.join();
          });
        }) ==
        "interlock: a coroutine was destroyed while another thread was about to resume it; "
        "destroy it where no change that it waits for can happen meanwhile\n");
}
