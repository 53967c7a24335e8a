// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/processes.hpp - how long an exploration goes on, and its split over processes.
//
// Each item of work is explored without knowing of the others, so processes need share no more
// than who takes which item. Each sends its report through a pipe when it is done.

#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "engine.hpp"
#include "mutation.hpp"

namespace interlock::testing {
namespace {

// ---- limits -------------------------------------------------------------------------------------

// Returns: whether one more run may begin. Looks at clocks and at the other processes once in a
// portion of runs.
inline bool engine::may_run() {
  if (granted_ == 0 && !take_runs()) {
    stopped_ = true;
    return false;
  }
  --granted_;
  return true;
}

inline bool engine::take_runs() {
  constexpr u64 portion = 64;
  if (__atomic_load_n(&shared_->stop, __ATOMIC_RELAXED) != 0) return false;
  if (how.budget.count() != 0 && wall_clock::now() - started_ >= how.budget) return false;
  const u64 taken = __atomic_fetch_add(&shared_->runs, portion, __ATOMIC_RELAXED);
  granted_ = portion;
  if (how.max_runs != 0) {
    if (taken >= how.max_runs) granted_ = 0;
    if (granted_ > how.max_runs - taken) granted_ = how.max_runs - taken;
  }
  if (!child_) show_progress(taken);
  return granted_ != 0;
}

// Effects: a line for those who wait, if somebody sits there.
inline void engine::show_progress(u64 runs) {
  if (!shows_progress_) return;
  const auto now = wall_clock::now();
  if (now - shown_ < std::chrono::milliseconds{500}) return;
  shown_ = now;
  const double seconds = std::chrono::duration<double>(now - started_).count();
  const u64 taken = __atomic_load_n(&shared_->next, __ATOMIC_RELAXED);
  u64 pending = planned_ > taken ? planned_ - taken : 0;
  for (const work_item* item = stack_; item != nullptr; item = item->next) ++pending;
  std::fprintf(stderr, "\r%llu runs, %.0f k/s, %llu pending, %.0f s ",
               static_cast<unsigned long long>(runs), static_cast<double>(runs) / seconds / 1000,
               static_cast<unsigned long long>(pending), seconds);
}

inline void engine::drop_work() {
  while (stack_ != nullptr) {
    work_item* const next = stack_->next;
    std::free(stack_);
    stack_ = next;
  }
}

// Effects: explores what follows from an item of work; null is the empty graph. Frees it.
inline void engine::explore_below(work_item* item) {
  course_ = course::every;
  for (bool first = true; first || item != nullptr; first = false) {
    if (!may_run()) {
      std::free(item);
      return drop_work();
    }
    run_one(item);
    item = stack_;
    if (failed) return drop_work();
    if (item != nullptr) stack_ = item->next;
  }
}

// Effects: one run of the exhaustive search; its alternatives are pushed.
inline void engine::run_one(work_item* item) {
  // Two patterns in fresh memory: who reads it uninitialised does different things.
  poison = poison == 0xFF ? 0x01 : 0xFF;
  departures_ = item == nullptr ? 0 : item->departures;
  start_run(item);
  std::free(item);
  run_loop();
  end_of_run();
}

// ---- reports on their way -----------------------------------------------------------------------

class parcel {
public:
  std::string bytes;

  void put(u64 number) { bytes.append(reinterpret_cast<const char*>(&number), sizeof number); }
  void put(const std::string& text) {
    put(text.size());
    bytes += text;
  }
  u64 number() {
    u64 result = 0;
    if (at_ + sizeof result > bytes.size()) complete_ = false;
    if (complete_) std::memcpy(&result, bytes.data() + at_, sizeof result);
    at_ += sizeof result;
    return result;
  }
  std::string text() {
    const u64 size = number();
    if (!complete_ || size > bytes.size() - at_) {
      complete_ = false;
      return {};
    }
    at_ += size;
    return bytes.substr(at_ - size, size);
  }
  [[nodiscard]] bool complete() const { return complete_; }

private:
  std::size_t at_ = 0;
  bool complete_ = true;
};

struct child_process {
  pid_t id;
  int pipe;
  parcel sent;
};

inline void engine::pack(const report& r, parcel& to) const {
  for (const u64 n : {r.executions, r.blocked, r.pruned, r.cut, u64{r.exhausted}}) to.put(n);
  for (const std::string& text : {r.failure, r.trace, r.replay}) to.put(text);
  to.put(u64{r.interleaved});
  to.put(r.steps.size());
  for (const step& s : r.steps) {
    to.put(s.thread);
    to.put(s.text);
    to.put(s.place);
    to.put(u64{s.note});
  }
  to.put(r.outcomes.size());
  for (const auto& [text, count] : r.outcomes) {
    to.put(text);
    to.put(count);
  }
  to.put(sites_seen::count);
  for (std::size_t i = 0; i < sites_seen::count; ++i) {
    const sites_seen::site& site = sites_seen::seen[i];
    to.put(reinterpret_cast<std::uintptr_t>(site.address));
    to.put(static_cast<u64>(site.what));
    to.put(site.order);
  }
  to.put(hash_count_);
  for (std::size_t i = 0; i < hash_capacity_; ++i) {
    if (hashes_[i] != 0) to.put(hashes_[i]);
  }
}

// Effects: adds what another process found.
inline void engine::unpack(parcel& from, report& r) {
  r.executions += from.number();
  r.blocked += from.number();
  r.pruned += from.number();
  r.cut += from.number();
  if (from.number() == 0) r.exhausted = false;
  const bool first = r.failure.empty();
  report other;
  for (std::string* const text : {&other.failure, &other.trace, &other.replay}) {
    *text = from.text();
  }
  other.interleaved = from.number() != 0;
  for (u64 n = from.number(); n != 0 && from.complete(); --n) {
    step s{};
    s.thread = static_cast<unsigned>(from.number());
    s.text = from.text();
    s.place = from.text();
    s.note = from.number() != 0;
    other.steps.push_back(std::move(s));
  }
  if (first && from.complete()) {
    r.failure = other.failure;
    r.trace = other.trace;
    r.replay = other.replay;
    r.steps = other.steps;
    r.interleaved = other.interleaved;
  }
  for (u64 n = from.number(); n != 0 && from.complete(); --n) {
    const std::string text = from.text();
    r.outcomes[text] += from.number();
  }
  for (u64 n = from.number(); n != 0 && from.complete(); --n) {
    const auto* const address = reinterpret_cast<const void*>(from.number());
    const auto what = static_cast<access_kind>(from.number());
    sites_seen::add({address, what, static_cast<u8>(from.number())});
  }
  for (u64 n = from.number(); n != 0 && from.complete(); --n) {
    if (remember(from.number())) ++r.distinct;
  }
}

// ---- processes ----------------------------------------------------------------------------------

// Effects: explores breadth-first until there is work for all, or none is left.
inline void engine::split_work(std::vector<work_item*>& items) {
  const std::size_t enough = std::size_t{64} * how.processes;
  items.assign(1, nullptr);
  while (!items.empty() && items.size() < enough) {
    std::vector<work_item*> found;
    std::size_t next = 0;
    for (; next < items.size() && items.size() - next + found.size() < enough; ++next) {
      if (!may_run()) break;
      run_one(items[next]);
      for (; stack_ != nullptr; stack_ = stack_->next) found.push_back(stack_);
      if (failed) break;
    }
    const bool over = failed || stopped_;
    next += failed ? 1 : 0;
    items.erase(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(next));
    items.insert(items.end(), found.begin(), found.end());
    if (!over) continue;
    for (work_item* const item : items) std::free(item);
    items.clear();
  }
}

// Effects: takes items as long as there are some. What is left belongs to the other processes.
inline void engine::work(const std::vector<work_item*>& items) {
  if (how.sample != sampling::none) {
    explore_samples();
    return;
  }
  while (!failed && !stopped_) {
    const u64 mine = __atomic_fetch_add(&shared_->next, u64{1}, __ATOMIC_RELAXED);
    if (mine >= items.size()) return;
    explore_below(items[mine]);
  }
}

// In the child: works, sends the report and ends without the program's clean-up.
[[noreturn]] inline void engine::be_child(int pipe, const std::vector<work_item*>& items) {
  child_ = true;
  granted_ = 0;
  report mine;
  out = &mine;
  forget_hashes();
  work(items);
  if (failed) {
    __atomic_store_n(&shared_->stop, 1, __ATOMIC_RELAXED);
    if (how.changed == nullptr) confirm_failure(mine);
  }
  mine.exhausted = !failed && !stopped_;
  parcel result;
  pack(mine, result);
  for (std::size_t sent = 0; sent < result.bytes.size();) {
    const ssize_t n = ::write(pipe, result.bytes.data() + sent, result.bytes.size() - sent);
    if (n < 0 && errno != EINTR) break;
    if (n > 0) sent += static_cast<std::size_t>(n);
  }
  _exit(0);
}

// Effects: starts as many processes as there are to be had, up to options::processes.
inline std::vector<child_process> engine::start_processes(const std::vector<work_item*>& items) {
  std::vector<child_process> children;
  int ends[2];
  while (children.size() < how.processes && ::pipe(ends) == 0) {
    const pid_t id = fork();
    if (id == 0) be_child(ends[1], items);
    ::close(ends[1]);
    if (id < 0) {
      ::close(ends[0]);
      break;
    }
    children.push_back({id, ends[0], {}});
  }
  return children;
}

// Effects: reads all pipes to their ends.
inline void engine::collect(std::vector<child_process>& children) {
  std::vector<pollfd> open;
  for (const child_process& child : children) open.push_back({child.pipe, POLLIN, 0});
  static char buffer[65536];
  for (std::size_t left = open.size(); left != 0;) {
    poll(open.data(), open.size(), 500);
    show_progress(__atomic_load_n(&shared_->runs, __ATOMIC_RELAXED));
    for (std::size_t i = 0; i < open.size(); ++i) {
      if (open[i].fd < 0 || open[i].revents == 0) continue;
      const ssize_t n = ::read(open[i].fd, buffer, sizeof buffer);
      if (n > 0) children[i].sent.bytes.append(buffer, static_cast<std::size_t>(n));
      if (n > 0 || (n < 0 && errno == EINTR)) continue;
      ::close(open[i].fd);
      open[i].fd = -1;
      --left;
    }
  }
}

// Effects: waits for the processes and adds up what they found.
inline void engine::gather(std::vector<child_process>& children, report& result) {
  collect(children);
  result.exhausted = true;
  for (child_process& child : children) {
    int status = 0;
    while (waitpid(child.id, &status, 0) < 0 && errno == EINTR) {}
    unpack(child.sent, result);
    if (child.sent.complete()) continue;
    result.exhausted = false;
    if (!result.failure.empty()) continue;
    result.failure = "a process of the exploration ended before its report: status " +
                     std::to_string(status) + ". Run with options::processes = 1 to see where";
  }
  stopped_ = !result.exhausted;
  failed = !result.failure.empty();
  final_ = true;  // it was run again where it was found
}

// Effects: the exploration, in several processes as soon as there is work for them.
inline void engine::explore_in_processes(report& result) {
  std::vector<work_item*> items;
  course_ = course::every;
  if (how.sample == sampling::none) {
    split_work(items);
    if (items.empty()) return;
    planned_ = items.size();
  }
  void* const memory = mmap(nullptr, sizeof(shared_state), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  std::vector<child_process> children;
  if (memory != MAP_FAILED) {
    shared_ = static_cast<shared_state*>(memory);
    *shared_ = own_state_;
    children = start_processes(items);
  }
  result.processes = children.empty() ? 1 : static_cast<unsigned>(children.size());
  if (children.size() < how.processes) {
    result.scope = "processes to be had: " + std::to_string(result.processes);
  }
  if (children.empty()) {
    work(items);
  } else {
    gather(children, result);
    for (work_item* const item : items) std::free(item);
  }
  if (memory == MAP_FAILED) return;
  own_state_ = *shared_;
  shared_ = &own_state_;
  munmap(memory, sizeof(shared_state));
}

// ---- the exploration ----------------------------------------------------------------------------

// Effects: what the counts of the report are the counts of.
inline void engine::describe(report& result) const {
  const auto add = [&](const std::string& text) {
    if (!result.scope.empty()) result.scope += "; ";
    result.scope += text;
  };
  if (how.sample != sampling::none) {
    constexpr const char* names[] = {"", "a random walk", "pct", "pos"};
    result.sampled = true;
    const u64 samples = result.executions + result.blocked + result.pruned;
    add(std::to_string(samples) + " samples by " + names[static_cast<int>(how.sample)] +
        ", seed " + std::to_string(how.seed) + ": " + std::to_string(result.distinct) +
        " different graphs; no proof");
  }
  if (how.departures != options::unlimited || how.max_events != 0) {
    result.bounded = true;
    std::string text = "bounded to ";
    if (how.departures != options::unlimited) {
      text += std::to_string(how.departures) + " departures";
    }
    if (how.max_events != 0) {
      text += (how.departures != options::unlimited ? " and " : "") +
              std::to_string(how.max_events) + " events of a thread";
    }
    add(text + ": " + std::to_string(result.cut) + " branches cut");
  }
  if (stopped_ && !failed) add("stopped before the end");
}

inline void engine::prepare_exploration(const std::function<void(world&)>& body,
                                        const options& what, report& result) {
  how = what;
  out = &result;
  body_ = &body;
  sc_.used = false;
  failed = misfit_ = final_ = stopped_ = child_ = false;
  poison = 0x01;
  granted_ = 0;
  planned_ = how.sample == sampling::none ? 0 : how.samples;
  own_state_ = shared_state{};
  shared_ = &own_state_;
  started_ = shown_ = wall_clock::now();
  shows_progress_ = (what.progress || what.budget.count() != 0) && isatty(STDERR_FILENO) == 1;
  tls = tls_block::of_program();
  if (initial_tls_ == nullptr && tls.size != 0) {
    initial_tls_ = static_cast<char*>(std::malloc(tls.size));
    std::memcpy(initial_tls_, tls.begin, tls.size);
  }
}

inline void engine::explore(const std::function<void(world&)>& body, const options& what,
                            report& result) {
  prepare_exploration(body, what, result);
  const char* const given = std::getenv("INTERLOCK_REPLAY");
  if (how.replay.empty() && given != nullptr) how.replay = given;
  if (!how.replay.empty()) {
    replay(how.replay, result);
  } else if (how.changed != nullptr || deterministic(result)) {
    if (how.processes > 1) {
      explore_in_processes(result);
    } else if (how.sample != sampling::none) {
      explore_samples();
    } else {
      explore_below(nullptr);
    }
    if (shows_progress_ && shown_ != started_) std::fputs("\r\x1b[K", stderr);
  }
  if (failed && how.replay.empty() && how.changed == nullptr) confirm_failure(result);
  result.exhausted = how.replay.empty() && how.sample == sampling::none && !failed && !stopped_ &&
                     result.cut == 0 && shared_->entangled == 0;
  result.entangled = shared_->entangled != 0;
  describe(result);
  out = nullptr;
}

}  // namespace
}  // namespace interlock::testing
