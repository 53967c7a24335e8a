// SPDX-License-Identifier: BSL-1.0
// Programs drawn at random: the explorer visits as many executions as the axioms allow, and none
// twice. The axioms (oracle.hpp) share no code with it.

#include <random>

#include "litmus.hpp"

namespace {

struct generator {
  std::mt19937 random;
  bool seq_cst_often = false;
  bool plain_too = false;
  bool conditions = false;

  unsigned below(unsigned n) { return static_cast<unsigned>(random() % n); }
  oracle::order pick(std::initializer_list<oracle::order> from) {
    if (seq_cst_often && below(2) == 0) return oracle::seq_cst;
    return from.begin()[below(static_cast<unsigned>(from.size()))];
  }

  oracle::instruction one(int places) {
    using namespace oracle;
    const int place = static_cast<int>(below(static_cast<unsigned>(places)));
    const int value = 1 + static_cast<int>(below(3));
    if (plain_too && below(3) == 0) {
      return {below(2) == 0 ? what::load : what::store, places, oracle::plain, relaxed, value, 0};
    }
    switch (below(seq_cst_often ? 13 : 10)) {  // 9 and more: a fence
      case 0:
      case 1:
      case 2: return {what::load, place, pick({relaxed, acquire, seq_cst}), relaxed, 0, 0};
      case 3:
      case 4:
      case 5: return {what::store, place, pick({relaxed, release, seq_cst}), relaxed, value, 0};
      case 6:
        return {what::exchange, place, pick({relaxed, acquire, release, acq_rel, seq_cst}), relaxed,
                value, 0};
      case 7:
        return {what::add, place, pick({relaxed, acquire, release, acq_rel, seq_cst}), relaxed,
                value, 0};
      case 8:
        return {what::cas, place, pick({relaxed, acquire, release, acq_rel, seq_cst}),
                pick({relaxed, acquire, seq_cst}), value, static_cast<int>(below(3))};
      default:
        return {what::fence, 0, pick({acquire, release, acq_rel, seq_cst}), relaxed, 0, 0};
    }
  }

  oracle::program draw(unsigned threads, unsigned length, int places) {
    oracle::program p(threads);
    for (unsigned t = 0; t < threads; ++t) {
      const unsigned n = 1 + below(length);
      for (unsigned i = 0; i < n; ++i) {
        oracle::instruction next = one(places);
        // Each thread keeps what it read last in a register of its own, and may look at it.
        const bool reads = next.kind != oracle::what::store && next.kind != oracle::what::fence;
        if (reads) next.result = static_cast<int>(t);
        if (conditions && i != 0 && below(3) == 0) {
          next.only_if = static_cast<int>(t);
          next.equal = below(2) == 0;
          next.this_value = static_cast<int>(below(3));
        }
        p[t].push_back(next);
      }
    }
    return p;
  }
};

std::string text(const oracle::program& p) {
  constexpr const char* kinds[] = {"load", "store", "add", "exchange", "cas", "fence"};
  constexpr const char* names[] = {"rlx", "acq", "rel", "acq_rel", "sc", "plain"};
  std::string result;
  for (const auto& thread : p) {
    for (const auto& i : thread) {
      if (i.only_if >= 0) {
        result += std::string(i.equal ? "if " : "unless ") + std::to_string(i.this_value) + ": ";
      }
      result += std::string(kinds[static_cast<int>(i.kind)]) + " " + std::to_string(i.place) + " " +
                names[i.strong] + "/" + names[i.weak] + " " + std::to_string(i.value.constant) +
                " if " + std::to_string(i.expected.constant) + "; ";
    }
    result += "|| ";
  }
  return result;
}

// Returns: how many of the programs race.
int compare(generator draw, int programs, unsigned threads, unsigned length, int places) {
  int different = 0, racing = 0;
  for (int i = 0; i < programs && different < 3; ++i) {
    const oracle::program p = draw.draw(threads, length, places);
    std::vector<oracle::observed> what;
    for (unsigned t = 0; t < threads; ++t) what.push_back({false, static_cast<int>(t)});
    const testing::report report = litmus::explored<int>(p, what);
    const oracle::enumeration axioms(p, what);
    racing += axioms.races ? 1 : 0;
    const bool same = axioms.races ? report.failure.find("data race") != std::string::npos
                                   : report.proved() && report.executions == axioms.executions &&
                                         report.distinct == axioms.executions &&
                                         seen(report) == axioms.outcomes;
    if (same) continue;
    INFO(text(p));
    INFO(report.text());
    INFO("a race: " << axioms.races);
    CHECK(report.executions == axioms.executions);
    CHECK(report.distinct == axioms.executions);
    CHECK(same);
    ++different;
  }
  CHECK(different == 0);
  return racing;
}

// Samples, two processes and replay strings against the exploration of the same program.
// Returns: how many of the programs race.
int compare_modes(generator draw, int programs, unsigned threads, unsigned length) {
  int racing = 0;
  for (int i = 0; i < programs; ++i) {
    const oracle::program p = draw.draw(threads, length, 2);
    std::vector<oracle::observed> what;
    for (unsigned t = 0; t < threads; ++t) what.push_back({false, static_cast<int>(t)});
    const testing::report all = litmus::explored<int>(p, what);
    testing::options how;
    how.sample = static_cast<testing::sampling>(1 + i % 3);
    how.samples = 2000;
    const testing::report some = litmus::explored<int>(p, what, how);
    INFO(text(p));
    INFO(all.text());
    INFO(some.text());
    if (!all.failure.empty()) {
      ++racing;
      CHECK(some.failure.find("data race") != std::string::npos);
      for (const testing::report* const found : {&all, &some}) {
        testing::options again;
        again.replay = found->replay;
        CHECK(litmus::explored<int>(p, what, again).failure == found->failure);
      }
      continue;
    }
    const outcomes possible = seen(all);
    for (const std::string& one : seen(some)) CHECK(possible.count(one) == 1);
    CHECK(some.failure.empty());
    CHECK(some.distinct <= all.executions);
    if (all.executions <= 20) CHECK(some.distinct == all.executions);
    if (i % 8 != 0) continue;
    testing::options both;
    both.processes = 2;
    const testing::report split = litmus::explored<int>(p, what, both);
    CHECK(split.outcomes == all.outcomes);
    CHECK(split.distinct == all.executions);
    CHECK(split.proved());
  }
  return racing;
}

}  // namespace

TEST_CASE("samples, processes and replay strings agree with the exploration") {
  compare_modes({std::mt19937(21), true, false, true}, 120, 3, 2);
  compare_modes({std::mt19937(22)}, 80, 2, 3);
  CHECK(compare_modes({std::mt19937(23), false, true}, 80, 2, 3) > 10);
}

TEST_CASE("Each execution graph of the body that RC11 allows is run exactly once") {
  compare({std::mt19937(1)}, 3000, 2, 3, 2);
  compare({std::mt19937(2)}, 2000, 3, 2, 2);
}

TEST_CASE("A proved report has seen them all") {
  compare({std::mt19937(3), true}, 3000, 2, 3, 2);
  compare({std::mt19937(4), true}, 2000, 3, 2, 2);
}

TEST_CASE("programs of one object: coherence and updates alone") {
  compare({std::mt19937(5)}, 200, 3, 2, 1);
}

TEST_CASE("programs with conditions on what they read") {
  compare({std::mt19937(12), false, false, true}, 2000, 2, 4, 2);
  compare({std::mt19937(13), true, false, true}, 1000, 3, 2, 2);
}

TEST_CASE("a race is reported if and only if the axioms have one") {
  const int racing = compare({std::mt19937(6), false, true, true}, 2000, 2, 4, 2);
  CHECK(racing > 200);
  CHECK(racing < 1800);
  compare({std::mt19937(7), true, true}, 500, 3, 3, 2);
}

TEST_CASE("programs at random: longer ones", "[.deep]") {
  compare({std::mt19937(8)}, 2000, 3, 3, 2);
  compare({std::mt19937(9), true}, 2000, 3, 3, 3);
  compare({std::mt19937(10), true, true, true}, 2000, 4, 3, 2);
  compare({std::mt19937(11), true}, 1000, 4, 2, 2);
}
