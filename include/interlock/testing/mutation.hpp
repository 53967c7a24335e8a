// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/mutation.hpp - finds out whether a model test would notice a mistake.
//
// Problem     A test that passes says little if it would pass with a weaker memory order or without
//             the notify as well.
// Guarantee   Each mutant is the program with one change in one line.
//             A mutant that no body fails for is reported as survived.
// Progress    blocking: mutate() runs on the calling thread.
// Cost        One exploration for each mutant and body, until a body fails; nothing is recompiled.
// Lifetime    none: all is done when mutate() returns.
// Not for     Changes of plain code: only atomic accesses, park and unpark are changed.
//
// Example     // examples/testing/mutation.cpp
//             const auto result = testing::mutate({hand_over});
//             for (const testing::mutant& one : result.mutants) {
//               std::cout << one.place << ": " << one.change
//                         << (one.killed() ? ": killed\n" : ": survived\n");
//             }

#include <functional>
#include <string>
#include <vector>

#include "model.hpp"

namespace interlock::testing {

// One line of the source, with one change, in all the places that it was inlined to.
struct mutant {
  enum class family { order, logic };
  enum class fate { killed, survived, undecided };  // undecided: it needs more than max_runs

  std::string place;   // file:line, or an address where there is no debug information
  std::string change;  // "acquire -> relaxed", "notify dropped", ...
  family kind = family::order;
  fate result = fate::survived;
  std::string failure;  // what killed it

  [[nodiscard]] bool killed() const noexcept { return result == fate::killed; }
};

struct mutation_options {
  options how;
  bool orders = true;  // weaken each memory order by one step and by two
  bool logic = true;   // drop, split, delay or repeat an access; drop or narrow a notify; sleep
                       // without a look at the word
  std::uint64_t max_runs = 200'000;  // for one body of one mutant
  // Asked before a mutant is tried; empty: all are.
  std::function<bool(const mutant&)> wanted;
};

struct mutation_report {
  std::string failure;  // of the unchanged bodies: nothing was mutated then
  std::vector<mutant> mutants;
};

// Effects: explores the bodies with one line changed, for each line that they reach and each change
//          that fits it. A mutant is killed if one of the bodies fails.
mutation_report mutate(const std::vector<std::function<void(world&)>>& bodies,
                       const mutation_options& how = {});

}  // namespace interlock::testing
