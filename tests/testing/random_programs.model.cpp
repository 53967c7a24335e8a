// SPDX-License-Identifier: BSL-1.0
// Programs drawn at random: the explorer visits as many executions as the axioms allow, and none
// twice. The axioms (oracle.hpp) share no code with it.

#include <array>
#include <random>

#include "front.hpp"
#include "oracle.hpp"

using testing::world;

namespace {

constexpr std::array<std::memory_order, 5> orders = {rlx, acq, rel, ar, sc};

std::memory_order std_order(oracle::order o) { return orders[static_cast<std::size_t>(o)]; }

struct generator {
  std::mt19937 random;
  bool seq_cst_often = false;

  unsigned below(unsigned n) { return static_cast<unsigned>(random() % n); }
  oracle::order pick(std::initializer_list<oracle::order> from) {
    if (seq_cst_often && below(2) == 0) return oracle::seq_cst;
    return from.begin()[below(static_cast<unsigned>(from.size()))];
  }

  oracle::instruction one(int places) {
    using namespace oracle;
    const int place = static_cast<int>(below(static_cast<unsigned>(places)));
    const int value = 1 + static_cast<int>(below(3));
    switch (below(seq_cst_often ? 13 : 10)) {  // 9 and more: a fence
      case 0:
      case 1:
      case 2: return {what::load, place, pick({relaxed, acquire, seq_cst}), relaxed, 0, 0};
      case 3:
      case 4:
      case 5: return {what::store, place, pick({relaxed, release, seq_cst}), relaxed, value, 0};
      case 6:
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
    for (auto& thread : p) {
      const unsigned n = 1 + below(length);
      for (unsigned i = 0; i < n; ++i) thread.push_back(one(places));
    }
    return p;
  }
};

std::string text(const oracle::program& p) {
  constexpr const char* kinds[] = {"load", "store", "add", "cas", "fence"};
  constexpr const char* names[] = {"rlx", "acq", "rel", "acq_rel", "sc"};
  std::string result;
  for (const auto& thread : p) {
    for (const auto& i : thread) {
      result += std::string(kinds[static_cast<int>(i.kind)]) + " " + std::to_string(i.place) + " " +
                names[i.strong] + "/" + names[i.weak] + " " + std::to_string(i.value) + " if " +
                std::to_string(i.expected) + "; ";
    }
    result += "|| ";
  }
  return result;
}

void perform(const oracle::instruction& i, atomic<int>* objects) {
  atomic<int>& x = objects[i.place];
  const std::memory_order order = std_order(i.strong);
  switch (i.kind) {
    case oracle::what::load: (void)x.load(order); break;
    case oracle::what::store: x.store(i.value, order); break;
    case oracle::what::add: x.fetch_add(i.value, order); break;
    case oracle::what::cas: {
      int expected = i.expected;
      (void)x.compare_exchange_strong(expected, i.value, order, std_order(i.weak));
      break;
    }
    case oracle::what::fence: fence(order); break;
  }
}

void compare(unsigned seed, int programs, bool seq_cst_often, unsigned threads, unsigned length,
             int places) {
  generator draw{std::mt19937(seed), seq_cst_often};
  int different = 0;
  for (int i = 0; i < programs; ++i) {
    const oracle::program p = draw.draw(threads, length, places);
    testing::options how;
    how.count_distinct = true;
    const testing::report report = testing::explore(how, [&](world& w) {
      atomic<int> objects[3];
      for (auto& object : objects) object.store(0, rlx);
      for (const auto& thread : p) {
        w.thread([&] {
          for (const auto& one : thread) perform(one, objects);
        });
      }
      w.finally([] {});
    });
    const std::uint64_t expected = oracle::enumeration(p).count();
    if (report.executions == expected && report.distinct == expected && report.proved()) continue;
    INFO(text(p));
    INFO(report.text());
    CHECK(report.executions == expected);
    CHECK(report.distinct == expected);
    if (++different == 3) break;
  }
  CHECK(different == 0);
}

}  // namespace

TEST_CASE("Each execution graph of the body that RC11 allows is run exactly once") {
  compare(1, 300, false, 2, 3, 2);
  compare(2, 100, false, 3, 2, 2);
}

TEST_CASE("A proved report has seen them all") {
  compare(3, 300, true, 2, 3, 2);
  compare(4, 100, true, 3, 2, 2);
}

TEST_CASE("programs of one object: coherence and updates alone") { compare(5, 10, false, 3, 2, 1); }
