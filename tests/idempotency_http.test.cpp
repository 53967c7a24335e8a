// SPDX-License-Identifier: BSL-1.0
#include <interlock/idempotency_http.hpp>

#include <optional>
#include <string>
#include <string_view>

#include "support/catch.hpp"

using interlock::http_answer_to;
using interlock::parse_idempotency_key;
using interlock::scoped_key;
using enum interlock::idempotency_outcome;

TEST_CASE("Each outcome has the status that the IETF draft and common practice give it") {
  for (const auto outcome : {executed, joined}) {
    CHECK(http_answer_to(outcome).status == 0);
    CHECK_FALSE(http_answer_to(outcome).replayed);
  }
  CHECK(http_answer_to(replayed).replayed);
  CHECK(http_answer_to(bad_key).status == 400);
  CHECK(http_answer_to(payload_mismatch).status == 422);
  for (const auto outcome : {in_flight, reentered, circular, lost_ownership}) {
    CHECK(http_answer_to(outcome).status == 409);
    CHECK(http_answer_to(outcome).retry_after);
  }
  CHECK(http_answer_to(in_doubt).status == 409);
  CHECK_FALSE(http_answer_to(in_doubt).retry_after);
  for (const auto outcome : {over_capacity, cancelled, timed_out}) {
    CHECK(http_answer_to(outcome).status == 503);
    CHECK(http_answer_to(outcome).retry_after);
  }
  CHECK(http_answer_to(absent).status == 404);
  CHECK(http_answer_to(failed).status == 500);
  CHECK(std::string(to_string(payload_mismatch)) == "payload mismatch");
}

TEST_CASE("A header value is a key only if it is a string as the draft defines it, or a bare token") {
  CHECK(parse_idempotency_key("\"8e03978e-40d5-43dd-bc93-6894a57f9324\"") ==
        "8e03978e-40d5-43dd-bc93-6894a57f9324");
  CHECK(parse_idempotency_key(" abc\t") == "abc");
  CHECK(parse_idempotency_key("\"a b, c;d\"") == "a b, c;d");
  for (const std::string_view bad :
       {"", "  ", "\"\"", "\"", "a b", "a,b", "a;b", "\"a", "a\"b", "\"a\\\"b\"", "a\x7f", "a\n",
        "\"a\tb\"", "caf\xc3\xa9"}) {
    CHECK_FALSE(parse_idempotency_key(bad).has_value());
  }
  CHECK(parse_idempotency_key(std::string(255, 'x')).has_value());
  CHECK_FALSE(parse_idempotency_key(std::string(256, 'x')).has_value());
  CHECK_FALSE(parse_idempotency_key("abcd", 3).has_value());
}

TEST_CASE("Keys of two scopes are different whatever they are") {
  CHECK(scoped_key("a", "bc") != scoped_key("ab", "c"));
  CHECK(scoped_key("", "1:a") != scoped_key("1:", "a"));
  CHECK(scoped_key("1", ":a") != scoped_key("", "1:a"));
  CHECK(scoped_key("ann", "k") == scoped_key("ann", "k"));
}
