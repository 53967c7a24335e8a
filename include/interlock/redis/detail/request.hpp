// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/request.hpp - commands as the bytes that a server reads, and their parts.

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace interlock::redis::detail {

// A number as text, without memory of its own.
class decimal {
public:
  template <std::integral N>
  explicit decimal(N number) noexcept {
    size_ =
        static_cast<std::size_t>(std::to_chars(text_, text_ + sizeof text_, number).ptr - text_);
  }
  decimal(const decimal&) = delete;  // who has a view of it keeps it
  decimal& operator=(const decimal&) = delete;

  operator std::string_view() const noexcept { return {text_, size_}; }

private:
  char text_[24];
  std::size_t size_;
};

// An argument of a call: a view, or a text that it keeps.
class argument {
public:
  argument(std::string_view view) noexcept : view_(view) {}
  argument(const decimal& number) noexcept : view_(number) {}
  argument(std::string kept) noexcept : kept_(std::move(kept)), view_(kept_) {}
  argument(const argument&) = delete;
  argument& operator=(const argument&) = delete;

  [[nodiscard]] std::string_view text() const noexcept { return view_; }

private:
  std::string kept_;
  std::string_view view_;
};

// The parts of one command; few of them need no memory. They outlive it.
class arguments {
public:
  arguments() noexcept = default;
  arguments(const arguments&) = delete;
  arguments& operator=(const arguments&) = delete;

  void add(std::string_view part) {
    if (size_ < few_.size()) {
      few_[size_] = part;
    } else {
      if (many_.empty()) many_.assign(few_.begin(), few_.end());
      many_.push_back(part);
    }
    ++size_;
  }
  [[nodiscard]] std::span<std::string_view> parts() noexcept {
    if (many_.empty()) return {few_.data(), size_};
    return many_;
  }

private:
  std::array<std::string_view, 20> few_;
  std::vector<std::string_view> many_;  // all of them, when there are more
  std::size_t size_ = 0;
};

inline void append_count(std::string& out, char mark, std::size_t count) {
  char text[24];
  text[0] = mark;
  char* end = text + 2;
  if (count < 10) {
    text[1] = static_cast<char>('0' + count);
  } else {
    end = std::to_chars(text + 1, text + sizeof text - 2, count).ptr;
  }
  *end++ = '\r';
  *end++ = '\n';
  out.append(text, static_cast<std::size_t>(end - text));
}

// Returns: the time as scripts take it: not negative, and not past what they count exactly.
inline std::int64_t script_time(std::chrono::milliseconds time) noexcept {
  constexpr std::int64_t century = std::int64_t{1000} * 60 * 60 * 24 * 365 * 100;
  return std::clamp<std::int64_t>(time.count(), 0, century);
}

// Effects: appends the command to what is to be sent.
inline void append_command(std::string& out, std::span<const std::string_view> parts) {
  append_count(out, '*', parts.size());
  for (const std::string_view part : parts) {
    append_count(out, '$', part.size());
    out.append(part);
    out.append("\r\n", 2);
  }
}

// Returns: whether text is a number of type N and nothing else; `number` is it then.
template <std::integral N>
[[nodiscard]] bool parse(std::string_view text, N& number) noexcept {
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), number);
  return bad == std::errc() && end == text.data() + text.size();
}

}  // namespace interlock::redis::detail
