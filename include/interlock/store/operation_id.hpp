// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/operation_id.hpp - a name for one request, so that asking again does it once.
//
// An id is (session, sequence). The engine keeps, for each object, the last sequence of each
// session and its answer:
//   the same sequence again     the same answer, nothing is done
//   a larger one                is done, and replaces it
//   a smaller one               refused as expired: what became of it is not known any more
// So one session gives its ids in order and has one request under way: operation_session does that.
// A free id is a session of its own with sequence 1: operation_id::fresh(). It suits a request that
// many processes may send again, as the id travels with it as text.
//
// An engine forgets a session that was silent for longer than the client's `retention`; whoever
// asks again after that is taken for new.

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <string_view>

namespace interlock::store {

// 128 random bits: who holds a lease, who asks.
struct unique_id {
  std::uint64_t high = 0;
  std::uint64_t low = 0;

  // Returns: an id that nobody else has.
  // Throws: what std::random_device throws where the system has no randomness.
  [[nodiscard]] static unique_id fresh() {
    std::random_device source;  // of the system: a child of fork() gets others than its parent
    const auto word = [&source] {
      return (std::uint64_t{source()} << 32U) | std::uint64_t{source()};
    };
    const std::uint64_t first = word();
    return {first, word()};
  }

  // Returns: 32 hexadecimal digits.
  [[nodiscard]] std::string text() const {
    std::string out(32, '0');
    for (std::size_t i = 0; i < 16; ++i) {
      out[15 - i] = "0123456789abcdef"[(high >> (4 * i)) & 15U];
      out[31 - i] = "0123456789abcdef"[(low >> (4 * i)) & 15U];
    }
    return out;
  }

  // Returns: the id that text() made this from, if it did.
  [[nodiscard]] static std::optional<unique_id> parse(std::string_view text) {
    if (text.size() != 32) return std::nullopt;
    unique_id id;
    for (std::size_t i = 0; i < 32; ++i) {
      const char c = text[i];
      std::uint64_t digit = 0;
      if (c >= '0' && c <= '9') {
        digit = static_cast<std::uint64_t>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        digit = static_cast<std::uint64_t>(c - 'a') + 10;
      } else {
        return std::nullopt;
      }
      std::uint64_t& half = i < 16 ? id.high : id.low;
      half = (half << 4U) | digit;
    }
    return id;
  }

  friend bool operator==(const unique_id&, const unique_id&) = default;
};

struct operation_id {
  unique_id session;
  std::uint64_t sequence = 0;  // 0: no id

  // Returns: an id of a session of its own.
  [[nodiscard]] static operation_id fresh() { return {unique_id::fresh(), 1}; }

  [[nodiscard]] explicit operator bool() const noexcept { return sequence != 0; }

  // Returns: the session's digits, a hyphen and the sequence.
  [[nodiscard]] std::string text() const {
    std::string out = session.text();
    out += '-';
    out += std::to_string(sequence);
    return out;
  }

  // Returns: the id that text() made this from, if it did.
  [[nodiscard]] static std::optional<operation_id> parse(std::string_view text) {
    const std::size_t hyphen = text.find('-');
    if (hyphen != 32 || text.size() < 34 || text.size() > 52 || text[33] == '0') {
      return std::nullopt;
    }
    const std::optional<unique_id> session = unique_id::parse(text.substr(0, 32));
    if (!session) return std::nullopt;
    operation_id id{*session, 0};
    for (const char c : text.substr(33)) {
      if (c < '0' || c > '9') return std::nullopt;
      const auto digit = static_cast<std::uint64_t>(c - '0');
      if (id.sequence > (INT64_MAX - digit) / 10) return std::nullopt;  // engines keep 63 bits
      id.sequence = id.sequence * 10 + digit;
    }
    return id;
  }

  friend bool operator==(const operation_id&, const operation_id&) = default;
};

// Ids in order, for one caller that has one request under way at a time. Not for several threads.
class operation_session {
public:
  [[nodiscard]] operation_id next() noexcept { return {session_, ++last_}; }

private:
  unique_id session_ = unique_id::fresh();
  std::uint64_t last_ = 0;
};

}  // namespace interlock::store
