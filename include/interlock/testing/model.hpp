// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/model.hpp - runs a small concurrent test in every way that RC11 allows: C++20
// without load buffering.
//
// Problem     A stress test sees the interleavings and the stale values that one machine happens to
//             produce today. A wrong memory order passes it for years.
// Guarantee   Each execution graph of the body that RC11 allows is run exactly once.
//             A proved report has seen them all.
// Progress    blocking: explore() runs on the calling thread, one exploration at a time.
// Cost        One run for each execution, some microseconds each. Their number grows quickly: two
//             or three threads of two or three operations are right. More can be sampled.
// Lifetime    The body, and what it refers to, outlive explore().
// Not for     I/O, sleeping, std::thread (world::thread is), more than seven threads.
//
// Example     // examples/testing/model.cpp
//             const auto report = testing::explore([](testing::world& w) {
//               testing::atomic<int> hits{0};
//               for (int i = 0; i < 2; ++i) w.thread([&] { hits.fetch_add(1); });
//               w.finally([&] { testing::check(hits.load() == 2, "no hit is lost"); });
//             });

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

// Two ways to make the engine see the code under test:
//   A  compile it with -fsanitize=thread and link the target interlock::testing instead of the
//      sanitizer (that is: do not pass the flag to the linker). Unmodified std::atomic, plain
//      fields and coroutine frames are all seen. Include this header first.
//   B  write it with testing::atomic<T> and testing::var<T>. Works without compiler support.
//
// docs/internals/explorer.md explains the algorithm and what it does not cover.

// The library waits through these alone. Kept out of line here, they are found at link time in the
// runtime, which puts the explorer's own in their place.
namespace interlock::detail {
[[gnu::noinline]] void park(const std::atomic<std::uint32_t>& word,
                            std::uint32_t expected) noexcept;
[[gnu::noinline]] bool park_until(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                                  std::chrono::steady_clock::time_point deadline) noexcept;
[[gnu::noinline]] void unpark_one(const std::atomic<std::uint32_t>* word) noexcept;
[[gnu::noinline]] void unpark_all(const std::atomic<std::uint32_t>* word) noexcept;
[[gnu::noinline]] void spin_hint(unsigned round) noexcept;
[[gnu::noinline]] const void* this_thread() noexcept;  // who runs; waits for nobody
}  // namespace interlock::detail

namespace interlock::testing {

struct mutation;  // a change of the program under test: mutation.hpp

// How executions are drawn that are too many to see all: which thread goes on. What it reads, and
// where its stores go, is drawn as well.
enum class sampling {
  none,         // all are explored
  random_walk,  // any thread, at each event
  pct,          // priorities, changed `pct_depth` - 1 times (Burckhardt et al., ASPLOS 2010)
  pos           // a priority for each event, drawn again after a conflict (Yuan et al., CAV 2018)
};

struct options {
  static constexpr unsigned unlimited = ~0U;

  // How much to see. What was left out stands in report::scope, and then nothing is proved().
  std::uint64_t max_runs = 0;              // runs; 0: until all are done
  std::chrono::milliseconds budget{0};     // wall time, looked at every 64 runs; 0: no limit
  unsigned departures = unlimited;         // at most so many old values, other orders of stores and
                                           // other choices on the way to an execution
  unsigned max_events = 0;                 // of a thread, which then stops; 0: as many as fit (600)
  sampling sample = sampling::none;        // draw executions instead ...
  std::uint64_t samples = 10000;           // ... so many,
  std::uint64_t seed = 1;                  // the same ones for the same seed
  unsigned pct_depth = 3;                  // how many ordered events a mistake needs, up to 17
  unsigned processes = 1;                  // that share the work
  bool progress = false;                   // a line on a terminal twice a second; also by a budget
  std::string replay;                      // a report::replay: run that execution alone

  // What happens in an execution.
  unsigned spurious_wakeups = 0;    // how often park() and condition variables return for no
                                    // reason, per thread
  unsigned spurious_failures = 0;   // how often compare_exchange_weak does so, per thread; with
                                    // Clang only that of testing::atomic
  unsigned allocation_failures = 0;  // how many allocations fail, per execution; never the body's
  bool reuse_memory = true;         // an allocation may get a block that its thread has freed
  bool whole_waits = false;         // a wait that spins first is one step: it does not park
  bool leaks = true;                // a complete execution has freed what it allocated
  bool count_distinct = false;      // hash each complete graph, so as to see one that comes twice
  bool symmetry = true;             // use that the threads of world::threads() are alike
  bool source_lines = true;         // ask addr2line where the events of a failing execution are
  const mutation* changed = nullptr;  // for mutate() alone
};

// One event of the failing execution, or what note() said of the one before.
struct step {
  unsigned thread;    // 0 is the body
  std::string text;   // "x1 := 5 release", or the note
  std::string place;  // "file.cpp:12"; may be empty
  bool note = false;
};

struct report {
  std::uint64_t executions = 0;  // complete ones
  std::uint64_t blocked = 0;     // a spinning thread waits for what this graph does not bring
  std::uint64_t pruned = 0;      // given up: not an execution (two updates of one value)
  std::uint64_t distinct = 0;    // different complete graphs, if counted or sampled
  std::uint64_t cut = 0;         // branches left out by `departures` and by `max_events`
  bool exhausted = false;        // all executions were seen
  bool bounded = false;          // options asked for `departures` or `max_events`
  bool sampled = false;
  unsigned processes = 1;        // that did the work
  std::string scope;             // what these counts are the counts of; empty: of all
  bool entangled = false;        // symmetry would have missed some: it was not used
  std::string failure;           // empty: none
  std::string replay;            // of a failure: options::replay, or INTERLOCK_REPLAY around the
                                 // program, runs this execution alone; it holds no address
  std::string trace;             // the failing execution, a column for each thread
  std::vector<step> steps;       // the same as a list
  bool interleaved = false;      // each read of the list sees the last store before it
  std::map<std::string, std::uint64_t> outcomes;  // what world::outcome() was told

  // Returns: whether every execution was seen and none failed.
  [[nodiscard]] bool proved() const noexcept { return exhausted && failure.empty(); }
  // Returns: a line with the counts, or the failure with its trace.
  [[nodiscard]] std::string text() const;
};

// Effects: 0 or up to n - 1: explores them all.
// Preconditions: called in an explored thread.
[[nodiscard]] unsigned choose(unsigned n);

class world {
public:
  world() = default;
  ~world();
  world(const world&) = delete;
  world& operator=(const world&) = delete;

  // Effects: adds a thread. It starts when the body calls join() or finally().
  template <class Function>
  void thread(Function function) {
    add_copy(std::move(function), 0);
  }

  // Effects: adds n threads that all run the function. Executions that differ only in which of them
  //          is which are explored once: up to n! times fewer.
  // Preconditions: neither the function nor a check asks which thread it is in, or which of two
  //                addresses is lower.
  template <class Function>
  void threads(unsigned n, const Function& function) {
    ++groups_;
    for (unsigned i = 0; i < n; ++i) add_copy(function, groups_);
  }

  // Effects: adds a thread that runs the function at any moment, or not at all: a cancellation, so
  //          that a wait is called off wherever it may be suspended.
  template <class Function>
  void interruption(Function function) {
    thread([what = std::move(function)]() mutable {
      if (choose(2) == 0) what();
    });
  }

  // Effects: runs the threads added so far and waits for them.
  void join();

  // Effects: join(), then runs the function: for the checks that hold at the end.
  template <class Function>
  void finally(Function&& function) {
    join();
    std::forward<Function>(function)();
  }

  // Effects: counts this execution under these numbers in report::outcomes, as "1 0".
  template <class... Numbers>
  void outcome(Numbers... numbers) {
    const long long list[] = {static_cast<long long>(numbers)...};
    record_outcome(list, sizeof...(numbers));
  }

private:
  struct work {  // not std::function: each of its steps would be a plain access to look at
    void* function = nullptr;
    void (*call)(void* function) = nullptr;
    void (*destroy)(void* function) = nullptr;
  };
  template <class Function>
  void add_copy(Function function, unsigned group) {
    add({new Function(std::move(function)), [](void* f) { (*static_cast<Function*>(f))(); },
         [](void* f) { delete static_cast<Function*>(f); }},
        group);
  }
  void add(const work& what, unsigned group);
  static void record_outcome(const long long* numbers, std::size_t count);

  std::array<work, 8> work_{};
  std::size_t count_ = 0;
  unsigned groups_ = 0;
};

// Effects: runs the body once for each execution graph that the memory model allows. The body makes
//          what is tested, adds threads to the world and calls world.finally or world.join; objects
//          of the body are gone when it returns, so it must not return before.
//          The first execution is run three times, with other leftovers in memory, and a failing
//          one twice: what differs is reported as a body that is not deterministic.
// Returns: the counts, or the first failure: a check that does not hold, a data race on plain
//          memory, a deadlock, a use after free, a double free, a leak, an uncaught exception.
report explore(const options& how, const std::function<void(world&)>& body);
inline report explore(const std::function<void(world&)>& body) { return explore(options{}, body); }

// Effects: ends the exploration with this failure if the condition does not hold.
void check(bool condition, const char* sentence,
           std::source_location where = std::source_location::current());

// Effects: says in the trace of a failing execution what this thread has just done, as "reads 5".
//          Costs the copy of the text, which may be a temporary.
void note(const char* text, std::source_location where = std::source_location::current());

// Effects: lets time pass for this thread, and for those that learn of what it does next.
// Notes:   The clocks of explored threads stand still but for this and for waits that time out.
//          A thread's time is the latest that it knows to have passed; clocks begin at the same
//          time in each execution. Loops that spin until a deadline need it; it is no event.
void advance(std::chrono::nanoseconds duration);

// Effects: says that this thread repeats what it did until another thread acts. A loop that only
//          reads between two hints waits for a store instead of running forever.
void spin_hint();

// As long as one lives, what its thread does to plain memory is not seen and what it allocates is
// not explored: for tools that watch a test. Atomic operations have no place in there.
class unseen {
public:
  unseen();
  unseen(const unseen&) = delete;
  unseen& operator=(const unseen&) = delete;
  ~unseen();
};

// A point of an explored thread. What lies between two of them is ordered by happens-before, which
// is all the time that there is under a weak memory model.
struct moment {
  std::uint32_t thread = 0;               // in the order of world::thread; 0 is the body
  std::uint32_t events = 0;               // of this thread, before
  std::uint32_t number = 0;               // of this thread's moments, from 1
  std::array<std::uint16_t, 8> known{};   // events of each thread that happen before
};

// Effects: none on the exploration: it is no event and orders nothing.
// Preconditions: called in an explored thread.
[[nodiscard]] moment here();

// Returns: whether all that comes before `a` in its thread, and `a` itself, happens before `b`:
//          the thread did something after `a` that `b`'s thread has synchronized with.
[[nodiscard]] inline bool precedes(const moment& a, const moment& b) noexcept {
  return a.thread == b.thread ? a.number < b.number : b.known[a.thread] > a.events;
}

// ---- Front end B --------------------------------------------------------------------------------

namespace model_detail {
enum class update { exchange, add, subtract, bit_and, bit_or, bit_xor, bit_nand };
void load(const void* where, std::size_t size, void* result, std::memory_order order);
void store(void* where, std::size_t size, const void* value, std::memory_order order);
void modify(void* where, std::size_t size, update what, const void* operand, void* old,
            std::memory_order order);
bool compare_exchange(void* where, std::size_t size, void* expected, const void* desired,
                      std::memory_order success, std::memory_order failure, bool weak);
void fence(std::memory_order order);
void plain_read(const void* where, std::size_t size);
void plain_write(void* where, std::size_t size);
constexpr std::memory_order failure_order(std::memory_order success) {
  if (success == std::memory_order_acq_rel) return std::memory_order_acquire;
  if (success == std::memory_order_release) return std::memory_order_relaxed;
  return success;
}
}  // namespace model_detail

// As std::atomic<T>, for a T of 1, 2, 4, 8 or 16 bytes without padding.
template <class T>
class atomic {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 16 &&
                    (sizeof(T) & (sizeof(T) - 1)) == 0,
                "testing::atomic<T> holds a trivially copyable T of 1, 2, 4, 8 or 16 bytes");

public:
  atomic() : atomic(T{}) {}
  atomic(T value) {  // NOLINT: as std::atomic
    model_detail::plain_write(&value_, sizeof(T));
    value_ = value;
  }
  atomic(const atomic&) = delete;
  atomic& operator=(const atomic&) = delete;

  T load(std::memory_order order = std::memory_order_seq_cst) const {
    T result;
    model_detail::load(&value_, sizeof(T), &result, order);
    return result;
  }
  void store(T value, std::memory_order order = std::memory_order_seq_cst) {
    model_detail::store(&value_, sizeof(T), &value, order);
  }
  T exchange(T value, std::memory_order order = std::memory_order_seq_cst) {
    return modify(model_detail::update::exchange, value, order);
  }
  T fetch_add(T value, std::memory_order order = std::memory_order_seq_cst) {
    return modify(model_detail::update::add, value, order);
  }
  T fetch_sub(T value, std::memory_order order = std::memory_order_seq_cst) {
    return modify(model_detail::update::subtract, value, order);
  }
  T fetch_and(T value, std::memory_order order = std::memory_order_seq_cst) {
    return modify(model_detail::update::bit_and, value, order);
  }
  T fetch_or(T value, std::memory_order order = std::memory_order_seq_cst) {
    return modify(model_detail::update::bit_or, value, order);
  }
  T fetch_xor(T value, std::memory_order order = std::memory_order_seq_cst) {
    return modify(model_detail::update::bit_xor, value, order);
  }
  bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                               std::memory_order failure) {
    return model_detail::compare_exchange(&value_, sizeof(T), &expected, &desired, success,
                                          failure, false);
  }
  bool compare_exchange_strong(T& expected, T desired,
                               std::memory_order order = std::memory_order_seq_cst) {
    return compare_exchange_strong(expected, desired, order, model_detail::failure_order(order));
  }
  bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                             std::memory_order failure) {
    return model_detail::compare_exchange(&value_, sizeof(T), &expected, &desired, success,
                                          failure, true);
  }
  bool compare_exchange_weak(T& expected, T desired,
                             std::memory_order order = std::memory_order_seq_cst) {
    return compare_exchange_weak(expected, desired, order, model_detail::failure_order(order));
  }

private:
  T modify(model_detail::update what, T operand, std::memory_order order) {
    T old;
    model_detail::modify(&value_, sizeof(T), what, &operand, &old, order);
    return old;
  }

  alignas(sizeof(T)) T value_;
};

inline void atomic_thread_fence(std::memory_order order) { model_detail::fence(order); }

// A plain variable whose accesses are checked for data races.
template <class T>
class var {
public:
  var() : var(T{}) {}
  var(T value) {  // NOLINT: as a plain variable
    model_detail::plain_write(&value_, sizeof(T));
    value_ = std::move(value);
  }
  var(const var&) = delete;
  var& operator=(const var&) = delete;
  ~var() { model_detail::plain_write(&value_, sizeof(T)); }

  const T& get() const {
    model_detail::plain_read(&value_, sizeof(T));
    return value_;
  }
  operator const T&() const { return get(); }  // NOLINT: as a plain variable
  var& operator=(T value) {
    model_detail::plain_write(&value_, sizeof(T));
    value_ = std::move(value);
    return *this;
  }

private:
  T value_{};
};

}  // namespace interlock::testing
