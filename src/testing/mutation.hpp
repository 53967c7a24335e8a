// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/mutation.hpp - which changes fit which access, and the loop that tries them. The
// changes themselves are made where the accesses arrive, in runtime.cpp.

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine.hpp"
#include "interlock/testing/mutation.hpp"
#include "report.hpp"
#include "source.hpp"

namespace interlock::testing {

enum class access_kind : std::uint8_t {
  load, store, update, compare, failure, fence, notify_one, notify_all, sleep
};

enum class change_kind : std::uint8_t {
  weaken,           // the order, or the failure order, is `order`
  drop_store,       // it does not take place
  delay_store,      // it takes place after the thread's next store, update or notify
  split_update,     // a load and a store
  drop_update,      // the old value is stored
  repeat_load,      // answers what the thread last saw there from another line
  drop_notify,
  narrow_notify,    // one is woken, not all
  sleep_unchecked,  // without a look at the word
};

struct mutation {
  change_kind what;
  access_kind of;
  std::uint8_t order;
  std::vector<const void*> sites;

  [[nodiscard]] bool at(const void* site) const noexcept {
    for (const void* const one : sites) {
      if (one == site) return true;
    }
    return false;
  }
};

namespace {

// The accesses that explored code made, and from where.
struct sites_seen {
  struct site {
    const void* address;
    access_kind what;
    u8 order;
    friend bool operator==(const site&, const site&) = default;
  };
  static constexpr std::size_t capacity = 1024;
  inline static bool wanted = false;
  inline static site seen[capacity];
  inline static std::size_t count = 0;

  static void add(const site& one) noexcept {
    if (!wanted) return;
    for (std::size_t i = 0; i < count; ++i) {
      if (seen[i] == one) return;
    }
    if (count < capacity) seen[count++] = one;
  }
};

// The orders that are one step weaker.
inline std::vector<u8> weaker_by_one(access_kind what, u8 order) {
  const bool reads = what == access_kind::load || what == access_kind::failure;
  if (order == seq_cst) {
    if (reads) return {acquire};
    if (what == access_kind::store) return {release};
    return {acq_rel};
  }
  if (order == acq_rel) return {acquire, release};
  if (order == relaxed) return {};
  // A fence that orders nothing is none; it is removed by its weakest form.
  return {relaxed};
}

inline std::vector<u8> weaker_by_two(access_kind what, u8 order) {
  std::vector<u8> result = weaker_by_one(what, order);
  for (const u8 one : weaker_by_one(what, order)) {
    for (const u8 two : weaker_by_one(what, one)) {
      if (result.back() != two) result.push_back(two);
    }
  }
  return result;
}

inline std::vector<std::pair<change_kind, const char*>> logic_changes(access_kind what) {
  switch (what) {
    case access_kind::load: return {{change_kind::repeat_load, "load not repeated"}};
    case access_kind::store:
      return {{change_kind::drop_store, "store dropped"},
              {change_kind::delay_store, "store moved behind the next one"}};
    case access_kind::update:
      return {{change_kind::split_update, "update split into load and store"},
              {change_kind::drop_update, "update without effect"}};
    case access_kind::compare:
      return {{change_kind::split_update, "compare_exchange split into load and store"},
              {change_kind::drop_update, "compare_exchange without effect"}};
    case access_kind::notify_one: return {{change_kind::drop_notify, "notify dropped"}};
    case access_kind::notify_all:
      return {{change_kind::drop_notify, "notify dropped"},
              {change_kind::narrow_notify, "notify_all narrowed to one"}};
    case access_kind::sleep: return {{change_kind::sleep_unchecked, "sleeps without a look"}};
    case access_kind::failure:
    case access_kind::fence: break;
  }
  return {};
}

// One line of the source, with the places that it was compiled to.
struct source_access {
  std::string place;
  access_kind what;
  u8 order;
  std::vector<const void*> sites;
  std::vector<std::size_t> bodies;  // those that come here
};

inline void merge_sites(std::vector<source_access>& into, std::size_t body) {
  std::vector<const void*> addresses;
  for (std::size_t i = 0; i < sites_seen::count; ++i) {
    addresses.push_back(sites_seen::seen[i].address);
  }
  learn_lines(addresses);
  for (std::size_t i = 0; i < sites_seen::count; ++i) {
    const sites_seen::site& site = sites_seen::seen[i];
    if (shared_counts().contains(site.address)) continue;
    const std::string place = source_line(site.address);
    source_access* same = nullptr;
    for (source_access& one : into) {
      if (one.place == place && one.order == site.order && one.what == site.what) same = &one;
    }
    if (same == nullptr) {
      same = &into.emplace_back(source_access{place, site.what, site.order, {}, {}});
    }
    bool known = false;
    for (const void* const address : same->sites) known = known || address == site.address;
    if (!known) same->sites.push_back(site.address);
    if (same->bodies.empty() || same->bodies.back() != body) same->bodies.push_back(body);
  }
}

inline void try_mutant(const std::vector<std::function<void(world&)>>& bodies,
                       const mutation_options& how, const source_access& access,
                       const mutation& change, mutant& one) {
  options with = how.how;
  with.changed = &change;
  with.max_runs = how.max_runs;
  with.source_lines = false;
  one.result = mutant::fate::survived;
  for (const std::size_t body : access.bodies) {
    const report after = explore(with, bodies[body]);
    if (!after.failure.empty()) {
      one.result = mutant::fate::killed;
      one.failure = after.failure;
      return;
    }
    if (!after.exhausted) one.result = mutant::fate::undecided;
  }
}

}  // namespace

mutation_report mutate(const std::vector<std::function<void(world&)>>& bodies,
                       const mutation_options& how) {
  mutation_report result;
  std::vector<source_access> accesses;
  for (std::size_t body = 0; body < bodies.size(); ++body) {
    sites_seen::count = 0;
    sites_seen::wanted = true;
    const report unchanged = explore(how.how, bodies[body]);
    sites_seen::wanted = false;
    if (!unchanged.proved()) {
      result.failure = "body " + std::to_string(body) + " is not proved as it is: " +
                       unchanged.text();
      return result;
    }
    merge_sites(accesses, body);
  }
  const auto run = [&](const source_access& access, mutant::family kind, const mutation& change,
                       std::string text) {
    mutant one{access.place, std::move(text), kind, mutant::fate::survived, {}};
    if (how.wanted && !how.wanted(one)) return;
    try_mutant(bodies, how, access, change, one);
    result.mutants.push_back(std::move(one));
  };
  for (const source_access& access : accesses) {
    if (how.orders) {
      for (const u8 order : weaker_by_two(access.what, access.order)) {
        const std::string of_failure = access.what == access_kind::failure ? "failure " : "";
        const std::string text = of_failure + name_of(access.order) + " -> " + name_of(order);
        run(access, mutant::family::order,
            {change_kind::weaken, access.what, order, access.sites}, text);
      }
    }
    if (!how.logic) continue;
    for (const auto& [change, text] : logic_changes(access.what)) {
      run(access, mutant::family::logic, {change, access.what, relaxed, access.sites}, text);
    }
  }
  return result;
}

}  // namespace interlock::testing
