// SPDX-License-Identifier: BSL-1.0
#include <interlock/seeded_hash.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

using interlock::hash_secret;
using interlock::seeded_hash;

namespace {

constexpr std::size_t buckets = 1'024;

// Returns: the most keys in one bucket, by the lower bits of the upper half, as the cache looks.
template <class Hash, class Key>
std::size_t fullest(const Hash& hash, const std::vector<Key>& keys) {
  std::vector<std::size_t> counts(buckets);
  for (const Key& each : keys) ++counts[(std::uint64_t{hash(each)} >> 32U) % buckets];
  return *std::max_element(counts.begin(), counts.end());
}

struct known_hash {  // what everybody can compute
  std::size_t operator()(std::uint64_t key) const { return key; }
};

}  // namespace

TEST_CASE("Keys chosen without knowledge of the secret share a bucket no more often than by chance") {
  std::vector<std::uint64_t> numbers;
  std::vector<std::string> texts;
  for (std::uint64_t i = 0; i < 4 * buckets; ++i) {
    numbers.push_back(i << 52U);  // all in one bucket of the known hash
    texts.push_back(std::string(20, 'a') + std::to_string(i) + std::string(i % 3, 'b'));
  }
  CHECK(fullest(known_hash{}, numbers) >= 1'024);
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const hash_secret secret(seed);
    CHECK(fullest(seeded_hash<std::uint64_t>(secret), numbers) < 20);  // 4 in the mean
    CHECK(fullest(seeded_hash<std::string>(secret), texts) < 20);
  }
  // Two secrets have nothing to do with each other.
  const hash_secret one(1), two(2);
  const auto differs = seeded_hash<int>(one)(7) ^ seeded_hash<int>(two)(7);
  CHECK(std::popcount(std::uint64_t{differs}) > 10);
  CHECK(seeded_hash<int>(one)(7) == seeded_hash<int>(hash_secret(1))(7));
  CHECK(seeded_hash<int>()(7) == seeded_hash<int>(hash_secret::of_process())(7));
}

TEST_CASE("Texts of all kinds with the same characters have the same hash") {
  const hash_secret secret(3);
  const seeded_hash<std::string> hash(secret);
  for (const std::size_t length : {0U, 1U, 7U, 8U, 9U, 36U, 255U, 256U, 257U, 600U}) {
    const std::string text(length, 'x');
    CHECK(hash(text) == hash(std::string_view(text)));
    CHECK(hash(text) == hash(text.c_str()));
    CHECK(hash(text) != hash(text + 'x'));
    CHECK(hash(text) != hash(text + std::string(1, '\0')));
    for (std::size_t at = 0; at < length; at += 5) {
      std::string other = text;
      other[at] = 'y';
      CHECK(hash(text) != hash(other));
    }
  }
}

TEST_CASE("a seeded_hash of another type spreads what std::hash says") {
  const hash_secret secret(4);
  CHECK(seeded_hash<double>(secret)(1.5) != seeded_hash<double>(secret)(1.25));
  enum class colour { red, green };
  CHECK(seeded_hash<colour>(secret)(colour::red) != seeded_hash<colour>(secret)(colour::green));
}
