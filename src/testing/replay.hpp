// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/replay.hpp - the same execution again: from a string, and to see that it is the same.
//
// A replay string is a version letter, the events in the order of the execution, and a check sum of
// three characters. An event is a character of six bits: the thread, and how far its option is from
// the default (0 to 6; 7: 7 more than what the next characters say, five bits each, the lowest
// first, the sixth bit says that there is another). The option of a read is how many stores to its
// object, of those executed so far, are newer than the one it reads; of a store how many come after
// it in co; of a choice the choice. No address is in it, so it is good on another machine.

#include <cstdlib>
#include <string>
#include <vector>

#include "engine.hpp"

namespace interlock::testing {
namespace {

constexpr char replay_version = 'a';
constexpr char replay_letters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

inline std::string replay_sum(const std::string& text) {
  u64 h = 0xCBF29CE484222325U;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  h ^= h >> 32U;
  return {replay_letters[h & 63U], replay_letters[h >> 6U & 63U], replay_letters[h >> 12U & 63U]};
}

// Returns: how far from the default the event is that was executed as number `at`.
inline u16 engine::option_of(u16 at) const {
  const event& e = g_.events[sequence_[at]];
  if (e.what == kind::choice) return e.co;
  if (!is_access(e)) return 0;
  const u16 mine = e.what == kind::write ? e.co : g_.co_of_source(e);
  u16 newer = 0;
  for (u16 i = 0; i < at; ++i) {
    const event& other = g_.events[sequence_[i]];
    if (other.what == kind::write && other.location == e.location && other.co > mine) ++newer;
  }
  return newer;
}

inline std::string engine::replay_string() const {
  std::string text(1, replay_version);
  for (u16 i = 0; i < executed_; ++i) {
    unsigned rest = option_of(i);
    const unsigned digit = rest < 7 ? rest : 7;
    text += replay_letters[g_.events[sequence_[i]].thread * 8U + digit];
    if (digit < 7) continue;
    rest -= 7;
    do {
      text += replay_letters[(rest & 31U) | (rest > 31 ? 32U : 0U)];
      rest >>= 5U;
    } while (rest != 0);
  }
  return text + replay_sum(text);
}

// Returns: whether the text is a replay string; then `steps` are its events.
inline bool parse_replay(const std::string& text, std::vector<replay_step>& steps) {
  if (text.size() < 4 || text[0] != replay_version) return false;
  const std::string events = text.substr(0, text.size() - 3);
  if (replay_sum(events) != text.substr(events.size())) return false;
  const std::string letters = replay_letters;
  for (std::size_t i = 1; i < events.size(); ++i) {
    const std::size_t first = letters.find(events[i]);
    if (first == std::string::npos) return false;
    std::size_t option = first % 8;
    for (unsigned shift = 0; option >= 7 && first % 8 == 7; shift += 5) {
      if (++i == events.size() || shift > 10) return false;
      const std::size_t more = letters.find(events[i]);
      if (more == std::string::npos) return false;
      option += (more & 31U) << shift;
      if ((more & 32U) == 0) break;
    }
    steps.push_back({static_cast<u8>(first / 8), to16(option)});
  }
  return true;
}

inline void engine::misfit(const std::string& why) {
  if (failed) return;
  misfit_ = true;
  const unsigned id = given_thread_;
  const std::string text = "the replay string does not fit this body: its event " +
                           std::to_string(executed_ + 1) + ", of thread " + std::to_string(id) +
                           ", " + why +
                           ". It is good for the same code, compiler and options only";
  fail(text.c_str(), id < thread_count ? threads[id].op.site : nullptr);
}

// Effects: does the events of the string.
inline void engine::run_steps(const std::vector<replay_step>& steps) {
  for (const replay_step& next : steps) {
    if (!settle()) return;
    given_thread_ = next.thread;
    given_ = next.option;
    const u16 at = executed_;
    if (next.thread >= thread_count) return misfit("is of a thread that was not made");
    const bool ended = threads[next.thread].state == thread_state::finished;
    const bool done = !ended && advance(next.thread);
    if (failed) return;
    if (!done) return misfit(ended ? "comes after its end" : "cannot be: the thread waits");
    if (option_of(at) != next.option) return misfit("has no such option");
  }
}

// Effects: runs one execution: the events of the string, then the default.
inline void engine::run_given(const std::vector<replay_step>& steps, int fill, report& into) {
  report* const before = out;
  out = &into;
  poison = fill;
  misfit_ = false;
  course_ = course::given;
  start_run(nullptr);
  run_steps(steps);
  course_ = course::first;
  if (!failed) forward_run();
  end_of_run();
  out = before;
}

// Effects: options::replay.
inline void engine::replay(const std::string& text, report& result) {
  std::vector<replay_step> steps;
  if (!parse_replay(text, steps)) {
    failed = true;
    result.failure = "this is no replay string, or a part of it is missing: " + text;
    return;
  }
  run_given(steps, 0xFF, result);
  result.scope = "one execution, as the replay string says";
  if (failed && !misfit_) result.replay = text;
}

// Effects: runs the execution that has just failed once more, forward, with other leftovers in
//          memory. What that finds is what is reported: it will be found again.
inline void engine::confirm_failure(report& result) {
  if (final_) return;
  const std::string text = replay_string();
  std::vector<replay_step> steps;
  parse_replay(text, steps);
  const course course_before = course_;
  report again;
  failed = false;
  run_given(steps, poison == 0x01 ? 0xFF : 0x01, again);
  course_ = course_before;
  failed = true;
  if (again.failure.empty() || misfit_) {
    result.failure = "the body is not deterministic: this failure did not come back when the same "
                     "execution was run again: " + result.failure + ". " + remedy;
    return;
  }
  result.failure = again.failure;
  result.trace = again.trace;
  result.steps = again.steps;
  result.interleaved = again.interleaved;
  result.replay = text;
}

// ---- determinism --------------------------------------------------------------------------------

// What has to be the same when an execution is run again.
struct same_event {
  kind what;
  u8 thread;
  u8 order;
  u16 place;  // numbered as they come
  u16 option;
  value_t value;
  const void* site;
  friend bool operator==(const same_event&, const same_event&) = default;
};

inline std::vector<same_event> engine::digest() const {
  std::vector<same_event> result;
  std::vector<u16> places;
  for (u16 i = 0; i < executed_; ++i) {
    const event& e = g_.events[sequence_[i]];
    same_event one{e.what, e.thread, e.order, 0, option_of(i), {}, e.site};
    if (is_access(e)) {
      while (one.place < places.size() && places[one.place] != e.location) ++one.place;
      if (one.place == places.size()) places.push_back(e.location);
      one.value = e.what == kind::read ? value_of(g_, e) : e.value;
    }
    result.push_back(one);
  }
  return result;
}

// Returns: what the second execution did otherwise.
inline std::string difference(const std::vector<same_event>& before,
                              const std::vector<same_event>& now) {
  std::size_t i = 0;
  while (i < before.size() && i < now.size() && before[i] == now[i]) ++i;
  if (i == before.size() && i == now.size()) return "it tells another outcome";
  const same_event& e = i < now.size() ? now[i] : before[i];
  std::string text = "thread " + std::to_string(e.thread) + " does something else at " +
                     source_line(e.site);
  if (i >= before.size() || i >= now.size()) return text;
  same_event other = before[i];
  other.value = e.value;
  if (!(other == e)) return text;
  return text + ", where it has the value " + std::to_string(e.value.low) + " and had " +
         std::to_string(before[i].value.low);
}

// Effects: runs the first execution three times, with other leftovers on stacks and heap.
// Returns: whether it was the same each time, and did not fail.
inline bool engine::deterministic(report& result) {
  std::vector<same_event> first;
  std::string told;
  course_ = course::first;
  for (const int fill : {0x01, 0xFF, 0xAB}) {
    report one;
    stack_fill = fill;
    run_alone(fill, one);
    stack_fill = -1;
    const bool again = fill != 0x01;
    if (!again) {
      first = digest();
      told = outcome;
      usual_events_ = executed_;
    }
    if (failed && !again) {
      result = std::move(one);
      return false;
    }
    const std::vector<same_event> now = digest();
    if (failed || now != first || told != outcome) {
      result.failure = "the body is not deterministic: run again, " +
                       (failed ? "it fails: " + one.failure : difference(first, now)) + ". " +
                       remedy;
      final_ = failed = true;
      return false;
    }
  }
  forget_hashes();
  return true;
}

}  // namespace
}  // namespace interlock::testing
