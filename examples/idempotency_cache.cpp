// SPDX-License-Identifier: BSL-1.0
// POST /payments with an Idempotency-Key: four sends of one payment, one charge, four equal
// answers.

#include <interlock/idempotency_cache.hpp>

#include <array>
#include <atomic>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using interlock::fingerprint_of;
using interlock::idempotency_cache;
using interlock::idempotency_outcome;

namespace {

struct receipt {
  int number;
  std::string text;
};

struct http_response {
  int status;
  std::string body;
  bool replayed;  // Idempotent-Replayed: true
};

idempotency_cache<std::string, receipt> payments;

std::atomic<int> charges{0};

receipt pay(const std::string& body) {
  const int number = charges.fetch_add(1, std::memory_order_relaxed) + 1;
  if (body == "amount=0") throw std::invalid_argument("nothing to charge");
  std::this_thread::yield();  // the call to the bank
  return {number, "charged: " + body};
}

http_response refuse(idempotency_outcome outcome) {
  switch (outcome) {
    case idempotency_outcome::payload_mismatch:
      return {422, "this key was used for another payment", false};
    case idempotency_outcome::in_flight:
    case idempotency_outcome::reentered:
      return {409, "this payment is being made; retry later", false};
    default:
      return {503, "too many payments in flight; retry later", false};
  }
}

http_response reply(const receipt& paid, bool replayed) {
  return {201, paid.text, replayed};
}

http_response post_payment(const std::string& key, const std::string& body) {
  if (key.empty()) return {400, "send an Idempotency-Key", false};
  const auto got = payments.run(key, fingerprint_of(body), [&] { return pay(body); });
  if (!got) return refuse(got.outcome);
  return reply(*got, got.outcome == idempotency_outcome::replayed);
}

// The owner's part alone: the answer comes from a callback of the bank's client.
template <class Callback>
void ask_bank(Callback done) {
  std::thread([done = std::move(done)]() mutable {
    done(receipt{100, "from the callback"});
  }).join();
}

bool pay_by_callback(const std::string& key) {
  auto claimed = payments.try_claim(key, fingerprint_of("callback"));
  if (!claimed.owner) return false;
  ask_bank([ticket = std::move(claimed.owner)](receipt paid) mutable { ticket.complete(paid); });
  return true;
}

}  // namespace

int main() {
  std::array<http_response, 4> got;
  std::vector<std::thread> clients;
  for (http_response& each : got) {
    clients.emplace_back([&each] { each = post_payment("7f3c", "amount=80"); });
  }
  for (std::thread& each : clients) each.join();
  bool right = charges.load() == 1;
  for (const http_response& each : got)
    right = right && each.status == 201 && each.body == got[0].body;
  std::printf("4 sends, %d charge: %s\n", charges.load(), got[0].body.c_str());

  const http_response again = post_payment("7f3c", "amount=80");
  const http_response other = post_payment("7f3c", "amount=90");
  right = right && again.replayed && other.status == 422 && post_payment("", "x").status == 400;
  std::printf("repeated: %d, other payload: %d\n", again.status, other.status);

  bool thrown = false;
  try {
    post_payment("a0b1", "amount=0");
  } catch (const std::invalid_argument&) {
    thrown = true;  // retryable by default: nothing is kept
  }
  right = right && thrown && post_payment("a0b1", "amount=10").status == 201;

  right = right && pay_by_callback("c2d3") && !pay_by_callback("c2d3");
  std::printf("%zu answers kept\n", payments.size_approx());
  return right && payments.size_approx() == 3 ? 0 : 1;
}
