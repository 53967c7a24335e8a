// SPDX-License-Identifier: BSL-1.0
#pragma once

// src/testing/locks.hpp - std::mutex, std::shared_mutex, std::condition_variable and std::call_once
// of explored threads: the POSIX functions beneath them, modelled. Elsewhere they do what they
// always do. Included by runtime.cpp alone, which has the helpers.
//
// A lock is a hidden word, free at the start of each execution. It is taken by an update that waits
// for the value that lets it in, so a thread in front of a taken lock waits without an execution of
// its own. A condition variable is a queue, as that of a parking word. The objects' own memory is
// not written; each call counts as a plain read of it, so that to make or destroy it meanwhile is a
// data race or a use after free.

#include <pthread.h>

#include <cerrno>
#include <mutex>

namespace {

enum class claim { exclusive, shared };

held_lock* held_by_me(const void* lock) noexcept {
  explored_thread& t = *the_engine().current;
  for (unsigned i = 0; i < t.held_count; ++i) {
    if (t.held[i].address == number(lock)) return &t.held[i];
  }
  return nullptr;
}

[[noreturn]] void misuse(const char* what, const void* site) noexcept {
  static char text[128];
  std::snprintf(text, sizeof text, "thread %u %s", the_engine().current_id, what);
  the_engine().fail_here(text, site);
}

operation& begin_lock_update(const void* lock, update_kind what, u8 order, const void* site) {
  finish_delayed();
  plain(lock, 4, access_read, site);
  operation& op = begin(op_kind::update, lock, 4, site);
  op.address |= lock_bit;
  op.update = what;
  op.order = order;
  op.order_fail = relaxed;
  return op;
}

// Returns: whether it was let in; always, if it waits.
bool take(const void* lock, claim how, bool waits, const void* site) {
  explored_thread& t = *the_engine().current;
  if (t.held_count == explored_thread::max_held) misuse("holds more than 16 locks", site);
  const bool shared = how == claim::shared;
  operation& op = begin_lock_update(lock, shared ? update_kind::lock_shared : update_kind::lock,
                                    acquire, site);
  op.operand.low = lock_taken;
  op.waits = waits;
  the_engine().post();
  if (!t.op.success) return false;
  t.held[t.held_count++] = {number(lock), shared, 1};
  return true;
}

void give(const void* lock, const void* site) {
  held_lock* const held = held_by_me(lock);
  if (held == nullptr) misuse("unlocks what it has not locked", site);
  if (--held->count != 0) return;
  const bool shared = held->shared;
  explored_thread& t = *the_engine().current;
  *held = t.held[--t.held_count];
  if (shared) {
    begin_lock_update(lock, update_kind::subtract, release, site).operand.low = 1;
  } else {
    begin_lock_update(lock, update_kind::exchange, release, site).what = op_kind::store;
  }
  the_engine().post();
}

// Returns: 0 or ETIMEDOUT.
int take_until(const void* lock, claim how, u64 deadline, const void* site) {
  explored_thread& t = *the_engine().current;
  if (deadline != no_deadline && times_out(deadline, site)) {
    return take(lock, how, false, site) ? 0 : ETIMEDOUT;
  }
  t.has_deadline = deadline != no_deadline;
  take(lock, how, true, site);
  t.has_deadline = false;
  return 0;
}

// ---- mutexes ------------------------------------------------------------------------------------

bool recursive(const pthread_mutex_t* mutex) noexcept {
#if defined(__GLIBC__)
  return (mutex->__data.__kind & 3) == PTHREAD_MUTEX_RECURSIVE;
#else
  static_cast<void>(mutex);
  return false;
#endif
}

// Returns: whether the thread has it already and may take it once more; then it has.
bool again(const pthread_mutex_t* mutex, const void* site) {
  held_lock* const held = held_by_me(mutex);
  if (held == nullptr) return false;
  if (!recursive(mutex)) misuse("locks a mutex that it has locked already", site);
  ++held->count;
  return true;
}

int lock_mutex(pthread_mutex_t* mutex, u64 deadline, const void* site) {
  return again(mutex, site) ? 0 : take_until(mutex, claim::exclusive, deadline, site);
}

int lock_shared_mutex(pthread_rwlock_t* lock, claim how, u64 deadline, const void* site) {
  if (held_by_me(lock) != nullptr) misuse("locks a shared mutex that it has locked already", site);
  return take_until(lock, how, deadline, site);
}

int try_shared_mutex(pthread_rwlock_t* lock, claim how, const void* site) {
  return held_by_me(lock) == nullptr && take(lock, how, false, site) ? 0 : EBUSY;
}

// ---- condition variables ------------------------------------------------------------------------

void sleep_in_queue(pthread_cond_t* condition, pthread_mutex_t* mutex, u64 deadline,
                    const void* site) {
  explored_thread& t = *the_engine().current;
  operation& enter = begin(op_kind::park, condition, 4, site);
  enter.phase = 1;
  enter.waits = true;
  the_engine().post();
  const u16 sleeper = t.op.sleeper;
  give(mutex, site);
  operation& sleep = begin(op_kind::park, condition, 4, site);
  sleep.phase = 4;
  sleep.waits = true;
  sleep.sleeper = sleeper;
  t.has_deadline = deadline != no_deadline;
  the_engine().post();
  t.has_deadline = false;
}

// Returns: 0 or ETIMEDOUT; the mutex is locked again.
int wait(pthread_cond_t* condition, pthread_mutex_t* mutex, u64 deadline, const void* site) {
  explored_thread& t = *the_engine().current;
  site = user_site(site);
  const held_lock* const held = held_by_me(mutex);
  if (held == nullptr) misuse("waits on a condition variable without its mutex", site);
  if (held->count > 1) misuse("waits on a condition variable with its mutex locked twice", site);
  finish_delayed();
  plain(condition, 8, access_read, site);
  int result = 0;
  bool sleeps = true;
  if (t.spurious < the_engine().how.spurious_wakeups) {
    sleeps = do_choose(2, choice_of::wake_up, site) == 0;
    t.spurious += sleeps ? 0 : 1;
  }
  if (sleeps && deadline != no_deadline && times_out(deadline, site)) {
    sleeps = false;
    result = ETIMEDOUT;
  }
  if (sleeps) {
    sleep_in_queue(condition, mutex, deadline, site);
  } else {
    give(mutex, site);
  }
  take(mutex, claim::exclusive, true, site);
  return result;
}

void notify(pthread_cond_t* condition, u64 how_many, const void* site) {
  site = user_site(site);
  plain(condition, 8, access_read, site);
  do_unpark(condition, how_many, site);
}

#if defined(__x86_64__) && defined(__GLIBC__)
// There are older functions of these names, for objects of another layout.
#define INTERLOCK_REAL_CONDITION(NAME, ...)                                         \
  [&] {                                                                             \
    static constinit std::atomic<void*> behind{nullptr};                            \
    if (behind.load() == nullptr) behind = dlvsym(RTLD_NEXT, #NAME, "GLIBC_2.3.2"); \
    return reinterpret_cast<decltype(&NAME)>(behind.load())(__VA_ARGS__);           \
  }()
#else
#define INTERLOCK_REAL_CONDITION INTERLOCK_REAL
#endif

// What std::call_once leaves for its function. Not the program's own thread_local variables, which
// each explored thread has for itself.
struct call_once_arguments {
#if defined(__GLIBCXX__) && defined(_GLIBCXX_HAVE_TLS)
  void* callable = std::__once_callable;
  void (*call)() = std::__once_call;
  void restore() const noexcept {
    std::__once_callable = callable;
    std::__once_call = call;
  }
#else
  void restore() const noexcept {}
#endif
};

// Returns: whether this is a shared library's own variable: what it does once for the whole program
// (the unwinder does) stays done.
bool of_library(const pthread_once_t* control) noexcept {
#if defined(__linux__)
  const std::uintptr_t address = number(control);
  const bool of_program = address >= number(&__executable_start) && address < number(&_end);
  return !of_program && !the_engine().heap.holds(control) &&
         fiber::owner_of(address) >= fiber::most;
#else
  return false;
#endif
}

// Returns: whether this thread is the one that runs the function.
bool first_call(pthread_once_t* control, const void* site) {
  operation& op = begin_lock_update(control, update_kind::once, acquire, site);
  op.operand.low = once_runs;
  op.waits = true;
  the_engine().post();
  return the_engine().current->op.success;
}

void end_call(pthread_once_t* control, u64 state, const void* site) {
  operation& op = begin_lock_update(control, update_kind::exchange, release, site);
  op.what = op_kind::store;
  op.operand.low = state;
  the_engine().post();
}

}  // namespace

extern "C" {

int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  if (!explored()) return INTERLOCK_REAL(pthread_mutex_lock, mutex);
  return lock_mutex(mutex, no_deadline, INTERLOCK_SITE);
}
int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept {
  if (!explored()) return INTERLOCK_REAL(pthread_mutex_trylock, mutex);
  const void* const site = INTERLOCK_SITE;
  if (held_by_me(mutex) != nullptr) return recursive(mutex) && again(mutex, site) ? 0 : EBUSY;
  return take(mutex, claim::exclusive, false, site) ? 0 : EBUSY;
}
int pthread_mutex_timedlock(pthread_mutex_t* mutex, const timespec* when) noexcept {
  if (!explored()) return INTERLOCK_REAL(pthread_mutex_timedlock, mutex, when);
  return lock_mutex(mutex, deadline_of(CLOCK_REALTIME, when), INTERLOCK_SITE);
}
int pthread_mutex_unlock(pthread_mutex_t* mutex) noexcept {
  if (!explored()) return INTERLOCK_REAL(pthread_mutex_unlock, mutex);
  give(mutex, INTERLOCK_SITE);
  return 0;
}
int pthread_mutex_destroy(pthread_mutex_t* mutex) noexcept {
  if (!explored()) return INTERLOCK_REAL(pthread_mutex_destroy, mutex);
  if (held_by_me(mutex) != nullptr) misuse("destroys a mutex that it has locked", INTERLOCK_SITE);
  plain(mutex, sizeof *mutex, access_write, INTERLOCK_SITE);
  return 0;
}

int pthread_rwlock_rdlock(pthread_rwlock_t* lock) noexcept {
  if (!explored()) return INTERLOCK_REAL(pthread_rwlock_rdlock, lock);
  return lock_shared_mutex(lock, claim::shared, no_deadline, INTERLOCK_SITE);
}
int pthread_rwlock_wrlock(pthread_rwlock_t* lock) noexcept {
  if (!explored()) return INTERLOCK_REAL(pthread_rwlock_wrlock, lock);
  return lock_shared_mutex(lock, claim::exclusive, no_deadline, INTERLOCK_SITE);
}
int pthread_rwlock_tryrdlock(pthread_rwlock_t* lock) noexcept {
  if (!explored()) return INTERLOCK_REAL(pthread_rwlock_tryrdlock, lock);
  return try_shared_mutex(lock, claim::shared, INTERLOCK_SITE);
}
int pthread_rwlock_trywrlock(pthread_rwlock_t* lock) noexcept {
  if (!explored()) return INTERLOCK_REAL(pthread_rwlock_trywrlock, lock);
  return try_shared_mutex(lock, claim::exclusive, INTERLOCK_SITE);
}
int pthread_rwlock_timedrdlock(pthread_rwlock_t* lock, const timespec* when) noexcept {
  if (!explored()) return INTERLOCK_REAL(pthread_rwlock_timedrdlock, lock, when);
  return lock_shared_mutex(lock, claim::shared, deadline_of(CLOCK_REALTIME, when), INTERLOCK_SITE);
}
int pthread_rwlock_timedwrlock(pthread_rwlock_t* lock, const timespec* when) noexcept {
  if (!explored()) return INTERLOCK_REAL(pthread_rwlock_timedwrlock, lock, when);
  return lock_shared_mutex(lock, claim::exclusive, deadline_of(CLOCK_REALTIME, when),
                           INTERLOCK_SITE);
}
int pthread_rwlock_unlock(pthread_rwlock_t* lock) noexcept {
  if (!explored()) return INTERLOCK_REAL(pthread_rwlock_unlock, lock);
  give(lock, INTERLOCK_SITE);
  return 0;
}
int pthread_rwlock_destroy(pthread_rwlock_t* lock) noexcept {
  if (!explored()) return INTERLOCK_REAL(pthread_rwlock_destroy, lock);
  plain(lock, sizeof *lock, access_write, INTERLOCK_SITE);
  return 0;
}

int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) {
  if (!explored()) return INTERLOCK_REAL_CONDITION(pthread_cond_wait, condition, mutex);
  return wait(condition, mutex, no_deadline, INTERLOCK_SITE);
}
int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                           const timespec* when) {
  if (!explored()) return INTERLOCK_REAL_CONDITION(pthread_cond_timedwait, condition, mutex, when);
  return wait(condition, mutex, deadline_of(CLOCK_REALTIME, when), INTERLOCK_SITE);
}
int pthread_cond_signal(pthread_cond_t* condition) noexcept {
  if (!explored()) return INTERLOCK_REAL_CONDITION(pthread_cond_signal, condition);
  notify(condition, queue_wake_one, INTERLOCK_SITE);
  return 0;
}
int pthread_cond_broadcast(pthread_cond_t* condition) noexcept {
  if (!explored()) return INTERLOCK_REAL_CONDITION(pthread_cond_broadcast, condition);
  notify(condition, queue_wake_all, INTERLOCK_SITE);
  return 0;
}
int pthread_cond_destroy(pthread_cond_t* condition) noexcept {
  if (!explored()) return INTERLOCK_REAL_CONDITION(pthread_cond_destroy, condition);
  plain(condition, sizeof *condition, access_write, INTERLOCK_SITE);
  return 0;
}

#if defined(__GLIBC__)
int pthread_mutex_clocklock(pthread_mutex_t* mutex, clockid_t clock,
                            const timespec* when) noexcept {
  if (!explored()) return INTERLOCK_REAL(pthread_mutex_clocklock, mutex, clock, when);
  return lock_mutex(mutex, deadline_of(clock, when), INTERLOCK_SITE);
}
int pthread_rwlock_clockrdlock(pthread_rwlock_t* lock, clockid_t clock,
                               const timespec* when) noexcept {
  if (!explored()) return INTERLOCK_REAL(pthread_rwlock_clockrdlock, lock, clock, when);
  return lock_shared_mutex(lock, claim::shared, deadline_of(clock, when), INTERLOCK_SITE);
}
int pthread_rwlock_clockwrlock(pthread_rwlock_t* lock, clockid_t clock,
                               const timespec* when) noexcept {
  if (!explored()) return INTERLOCK_REAL(pthread_rwlock_clockwrlock, lock, clock, when);
  return lock_shared_mutex(lock, claim::exclusive, deadline_of(clock, when), INTERLOCK_SITE);
}
int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                           const timespec* when) {
  if (!explored()) {
    return INTERLOCK_REAL(pthread_cond_clockwait, condition, mutex, clock, when);
  }
  return wait(condition, mutex, deadline_of(clock, when), INTERLOCK_SITE);
}
#endif

int pthread_once(pthread_once_t* control, void (*function)()) {
  if (!explored() || *control != PTHREAD_ONCE_INIT || of_library(control)) {
    return INTERLOCK_REAL(pthread_once, control, function);
  }
  const void* const site = INTERLOCK_SITE;
  const call_once_arguments arguments;
  if (!first_call(control, site)) return 0;
  arguments.restore();
  try {
    function();
  } catch (...) {
    end_call(control, 0, site);
    throw;
  }
  end_call(control, once_done, site);
  return 0;
}

}  // extern "C"
