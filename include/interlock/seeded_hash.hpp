// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/seeded_hash.hpp - a hash that nobody can flood: keys chosen to collide do not.
//
// Problem     std::hash is known to everyone. Whoever may choose keys chooses a million of them for
//             one bucket, and each look-up then walks a million nodes.
// Guarantee   Keys chosen without knowledge of the secret share a bucket no more often than by
//             chance. Texts of all kinds with the same characters have the same hash.
// Progress    Wait-free.
// Cost        8 bytes. An integer: three multiplications; a text: two for each 8 bytes. The secret
//             of the process is drawn at its first use: about half a kilobyte.
// Lifetime    A hash_secret outlives the hashes that use it.
// Not for     Signatures and fingerprints: who sees hashes can compute the secret.
//
// Example     using hash = seeded_hash<std::string>;          // examples/seeded_hash.cpp
//             std::unordered_map<std::string, int, hash, std::equal_to<>> sessions;

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <string_view>
#include <type_traits>

namespace interlock {

// What an attacker does not know.
class hash_secret {
public:
  static constexpr std::size_t words = 34;  // 32 of text, its length, and what is added

  // Effects: numbers that follow from the seed, for tests that want the same each time.
  explicit hash_secret(std::uint64_t seed) noexcept {
    for (auto& each : low_) each = next(seed);
    for (auto& each : high_) each = next(seed);
  }
  // Returns: the one of this process: random, the same in all calls.
  static const hash_secret& of_process() {
    static const hash_secret one(random_seeds);
    return one;
  }

  // Returns: the upper half of (a * x) modulo 2^128, where a is the number at that place.
  struct sum {
    std::uint64_t low, high;
  };
  void add(sum& to, std::size_t place, std::uint64_t x) const noexcept {
    const sum product = multiply(low_[place], x);
    to.low += product.low;
    to.high += product.high + (to.low < product.low ? 1 : 0) + high_[place] * x;
  }
  sum start() const noexcept { return {low_[words - 1], high_[words - 1]}; }

private:
  struct random_t {};
  static constexpr random_t random_seeds{};

  explicit hash_secret(random_t) {
    // A random_device that fails, or is none, still leaves what differs from start to start.
    std::uint64_t seed = static_cast<std::uint64_t>(
        std::chrono::steady_clock::now().time_since_epoch().count());
    seed ^= static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&seed)) << 16U;
    std::random_device device;
    const auto draw = [&] { return next(seed) ^ (std::uint64_t{device()} << 32U) ^ device(); };
    for (auto& each : low_) each = draw();
    for (auto& each : high_) each = draw();
  }
  // Source: SplitMix64 of G. Steele, D. Lea and C. Flood, 2014.
  static std::uint64_t next(std::uint64_t& seed) noexcept {
    std::uint64_t mixed = seed += 0x9e3779b97f4a7c15U;
    mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9U;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebU;
    return mixed ^ (mixed >> 31U);
  }
  static sum multiply(std::uint64_t a, std::uint64_t b) noexcept {
#if defined(__SIZEOF_INT128__)
    __extension__ using wide = unsigned __int128;
    const wide product = wide{a} * b;
    return {static_cast<std::uint64_t>(product), static_cast<std::uint64_t>(product >> 64U)};
#else
    const std::uint64_t a0 = a & 0xFFFF'FFFFU, a1 = a >> 32U;
    const std::uint64_t b0 = b & 0xFFFF'FFFFU, b1 = b >> 32U;
    const std::uint64_t middle = a1 * b0 + ((a0 * b0) >> 32U);
    const std::uint64_t other = a0 * b1 + (middle & 0xFFFF'FFFFU);
    return {a * b, a1 * b1 + (middle >> 32U) + (other >> 32U)};
#endif
  }

  std::array<std::uint64_t, words> low_;
  std::array<std::uint64_t, words> high_;
};

// The sum of a_i * x_i modulo 2^128 with random a_i, and of it the upper 64 bits: strongly
// universal, so any bits of the hashes of two keys are as two random numbers. Source: M. Thorup,
// "High Speed Hashing for Integers and Strings", 2015. That is proved for texts of up to 256 bytes;
// longer ones go through it 256 bytes at a time, each part with the hash of those before.
template <class Key>
class seeded_hash {
  static constexpr bool is_number =
      (std::is_integral_v<Key> || std::is_enum_v<Key>) && sizeof(Key) <= 8;

public:
  using is_avalanching = void;  // all bits are as good as any, for tables that ask

  // Throws: what std::random_device throws, if it is the first one of the process.
  seeded_hash() : secret_(&hash_secret::of_process()) {}
  explicit seeded_hash(const hash_secret& secret) noexcept : secret_(&secret) {}

  // Returns: the hash of an integer or an enumerator; of another key, of what std::hash says of it:
  //          keys that collide there collide here.
  [[nodiscard]] std::size_t operator()(const Key& key) const {
    if constexpr (is_number) {
      return of_word(static_cast<std::uint64_t>(key));
    } else {
      return of_word(std::hash<Key>{}(key));
    }
  }

private:
  std::size_t of_word(std::uint64_t word) const noexcept {
    hash_secret::sum total = secret_->start();
    secret_->add(total, 0, word);
    return static_cast<std::size_t>(total.high);
  }

  const hash_secret* secret_;
};

// For everything that is a text; then tables may look for one kind of text by another.
template <class Key>
  requires std::is_convertible_v<const Key&, std::string_view>
class seeded_hash<Key> {
public:
  using is_avalanching = void;
  using is_transparent = void;

  seeded_hash() : secret_(&hash_secret::of_process()) {}
  explicit seeded_hash(const hash_secret& secret) noexcept : secret_(&secret) {}

  // Returns: the hash of its characters.
  [[nodiscard]] std::size_t operator()(std::string_view text) const noexcept {
    std::uint64_t before = text.size();
    for (; text.size() > block; text.remove_prefix(block)) {
      before = of_block(text.substr(0, block), before);
    }
    return static_cast<std::size_t>(of_block(text, before));
  }

private:
  static constexpr std::size_t block = 256;

  std::uint64_t of_block(std::string_view text, std::uint64_t before) const noexcept {
    hash_secret::sum total = secret_->start();
    secret_->add(total, 0, before);
    std::size_t place = 1;
    const char* at = text.data();
    std::size_t left = text.size();
    for (; left >= 8; at += 8, left -= 8) secret_->add(total, place++, word(at));
    if (left != 0) secret_->add(total, place, rest(text, at, left));
    return total.high;
  }
  static std::uint64_t word(const char* at) noexcept {
    std::uint64_t result = 0;
    std::memcpy(&result, at, 8);
    return result;
  }
  // Returns: the last characters. In a text of 8 or more, the last 8, some of them for the second
  //          time: no call for a few bytes. The length, which is hashed too, tells what they are.
  static std::uint64_t rest(std::string_view text, const char* at, std::size_t left) noexcept {
    if (text.size() >= 8) return word(text.data() + text.size() - 8);
    std::uint64_t result = 0;
    for (std::size_t i = 0; i < left; ++i) {
      result |= std::uint64_t{static_cast<unsigned char>(at[i])} << (8 * i);
    }
    return result;
  }

  const hash_secret* secret_;
};

}  // namespace interlock
