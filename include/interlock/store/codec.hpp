// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/codec.hpp - how a type becomes bytes in an engine, and again itself.
//
// Numbers are decimal text, so that other programs and a person at a console can read them; strings
// are their bytes. For a type of your own, specialise codec:
//
//   template <>
//   struct interlock::store::codec<order> {
//     static std::string encode(const order& o);
//     static std::optional<order> decode(std::string_view bytes);  // nullopt: not an order
//   };
//
// encode must give bytes that decode takes; two values that differ, bytes that differ.

#include <charconv>
#include <cmath>
#include <concepts>
#include <limits>
#include <locale>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>

namespace interlock::store {

template <class T>
struct codec;

template <class T>
concept encodable = requires(const T& value, std::string_view bytes) {
  { codec<T>::encode(value) } -> std::convertible_to<std::string>;
  { codec<T>::decode(bytes) } -> std::convertible_to<std::optional<T>>;
};

template <>
struct codec<std::string> {
  static std::string encode(const std::string& value) { return value; }
  static std::optional<std::string> decode(std::string_view bytes) { return std::string(bytes); }
};

// libc++ 19 reads no floating point by it.
template <class T>
concept from_chars_takes = requires(const char* text, T value) {
  std::from_chars(text, text, value);
};

template <class T>
  requires std::is_arithmetic_v<T> && (!std::same_as<T, bool>)
struct codec<T> {
  static std::string encode(T value) {
    char text[64];
    const auto [end, bad] = std::to_chars(text, text + sizeof text, value);
    return bad == std::errc() ? std::string(text, end) : std::string();
  }
  static std::optional<T> decode(std::string_view bytes) {
    T value{};
    if constexpr (from_chars_takes<T>) {
      const auto [end, bad] = std::from_chars(bytes.data(), bytes.data() + bytes.size(), value);
      if (bad != std::errc() || end != bytes.data() + bytes.size()) return std::nullopt;
      return value;
    } else {
      return decode_by_stream(bytes);
    }
  }

private:
  static std::optional<T> decode_by_stream(std::string_view bytes) {
    const bool negative = bytes.starts_with('-');
    const std::string_view digits = bytes.substr(negative ? 1 : 0);
    if (digits == "inf") {
      constexpr T most = std::numeric_limits<T>::infinity();
      return negative ? -most : most;
    }
    if (digits == "nan") return std::numeric_limits<T>::quiet_NaN();
    if (digits.empty() || (digits[0] != '.' && (digits[0] < '0' || digits[0] > '9'))) {
      return std::nullopt;
    }
    std::istringstream in{std::string(bytes)};
    in.imbue(std::locale::classic());
    T value{};
    in >> value;
    const bool denormal = value != 0 && std::abs(value) < std::numeric_limits<T>::min();
    if (in.fail() && !denormal) return std::nullopt;  // which is there all the same
    in.clear();
    if (in.peek() != std::istringstream::traits_type::eof()) return std::nullopt;
    return value;
  }
};

template <>
struct codec<bool> {
  static std::string encode(bool value) { return value ? "1" : "0"; }
  static std::optional<bool> decode(std::string_view bytes) {
    if (bytes == "1") return true;
    if (bytes == "0") return false;
    return std::nullopt;
  }
};

template <class T>
  requires std::is_enum_v<T>
struct codec<T> {
  using number = std::underlying_type_t<T>;
  static std::string encode(T value) { return codec<number>::encode(static_cast<number>(value)); }
  static std::optional<T> decode(std::string_view bytes) {
    const std::optional<number> value = codec<number>::decode(bytes);
    return value ? std::optional<T>(static_cast<T>(*value)) : std::nullopt;
  }
};

}  // namespace interlock::store
