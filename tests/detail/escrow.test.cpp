// SPDX-License-Identifier: BSL-1.0
// A part of a bounded value changes in the same way by a restartable sequence and by its portable
// twin, which the explorer runs: both are compared with two plain numbers. CTest runs this program
// with sequences and without.

#include <interlock/detail/column.hpp>
#include <interlock/detail/escrow.hpp>

#include <array>
#include <random>

#include "support/catch.hpp"
#include "support/rseq.hpp"

namespace il = interlock::detail;
namespace escrow = interlock::detail::escrow;
using escrow::way;

namespace {

// The two numbers.
struct plain {
  std::uint64_t share = 0;
  std::uint64_t room = 0;

  bool trade(way to, std::uint64_t n) {
    std::uint64_t& from = to == way::down ? share : room;
    if (from < n) return false;
    from -= n;
    (to == way::down ? room : share) += n;
    return true;
  }
  void lend(way to, std::uint64_t n) { (to == way::down ? share : room) += n; }
  std::uint64_t word() const {
    return escrow::units(way::down, share) + escrow::units(way::up, room);
  }
};

// Slots of the library, in the form that this process uses.
class slots {
public:
  slots() : state_(il::state_of(il::the_columns.take(il::restartable::rows()))) {}
  ~slots() { il::column_pool::give_back(&il::slot_of(state_.load(), 0), il::restartable::rows()); }
  // What the processor's signals cut short changes nothing, and is asked for again.
  bool trade(way to, std::uint64_t n, bool fits) {
    const auto amount = static_cast<std::uint32_t>(n);
    for (int attempt = 0;; ++attempt) {
      const bool did = !il::restartable::available() ? escrow::trade(state_, to, n)
                       : to == way::down             ? il::restartable::take(state_, amount)
                                                     : il::restartable::put(state_, amount);
      if (did || !fits || attempt == 1'000) return did;
    }
  }
  bool lend(way to, std::uint64_t n) {
    for (int attempt = 0; attempt < 1'000; ++attempt) {
      if (escrow::lend(state_, to, n)) return true;
    }
    return false;
  }
  std::uint64_t take_back() { return escrow::take_back(state_); }
  std::atomic<std::uint64_t>& state() { return state_; }

private:
  std::atomic<std::uint64_t> state_;
};

// Effects: for its life, the thread stays on one processor, so that it has one slot.
class pinned {
public:
  pinned() : allowed_(support::allowed_processors()) {
    support::pin(support::thread_number(), allowed_.front());
  }
  ~pinned() {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const unsigned one : allowed_) CPU_SET(one, &set);
    ::sched_setaffinity(0, sizeof set, &set);
  }

private:
  std::vector<unsigned> allowed_;
};

}  // namespace

TEST_CASE("a part of a bounded value changes in the same way in both forms") {
  const pinned here;
  std::mt19937_64 random{7};
  const std::array<std::uint64_t, 6> amounts{0, 1, 1'000, 0x7FFF'FFFF, 0x8000'0000, escrow::most};
  slots form;
  slots twin;
  plain expected;
  std::size_t differences = 0, granted = 0, refused = 0;
  const std::size_t row =
      il::stripe_place::of_this_thread().index & (il::restartable::rows() - 1);
  for (int i = 0; i < 20'000; ++i) {
    const way to = random() % 2 == 0 ? way::down : way::up;
    const std::uint64_t n =
        random() % 4 == 0 ? amounts[random() % amounts.size()] : random() % 50'000;
    if (random() % 8 == 0 && expected.share + expected.room + n <= escrow::most) {
      expected.lend(to, n);
      differences += form.lend(to, n) ? 0 : 1;
      il::slot_of(twin.state().load(), row).fetch_add(escrow::units(to, n));
    } else if (random() % 512 == 0) {
      differences += form.take_back() == expected.word() ? 0 : 1;
      differences += twin.take_back() == expected.word() ? 0 : 1;
      expected = {};
    } else {
      const bool fits = expected.trade(to, n);
      (fits ? granted : refused) += 1;
      differences += form.trade(to, n, fits) == fits ? 0 : 1;
      differences += escrow::trade(twin.state(), to, n) == fits ? 0 : 1;
      differences += escrow::shares_approx(form.state()) == expected.share ? 0 : 1;
    }
  }
  CHECK(differences == 0);
  CHECK(granted > 1'000);
  CHECK(refused > 1'000);
}

TEST_CASE("where there are no slots nothing is traded lent or taken back") {
  std::atomic<std::uint64_t> none{il::no_slots};
  CHECK_FALSE(escrow::trade(none, way::down, 0));
  CHECK_FALSE(escrow::lend(none, way::up, 1));
  CHECK(escrow::take_back(none) == 0);
  CHECK(escrow::shares_approx(none) == 0);
  CHECK(none.load() == il::no_slots);
}

TEST_CASE("taking back leaves the slots open") {
  slots s;
  CHECK(s.lend(way::down, 5));
  CHECK(s.take_back() == escrow::units(way::down, 5));
  CHECK(s.take_back() == 0);
  CHECK(il::slots_open(s.state().load()));
  CHECK(il::freezers(s.state().load()) == 0);
}
