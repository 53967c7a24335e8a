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
// A fiber posts an operation and leaves; all that follows happens here, on the host's stack.

#include <cstdio>
#include <exception>
#include <functional>
#include <new>
#include <string>

#include "interlock/testing/model.hpp"

#include "fiber.hpp"
#include "graph.hpp"
#include "memory.hpp"

namespace interlock::testing {
namespace {

enum class op_kind : u8 {
  none, load, store, update, fence, choice, park, unpark, join, plain, end
};
enum class update_kind : u8 { exchange, add, subtract, bit_and, bit_or, bit_xor, nand, compare };

struct operation {
  op_kind what = op_kind::none;
  update_kind update = update_kind::exchange;
  u8 order = 0;
  u8 order_fail = 0;
  u8 phase = 0;
  u8 size = 0;
  bool success = false;
  u16 location = 0;
  u16 read_at = 0;
  unsigned options = 0;
  std::uintptr_t address = 0;
  value_t operand;
  value_t expected;
  value_t result;
  const void* site = nullptr;
};

enum class thread_state : u8 { unused, added, running, posted, awaiting, finished };

constexpr unsigned max_awaited = 8;

struct explored_thread {
  fiber stack;
  thread_state state = thread_state::unused;
  std::function<void()>* function = nullptr;
  operation op;
  u16 done = 0;      // events executed in this run
  u16 recorded = 0;  // events that the graph had at the start of the run
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
  unsigned spurious = 0;
};

struct place {  // an atomic object, or the hidden queue of a parking word
  std::uintptr_t address = 0;
  u8 size = 0;
  bool hidden = false;
  u64 execution = 0;  // the run in which the rest was filled
  bool known = false;  // whether the initial value was taken in this run
  value_t initial_value;
  u16 unread_plain = initial;  // a plain store whose value is still to be fetched
  u16 stores = 0, reads = 0;
  u16 in_memory = 0;  // position + 1 of the store whose value the memory holds
  u16 co[max_events];
  u16 readers[max_events];
};

struct work_item {
  work_item* next;
  u16 size;
  event events[1];
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
    case update_kind::compare: return x;
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

class engine {
public:
  static constexpr unsigned max_places = 2000;
  static constexpr unsigned repeats_before_waiting = 64;

  // ---- what fibers call ----

  explored_thread* current = nullptr;
  unsigned current_id = no_thread;

  void post() {
    current->state = thread_state::posted;
    current->stack.leave();
  }

  // Called on a fiber: keeps the text, the host makes the report. (Memory that a fiber allocates
  // is the arena's.)
  [[noreturn]] void fail_here(const char* text, const void* site, const char* more = "") {
    std::snprintf(failure_text_, sizeof failure_text_, "%s%s", text, more);
    failure_site_ = site;
    failure_pending_ = true;
    explored_thread* const self = current;
    for (;;) self->stack.leave();
  }

  void plain(std::uintptr_t address, std::size_t size, u8 flags, const void* site) {
    if (tls.holds(address)) return;
    bool of_atomic = false;
    const char* const problem = touch(address, size, flags, site, *current, of_atomic);
    if (problem != nullptr) fail_here(problem, site);
    if (of_atomic && (flags & access_write) != 0 && (flags & access_free) == 0) {
      overwrite_atomics(address, size, site);
    }
  }

  void prepare(explored_thread& t);

  void* allocate(std::size_t size, std::size_t alignment, const void* site) {
    void* const memory = heap.allocate(current_id, size, alignment, site, poison);
    if (memory == nullptr) fail_here("a thread allocates more than 32 MiB", site);
    return memory;
  }

  void release_memory(void* user, const void* site) {
    arena::block* const header = heap.find(user);
    if (header == nullptr) fail_here("delete of what was not allocated in this execution", site);
    if (arena::freed(*header)) fail_here("double free", site);
    plain(reinterpret_cast<std::uintptr_t>(user), header->size == 0 ? 1 : header->size,
          access_write | access_free, site);
    arena::mark_freed(*header);
  }

  // ---- the exploration ----

  tls_block tls;
  arena heap;
  int poison = 0xFF;
  report* out = nullptr;
  options how;
  bool failed = false;

  void explore(const std::function<void(world&)>& body, const options& what, report& result);

private:
  // ---- one run ----

  void start_run(const work_item* item);
  void run_loop();
  void resume(unsigned id);
  [[nodiscard]] bool inside(unsigned id) const;
  bool process(unsigned id);
  bool process_park(unsigned id);
  bool process_unpark(unsigned id);
  bool process_update(unsigned id);
  void end_of_run();
  [[nodiscard]] bool replaying() const { return executed_ < loaded_; }

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

  const event* recorded(explored_thread& t, kind what, u16 location, bool& ready);
  u16 append(const event& e);
  void execute(unsigned id, u16 position);
  event fresh(unsigned id, kind what, u16 location, u8 order);
  void complete_read(const graph& g, event& e);
  [[nodiscard]] value_t value_of(const graph& g, const event& reader) const;
  void complete_write(event& e) const;
  [[nodiscard]] bool already_updated(const place& p, int at, const operation& op,
                                     const event& option) const;
  void revisit_only(u16 position);
  void backward_revisits(u16 position);
  [[nodiscard]] bool maximal(const event& e, u16 at, const event& w) const;
  void restrict_and_push(u16 read_at, u16 write_at);
  void push(const graph& g);
  [[nodiscard]] u16 lower_bound(const graph& g, u16 location, const vector_clock& clock) const;
  [[nodiscard]] u16 woken_by(u16 sleeper) const;

  // ---- places ----
  u16 place_of(std::uintptr_t address, u8 size, bool hidden);
  void activate(place& p);
  void fetch(place& p);
  const char* touch(std::uintptr_t address, std::size_t size, u8 flags, const void* site,
                    explored_thread& t, bool& of_atomic);  // epoch: the event's own if atomic
  void overwrite_atomics(std::uintptr_t address, std::size_t size, const void* site);
  bool touch_atomic(unsigned id, u16 location, u8 flags);

  void fail(const std::string& text, const void* site);
  [[nodiscard]] std::string trace() const;
  [[nodiscard]] u64 hash() const;

public:
  explored_thread threads[max_threads];
  unsigned thread_count = 0;
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
  bool done_[max_events];
  u16 sequence_[max_events];  // the order in which the events were executed
  work_item* stack_ = nullptr;
  bool pruned_ = false;
  char* initial_tls_ = nullptr;
  char failure_text_[512] = {};
  const void* failure_site_ = nullptr;
  bool failure_pending_ = false;
  u64* hashes_ = nullptr;
  std::size_t hash_capacity_ = 0, hash_count_ = 0;

  bool remember(u64 h);
};

inline engine& the_engine() {
  // Not by new: that asks here which thread allocates.
  static engine* const instance = ::new (std::malloc(sizeof(engine))) engine;
  return *instance;
}

// ---- places -------------------------------------------------------------------------------------

inline u16 engine::place_of(std::uintptr_t address, u8 size, bool hidden) {
  if (places_ == nullptr) places_ = static_cast<place*>(std::calloc(max_places, sizeof(place)));
  const std::uintptr_t key = address * 2 + (hidden ? 1 : 0);
  std::size_t slot = (key * 0x9E3779B97F4A7C15U) >> 51U;
  for (;; slot = (slot + 1) % 8192) {
    const u16 id = place_index_[slot];
    if (id == 0) break;
    place& p = places_[id - 1];
    if (p.address == address && p.hidden == hidden) {
      if (p.size != size && !hidden) {
        if (p.execution == run_ && (p.stores != 0 || p.reads != 0 || p.known)) {
          fail("an object is accessed by atomic operations of different sizes", nullptr);
        }
        p.size = size;
      }
      return to16(id - 1);
    }
  }
  if (place_count_ == max_places) {
    std::fputs("interlock::testing: more than 2000 atomic objects\n", stderr);
    std::exit(3);
  }
  place& p = places_[place_count_];
  p.address = address;
  p.size = size;
  p.hidden = hidden;
  place_index_[slot] = ++place_count_;
  return to16(place_count_ - 1);
}

inline void engine::activate(place& p) {
  if (p.execution == run_) return;
  p.execution = run_;
  p.known = false;
  p.unread_plain = initial;
  p.stores = 0;
  p.reads = 0;
  p.in_memory = 0;
}

inline value_t load_memory(std::uintptr_t address, unsigned size) noexcept {
  value_t v;
  std::memcpy(&v, reinterpret_cast<const void*>(address), size);
  return v;
}

// Effects: takes over what plain code wrote: the initial value, or a plain store's.
inline void engine::fetch(place& p) {
  activate(p);
  if (p.hidden) {
    p.known = true;
    return;
  }
  if (!p.known) {
    p.known = true;
    p.initial_value = load_memory(p.address, p.size);
  }
  if (p.unread_plain != initial) {
    g_.events[p.unread_plain].value = load_memory(p.address, p.size);
    p.unread_plain = initial;
  }
}

// ---- plain memory -------------------------------------------------------------------------------

inline const char* engine::touch(std::uintptr_t address, std::size_t size, u8 flags,
                                 const void* site, explored_thread& t, bool& of_atomic) {
  const auto id = static_cast<u8>(&t - threads);
  const std::uintptr_t last = address + size - 1;
  for (std::uintptr_t granule = address / 8; granule <= last / 8; ++granule) {
    const unsigned first_byte = granule == address / 8 ? address % 8 : 0;
    const unsigned last_byte = granule == last / 8 ? last % 8 : 7;
    const auto mask = static_cast<u8>((0xFFU << first_byte) & (0xFFU >> (7 - last_byte)));
    const auto epoch = to16((flags & access_atomic) != 0 ? t.done : t.done + 1);
    const access now{id, mask, flags, epoch, site};
    access other{};
    switch (shadow_.record(granule, now, t.hb, other)) {
      case shadow::verdict::fine: break;
      case shadow::verdict::too_many: return "too many threads touch the same 8 bytes";
      case shadow::verdict::after_free:
        return (flags & access_free) != 0 ? "double free" : "use after free";
      case shadow::verdict::race:
        if ((flags & access_free) != 0) return "memory is freed while another thread uses it";
        return (flags & other.flags & access_write) != 0
                   ? "data race: two threads write a plain object"
                   : "data race: a plain object is read and written by two threads";
    }
    if ((flags & access_atomic) == 0 && (flags & access_write) != 0) {
      const shadow::cell& c = shadow_.at(granule);
      for (const u16 location : c.location) of_atomic = of_atomic || location != 0;
    }
  }
  return nullptr;
}

// A plain write to what was an atomic before: an object's memory is used again, or it is assigned
// by its owner. It becomes a store of its own; the value is fetched from memory at the next access.
inline void engine::overwrite_atomics(std::uintptr_t address, std::size_t size, const void* site) {
  for (std::uintptr_t granule = address / 8; granule <= (address + size - 1) / 8; ++granule) {
    for (unsigned byte = 0; byte < 8; ++byte) {
      const u16 id = shadow_.at(granule).location[byte];
      if (id == 0) continue;
      place& p = places_[id - 1];
      if (p.address + p.size <= address || p.address >= address + size) continue;
      if (p.unread_plain != initial) continue;  // the value is fetched later anyway
      current->op = operation{};
      current->op.what = op_kind::plain;
      current->op.location = to16(id - 1);
      current->op.site = site;
      post();
    }
  }
}

inline bool engine::touch_atomic(unsigned id, u16 location, u8 flags) {
  place& p = places_[location];
  if (p.hidden) return true;
  explored_thread& t = threads[id];
  if (!tls.holds(p.address)) {
    bool unused = false;
    const char* const problem = touch(p.address, p.size, static_cast<u8>(flags | access_atomic),
                                      t.op.site, t, unused);
    if (problem != nullptr) {
      fail(problem, t.op.site);
      return false;
    }
    shadow_.at(p.address / 8).location[p.address % 8] = to16(location + 1);
  }
  return true;
}

// ---- graph --------------------------------------------------------------------------------------

inline value_t engine::value_of(const graph& g, const event& reader) const {
  return reader.rf == initial ? places_[reader.location].initial_value
                              : g.events[reader.rf].value;
}

inline event engine::fresh(unsigned id, kind what, u16 location, u8 order) {
  const explored_thread& t = threads[id];
  event e{};
  e.what = what;
  e.thread = static_cast<u8>(id);
  e.order = order;
  e.order_done = order;
  e.index = to16(t.done + 1);
  e.location = location;
  e.rf = initial;
  e.site = t.op.site;
  e.hb = t.hb;
  e.seen = t.seen;
  e.porf = t.porf;
  e.hb.at[id] = e.seen.at[id] = e.porf.at[id] = e.index;
  return e;
}

// Effects: joins to a read's clocks what it sees of its source.
inline void engine::complete_read(const graph& g, event& e) {
  if (e.compares) e.order = value_of(g, e) == e.value ? e.order_done : e.order_fail;
  if (e.rf == initial) return;
  const event& source = g.events[e.rf];
  e.porf.join(source.porf);
  if (acquires(e.order)) {
    if (!e.hidden) e.hb.join(source.rel);
    e.seen.join(source.rel_seen);
  }
}

// Returns: the place in co of the newest store that the clock's owner must not look behind.
inline u16 engine::lower_bound(const graph& g, u16 location, const vector_clock& clock) const {
  u16 bound = 0;
  for (u16 i = 0; i < g.size; ++i) {
    const event& e = g.events[i];
    if (!is_access(e) || e.location != location || clock.at[e.thread] < e.index) continue;
    const u16 at = e.what == kind::write ? e.co : g.co_of_source(e);
    if (at > bound) bound = at;
  }
  return bound;
}

inline u16 engine::append(const event& e) {
  if (g_.size == max_events) {
    fail("an execution has more than 600 events: an unbounded loop? Tell the explorer that a loop "
         "waits with spin_hint() or std::this_thread::yield()", e.site);
    return initial;
  }
  const u16 position = g_.size++;
  g_.events[position] = e;
  done_[position] = false;
  threads[e.thread].at[e.index - 1] = position;
  return position;
}

// Effects: the thread passes this event: its clocks follow, memory holds what the event left.
inline void engine::execute(unsigned id, u16 position) {
  explored_thread& t = threads[id];
  const event& e = g_.events[position];
  sequence_[executed_++] = position;
  done_[position] = true;
  ++t.done;
  t.repeats = 0;
  t.awaited_count = 0;
  t.hb = e.hb;
  t.seen = e.seen;
  t.porf = e.porf;
  if (e.what == kind::fence && releases(e.order)) {
    t.fence_hb = e.hb;
    t.fence_seen = e.seen;
  }
  if (e.what == kind::read) {
    if (e.rf != initial) {
      if (!e.hidden) t.pending_hb.join(g_.events[e.rf].rel);
      t.pending_seen.join(g_.events[e.rf].rel_seen);
    }
    touch_atomic(id, e.location, access_read);
  }
  if (e.what == kind::write) {
    place& p = places_[e.location];
    if (t.op.what == op_kind::plain) {
      p.unread_plain = position;
      p.in_memory = to16(position + 1);
      return;
    }
    if (!touch_atomic(id, e.location, access_write) || p.hidden) return;
    if (p.in_memory == 0 || g_.events[p.in_memory - 1].co < e.co) {
      p.in_memory = to16(position + 1);
      std::memcpy(reinterpret_cast<void*>(p.address), &e.value, p.size);
    }
  }
}

// Returns: the event that the graph has next for this thread; null if it has none or if it is not
// ready. `ready` is false when the thread has to wait.
inline const event* engine::recorded(explored_thread& t, kind what, u16 location, bool& ready) {
  ready = true;
  if (t.done < t.recorded) {
    const event& e = g_.events[t.at[t.done]];
    if (e.what != what || (is_access(e) && e.location != location)) {
      fail("the body is not deterministic: run again with the same values read, it does something "
           "else. Keep clocks, random numbers, addresses and leftovers of earlier runs out of it",
           t.op.site);
      ready = false;
      return nullptr;
    }
    ready = (e.what != kind::read && e.what != kind::wake) || e.rf == initial || done_[e.rf];
    return ready ? &e : nullptr;
  }
  ready = !replaying();
  return nullptr;
}

inline void engine::push(const graph& g) {
  auto* const item =
      static_cast<work_item*>(std::malloc(sizeof(work_item) + g.size * sizeof(event)));
  item->next = stack_;
  item->size = g.size;
  std::memcpy(static_cast<void*>(item->events), g.events, g.size * sizeof(event));
  stack_ = item;
}

inline bool engine::simple(unsigned id, kind what, u8 order, unsigned choices, u16 from) {
  explored_thread& t = threads[id];
  bool ready = false;
  const event* const old = recorded(t, what, 0, ready);
  if (!ready) return false;
  if (old != nullptr) {
    execute(id, t.at[t.done]);
    return true;
  }
  event e = fresh(id, what, 0, order);
  if (what == kind::fence && acquires(order)) {
    e.hb.join(t.pending_hb);
    e.seen.join(t.pending_seen);
  }
  if (what == kind::wake) {
    e.rf = from;
    e.seen.join(g_.events[from].seen);
    e.porf.join(g_.events[from].porf);
  }
  const u16 position = append(e);
  if (position == initial) return false;
  for (unsigned i = choices; i-- > 1;) {
    g_.events[position].co = to16(i);
    push(g_);
  }
  g_.events[position].co = 0;
  if (what == kind::fence && order == seq_cst && !sc_.consistent(g_)) {
    pruned_ = true;
    return false;
  }
  execute(id, position);
  return true;
}

inline bool engine::read(unsigned id, u16 location, u8 order, bool compares, u8 order_fail,
                         value_t expected) {
  explored_thread& t = threads[id];
  place& p = places_[location];
  bool ready = false;
  const event* const old = recorded(t, kind::read, location, ready);
  if (!ready) return false;
  fetch(p);
  if (old != nullptr) {
    execute(id, t.at[t.done]);
    return true;
  }
  event e = fresh(id, kind::read, location, order);
  e.compares = compares;
  e.order_fail = order_fail;
  e.value = expected;
  e.hidden = p.hidden;
  const u16 position = append(e);
  if (position == initial) return false;
  --g_.size;
  const u16 bound = lower_bound(g_, location, e.seen);
  ++g_.size;
  bool found = false;
  event chosen{};
  for (int at = p.stores; at >= bound; --at) {
    event option = e;
    option.rf = at == 0 ? initial : p.co[at - 1];
    complete_read(g_, option);
    g_.events[position] = option;
    if (!sc_.consistent(g_)) continue;
    if (already_updated(p, at, t.op, option)) {
      revisit_only(position);
    } else if (found) {
      push(g_);
    } else {
      found = true;
      chosen = option;
    }
  }
  if (!found) {
    pruned_ = true;
    return false;
  }
  g_.events[position] = chosen;
  p.readers[p.reads++] = position;
  execute(id, position);
  return true;
}

inline bool engine::write(unsigned id, u16 location, u8 order, value_t value, bool exclusive,
                          u16 partner, bool plain) {
  explored_thread& t = threads[id];
  place& p = places_[location];
  bool ready = false;
  const event* const old = recorded(t, kind::write, location, ready);
  if (!ready) return false;
  fetch(p);
  if (old != nullptr) {
    execute(id, t.at[t.done]);
    return true;
  }
  event e = fresh(id, kind::write, location, order);
  e.exclusive = exclusive;
  e.partner = partner;
  e.value = value;
  e.hidden = p.hidden;
  complete_write(e);
  const u16 source = exclusive ? g_.co_of_source(g_.events[partner]) : u16{0};
  const u16 bound = lower_bound(g_, location, e.seen);
  const u16 position = append(e);
  if (position == initial) return false;
  if (!plain) backward_revisits(position);

  // Forward: every place in co that coherence and the read-modify-writes leave.
  const u16 first = exclusive ? to16(source + 1) : plain ? to16(p.stores + 1) : to16(bound + 1);
  const u16 last = exclusive ? first : to16(p.stores + 1);
  bool found = false;
  u16 chosen = 0;
  for (u16 at = last; at >= first; --at) {
    if (at <= p.stores && g_.events[p.co[at - 1]].exclusive) continue;
    for (u16 i = to16(at - 1); i < p.stores; ++i) ++g_.events[p.co[i]].co;
    g_.events[position].co = at;
    if (sc_.consistent(g_)) {
      if (found) {
        push(g_);
      } else {
        found = true;
        chosen = at;
      }
    }
    for (u16 i = to16(at - 1); i < p.stores; ++i) --g_.events[p.co[i]].co;
  }
  if (!found) {
    pruned_ = true;
    return false;
  }
  for (u16 i = p.stores; i >= chosen; --i) {
    p.co[i] = p.co[i - 1];
    ++g_.events[p.co[i]].co;
  }
  p.co[chosen - 1] = position;
  ++p.stores;
  g_.events[position].co = chosen;
  execute(id, position);
  return true;
}

// Effects: sets what a reader of this store acquires.
inline void engine::complete_write(event& e) const {
  const explored_thread& t = threads[e.thread];
  if (!e.hidden) e.rel = releases(e.order) ? e.hb : t.fence_hb;
  e.rel_seen = releases(e.order) ? e.seen : t.fence_seen;
  if (!e.exclusive) return;
  const event& reader = g_.events[e.partner];
  if (reader.rf == initial) return;
  const event& head = g_.events[reader.rf];  // C++20: updates continue a release sequence
  if (!e.hidden) e.rel.join(head.rel);
  e.rel_seen.join(head.rel_seen);
}

// Returns: whether this update would write although another one has updated the same value. That is
// no execution; but the other one may read what this one writes.
inline bool engine::already_updated(const place& p, int at, const operation& op,
                                    const event& option) const {
  if (op.what != op_kind::update || at >= p.stores || !g_.events[p.co[at]].exclusive) return false;
  return op.update != update_kind::compare || value_of(g_, option) == op.expected;
}

// Effects: adds the write of the update whose read was just added, for its revisits alone.
inline void engine::revisit_only(u16 position) {
  const event& reader = g_.events[position];
  const operation& op = threads[reader.thread].op;
  event e = reader;
  e.what = kind::write;
  e.order = e.order_done = op.order;
  e.compares = false;
  e.exclusive = true;
  e.partner = position;
  e.value = updated(op, value_of(g_, reader));
  e.rf = initial;
  ++e.index;
  e.hb.at[e.thread] = e.seen.at[e.thread] = e.porf.at[e.thread] = e.index;
  complete_write(e);
  const u16 write = append(e);
  if (write == initial) return;
  backward_revisits(write);
  --g_.size;
}

// ---- backward revisits --------------------------------------------------------------------------

// Returns: whether e, at its position, is what would have been added anyhow had w not come: it
// reads, or is, the newest store among what was there before it and what w depends on.
inline bool engine::maximal(const event& e, u16 at, const event& w) const {
  if (e.what == kind::choice) return e.co == 0;
  if (!is_access(e)) return true;
  const auto was_there = [&](u16 i) { return i <= at || before(g_.events[i], w, w.porf); };
  const place& p = places_[e.location];
  if (e.what == kind::write) {
    for (u16 i = 0; i < p.reads; ++i) {
      const u16 r = p.readers[i];
      if (g_.events[r].rf == at && was_there(r)) return false;
    }
  } else if (e.rf != initial && !was_there(e.rf)) {
    return false;
  }
  const u16 mine = e.what == kind::write ? e.co : g_.co_of_source(e);
  for (u16 i = p.stores; i > mine; --i) {
    if (was_there(p.co[i - 1])) return false;
  }
  return true;
}

inline void engine::backward_revisits(u16 position) {
  const event& w = g_.events[position];
  const place& p = places_[w.location];
  for (u16 i = 0; i < p.reads; ++i) {
    const u16 r = p.readers[i];
    if (before(g_.events[r], w, w.porf)) continue;
    bool allowed = true;
    for (u16 d = r; d < position && allowed; ++d) {
      const event& e = g_.events[d];
      if (d != r && before(e, w, w.porf)) continue;
      allowed = maximal(e, d, w);
    }
    if (allowed) restrict_and_push(r, position);
  }
}

inline void engine::restrict_and_push(u16 read_at, u16 write_at) {
  const event& w = g_.events[write_at];
  static u16 moved[max_events];
  scratch_.size = 0;
  for (u16 i = 0; i <= write_at; ++i) {
    const event& e = g_.events[i];
    const bool kept = i <= read_at || i == write_at || before(e, w, w.porf);
    if (!kept) continue;
    moved[i] = scratch_.size;
    scratch_.events[scratch_.size++] = e;
  }
  const u16 r = moved[read_at];
  const u16 at_w = moved[write_at];
  for (u16 i = 0; i < scratch_.size; ++i) {
    event& e = scratch_.events[i];
    if ((e.what == kind::read || e.what == kind::wake) && e.rf != initial && i != r) {
      e.rf = moved[e.rf];
    }
    if (e.exclusive) e.partner = moved[e.partner];
  }
  // The revisited read starts anew from what its thread knew before it.
  event& reader = scratch_.events[r];
  event clean = reader;
  const explored_thread& t = threads[reader.thread];
  if (reader.index > 1) {
    const event& previous = g_.events[t.at[reader.index - 2]];
    clean.hb = previous.hb;
    clean.seen = previous.seen;
    clean.porf = previous.porf;
  } else {
    clean.hb = clean.seen = clean.porf = vector_clock{};
    const explored_thread& main_thread = threads[0];
    if (reader.thread != 0) {
      clean.hb = main_thread.hb;
      clean.seen = main_thread.seen;
      clean.porf = main_thread.porf;
    }
  }
  clean.hb.at[clean.thread] = clean.seen.at[clean.thread] = clean.porf.at[clean.thread] =
      clean.index;
  clean.rf = at_w;
  clean.order = clean.order_done;

  // Stores to the location, dense again, without w.
  static u16 list[max_events];
  u16 count = 0;
  const place& p = places_[w.location];
  for (u16 i = 0; i < p.stores; ++i) {
    const u16 s = p.co[i];
    if (s <= read_at || before(g_.events[s], w, w.porf)) {
      list[count] = moved[s];
      scratch_.events[moved[s]].co = ++count;
    }
  }
  event& writer = scratch_.events[at_w];
  const u16 size = scratch_.size;
  // Neither counts for the bounds while these are computed: w is last, r is the one that changes.
  scratch_.size = at_w;
  reader.what = kind::fence;
  const u16 bound_w = lower_bound(scratch_, w.location, w.seen);
  const u16 bound_r = lower_bound(scratch_, w.location, clean.seen);
  scratch_.size = size;
  reader = clean;
  complete_read(scratch_, reader);

  u16 first = to16(bound_w + 1);
  u16 last = to16(count + 1);
  if (w.exclusive) {
    first = last = to16(scratch_.co_of_source(scratch_.events[writer.partner]) + 1);
  }
  if (first <= bound_r) first = to16(bound_r + 1);
  for (u16 at = first; at <= last; ++at) {
    if (at <= count && scratch_.events[list[at - 1]].exclusive) continue;
    for (u16 i = to16(at - 1); i < count; ++i) ++scratch_.events[list[i]].co;
    writer.co = at;
    if (sc_.consistent(scratch_)) push(scratch_);
    for (u16 i = to16(at - 1); i < count; ++i) --scratch_.events[list[i]].co;
  }
}

// ---- operations ---------------------------------------------------------------------------------

// A read in a loop that waits: the same place in the code reads the same object again, the thread
// did nothing but read, said spin_hint(), and learned nothing since. It is the same read: whatever
// it could see now, the first one could have seen as well, and those graphs are visited too.
// Repeated for long, it waits for a revisit.
inline bool engine::repeat_read(unsigned id, u16 location) {
  explored_thread& t = threads[id];
  if (t.hints == 0 || t.done != t.hinted_at) return false;
  for (u16 i = t.done; i-- > 0;) {
    const u16 position = t.at[i];
    const event& e = g_.events[position];
    if (e.what != kind::read) return false;
    if (e.location != location || e.site != t.op.site) continue;
    if (g_.co_of_source(e) < lower_bound(g_, location, t.seen)) return false;  // too old by now
    const value_t value = value_of(g_, e);
    if (t.op.what == op_kind::update &&
        (t.op.update != update_kind::compare || value == t.op.expected)) {
      return false;
    }
    unsigned k = 0;
    while (k < t.awaited_count && t.awaited[k] != position) ++k;
    if (k == max_awaited || (k < t.awaited_count && t.awaited_hint[k] == t.hints)) return false;
    if (k == t.awaited_count) ++t.awaited_count;
    t.awaited[k] = position;
    t.awaited_hint[k] = t.hints;
    if (++t.repeats > repeats_before_waiting) {
      t.state = thread_state::awaiting;
      return true;
    }
    t.op.result = value;
    t.op.success = false;
    answer(t);
    return true;
  }
  return false;
}

inline bool engine::process_update(unsigned id) {
  explored_thread& t = threads[id];
  operation& op = t.op;
  if (op.phase == 0) {
    const bool compares = op.update == update_kind::compare;
    if (!read(id, op.location, op.order, compares, op.order_fail, op.expected)) return false;
    op.read_at = t.at[t.done - 1];
    const event& e = g_.events[op.read_at];
    op.result = value_of(g_, e);
    op.success = !compares || op.result == op.expected;
    if (!op.success) {
      answer(t);
      return true;
    }
    op.phase = 1;
    return true;
  }
  if (!write(id, op.location, op.order, updated(op, op.result), true, op.read_at, false)) {
    return false;
  }
  answer(t);
  return true;
}

// park: { lock the word's queue; read the word; sleep in the queue, or unlock }. The queue is a
// hidden object that sleepers and wakers update, so their order is explored. A thread that does not
// sleep leaves no trace in it.
constexpr u64 queue_sleep = 1, queue_wake_one = 2, queue_wake_all = 3;

inline bool engine::process_park(unsigned id) {
  explored_thread& t = threads[id];
  operation& op = t.op;
  const u16 queue = place_of(op.address, 0, true);
  switch (op.phase) {
    case 0:  // a wake-up for no reason?
      if (t.spurious < how.spurious_wakeups) {
        if (!simple(id, kind::choice, relaxed, 2, 0)) return false;
        if (g_.events[t.at[t.done - 1]].co == 1) {
          ++t.spurious;
          answer(t);
          return true;
        }
      }
      op.phase = 1;
      return true;
    case 1:
      if (!read(id, queue, acq_rel, false, relaxed, {})) return false;
      op.read_at = t.at[t.done - 1];
      op.phase = 2;
      return true;
    case 2: {
      const u16 word = place_of(op.address, 4, false);
      if (!read(id, word, relaxed, false, relaxed, {})) return false;
      if (value_of(g_, g_.events[t.at[t.done - 1]]) == op.expected) {
        op.phase = 3;
      } else {
        answer(t);
      }
      return true;
    }
    case 3:
      if (!write(id, queue, acq_rel, {queue_sleep, 0}, true, op.read_at, false)) return false;
      op.phase = 4;
      return true;
    default: {
      u16 waker = initial;
      if (t.done >= t.recorded) {
        if (replaying()) return false;
        waker = woken_by(t.at[t.done - 1]);
        if (waker == initial) return false;
      }
      if (!simple(id, kind::wake, relaxed, 0, waker)) return false;
      answer(t);
      return true;
    }
  }
}

// Returns: the position of the unpark that took this sleeper from the queue; initial if none did.
// The queue is first in, first out.
inline u16 engine::woken_by(u16 sleeper) const {
  const place& p = places_[g_.events[sleeper].location];
  static u16 queue[max_events];
  u16 head = 0, tail = 0;
  for (u16 i = 0; i < p.stores; ++i) {
    const u16 position = p.co[i];
    const u64 what = g_.events[position].value.low;
    if (what == queue_sleep) {
      queue[tail++] = position;
      continue;
    }
    const u16 until = what == queue_wake_all ? tail : head < tail ? to16(head + 1) : head;
    for (; head < until; ++head) {
      if (queue[head] == sleeper) return position;
    }
  }
  return initial;
}

inline bool engine::process_unpark(unsigned id) {
  explored_thread& t = threads[id];
  operation& op = t.op;
  const u16 queue = place_of(op.address, 0, true);
  if (op.phase == 0) {
    if (!read(id, queue, acq_rel, false, relaxed, {})) return false;
    op.read_at = t.at[t.done - 1];
    op.phase = 1;
    return true;
  }
  if (!write(id, queue, acq_rel, op.operand, true, op.read_at, false)) return false;
  answer(t);
  return true;
}

// Returns: whether something was done for the thread.
inline bool engine::process(unsigned id) {
  explored_thread& t = threads[id];
  operation& op = t.op;
  switch (op.what) {
    case op_kind::none: return false;
    case op_kind::load:
      op.location = place_of(op.address, op.size, false);
      if (failed) return false;
      if (repeat_read(id, op.location)) return true;
      if (!read(id, op.location, op.order, false, relaxed, {})) return false;
      op.result = value_of(g_, g_.events[t.at[t.done - 1]]);
      answer(t);
      return true;
    case op_kind::store:
      op.location = place_of(op.address, op.size, false);
      if (failed) return false;
      if (!write(id, op.location, op.order, op.operand, false, 0, false)) return false;
      answer(t);
      return true;
    case op_kind::plain:
      if (!write(id, op.location, relaxed, {}, false, 0, true)) return false;
      answer(t);
      return true;
    case op_kind::update:
      op.location = place_of(op.address, op.size, false);
      if (failed) return false;
      if (op.phase == 0 && repeat_read(id, op.location)) return true;
      return process_update(id);
    case op_kind::fence:
      if (!simple(id, kind::fence, op.order, 0, 0)) return false;
      answer(t);
      return true;
    case op_kind::choice:
      if (!simple(id, kind::choice, relaxed, op.options, 0)) return false;
      op.result.low = g_.events[t.at[t.done - 1]].co;
      answer(t);
      return true;
    case op_kind::park: return process_park(id);
    case op_kind::unpark: return process_unpark(id);
    case op_kind::join: {
      if (op.phase == 0) {
        // An event of its own, so that what comes after it is not taken for known to the threads.
        if (!simple(id, kind::fence, relaxed, 0, 0)) return false;
        op.phase = 1;
      }
      for (unsigned i = 1; i < thread_count; ++i) {
        explored_thread& other = threads[i];
        if (other.state == thread_state::added) {
          // The threads know what the main thread did so far.
          other.state = thread_state::running;
          other.hb = t.hb;
          other.seen = t.seen;
          other.porf = t.porf;
          other.fence_hb = other.fence_seen = vector_clock{};
          other.pending_hb = other.pending_seen = vector_clock{};
        }
      }
      for (unsigned i = 1; i < thread_count; ++i) {
        if (threads[i].state != thread_state::finished) return false;
      }
      for (unsigned i = 1; i < thread_count; ++i) {
        const explored_thread& other = threads[i];
        t.hb.join(other.hb);
        t.hb.at[i] = to16(other.done + 1);
        t.seen.join(other.seen);
        t.porf.join(other.porf);
      }
      answer(t);
      return true;
    }
    case op_kind::end:
      t.state = thread_state::finished;
      op.what = op_kind::none;
      return true;
  }
  return false;
}

// ---- runs ---------------------------------------------------------------------------------------

inline void fiber_entry() {
  engine& e = the_engine();
  explored_thread* const self = e.current;
  try {
    if (e.current_id == 0) {
      {
        world w;
        (*e.body_)(w);
      }
      for (unsigned i = 1; i < e.thread_count; ++i) {
        if (e.threads[i].state != thread_state::finished) {
          e.fail_here("the body returned before its threads ended: call world.finally or "
                      "world.join at its end", nullptr);
        }
      }
    } else {
      (*self->function)();
    }
  } catch (const std::exception& error) {
    e.fail_here("uncaught exception: ", nullptr, error.what());
  } catch (...) {
    e.fail_here("uncaught exception", nullptr);
  }
  self->op = operation{};
  self->op.what = op_kind::end;
  for (;;) e.post();
}

inline void engine::prepare(explored_thread& t) {
  t.stack.prepare(&fiber_entry, tls, initial_tls_);
}

inline void engine::start_run(const work_item* item) {
  ++run_;
  shadow_.next_execution();
  heap.reset();
  pruned_ = false;
  executed_ = 0;
  g_.size = 0;
  outcome[0] = 0;
  thread_count = 1;
  for (explored_thread& t : threads) {
    t.state = thread_state::unused;
    t.done = t.recorded = 0;
    t.hinted_at = 0;
    t.hints = 0;
    t.repeats = 0;
    t.awaited_count = 0;
    t.spurious = 0;
    t.op = operation{};
  }
  explored_thread& m = threads[0];
  m.hb = m.seen = m.porf = vector_clock{};
  m.pending_hb = m.pending_seen = m.fence_hb = m.fence_seen = vector_clock{};
  m.state = thread_state::running;
  prepare(m);
  if (item != nullptr) {
    g_.size = item->size;
    std::memcpy(static_cast<void*>(g_.events), item->events, item->size * sizeof(event));
  }
  loaded_ = g_.size;
  for (u16 i = 0; i < g_.size; ++i) {
    const event& e = g_.events[i];
    explored_thread& t = threads[e.thread];
    t.at[e.index - 1] = i;
    ++t.recorded;
    done_[i] = false;
    if (!is_access(e)) continue;
    place& p = places_[e.location];
    activate(p);
    if (e.what == kind::read) {
      p.readers[p.reads++] = i;
      continue;
    }
    u16 at = p.stores++;
    for (; at > 0 && g_.events[p.co[at - 1]].co > e.co; --at) p.co[at] = p.co[at - 1];
    p.co[at] = i;
  }
}

inline void engine::resume(unsigned id) {
  current = &threads[id];
  current_id = id;
  current->stack.enter(tls);
  current = nullptr;
  current_id = no_thread;
  if (failure_pending_) {
    failure_pending_ = false;
    fail(failure_text_, failure_site_);
  }
}

// A thread inside an update (or the kernel's) goes on first, then the leftmost one that can: what
// comes next is a function of the graph.
inline bool engine::inside(unsigned id) const {
  const operation& op = threads[id].op;
  if (op.what == op_kind::update || op.what == op_kind::unpark) return op.phase == 1;
  return op.what == op_kind::park && (op.phase == 2 || op.phase == 3);
}

inline void engine::run_loop() {
  while (threads[0].state != thread_state::finished) {
    bool progress = false;
    for (int pass = 0; pass < 2 && !progress; ++pass) {
      for (unsigned id = 0; id < thread_count && !progress; ++id) {
        explored_thread& t = threads[id];
        if (pass == 0 && !inside(id)) continue;
        if (t.state == thread_state::running) resume(id);
        if (failed) return;
        if (t.state != thread_state::posted) continue;
        progress = process(id);
        if (failed || pruned_) return;
      }
    }
    if (!progress) return;
  }
}

inline void engine::end_of_run() {
  if (failed) return;
  if (pruned_) {
    ++out->pruned;
    return;
  }
  if (executed_ < g_.size) {
    fail("the body is not deterministic: a thread did less than in an earlier run", nullptr);
    return;
  }
  if (threads[0].state == thread_state::finished) {
    if (how.leaks) {
      if (const arena::block* const block = heap.leak()) {
        fail("leak: " + std::to_string(block->size) + " bytes were not freed", block->site);
        return;
      }
    }
    ++out->executions;
    if (outcome[0] != 0) ++out->outcomes[outcome];
    if (how.count_distinct && remember(hash())) ++out->distinct;
    return;
  }
  // Nobody can go on. It is a deadlock if nobody will see anything newer either.
  std::string who;
  for (unsigned i = 0; i < thread_count; ++i) {
    const explored_thread& t = threads[i];
    if (t.state == thread_state::finished || t.op.what == op_kind::join) continue;
    if (t.state == thread_state::awaiting) {
      for (unsigned k = 0; k < t.awaited_count; ++k) {
        const event& e = g_.events[t.awaited[k]];
        if (g_.co_of_source(e) != places_[e.location].stores) {
          ++out->blocked;
          return;
        }
      }
      who += " thread " + std::to_string(i) + " spins on what nobody will store;";
    } else {
      who += " thread " + std::to_string(i) + " is parked and nobody will unpark it;";
    }
  }
  if (!who.empty()) who.pop_back();
  fail("deadlock:" + who, nullptr);
}

inline u64 engine::hash() const {
  // Independent of stamps: each event with its thread, index, source and place.
  u64 total = 0;
  for (u16 i = 0; i < g_.size; ++i) {
    const event& e = g_.events[i];
    u64 h = (u64{e.thread} << 48U) | (u64{e.index} << 32U) | (u64{static_cast<u8>(e.what)} << 24U) |
            e.location;
    h = h * 0x9E3779B97F4A7C15U ^ (h >> 29U);
    u64 from = 1;
    if ((e.what == kind::read || e.what == kind::wake) && e.rf != initial) {
      from = (u64{g_.events[e.rf].thread} << 20U) + g_.events[e.rf].index + 2;
    }
    h ^= from * 0xBF58476D1CE4E5B9U;
    h ^= (e.what == kind::read ? u64{0} : u64{e.co} + 1) * 0x94D049BB133111EBU;
    h ^= h >> 31U;
    h *= 0xD6E8FEB86659FD93U;
    h ^= h >> 32U;
    total += h * 0x2545F4914F6CDD1DU;
  }
  return total | 1U;
}

// Returns: whether the hash is new.
inline bool engine::remember(u64 h) {
  if ((hash_count_ + 1) * 2 > hash_capacity_) {
    const std::size_t bigger = hash_capacity_ == 0 ? 1024 : hash_capacity_ * 2;
    auto* const table = static_cast<u64*>(std::calloc(bigger, sizeof(u64)));
    for (std::size_t i = 0; i < hash_capacity_; ++i) {
      if (hashes_[i] == 0) continue;
      std::size_t slot = hashes_[i] % bigger;
      while (table[slot] != 0) slot = (slot + 1) % bigger;
      table[slot] = hashes_[i];
    }
    std::free(hashes_);
    hashes_ = table;
    hash_capacity_ = bigger;
  }
  std::size_t slot = h % hash_capacity_;
  for (; hashes_[slot] != 0; slot = (slot + 1) % hash_capacity_) {
    if (hashes_[slot] == h) return false;
  }
  hashes_[slot] = h;
  ++hash_count_;
  return true;
}

inline void engine::explore(const std::function<void(world&)>& body, const options& what,
                            report& result) {
  how = what;
  out = &result;
  body_ = &body;
  failed = false;
  hash_count_ = 0;
  if (hashes_ != nullptr) std::memset(hashes_, 0, hash_capacity_ * sizeof(u64));
  tls = tls_block::of_program();
  if (initial_tls_ == nullptr && tls.size != 0) {
    initial_tls_ = static_cast<char*>(std::malloc(tls.size));
    std::memcpy(initial_tls_, tls.begin, tls.size);
  }
  u64 runs = 0;
  work_item* item = nullptr;
  for (;;) {
    // Two patterns in fresh memory: who reads it uninitialised does different things.
    poison = (runs & 1U) != 0 ? 0x01 : 0xFF;
    start_run(item);
    std::free(item);
    run_loop();
    end_of_run();
    ++runs;
    item = stack_;
    if (failed || item == nullptr || (what.max_runs != 0 && runs >= what.max_runs)) break;
    stack_ = item->next;
  }
  result.exhausted = !failed && item == nullptr;
  while (stack_ != nullptr) {
    work_item* const next = stack_->next;
    std::free(stack_);
    stack_ = next;
  }
  out = nullptr;
}

}  // namespace
}  // namespace interlock::testing
