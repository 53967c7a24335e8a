// SPDX-License-Identifier: BSL-1.0
// Compiled by check_listing.py, which reads what the compiler made of it.

#include <interlock/detail/restartable.hpp>

namespace seq = interlock::detail::restartable;

using word = std::atomic<std::uint64_t>;

extern "C" {

bool listing_add(const word& state, std::uint64_t n) {
  return seq::add(state, n);
}
bool listing_one(const word& state) {
  return seq::add(state, 1);
}
bool listing_take(const word& state, std::uint32_t n) {
  return seq::take(state, n);
}
bool listing_put(const word& state, std::uint32_t n) {
  return seq::put(state, n);
}
bool listing_clear(const word& state, std::uint64_t n) {
  return seq::add<seq::manner{0, true, true}>(state, n);
}
}

int main() {
  word state{interlock::detail::no_slots};
  return listing_add(state, 1) || listing_one(state) || listing_take(state, 1) ||
                 listing_put(state, 1) || listing_clear(state, 1)
             ? 1
             : 0;
}
