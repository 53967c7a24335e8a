// SPDX-License-Identifier: BSL-1.0
#pragma once

// Transactions append to lists and read them, through a link that loses some of it; list_append
// looks for anomalies. Include a place before.

#include <interlock/store/basic_transaction.hpp>
#include <interlock/store/basic_versioned.hpp>
#include <interlock/store/transaction_options.hpp>
#include <interlock/testing/list_append.hpp>

#include <algorithm>
#include <array>
#include <barrier>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

namespace faults {

using list_cell = store::basic_versioned<std::string, place::client>;

inline std::vector<list_cell> list_cells(const place::client& client, std::size_t n) {
  std::vector<list_cell> all;
  for (std::size_t i = 0; i < n; ++i) {
    std::string name = "list ";
    name += std::to_string(i);
    all.emplace_back(client, name);
  }
  return all;
}

// Returns: the numbers of a text such as "3 1 4".
inline std::vector<std::uint64_t> numbers_in(const std::string& text) {
  std::vector<std::uint64_t> all;
  std::istringstream words(text);
  for (std::uint64_t one = 0; words >> one;) all.push_back(one);
  return all;
}

inline std::string with(std::string list, std::uint64_t value) {
  if (!list.empty()) list += ' ';
  list += std::to_string(value);
  return list;
}

// The engine's own transactions, and those that check what they read when they commit.
struct native {
  using transaction = place::transaction;
  static constexpr const char* name = "native";
  template <class F>
  static auto run(const place::client& on, F body, const store::transaction_options& how) {
    return place::transact(on, body, how);
  }
};
struct checked {
  using transaction = store::basic_transaction<place::client>;
  static constexpr const char* name = "checked";
  template <class F>
  static auto run(const place::client& on, F body, const store::transaction_options& how) {
    return store::atomically(on, body, how);
  }
};

// Effects: one transaction over two lists, which reads both and appends to one of them or to both.
template <class Way, class Between>
void append_to_lists(Between& between, const place::client& client,
                     const std::vector<list_cell>& lists, std::size_t first_key,
                     std::mt19937_64& random, interlock::testing::list_append::transaction record) {
  const std::size_t one = random() % lists.size(), other = (one + 1) % lists.size();
  const bool both = random() % 3 == 0;
  bool first = true;
  const auto said = between.ask([&] {
    return Way::run(client,
                    [&](typename Way::transaction& t) {
                      if (!first) record.again();
                      first = false;
                      for (const std::size_t key : {one, other}) {
                        const std::string now = t.read(lists[key]).value_or("");
                        record.read(first_key + key, numbers_in(now));
                        if (key == one || both)
                          t.write(lists[key], with(now, record.append(first_key + key)));
                      }
                    },
                    {.attempts = 20, .timeout = 5s});
  });
  if (said.applied()) record.applied();
  if (said.refused()) record.aborted();
}  // else unknown

// Effects: rounds with lists that are new, since to make one is a race of its own.
template <class Way>
void no_anomaly(place& here) {
  using interlock::testing::isolation;
  losing between(here, 0.01, 5);
  const auto options = fresh();
  const auto client = between.open(options);
  constexpr std::size_t workers = 4, rounds = 25, lists_of_a_round = 4;
  const auto lists = list_cells(client, rounds * lists_of_a_round);
  const std::size_t each = support::rounds(6);
  interlock::testing::list_append log(workers);
  for (std::size_t first = 0; first < lists.size(); first += lists_of_a_round) {
    const auto begin = lists.begin() + static_cast<std::ptrdiff_t>(first);
    const std::vector<list_cell> some(begin, begin + lists_of_a_round);
    support::run_threads(workers, [&](std::size_t me) {
      std::mt19937_64 random(first + me + 1);
      for (std::size_t i = 0; i < each; ++i) {
        append_to_lists<Way>(between, client, some, first, random, log.begin(me));
      }
    });
  }
  const auto reader = here.open(options);
  const auto last = list_cells(reader, lists.size());
  std::size_t appended = 0;
  for (std::size_t key = 0; key < last.size(); ++key) {
    auto record = log.begin(0);
    const auto list = numbers_in(last[key].load().value().value.value_or(""));
    appended += list.size();
    record.read(key, list);
    record.applied();
  }
  const auto found = log.check();
  const auto answer = found.at(isolation::strict_serializable);
  tell(place::engine, "transactions, %s: %zu with %zu appends: %s", Way::name,
       workers * rounds * each, appended, answer ? "strictly serializable" : "ANOMALIES");
  INFO(answer.violation);
  CHECK(answer);
  CHECK(appended > workers * rounds * each / 2);
}

}  // namespace faults

TEST_CASE("transactions: lists that they append to show no anomaly") {
  using namespace faults;
  if (!place::available()) return;
  place here;
  no_anomaly<native>(here);
  no_anomaly<checked>(here);
}

TEST_CASE("transactions: of those that make the same cell one is applied") {
  using namespace faults;
  using object = place::client::object;
  if (!place::available()) return;
  place here;
  auto client = here.open(fresh());
  constexpr std::size_t workers = 4;
  const std::size_t rounds = support::rounds(200);
  const auto cell = [&](std::size_t round, const std::string& whose) {
    return client.object_named(store::object_kind::cell, std::to_string(round) + whose);
  };
  std::vector<std::array<store::status, workers>> said(rounds);
  std::barrier together(static_cast<std::ptrdiff_t>(workers));
  support::run_threads(workers, [&](std::size_t me) {
    auto mine = client;
    for (std::size_t i = 0; i < rounds; ++i) {
      const object shared = cell(i, " of all"), own = cell(i, " of " + std::to_string(me));
      const std::array<store::cell_check<object>, 2> checks{{{&shared, 0}, {&own, 0}}};
      const std::array<store::cell_write<object>, 2> writes{{{&shared, "x"}, {&own, "x"}}};
      together.arrive_and_wait();
      said[i][me] = mine.cells_commit(checks, writes, {.timeout = 20s}).status();
    }
  });
  std::size_t wrong = 0;
  for (const auto& round : said) {
    const auto applied = std::count(round.begin(), round.end(), store::status::applied);
    const auto conflicts = std::count(round.begin(), round.end(), store::status::conflict);
    wrong += applied == 1 && conflicts == workers - 1 ? 0 : 1;
  }
  tell(place::engine, "transactions, who makes a cell: %zu of %zu rounds wrong", wrong, rounds);
  CHECK(wrong == 0);
}

TEST_CASE("transactions: to read and then to write without a check is caught") {
  using namespace faults;
  using interlock::testing::isolation;
  if (!place::available()) return;
  place here;
  const auto client = here.open(fresh());
  const auto list = list_cells(client, 1).front();
  interlock::testing::list_append log(3);
  {
    auto one = log.begin(0), two = log.begin(1);
    const std::string seen_by_one = list.load().value().value.value_or("");
    const std::string seen_by_two = list.load().value().value.value_or("");
    one.read(0, numbers_in(seen_by_one));
    two.read(0, numbers_in(seen_by_two));
    list.store(with(seen_by_one, one.append(0))).value();
    one.applied();
    list.store(with(seen_by_two, two.append(0))).value();
    two.applied();
  }
  auto last = log.begin(2);
  last.read(0, numbers_in(list.load().value().value.value_or("")));
  last.applied();
  const auto found = log.check();
  tell(place::engine, "transactions, no checks: %s",
       found.findings.empty() ? "MISSED" : found.findings.front().name.c_str());
  CHECK_FALSE(found.at(isolation::snapshot_isolation));
}
