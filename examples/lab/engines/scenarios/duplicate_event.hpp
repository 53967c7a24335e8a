// SPDX-License-Identifier: BSL-1.0
#pragma once

// duplicate_event on an engine: the effect is there, and so has to be what is known of the event.

#include <interlock/store/operation_id.hpp>

#include "../../scenarios/duplicate_event.hpp"
#include "../world.hpp"

namespace lab::duplicate_event {

template <class E>
struct on {
  using counter = typename E::counter;

  // The effects of a round, a counter for each event.
  class effects {
  public:
    explicit effects(const stage& scene) {
      for (std::int64_t id = 0; id < cast_of(scene); ++id) {
        of_.emplace_back(client<E>(), fresh<E>("effect"));
      }
    }
    [[nodiscard]] const counter& of(std::int64_t id) const {
      return of_[static_cast<std::size_t>(id)];
    }
    // Effects: the event takes effect. Blind to the event's id, unless the call bears one.
    void apply(stage& scene, unsigned lane, std::int64_t id,
               const interlock::store::call_options& call = {}) const {
      scene.step(
          lane, [&] { return of(id).add(1, call).value(); },
          [](std::int64_t n) {
            return n == 1 ? line{"the event takes effect"}
                          : line{"it takes effect once more", true};
          });
    }
    [[nodiscard]] tally judge(const stage& scene) const {
      std::int64_t sum = 0;
      std::int64_t wrong = 0;
      for (const counter& each : of_) {
        const std::int64_t had = each.load().value();
        sum += had;
        wrong += std::abs(had - 1);
      }
      return {cast_of(scene), sum, wrong};
    }

  private:
    std::vector<counter> of_;
  };

  static tally naive(const settings& set, trace* picture) {
    stage scene(picture);
    const effects durable(scene);
    return apply_each(set, scene, durable);
  }

  // "Have I seen it? No: process it, then remember it." Two workers ask before either remembers.
  static tally seen_set(const settings& set, trace* picture) {
    stage scene(picture);
    const effects durable(scene);
    std::vector<row<E>> seen;
    for (std::int64_t id = 0; id < cast_of(scene); ++id) seen.emplace_back(scene, "seen", 0);
    deliver(set, scene, 0, [&](unsigned lane, std::int64_t id, network& way) {
      const row<E>& known = seen[static_cast<std::size_t>(id)];
      const std::int64_t before = scene.step(
          lane, [&] { return known.read(); },
          [](std::int64_t was) { return line{was != 0 ? "has seen it" : "has not seen it"}; });
      if (before != 0) return;
      way.travel(60, 160);
      durable.apply(scene, lane, id);
      known.write(1);
    });
    return durable.judge(scene);
  }

  static tally cache_alone(const settings& set, trace* picture) {
    stage scene(picture);
    const effects durable(scene);
    return know_for_a_life(set, scene, durable);
  }

  // The effect bears the event's id, and the engine keeps both in one step.
  static tally operation_id(const settings& set, trace* picture) {
    stage scene(picture);
    const effects durable(scene);
    const auto queue = interlock::store::unique_id::fresh();
    for (std::uint64_t life = 0; life < lives; ++life) {
      restart(scene, life);
      deliver(set, scene, life, [&](unsigned lane, std::int64_t id, network& way) {
        way.travel(60, 160);
        const auto number = static_cast<std::uint64_t>(id);
        durable.apply(scene, lane, id, {.id = {{queue.high, queue.low ^ number}, 1}});
      });
    }
    return durable.judge(scene);
  }

  // Claim of the id, effect and answer in one transaction.
  static tally same_transaction(const settings& set, trace* picture) {
    stage scene(picture);
    const effects durable(scene);
    const typename E::template idempotency_store<std::int64_t> processed(client<E>(),
                                                                         fresh<E>("processed"));
    for (std::uint64_t life = 0; life < lives; ++life) {
      restart(scene, life);
      deliver(set, scene, life, [&](unsigned lane, std::int64_t id, network& way) {
        way.travel(60, 160);
        const auto answer = E::run_in_transaction(client<E>(), processed, std::to_string(id),
                                                  [&](typename E::transaction& t) {
                                                    t.add(durable.of(id), 1);
                                                    return std::int64_t{1};
                                                  });
        if (!answer.conflicted()) static_cast<void>(answer.value());  // another one is at it
        scene.say(lane, "the event has taken effect");
      });
    }
    return durable.judge(scene);
  }

  // Prices: an event that is new.
  static double naive_cost(unsigned threads, std::uint64_t operations) {
    const auto count = counter_at<E>(0, "effect");
    return price(threads, operations, [&](unsigned) { count.add(1).value(); });
  }
  static double operation_id_cost(unsigned threads, std::uint64_t operations) {
    const auto count = counter_at<E>(0, "effect");
    std::vector<interlock::store::operation_session> queue(threads);
    return price(threads, operations,
                 [&](unsigned lane) { count.add(1, {.id = queue[lane].next()}).value(); });
  }

  static scenario describe() {
    scenario out = told("duplicate_event");
    out.cure = "operation ids; idempotency_store in the transaction of the effect";
    out.moral =
        "At-least-once delivery means twice sooner or later, and what a process remembers is gone "
        "with it. What is known of the event has to change in the same step of the engine as what "
        "the event changes.";
    out.forms = {
        {"naive", "process on receipt", role::naive, naive, naive_cost},
        {"seen-set", "if not seen: process, then remember", role::still_wrong, seen_set, nullptr},
        {"cache-alone", "idempotency_cache in memory; the process restarts", role::still_wrong,
         cache_alone, nullptr},
        {"operation-id", "effect.add(1, {.id = the event's})", role::fixed, operation_id,
         operation_id_cost},
    };
    if constexpr (E::sql) {
      out.forms.push_back({"same-transaction", "run_in_transaction: claim the id, apply",
                           role::fixed, same_transaction, nullptr});
    }
    return out;
  }
};

}  // namespace lab::duplicate_event
