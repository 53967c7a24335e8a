// SPDX-License-Identifier: BSL-1.0
// The same payment sent twice, to two servers, and a joiner in each.
// Prints: paid 1 time, replayed, payload mismatch

#include <interlock/memory/client.hpp>
#include <interlock/memory/idempotency_store.hpp>
#include <interlock/store/idempotency_cache.hpp>

#include <cstdio>
#include <string>

namespace memory = interlock::memory;
namespace store = interlock::store;
using interlock::idempotency_outcome;

namespace {

int paid_times = 0;
int pay(const std::string& body) {
  ++paid_times;
  return static_cast<int>(body.size());
}
idempotency_outcome refuse(idempotency_outcome why) {
  return why;
}

idempotency_outcome serve(memory::client engine, const std::string& key, const std::string& body) {
  memory::idempotency_store<int> payments(engine, "payments");
  const auto paid = payments.run(key, interlock::fingerprint_of(body), [&] { return pay(body); });
  if (paid.conflicted()) return refuse(paid.conflict().why);
  return paid->how;
}

// A cache in front: those who repeat a request to this process need no request to the engine.
bool serve_from_memory(memory::client engine) {
  memory::idempotency_store<int> payments(engine, "payments");
  store::idempotency_cache<std::string, decltype(payments)> cache(payments);
  const auto again = cache.run("k1", interlock::fingerprint_of("100 EUR"), [] { return 0; });
  const auto asked = engine.requests();
  const auto once_more = cache.run("k1", interlock::fingerprint_of("100 EUR"), [] { return 0; });
  return again.applied() && once_more->response == again->response && engine.requests() == asked;
}

}  // namespace

int main() {
  memory::client engine;
  const auto first = serve(engine, "k1", "100 EUR");
  const auto second = serve(engine.beside(), "k1", "100 EUR");
  const auto other = serve(engine.beside(), "k1", "900 EUR");
  const bool cached = serve_from_memory(engine.beside());
  std::printf("paid %d time, %s, %s\n", paid_times, to_string(second), to_string(other));
  return first == idempotency_outcome::executed && cached && paid_times == 1 &&
                 second == idempotency_outcome::replayed
             ? 0
             : 1;
}
