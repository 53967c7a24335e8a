// SPDX-License-Identifier: BSL-1.0
// src/testing/runtime.cpp - the runtime of interlock::testing: the entry points that explored code
// calls. Not to be compiled with -fsanitize=thread.
//
//   A  __tsan_*, as GCC and Clang emit them with -fsanitize=thread
//   B  testing::atomic and testing::var
//   both: operator new and delete, the library's park, unpark and spin_hint, sched_yield, abort

#undef _FORTIFY_SOURCE  // it would define some of the functions that are defined here

#include "interlock/testing/model.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <utility>

#include "engine.hpp"
#include "events.hpp"
#include "forward.hpp"
#include "mutation.hpp"
#include "operations.hpp"
#include "places.hpp"
#include "processes.hpp"
#include "replay.hpp"
#include "report.hpp"
#include "revisits.hpp"
#include "runs.hpp"
#include "sampling.hpp"
#include "stacks.hpp"
#include "symmetry.hpp"

#if defined(__linux__)
#include <sys/single_threaded.h>
#endif

// Where the caller is in the code; tells also where it is on its stack.
#define INTERLOCK_SITE                                                              \
  (interlock::testing::entry_frame =                                                \
       reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)),                \
   __builtin_return_address(0))

namespace interlock::testing {
namespace {

bool explored() noexcept { return the_engine().current != nullptr; }

std::uintptr_t number(const volatile void* address) noexcept {
  return reinterpret_cast<std::uintptr_t>(address);
}

u8 code_of(int order) noexcept {
  constexpr u8 codes[] = {relaxed, acquire, acquire, release, acq_rel, seq_cst};
  return codes[order & 7];
}

const mutation* mutated(const void* site, access_kind what) noexcept {
  const mutation* const change = the_engine().how.changed;
  return change != nullptr && change->of == what && change->at(site) ? change : nullptr;
}

// The order that is in force here: the given one, or what a mutation puts in its place.
u8 order_at(const void* site, int order, access_kind what) {
  const u8 code = code_of(order);
  sites_seen::add({site, what, code});
  const mutation* const change = mutated(site, what);
  return change != nullptr && change->what == change_kind::weaken ? change->order : code;
}

operation& begin(op_kind what, const volatile void* where, unsigned size, const void* site) {
  operation& op = the_engine().current->op;
  op = operation{};
  op.what = what;
  op.address = number(where);
  op.size = static_cast<u8>(size);
  op.site = site;
  if (op.address % size != 0) the_engine().fail_here("misaligned atomic access", site);
  return op;
}

value_t value_at(const volatile void* where, unsigned size) noexcept {
  return load_memory(number(where), size);
}
void set_value(volatile void* where, const value_t& v, unsigned size) noexcept {
  std::memcpy(const_cast<void*>(where), &v, size);
}

value_t explored_load(const volatile void* where, unsigned size, u8 order, const void* site) {
  operation& op = begin(op_kind::load, where, size, site);
  op.order = order;
  the_engine().post();
  return op.result;
}

void explored_store(volatile void* where, unsigned size, const value_t& v, u8 order,
                    const void* site) {
  operation& op = begin(op_kind::store, where, size, site);
  op.order = order;
  op.operand = v;
  the_engine().post();
}

// Effects: makes the store that a mutation held back.
void finish_delayed() {
  delayed_store& late = the_engine().current->delayed;
  if (late.where == nullptr) return;
  volatile void* const where = std::exchange(late.where, nullptr);
  explored_store(where, late.size, late.value, late.order, late.site);
}
void finish_delayed_at(const volatile void* where) {
  if (the_engine().current->delayed.where == where) finish_delayed();
}

// A loop around a load that a mutation answers has no event, and would have no end.
constexpr unsigned answers_without_end = 10'000;

value_t do_load(const volatile void* where, unsigned size, int order, const void* site) {
  if (!explored()) return value_at(where, size);
  finish_delayed_at(where);
  const u8 code = order_at(site, order, access_kind::load);
  if (const mutation* const m = mutated(site, access_kind::load);
      m != nullptr && m->what == change_kind::repeat_load) {
    value_t old;
    if (the_engine().last_seen(number(where), static_cast<u8>(size), site, old)) {
      if (++the_engine().current->repeats > answers_without_end) {
        the_engine().fail_here("a thread spins on a value that it does not load again", site);
      }
      return old;
    }
  }
  return explored_load(where, size, code, site);
}

void do_store(volatile void* where, unsigned size, value_t v, int order, const void* site) {
  if (!explored()) return set_value(where, v, size);
  const u8 code = order_at(site, order, access_kind::store);
  if (const mutation* const m = mutated(site, access_kind::store)) {
    if (m->what == change_kind::drop_store) return;
    delayed_store& late = the_engine().current->delayed;
    if (m->what == change_kind::delay_store && late.where == nullptr) {
      late = {where, static_cast<u8>(size), code, v, site};
      return;
    }
  }
  // What comes second is held back only by a store that orders what comes first.
  if (!releases(code) || the_engine().current->delayed.where == where) finish_delayed();
  explored_store(where, size, v, code, site);
  finish_delayed();
}

// An update in two halves, or without effect.
value_t changed_update(const mutation& m, volatile void* where, const operation& op,
                       const void* site) {
  const u8 half = op.order == seq_cst ? op.order : u8{acquires(op.order) ? acquire : relaxed};
  const value_t old = explored_load(where, op.size, half, site);
  if (op.update == update_kind::compare && old != op.expected) return old;
  if (m.what == change_kind::split_update) {
    const u8 rest = op.order == seq_cst ? op.order : u8{releases(op.order) ? release : relaxed};
    explored_store(where, op.size, updated(op, old), rest, site);
  }
  return old;
}

bool changes_update(const mutation* m) noexcept {
  return m != nullptr &&
         (m->what == change_kind::split_update || m->what == change_kind::drop_update);
}

value_t do_update(volatile void* where, unsigned size, update_kind what, value_t v, int order,
                  const void* site) {
  operation asked;
  asked.what = op_kind::update;
  asked.update = what;
  asked.operand = v;
  asked.size = static_cast<u8>(size);
  if (!explored()) {
    const value_t old = value_at(where, size);
    set_value(where, updated(asked, old), size);
    return old;
  }
  finish_delayed_at(where);
  asked.order = order_at(site, order, access_kind::update);
  if (!releases(asked.order)) finish_delayed();
  value_t old;
  const mutation* const m = mutated(site, access_kind::update);
  if (changes_update(m)) {
    old = changed_update(*m, where, asked, site);
  } else {
    operation& op = begin(op_kind::update, where, size, site);
    op.update = what;
    op.order = asked.order;
    op.operand = v;
    the_engine().post();
    old = op.result;
  }
  finish_delayed();
  return old;
}

unsigned do_choose(unsigned n, choice_of about, const void* site) {
  operation& op = begin(op_kind::choice, nullptr, 1, site);
  op.options = n;
  op.about = about;
  the_engine().post();
  return static_cast<unsigned>(op.result.low);
}

bool fails_for_no_reason(const void* site) {
  explored_thread& t = *the_engine().current;
  if (t.failed_exchanges >= the_engine().how.spurious_failures) return false;
  if (do_choose(2, choice_of::exchange, site) == 0) return false;
  ++t.failed_exchanges;
  return true;
}

// Returns: whether it replaced the value; `expected` then holds what was there.
bool do_compare(volatile void* where, unsigned size, value_t& expected, value_t desired, int order,
                int failure, const void* site, bool weak = false) {
  if (!explored()) {
    const value_t old = value_at(where, size);
    const bool equal = old == expected;
    if (equal) set_value(where, desired, size);
    expected = old;
    return equal;
  }
  finish_delayed_at(where);
  if (weak && fails_for_no_reason(site)) {
    expected = explored_load(where, size, order_at(site, failure, access_kind::failure), site);
    return false;
  }
  const u8 success = order_at(site, order, access_kind::compare);
  const u8 fail = order_at(site, failure, access_kind::failure);
  if (!releases(success)) finish_delayed();
  const mutation* const m = mutated(site, access_kind::compare);
  operation& op = begin(op_kind::update, where, size, site);
  op.update = update_kind::compare;
  op.order = success;
  op.order_fail = fail;
  op.operand = desired;
  op.expected = expected;
  bool done = false;
  if (changes_update(m)) {
    const operation asked = op;
    const value_t old = changed_update(*m, where, asked, site);
    done = old == expected;
    expected = old;
  } else {
    the_engine().post();
    expected = op.result;
    done = op.success;
  }
  finish_delayed();
  return done;
}

void do_fence(int order, const void* site) {
  if (!explored()) return;
  operation& op = begin(op_kind::fence, nullptr, 1, site);
  op.order = order_at(site, order, access_kind::fence);
  the_engine().post();
}

void plain(const volatile void* where, std::size_t size, u8 flags, const void* site) {
  if (!explored() || size == 0 || the_engine().unseen != 0) return;
  the_engine().plain(number(where), size, flags, site);
}

void do_park(const void* word, std::uint32_t expected, const void* site) {
  finish_delayed();
  sites_seen::add({site, access_kind::sleep, relaxed});
  operation& op = begin(op_kind::park, word, 4, site);
  op.expected.low = expected;
  op.unchecked = mutated(site, access_kind::sleep) != nullptr;
  the_engine().post();
}

void do_unpark(const void* word, u64 how_many, const void* site) {
  const access_kind what =
      how_many == queue_wake_all ? access_kind::notify_all : access_kind::notify_one;
  sites_seen::add({site, what, relaxed});
  const mutation* const m = mutated(site, what);
  if (m == nullptr || m->what != change_kind::drop_notify) {
    operation& op = begin(op_kind::unpark, word, 4, site);
    op.operand.low = m != nullptr ? queue_wake_one : how_many;
    the_engine().post();
  }
  finish_delayed();
}

// ---- time: each thread has its own, as late as it knows it to be; it passes where a wait ends so

constexpr u64 time_at_start = u64{24} * 3600 * 1'000'000'000;  // ns; a clock never shows zero
constexpr u64 never = u64{1} << 61U;

u64 since(u64 start, u64 time) noexcept { return time > start ? time - start : 0; }

void advance_to(u64 time) noexcept {
  explored_thread& t = *the_engine().current;
  if (time > t.time) t.time = time < never ? time : never;
}

// Effects: a wait of this thread ends by time, or not. Ended by time, the clock is at the deadline.
bool times_out(u64 deadline, const void* site) {
  if (deadline <= the_engine().current->time) return true;
  if (deadline >= never || do_choose(2, choice_of::deadline, site) == 0) return false;
  advance_to(deadline);
  return true;
}

// Returns: false when the deadline has passed.
bool park_before(u64 deadline, const void* word, std::uint32_t expected, const void* site) {
  if (times_out(deadline, site)) return false;
  explored_thread& t = *the_engine().current;
  t.has_deadline = deadline < never;
  do_park(word, expected, site);
  t.has_deadline = false;
  return true;
}

void hint() {
  explored_thread& t = *the_engine().current;
  if (the_engine().how.whole_waits && t.awaited_count != 0 && t.hinted_at == t.done) {
    t.state = thread_state::awaiting;  // only a revisit sets it free
    t.stack.leave();
  }
  ++t.hints;
  t.hinted_at = t.done;
}

[[noreturn]] void terminate_explored() {
  if (explored()) the_engine().fail_here("std::terminate was called", nullptr);
  std::abort();
}

}  // namespace

// ---- the public interface -----------------------------------------------------------------------

report explore(const options& how, const std::function<void(world&)>& body) {
  report result;
  if (explored()) the_engine().fail_here("explore() inside explore()", nullptr);
#if defined(__linux__)
  __libc_single_threaded = 0;  // else std::shared_ptr counts without atomic operations
#endif
  const std::terminate_handler before = std::set_terminate(&terminate_explored);
  the_engine().explore(body, how, result);
  if (result.entangled && result.failure.empty()) {
    options without = how;
    without.symmetry = false;
    result = report{};
    the_engine().explore(body, without, result);
    result.entangled = true;
  }
  std::set_terminate(before);
  return result;
}

void check(bool condition, const char* sentence, std::source_location where) {
  if (condition) return;
  char place[256];
  std::snprintf(place, sizeof place, " (%s:%u)", where.file_name(),
                static_cast<unsigned>(where.line()));
  if (explored()) {
    static char text[512];
    std::snprintf(text, sizeof text, "check failed: %s%s", sentence, place);
    the_engine().fail_here(text, nullptr);
  }
  std::fprintf(stderr, "interlock::testing: check failed: %s%s\n", sentence, place);
  std::abort();
}

unsigned choose(unsigned n) {
  return explored() && n > 1 ? do_choose(n, choice_of::user, INTERLOCK_SITE) : 0;
}

void advance(std::chrono::nanoseconds duration) {
  if (explored() && duration.count() > 0) {
    advance_to(the_engine().current->time + static_cast<u64>(duration.count()));
  }
}

void note(const char* text, std::source_location where) {
  if (explored()) the_engine().note(text, where.file_name(), static_cast<unsigned>(where.line()));
}

void spin_hint() {
  if (explored()) hint();
}

unseen::unseen() { ++the_engine().unseen; }
unseen::~unseen() { --the_engine().unseen; }

moment here() {
  check(explored(), "here() is called in an explored thread");
  explored_thread& t = *the_engine().current;
  moment result;
  static_assert(sizeof result.known == sizeof t.hb.at);
  result.thread = the_engine().current_id;
  result.events = t.done;
  result.number = ++t.moments;
  std::memcpy(result.known.data(), t.hb.at, sizeof t.hb.at);
  return result;
}

world::~world() {
  for (std::size_t i = 0; i < count_; ++i) work_[i].destroy(work_[i].function);
}

void world::add(const work& what, unsigned group) {
  engine& e = the_engine();
  if (e.current_id != 0) e.fail_here("only the body itself adds threads", INTERLOCK_SITE);
  if (e.thread_count == max_threads) {
    e.fail_here("more than 7 threads besides the body: thread 8 is one too many. Fewer show the "
                "same mistakes", INTERLOCK_SITE);
  }
  work_[count_++] = what;
  explored_thread& t = e.threads[e.thread_count++];
  t.call = what.call;
  t.function = what.function;
  t.group = static_cast<u8>(group);
  e.symmetric = e.uses_symmetry() && (e.symmetric || group != 0);
  t.state = thread_state::added;
  e.prepare(t);
}

void world::join() {
  if (the_engine().current_id != 0) the_engine().fail_here("only the body itself joins", nullptr);
  begin(op_kind::join, nullptr, 1, INTERLOCK_SITE);
  the_engine().post();
}

void world::record_outcome(const long long* numbers, std::size_t count) {
  engine& e = the_engine();
  std::size_t used = std::strlen(e.outcome);
  for (std::size_t i = 0; i < count && used + 24 < sizeof e.outcome; ++i) {
    used += static_cast<std::size_t>(std::snprintf(e.outcome + used, sizeof e.outcome - used,
                                                   used == 0 ? "%lld" : " %lld", numbers[i]));
  }
}

// ---- front end B --------------------------------------------------------------------------------

namespace model_detail {

void load(const void* where, std::size_t size, void* result, std::memory_order order) {
  const value_t v =
      do_load(where, static_cast<unsigned>(size), static_cast<int>(order), INTERLOCK_SITE);
  std::memcpy(result, &v, size);
}

void store(void* where, std::size_t size, const void* value, std::memory_order order) {
  const auto n = static_cast<unsigned>(size);
  do_store(where, n, value_at(value, n), static_cast<int>(order), INTERLOCK_SITE);
}

void modify(void* where, std::size_t size, update what, const void* operand, void* old,
            std::memory_order order) {
  const auto n = static_cast<unsigned>(size);
  const value_t v = do_update(where, n, static_cast<update_kind>(what), value_at(operand, n),
                              static_cast<int>(order), INTERLOCK_SITE);
  std::memcpy(old, &v, size);
}

bool compare_exchange(void* where, std::size_t size, void* expected, const void* desired,
                      std::memory_order success, std::memory_order failure, bool weak) {
  const auto n = static_cast<unsigned>(size);
  value_t seen = value_at(expected, n);
  const bool done = do_compare(where, n, seen, value_at(desired, n), static_cast<int>(success),
                               static_cast<int>(failure), INTERLOCK_SITE, weak);
  if (!done) std::memcpy(expected, &seen, size);
  return done;
}

void fence(std::memory_order order) { do_fence(static_cast<int>(order), INTERLOCK_SITE); }
void plain_read(const void* where, std::size_t size) {
  plain(where, size, access_read, INTERLOCK_SITE);
}
void plain_write(void* where, std::size_t size) {
  plain(where, size, access_write, INTERLOCK_SITE);
}

}  // namespace model_detail
}  // namespace interlock::testing

using namespace interlock::testing;  // NOLINT: the rest is outside of any namespace by its nature

// ---- the library's hooks: these take the place of the inline ones of detail/parking.hpp ---------

namespace interlock::detail {

void park(const std::atomic<std::uint32_t>& word, std::uint32_t expected) noexcept {
  if (explored()) do_park(&word, expected, INTERLOCK_SITE);
}
// That it times out at once stands for all moments: a sleeper that is not woken leaves no trace.
bool park_until(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                std::chrono::steady_clock::time_point deadline) noexcept {
  if (!explored()) return true;
  const auto since_epoch = std::chrono::nanoseconds(deadline.time_since_epoch()).count();
  const u64 time = since_epoch < 0 ? 0 : since(time_at_start, static_cast<u64>(since_epoch));
  return park_before(time, &word, expected, INTERLOCK_SITE);
}
void unpark_one(const std::atomic<std::uint32_t>* word) noexcept {
  if (explored()) do_unpark(word, queue_wake_one, INTERLOCK_SITE);
}
void unpark_all(const std::atomic<std::uint32_t>* word) noexcept {
  if (explored()) do_unpark(word, queue_wake_all, INTERLOCK_SITE);
}
void spin_hint(unsigned) noexcept {
  if (explored()) hint();
}

}  // namespace interlock::detail

// ---- who runs: all fibers have the addresses of one real thread --------------------------------

namespace interlock::detail {
const void* this_thread() noexcept {
  static constexpr char outside = 0;
  return explored() ? static_cast<const void*>(the_engine().current) : &outside;
}
}  // namespace interlock::detail

// ---- memory -------------------------------------------------------------------------------------

namespace {

// Returns: null when options::allocation_failures makes it fail.
void* explored_allocation(std::size_t size, std::size_t alignment, const void* site) {
  engine& e = the_engine();
  if (e.how.allocation_failures != 0 && e.current_id != 0) {
    const unsigned options = e.failed_allocations() < e.how.allocation_failures ? 2 : 1;
    if (do_choose(options, choice_of::allocation, site) == 1) return nullptr;
  }
  if (e.how.reuse_memory) {
    arena::block* const freed = e.heap.reusable(e.current_id, size, alignment);
    if (freed != nullptr && do_choose(2, choice_of::memory, site) == 0) {
      return e.reuse_memory(*freed, size, site);
    }
  }
  return e.allocate(size, alignment, site);
}

void* allocate(std::size_t size, std::size_t alignment, const void* site) {
  if (explored()) {
    return the_engine().unseen == 0 ? explored_allocation(size, alignment, site)
                                    : the_engine().allocate(size, alignment, site);
  }
  void* const memory =
      alignment <= 16 ? std::malloc(size == 0 ? 1 : size)
                      : std::aligned_alloc(alignment, (size + alignment - 1) & ~(alignment - 1));
  if (memory == nullptr) {
    std::fputs("interlock::testing: out of memory\n", stderr);
    std::exit(3);
  }
  return memory;
}

void* allocate_or_throw(std::size_t size, std::size_t alignment, const void* site) {
  void* const memory = allocate(size, alignment, site);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void deallocate(void* memory, const void* site) noexcept {
  if (memory == nullptr) return;
  if (!the_engine().heap.holds(memory)) return std::free(memory);
  if (explored()) the_engine().release_memory(memory, site);
}

}  // namespace

void* operator new(std::size_t size) {
  return allocate_or_throw(size, 16, INTERLOCK_SITE);
}
void* operator new[](std::size_t size) {
  return allocate_or_throw(size, 16, INTERLOCK_SITE);
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return allocate(size, 16, INTERLOCK_SITE);
}
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept {
  return allocate(size, 16, INTERLOCK_SITE);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate_or_throw(size, static_cast<std::size_t>(alignment), INTERLOCK_SITE);
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return allocate_or_throw(size, static_cast<std::size_t>(alignment), INTERLOCK_SITE);
}
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return allocate(size, static_cast<std::size_t>(alignment), INTERLOCK_SITE);
}
void* operator new[](std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return allocate(size, static_cast<std::size_t>(alignment), INTERLOCK_SITE);
}
void operator delete(void* memory) noexcept { deallocate(memory, INTERLOCK_SITE); }
void operator delete[](void* memory) noexcept { deallocate(memory, INTERLOCK_SITE); }
void operator delete(void* memory, std::size_t) noexcept { deallocate(memory, INTERLOCK_SITE); }
void operator delete[](void* memory, std::size_t) noexcept { deallocate(memory, INTERLOCK_SITE); }
void operator delete(void* memory, std::align_val_t) noexcept {
  deallocate(memory, INTERLOCK_SITE);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
  deallocate(memory, INTERLOCK_SITE);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  deallocate(memory, INTERLOCK_SITE);
}
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept {
  deallocate(memory, INTERLOCK_SITE);
}

// ---- the C library ------------------------------------------------------------------------------

extern "C" {

int sched_yield() noexcept {
  if (explored()) hint();
  return 0;
}

__attribute__((noreturn)) void abort() noexcept {
  if (explored()) the_engine().fail_here("abort() was called", INTERLOCK_SITE);
  std::signal(SIGABRT, SIG_DFL);
  std::raise(SIGABRT);
  std::_Exit(134);
}

[[noreturn]] void __assert_fail(const char* expression, const char* file, unsigned line,
                                const char*) noexcept {
  if (explored()) the_engine().fail_here("assertion failed: ", INTERLOCK_SITE, expression);
  std::fprintf(stderr, "%s:%u: assertion failed: %s\n", file, line, expression);
  abort();
}

}  // extern "C"

#include "system.hpp"
#include "locks.hpp"

extern "C" {

// ---- front end A: what -fsanitize=thread calls --------------------------------------------------

void __tsan_init() {}
void __tsan_func_entry(void*) {
  if (running_frames != nullptr) running_frames->enter(number(__builtin_frame_address(0)));
}
void __tsan_func_exit() {
  if (running_frames == nullptr) return;
  const void* const site = INTERLOCK_SITE;
  // A store to a local object cannot be held back any longer.
  engine& e = the_engine();
  if (e.current->stack.holds(e.current->delayed.where)) finish_delayed();
  const std::uintptr_t end = running_frames->exit(entry_frame);
  if (running_frames->object_count != 0) e.end_objects(end);
  if (end > running_frames->used_by_others) e.end_of_frame(end, site);
}
void __tsan_ignore_thread_begin() {}
void __tsan_ignore_thread_end() {}

#define INTERLOCK_PLAIN(SIZE)                                                                   \
  void __tsan_read##SIZE(void* p) { plain(p, SIZE, access_read, INTERLOCK_SITE); }              \
  void __tsan_write##SIZE(void* p) { plain(p, SIZE, access_write, INTERLOCK_SITE); }            \
  void __tsan_unaligned_read##SIZE(void* p) { plain(p, SIZE, access_read, INTERLOCK_SITE); }    \
  void __tsan_unaligned_write##SIZE(void* p) { plain(p, SIZE, access_write, INTERLOCK_SITE); }  \
  void __tsan_volatile_read##SIZE(void* p) { plain(p, SIZE, access_read, INTERLOCK_SITE); }     \
  void __tsan_volatile_write##SIZE(void* p) { plain(p, SIZE, access_write, INTERLOCK_SITE); }   \
  void __tsan_read_write##SIZE(void* p) { plain(p, SIZE, access_write, INTERLOCK_SITE); }       \
  void __tsan_unaligned_read_write##SIZE(void* p) { plain(p, SIZE, access_write, INTERLOCK_SITE); }
INTERLOCK_PLAIN(1)
INTERLOCK_PLAIN(2)
INTERLOCK_PLAIN(4)
INTERLOCK_PLAIN(8)
INTERLOCK_PLAIN(16)
#undef INTERLOCK_PLAIN

void __tsan_read_range(void* p, unsigned long n) { plain(p, n, access_read, INTERLOCK_SITE); }
void __tsan_write_range(void* p, unsigned long n) { plain(p, n, access_write, INTERLOCK_SITE); }
void __tsan_vptr_read(void** p) { plain(p, sizeof(void*), access_read, INTERLOCK_SITE); }
void __tsan_vptr_update(void** p, void* value) {
  if (*p != value) plain(p, sizeof(void*), access_write, INTERLOCK_SITE);
}
void* __tsan_memcpy(void* to, const void* from, unsigned long n) {
  plain(from, n, access_read, INTERLOCK_SITE);
  plain(to, n, access_write, INTERLOCK_SITE);
  return std::memcpy(to, from, n);
}
void* __tsan_memmove(void* to, const void* from, unsigned long n) {
  plain(from, n, access_read, INTERLOCK_SITE);
  plain(to, n, access_write, INTERLOCK_SITE);
  return std::memmove(to, from, n);
}
void* __tsan_memset(void* to, int byte, unsigned long n) {
  plain(to, n, access_write, INTERLOCK_SITE);
  return std::memset(to, byte, n);
}

void __tsan_atomic_thread_fence(int order) { do_fence(order, INTERLOCK_SITE); }
void __tsan_atomic_signal_fence(int) {}

}  // extern "C"

namespace {
using tsan8 = std::uint8_t;
using tsan16 = std::uint16_t;
using tsan32 = std::uint32_t;
using tsan64 = std::uint64_t;
__extension__ using tsan128 = unsigned __int128;

template <class T>
value_t wide(T v) noexcept {
  value_t result;
  std::memcpy(static_cast<void*>(&result), &v, sizeof v);
  return result;
}
template <class T>
T narrow(const value_t& v) noexcept {
  T result;
  std::memcpy(&result, &v, sizeof result);
  return result;
}
}  // namespace

#define INTERLOCK_UPDATE(BITS, NAME, KIND)                                                      \
  tsan##BITS __tsan_atomic##BITS##_##NAME(volatile tsan##BITS* p, tsan##BITS v, int order) {    \
    return narrow<tsan##BITS>(                                                                  \
        do_update(p, BITS / 8, update_kind::KIND, wide(v), order, INTERLOCK_SITE));             \
  }
#define INTERLOCK_ATOMIC(BITS)                                                                  \
  tsan##BITS __tsan_atomic##BITS##_load(const volatile tsan##BITS* p, int order) {              \
    return narrow<tsan##BITS>(do_load(p, BITS / 8, order, INTERLOCK_SITE));                     \
  }                                                                                             \
  void __tsan_atomic##BITS##_store(volatile tsan##BITS* p, tsan##BITS v, int order) {           \
    do_store(p, BITS / 8, wide(v), order, INTERLOCK_SITE);                                      \
  }                                                                                             \
  INTERLOCK_UPDATE(BITS, exchange, exchange)                                                    \
  INTERLOCK_UPDATE(BITS, fetch_add, add)                                                        \
  INTERLOCK_UPDATE(BITS, fetch_sub, subtract)                                                   \
  INTERLOCK_UPDATE(BITS, fetch_and, bit_and)                                                    \
  INTERLOCK_UPDATE(BITS, fetch_or, bit_or)                                                      \
  INTERLOCK_UPDATE(BITS, fetch_xor, bit_xor)                                                    \
  INTERLOCK_UPDATE(BITS, fetch_nand, nand)                                                      \
  int __tsan_atomic##BITS##_compare_exchange_strong(volatile tsan##BITS* p, tsan##BITS* old,    \
                                                    tsan##BITS v, int order, int failure) {     \
    value_t expected = wide(*old);                                                              \
    if (do_compare(p, BITS / 8, expected, wide(v), order, failure, INTERLOCK_SITE)) return 1;   \
    *old = narrow<tsan##BITS>(expected);                                                        \
    return 0;                                                                                   \
  }                                                                                             \
  int __tsan_atomic##BITS##_compare_exchange_weak(volatile tsan##BITS* p, tsan##BITS* old,      \
                                                  tsan##BITS v, int order, int failure) {       \
    value_t expected = wide(*old);                                                              \
    if (do_compare(p, BITS / 8, expected, wide(v), order, failure, INTERLOCK_SITE, true)) {     \
      return 1;                                                                                 \
    }                                                                                           \
    *old = narrow<tsan##BITS>(expected);                                                        \
    return 0;                                                                                   \
  }                                                                                             \
  tsan##BITS __tsan_atomic##BITS##_compare_exchange_val(volatile tsan##BITS* p, tsan##BITS old, \
                                                        tsan##BITS v, int order, int failure) { \
    value_t expected = wide(old);                                                               \
    do_compare(p, BITS / 8, expected, wide(v), order, failure, INTERLOCK_SITE);                 \
    return narrow<tsan##BITS>(expected);                                                        \
  }

extern "C" {
INTERLOCK_ATOMIC(8)
INTERLOCK_ATOMIC(16)
INTERLOCK_ATOMIC(32)
INTERLOCK_ATOMIC(64)
INTERLOCK_ATOMIC(128)
}
