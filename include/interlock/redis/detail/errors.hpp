// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/errors.hpp - what a server's error means: which errc, whether the command
// may have had an effect, and what to do about it.

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "../../store/detail/names.hpp"
#include "../../store/error.hpp"

namespace interlock::redis::detail {

using store::errc;

struct meaning {
  errc code = errc::engine_failure;
  bool without_effect = true;  // the command was not done, for certain
};

// Returns: what the error says. `script`: whether a script of ours that writes may have said it.
[[nodiscard]] inline meaning meaning_of(std::string_view text, bool script) {
  struct word {
    std::string_view begins;
    errc code;
  };
  // A script's own commands can only fail like this before its first write: the server looks at
  // its state when the script begins, and our scripts read each key before they write.
  static constexpr std::array<word, 18> words{{
      {"WRONGTYPE", errc::wrong_kind},
      {"READONLY", errc::read_only},
      {"OOM", errc::out_of_space},
      {"MISCONF", errc::out_of_space},
      {"LOADING", errc::busy},
      {"BUSY", errc::busy},
      {"MASTERDOWN", errc::busy},
      {"TRYAGAIN", errc::busy},
      {"NOREPLICAS", errc::guarantee_not_met},
      {"NOAUTH", errc::access_denied},
      {"WRONGPASS", errc::access_denied},
      {"NOPERM", errc::access_denied},
      {"DENIED", errc::access_denied},
      {"UNKILLABLE", errc::busy},
      {"MOVED", errc::bad_address},
      {"ASK", errc::bad_address},
      {"CLUSTERDOWN", errc::not_connected},
      {"CROSSSLOT", errc::bad_address},
  }};
  if (text.find("Script killed by user") != std::string_view::npos) return {errc::killed, true};
  // Of a command in a script, which may have written before; since Redis 7.2 the latter.
  if (text.find("The user executing the script") != std::string_view::npos ||
      text.find("ACL failure in script") != std::string_view::npos) {
    return {errc::access_denied, !script};
  }
  for (const word& each : words) {
    if (text.substr(0, each.begins.size()) == each.begins) return {each.code, true};
  }
  if (text.find("invalid password") != std::string_view::npos ||
      text.find("Client sent AUTH") != std::string_view::npos) {
    return {errc::access_denied, true};
  }
  if (text.find("max number of clients") != std::string_view::npos) {
    return {errc::overloaded, true};
  }
  // HINCRBY says both, too, and a script may have written before it.
  if (text.find("value is not an integer") != std::string_view::npos) {
    return {errc::bad_value, !script};
  }
  if (text.find("would overflow") != std::string_view::npos) return {errc::bad_argument, !script};
  return {errc::engine_failure, !script};
}

// Returns: what to do about an error of this kind.
[[nodiscard]] inline const char* remedy_of(errc code, std::string_view text) {
  switch (code) {
    case errc::wrong_kind:
      return "another program uses this key; choose another prefix or name";
    case errc::read_only:
      return "connect to the primary; this server is a replica";
    case errc::out_of_space:
      return text.substr(0, 7) == "MISCONF"
                 ? "see why the server cannot write to its disk: its log, and INFO persistence"
                 : "raise maxmemory, or remove data";
    case errc::busy:
      return text.substr(0, 4) == "BUSY" || text.substr(0, 10) == "UNKILLABLE"
                 ? "SCRIPT KILL what runs there, or SHUTDOWN NOSAVE if it has written; ask again"
                 : "ask again later; see the server's log";
    case errc::guarantee_not_met:
      return "see why replicas are behind, or lower min-replicas-to-write";
    case errc::access_denied:
      return "give user and password in the URL, and see ACL LIST there";
    case errc::bad_address:
      return "connect to the node that has the slot of the client's prefix";
    case errc::not_connected:
      return "see that the server runs and listens there";
    case errc::connection_lost:
      return "ask again; a write, under the same operation id";
    case errc::timed_out:
      return "give the call a longer timeout, or see what keeps the server";
    case errc::overloaded:
      return "raise client_options::connections, or the server's maxclients";
    case errc::killed:
      return "it was SCRIPT KILL; ask again";
    case errc::history_lost:
      return "see what is missing, then call accept_history() to go on with this data set";
    case errc::wrong_schema:
      return "use a version of interlock that can read it, or another prefix";
    case errc::bad_value:
      return "another program wrote this key; repair or delete it";
    case errc::expired:
      return "ask under a new id, after finding out what became of the old one";
    case errc::closed:
      return "make another client";
    case errc::bad_argument:
    case errc::too_large:
    case errc::too_many_conflicts:
    case errc::lease_lost:
    case errc::cancelled:
    case errc::engine_failure:
      break;
  }
  return "see what the server says";
}

[[nodiscard]] inline store::error error_of(errc code, std::string_view operation,
                                           std::string_view object, std::string detail) {
  const char* const remedy = remedy_of(code, detail);
  return {
      code,  "redis", std::string(operation), store::detail::printable(object), std::move(detail),
      remedy};
}

}  // namespace interlock::redis::detail
