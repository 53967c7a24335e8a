// SPDX-License-Identifier: BSL-1.0
#pragma once

// double_payment - the client times out and sends the same POST again, possibly while the first is
// still running.

#include <algorithm>
#include <cstdlib>
#include <interlock/idempotency_cache.hpp>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "../support.hpp"

namespace lab::double_payment {

inline constexpr std::int64_t key = 4711;  // the idempotency key that all sends carry

// The bank charges whenever it is asked to, and answers with the number of the charge.
class bank {
public:
  std::int64_t charge(stage& scene, unsigned lane, network& way) {
    way.travel(60, 200);
    const std::int64_t number = scene.step(
        lane, [&] { return charges_.add(1); },
        [](std::int64_t n) {
          return line{sentence("the bank makes charge no. ", n), n > 1};
        });
    way.travel(20, 60);
    return number;
  }
  [[nodiscard]] std::int64_t charges() const { return charges_.read(); }

private:
  word charges_;
};

// Effects: every send calls pay(lane, way), some 40 microseconds after the one before.
// Returns: what went wrong: charges beyond one, or answers that differ.
template <class Pay>
tally play(const settings& set, stage& scene, const bank& till, Pay pay) {
  const unsigned sends = scene.drawn() ? 2 : std::max(2U, set.threads);
  for (unsigned i = 0; i < sends; ++i) scene.name(i, i == 0 ? "POST" : "the same POST again");
  std::vector<std::int64_t> answer(sends);
  together(sends, [&](unsigned lane) {
    network way(set, lane);
    way.travel(40 * lane, 40 * lane + 20);
    scene.say(lane, "arrives");
    answer[lane] = pay(lane, way);
    scene.say(lane, sentence("is answered: charge no. ", answer[lane]));
  });
  const auto differ =
      std::count_if(answer.begin(), answer.end(), [&](std::int64_t a) { return a != answer[0]; });
  return {1, till.charges(), std::max<std::int64_t>(std::abs(till.charges() - 1), differ)};
}

inline tally naive(const settings& set, trace* picture) {
  stage scene(picture);
  bank till;
  return play(set, scene, till,
              [&](unsigned lane, network& way) { return till.charge(scene, lane, way); });
}

// The key is remembered once the charge is made: too late for a duplicate that came meanwhile.
// `remembered` is 0 as long as the key was never seen.
template <class Row>
tally charge_then_remember(const settings& set, stage& scene, Row& remembered) {
  bank till;
  return play(set, scene, till, [&](unsigned lane, network& way) {
    const std::int64_t before = scene.step(
        lane, [&] { return remembered.read(); },
        [](std::int64_t n) { return line{n == 0 ? "does not know the key" : "knows the key"}; });
    if (before != 0) return before;
    const std::int64_t number = till.charge(scene, lane, way);
    scene.step(
        lane, [&] { return remembered.write(number); },
        [](std::int64_t) { return line{"remembers the key"}; });
    return number;
  });
}

inline tally remember_after(const settings& set, trace* picture) {
  stage scene(picture);
  word remembered;
  return charge_then_remember(set, scene, remembered);
}

// The key is claimed before the work: a duplicate joins the run and is given its answer.
inline tally idempotency_cache(const settings& set, trace* picture) {
  stage scene(picture);
  bank till;
  interlock::idempotency_cache<std::int64_t, std::int64_t> payments({.capacity = 64});
  constexpr auto payload = interlock::fingerprint_of("100 EUR to the shop");
  return play(set, scene, till, [&](unsigned lane, network& way) {
    const auto answer = payments.run(key, payload, [&] { return till.charge(scene, lane, way); });
    using outcome = interlock::idempotency_outcome;
    if (answer.outcome == outcome::joined)
      scene.say(lane, "has joined the run and gets its answer");
    if (answer.outcome == outcome::replayed) scene.say(lane, "gets the answer of the earlier run");
    return answer ? *answer : 0;
  });
}

// Right for one key, and every other payment of the shop waits behind this one.
inline tally mutex(const settings& set, trace* picture) {
  stage scene(picture);
  bank till;
  std::mutex guard;
  std::unordered_map<std::int64_t, std::int64_t> answers;
  return play(set, scene, till, [&](unsigned lane, network& way) {
    const std::lock_guard lock(guard);
    if (const auto found = answers.find(key); found != answers.end()) return found->second;
    return answers[key] = till.charge(scene, lane, way);
  });
}

// Prices: the answer to a duplicate, when the first has long been answered; a thousand keys.
inline constexpr std::int64_t keys = 1000;

inline double idempotency_cache_cost(unsigned threads, std::uint64_t operations) {
  interlock::idempotency_cache<std::int64_t, std::int64_t> answers;
  constexpr auto payload = interlock::fingerprint_of("100 EUR to the shop");
  for (std::int64_t k = 0; k < keys; ++k) answers.run(k, payload, [&] { return k; });
  std::vector<std::int64_t> next(threads * 16);  // a cache line apart
  return price(threads, operations, [&](unsigned lane) {
    const std::int64_t k = ++next[lane * 16] % keys;
    keep(*answers.run(k, payload, [&] { return k; }));
  });
}

inline double mutex_cost(unsigned threads, std::uint64_t operations) {
  std::mutex guard;
  std::unordered_map<std::int64_t, std::int64_t> answers;
  for (std::int64_t k = 0; k < keys; ++k) answers[k] = k;
  std::vector<std::int64_t> next(threads * 16);  // a cache line apart
  return price(threads, operations, [&](unsigned lane) {
    const std::int64_t k = ++next[lane * 16] % keys;
    const std::lock_guard lock(guard);
    keep(answers.find(k)->second);
  });
}

inline scenario describe() {
  return {
      .name = "double_payment",
      .story =
          "The client times out and sends the same POST again, possibly while the first is still "
          "running.",
      .numbers = "N sends of one key: one charge, N equal answers; naive charges N times",
      .unit = "charges beyond one",
      .cure = "idempotency_cache",
      .moral =
          "A duplicate that arrives while the first still runs finds nothing to look up. The "
          "cache claims the key before the work, and a duplicate joins the run and gets its "
          "answer.",
      .forms = {
          {"naive", "run the handler per request", role::naive, naive, nullptr},
          {"remember-after", "look the key up, charge, remember the key",
           role::still_wrong, remember_after, nullptr},
          {"idempotency_cache", "cache.run(key, payload, charge)",
           role::fixed, idempotency_cache, idempotency_cache_cost},
          {"mutex", "one lock around look-up and charge", role::plain, mutex, mutex_cost},
      },
  };
}

}  // namespace lab::double_payment
