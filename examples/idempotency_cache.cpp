// SPDX-License-Identifier: BSL-1.0
// POST /payments with an Idempotency-Key: four sends of one payment, one charge, four equal
// answers. Then a bank transfer whose worker is lost in the middle: in doubt, asked about, settled.

#include <interlock/idempotency_cache.hpp>
#include <interlock/task.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using interlock::fingerprint_of;
using interlock::idempotency_cache;
using interlock::idempotency_news;
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
    case idempotency_outcome::lost_ownership:
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

// For a client that would rather hear 409 than wait.
http_response post_impatiently(const std::string& key, const std::string& body) {
  const auto got = payments.try_run(key, fingerprint_of(body), [&] { return pay(body); });
  if (!got) return refuse(got.outcome);
  return reply(*got, got.outcome == idempotency_outcome::replayed);
}

bool is_told_409_meanwhile() {
  int status = 0;
  payments.run("b8f9", fingerprint_of("amount=20"), [&] {
    std::thread([&] { status = post_impatiently("b8f9", "amount=20").status; }).join();
    return pay("amount=20");
  });
  return status == 409;
}

// A coroutine suspends while another call makes its payment.
interlock::task<http_response> serve(std::string key, std::string body) {
  const auto ask = [&]() -> interlock::task<receipt> { co_return pay(body); };
  const auto got = co_await payments.async_run(key, fingerprint_of(body), ask);
  if (!got) co_return refuse(got.outcome);
  co_return reply(*got, got.outcome == idempotency_outcome::replayed);
}

// GET /payments: the answer is read where it is.
int number_of(const std::string& key, const std::string& body) {
  int number = 0;
  payments.visit(key, fingerprint_of(body), [&](const receipt& paid) { number = paid.number; });
  return number;
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

// Transfers must not be made twice even if the worker that makes one hangs or dies.
class transfers {
public:
  // A worker that is lost after the money went out: nobody knows, so nobody tries again.
  bool lose_worker(const std::string& key) {
    auto claimed = made_.try_claim(key, order_);
    return claimed.owner && claimed.owner.begin_effect();
  }
  idempotency_outcome send(const std::string& key) {
    return made_.run(key, order_, [] { return receipt{1, "transferred"}; }).outcome;
  }
  // Asks the bank about each, and says what it says.
  void clear_up() {
    for (const std::string& key : std::exchange(unclear, {})) {
      auto claimed = made_.claim_in_doubt(key, order_);
      if (claimed.owner) claimed.owner.complete({2, "the bank has it"});
    }
  }
  void print() const {
    const auto counted = made_.statistics();
    std::printf("transfers: %d made or found, %d times in doubt, %d replayed\n",
                static_cast<int>(counted.executed), static_cast<int>(counted.in_doubt),
                static_cast<int>(counted.replayed));
  }

  std::vector<std::string> unclear;

private:
  using cache = idempotency_cache<std::string, receipt>;
  cache::options options() {
    cache::options how;
    how.lease = std::chrono::seconds(30);
    how.on_event = [this](const interlock::idempotency_event<std::string>& event) {
      if (event.what == idempotency_news::left_in_doubt) unclear.push_back(*event.key);
    };
    return how;
  }

  const interlock::fingerprint order_ = fingerprint_of("amount=1000");
  cache made_{options()};
};

bool clears_up_after_a_lost_worker() {
  transfers bank;
  bool right = bank.lose_worker("t1");
  right = right && bank.send("t1") == idempotency_outcome::in_doubt;
  right = right && bank.unclear.size() == 1;
  bank.clear_up();
  right = right && bank.send("t1") == idempotency_outcome::replayed;
  bank.print();
  return right;
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

  right = right && is_told_409_meanwhile();
  right = right && interlock::sync_wait(serve("e4f5", "amount=30")).status == 201;
  right = right && interlock::sync_wait(serve("e4f5", "amount=30")).replayed;
  right = right && number_of("e4f5", "amount=30") != 0 && number_of("none", "amount=30") == 0;
  right = clears_up_after_a_lost_worker() && right;
  std::printf("%zu answers kept\n", payments.size_approx());
  return right && payments.size_approx() == 5 ? 0 : 1;
}
