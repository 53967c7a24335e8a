// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/transaction_log.hpp - what one attempt of a transaction has read and will write,
// how that takes effect in one step, and whose turn it is when optimism does not help.

#include <algorithm>
#include <array>
#include <chrono>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <utility>

#include "parking.hpp"
#include "versioned_cell.hpp"

namespace interlock::detail {

// Leaves a body that has to start over. Not a std::exception: handlers of errors let it pass.
struct transaction_conflict {};

// A growing array of trivial records; the first ones need no heap.
template <class Record>
class record_list {
public:
  Record* begin() noexcept { return data_; }
  Record* end() noexcept { return data_ + size_; }
  bool empty() const noexcept { return size_ == 0; }

  // Effects: makes room for one more; the next push_back() does not throw.
  void reserve_one() {
    if (size_ < capacity_) return;
    auto more = std::make_unique<Record[]>(2 * capacity_);
    std::copy(begin(), end(), more.get());
    heap_ = std::move(more);
    data_ = heap_.get();
    capacity_ *= 2;
  }
  void push_back(const Record& record) {
    reserve_one();
    data_[size_++] = record;
  }

private:
  std::array<Record, 16> first_;  // not initialised: size_ says what is in use
  std::unique_ptr<Record[]> heap_;
  Record* data_ = first_.data();
  std::size_t size_ = 0;
  std::size_t capacity_ = first_.size();
};

// Reads are optimistic: saw() notes a version and checks that all earlier ones still hold, so
// every value the body has was current at the moment of its latest read. Writes are drafts.
// commit() enters the written cells in address order, checks the others, publishes:
//   no deadlock     only entering waits, and always for a cell further up than those entered
//   no half commit  every written cell is busy before the first is published, so who met a
//                   published one finds the others busy or newer
//   no write skew   entering (a CAS) and checking (a load) are seq_cst: of two commits that each
//                   read what the other writes, one finds the other in
// Silo's commit (Tu et al., SOSP 2013) without epochs; TL2's opacity (Dice et al., DISC 2006)
// without the clock that all its commits contend for, paid for by checking n reads n times.
class transaction_log {
public:
  transaction_log() = default;
  transaction_log(const transaction_log&) = delete;
  transaction_log& operator=(const transaction_log&) = delete;
  ~transaction_log() {
    for (write_record& write : writes_) write.steps->destroy(write.draft);
  }

  // Returns: what the transaction wants to write to the cell, or nullptr.
  template <class Cell>
  typename Cell::draft* draft_of(const Cell& cell) noexcept {
    write_record* const own = find(&cell);
    return own == nullptr ? nullptr : static_cast<typename Cell::draft*>(own->draft);
  }

  template <class Cell, class V>
  void write(Cell& cell, V&& value) {
    using draft = typename Cell::draft;
    draft next(std::forward<V>(value));
    if (draft* const own = draft_of(cell)) {
      *own = std::move(next);
      return;
    }
    writes_.reserve_one();
    if (sizeof(draft) <= room_.size() - used_) {
      draft* const kept = ::new (&room_[used_]) draft(std::move(next));
      used_ += (sizeof(draft) + 7) / 8 * 8;
      writes_.push_back({&cell, &steps_in_place<Cell>, kept, any_version, nullptr});
    } else {
      draft* const kept = new draft(std::move(next));
      writes_.push_back({&cell, &steps_on_heap<Cell>, kept, any_version, nullptr});
    }
  }

  // Effects: notes that the body is about to see this version of the cell.
  // Throws: transaction_conflict if an earlier read no longer holds; from then on always.
  void saw(const version_word& cell, std::uint64_t version) {
    doomed_ = !holds();
    if (doomed_) throw transaction_conflict{};
    const auto same = [&](const read_record& read) { return read.cell == &cell; };
    if (std::none_of(reads_.begin(), reads_.end(), same)) reads_.push_back({&cell, version});
  }

  // Returns: true if all that the body has read is still current.
  bool holds() noexcept {
    return !doomed_ && std::all_of(reads_.begin(), reads_.end(), [](const read_record& read) {
      return read.cell->settled() == read.version;
    });
  }

  // Effects: makes all drafts the values of their cells, in one step.
  // Returns: false if another commit came first; nothing has changed then.
  // Throws: std::overflow_error if a written cell has no version left; nothing has changed then.
  bool commit() {
    if (doomed_ || writes_.empty()) return !doomed_;
    std::sort(writes_.begin(), writes_.end(), [](const write_record& a, const write_record& b) {
      return std::less<>{}(a.cell, b.cell);
    });
    for (read_record& read : reads_) {
      if (write_record* const own = find(read.cell)) {
        own->version = read.version;
        read.cell = nullptr;  // checked by entering it
      }
    }
    write_record* entered = writes_.begin();  // up to here
    while (entered != writes_.end() && enter(*entered)) ++entered;
    const bool won = entered == writes_.end() &&
                     std::all_of(reads_.begin(), reads_.end(), [](const read_record& read) {
                       return read.cell == nullptr || read.cell->is_at(read.version);
                     });
    const bool exhausted = won && std::any_of(writes_.begin(), writes_.end(), at_last_version);
    if (won && !exhausted) {
      publish();
      return true;
    }
    for (write_record* w = writes_.begin(); w != entered; ++w) w->cell->unlock(w->version);
    if (exhausted) throw std::overflow_error(version_word::exhausted);
    return false;
  }

private:
  struct read_record {
    const version_word* cell;
    std::uint64_t version;
  };

  // How to use a draft whose type is forgotten.
  struct draft_steps {
    void (*put)(version_word& cell, void* draft) noexcept;
    void (*destroy)(void* draft) noexcept;
  };

  struct write_record {
    version_word* cell;
    const draft_steps* steps;
    void* draft;
    std::uint64_t version;  // the one to replace; any_version: whichever commit() finds
    version_word::waiters::node* reached;
  };

  static constexpr std::uint64_t any_version = ~std::uint64_t{0};

  template <class Cell>
  static void put(version_word& cell, void* draft) noexcept {
    static_cast<Cell&>(cell).put(*static_cast<typename Cell::draft*>(draft));
  }
  template <class Cell>
  static constexpr draft_steps steps_in_place = {
      &put<Cell>,
      [](void* draft) noexcept { std::destroy_at(static_cast<typename Cell::draft*>(draft)); }};
  template <class Cell>
  static constexpr draft_steps steps_on_heap = {
      &put<Cell>, [](void* draft) noexcept { delete static_cast<typename Cell::draft*>(draft); }};

  write_record* find(const version_word* cell) noexcept {
    write_record* const own = std::find_if(writes_.begin(), writes_.end(),
                                           [&](const write_record& w) { return w.cell == cell; });
    return own == writes_.end() ? nullptr : own;
  }

  // Returns: false if the cell has moved on since it was read.
  static bool enter(write_record& write) noexcept {
    if (write.version != any_version) return write.cell->lock_at(write.version);
    write.version = write.cell->lock();
    return true;
  }

  static bool at_last_version(const write_record& write) noexcept {
    return write.version == version_word::max_version;
  }

  void publish() noexcept {
    for (write_record& write : writes_) {
      write.steps->put(*write.cell, write.draft);
      write.reached = write.cell->publish(write.version + 1);
    }
    for (const write_record& write : writes_) {
      version_word::wake(write.reached);
    }
  }

  record_list<read_record> reads_;
  record_list<write_record> writes_;  // one for each cell
  std::size_t used_ = 0;              // bytes of room_
  bool doomed_ = false;
  alignas(8) std::array<std::byte, 1024> room_;  // for drafts; not initialised
};

// First come, first served, for transactions that keep losing.
class turnstile {
public:
  // Effects: waits for this thread's turn.
  void enter() noexcept {
    // order: relaxed: hands out numbers, nothing else
    const std::uint32_t mine = next_.fetch_add(1, std::memory_order_relaxed);
    for (unsigned round = 0;; ++round) {
      // order: acquire [turnstile.enter] pairs with [turnstile.leave]: one turn comes after the other
      const std::uint32_t serving = serving_.load(std::memory_order_acquire);
      if (serving == mine) return;
      if (round < spin_rounds) {
        spin_hint(round);
      } else {
        park(serving_, serving);
      }
    }
  }

  // Preconditions: this thread has the turn.
  void leave() noexcept {
    // order: release [turnstile.leave] pairs with [turnstile.enter], [turnstile.let_pass]: passes on the turn
    serving_.fetch_add(1, std::memory_order_release);
    unpark_all(&serving_);
  }

  // Effects: if somebody has the turn, waits until that turn ends, but not for ever: the thread
  //          that has it may be waiting for a lock that this one holds.
  void let_pass() const noexcept {
    // order: acquire [turnstile.let_pass] pairs with [turnstile.leave]: next_ is at least as new, so a difference is a turn that will end
    const std::uint32_t serving = serving_.load(std::memory_order_acquire);
    // order: relaxed: a late answer costs the other one attempt
    if (next_.load(std::memory_order_relaxed) == serving) return;
    const auto patience = std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
    // order: relaxed: nothing is read that the turn protects
    while (serving_.load(std::memory_order_relaxed) == serving &&
           park_until(serving_, serving, patience)) {
    }
  }

private:
  park_word next_{0};     // the number that the next to enter gets
  park_word serving_{0};  // whose turn it is; nobody's if equal to next_
};

// One transaction's way through its attempts: a few at its own risk, then by turn.
class attempts {
public:
  attempts() = default;
  attempts(const attempts&) = delete;
  attempts& operator=(const attempts&) = delete;
  ~attempts() {
    if (made_ > at_own_risk) turns.leave();
  }

  // Effects: waits until the next attempt may start: for this thread's turn, or a while for the end
  //          of the turn that somebody else has, and not for the one after.
  void next() noexcept {
    if (made_ < at_own_risk) {
      turns.let_pass();
      if (made_ > 0) spin_hint(made_ - 1);
    } else if (made_ == at_own_risk) {
      turns.enter();
    }
    if (made_ <= at_own_risk) ++made_;
  }

private:
  static constexpr unsigned at_own_risk = 16;
  static inline constinit turnstile turns;
  unsigned made_ = 0;
};

}  // namespace interlock::detail
