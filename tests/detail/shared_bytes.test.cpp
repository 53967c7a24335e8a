// SPDX-License-Identifier: BSL-1.0
// The two forms of shared_bytes hold the same bytes in the same places and give the same copies, in
// every shape of size; what the explorer proves of one under a version word is hammered here with both.

#include <interlock/detail/shared_bytes.hpp>
#include <interlock/detail/version_word.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <utility>

#include "support/catch.hpp"
#include "support/threads.hpp"

namespace detail = interlock::detail;

namespace {

template <std::size_t N>
struct bytes {
  std::array<unsigned char, N> at;
  friend bool operator==(const bytes&, const bytes&) = default;
};

template <std::size_t N>
bytes<N> pattern(unsigned start) {
  bytes<N> made;
  for (std::size_t i = 0; i < N; ++i) made.at[i] = static_cast<unsigned char>(start + 7 * i + 1);
  return made;
}

template <class Shared, class T>
T loaded(const Shared& shared) {
  typename Shared::copy copy;
  shared.load(copy);
  T value;
  copy.fill(&value);
  return value;
}

// A small cell, by a version word and either form.
template <class Shared, std::size_t Words>
class cell {
public:
  using value = std::array<std::uint64_t, Words>;
  cell() { bytes_.store(value{}); }

  void store(std::uint64_t number) {
    value next;
    next.fill(number);
    const auto version = word_.lock();
    bytes_.store(next);
    (void)word_.publish(version + 1);
  }
  // Returns: whether all words of a copy were equal.
  bool whole(bool validated) const {
    for (;;) {
      const auto seen = word_.peek();
      typename Shared::copy copy;
      bytes_.load(copy);
      if (validated && (!word_.is_settled(seen) || !word_.unchanged(seen))) continue;
      value found;
      copy.fill(&found);
      for (const std::uint64_t word : found) {
        if (word != found[0]) return false;
      }
      return true;
    }
  }

private:
  detail::version_word word_{0};
  Shared bytes_;
};

// Effects: one thread stores while another copies, until both have done so often enough or a copy
//          was torn. Both count, as on a busy machine they may hardly overlap.
// Returns: whether a copy was torn.
template <class Shared, std::size_t Words>
bool torn(bool validated, std::size_t copies, std::uint64_t stores) {
  cell<Shared, Words> shared;
  std::atomic<bool> done = false;
  std::atomic<std::uint64_t> stored = 0;
  bool found = false;
  support::run_threads(2, [&](std::size_t me) {
    if (me == 0) {
      for (std::uint64_t i = 1; !done; ++i) {
        shared.store(i);
        stored = i;
      }
      return;
    }
    for (std::size_t i = 0; !found && (i < copies || stored < stores); ++i) {
      found = !shared.whole(validated);
    }
    done = true;
  });
  return found;
}

template <template <class> class Form>
void hammer() {
  using small = std::array<std::uint64_t, 3>;
  using line = std::array<std::uint64_t, 8>;
  using large = std::array<std::uint64_t, 40>;
  // Without the second look at the version.
  CHECK(torn<Form<large>, 40>(false, 0, support::rounds(20'000'000)));
  CHECK_FALSE(torn<Form<small>, 3>(true, support::rounds(200'000), support::rounds(200'000)));
  CHECK_FALSE(torn<Form<line>, 8>(true, support::rounds(200'000), support::rounds(200'000)));
  CHECK_FALSE(torn<Form<large>, 40>(true, support::rounds(100'000), support::rounds(200'000)));
}

#if defined(__x86_64__) && defined(__GNUC__)
template <std::size_t N>
bool agree() {
  using value = bytes<N>;
  using words = detail::word_bytes<value>;
  using vectors = detail::vector_bytes<value>;
  static_assert(sizeof(words) == sizeof(vectors) && alignof(words) == alignof(vectors));
  const value first = pattern<N>(3), second = pattern<N>(200);
  // Between two neighbours, which a store that is too wide would change.
  std::array<vectors, 3> room;
  std::array<words, 3> same;
  for (auto& one : room) one.store(first);
  for (auto& one : same) one.store(first);
  room[1].store(second);
  same[1].store(second);
  return loaded<vectors, value>(room[0]) == first && loaded<vectors, value>(room[1]) == second &&
         loaded<vectors, value>(room[2]) == first && loaded<words, value>(same[1]) == second &&
         std::memcmp(&room[1], &same[1], N) == 0;
}

// Effects: checks each size from From on, as many as there are I.
template <std::size_t From, std::size_t... I>
void check_sizes(std::index_sequence<I...>) {
  const std::array<bool, sizeof...(I)> agreed{agree<From + I>()...};
  for (std::size_t i = 0; i < agreed.size(); ++i) {
    INFO("size " << From + i);
    CHECK(agreed[i]);
  }
}
#endif

}  // namespace

TEST_CASE("words validated by the version are never torn and others are") {
  hammer<detail::word_bytes>();
}

#if defined(__x86_64__) && defined(__GNUC__)
TEST_CASE("both forms hold the same bytes at sizes of every shape") {
  // Every rest that the widest move leaves, after none of them, one, two and three; then what just
  // fits in the registers, and every such rest of what does not.
  check_sizes<1>(std::make_index_sequence<96>{});
  check_sizes<127>(std::make_index_sequence<3>{});
  check_sizes<255>(std::make_index_sequence<34>{});
  CHECK(agree<1000>());
  CHECK(agree<1024>());
}

TEST_CASE("wide moves validated by the version are never torn and others are") {
  hammer<detail::vector_bytes>();
}
#endif
