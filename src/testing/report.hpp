// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/report.hpp - what people read: the failing execution as a table.

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine.hpp"
#include "source.hpp"

namespace interlock::testing {
namespace {

inline const char* name_of(u8 order) {
  constexpr const char* names[] = {"relaxed", "acquire", "release", "acq_rel", "seq_cst"};
  return names[order];
}

inline std::string name_of(choice_of about, u16 option) {
  const bool no = option == 0;
  switch (about) {
    case choice_of::user: break;
    case choice_of::wake_up: return no ? "may park" : "wakes for no reason";
    case choice_of::deadline: return no ? "in time" : "times out";
    case choice_of::memory: return no ? "memory freed before" : "fresh memory";
    case choice_of::allocation: return no ? "allocation" : "allocation fails";
    case choice_of::exchange: return no ? "exchange" : "fails for no reason";
    case choice_of::sleeper: return "wakes sleeper " + std::to_string(option + 1);
  }
  return "choice " + std::to_string(option);
}

// Returns: the line of the place, or of the first of its callers that has one of the user's.
inline std::string engine::place_of_failure(const void* site) const {
  const auto known = [](const std::string& line) { return line.rfind("0x", 0) != 0; };
  const std::string own = source_line(site);
  bool behind = false;  // the frames before are the runtime's
  for (unsigned i = 0; i < failure_callers_count_ && !known(own); ++i) {
    const void* const caller = failure_callers_[i];
    const std::string line = behind ? source_line(caller) : own;
    if (known(line)) return line;
    behind = behind || caller == site;
  }
  return own;
}

inline void engine::fail(const char* text, const void* site) {
  if (failed) return;
  failed = true;
  if (current != nullptr) {  // on a fiber: the host makes the report
    std::snprintf(failure_text_, sizeof failure_text_, "%s", text);
    failure_site_ = site;
    failure_pending_ = true;
    return;
  }
  out->failure = text;
  if (site != nullptr && how.source_lines) out->failure += " (" + place_of_failure(site) + ")";
  if (how.changed != nullptr) return;  // a mutant: nobody reads how it failed
  out->steps = steps(out->interleaved);
  out->trace = trace(out->steps);
}

// Returns: whether a comes before b in every interleaving that could be this execution.
inline bool engine::precedes(const event& a, const event& b) const {
  if (happens_before(a, b)) return true;
  if (b.what == kind::wake) return b.rf != initial && &g_.events[b.rf] == &a;
  if (!is_access(a) || !is_access(b) || a.location != b.location) return false;
  if (a.what == kind::read) return b.what == kind::write && g_.co_of_source(a) < b.co;
  return b.what == kind::write ? a.co < b.co : a.co <= g_.co_of_source(b);
}

// Returns: the events as an interleaving in which each read sees the newest store, with few
// switches between threads. If there is none: in the order in which they were run.
inline std::vector<u16> engine::sequence(bool& interleaved) const {
  std::vector<u16> left(sequence_, sequence_ + executed_), result;
  unsigned thread = no_thread;
  while (!left.empty()) {
    std::size_t best = left.size();
    for (std::size_t i = 0; i < left.size(); ++i) {
      const event& e = g_.events[left[i]];
      if (best != left.size() && e.thread != thread) continue;
      bool first = true;
      for (const u16 other : left) {
        first = first && (other == left[i] || !precedes(g_.events[other], e));
      }
      if (!first) continue;
      best = i;
      if (e.thread == thread) break;
    }
    interleaved = best != left.size();
    if (!interleaved) return {sequence_, sequence_ + executed_};
    thread = g_.events[left[best]].thread;
    result.push_back(left[best]);
    left.erase(left.begin() + static_cast<std::ptrdiff_t>(best));
  }
  return result;
}

// One for each event, and behind it the notes on it.
inline std::vector<step> engine::steps(bool& interleaved) const {
  std::map<u16, std::string> names;
  const auto name = [&](u16 location) {
    std::string& n = names[location];
    const place& p = places_[location];
    const char* const kind = p.hidden ? "queue" : p.is_lock() ? "lock" : "x";
    if (n.empty()) n = kind + std::to_string(names.size());
    return n;
  };
  if (how.source_lines) {
    std::vector<const void*> sites;
    for (u16 i = 0; i < executed_; ++i) sites.push_back(g_.events[sequence_[i]].site);
    learn_lines(sites);
  }
  std::vector<step> result;
  const auto add_notes = [&](unsigned thread, u16 after) {
    for (const remark& r : std::span(remarks_, remark_count_)) {
      if (r.thread != thread || r.after != after) continue;
      const std::string file = r.file;
      result.push_back({thread, remark_text_ + r.text,
                        file.substr(file.rfind('/') + 1) + ":" + std::to_string(r.line), true});
    }
  };
  std::map<u16, u16> newest;  // of each location, at this step
  for (const u16 position : sequence(interleaved)) {
    const event& e = g_.events[position];
    if (e.index == 1) add_notes(e.thread, 0);
    std::string what;
    switch (e.what) {
      case kind::read:
        what = name(e.location) + " -> " + std::to_string(value_of(g_, e).low) + " ";
        if (!e.hidden) what += name_of(e.order);
        if (g_.co_of_source(e) < newest[e.location]) what += " (old)";
        break;
      case kind::write:
        what = name(e.location) + " := " + std::to_string(e.value.low) + " ";
        if (e.hidden) {
          what = name(e.location) + (e.value.low == queue_sleep ? ": sleep" : ": unpark");
        } else {
          what += name_of(e.order);
        }
        if (e.co < newest[e.location]) what += " #" + std::to_string(e.co);
        newest[e.location] = std::max(newest[e.location], e.co);
        break;
      case kind::fence: what = std::string("fence ") + name_of(e.order); break;
      case kind::choice: what = name_of(static_cast<choice_of>(e.about), e.co); break;
      case kind::wake: what = "woken"; break;
    }
    result.push_back({e.thread, what, how.source_lines ? source_line(e.site) : ""});
    add_notes(e.thread, e.index);
  }
  return result;
}

// A row for each step, a column for each thread.
inline std::string engine::trace(const std::vector<step>& rows) const {
  constexpr std::size_t width = 26, most = 100;
  const auto padded = [](std::string s) {
    s.resize(s.size() < width ? width : s.size() + 1, ' ');
    return s;
  };
  std::string text;
  for (unsigned t = 0; t < thread_count; ++t) {
    text += padded(t == 0 ? "main" : "thread " + std::to_string(t));
  }
  text += '\n';
  const std::size_t skipped = rows.size() > most ? rows.size() - most : 0;
  if (skipped != 0) text += "... " + std::to_string(skipped) + " earlier steps\n";
  for (const step& row : std::span(rows).subspan(skipped)) {
    for (unsigned t = 0; t < thread_count; ++t) text += padded(t == row.thread ? row.text : "");
    text += row.place + '\n';
  }
  return text;
}

}  // namespace

std::string report::text() const {
  if (!failure.empty()) {
    return failure + "\n" + trace + (replay.empty() ? "" : "INTERLOCK_REPLAY=" + replay + "\n");
  }
  return std::to_string(executions) + " executions, " + std::to_string(blocked) + " blocked, " +
         std::to_string(pruned) + " pruned" + (scope.empty() ? "" : " (" + scope + ")");
}

}  // namespace interlock::testing
