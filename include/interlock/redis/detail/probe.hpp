// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/probe.hpp - what a server promises by its own settings; whether its
// data can be read; whether this user may write it.

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "../../store/guarantees.hpp"
#include "errors.hpp"
#include "history.hpp"
#include "script.hpp"

namespace interlock::redis::detail {

using store::durability;
using store::guarantees;
using store::setting;

inline constexpr guarantees best_promises{store::visibility::network,
                                          durability::power_loss,
                                          true,
                                          true,
                                          true,
                                          store::fence_kind::monotone_across_data_loss};
inline constexpr std::string_view schema_version = "1";

// Returns: the most that is promised if no more is kept than that.
inline guarantees keeping(durability keeps) noexcept {
  guarantees most = best_promises;
  most.keeps = keeps;
  return most;
}

inline setting judged(std::string name, const std::optional<std::string>& value,
                      const std::optional<std::string>& appendonly) {
  setting is{std::move(name), value.value_or(""), "", "", best_promises};
  const bool hidden = !value;
  const auto limit = [&](guarantees with, const char* limits, const char* remedy) {
    is.with = with;
    is.limits = limits;
    is.remedy = remedy;
  };
  if (hidden) {
    guarantees worst = keeping(durability::none);
    worst.keeps_all_keys = false;
    limit(worst, "it may not be read, so the worst is assumed",
          "let this user read it: ACL SETUSER ... +config|get");
  } else if (is.name == "appendonly" && *value != "yes") {
    limit(keeping(durability::none), "a crash takes what was written since the last snapshot",
          "CONFIG SET appendonly yes, and in redis.conf");
  } else if (is.name == "appendfsync" && appendonly == "yes" && *value == "everysec") {
    // While a flush is under way, Redis does not even hand what came since to the kernel.
    limit(keeping(durability::none),
          "a crash while the disk is slow, or a power loss, takes about two seconds of writes",
          "CONFIG SET appendfsync always, and in redis.conf");
  } else if (is.name == "appendfsync" && appendonly == "yes" && *value != "always") {
    limit(keeping(durability::process_crash), "a power loss takes what the kernel had not written",
          "CONFIG SET appendfsync always, and in redis.conf");
  } else if (is.name == "no-appendfsync-on-rewrite" && *value == "yes") {
    limit(keeping(durability::process_crash),
          "a power loss during a rewrite takes what was written since it began",
          "CONFIG SET no-appendfsync-on-rewrite no, and in redis.conf");
  } else if (is.name == "maxmemory-policy" && *value != "noeviction") {
    guarantees evicting = best_promises;
    evicting.keeps_all_keys = false;
    limit(evicting, "keys are removed to make room, with their versions, fences and ids",
          "CONFIG SET maxmemory-policy noeviction, and in redis.conf");
  }
  return is;
}

// Returns: the line NAME:VALUE of an answer of INFO.
inline std::string info_line(std::string_view info, std::string_view name) {
  std::string begin(name);
  begin += ':';
  std::size_t at = info.substr(0, begin.size()) == begin ? 0 : info.find("\n" + begin);
  if (at == std::string_view::npos) return {};
  if (at != 0) ++at;
  const std::string_view rest = info.substr(at + begin.size());
  return std::string(rest.substr(0, rest.find_first_of("\r\n")));
}

// Effects: asks with `ask(command)`.
template <class Ask>
store::probed_guarantees probe(Ask&& ask) {
  store::probed_guarantees out;
  out.promised = best_promises;
  const auto config = [&](std::string_view name) -> std::optional<std::string> {
    const std::array<std::string_view, 3> get{"CONFIG", "GET", name};
    const auto answer = ask(std::span<const std::string_view>(get));
    if (answer.kind() != value_kind::list || answer.size() != 2) return std::nullopt;
    return std::string(answer.at(1).text());
  };
  const std::optional<std::string> appendonly = config("appendonly");
  out.settings.push_back(judged("appendonly", appendonly, appendonly));
  for (const char* name : {"appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy"}) {
    out.settings.push_back(judged(name, config(name), appendonly));
  }
  for (const char* name : {"save", "min-replicas-to-write"}) {  // told, and promising nothing more
    out.settings.push_back({name, config(name).value_or(""), "", "", best_promises});
  }
  const auto info = [&](std::string_view part) {
    const std::array<std::string_view, 2> get{"INFO", part};
    const auto answer = ask(std::span<const std::string_view>(get));
    return answer.kind() == value_kind::bytes ? std::string(answer.text()) : std::string();
  };
  out.server = "redis " + info_line(info("server"), "redis_version");
  const std::string replication = info("replication");
  setting role{"role", info_line(replication, "role"), "", "", best_promises};
  if (role.value != "master") {
    role.with.linearizable = false;
    role.with.serializable = false;
    role.limits = "a replica answers with what was true before";
    role.remedy = "connect to the primary";
  }
  out.settings.push_back(std::move(role));
  out.settings.push_back(
      {"connected_slaves", info_line(replication, "connected_slaves"), "", "", best_promises});
  for (const setting& each : out.settings) out.promised = weaker(out.promised, each.with);
  return out;
}

// Tries each command that scripts write with, on a key that is gone afterwards. Answers with the
// first error that says that this user may not.
inline const script& script_permissions() {
  static const script it(R"(
local k = KEYS[1]
local tries = {
  {'SET', k, '0', 'PX', 1000}, {'GET', k}, {'INCRBY', k, 1}, {'PEXPIRE', k, 1000}, {'PTTL', k},
  {'DEL', k}, {'HSET', k, 'f', 1}, {'HSETNX', k, 'f', 1}, {'HINCRBY', k, 'f', 1}, {'HGET', k, 'f'},
  {'HMGET', k, 'f'}, {'HLEN', k}, {'HDEL', k, 'f'}, {'DEL', k}, {'ZADD', k, 1, 'm'},
  {'ZRANGE', k, 0, 0}, {'ZRANGEBYSCORE', k, 0, 0}, {'ZCOUNT', k, 0, 0}, {'ZSCORE', k, 'm'},
  {'ZCARD', k}, {'ZREM', k, 'm'}, {'DEL', k}, {'TIME'}}
local words = {'NOPERM', 'user executing', 'ACL failure'}
for _, one in ipairs(tries) do
  local r = redis.pcall(unpack(one))
  for _, word in ipairs(words) do
    if type(r) == 'table' and r.err and r.err:find(word) then return one[1] .. ': ' .. r.err end
  end
end
return ''
)");
  return it;
}

// Effects: asks with `ask(command)`; gives the data set its names if it has none.
// Returns: the incarnation. Throws: store::failure.
template <class Ask>
std::string open_data(const history& known, const std::string& tag, Ask&& ask) {
  const auto must = [&](std::span<const std::string_view> command) {
    auto answer = ask(command);
    if (answer.kind() == value_kind::error) {
      throw store::failure(error_of(meaning_of(answer.text(), false).code, "client", "",
                                    std::string(answer.text())));
    }
    if (answer.kind() >= value_kind::not_sent) {
      throw store::failure(error_of(answer.code(), "client", "", std::string(answer.text())));
    }
    return answer;
  };
  const auto named = [&](const std::string& key, std::string_view if_none) {
    const std::array<std::string_view, 2> get{"GET", key};
    auto found = must(get);
    if (found.kind() == value_kind::nil) {
      const std::array<std::string_view, 4> set{"SET", key, if_none, "NX"};
      must(set);
      found = must(get);
    }
    return std::string(found.text());
  };
  const std::string schema = named(known.schema_key(), schema_version);
  if (schema != schema_version) {
    throw store::failure(error_of(errc::wrong_schema, "client", "",
                                  "the data has schema " + store::detail::printable(schema) +
                                      ", this version reads " + std::string(schema_version)));
  }
  const std::string scratch = tag + "permissions";
  const std::array<std::string_view, 4> may{"EVAL", script_permissions().text, "1", scratch};
  const auto verdict = ask(std::span<const std::string_view>(may));
  const bool denied = verdict.kind() == value_kind::bytes && !verdict.text().empty();
  if (denied || (verdict.kind() == value_kind::error && verdict.text().substr(0, 6) == "NOPERM")) {
    throw store::failure(error_of(errc::access_denied, "client", "", std::string(verdict.text())));
  }
  return named(known.incarnation_key(), store::unique_id::fresh().text());
}

}  // namespace interlock::redis::detail
