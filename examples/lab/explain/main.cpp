// SPDX-License-Identifier: BSL-1.0
// lab-explain: runs the lab's scenarios under the model explorer: every interleaving of the small
// round. The lab starts it and reads what it prints: a record on each line, its fields separated by
// tabs. explored_forms.cpp of the lab is the other side.
//
//   lab-explain VERSION
//   form     SCENARIO FORM            what follows is about this form
//   counts   EXECUTIONS BLOCKED WHOLE EXPECTED GOT LOST
//   failure  SENTENCE                 of the execution that failed; the rest is about it
//   race     SENTENCE                 what is found if the form writes to plain variables
//   lane     NAME
//   step     LANE HARMFUL PLACE TEXT
//   end

#include <interlock/testing/model.hpp>

#include <cstdio>
#include <interlock/detail/readers.hpp>
#include <interlock/seeded_hash.hpp>
#include <interlock/version.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "support.hpp"

namespace {

using lab::exploration;
using lab::now_explored;
namespace testing = interlock::testing;

// Enough for every form of the table; one that needs more is not called explored whole.
constexpr std::uint64_t most_runs = 400'000;

bool right(const lab::form& of) { return of.kind == lab::role::fixed; }

testing::report explore(const lab::form& of, exploration::words memory) {
  now_explored.memory = memory;
  testing::options how;
  how.source_lines = false;      // the notes know theirs
  how.reuse_memory = false;      // the texts of the story come and go: they are not what it is about
  how.whole_waits = right(of);   // the waiting of our types has proofs of its own
  how.max_runs = most_runs;
  return testing::explore(how, [&of](testing::world& world) {
    lab::background::forget();
    interlock::detail::readers::start_anew(exploration::most_lanes);
    now_explored.world = &world;
    now_explored.ended = false;
    const lab::settings small{2, 1};
    lab::trace drawn;
    now_explored.end = of.round(small, &drawn);
    now_explored.ended = true;
    testing::check(now_explored.end.lost == 0, "nothing is lost");
  });
}

std::string lane_of(unsigned thread) {
  return thread == 0 ? "the body" : now_explored.lanes.at(thread - 1).data();
}

// Returns: the failure in the words of the story.
std::string sentence_of(const testing::report& found) {
  if (found.failure.find("nothing is lost") != std::string::npos) {
    return found.interleaved ? "something is lost" : "something is lost, in no plain interleaving";
  }
  if (found.failure.rfind("deadlock:", 0) != 0) return found.failure;
  std::string who;
  for (unsigned thread = 0; thread < exploration::most_lanes; ++thread) {
    const std::string waits = "thread " + std::to_string(thread) + " is parked";
    if (found.failure.find(waits) == std::string::npos) continue;
    who += (who.empty() ? "" : ", ") + lane_of(thread);
  }
  return "deadlock: these wait for good: " + who;
}

void print_steps(const testing::report& found) {
  unsigned lanes = 0;
  for (const auto& name : now_explored.lanes) {
    if (name[0] == 0) break;
    std::printf("lane\t%s\n", name.data());
    ++lanes;
  }
  for (const testing::step& each : found.steps) {
    if (!each.note || each.text.size() < 2) continue;
    const char lane = each.text[0];
    if (lane < '0' || lane >= static_cast<char>('0' + lanes)) continue;
    std::printf("step\t%c\t%d\t%s\t%s\n", lane, each.text[1] == '!' ? 1 : 0, each.place.c_str(),
                each.text.c_str() + 2);
  }
}

void print(const lab::scenario& of, const lab::form& form) {
  now_explored.lanes = {};
  const testing::report found =
      explore(form, right(form) ? exploration::words::relaxed : exploration::words::in_order);
  const bool stuck = !found.failure.empty() && !now_explored.ended;
  const lab::tally end = stuck ? lab::tally{} : now_explored.end;
  std::printf("form\t%s\t%s\n", std::string(of.name).c_str(), std::string(form.name).c_str());
  std::printf("counts\t%llu\t%llu\t%d\t%lld\t%lld\t%lld\n",
              static_cast<unsigned long long>(found.executions),
              static_cast<unsigned long long>(found.blocked), found.exhausted ? 1 : 0,
              static_cast<long long>(end.expected), static_cast<long long>(end.got),
              static_cast<long long>(end.lost));
  if (!found.failure.empty()) {
    std::printf("failure\t%s\n", sentence_of(found).c_str());
    print_steps(found);
  }
  if (form.kind != lab::role::naive || end.lost == 0) return;
  const testing::report bare = explore(form, exploration::words::plain);
  if (bare.failure.rfind("data race", 0) == 0) std::printf("race\t%s\n", bare.failure.c_str());
}

bool chosen(std::string_view name, const std::vector<std::string_view>& names) {
  for (const std::string_view each : names) {
    if (each == name) return true;
  }
  return names.empty();
}

}  // namespace

int main(int count, char** values) {
  interlock::hash_secret::of_process();  // which the first execution would make, and no other
  const std::vector<std::string_view> names(values + (count > 0 ? 1 : 0), values + count);
  std::printf("lab-explain\t%s\n", INTERLOCK_VERSION_STRING);
  for (const lab::scenario& each : lab::scenarios()) {
    if (!chosen(each.name, names)) continue;
    for (const lab::form& form : each.forms) {
      if (form.kind != lab::role::plain && form.round != nullptr) print(each, form);
    }
  }
  std::printf("end\n");
  return std::fflush(stdout) == 0 ? 0 : 1;
}
