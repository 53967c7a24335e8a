// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/report.hpp - what people read: the failing execution as a table, source lines, the
// list of memory orders and their mutants.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine.hpp"

#if defined(__linux__)
#include <dlfcn.h>
#include <unistd.h>
#endif

namespace interlock::testing {
namespace {

// Returns: "file.cpp:12" of the outermost line that is no system header; else the address.
inline std::string source_line(const void* site) {
  if (site == nullptr) return "";
  static auto& known = *new std::map<const void*, std::string>;
  std::string& text = known[site];
  if (!text.empty()) return text;
  char number[32];
  std::snprintf(number, sizeof number, "%p", site);
  text = number;
#if defined(__linux__)
  Dl_info info{};
  if (dladdr(site, &info) == 0) return text;
  char program[1024];
  const auto length = readlink("/proc/self/exe", program, sizeof program - 1);
  if (length <= 0) return text;
  program[length] = 0;
  // The return address is behind the call.
  const auto offset = static_cast<const char*>(site) - static_cast<const char*>(info.dli_fbase) - 1;
  const std::string command = "addr2line -i -e '" + std::string(program) + "' 0x" + [&] {
    char hex[32];
    std::snprintf(hex, sizeof hex, "%lx", static_cast<unsigned long>(offset));
    return std::string(hex);
  }() + " 2>/dev/null";
  std::FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return text;
  char line[1024];
  while (std::fgets(line, sizeof line, pipe) != nullptr) {
    std::string found = line;
    const auto end = found.find_first_of("\n ");
    if (end != std::string::npos) found.resize(end);
    if (found.find("??") == 0) continue;
    if (found.find("/include/c++/") != std::string::npos) continue;
    if (found.find("/interlock/testing/model.hpp") != std::string::npos) continue;
    const auto slash = found.rfind('/');
    text = slash == std::string::npos ? found : found.substr(slash + 1);
    break;
  }
  pclose(pipe);
#endif
  return text;
}

// The memory orders that explored code used, and where.
struct sites_seen {
  static constexpr std::size_t capacity = 512;
  inline static order_site seen[capacity];
  inline static std::size_t count = 0;

  static void clear() noexcept { count = 0; }
  static void add(const order_site& site) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
      if (seen[i].address == site.address && seen[i].order == site.order) return;
    }
    if (count < capacity) seen[count++] = site;
  }
  static void list(std::vector<order_site>& into) { into.assign(seen, seen + count); }
};

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
  }
  return "choice " + std::to_string(option);
}

inline void engine::fail(const std::string& text, const void* site) {
  if (failed) return;
  failed = true;
  out->failure = text;
  if (site != nullptr && how.source_lines) out->failure += " (" + source_line(site) + ")";
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
    if (n.empty()) n = (places_[location].hidden ? "queue" : "x") + std::to_string(names.size());
    return n;
  };
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
  if (!failure.empty()) return failure + "\n" + trace;
  return std::to_string(executions) + " executions, " + std::to_string(blocked) + " blocked, " +
         std::to_string(pruned) + " pruned" + (exhausted ? "" : ", stopped before the end");
}

std::vector<std::memory_order> weaker_orders(const order_site& site) {
  const auto what = site.what;
  switch (site.order) {
    case std::memory_order_seq_cst:
      if (what == order_site::access::load) return {std::memory_order_acquire};
      if (what == order_site::access::store) return {std::memory_order_release};
      return {std::memory_order_acq_rel};
    case std::memory_order_acq_rel: return {std::memory_order_acquire, std::memory_order_release};
    case std::memory_order_acquire:
    case std::memory_order_release: return {std::memory_order_relaxed};
    default: return {};
  }
}

std::vector<mutant> weaken_each_order(const options& how,
                                      const std::function<void(world&)>& body) {
  options first = how;
  first.collect_sites = true;
  const report unchanged = explore(first, body);
  struct order_in_source {
    std::string place;
    order_site first;
    std::vector<const void*> sites;
  };
  std::vector<order_in_source> orders;
  for (const order_site& site : unchanged.sites) {
    const std::string place = source_line(site.address);
    order_in_source* same = nullptr;
    for (order_in_source& one : orders) {
      if (one.place == place && one.first.order == site.order && one.first.what == site.what) {
        same = &one;
      }
    }
    if (same == nullptr) same = &orders.emplace_back(order_in_source{place, site, {}});
    same->sites.push_back(site.address);
  }
  std::vector<mutant> result;
  for (const order_in_source& one : orders) {
    for (const std::memory_order weaker : weaker_orders(one.first)) {
      options with = how;
      with.weaken_sites = one.sites;
      with.weaken_to = weaker;
      const report after = explore(with, body);
      result.push_back({one.place, one.first.order, weaker, !after.failure.empty(), after.failure});
    }
  }
  return result;
}

}  // namespace interlock::testing
