// SPDX-License-Identifier: BSL-1.0
#pragma once

// double_payment on an engine: the sends of one POST may reach different servers.

#include "../../scenarios/double_payment.hpp"
#include "../world.hpp"

namespace lab::double_payment {

template <class E>
struct on {
  using store = typename E::template idempotency_store<std::int64_t>;
  static constexpr auto payload = interlock::fingerprint_of("100 EUR to the shop");

  static tally naive(const settings& set, trace* picture) {
    return double_payment::naive(set, picture);  // the bank is asked, and no engine
  }

  static tally remember_after(const settings& set, trace* picture) {
    stage scene(picture);
    const row<E> remembered(scene, "charge", 0);
    return charge_then_remember(set, scene, remembered);
  }

  // The key is claimed before the work: a duplicate waits for the run and is given its answer.
  static tally idempotency_store(const settings& set, trace* picture) {
    stage scene(picture);
    bank till;
    const store payments(client<E>(), fresh<E>("payments"), {.poll = std::chrono::milliseconds(2)});
    return play(set, scene, till, [&](unsigned lane, network& way) {
      const auto answer =
          payments.run("4711", payload, [&] { return till.charge(scene, lane, way); }).value();
      if (answer.how != interlock::idempotency_outcome::executed) {
        scene.say(lane, "gets the answer of the other run");
      }
      return answer.response;
    });
  }

  // Prices: a payment with a new key: claim, and keep the answer.
  static double idempotency_store_cost(unsigned threads, std::uint64_t operations) {
    const store payments(client<E>(), fresh<E>("payments"));
    std::vector<std::int64_t> next(threads * 16);  // a cache line apart
    return price(threads, operations, [&](unsigned lane) {
      const std::int64_t number = ++next[lane * 16];
      const std::string each = sentence(std::int64_t{lane}, ".", number);
      keep(payments.run(each, payload, [&] { return number; }).value().response);
    });
  }

  static scenario describe() {
    scenario out = told("double_payment");
    out.cure = "idempotency_store";
    out.moral =
        "A duplicate that arrives while the first still runs finds nothing to look up, at this "
        "server or another. The store claims the key before the work, and a duplicate waits for "
        "the run and gets its answer.";
    out.forms = {
        {"naive", "run the handler per request", role::naive, naive, nullptr},
        {"remember-after", "SELECT the key, charge, INSERT the key", role::still_wrong,
         remember_after, nullptr},
        {"idempotency_store", "payments.run(key, payload, charge)", role::fixed, idempotency_store,
         idempotency_store_cost},
    };
    return out;
  }
};

}  // namespace lab::double_payment
