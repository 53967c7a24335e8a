// SPDX-License-Identifier: BSL-1.0
#pragma once

// Guarantees do not lie: what a client says its engine promises, by its settings. Include a place
// before.

#include <interlock/store/guarantees.hpp>

#include <functional>
#include <optional>
#include <string>

#include "common.hpp"
#include "support/catch.hpp"

namespace faults {

struct expected_promise {
  std::string settings;  // in words
  store::durability keeps = store::durability::none;
  std::string in_the_way;  // the setting that keeps more from being promised; "": nothing
  bool all_keys = true;
};

// Effects: checks what is promised, and that requiring more is refused and names the setting.
template <class Open>
void promises(const expected_promise& row, Open open) {
  INFO(row.settings);
  const store::guarantees promised = open(fresh()).probed().promised;
  CHECK(promised.keeps == row.keeps);
  CHECK(promised.keeps_all_keys == row.all_keys);
  CHECK_NOTHROW(open(fresh({.require = promised})));
  store::guarantees more = promised;
  if (!row.all_keys) {
    more.keeps_all_keys = true;
  } else {
    more.keeps = static_cast<store::durability>(static_cast<int>(row.keeps) + 1);
  }
  std::string refusal = "none";
  try {
    static_cast<void>(open(fresh({.require = more})));
  } catch (const store::failure& why) {
    CHECK(why.error().code == store::errc::guarantee_not_met);
    refusal = why.what();
  }
  CHECK(refusal != "none");
  CHECK(refusal.find(row.in_the_way) != std::string::npos);
  tell(place::engine, "settings: %s: survives %s%s; more is refused%s%s", row.settings.c_str(),
       store::to_string(promised.keeps), promised.keeps_all_keys ? "" : ", evicts keys",
       row.in_the_way.empty() ? "" : " for ", row.in_the_way.c_str());
}

// Effects: adds 200, kill -9 of the server, starts it again. Returns: how many acknowledged ones
//          are missing.
template <class Crash, class Open>
std::int64_t lost_by_a_crash(Crash crash, Open open) {
  const auto options = fresh();
  std::int64_t acknowledged = 0;
  {
    auto client = open(options);
    const auto hits = client.object_named(store::object_kind::counter, "hits");
    for (int i = 0; i < 200; ++i) acknowledged += client.counter_add(hits, 1, {}).applied() ? 1 : 0;
  }
  crash();
  auto client = open(options);
  const auto hits = client.object_named(store::object_kind::counter, "hits");
  return acknowledged - client.counter_load(hits, {}).value();
}

}  // namespace faults
