// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/url.hpp - redis://[user:password@]host:port[/db] and its kin, taken apart.

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "../../store/error.hpp"
#include "request.hpp"

namespace interlock::redis::detail {

struct address {
  std::string host;  // or
  std::string path;  // of a socket
  int port = 6379;
  int database = 0;
  bool secure = false;
  std::string user;
  std::string password;
};

[[noreturn]] inline void refuse_url(std::string detail) {
  throw store::failure({store::errc::bad_address, "redis", "client", "", std::move(detail),
                        "write redis://[user:password@]host:port[/db], rediss:// for TLS, or "
                        "unix:///path[?db=n]"});
}

inline std::string unescaped(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? digit(text[i + 2]) : -1;
    if (high < 0 || low < 0) refuse_url("a '%' without two hexadecimal digits after it");
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

inline void read_user(std::string_view text, address& out) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) refuse_url("a user without a password");
  out.user = unescaped(text.substr(0, colon));
  out.password = unescaped(text.substr(colon + 1));
}

inline int read_number(std::string_view text, int most, const char* what) {
  int number = -1;
  if (!parse(text, number) || number < 0 || number > most) {
    std::string detail = "this is no ";
    detail += what;
    detail += ": '";
    detail += text;
    detail += '\'';
    refuse_url(std::move(detail));
  }
  return number;
}

// Preconditions: what follows redis:// or rediss://.
inline void read_host(std::string_view rest, address& out) {
  if (const std::size_t slash = rest.find('/'); slash != std::string_view::npos) {
    const std::string_view number = rest.substr(slash + 1);
    if (!number.empty()) out.database = read_number(number, 1 << 20, "database");
    rest = rest.substr(0, slash);
  }
  std::size_t colon = rest.rfind(':');
  if (!rest.empty() && rest[0] == '[') {  // [::1]:6379
    const std::size_t end = rest.find(']');
    if (end == std::string_view::npos) refuse_url("a '[' without a ']'");
    out.host = rest.substr(1, end - 1);
    if (colon < end) colon = std::string_view::npos;
  } else {
    out.host = rest.substr(0, colon);
  }
  if (colon != std::string_view::npos && colon < rest.size()) {
    out.port = read_number(rest.substr(colon + 1), 65535, "port");
  }
  if (out.host.empty()) refuse_url("no host");
}

// Throws: store::failure (bad_address).
inline address parse_url(std::string_view url) {
  address out;
  const std::size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) refuse_url("there is no :// in it");
  const std::string_view scheme = url.substr(0, scheme_end);
  std::string_view rest = url.substr(scheme_end + 3);
  const bool local = scheme == "unix";
  out.secure = scheme == "rediss";
  if (!local && scheme != "redis" && !out.secure) {
    std::string detail = "'";
    detail += scheme;
    detail += "' is another kind of address";
    refuse_url(std::move(detail));
  }
  if (const std::size_t at = rest.rfind('@');
      at != std::string_view::npos && (!local || at < rest.find('/'))) {
    read_user(rest.substr(0, at), out);
    rest = rest.substr(at + 1);
  }
  if (!local) {
    read_host(rest, out);
    return out;
  }
  if (const std::size_t query = rest.find('?'); query != std::string_view::npos) {
    const std::string_view wish = rest.substr(query + 1);
    if (wish.substr(0, 3) != "db=") refuse_url("after the '?' comes db=");
    out.database = read_number(wish.substr(3), 1 << 20, "database");
    rest = rest.substr(0, query);
  }
  out.path = unescaped(rest);
  if (out.path.empty() || out.path[0] != '/') refuse_url("no path from the root");
  return out;
}

}  // namespace interlock::redis::detail
