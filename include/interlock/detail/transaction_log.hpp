// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/transaction_log.hpp - what one attempt of a transaction has read and will write,
// and what keeps its body from seeing two moments. How that takes effect: transaction_commit.hpp;
// how a part of it is undone: transaction_savepoint.hpp.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "processor.hpp"
#include "record_list.hpp"
#include "versioned_cell.hpp"

namespace interlock::detail {

// These leave a body that has to start over: at once, or when something that it read has changed.
// No std::exceptions: handlers of errors let them pass.
struct transaction_conflict {};
struct transaction_retry {};

// Reads are optimistic: each notes a version and checks that all earlier ones still hold, so every
// value the body has was current at the moment of its latest read. Writes are drafts; a claim keeps
// other commits out from when it is made, and readers do not notice it.
// TL2's opacity (D. Dice, O. Shalev, N. Shavit, DISC 2006) without the clock that all its commits
// contend for, paid for by checking n reads n times.
class transaction_log {
public:
  enum class state : std::uint8_t {
    live,
    lost,   // to another commit
    waits,  // the body wants to be run again when something that it read has changed
  };
  class savepoint;

  transaction_log() noexcept {}  // NOLINT: room_ and lost_to_ are not initialised
  transaction_log(const transaction_log&) = delete;
  transaction_log& operator=(const transaction_log&) = delete;
  ~transaction_log() {
    if (to_clean_up_) clean_up();
  }

  // Returns: what the transaction wrote to the cell, else its value.
  // Throws: transaction_conflict if that value and an earlier read are not of one moment; from then
  //         on always.
  template <class Cell>
  auto read(const Cell& cell) {
    go_on();
    record* const own = find(cell);
    if (own != nullptr && own->draft != nullptr) return draft_of<Cell>(*own).value();
    auto seen = cell.read();
    saw(own, cell, seen.version);
    return std::move(seen).take();
  }

  template <class Cell, class V>
  void write(Cell& cell, V&& value) {
    record* own = find(cell);
    if (own == nullptr) own = &add(cell, known::nothing, 0);
    put_draft<Cell>(*own, std::forward<V>(value));
  }

  template <class Cell, class F>
  void update(Cell& cell, F& f) {
    go_on();
    record* const own = find(cell);
    if (own != nullptr && own->draft != nullptr) {
      const auto value = draft_of<Cell>(*own).value();
      return write(cell, updated(value, f));
    }
    about_to_write(&cell);
    const auto seen = cell.read();
    const std::size_t at = saw(own, cell, seen.version);
    auto next = updated(seen.get(), f);  // f may come back here: records move
    put_draft<Cell>(records_.begin()[at], std::move(next));
  }

  // Effects: as update(), and keeps other commits out of the cell from before f is called on.
  // Throws: transaction_conflict if another claim is there.
  template <class Cell, class F>
  void update_locked(Cell& cell, F& f);

  // Effects: leaves a body that has to start over and has gone on all the same.
  void go_on() const {
    if (state_ != state::live) [[unlikely]] leave_body();
  }

  // Effects: the body ends here, and is run again when something that it read has changed.
  [[noreturn]] void retry() {
    go_on();
    state_ = state::waits;
    throw transaction_retry{};
  }
  void go_on_instead() noexcept { state_ = state::live; }  // takes retry() back

  // Effects: keeps f until run_hooks(), or drops it if the attempt does not commit.
  template <class F>
  void add_hook(F&& f);

  // Effects: wakes those who have waited for what was committed. Not a part of commit(): coroutines
  //          are resumed here, and may run transactions that need the turn.
  // Preconditions: committed.
  void wake_waiters() noexcept {
    if (!awaited_) return;
    for (const record& each : records_) {
      if (each.what == known::awaited) version_word::wake(each.reached);
    }
  }

  // Preconditions: committed.
  void run_hooks() noexcept {
    if (!extras_) return;
    for (const hook& each : extras_->hooks) each.run(each.what);
  }

  // Returns: true if all that the body has read is still current.
  bool holds() noexcept {
    if (state_ != state::live) return false;
    for (const record& each : records_) {
      if (!holds(each)) {
        lost(each);
        return false;
      }
    }
    return true;
  }

  // Effects: makes all drafts the values of their cells, in one step.
  // Returns: false if another commit came first; nothing has changed then.
  // Throws: std::overflow_error if a written cell has no version left; nothing has changed then.
  bool commit();

  state now() const noexcept { return state_; }
  // Returns: the cell that the attempt lost to another commit; nullptr if it did not lose.
  const version_word* lost_to() const noexcept {
    return state_ == state::lost ? lost_to_ : nullptr;
  }

  // Effects: gives the claims back and blocks until a cell that was read has changed.
  // Returns: false, at once, if none was read.
  bool wait_for_change();

private:
  // How to use a draft whose type is forgotten.
  struct draft_steps {
    void (*put)(version_word& cell, void* draft) noexcept;
    void (*destroy)(void* draft) noexcept;  // nullptr: nothing to do
  };

  enum class known : std::uint8_t {
    nothing,  // a write without a look; commit() takes the version that it finds
    seen,     // at this version
    claimed,  // at this version, and it stays so
    awaited,  // published, and somebody has waited for it
  };

  struct record {
    version_word* cell;
    std::uint64_t version;
    void* draft;                           // what to write, or nullptr
    const draft_steps* steps;              // of the draft
    version_word::waiters::node* reached;  // who has waited for the commit
    known what;
  };
  struct changed_record {
    std::size_t at;
    record before;
  };
  struct hook {
    void (*run)(void* what) noexcept;
    void (*destroy)(void* what) noexcept;
    void* what;
  };

  // What most transactions do without.
  struct extras {
    extras() noexcept : floor(0), changed_floor(0) {}
    record_list<changed_record, 2> changed;  // by savepoints, the outer ones first
    record_list<hook, 4> hooks;
    std::size_t floor;          // records that are older than the last savepoint
    std::size_t changed_floor;  // and the notes on them that are of outer ones
  };

  template <class Cell>
  static typename Cell::draft& draft_of(const record& own) noexcept {
    return *static_cast<typename Cell::draft*>(own.draft);
  }

  template <class Cell>
  static void put(version_word& cell, void* draft) noexcept {
    static_cast<Cell&>(cell).put(*static_cast<typename Cell::draft*>(draft));
  }
  template <class T>
  static void destroy_in_place(void* what) noexcept {
    std::destroy_at(static_cast<T*>(what));
  }
  template <class T>
  static void destroy_on_heap(void* what) noexcept {
    delete static_cast<T*>(what);
  }
  template <class Cell>
  static constexpr draft_steps steps_in_place = {
      &put<Cell>, std::is_trivially_destructible_v<typename Cell::draft>
                      ? nullptr
                      : &destroy_in_place<typename Cell::draft>};
  template <class Cell>
  static constexpr draft_steps steps_on_heap = {&put<Cell>,
                                                &destroy_on_heap<typename Cell::draft>};

  [[noreturn, gnu::noinline, gnu::cold]] void leave_body() const {
    if (state_ == state::waits) throw transaction_retry{};
    throw transaction_conflict{};
  }
  [[noreturn, gnu::noinline, gnu::cold]] void lose(const record& to) {
    lost(to);
    leave_body();
  }
  void lost(const record& to) noexcept {
    state_ = state::lost;
    lost_to_ = to.cell;
  }

  record* find(const version_word& cell) noexcept {
    for (record& each : records_) {
      if (each.cell == &cell) return &each;
    }
    return nullptr;
  }
  record& add(const version_word& cell, known what, std::uint64_t version) {
    record& own = records_.push();
    own.cell = const_cast<version_word*>(&cell);
    own.version = version;
    own.draft = nullptr;
    own.what = what;
    return own;
  }

  static bool holds(const record& each) noexcept {
    return each.what != known::seen || each.cell->holds(each.version);
  }
  void check_all() {
    for (const record& each : records_) {
      if (!holds(each)) lose(each);
    }
  }

  // Effects: notes that the body is about to see this version of the cell.
  // Returns: the number of its record.
  [[gnu::always_inline]] inline std::size_t saw(record* own, const version_word& cell,
                                                std::uint64_t version) {
    if (own != nullptr) [[unlikely]] return saw_again(*own, version);
    check_all();
    add(cell, known::seen, version);
    return records_.size() - 1;
  }
  [[gnu::noinline, gnu::cold]] std::size_t saw_again(record& own, std::uint64_t version) {
    if (own.what == known::nothing) {
      check_all();
      own.version = version;
      own.what = known::seen;
    } else if (own.version != version) {  // nothing new if it is what it was
      lose(own);
    }
    return static_cast<std::size_t>(&own - records_.begin());
  }

  // Effects: after a look at the cell that found it taken: waits while somebody is in.
  // Returns: false if that look was the last: there is a claim, or not the version that was seen.
  static bool follow(record& own) noexcept {
    if (own.cell->stands_claimed()) return false;
    const std::uint64_t now = own.cell->settled();
    if (own.what == known::seen && now != own.version) return false;
    own.version = now;
    return true;
  }

  // Preconditions: the cell was written before.
  void claim_written(record& own);
  void claimed(record& own, std::uint64_t version) noexcept {
    own.version = version;
    own.what = known::claimed;
    to_clean_up_ = has_claims_ = true;
  }

  template <class Cell, class V>
  void put_draft(record& own, V&& value) {
    if (extras_ || own.draft != nullptr) [[unlikely]] {
      return replace_draft<Cell>(own, std::forward<V>(value));
    }
    make_draft<Cell>(own, std::forward<V>(value));
  }

  template <class Cell, class V>
  [[gnu::noinline, gnu::cold]] void replace_draft(record& own, V&& value) {
    using draft = typename Cell::draft;
    const auto* const kept = extras_ ? keep(own) : nullptr;
    if (own.draft == nullptr || (kept != nullptr && kept->before.draft == own.draft)) {
      return make_draft<Cell>(own, std::forward<V>(value));
    }
    draft next(std::forward<V>(value));
    std::destroy_at(&draft_of<Cell>(own));  // not assigned: a T need not allow that
    ::new (own.draft) draft(std::move(next));
  }

  template <class Cell, class V>
  void make_draft(record& own, V&& value) {
    using draft = typename Cell::draft;
    if (void* const place = room_for<draft>()) [[likely]] {
      own.draft = ::new (place) draft(std::forward<V>(value));
      own.steps = &steps_in_place<Cell>;
    } else {
      own.draft = new draft(std::forward<V>(value));
      own.steps = &steps_on_heap<Cell>;
    }
    if (own.steps->destroy != nullptr) to_clean_up_ = true;
  }

  // Returns: a place in here that nothing else will get; nullptr if there is none.
  template <class T>
  void* room_for() noexcept {
    constexpr std::size_t size = (sizeof(T) + 15) / 16 * 16;
    if (alignof(T) > 16 || size > room_.size() - used_) return nullptr;
    used_ += size;
    return &room_[used_ - size];
  }

  // Effects: notes what the record was when the savepoint was made, if it is older than that.
  // Returns: that note; nullptr if the record is not older.
  const changed_record* keep(const record& own);
  void give_up_claim(record& own) noexcept {
    if (own.what != known::claimed) return;
    own.cell->unclaim(own.version);
    own.what = known::seen;
  }
  void give_up_claims() noexcept;
  static void destroy_draft(const record& of) noexcept {
    if (of.draft != nullptr && of.steps->destroy != nullptr) of.steps->destroy(of.draft);
  }
  void drop_hooks(std::size_t left) noexcept;
  void clean_up() noexcept;

  enum class entry : std::uint8_t { to_none, to_all, refused };
  entry enter_at_once();
  bool enter_in_order();
  [[noreturn]] void exhausted(record& here);
  void leave(record* end) noexcept;
  bool check_reads() noexcept;
  void publish() noexcept;

  record_list<record, 16> records_;          // one for each cell
  std::optional<extras> extras_;
  std::size_t used_ = 0;        // bytes of room_
  const version_word* lost_to_;  // if it has
  state state_ = state::live;
  bool to_clean_up_ = false;
  bool has_claims_ = false;
  bool awaited_ = false;  // publish() has left waiters to wake_waiters()
  alignas(16) std::array<std::byte, 1024> room_;  // for drafts and hooks
};

template <class Cell, class F>
void transaction_log::update_locked(Cell& cell, F& f) {
  go_on();
  record* own = find(cell);
  if (own != nullptr && (own->draft != nullptr || own->what == known::claimed)) {
    claim_written(*own);
    return update(cell, f);
  }
  about_to_write(&cell);
  const bool first = own == nullptr;
  const bool unseen = first || own->what == known::nothing;  // a write to it has failed
  if (first) {
    records_.reserve_one();
  } else if (extras_) {
    keep(*own);
  }
  for (;;) {
    const auto seen = cell.read();  // before the claim, which a load behind it would wait for
    if (!unseen && own->version != seen.version) lose(*own);
    if (cell.try_claim(seen.version)) {
      if (first) own = &add(cell, known::nothing, 0);
      claimed(*own, seen.version);
      if (unseen) check_all();
      const auto at = own - records_.begin();
      auto next = updated(seen.get(), f);
      return put_draft<Cell>(records_.begin()[at], std::move(next));
    }
    if (cell.stands_claimed()) {
      lose(first ? add(cell, known::nothing, 0) : *own);
    }
  }
}

inline void transaction_log::claim_written(record& own) {
  if (own.what == known::claimed) return;
  if (extras_) keep(own);
  if (own.what == known::nothing) own.version = own.cell->settled();
  while (!own.cell->try_claim(own.version)) {
    if (!follow(own)) lose(own);
  }
  claimed(own, own.version);
}

}  // namespace interlock::detail
