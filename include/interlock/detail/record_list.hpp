// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/record_list.hpp - a growing array of trivial records.
//
// The first ones need no heap.

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <type_traits>

namespace interlock::detail {

template <class Record, std::size_t inline_room>
class record_list {
  static_assert(std::is_trivially_copyable_v<Record>);

public:
  record_list() noexcept {}  // NOLINT: first_ is not initialised, end_ says what is in use
  record_list(const record_list&) = delete;
  record_list& operator=(const record_list&) = delete;
  ~record_list() {
    if (begin_ != first_.data()) delete[] begin_;
  }

  Record* begin() noexcept { return begin_; }
  Record* end() noexcept { return end_; }
  std::size_t size() const noexcept { return static_cast<std::size_t>(end_ - begin_); }
  std::span<Record> from(std::size_t at) noexcept { return {begin_ + at, end_}; }
  void shrink(std::size_t size) noexcept { end_ = begin_ + size; }

  // Effects: makes room for one more; the next push() does not throw.
  void reserve_one() {
    if (end_ == limit_) [[unlikely]] grow();
  }
  // Returns: one more, not initialised.
  Record& push() {
    reserve_one();
    return *end_++;
  }

private:
  [[gnu::noinline, gnu::cold]] void grow() {
    const std::size_t used = size();
    Record* const more = new Record[2 * used];
    std::copy(begin_, end_, more);
    if (begin_ != first_.data()) delete[] begin_;
    begin_ = more;
    end_ = begin_ + used;
    limit_ = end_ + used;
  }

  std::array<Record, inline_room> first_;
  Record* begin_ = first_.data();  // or on the heap
  Record* end_ = begin_;
  Record* limit_ = begin_ + inline_room;
};

}  // namespace interlock::detail
