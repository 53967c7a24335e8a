// SPDX-License-Identifier: BSL-1.0
// The heap of alarms against a sorted list.

#include <interlock/detail/alarm_heap.hpp>

#include <chrono>
#include <cstddef>
#include <deque>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

namespace il = interlock::detail;

namespace {

il::alarm_node::time_point at(int tick) {
  return il::alarm_node::time_point(std::chrono::milliseconds(tick));
}

struct node : il::alarm_node {
  explicit node(int tick) : alarm_node(at(tick), [](alarm_node&) noexcept {}) {}
};

}  // namespace

TEST_CASE("alarm_heap gives out the earliest first, and of the same the one that came first") {
  il::alarm_heap heap;
  CHECK(heap.first() == nullptr);
  std::deque<node> nodes;
  for (const int tick : {5, 3, 5, 1, 3, 5, 1}) heap.add(nodes.emplace_back(tick));
  std::vector<std::ptrdiff_t> order;
  while (il::alarm_node* const first = heap.first()) {
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if (&nodes[i] == first) order.push_back(static_cast<std::ptrdiff_t>(i));
    }
    CHECK(heap.remove(*first));
    CHECK_FALSE(heap.remove(*first));
  }
  CHECK(order == std::vector<std::ptrdiff_t>{3, 6, 1, 4, 0, 2, 5});
}

TEST_CASE("alarm_heap agrees with a sorted list, whatever comes and goes") {
  std::mt19937 random(7);
  const std::size_t steps = support::rounds(200'000);
  std::deque<node> nodes;
  std::vector<node*> listed;
  std::set<std::pair<il::alarm_node::time_point, std::uint64_t>> oracle;
  il::alarm_heap heap;
  bool same = true;
  for (std::size_t step = 0; step < steps && same; ++step) {
    const bool grows = (step / 500) % 2 == 0;
    if (listed.empty() || (random() % 3 == 0) != grows) {
      node& fresh = nodes.emplace_back(static_cast<int>(random() % 50));
      heap.add(fresh);
      oracle.emplace(fresh.deadline, fresh.number);
      listed.push_back(&fresh);
    } else if (random() % 2 == 0) {  // any of them
      std::swap(listed[random() % listed.size()], listed.back());
      oracle.erase({listed.back()->deadline, listed.back()->number});
      same = heap.remove(*listed.back());
      listed.pop_back();
    } else {
      il::alarm_node& first = *heap.first();
      same = heap.remove(first) && oracle.begin()->second == first.number;
      oracle.erase(oracle.begin());
      std::erase(listed, static_cast<node*>(&first));
    }
    same = same && (heap.first() == nullptr) == oracle.empty() &&
           (oracle.empty() || heap.first()->number == oracle.begin()->second);
  }
  CHECK(same);
}
