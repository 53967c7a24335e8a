// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/idempotency_http.hpp - what an HTTP service answers to a request with such a key.
//
// Problem     Each service maps "in flight" and "other payload" to another status, forgets to say
//             that an answer is a replay, and takes any bytes for a key.
// Guarantee   Each outcome has the status that the IETF draft and common practice give it.
//             A header value is a key only if it is a string as the draft defines it, or a bare
//             token. Keys of two scopes are different whatever they are.
// Progress    Wait-free; scoped_key allocates.
// Cost        No state.
// Lifetime    A parsed key is a part of the header value that it was parsed from.
// Not for     Authentication: the scope is what the server knows of the client.
//
// Example     const auto key = parse_idempotency_key(header);     // examples/idempotency_http.cpp
//             if (!key) return {http_status_of_missing_key, "send an Idempotency-Key"};
//             const auto got = answers.run(scoped_key(account, *key), fingerprint_of(body), serve);
//             if (!got) return {http_answer_to(got.outcome).status, to_string(got.outcome)};

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "idempotency_outcome.hpp"

namespace interlock {

// The draft "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-header).
inline constexpr std::string_view idempotency_key_header = "Idempotency-Key";
// What several services send with a replay; the draft names none.
inline constexpr std::string_view idempotent_replayed_header = "Idempotent-Replayed";
inline constexpr int http_status_of_missing_key = 400;

struct idempotency_http {
  int status;        // 0: what the response itself says
  bool replayed;     // send "Idempotent-Replayed: true"
  bool retry_after;  // send a Retry-After: the same request may succeed later, as it is
};

// Returns: 400 for a bad key, 409 for a request in flight, 422 for another payload, 503 where there
//          is no room; 409 without Retry-After for a doubt: the client cannot resolve it by trying.
//          A late owner's client is told to ask again: it gets the answer that all others get.
[[nodiscard]] constexpr idempotency_http http_answer_to(idempotency_outcome outcome) noexcept {
  switch (outcome) {
    case idempotency_outcome::executed:
    case idempotency_outcome::joined: return {0, false, false};
    case idempotency_outcome::replayed: return {0, true, false};
    case idempotency_outcome::bad_key: return {400, false, false};
    case idempotency_outcome::payload_mismatch: return {422, false, false};
    case idempotency_outcome::lost_ownership:
    case idempotency_outcome::in_flight:
    case idempotency_outcome::reentered:
    case idempotency_outcome::circular: return {409, false, true};
    case idempotency_outcome::in_doubt: return {409, false, false};
    case idempotency_outcome::over_capacity:
    case idempotency_outcome::cancelled:
    case idempotency_outcome::timed_out: return {503, false, true};
    case idempotency_outcome::absent: return {404, false, false};
    case idempotency_outcome::failed: return {500, false, false};
  }
  return {500, false, false};
}

// Returns: the key in the value of the header: what is between the quotes of a structured string
//          (RFC 8941), or a bare token, as many clients send it. Nothing if it is neither, empty,
//          or longer than `most`. Strings with escapes are refused: keys have no need of them.
[[nodiscard]] constexpr std::optional<std::string_view> parse_idempotency_key(
    std::string_view value, std::size_t most = 255) noexcept {
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  const bool quoted = value.size() >= 2 && value.front() == '"' && value.back() == '"';
  if (quoted) value = value.substr(1, value.size() - 2);
  if (value.empty() || value.size() > most) return std::nullopt;
  for (const char each : value) {
    const bool visible = each > ' ' && each <= '~';
    const bool plain = each != '"' && each != '\\' && (quoted || (each != ',' && each != ';'));
    if ((!visible && !(quoted && each == ' ')) || !plain) return std::nullopt;
  }
  return value;
}

// Returns: a key for what this client sent: the scope is what the server knows of it (an account),
//          so that nobody gets another one's answers. It begins with the length of the scope.
[[nodiscard]] inline std::string scoped_key(std::string_view scope, std::string_view key) {
  std::string both = std::to_string(scope.size());
  both.reserve(both.size() + 1 + scope.size() + key.size());
  both += ':';
  both += scope;
  both += key;
  return both;
}

}  // namespace interlock
