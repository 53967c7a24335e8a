// SPDX-License-Identifier: BSL-1.0
// What a restartable sequence does when nothing cuts it short, when it is not allowed, and what it
// leaves behind. CTest runs this program several times: as it is, with registration switched off,
// under valgrind, confined to one processor, and for AArch64 under an emulator.

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>  // before ours, as a program may that has sequences of its own
#endif

#include <interlock/detail/escrow.hpp>
#include <interlock/detail/restartable.hpp>
#include <interlock/detail/restartable_twin.hpp>
#include <interlock/detail/stripe_state.hpp>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <random>
#include <vector>

#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/rseq.hpp"

namespace il = interlock::detail;
namespace seq = interlock::detail::restartable;

TEST_CASE("sequences are available exactly where kernel, glibc and build allow them") {
  const char* const expected = std::getenv("INTERLOCK_EXPECT_SEQUENCES");
  const bool possible = support::sequences_possible();
  CHECK(seq::available() == possible);
  CHECK(seq::available() == seq::available());
  if (expected != nullptr) CHECK(possible == (std::string(expected) == "yes"));
  std::printf("sequences: %s, rows: %u\n", seq::available() ? "yes" : "no", seq::rows());
}

TEST_CASE("there is a row for each processor that may run this thread") {
  CHECK(seq::rows() >= 1);
  const std::vector<unsigned> allowed = support::allowed_processors();
  REQUIRE(!allowed.empty());
  if (seq::available()) {
    CHECK(allowed.back() < seq::rows());
    CHECK(std::thread::hardware_concurrency() <= seq::rows());
  } else {
    CHECK(std::has_single_bit(seq::rows()));
  }
}

TEST_CASE("a state word is open exactly if it has slots and no freezers") {
  alignas(64) static il::stripe_slot column[1];
  CHECK(!il::has_slots(il::no_slots));
  CHECK(!il::slots_open(il::no_slots));
  CHECK(il::freezers(il::no_slots) == 0);
  const std::uint64_t open = il::state_of(column);
  CHECK(il::slots_open(open));
  for (const std::uint64_t count : {std::uint64_t{1}, std::uint64_t{2}, il::most_freezers}) {
    const std::uint64_t frozen = open + count * il::one_freezer;
    const std::uint64_t without = il::no_slots + count * il::one_freezer;
    CHECK(!il::slots_open(frozen));
    CHECK(!il::slots_open(without));
    CHECK(il::freezers(frozen) == count);
    CHECK(il::freezers(without) == count);
    CHECK(il::has_slots(frozen));
    CHECK(!il::has_slots(without));
    CHECK(&il::slot_of(frozen, 0) == column);
    CHECK(il::with_slots(without, open) == frozen);
  }
  const auto tagged = reinterpret_cast<std::uintptr_t>(column) | std::uintptr_t{1} << 57;
  CHECK(il::state_of(reinterpret_cast<il::stripe_slot*>(tagged)) == il::no_slots);
}

TEST_CASE("a sequence that cannot run changes nothing") {
  // Without registration, or in a build without sequences. column_bytes is 0 there.
  if (seq::available()) return;
  alignas(64) static il::stripe_slot column[2 * il::row_bytes / 8];
  const std::atomic<std::uint64_t> state{il::state_of(column)};
  column[0].store(~std::uint64_t{0});
  CHECK(!seq::add(state, 1));
  CHECK(!seq::take(state, 1));
  CHECK(!seq::put(state, 1));
  CHECK(column[0].load() == ~std::uint64_t{0});
  CHECK(column[il::row_bytes / 8].load() == 0);
}

#ifdef INTERLOCK_TESTS_SEQUENCES

namespace {

constexpr std::size_t columns_apart = il::row_bytes / sizeof(il::stripe_slot);

// Three rows of one object, and the sequence told that there are as many.
struct three_rows {
  alignas(64) il::stripe_slot slots[3 * columns_apart]{};
  std::atomic<std::uint64_t> state{il::state_of(slots)};
  std::uint32_t before = 0;

  three_rows() {
    (void)seq::available();
    before = seq::column_bytes.exchange(3 * il::row_bytes);
  }
  ~three_rows() { seq::column_bytes.store(before); }
  il::stripe_slot& row(std::size_t i) { return slots[i * columns_apart]; }
  std::vector<std::uint64_t> values() const {
    std::vector<std::uint64_t> all;
    for (const il::stripe_slot& slot : slots) all.push_back(slot.load());
    return all;
  }
};

struct halves {
  std::uint64_t share, room;
  std::uint64_t word() const { return share << 32U | room; }
};

// The kernel's view of a sequence, read back from where the thread points.
struct descriptor {
  std::uint32_t version, flags;
  std::uint64_t start, length, handler;
};

}  // namespace

TEST_CASE("an add lands in the slot of its processor and nowhere else") {
  three_rows object;
  support::posing on(0);
  for (std::uint32_t processor = 0; processor < 3; ++processor) {
    on.say(processor);
    std::vector<std::uint64_t> expected = object.values();
    expected[processor * columns_apart] += 5;
    CHECK(seq::add(object.state, 5));
    CHECK(object.values() == expected);
    expected[processor * columns_apart] -= std::uint64_t{1} << 40U;
    CHECK(seq::add(object.state, 0 - (std::uint64_t{1} << 40U)));
    CHECK(object.values() == expected);
    std::uint64_t n = 7;
    asm volatile("" : "+r"(n));  // not a constant
    expected[processor * columns_apart] += n;
    CHECK(seq::add(object.state, n));
    CHECK(object.values() == expected);
  }
  CHECK(on.worked());
}

TEST_CASE("a processor outside the column has no slot") {
  three_rows object;
  support::posing on(0);
  for (const std::uint32_t processor : {3U, 4U, 1U << 20U, ~0U, ~0U - 1}) {
    on.say(processor);
    const std::vector<std::uint64_t> before = object.values();
    CHECK(!seq::add(object.state, 1));
    CHECK(!seq::take(object.state, 0));
    CHECK(!seq::put(object.state, 0));
    CHECK(object.values() == before);
  }
}

TEST_CASE("nothing happens to an object that is frozen or has no slots") {
  three_rows object;
  support::posing on(1);
  object.row(1).store(halves{10, 10}.word());
  const std::vector<std::uint64_t> before = object.values();
  for (const std::uint64_t count : {std::uint64_t{1}, std::uint64_t{2}, il::most_freezers}) {
    for (const std::uint64_t open : {il::state_of(object.slots), il::no_slots}) {
      object.state.store(open + count * il::one_freezer);
      CHECK(!seq::add(object.state, 1));
      CHECK(!seq::take(object.state, 1));
      CHECK(!seq::put(object.state, 1));
    }
  }
  object.state.store(il::no_slots);
  CHECK(!seq::add(object.state, 1));
  CHECK(object.values() == before);
  object.state.store(il::state_of(object.slots));
  CHECK(seq::add(object.state, 1));
}

TEST_CASE("take and put move between share and room what is there and nothing else") {
  three_rows object;
  support::posing on(2);
  std::minstd_rand random(1);
  const std::uint32_t edges[] = {0, 1, 2, 0x7FFF'FFFF, 0x8000'0000, 0xFFFF'FFFE, 0xFFFF'FFFF};
  std::size_t done = 0, refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::uint64_t lent = i % 3 == 0 ? edges[random() % 7] : random() % 100;
    halves half{lent == 0 ? 0 : (i % 5 == 0 ? lent : random() % (lent + 1)), 0};
    half.room = lent - half.share;
    object.row(2).store(half.word());
    for (int k = 0; k < 4; ++k) {
      const std::uint32_t n =
          i % 3 == 0 ? edges[random() % 7] : static_cast<std::uint32_t>(random() % 40);
      const bool takes = random() % 2 == 0;
      std::uint64_t& from = takes ? half.share : half.room;
      std::uint64_t& to = takes ? half.room : half.share;
      const bool expected = n <= from;
      if (expected) from -= n, to += n;
      const bool did = takes ? seq::take(object.state, n) : seq::put(object.state, n);
      if (did != expected || object.row(2).load() != half.word()) {
        FAIL("n " << n << " of " << lent << ": " << object.row(2).load());
      }
      ++(did ? done : refused);
    }
  }
  CHECK(done > 1'000);
  CHECK(refused > 1'000);
  CHECK(object.row(0).load() + object.row(1).load() == 0);
}

// The explorer proves the protocol in its portable form. These two tie that form to the assembly:
// the same operations on the same states have the same results.

TEST_CASE("an add by a sequence and one in portable form do the same") {
  three_rows object, twin;
  support::posing on(0);  // and that form starts with row 0 as well
  il::stripe_place::of_this_thread() = {};
  std::minstd_rand random(2);
  std::size_t landed = 0, not_open = 0;
  std::uint64_t freezers = 0;
  const std::uint64_t fresh[] = {il::state_of(object.slots), il::state_of(twin.slots)};
  object.state.store(il::no_slots);
  twin.state.store(il::no_slots);
  for (int i = 0; i < 20'000; ++i) {
    const auto what = random() % 16;
    if (what == 0 && freezers < il::most_freezers) {
      ++freezers;
      object.state.fetch_add(il::one_freezer);
      twin.state.fetch_add(il::one_freezer);
      if (!il::has_slots(twin.state.load())) continue;
      const std::int64_t sum = il::restartable_twin::interrupt(twin.row(0));
      CHECK(static_cast<std::uint64_t>(sum) == object.row(0).load());
    } else if (what < 4 && freezers > 0) {
      --freezers;
      object.state.fetch_sub(il::one_freezer);
      twin.state.fetch_sub(il::one_freezer);
    } else if (what == 4 && i > 500 && !il::has_slots(object.state.load())) {
      object.state.store(il::with_slots(object.state.load(), fresh[0]));
      twin.state.store(il::with_slots(twin.state.load(), fresh[1]));
    } else {
      const std::uint64_t n = std::uint64_t{random() % 2'000'001} - 1'000'000;
      const bool did = seq::add(object.state, n);
      if (did != il::restartable_twin::add(twin.state, n)) FAIL("only one did " << n);
      ++(did ? landed : not_open);
    }
    CHECK(static_cast<std::uint64_t>(il::restartable_twin::tally(twin.row(0).load())) ==
          object.row(0).load());
  }
  CHECK(landed > 1'000);
  CHECK(not_open > 500);
}

TEST_CASE("take and put by a sequence and in portable form do the same") {
  three_rows object, twin;
  support::posing on(0);
  il::stripe_place::of_this_thread() = {};
  std::minstd_rand random(3);
  std::size_t did_it = 0, refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    if (i % 100 == 0) {
      const std::uint64_t word = std::uint64_t{random() % 1'000} << 32U | random() % 1'000;
      object.row(0).store(word);
      twin.row(0).store(word);
    }
    const auto n = static_cast<std::uint32_t>(random() % 400);
    const auto to = random() % 2 == 0 ? il::escrow::way::down : il::escrow::way::up;
    const bool down = to == il::escrow::way::down;
    const bool did = down ? seq::take(object.state, n) : seq::put(object.state, n);
    if (did != il::escrow::trade(twin.state, to, n)) FAIL("only one moved " << n);
    CHECK(object.values() == twin.values());
    ++(did ? did_it : refused);
  }
  CHECK(did_it > 1'000);
  CHECK(refused > 1'000);
}

TEST_CASE("a thread that the kernel does not know gets false") {
  if (!seq::available()) return;
  std::vector<il::stripe_slot> slots(seq::rows() * columns_apart + 8);
  const std::atomic<std::uint64_t> state{il::state_of(slots.data())};
  std::uint64_t landed = 0;
  for (int i = 0; i < 100; ++i) landed += seq::add(state, 1);
  CHECK(landed >= 90);
  {
    support::posing nowhere(static_cast<std::uint32_t>(RSEQ_CPU_ID_REGISTRATION_FAILED));
    REQUIRE(nowhere.worked());
    CHECK(!seq::add(state, 1));
  }
  for (int i = 0; i < 100; ++i) landed += seq::add(state, 1);
  CHECK(landed >= 180);
  std::uint64_t sum = 0;
  for (std::size_t row = 0; row < seq::rows(); ++row) sum += il::slot_of(state, row).load();
  CHECK(sum == landed);
}

namespace {

// Effects: from now on this process is refused the system call.
bool refuse(unsigned call) {
  sock_filter code[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, call},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EPERM},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  };
  const sock_fprog program{4, code};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace

TEST_CASE("a process that may not interrupt others takes the portable form") {
  if (!seq::available()) return;
  const std::string said = support::death_message([] {
    seq::decided.store(seq::undecided);  // as at the start of a process
    seq::column_bytes.store(0);
    if (!refuse(SYS_membarrier)) return;
    const std::atomic<std::uint64_t> state{il::no_slots};
    if (!seq::available() && !seq::add(state, 1) && seq::column_bytes.load() == 0) std::abort();
  });
  CHECK(said.empty());
}

TEST_CASE("there is a row for the processor of a thread also if no file can be opened") {
  if (!seq::available()) return;  // emulators let it open files for all that
  const std::string said = support::death_message([] {
    const unsigned last = support::allowed_processors().back();
    support::pin(0, last);
    const rlimit none{0, 0};
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) return;
    if (::open("/sys/devices/system/cpu/possible", O_RDONLY) >= 0) return;
    if (last < seq::possible_processors()) std::abort();
  });
  CHECK(said.empty());
}

TEST_CASE("a library that counts the rows later on finds as many as the program did") {
  if (!seq::available()) return;
  const std::string said = support::death_message([] {
    const unsigned rows = seq::rows();
    support::pin(0, support::allowed_processors().front());
    const rlimit none{0, 0};
    if (::setrlimit(RLIMIT_NOFILE, &none) != 0) return;
    seq::decided.store(seq::undecided);  // a library may have its own
    seq::column_bytes.store(0);
    if (seq::rows() == rows) std::abort();
  });
  CHECK(said.empty());
}

TEST_CASE("a process that is refused the interrupt later on is ended with a sentence") {
  if (!seq::available()) return;
  const std::string said = support::death_message([] {
    if (refuse(SYS_membarrier)) seq::interrupt();
  });
  CHECK(said.find("interlock: membarrier was taken away") != std::string::npos);
}

TEST_CASE("a sequence that clears leaves nothing in the thread that points at it") {
  three_rows object;
  support::posing on(0);
  CHECK(seq::add<seq::manner{0, true, true}>(object.state, 1));
  CHECK(support::area_of_this_thread().rseq_cs == 0);
  // The naive form, which a thread must not take along when the code goes away.
  CHECK(seq::add<seq::manner{0, true, false}>(object.state, 1));
  CHECK(support::area_of_this_thread().rseq_cs != 0);
  // All ways out.
  CHECK(seq::add<seq::manner{0, true, true}>(object.state, 1));
  CHECK(support::area_of_this_thread().rseq_cs == 0);
  on.say(3);
  CHECK(!seq::add<seq::manner{0, true, true}>(object.state, 1));
  CHECK(support::area_of_this_thread().rseq_cs == 0);
  on.say(0);
  object.row(0).store(0);
  CHECK(!seq::take<seq::manner{0, true, true}>(object.state, 1));
  CHECK(support::area_of_this_thread().rseq_cs == 0);
  object.state.store(il::no_slots);
  CHECK(!seq::add<seq::manner{0, true, true}>(object.state, 1));
  CHECK(support::area_of_this_thread().rseq_cs == 0);
}

TEST_CASE("the kernel is told where a sequence begins, ends and goes on") {
  three_rows object;
  support::posing on(0);
  CHECK(seq::add<seq::manner{0, true, false}>(object.state, 1));
  descriptor seen;
  std::memcpy(&seen, reinterpret_cast<const void*>(support::area_of_this_thread().rseq_cs),
              sizeof seen);
  CHECK(seen.version == 0);
  CHECK(seen.flags == 0);
  CHECK(seen.length > 20);
  CHECK(seen.length < 80);
  CHECK((seen.handler < seen.start || seen.handler >= seen.start + seen.length));
  std::uint32_t signature = 0;
  std::memcpy(&signature, reinterpret_cast<const char*>(seen.handler) - 4, sizeof signature);
  CHECK(signature == RSEQ_SIG);
}

#endif
