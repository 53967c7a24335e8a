// SPDX-License-Identifier: BSL-1.0
#pragma once

// What a scenario is. Each race is written once, in scenarios/NAME.hpp, and used by the lab, the
// stress tests and the benchmarks.
//
// A naive form must be able to lose by itself: its window is one that real code has (an await, a
// yield, a call to a store with latency). Its shared words are relaxed atomics, so what is shown is
// the race in the logic and not undefined behaviour.

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace lab {

// How one round is run.
struct settings {
  unsigned threads = 4;    // real threads; scenarios with a fixed cast (two buyers) may use fewer
  std::uint64_t seed = 1;  // drives every random choice of the round, so a round can be repeated
};

// What one round ended with. `lost` is what the oracle says is wrong, in the scenario's unit;
// 0 means the round was right. `got` is the value that the story looks at (50 clicks: the counter).
struct tally {
  std::int64_t expected = 0;
  std::int64_t got = 0;
  std::int64_t lost = 0;
};

// One thing that a lane (a thread, a request, a coroutine) did, in the order in which it happened.
struct event {
  unsigned lane = 0;
  std::string text;     // "reads 100", "writes 101"
  bool harmful = false; // the step that loses something: drawn in red
};

// Collects the events of one round; safe to call from any thread. A round that is not drawn
// passes nullptr, see note().
class trace {
public:
  void name_lane(unsigned lane, std::string name) {
    const std::lock_guard lock(guard_);
    if (lanes_.size() <= lane) lanes_.resize(lane + 1);
    lanes_[lane] = std::move(name);
  }
  void note(unsigned lane, std::string text, bool harmful = false) {
    const std::lock_guard lock(guard_);
    if (lanes_.size() <= lane) lanes_.resize(lane + 1);
    events_.push_back({lane, std::move(text), harmful});
  }
  // Preconditions: the round is over.
  [[nodiscard]] const std::vector<std::string>& lanes() const { return lanes_; }
  [[nodiscard]] const std::vector<event>& events() const { return events_; }

private:
  std::mutex guard_;
  std::vector<std::string> lanes_;
  std::vector<event> events_;
};

enum class role {
  naive,        // loses
  still_wrong,  // the tempting cure that loses too
  fixed,        // ours
  plain         // the usual cure (a mutex): right, for the price comparison
};

struct form {
  std::string_view name;  // "naive", "fetch-latest", "counter", "mutex"
  std::string_view how;   // one line of pseudo code: "load, add one, store"
  role kind = role::naive;

  // Runs the story once, with its window. With a trace, runs the small form of the story (two or
  // three lanes) and notes every step.
  tally (*round)(const settings&, trace*) = nullptr;

  // Runs `operations` operations of the form's hot path on each of `threads` threads, without any
  // artificial window, and returns the nanoseconds of wall time per operation and thread. Null
  // where a price says nothing.
  double (*cost)(unsigned threads, std::uint64_t operations) = nullptr;
};

struct scenario {
  std::string_view name;     // as in the table of scenarios: "fifty_clicks"
  std::string_view story;    // one sentence
  std::string_view numbers;  // "start 100, 50 clicks, expect 150"
  std::string_view unit;     // of lost: "clicks", "seats sold twice"
  std::string_view cure;     // the types that end it: "counter"
  std::string_view moral;    // one or two sentences: why the naive form loses and the cure cannot
  std::vector<form> forms;   // naive first, ours last before the plain ones
};

// Returns: every scenario, in the order of the table.
const std::vector<scenario>& scenarios();

}  // namespace lab
