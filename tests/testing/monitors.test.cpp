// SPDX-License-Identifier: BSL-1.0
// Each rule of the monitors: right histories are accepted, seeded wrong ones named in words.

#include <interlock/testing/linearizability.hpp>
#include <interlock/testing/monitors.hpp>
#include <interlock/testing/order_monitors.hpp>
#include <interlock/testing/transaction_monitor.hpp>

#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace interlock::testing;  // NOLINT: this file is about nothing else

namespace {

// Says where the text does not hold each part.
void names(const verdict& found, std::initializer_list<const char*> parts) {
  CAPTURE(found.text());
  CHECK_FALSE(found);
  for (const char* const part : parts) {
    CAPTURE(part);
    CHECK(found.violation.find(part) != std::string::npos);
  }
}

recorded<ownership> owner(std::uint32_t thread, std::uint64_t asked, std::uint64_t from,
                          std::uint64_t to, std::uint64_t queued = interval::never) {
  return {{asked, queued}, {from, to}, thread};
}
recorded<job> at(std::uint64_t id, std::uint64_t from, std::uint64_t to, std::uint32_t thread = 0) {
  return {{id, true}, {from, to}, thread};
}
recorded<keyed_outcome> under(std::uint64_t key, std::uint64_t outcome, std::uint64_t from,
                              std::uint64_t to, bool failed = false) {
  return {{key, outcome, failed}, {from, to}, 0};
}

}  // namespace

TEST_CASE("Two owners at once and a waiter who is overtaken are found") {
  CHECK(monitor_mutex({owner(0, 0, 0, 4), owner(1, 0, 4, 6, 1), owner(2, 1, 6, 9, 2)}));
  names(monitor_mutex({owner(0, 0, 0, 4), owner(1, 0, 3, 6)}), {"thread 0", "thread 1", "at once"});
  names(monitor_mutex({owner(0, 0, 0, 4), owner(1, 0, 6, 9, 1), owner(2, 1, 4, 6, 2)}),
        {"overtaken: thread 1", "thread 2"});
  // Who asked before the other was known to wait may have queued first.
  CHECK(monitor_mutex({owner(0, 0, 0, 4), owner(1, 0, 6, 9, 2), owner(2, 1, 4, 6, 3)}));
  // An owner who never left keeps everybody out.
  names(monitor_mutex({owner(0, 0, 0, interval::never), owner(1, 0, 1, 6)}), {"at once"});
}

TEST_CASE("Work that overlaps or is lost or doubled or out of order is found") {
  const std::vector<recorded<job>> three{at(1, 0, 1, 0), at(2, 0, 2, 1), at(3, 2, 3, 0)};
  CHECK(monitor_serial(three, {at(2, 1, 4), at(1, 4, 6), at(3, 6, 7)}));
  names(monitor_serial(three, {at(1, 1, 5), at(2, 4, 6), at(3, 6, 7)}), {"at once", "job 1"});
  names(monitor_serial(three, {at(1, 1, 4), at(3, 6, 7)}), {"job 2", "never ran"});
  names(monitor_serial(three, {at(1, 1, 4), at(2, 4, 5), at(2, 5, 6), at(3, 6, 7)}),
        {"job 2", "2 times"});
  names(monitor_serial(three, {at(1, 1, 4), at(3, 4, 5), at(2, 5, 6)}),
        {"in the other", "job 2", "job 3"});
  names(monitor_serial(three, {at(3, 1, 4), at(1, 4, 5), at(2, 5, 6)}, job_order::of_each_thread),
        {"in the other", "job 1", "job 3"});
  CHECK(monitor_serial(three, {at(1, 1, 4), at(3, 4, 5), at(2, 5, 6)}, job_order::of_each_thread));
  names(monitor_serial(three, {at(1, 1, 4), at(2, 4, 5), at(3, 6, 7), at(4, 7, 8)}),
        {"job 4", "nobody submitted"});
  names(monitor_serial({at(1, 5, 6)}, {at(1, 1, 4)}), {"before it came"});
  std::vector<recorded<job>> refused = three;
  refused[1].op.accepted = false;
  CHECK(monitor_serial(refused, {at(1, 1, 4), at(3, 6, 7)}));
  names(monitor_serial(refused, {at(1, 1, 4), at(2, 4, 6), at(3, 6, 7)}), {"refused"});
  // A submission that was never answered may have been accepted.
  std::vector<recorded<job>> unknown = three;
  unknown[2].when.returned = interval::never;
  CHECK(monitor_serial(unknown, {at(1, 1, 4), at(2, 4, 5)}));
  CHECK(monitor_serial(unknown, {at(1, 1, 4), at(2, 4, 5), at(3, 6, 7)}));
}

TEST_CASE("A second execution of a key and an answer of none are found") {
  CHECK(monitor_once({under(1, 7, 1, 3), under(2, 8, 1, 3)},
                     {under(1, 7, 0, 4), under(1, 7, 2, 5), under(1, 7, 9, 10), under(2, 8, 0, 9)}));
  names(monitor_once({under(1, 7, 1, 3), under(1, 8, 2, 4)}, {}), {"at once", "outcome 7"});
  names(monitor_once({under(1, 7, 1, 3), under(1, 8, 5, 6)}, {}), {"executed again", "outcome 8"});
  CHECK(monitor_once({under(1, 7, 1, 3, true), under(1, 8, 5, 6)},
                     {under(1, 7, 0, 4, true), under(1, 8, 4, 7)}));
  CHECK(monitor_once({under(1, 7, 1, 3), under(1, 8, 5, 6)}, {under(1, 7, 0, 4)},
                     {under(1, 0, 3, 5)}));
  names(monitor_once({under(1, 7, 1, 3), under(1, 8, 5, 6)}, {}, {under(1, 0, 7, 8)}),
        {"executed again"});
  names(monitor_once({under(1, 7, 1, 3)}, {under(1, 9, 0, 4)}), {"outcome 9", "not the answer"});
  names(monitor_once({under(1, 7, 1, 5)}, {under(1, 7, 0, 4)}), {"not the answer"});  // too early
  names(monitor_once({under(1, 7, 1, 3, true)}, {under(1, 7, 0, 4, true), under(1, 7, 4, 5, true)}),
        {"[4, 5]", "not the answer"});
  CHECK(monitor_once({under(1, 7, 1, 3, true)}, {under(1, 7, 0, 5, true), under(1, 7, 4, 6, true)}));
  names(monitor_once({under(1, 7, 1, 3), under(1, 8, 5, 6)}, {under(1, 7, 6, 9)},
                     {under(1, 0, 3, 5)}),
        {"outcome 7", "not the answer"});  // forgotten, and there is a newer one
}

TEST_CASE("An aborted attempt that saw two moments is found") {
  const recorded<attempt> move{{{{0, 0}, {1, 0}}, {{0, 1}, {1, 1}}, true}, {0, 3}, 0};
  const auto reader = [](std::uint64_t first, std::uint64_t second) {
    return recorded<attempt>{{{{0, first}, {1, second}}, {}, false}, {0, 4}, 1};
  };
  CHECK(monitor_transactions({move, reader(0, 0)}));
  CHECK(monitor_transactions({move, reader(1, 1)}));
  names(monitor_transactions({move, reader(0, 1)}), {"aborted attempt", "was read by", "replaced"});
  CHECK_FALSE(linearizable(std::vector{move, reader(0, 1)}, cells_state{}));
  // Write skew: each reads what the other replaces.
  names(monitor_transactions({{{{{0, 0}, {1, 0}}, {{0, 1}}, true}, {0, 2}, 0},
                              {{{{0, 0}, {1, 0}}, {{1, 1}}, true}, {0, 3}, 1}}),
        {"thread 0", "thread 1", "read what was replaced by"});
}

// ---- words --------------------------------------------------------------------------------------

TEST_CASE("A violation names the operations that contradict each other") {
  using call = recorded<counter_call>;
  const auto add = [](std::uint32_t thread, std::int64_t seen, std::uint64_t from,
                      std::uint64_t to) {
    return call{{counter_call::kind::add, 1, seen}, {from, to}, thread};
  };
  names(monitor_counter({add(0, 0, 0, 1), add(1, 0, 0, 2)}), {"add(1) saw 0", "another add"});
  names(monitor_counter({add(0, 1, 0, 1), add(1, 0, 1, 2), add(2, 2, 0, 9)}),
        {"thread 0: add(1) saw 1 [0, 1] returned before thread 1: add(1) saw 0 [1, 2]"});
  names(linearizable(std::vector{add(0, 1, 0, 1), add(1, 0, 1, 2)}, counter_state{}),
        {"no order explains", "thread 0: add(1) saw 1 [0, 1]"});
  const auto push = [](std::uint64_t value, std::uint64_t from, std::uint64_t to) {
    return recorded<queue_call>{{queue_call::kind::push, value}, {from, to}, 0};
  };
  const auto pop = [](std::uint64_t value, std::uint64_t from, std::uint64_t to) {
    return recorded<queue_call>{{queue_call::kind::pop, value}, {from, to}, 1};
  };
  names(monitor_queue({push(5, 0, 1), push(6, 1, 2), pop(6, 2, 3), pop(5, 3, 4)}),
        {"push(5)", "push(6)", "pop gave (6)", "before", "pop gave (5)"});
  names(monitor_queue({push(5, 0, 1), pop(5, 1, 2), pop(5, 2, 3)}), {"twice"});
  names(monitor_queue({pop(9, 0, 1)}), {"nobody pushed"});
  names(monitor_queue({push(5, 0, 1), {{queue_call::kind::pop_empty, 0}, {1, 2}, 1}}),
        {"found nothing", "all the time", "push(5)"});
  CHECK_THROWS_AS(monitor_queue({push(5, 0, 1), push(5, 1, 2)}), std::invalid_argument);
  CHECK_THROWS_AS(monitor_counter({call{{counter_call::kind::add, 0, 0}, {0, 1}, 0}}),
                  std::invalid_argument);
}
