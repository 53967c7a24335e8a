// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/engine.hpp - visits each execution graph once.
//
// M. Kokologiannakis, I. Marmanis, V. Gladstein, V. Vafeiadis, "Truly Stateless, Optimal Dynamic
// Partial Order Reduction", POPL 2022, run natively: a graph is replayed by running the code on
// fibers in an order that follows po and rf, then extended event by event. Each alternative
// (another store to read from, another place in co, an earlier read that could see a new store) is
// a copy of the graph on a stack of work.
//
// A fiber posts an operation. Where the operation is the next thing to happen, it is processed at
// once, on the fiber's stack; otherwise the fiber leaves, and the host decides who goes on.

#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <new>
#include <string>
#include <vector>

#include <unwind.h>

#include "interlock/testing/model.hpp"

#include "fiber.hpp"
#include "graph.hpp"
#include "memory.hpp"

namespace interlock::testing {
namespace {

enum class op_kind : u8 {
  none, load, store, update, fence, choice, park, unpark, join, plain, end
};
// The last three are those of locks: they write only where the lock lets them in.
enum class update_kind : u8 {
  exchange, add, subtract, bit_and, bit_or, bit_xor, nand, compare, lock, lock_shared, once
};

// What a choice is about; kept in the event for the report.
enum class choice_of : u8 { user, wake_up, deadline, memory, allocation, exchange, sleeper };

struct operation {
  op_kind what = op_kind::none;
  update_kind update = update_kind::exchange;
  u8 order = 0;
  u8 order_fail = 0;
  u8 phase = 0;
  u8 size = 0;
  choice_of about = choice_of::user;
  bool success = false;
  bool waits = false;  // lock: until it is let in; park: on a condition variable
  bool unchecked = false;  // park: a mutation
  u16 location = unknown;
  static constexpr u16 unknown = 0xFFFF;
  u16 read_at = 0;
  u16 sleeper = 0;  // park: the store by which it went to sleep
  unsigned options = 0;
  std::uintptr_t address = 0;
  value_t operand;
  value_t expected;
  value_t result;
  const void* site = nullptr;
};

// What sleepers and wakers store into the hidden queue of a parking word.
constexpr u64 queue_sleep = 1, queue_wake_one = 2, queue_wake_all = 3;

// What a mutation holds back: src/testing/mutation.hpp.
struct delayed_store {
  volatile void* where = nullptr;
  u8 size = 0;
  u8 order = 0;
  value_t value;
  const void* site = nullptr;
};

// The functions that a thread is in, each with the lowest address of its frame.
struct frame_list {
  static constexpr unsigned capacity = 256;
  unsigned depth = 0;
  unsigned beyond = 0;                // how many more there are
  std::uintptr_t used_by_others = 0;  // the lowest address of what another thread has touched
  std::uintptr_t lowest[capacity];

  struct object {  // an atomic one
    std::uintptr_t address;
    u16 ended;  // how many have been at this address and are gone
    bool alive;
  };
  static constexpr unsigned most_objects = 64;
  object objects[most_objects];
  unsigned object_count = 0;

  void enter(std::uintptr_t frame) noexcept;
  std::uintptr_t exit(std::uintptr_t frame) noexcept;
};

// A lock that a thread holds.
struct held_lock {
  std::uintptr_t address;
  bool shared;
  unsigned count;
};

enum class thread_state : u8 { unused, added, running, posted, awaiting, finished };

constexpr unsigned max_awaited = 8;

struct explored_thread {
  fiber stack;
  thread_state state = thread_state::unused;
  void (*call)(void* function) = nullptr;
  void* function = nullptr;
  operation op;
  u16 done = 0;      // events executed in this run
  u16 recorded = 0;  // events that the graph had at the start of the run
  u16 waits_for = no_wait;  // an event that has to be replayed first; or one of these:
  static constexpr u16 no_wait = 0xFFFF, end_of_replay = 0xFFFE, end_of_threads = 0xFFFD;
  u16 at[max_events];
  vector_clock hb, seen, porf;
  vector_clock pending_hb, pending_seen;  // what an acquire fence would join
  vector_clock fence_hb, fence_seen;      // at the last release fence
  unsigned hints = 0;                     // calls of spin_hint
  u16 hinted_at = 0;                      // `done` at the last of them
  unsigned repeats = 0;                   // reads answered again since the last event
  u16 awaited[max_awaited];               // the reads that were
  unsigned awaited_hint[max_awaited];     // `hints` when they last were
  unsigned awaited_count = 0;
  unsigned spurious = 0;                  // wake-ups for no reason
  unsigned failed_exchanges = 0;          // for no reason
  delayed_store delayed;
  u8 group = 0;  // of the threads that run the same function; 0: none
  unsigned moments = 0;                   // calls of here()
  u64 time = 0;                           // ns: the latest that this thread knows to have passed
  bool has_deadline = false;              // it is parked, but would time out
  std::uintptr_t live_from = 0;           // its stack is in use from here to the top
  frame_list frames;
  static constexpr unsigned max_held = 16;
  held_lock held[max_held];
  unsigned held_count = 0;
  bool learns = false;                    // goes on from waiting: its next read is a newer one
  u16 newer_than = 0;                     // ... than this place in co, and that one
};

// The state of a lock is no memory of the program; its place has the lock's address and this bit.
constexpr std::uintptr_t lock_bit = std::uintptr_t{1} << 62U;

struct place {  // an atomic object, or the hidden queue of a parking word
  std::uintptr_t address = 0;
  u8 size = 0;
  bool hidden = false;
  [[nodiscard]] bool is_lock() const noexcept { return (address & lock_bit) != 0; }
  u64 execution = 0;  // the run in which the rest was filled
  u16 life = 0;         // how often its memory was used again before
  bool known = false;  // whether the initial value was taken in this run
  value_t initial_value;
  u16 unread_plain = initial;  // a plain store whose value is still to be fetched
  u16 stores = 0, reads = 0;
  u16 in_memory = 0;  // position + 1 of the store whose value the memory holds
  u16 co[max_events];
  u16 readers[max_events];
};

struct remark {  // what note() was told
  u8 thread;
  u16 after;  // how many events its thread had done
  u16 text;   // where it begins in `remark_text`
  const char* file;
  unsigned line;
};

struct work_item {
  work_item* next;
  u16 size;
  unsigned departures;  // from the default, on the way to this graph
  event events[1];
};

// What decides between the options of the next event.
enum class course : u8 {
  every,   // all are explored
  first,   // the default alone: the newest store, the end of co, the first choice
  random,  // one of them
  given    // the one that a replay string says
};

// What the processes of an exploration share.
struct shared_state {
  u64 runs = 0;  // begun, in portions
  u64 next = 0;  // work item, or sample
  int stop = 0;  // one of them has failed
  int entangled = 0;  // symmetry would miss something
};

struct replay_step {
  u8 thread;
  u16 option;
};
struct same_event;
class parcel;
struct child_process;

struct random_bits {  // G. Steele, D. Lea, C. Flood, "splitmix", OOPSLA 2014
  u64 state = 0;

  void seed(u64 seed, u64 number) noexcept {
    state = seed;
    state = next() ^ number;
  }
  u64 next() noexcept {
    state += 0x9E3779B97F4A7C15U;
    u64 z = (state ^ (state >> 30U)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27U)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31U);
  }
  unsigned below(unsigned n) noexcept { return static_cast<unsigned>((next() >> 32U) * n >> 32U); }
};

// Which thread goes on, in a sampled execution.
class sampler {
public:
  void begin(sampling how, unsigned depth, unsigned events, random_bits& random);
  unsigned next(unsigned candidates, random_bits& random) const;
  void after(unsigned id, const operation& op, u16 executed, const explored_thread* threads,
             random_bits& random);

private:
  static constexpr unsigned max_changes = 16;

  sampling policy_ = sampling::none;
  i64 priority_[max_threads];
  u16 change_at_[max_changes];
  unsigned changes_ = 0;
  i64 lowest_ = 0;
};

inline value_t masked(value_t v, unsigned size) {
  if (size < 8) v.low &= (u64{1} << (size * 8)) - 1;
  if (size <= 8) v.high = 0;
  return v;
}

inline value_t updated(const operation& op, value_t old) {
  const value_t& x = op.operand;
  switch (op.update) {
    case update_kind::exchange:
    case update_kind::compare:
    case update_kind::lock:
    case update_kind::once: return x;
    case update_kind::lock_shared: return {old.low + 1, 0};
    case update_kind::add: {
      const u64 low = old.low + x.low;
      return masked({low, old.high + x.high + (low < old.low ? 1U : 0U)}, op.size);
    }
    case update_kind::subtract:
      return masked({old.low - x.low, old.high - x.high - (old.low < x.low ? 1U : 0U)}, op.size);
    case update_kind::bit_and: return {old.low & x.low, old.high & x.high};
    case update_kind::bit_or: return {old.low | x.low, old.high | x.high};
    case update_kind::bit_xor: return {old.low ^ x.low, old.high ^ x.high};
    case update_kind::nand: return masked({~(old.low & x.low), ~(old.high & x.high)}, op.size);
  }
  return old;
}

// What a lock holds: 0 if it is free, the number of shared owners, or this.
constexpr u64 lock_taken = u64{1} << 31U;
constexpr u64 once_runs = 1, once_done = 2;

// Returns: whether the update stores something where it finds this value.
inline bool writes(const operation& op, const value_t& old) {
  switch (op.update) {
    case update_kind::compare: return old == op.expected;
    case update_kind::lock:
    case update_kind::once: return old.low == 0;
    case update_kind::lock_shared: return (old.low & lock_taken) == 0;
    default: return true;
  }
}

// Returns: whether the update waits for another value than this one.
inline bool waits(const operation& op, const value_t& old) {
  return op.waits && !writes(op, old) && !(op.update == update_kind::once && old.low == once_done);
}

class engine {
public:
  static constexpr unsigned max_places = 2000;
  static constexpr unsigned repeats_before_waiting = 64;

  // ---- what fibers call ----

  explored_thread* current = nullptr;
  unsigned current_id = no_thread;

  void post();

  // Called on a fiber: keeps the text, the host makes the report. (Memory that a fiber allocates
  // is the arena's.)
  [[noreturn]] void fail_here(const char* text, const void* site, const char* more = "") {
    std::snprintf(failure_text_, sizeof failure_text_, "%s%s", text, more);
    failure_site_ = site;
    failure_pending_ = true;
    note_callers();
    explored_thread* const self = current;
    for (;;) self->stack.leave();
  }

  // Effects: keeps the frames of the fiber that fails: the place may be in a library's function.
  void note_callers() {
    failure_callers_count_ = 0;
    _Unwind_Backtrace(
        [](_Unwind_Context* context, void* argument) {
          auto& e = *static_cast<engine*>(argument);
          e.failure_callers_[e.failure_callers_count_++] =
              reinterpret_cast<const void*>(_Unwind_GetIP(context));
          return e.failure_callers_count_ == max_callers ? _URC_NORMAL_STOP : _URC_NO_REASON;
        },
        this);
  }

  void plain(std::uintptr_t address, std::size_t size, u8 flags, const void* site) {
    if (tls.holds(address)) return;
    bool of_atomic = false;
    const char* const problem = touch(address, size, flags, current_id, 0, of_atomic);
    if (problem != nullptr) fail_here(problem, site);
    if (of_atomic && (flags & access_write) != 0 && (flags & access_free) == 0) {
      overwrite_atomics(address, size, site);
    }
  }

  // Called on a fiber: the text is copied to what is not the arena's.
  void note(const char* text, const char* file, unsigned line) {
    const std::size_t size = std::strlen(text) + 1;
    if (remark_count_ == max_remarks || remark_used_ + size > sizeof remark_text_) return;
    std::memcpy(remark_text_ + remark_used_, text, size);
    remarks_[remark_count_++] = {static_cast<u8>(current_id), current->done, to16(remark_used_),
                                 file, line};
    remark_used_ += size;
  }

  void prepare(explored_thread& t);

  // Returns: whether the current thread accessed this object from another line of the code; `value`
  // is then what it saw or left there.
  bool last_seen(std::uintptr_t address, u8 size, const void* site, value_t& value) {
    const u16 location = place_of(address, size, false);
    for (u16 i = current->done; i-- > 0;) {
      const event& e = g_.events[current->at[i]];
      if (!is_access(e) || e.location != location) continue;
      value = e.what == kind::write ? e.value : value_of(g_, e);
      return e.site != site;
    }
    return false;
  }

  void* allocate(std::size_t size, std::size_t alignment, const void* site) {
    void* const memory = heap.allocate(current_id, size, alignment, site, poison);
    if (memory == nullptr) fail_here("a thread allocates more than 32 MiB", site);
    return memory;
  }

  void release_memory(void* user, const void* site) {
    arena::block* const header = heap.find(user);
    if (header == nullptr) fail_here("delete of what was not allocated in this execution", site);
    if (arena::freed(*header)) fail_here("double free", site);
    if (unseen != 0) return arena::mark_dropped(*header);
    plain(reinterpret_cast<std::uintptr_t>(user), header->size == 0 ? 1 : header->size,
          access_write | access_free, site);
    heap.mark_freed(current_id, *header);
  }

  u16 lives_on_stack_before(std::uintptr_t address) noexcept;
  void end_objects(std::uintptr_t end) noexcept;
  void end_of_frame(std::uintptr_t end, const void* site);
  void* reuse_memory(arena::block& block, std::size_t size, const void* site);
  [[nodiscard]] unsigned failed_allocations() const;

  // ---- the exploration ----

  tls_block tls;
  arena heap;
  unsigned unseen = 0;  // objects of that type that live
  int poison = 0xFF;
  int stack_fill = -1;  // what stacks are filled with; -1: what was there before
  report* out = nullptr;
  options how;
  bool failed = false;

  void explore(const std::function<void(world&)>& body, const options& what, report& result);

private:
  // ---- the modes of an exploration: processes.hpp, sampling.hpp, replay.hpp ----

  void prepare_exploration(const std::function<void(world&)>& body, const options& what,
                           report& result);
  void explore_below(work_item* item);
  void explore_samples();
  void run_one(work_item* item);
  void drop_work();
  bool may_run();
  bool take_runs();
  void show_progress(u64 runs);
  void describe(report& result) const;

  void explore_in_processes(report& result);
  void split_work(std::vector<work_item*>& items);
  void work(const std::vector<work_item*>& items);
  [[noreturn]] void be_child(int pipe, const std::vector<work_item*>& items);
  std::vector<child_process> start_processes(const std::vector<work_item*>& items);
  void collect(std::vector<child_process>& children);
  void gather(std::vector<child_process>& children, report& result);
  void pack(const report& r, parcel& to) const;
  void unpack(parcel& from, report& r);

  [[nodiscard]] bool deterministic(report& result);
  [[nodiscard]] std::vector<same_event> digest() const;
  void confirm_failure(report& result);
  void replay(const std::string& text, report& result);
  void run_given(const std::vector<replay_step>& steps, int fill, report& into);
  void run_steps(const std::vector<replay_step>& steps);
  void misfit(const std::string& why);
  [[nodiscard]] std::string replay_string() const;
  [[nodiscard]] u16 option_of(u16 at) const;

  // ---- runs that only go forward: forward.hpp ----

  void run_alone(int fill, report& into);
  void forward_run();
  bool settle();
  bool advance(unsigned id);
  [[nodiscard]] unsigned able() const;
  [[nodiscard]] bool has_news(const explored_thread& t) const;
  bool pick(const u16* options, u16 count, u16& picked);
  bool pick_choice(unsigned choices, u16& picked);
  bool pick_place(const u16* places, u16 count, u16 last, u16& chosen);
  bool read_forward(unsigned id, u16 position, u16 bound);

  // ---- one run ----

  void start_run(const work_item* item);
  void run_loop();
  void run_next();
  void resume(unsigned id);
  bool goes_on();
  bool others_go_first(unsigned id);
  [[nodiscard]] bool inside(unsigned id) const;
  [[nodiscard]] bool stopped(explored_thread& t) const;
  bool locate(operation& op);
  bool process(unsigned id);
  bool process_park(unsigned id);
  bool process_unpark(unsigned id);
  bool process_update(unsigned id);
  void end_of_run();
  [[nodiscard]] bool replaying() const { return hold_ || executed_ < loaded_; }

  void answer(explored_thread& t) {
    t.op.what = op_kind::none;
    t.state = thread_state::running;
  }

  // ---- events: each returns false when the thread has to wait for its turn ----
  bool read(unsigned id, u16 location, u8 order, bool compares, u8 order_fail, value_t expected);
  bool write(unsigned id, u16 location, u8 order, value_t value, bool exclusive, u16 partner,
             bool plain);
  bool simple(unsigned id, kind what, u8 order, unsigned choices, u16 from);
  bool repeat_read(unsigned id, u16 location);

  void not_again(const explored_thread& t);
  void too_long(const event& last);
  const event* recorded(explored_thread& t, kind what, u16 location, bool& ready);
  u16 append(const event& e);
  void execute(unsigned id, u16 position);
  event fresh(unsigned id, kind what, u16 location, u8 order);
  void complete_read(const graph& g, event& e);
  [[nodiscard]] value_t value_of(const graph& g, const event& reader) const;
  void complete_write(event& e) const;
  [[nodiscard]] bool already_updated(const place& p, int at, const operation& op,
                                     const event& option) const;
  [[nodiscard]] bool writes_too(const operation& op, const event& e) const;
  void revisit_only(u16 position);
  void backward_revisits(u16 position);
  [[nodiscard]] bool maximal(const event& e, u16 at, const event& w) const;
  void restrict_and_push(u16 read_at, u16 write_at);
  void push(const graph& g);

  // ---- threads that run the same function ----
  struct events_of;
  enum class likeness : u8 { alike, ordered, reversed, different };
  [[nodiscard]] likeness compare(const graph& g, const event& a, const event& b) const;
  [[nodiscard]] unsigned left_twin(unsigned thread) const noexcept;
  [[nodiscard]] bool canonical(const graph& g) const;
  [[nodiscard]] bool entangled(u16 read_at, const event& w, u16 lowest) const;
  void depend_on_twin(const graph& g, event& e) const;
  void give_up_symmetry() noexcept {
    __atomic_store_n(&shared_->entangled, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&shared_->stop, 1, __ATOMIC_RELAXED);
  }
  [[nodiscard]] bool admitted(const graph& g) {
    return sc_.consistent(g) && (!symmetric || canonical(g));
  }
  [[nodiscard]] u16 lower_bound(const graph& g, u16 location, const vector_clock& clock) const;
  [[nodiscard]] u16 lower_bound(const place& p, const vector_clock& clock) const;
  [[nodiscard]] u16 woken_by(u16 sleeper) const;
  u16 sleepers(const place& p, u16 stores, u16 sleeper, u16* queue, unsigned& count) const;

  // ---- places ----
  u16 place_of(std::uintptr_t address, u8 size, bool hidden);
  void activate(place& p);
  void fetch(place& p);
  const char* touch(std::uintptr_t address, std::size_t size, unsigned flags, unsigned id,
                    u16 location, bool& of_atomic);
  void overwrite_atomics(std::uintptr_t address, std::size_t size, const void* site);
  bool touch_atomic(unsigned id, u16 location, u8 flags);
  const char* use_stack_of(unsigned owner, std::uintptr_t address);

  void fail(const char* text, const void* site);
  [[nodiscard]] std::string place_of_failure(const void* site) const;
  [[nodiscard]] std::vector<u16> sequence(bool& interleaved) const;
  [[nodiscard]] bool precedes(const event& a, const event& b) const;
  [[nodiscard]] std::vector<step> steps(bool& interleaved) const;
  [[nodiscard]] std::string trace(const std::vector<step>& rows) const;
  [[nodiscard]] u64 hash() const;
  [[nodiscard]] u64 hash(const u8 (&names)[max_threads]) const;

public:
  [[nodiscard]] bool uses_symmetry() const noexcept {
    return how.symmetry && course_ == course::every;
  }

  explored_thread threads[max_threads];
  unsigned thread_count = 0;
  bool symmetric = false;  // some threads run the same function
  char outcome[128] = {};  // of this run
  const std::function<void(world&)>* body_ = nullptr;

private:
  graph g_;
  graph scratch_;
  seq_cst_check sc_;
  shadow shadow_;
  place* places_ = nullptr;
  u16 place_count_ = 0;
  u16 place_index_[8192] = {};  // open addressing, id + 1
  u64 run_ = 0;
  u16 loaded_ = 0;
  u16 executed_ = 0;
  unsigned unfinished_ = 0;  // threads that were started and have not ended
  bool done_[max_events];
  u16 sequence_[max_events];  // the order in which the events were executed
  u64 time_[max_events];      // of the thread that executed it, then
  work_item* stack_ = nullptr;
  bool pruned_ = false;
  bool fibers_go_on_ = false;  // run_loop: a fiber that is next does not leave for the host
  unsigned departures_ = 0;  // of this run

  using wall_clock = std::chrono::steady_clock;
  course course_ = course::every;
  bool hold_ = false;  // no event may happen
  unsigned unsettled_ = 0;  // threads that may go on without an event
  bool misfit_ = false;
  bool final_ = false;  // the failure is reported as it is, not run again
  bool stopped_ = false;
  bool child_ = false;
  bool shows_progress_ = false;
  unsigned given_thread_ = 0;
  u16 given_ = 0;
  unsigned usual_events_ = 0;
  random_bits random_;
  sampler sampler_;
  shared_state own_state_;
  shared_state* shared_ = &own_state_;
  u64 granted_ = 0;  // runs that may begin before the limits are looked at again
  u64 planned_ = 0;  // samples, or items of work for all processes
  wall_clock::time_point started_, shown_;

  char* initial_tls_ = nullptr;
  char failure_text_[512] = {};
  const void* failure_site_ = nullptr;
  static constexpr unsigned max_callers = 24;
  const void* failure_callers_[max_callers];
  unsigned failure_callers_count_ = 0;
  bool failure_pending_ = false;
  static constexpr unsigned max_remarks = 300;
  remark remarks_[max_remarks];  // of this run
  unsigned remark_count_ = 0;
  char remark_text_[16384];
  std::size_t remark_used_ = 0;
  u64* hashes_ = nullptr;
  std::size_t hash_capacity_ = 0, hash_count_ = 0;

  bool remember(u64 h);
  void forget_hashes();
};

inline engine* engine_made = nullptr;

[[gnu::noinline]] inline void make_engine() {
  // Not by new: that asks here which thread allocates.
  engine_made = ::new (std::malloc(sizeof(engine))) engine;
}

[[gnu::always_inline]] inline engine& the_engine() {
  if (engine_made == nullptr) [[unlikely]] make_engine();
  return *engine_made;
}

}  // namespace
}  // namespace interlock::testing
