// SPDX-License-Identifier: BSL-1.0
// How fast the explorer is: executions per second of one core, for small programs and for some of
// about 25 events. Not a test: scripts/prove runs it and prints its lines.
//
//   speed NAME events executions runs seconds executions_per_s runs_per_s
//
// `events` is the number in the longest execution, `runs` counts the blocked and the pruned ones
// too, `seconds` is processor time: the median of five measurements of some tenths of a second,
// of one exploration or of as many as it takes.

#include <interlock/testing/model.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>

#include "front.hpp"
#if !defined(INTERLOCK_FRONT_B)
#include <interlock/async_mutex.hpp>

#include "support/detached.hpp"
#endif

using testing::world;

namespace {

unsigned longest = 0;       // events of an execution
bool counts_events = false;

// At the end of a body: all threads were joined.
void ends() {
  if (!counts_events) return;
  const testing::moment now = testing::here();
  unsigned events = now.events;
  for (std::size_t t = 1; t < now.known.size(); ++t) {
    if (now.known[t] != 0) events += now.known[t] - 1U;
  }
  longest = std::max(longest, events);
}

void store_buffering(world& w) {
  atomic<int> x{0}, y{0};
  int a = 0, b = 0;
  w.thread([&] { x.store(1, rlx), a = y.load(rlx); });
  w.thread([&] { y.store(1, rlx), b = x.load(rlx); });
  w.finally([&] { testing::check(a + b <= 2, "a value that was stored"), ends(); });
}

void message_passing(world& w) {
  plain<int> data{0};
  atomic<int> ready{0};
  w.thread([&] { data = 1, ready.store(1, rel); });
  w.thread([&] {
    if (ready.load(acq) == 1) testing::check(data == 1, "the message is there");
  });
  w.finally([] { ends(); });
}

void independent_reads(world& w) {
  atomic<int> x{0}, y{0};
  w.thread([&] { x.store(1, rlx); });
  w.thread([&] { y.store(1, rlx); });
  for (int t = 0; t < 2; ++t) {
    w.thread([&, t] {
      (void)(t == 0 ? x : y).load(acq);
      (void)(t == 0 ? y : x).load(acq);
    });
  }
  w.finally([] { ends(); });
}

void ring(world& w) {  // each stores and looks at what the others store
  std::array<atomic<int>, 3> x{0, 0, 0};
  for (std::size_t t = 0; t < 3; ++t) {
    w.thread([&, t] {
      x[t].store(1, rlx);
      (void)x[(t + 1) % 3].load(rlx);
      (void)x[(t + 2) % 3].load(rlx);
    });
  }
  w.finally([] { ends(); });
}

void one_object(world& w) {  // a store and two loads of the same object in each of three threads
  atomic<int> x{0};
  for (int t = 1; t <= 3; ++t) {
    w.thread([&, t] {
      x.store(t, rlx);
      (void)x.load(rlx);
      (void)x.load(rlx);
    });
  }
  w.finally([] { ends(); });
}

void flags(world& w) {  // Dekker's, for both to see each other or one of them
  atomic<int> x{0}, y{0};
  int a = 0, b = 0;
  w.thread([&] { x.store(1, sc), a = y.load(sc); });
  w.thread([&] { y.store(1, sc), b = x.load(sc); });
  w.finally([&] { testing::check(a + b > 0, "one sees the other"), ends(); });
}

void add(world& w, int threads, int rounds) {
  atomic<int> x{0};
  for (int t = 0; t < threads; ++t) {
    w.thread([&x, rounds] {
      for (int i = 0; i < rounds; ++i) x.fetch_add(1, rlx);
    });
  }
  w.finally([&] { testing::check(x.load(rlx) == threads * rounds, "none is lost"), ends(); });
}

// Vyukov's queue of many producers and one consumer, who spins.
void queue(world& w, int producers, int items) {
  struct node {
    atomic<node*> next{nullptr};
    plain<int> item{0};
  };
  node stub;
  node nodes[3][4];
  atomic<node*> back{&stub};
  for (int p = 0; p < producers; ++p) {
    w.thread([&, p] {
      for (int i = 0; i < items; ++i) {
        nodes[p][i].item = i;
        nodes[p][i].next.store(nullptr, rlx);
        back.exchange(&nodes[p][i], ar)->next.store(&nodes[p][i], rel);
      }
    });
  }
  w.thread([&] {
    node* front = &stub;
    int sum = 0;
    for (int i = 0; i < producers * items; ++i) {
      node* next = nullptr;
      while ((next = front->next.load(acq)) == nullptr) testing::spin_hint();
      front = next;
      sum += front->item;
    }
    testing::check(sum == producers * items * (items - 1) / 2, "all items came");
  });
  w.finally([] { ends(); });
}

void stack(world& w, int threads) {  // Treiber's
  struct node {
    plain<node*> next{nullptr};
  };
  node nodes[3];
  atomic<node*> head{nullptr};
  for (int t = 0; t < threads; ++t) {
    w.thread([&, t] {
      node* old = head.load(rlx);
      do {
        nodes[t].next = old;
      } while (!head.compare_exchange_strong(old, &nodes[t], rel, rlx));
      for (old = head.load(acq); old != nullptr;) {
        node* const next = old->next;
        if (head.compare_exchange_strong(old, next, acq, acq)) break;
      }
      testing::check(old != nullptr, "there is one for each");
    });
  }
  w.finally([] { ends(); });
}

#if !defined(INTERLOCK_FRONT_B)
support::detached section(interlock::async_mutex& door, int& inside) {
  const auto held = co_await door.lock();
  ++inside;
}
void mutex(world& w, int threads, int rounds) {
  auto* const door = new interlock::async_mutex;
  int inside = 0;
  for (int t = 0; t < threads; ++t) {
    w.thread([&, door, rounds] {
      for (int i = 0; i < rounds; ++i) section(*door, inside);
    });
  }
  w.finally([&, door] {
    testing::check(inside == threads * rounds, "every section was run");
    delete door;
    ends();
  });
}
#endif

double cpu_seconds() {
  std::timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

struct measured {
  double executions = 0, runs = 0, seconds = 0;
};

measured once(const std::function<void(world&)>& body, double at_least) {
  measured m;
  const double start = cpu_seconds();
  do {
    const testing::report report = testing::explore(body);
    if (!report.proved()) {
      std::printf("%s\n", report.text().c_str());
      std::exit(1);
    }
    m.executions += static_cast<double>(report.executions);
    m.runs += static_cast<double>(report.executions + report.blocked + report.pruned);
    m.seconds = cpu_seconds() - start;
  } while (m.seconds < at_least);
  return m;
}

double seconds_each = 0.2;
const char* only = nullptr;

void measure(const char* name, const std::function<void(world&)>& body) {
  if (only != nullptr && std::strstr(name, only) == nullptr) return;
  longest = 0;
  counts_events = true;
  (void)once(body, 0);
  counts_events = false;
  std::array<measured, 5> all;
  for (measured& m : all) m = once(body, seconds_each);
  std::sort(all.begin(), all.end(), [](const measured& a, const measured& b) {
    return a.executions / a.seconds < b.executions / b.seconds;
  });
  const measured& m = all[all.size() / 2];
  std::printf("speed %-18s %3u %9.0f %9.0f %.3f %8.0f %8.0f\n", name, longest, m.executions, m.runs,
              m.seconds, m.executions / m.seconds, m.runs / m.seconds);
  std::fflush(stdout);
}

}  // namespace

// speed [seconds of one measurement [part of a name]]
int main(int count, char** arguments) {
  if (count > 1) seconds_each = std::atof(arguments[1]);
  if (count > 2) only = arguments[2];
  measure("store_buffering", store_buffering);
  measure("message_passing", message_passing);
  measure("independent_reads", independent_reads);
  measure("ring", ring);
  measure("one_object", one_object);
  measure("flags_seq_cst", flags);
  measure("add_3x1", [](world& w) { add(w, 3, 1); });
  measure("add_5x1", [](world& w) { add(w, 5, 1); });
  measure("add_2x2", [](world& w) { add(w, 2, 2); });
  measure("stack_2", [](world& w) { stack(w, 2); });
  measure("add_3x4", [](world& w) { add(w, 3, 4); });
  measure("stack_3", [](world& w) { stack(w, 3); });
  measure("queue_2x3", [](world& w) { queue(w, 2, 3); });
  measure("queue_3x2", [](world& w) { queue(w, 3, 2); });
#if !defined(INTERLOCK_FRONT_B)
  measure("async_mutex_2x1", [](world& w) { mutex(w, 2, 1); });
  measure("async_mutex_3x1", [](world& w) { mutex(w, 3, 1); });
#endif
  return 0;
}
