// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the scenarios share. The words, the time a store call takes, the threads that start together
// and the steps are those of real threads, or, in lab-explain, those of the model explorer: the
// scenarios are the same code on both.

#include <cstdint>
#include <string>
#include <string_view>

#include "scenario.hpp"

namespace lab {

// What a step says about itself when it is drawn.
struct line {
  std::string text;
  bool harmful = false;
};

inline std::string word_for(std::string_view text) {
  return std::string(text);
}
inline std::string word_for(std::int64_t number) {
  return std::to_string(number);
}

// Returns: the parts, words and numbers, as one sentence.
template <class... Part>
std::string sentence(const Part&... parts) {
  return (std::string() + ... + word_for(parts));
}

// What the read and the write-back of a naive form say. The write is the harmful step when it lands
// on a value that its writer never saw.
inline line reads(std::int64_t value) {
  return {sentence("reads ", value)};
}
inline line writes_back(std::int64_t value, std::int64_t seen, std::int64_t over) {
  if (over == seen) return {sentence("writes ", value)};
  return {sentence("writes ", value, " over ", over, ", which it never saw"), true};
}

// Effects: makes the compiler compute value, and nothing else.
template <class T>
void keep(const T& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

}  // namespace lab

#if defined(LAB_EXPLORED)
#include "explain/explored.hpp"
#else
#include "real_threads.hpp"
#endif
