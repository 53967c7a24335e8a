// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/lookup_key.hpp - what a key is looked for as, and its hash.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <type_traits>

namespace interlock::detail {

template <class Key, class Hash, class Equal>
struct lookup_key {
  static constexpr bool is_transparent = requires {
    typename Hash::is_transparent;
    typename Equal::is_transparent;
  };

  // Returns: the key; or what Hash and Equal take, without a copy; or else a Key made of it.
  template <class K>
  static decltype(auto) view_of(const K& key) {
    if constexpr (std::is_same_v<K, Key>) {
      return (key);
    } else if constexpr (is_transparent && std::is_convertible_v<const K&, std::string_view>) {
      return std::string_view(key);
    } else if constexpr (is_transparent) {
      return (key);
    } else {
      return Key(key);
    }
  }
  // The same as a member.
  template <class View>
  using kept = std::conditional_t<std::is_reference_v<View>,
                                  std::reference_wrapper<std::remove_reference_t<View>>,
                                  std::decay_t<View>>;

  // Returns: what Hash gives, spread over all bits unless Hash says that it has done so: integers
  //          are often their own hash.
  template <class View>
  static std::uint64_t hash(const Hash& hash_of, const View& key) {
    const std::uint64_t given = hash_of(key);
    if constexpr (requires { typename Hash::is_avalanching; } && sizeof(std::size_t) == 8) {
      return given;
    } else {
      return (given ^ (given >> 32U)) * 0x9e3779b97f4a7c15U;
    }
  }
};

}  // namespace interlock::detail
