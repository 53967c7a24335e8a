// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/idempotency_cache.hpp - joins in the process, exact among processes.
//
// Problem     A store of keys costs a request for each repetition, and the callers of one process
//             that repeat a request at once all go and ask. A cache alone knows one process.
// Guarantee   Of the callers of a key that overlap in a process one asks the engine. A repetition
//             of what this process has answered needs no request. Of the callers of a key in all
//             processes one executes.
// Outcomes    Those of the store in it; `how` says joined where another call of this process asked.
// Durability  That of the store in it. What is in memory is a copy.
// Progress    As both: joiners block while one runs, or asks.
// Cost        A hit: that of interlock::idempotency_cache. A miss: that of the store.
// Lifetime    The cache outlives its calls. It keeps the client.
// Not for     Answers that change: a copy is given as long as its ttl, 10 minutes unless said.
//
// Example     // examples/engines/store_idempotency.cpp
//             memory::idempotency_store<int> payments(engine, "payments");
//             store::idempotency_cache<std::string, decltype(payments)> cache(payments);
//             const auto again = cache.run("k1", interlock::fingerprint_of("100 EUR"), [] {
//               return 0;
//             });

#include <chrono>
#include <exception>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "../idempotency_cache.hpp"
#include "codec.hpp"
#include "idempotency_options.hpp"
#include "outcome.hpp"

namespace interlock::store {

// Store: a basic_idempotency_store, or what has its run().
template <encodable Key, class Store>
class idempotency_cache {
  using response = typename Store::response_type;
  struct kept {
    response value;
    std::uint64_t attempt;
  };
  using memory = interlock::idempotency_cache<Key, kept>;

public:
  using answer = idempotent_answer<response>;
  using result = outcome<answer, idempotency_conflict>;
  using options = typename memory::options;

  explicit idempotency_cache(Store store) : idempotency_cache(std::move(store), usual()) {}
  // Whatever is_final_failure says of it, what the store answered instead of an answer is not kept.
  // Throws: as interlock::idempotency_cache for options that do not fit each other;
  //         std::invalid_argument for a lease, which the store has for all processes.
  idempotency_cache(Store store, options how)
      : store_(std::move(store)), here_(in_front(std::move(how))) {}
  idempotency_cache(const idempotency_cache&) = delete;
  idempotency_cache& operator=(const idempotency_cache&) = delete;

  // Effects: executes f, unless the key has an answer here or in the store, or is being run.
  // Returns: the answer; what the store said, to its caller and to those who joined him.
  // Throws: what f threw, to its caller and to those who joined him; the key is free then.
  template <class F>
  result run(const Key& key, fingerprint payload, F&& f) {
    idempotency_outcome how = idempotency_outcome::replayed;
    try {
      const auto got = here_.run(key, payload, [&]() -> kept {
        result said = store_.run(codec<Key>::encode(key), payload, f);
        if (!said) throw no_answer{std::move(said)};
        how = said->how;
        return {std::move(said->response), said->attempt};
      });
      if (!got) return refused(got.outcome);
      if (got.outcome == idempotency_outcome::joined) how = got.outcome;
      return answer{got->value, how, got->attempt};
    } catch (const no_answer& why) {
      return why.said;
    }
  }

  // Effects: forgets what is here of the key; the store keeps its answer.
  void evict(const Key& key) { here_.evict(key); }
  [[nodiscard]] const Store& store() const noexcept { return store_; }

private:
  struct no_answer {
    result said;
  };
  static options usual() {
    options how;
    how.ttl = how.failure_ttl = std::chrono::minutes(10);
    return how;
  }
  static options in_front(options how) {
    if (how.lease != how.lease.zero()) {
      throw std::invalid_argument(
          "interlock::store::idempotency_cache: give the store the lease "
          "(idempotency_options::lease), and the cache in front of it none");
    }
    if (how.is_final_failure) {
      how.is_final_failure = [users =
                                  std::move(how.is_final_failure)](const std::exception_ptr& why) {
        return !is_no_answer(why) && users(why);
      };
    }
    return how;
  }
  static bool is_no_answer(const std::exception_ptr& thrown) {
    try {
      std::rethrow_exception(thrown);
    } catch (const no_answer&) {
      return true;
    } catch (...) {
      return false;
    }
  }
  static result refused(idempotency_outcome why) {
    if (why == idempotency_outcome::payload_mismatch) {
      return conflicting{idempotency_conflict{why, {}}};
    }
    std::string detail = "the cache in front answered: ";
    detail += to_string(why);
    return refusal({errc::bad_argument, "store", "idempotency_cache.run", "", std::move(detail),
                    "see interlock::idempotency_outcome"});
  }

  Store store_;
  memory here_;
};

}  // namespace interlock::store
