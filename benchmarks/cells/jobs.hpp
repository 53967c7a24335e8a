// SPDX-License-Identifier: BSL-1.0
#pragma once

// The two jobs of a cell: hand out a copy of its value; replace the value by one computed from the
// old one, so that no commit in between is lost.
//
// A contender is a template of the value's type with read() and write(). Every reader ends up with
// a copy of its own, also where a library would let it look at the shared value in place: so all
// have read every byte.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "support/yardsticks.hpp"

namespace cells {

template <std::size_t Bytes>
struct block {
  std::array<std::int64_t, Bytes / 8> words{};
};

template <std::size_t Bytes>
void change(block<Bytes>& value) {
  ++value.words[0];
}
inline void change(std::string& value) {
  value[0] = value[0] == 'a' ? 'b' : 'a';
}

template <class T>
T first_value() {
  if constexpr (std::is_same_v<T, std::string>) {
    return std::string(40, 'a');  // too long for a string without heap memory
  } else {
    return T{};
  }
}

// Uses the value as a caller would: one word in a register, more than that in memory.
template <class T>
void use(const T& value) {
  if constexpr (std::is_same_v<T, block<8>>) {
    benchmark::DoNotOptimize(value.words[0]);
  } else {
    benchmark::DoNotOptimize(value);
  }
}

template <class Cell>
struct reads : Cell {
  void operator()(unsigned) { this->read(); }
};

template <class Cell>
struct writes : Cell {
  void operator()(unsigned) { Cell::write(0); }
};

template <class T>
std::string size_of() {
  if constexpr (std::is_same_v<T, std::string>) return "a string";
  return std::to_string(sizeof(T)) + " bytes";
}

// Effects: registers the contender for both jobs, and reading beside a writer.
template <template <class> class Cell, class T>
void add(const std::string& who) {
  bench::add<reads<Cell<T>>>("cells/read " + size_of<T>() + "/" + who);
  bench::add_beside_writer<reads<Cell<T>>>("cells/read " + size_of<T>() + "/" + who);
  bench::add<writes<Cell<T>>>("cells/update " + size_of<T>() + "/" + who);
}

}  // namespace cells
