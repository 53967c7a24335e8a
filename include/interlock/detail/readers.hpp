// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/readers.hpp - read a shared structure without a lock; free what was taken out of
// it when nobody can be looking at it any more.
//
// A reader says since when it reads: the number of an epoch, in a record of its thread's own. Who
// takes something out
//   1. unlinks it, so that who looks from now on does not find it;
//   2. ends the epoch: end_epoch() gives its number, for as many things as were unlinked before;
//   3. frees them once oldest_reader() is greater than that number. It is asked as often as one
//      likes, and waits for nobody.
//
// Why that is safe. A reader whose epoch is greater has read the number that step 2 wrote, so it
// sees step 1 and cannot come to the thing. One whose epoch is not greater holds it back. One that
// oldest_reader() did not see: the two halves of asymmetric_fence.hpp make it see step 1. And
// the record is stored with release and read with acquire, so freeing comes after the reading.
//
// A reader pays a load and two stores to lines that it has; no read-modify-write, nothing that
// another processor writes to. An inner reading is part of the outer one. Source: epochs of
// K. Fraser, "Practical lock-freedom", 2004; here one epoch ends for each batch, not by consensus.
//
// Records live for ever and are handed on when a thread ends. The first 64 need no heap. In a child
// of fork() the records of all threads but the one that is there are free: they read nothing.

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>

#include "after_fork.hpp"
#include "asymmetric_fence.hpp"
#include "futex_mutex.hpp"
#include "processor.hpp"

namespace interlock::detail {

// A run that a thread is inside, and the one around it.
struct run_mark {
  const void* run;
  const run_mark* outer;
};

// Where a thread keeps something: see pins.hpp.
struct pin_slot {
  std::atomic<const void*> node{nullptr};     // null: free
  std::atomic<const void*> counted{nullptr};  // the node, if this pin has become a reference
};

struct alignas(64) reader {
  std::atomic<std::uint64_t> since{0};  // the epoch in which its reading began; 0: reads nothing
  std::uint32_t number = 0;             // of this record, from 1 on
  futex_mutex pins_mutex;
  // See run_waits.hpp; under waits_mutex().
  const void* waits_for = nullptr;
  const run_mark* inside = nullptr;  // where it is meanwhile
  std::array<pin_slot, 2> pins{};
};
static_assert(sizeof(reader) == 64);

struct reader_block {
  static constexpr std::uint32_t room = 64;
  std::array<reader, room> records;
  std::array<bool, room> taken{};  // by threads; under readers::mutex_
  reader_block* more = nullptr;
};

class readers {
  using block = reader_block;

public:
  // Returns: this thread's record; nullptr if it has none, because memory ran out or because it is
  //          so far in its end that its own variables are gone: then read under a lock.
  static reader* here() noexcept {
    reader* const known = mine;
    return known != nullptr ? known : enter();
  }
  // Returns: the record that it belongs to.
  static reader& of(const pin_slot& slot) noexcept {
    const auto at = reinterpret_cast<std::uintptr_t>(&slot);
    return *reinterpret_cast<reader*>(at / sizeof(reader) * sizeof(reader));
  }
  static bool is_here(const reader& self) noexcept { return &self == mine; }
  // Preconditions: the number of a record.
  static reader& at(std::uint32_t number) noexcept {
    block& home = block_of(number);
    return home.records[number - 1];
  }

  static std::uint64_t epoch() noexcept {
    // order: acquire [readers.epoch] pairs with [readers.end_epoch]: sees what was unlinked in the epochs before
    return epoch_.load(std::memory_order_acquire);
  }
  // Effects: what was unlinked before by this thread cannot be found by readers of later epochs.
  // Returns: the epoch that has ended.
  static std::uint64_t end_epoch() noexcept {
    // order: release [readers.end_epoch] pairs with [readers.epoch]: shows what was unlinked
    return epoch_.fetch_add(1, std::memory_order_release);
  }
  // Returns: an epoch such that all who read now and have not seen every unlinking that was done
  //          before this call, or may have begun before it, began in it or later.
  static std::uint64_t oldest_reader() noexcept {
    full_fence();
    if (asymmetric_fence::available()) asymmetric_fence::heavy();
    std::uint64_t oldest = ~std::uint64_t{0};
    for_each([&oldest](const reader& each) {
      // order: acquire [readers.oldest] pairs with [reading.begin], [reading.end]: what was read is read
      const std::uint64_t began = each.since.load(std::memory_order_acquire);
      if (began != 0 && began < oldest) oldest = began;
    });
    return oldest;
  }
  // Effects: calls f(record) for each that was made before.
  template <class F>
  static void for_each(F f) noexcept {
    // order: acquire [readers.oldest.count] pairs with [readers.enter]: sees the records
    const std::uint32_t count = count_.load(std::memory_order_acquire);
    block* home = &first_;
    for (std::uint32_t i = 0, j = 0; i < count; ++i, ++j) {
      if (j == block::room) {
        home = home->more;
        j = 0;
      }
      f(home->records[j]);
    }
  }

  // For run_waits.hpp: `waits_for` of all records is under it.
  static futex_mutex& waits_mutex() noexcept { return waits_mutex_; }
  // For run_waits.hpp: the innermost run that this thread is inside.
  static const run_mark*& inside_here() noexcept { return inside_; }

  // For tests that begin anew: there are `count` records, up to 64; nobody reads. Each thread takes
  // the one of a number, from 1 on.
  static void start_anew(std::uint32_t count) noexcept {
    for (std::uint32_t i = 0; i < count; ++i) {
      std::construct_at(&first_.records[i]);
      first_.records[i].number = i + 1;
    }
    // order: relaxed: there is one thread
    count_.store(count, std::memory_order_relaxed);
    // order: relaxed: there is one thread
    epoch_.store(1, std::memory_order_relaxed);
  }
  static void take_place(std::uint32_t number) noexcept {
    mine = &first_.records[number - 1];
    inside_ = nullptr;
  }

private:
  // Hands the record on when its thread ends.
  struct leaver {
    ~leaver() {
      const std::lock_guard lock(mutex_);
      if (mine != nullptr) taken(mine->number) = false;
      mine = nullptr;
      gone = true;
    }
    void arm() noexcept {}
  };

  [[gnu::noinline, gnu::cold]] static reader* enter() noexcept {
    if (gone) return nullptr;
    thread_local leaver on_exit;
    on_exit.arm();
    static const bool knows_of_children = (after_fork(&in_child), true);
    static_cast<void>(knows_of_children);
    const std::lock_guard lock(mutex_);
    // order: relaxed: written under this lock only
    const std::uint32_t count = count_.load(std::memory_order_relaxed);
    std::uint32_t number = 1;
    while (number <= count && taken(number)) ++number;
    if (number > count) {
      if (count != 0 && count % block::room == 0) {
        block* const last = &last_block();
        last->more = new (std::nothrow) block;
        if (last->more == nullptr) return nullptr;
      }
      // order: release [readers.enter] pairs with [readers.oldest.count]: the record is made
      count_.store(number, std::memory_order_release);
    }
    reader& found = at(number);
    taken(number) = true;
    found.number = number;
    return mine = &found;
  }
  // Those who had the locks are not in the child.
  static void in_child() noexcept {
    mutex_.unlock();
    waits_mutex_.unlock();
    // order: relaxed: there is one thread
    const std::uint32_t count = count_.load(std::memory_order_relaxed);
    for (std::uint32_t number = 1; number <= count; ++number) {
      reader& each = at(number);
      each.pins_mutex.unlock();  // of this thread's too: another one had it
      if (&each == mine) continue;
      // order: relaxed: as above
      each.since.store(0, std::memory_order_relaxed);
      each.waits_for = nullptr;
      taken(number) = false;
    }
  }
  // Effects: the number is that in the block.
  static block& block_of(std::uint32_t& number) noexcept {
    block* home = &first_;
    for (; number > block::room; number -= block::room) home = home->more;
    return *home;
  }
  static bool& taken(std::uint32_t number) noexcept {
    block& home = block_of(number);
    return home.taken[number - 1];
  }
  static block& last_block() noexcept {
    block* last = &first_;
    while (last->more != nullptr) last = last->more;
    return *last;
  }

  alignas(64) inline static constinit std::atomic<std::uint64_t> epoch_{1};
  alignas(64) inline static constinit std::atomic<std::uint32_t> count_{0};
  inline static constinit futex_mutex mutex_;
  inline static constinit futex_mutex waits_mutex_;
  inline static constinit block first_;
  inline static thread_local constinit reader* mine = nullptr;
  inline static thread_local constinit bool gone = false;
  inline static thread_local constinit const run_mark* inside_ = nullptr;
};

// While one lives, what this thread finds is not freed.
class reading {
public:
  [[gnu::always_inline]] explicit reading(reader& self) noexcept
      // order: relaxed: this thread's own
      : self_(self), before_(self.since.load(std::memory_order_relaxed)) {
    std::uint64_t epoch = before_;
    if (epoch == 0) [[likely]] epoch = readers::epoch();
    // order: release [reading.begin] pairs with [readers.oldest]: the reading before this one is over
    self_.since.store(epoch, std::memory_order_release);
    // Where there are no halves, and for tools that have to see each step: the fence of both.
    asymmetric_fence::available() ? asymmetric_fence::light() : full_fence();
  }
  reading(const reading&) = delete;
  reading& operator=(const reading&) = delete;
  // Inlined, else the frame keeps the object in memory for it.
  [[gnu::always_inline]] ~reading() {
    // order: release [reading.end] pairs with [readers.oldest]: what was read is read
    self_.since.store(before_, std::memory_order_release);
  }

private:
  reader& self_;
  const std::uint64_t before_;  // of the outer reading; 0: this is it
};

}  // namespace interlock::detail
