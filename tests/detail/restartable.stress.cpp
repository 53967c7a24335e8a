// SPDX-License-Identifier: BSL-1.0
// Restartable sequences while threads are moved, preempted and interrupted amid them. Each claim
// has the same sequence unknown to the kernel beside it, which must lose.

#include <interlock/detail/parking.hpp>
#include <interlock/detail/restartable.hpp>
#include <interlock/detail/stripe_state.hpp>

#include <array>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/rseq.hpp"

namespace il = interlock::detail;
namespace seq = interlock::detail::restartable;

namespace {

// Long enough to be met amid it by whatever happens, short enough to get through in between.
constexpr int many_pauses = 60;
constexpr seq::manner stretched{many_pauses, true, seq::unloadable};
constexpr seq::manner unknown{many_pauses, false, false};

// An object with slots, and the base word that takes what they do not.
struct object {
  std::vector<il::stripe_slot> memory =
      std::vector<il::stripe_slot>(seq::rows() * il::row_bytes / sizeof(il::stripe_slot) + 8);
  std::atomic<std::uint64_t> state{aligned()};
  std::atomic<std::uint64_t> base{0};

  std::uint64_t aligned() {
    auto address = reinterpret_cast<std::uintptr_t>(memory.data());
    address = (address + 63) / 64 * 64;
    return il::state_of(reinterpret_cast<il::stripe_slot*>(address));
  }
  std::uint64_t slots() const {
    std::uint64_t sum = 0;
    for (std::size_t row = 0; row < seq::rows(); ++row) {
      sum += il::slot_of(state.load(), row).load(std::memory_order_acquire);
    }
    return sum;
  }
};

struct outcome {
  std::uint64_t begun = 0, aborted = 0, left_processor = 0, moves = 0;
};

// Effects: `threads` threads call f(thread) until it returns false, while they are moved about.
template <class F>
std::size_t while_moved(std::size_t threads, F f) {
  std::vector<std::atomic<pid_t>> numbers(threads);
  std::atomic<std::size_t> at_work{threads};
  std::size_t moves = 0;
  support::run_threads(threads + 1, [&](std::size_t me) {
    if (me < threads) {
      numbers[me].store(support::thread_number());
      while (f(me)) {
      }
      at_work.fetch_sub(1);
      return;
    }
    std::vector<pid_t> all;
    for (auto& number : numbers) {
      while (number.load() == 0) std::this_thread::yield();
      all.push_back(number.load());
    }
    support::mover about(all);
    while (at_work.load() > 0) std::this_thread::yield();
    about.stop();
    moves = about.moves();
  });
  return moves;
}

// Effects: threads add 1 until `aborts` of them were cut short, or `most` adds.
template <seq::manner how>
outcome adds(object& to, std::uint64_t aborts, std::uint64_t most) {
  std::atomic<std::uint64_t> begun{0}, aborted{0};
  outcome result;
  result.moves = while_moved(3, [&](std::size_t) {
    std::uint64_t here = 0;
    for (int i = 0; i < 500; ++i) {
      if (!seq::add<how>(to.state, 1)) ++here;
    }
    to.base.fetch_add(here);
    aborted.fetch_add(here);
    return begun.fetch_add(500) < most && aborted.load() < aborts;
  });
  result.begun = begun.load();
  result.aborted = aborted.load();
  return result;
}

}  // namespace

TEST_CASE("a billion adds by threads that are moved by force are all counted") {
  if (!seq::available()) return;
  object counter;
  constexpr std::size_t threads = 4;
  const std::uint64_t each = support::rounds(250'000'000) / 1'000 * 1'000;
  const bool movable = support::allowed_processors().size() > 1;
  const std::uint64_t wanted = movable ? support::rounds(1'000) : 0;
  std::array<std::uint64_t, threads> elsewhere{}, done{};
  std::atomic<std::uint64_t> left{0};
  std::array<int, threads> processor{};
  const std::size_t moves = while_moved(threads, [&](std::size_t me) {
    std::uint64_t not_landed = 0;
    for (int i = 0; i < 1'000; ++i) {
      if (!seq::add(counter.state, 1)) ++not_landed;
    }
    if (not_landed > 0) counter.base.fetch_add(not_landed);
    elsewhere[me] += not_landed;
    const int here = ::sched_getcpu();
    if (std::exchange(processor[me], here) != here) left.fetch_add(1);
    done[me] += 1'000;
    return done[me] < each || (left.load() < wanted && done[me] < 20 * each);
  });
  std::uint64_t performed = 0, cut = 0;
  for (std::size_t i = 0; i < threads; ++i) performed += done[i], cut += elsewhere[i];
  CHECK(performed >= threads * each);
  CHECK(counter.slots() + counter.base.load() == performed);
  CHECK(left.load() >= wanted);
  std::printf("%llu adds, %zu moves, %llu times seen elsewhere, %llu cut short\n",
              static_cast<unsigned long long>(performed), moves,
              static_cast<unsigned long long>(left.load()), static_cast<unsigned long long>(cut));
}

TEST_CASE("sequences that are cut short a thousand times have not happened") {
  if (!seq::available()) return;
  object counter;
  const std::uint64_t wanted = support::rounds(2'000);
  const outcome seen = adds<stretched>(counter, wanted, 50'000'000);
  CHECK(seen.aborted >= wanted);
  CHECK(counter.base.load() == seen.aborted);
  CHECK(counter.slots() + counter.base.load() == seen.begun);
  std::printf("%llu adds, %llu moves, %llu aborts\n", static_cast<unsigned long long>(seen.begun),
              static_cast<unsigned long long>(seen.moves),
              static_cast<unsigned long long>(seen.aborted));
}

TEST_CASE("the same sequence loses adds where the kernel does not know of it") {
  if (!seq::available()) return;
  object counter;
  const outcome seen = adds<unknown>(counter, ~std::uint64_t{0}, 1'000'000);
  CHECK(counter.slots() + counter.base.load() < seen.begun);
}

TEST_CASE("take and put keep what was lent however often they are cut short") {
  if (!seq::available()) return;
  object pool;
  const std::uint64_t share = 1'000'000, room = 1'000'000;
  for (std::size_t row = 0; row < seq::rows(); ++row) {
    il::slot_of(pool.state.load(), row).store(share << 32U | room);
  }
  std::atomic<std::uint64_t> taken{0}, put{0}, cut{0};
  while_moved(3, [&](std::size_t me) {
    std::uint64_t t = 0, p = 0;
    for (int i = 0; i < 100; ++i) {
      if ((static_cast<std::size_t>(i) + me) % 2 == 0) {
        t += seq::take<stretched>(pool.state, 3) ? 3 : 0;
      } else {
        p += seq::put<stretched>(pool.state, 3) ? 3 : 0;
      }
    }
    cut.fetch_add(100 - (t + p) / 3);
    put.fetch_add(p);
    return taken.fetch_add(t) < 30'000'000 && cut.load() < support::rounds(500);
  });
  CHECK(cut.load() >= support::rounds(500));
  std::uint64_t shares = 0, rooms = 0;
  for (std::size_t row = 0; row < seq::rows(); ++row) {
    const std::uint64_t slot = il::slot_of(pool.state.load(), row).load();
    shares += slot >> 32U;
    rooms += slot & 0xFFFF'FFFFU;
    CHECK((slot >> 32U) + (slot & 0xFFFF'FFFFU) == share + room);
  }
  CHECK(shares == seq::rows() * share + put.load() - taken.load());
  CHECK(rooms == seq::rows() * room + taken.load() - put.load());
}

namespace {

struct drained {
  std::uint64_t performed = 0, total = 0, drains = 0, changed_while_frozen = 0, out_of_bounds = 0;
};

// Effects: takes about as long as so many pauses.
void linger(int pauses) {
  for (int i = 0; i < pauses; ++i) il::pause_core();
}

// Effects: two threads add until each has done `most`, and another
//          freezes, interrupts if told to, sums the slots twice, takes everything and thaws. All
//          end when slots changed 5 times that should not.
template <seq::manner how, bool interrupts>
drained drain(std::uint64_t most) {
  object counter;
  constexpr std::size_t writers = 2;
  struct alignas(64) progress {
    std::atomic<std::uint64_t> begun{0}, finished{0};
  };
  std::array<progress, writers> of{};
  std::atomic<std::size_t> at_work{writers};
  std::atomic<std::uint64_t> trouble{0};
  drained result;
  const auto sum = [&](auto member) {
    std::uint64_t all = 0;
    for (progress& p : of) all += (p.*member).load(std::memory_order_seq_cst);
    return all;
  };
  support::run_threads(writers + 1, [&](std::size_t me) {
    if (me < writers) {
      const std::uint64_t batch = how.pauses > 0 ? 10 : 1'000;
      std::uint64_t done = 0;
      while (done < most && trouble.load() < 5) {
        of[me].begun.store(done + batch, std::memory_order_seq_cst);
        for (std::uint64_t i = 0; i < batch; ++i) {
          if (!seq::add<how>(counter.state, 1)) counter.base.fetch_add(1);
        }
        of[me].finished.store(done += batch, std::memory_order_seq_cst);
      }
      at_work.fetch_sub(1);
      return;
    }
    while (at_work.load() > 0) {
      const std::uint64_t least = sum(&progress::finished);
      counter.state.fetch_add(il::one_freezer);
      if (interrupts) seq::interrupt();
      const std::uint64_t slots = counter.slots();
      linger(how.pauses);
      const std::uint64_t again = counter.slots();
      // Takes what there is: the slots stay as they are, the base makes up for them.
      const std::uint64_t value = slots + counter.base.exchange(0 - slots);
      counter.state.fetch_sub(il::one_freezer);
      const std::uint64_t most_now = sum(&progress::begun);
      result.total += value;
      result.drains += 1;
      result.changed_while_frozen += slots != again;
      result.out_of_bounds += result.total < least || result.total > most_now;
      trouble.store(result.changed_while_frozen);
      linger(how.pauses);
    }
  });
  result.performed = sum(&progress::finished);
  result.total += counter.slots() + counter.base.load();
  return result;
}

}  // namespace

TEST_CASE("what was drained while two threads added is what they added") {
  if (!seq::available()) return;
  const drained seen = drain<seq::usual, true>(support::rounds(100'000'000));
  CHECK(seen.total == seen.performed);
  CHECK(seen.changed_while_frozen == 0);
  CHECK(seen.out_of_bounds == 0);
  CHECK(seen.drains > 0);
  std::printf("%llu adds drained in %llu parts\n", static_cast<unsigned long long>(seen.total),
              static_cast<unsigned long long>(seen.drains));
}

TEST_CASE("an interrupt that meets a thread amid its sequence makes it start over") {
  if (!seq::available()) return;
  const drained seen = drain<stretched, true>(support::rounds(100'000));
  CHECK(seen.total == seen.performed);
  CHECK(seen.changed_while_frozen == 0);
  CHECK(seen.out_of_bounds == 0);
}

TEST_CASE("without the interrupt a frozen slot still changes") {
  if (!seq::available() || support::allowed_processors().size() < 2) return;
  const drained seen = drain<stretched, false>(10'000'000'000);
  CHECK(seen.changed_while_frozen >= 5);
}
