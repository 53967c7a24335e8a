// SPDX-License-Identifier: BSL-1.0
#pragma once

// kill -9 of the server, where there is one, and of processes that write. Include a place before.

#include <interlock/store/basic_counter.hpp>
#include <interlock/store/until_known.hpp>

#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "counting.hpp"
#include "workers.hpp"

namespace faults {

// Adds one for ever; says what it asks for, and what became of it.
inline const bool knows_incrementer = add_role("incrementer", [](orders& mine) {
  const place_counter hits(orders::open(), "hits");
  for (;;) {
    const auto id = store::operation_id::fresh();
    mine.say(id.text());
    const auto said = hits.add(1, {.id = id});
    mine.say(store::to_string(said.status()));
  }
});

// What it does in a transaction it calls done before the commit, and there it stays.
inline const bool knows_early = add_role("early", [](orders& mine) {
  const auto client = orders::open();
  const store::basic_versioned<std::int64_t, place::client> cell(client, "early");
  static_cast<void>(place::transact(client,
                                    [&](place::transaction& t) {
                                      t.write(cell, 1);
                                      mine.say("applied");
                                      mine.hear();
                                    },
                                    {.timeout = 60s}));
});

// What incrementers said.
struct written {
  std::int64_t applied = 0;
  std::vector<store::operation_id> unknown;

  // `id`: of the request under way, "" if there is none.
  void take(const std::string& line, std::string& id) {
    if (line.find('-') != std::string::npos) {
      id = line;
      return;
    }
    if (line == "applied") ++applied;
    if (line == "unknown") give_up(id);
    id.clear();
  }
  void give_up(const std::string& id) {
    if (const auto read = store::operation_id::parse(id)) unknown.push_back(*read);
  }
};

}  // namespace faults

TEST_CASE("killed workers: what was acknowledged is there and what is asked again counts once") {
  using namespace faults;
  if (!place::available()) return;
  place here(kept::killed);
  const auto options = fresh({.timeout = 10s});
  const place_counter hits(here.open(options), "hits");
  written seen;
  int kills = 0;
  std::mt19937_64 random(11);
  for (int round = 0; round < 3; ++round) {
    std::vector<worker> all;
    for (int i = 0; i < 3; ++i) all.emplace_back("incrementer", here, options.prefix);
    for (worker& one : all) {
      std::string id;  // of the request under way
      for (std::uint64_t lines = 40 + random() % 100; lines > 0; --lines) {
        const auto line = one.heard();
        if (!line) FAIL("a worker says nothing");
        seen.take(*line, id);
      }
      one.kill();
      ++kills;
      while (const auto line = one.heard(0ms)) seen.take(*line, id);
      seen.give_up(id);
    }
  }
  const std::int64_t applied = seen.applied;
  const auto left = static_cast<std::int64_t>(seen.unknown.size());
  const auto before = unless_refused([&] { return hits.load(); }).value();
  for (const auto& id : seen.unknown) {
    const auto said = unless_refused([&] {
      return store::until_known([&](const store::call_options& call) { return hits.add(1, call); },
                                {.limit = 20s, .id = id});
    });
    CHECK(said.applied());
  }
  const auto after = hits.load().value();
  tell(place::engine,
       "killed workers: %d kills, %lld acknowledged, %lld left unknown, %lld counted, %lld after "
       "asking again",
       kills, static_cast<long long>(applied), static_cast<long long>(left),
       static_cast<long long>(before), static_cast<long long>(after));
  CHECK(applied <= before);
  CHECK(before <= applied + left);
  CHECK(after == applied + left);
}

TEST_CASE("killed workers: what is called done before its commit is lost") {
  using namespace faults;
  if (!place::available()) return;
  place here(kept::killed);
  const auto options = fresh();
  const store::basic_versioned<std::int64_t, place::client> cell(here.open(options), "early");
  worker one("early", here, options.prefix);
  REQUIRE(one.heard() == "applied");
  one.kill();
  CHECK_FALSE(unless_refused([&] { return cell.load(); }).value().value.has_value());
  tell(place::engine, "killed workers: 1 called done before its commit, 0 there");
}
