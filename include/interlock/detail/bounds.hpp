// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/bounds.hpp - the range of a bounded counter, and the refusal of senseless input.

#include <cstdint>
#include <stdexcept>
#include <string>

namespace interlock::detail {

class bounds {
public:
  // Throws: std::invalid_argument unless min <= initial <= max.
  bounds(const char* type, std::int64_t initial, std::int64_t min, std::int64_t max)
      : min_(min), max_(max) {
    if (!(min <= initial && initial <= max)) throw_out_of_order(type, initial, min, max);
  }

  std::int64_t min() const noexcept { return min_; }
  std::int64_t max() const noexcept { return max_; }

  // Returns: high - low. A difference of two int64 may need 64 bits, and overflow a signed type.
  // Preconditions: low <= high.
  static constexpr std::uint64_t distance(std::int64_t low, std::int64_t high) noexcept {
    return static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
  }
  std::uint64_t span() const noexcept { return distance(min_, max_); }

  // `call` is the name of the operation that was asked for n, `opposite` of the one to use instead.
  [[noreturn, gnu::cold, gnu::noinline]] static void throw_negative(const char* type,
                                                                    const char* call,
                                                                    std::int64_t n,
                                                                    const char* opposite) {
    throw std::invalid_argument(std::string("interlock::") + type + "::" + call +
                                "(n): needs n >= 0, got " + std::to_string(n) + "; use " +
                                opposite + " for the opposite direction");
  }

private:
  [[noreturn, gnu::cold, gnu::noinline]] static void throw_out_of_order(const char* type,
                                                                        std::int64_t initial,
                                                                        std::int64_t min,
                                                                        std::int64_t max) {
    throw std::invalid_argument(std::string("interlock::") + type +
                                "(initial, min, max): needs min <= initial <= max, got initial " +
                                std::to_string(initial) + ", min " + std::to_string(min) +
                                ", max " + std::to_string(max));
  }

  std::int64_t min_;
  std::int64_t max_;
};

}  // namespace interlock::detail
