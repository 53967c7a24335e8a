// SPDX-License-Identifier: BSL-1.0
// POST /payments as a function: what the service answers, with the headers of the draft.

#include <interlock/idempotency_cache.hpp>
#include <interlock/idempotency_http.hpp>

#include <cstdio>
#include <string>
#include <string_view>

using interlock::fingerprint_of;
using interlock::http_answer_to;
using interlock::http_status_of_missing_key;
using interlock::idempotency_cache;
using interlock::parse_idempotency_key;
using interlock::scoped_key;

namespace {

struct reply {
  int status;
  std::string body;
  bool replayed = false;
};

idempotency_cache<std::string, reply> answers;

reply post(std::string_view account, std::string_view header, std::string_view body) {
  const auto serve = [&] { return reply{201, "paid: " + std::string(body)}; };
  const auto key = parse_idempotency_key(header);
  if (!key) return {http_status_of_missing_key, "send an Idempotency-Key"};
  const auto got = answers.run(scoped_key(account, *key), fingerprint_of(body), serve);
  if (!got) return {http_answer_to(got.outcome).status, to_string(got.outcome)};
  return {got->status, got->body, http_answer_to(got.outcome).replayed};
}

}  // namespace

int main() {
  const reply first = post("ann", "\"8e03\"", "80");
  const reply again = post("ann", "8e03", "80");
  const reply other = post("ann", "8e03", "90");
  const reply stranger = post("bob", "8e03", "90");
  std::printf("%d %d %d %d %d\n", first.status, again.status, other.status, stranger.status,
              post("ann", "", "80").status);
  const bool right = first.status == 201 && !first.replayed && again.replayed &&
                     other.status == 422 && stranger.status == 201 && !stranger.replayed;
  return right ? 0 : 1;
}
