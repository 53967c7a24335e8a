// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/names.hpp - which names, keys, prefixes and sizes are taken, and what is
// said of the others.

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "../error.hpp"
#include "../protocol.hpp"

namespace interlock::store::detail {

// Returns: the bytes for a person: 40 of them at most, those that cannot be printed as \xHH.
[[nodiscard]] inline std::string printable(std::string_view bytes) {
  constexpr std::size_t most = 40;
  std::string text;
  for (const char c : bytes.substr(0, most)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      text += c;
    } else {
      text += "\\x";
      text += "0123456789abcdef"[byte >> 4U];
      text += "0123456789abcdef"[byte & 15U];
    }
  }
  if (bytes.size() > most) text += "...";
  return text;
}

// Returns: what is wrong with a name or key (`what` says which), if anything is.
[[nodiscard]] inline std::optional<error> bad_name(std::string_view engine,
                                                   std::string_view operation,
                                                   std::string_view name,
                                                   std::string_view what = "name") {
  if (!name.empty() && name.size() <= max_name_bytes) return std::nullopt;
  error bad{name.empty() ? errc::bad_argument : errc::too_large, std::string(engine),
            std::string(operation), printable(name), "the ", ""};
  bad.detail += what;
  if (name.empty()) {
    bad.detail += " is empty";
  } else {
    bad.detail += " has ";
    bad.detail += std::to_string(name.size());
    bad.detail += " bytes";
  }
  bad.remedy = "give 1 to 512 bytes";
  return bad;
}

// Returns: what is wrong with a client's prefix, if anything is.
[[nodiscard]] inline std::optional<error> bad_prefix(std::string_view engine,
                                                     std::string_view prefix) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  if (!prefix.empty() && prefix.size() <= 64 && std::all_of(prefix.begin(), prefix.end(), fits)) {
    return std::nullopt;
  }
  return error{errc::bad_argument, std::string(engine), "client", printable(prefix),
               "this cannot be a prefix", "give 1 to 64 letters, digits, '_' or '-'"};
}

// Returns: that a value of this size is over the limit, if it is.
[[nodiscard]] inline std::optional<error> bad_size(std::string_view engine,
                                                   std::string_view operation,
                                                   std::string_view object, std::size_t bytes,
                                                   std::size_t most) {
  if (bytes <= most) return std::nullopt;
  error bad{errc::too_large, std::string(engine), std::string(operation), printable(object),
            "a value of ", "store less, or raise client_options::max_value_bytes"};
  bad.detail += std::to_string(bytes);
  bad.detail += " bytes, the limit is ";
  bad.detail += std::to_string(most);
  return bad;
}

// Throws: failure, if something is wrong.
inline void require_none(std::optional<error> bad) {
  if (bad) throw failure(*std::move(bad));
}

}  // namespace interlock::store::detail
