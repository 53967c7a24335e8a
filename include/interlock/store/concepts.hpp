// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/concepts.hpp - code that works with a type of this process or one of an engine.
//
// The types of a process answer with values, those of engines with outcomes of them. A function
// that is written for one of these concepts takes both, and passes each answer through value_of:
//
//   template <store::counter C>
//   std::int64_t hit(C& hits) { return store::value_of(hits.add(1)); }
//
// For a type of the process value_of is its argument, and nothing else is different: it costs
// nothing. For one of an engine it throws failure where there is no answer.

#include <chrono>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "../idempotency_outcome.hpp"
#include "../mirror_options.hpp"
#include "operation_id.hpp"
#include "outcome.hpp"

namespace interlock::store {

template <class T>
inline constexpr bool is_outcome = false;
template <class T, class Conflict>
inline constexpr bool is_outcome<outcome<T, Conflict>> = true;

// Returns: the answer, whether it comes in an outcome or not. Throws: failure if there is none.
template <class Answer>
constexpr decltype(auto) value_of(Answer&& answer) {
  if constexpr (is_outcome<std::remove_cvref_t<Answer>>) {
    return std::forward<Answer>(answer).value();
  } else {
    return std::forward<Answer>(answer);
  }
}
template <class Answer>
using value_of_t = std::remove_cvref_t<decltype(value_of(std::declval<Answer>()))>;

// A T, or an outcome of one.
template <class Answer, class T>
concept answers = std::convertible_to<value_of_t<Answer>, T>;
// Says whether it was done.
template <class Answer>
concept tells = std::constructible_from<bool, Answer>;

// Counts: what is added is not lost, and each add tells the value that it made.
template <class C>
concept counter = requires(C& c, std::int64_t n) {
  { c.add(n) } -> answers<std::int64_t>;
  { c.sub(n) } -> answers<std::int64_t>;
  { c.load() } -> answers<std::int64_t>;
  { c.exchange(n) } -> answers<std::int64_t>;
};

// Counts between two bounds, and tells whether there was room.
template <class C>
concept bounded_counter = requires(C& c, std::int64_t n) {
  { c.try_add(n) } -> tells;
  { c.try_sub(n) } -> tells;
  { c.load() } -> answers<std::int64_t>;
  { c.min() } -> std::convertible_to<std::int64_t>;
  { c.max() } -> std::convertible_to<std::int64_t>;
};

// A value and its version, replaced by version.
template <class C, class T>
concept versioned_cell = requires(C& c, std::uint64_t version, T value, void (&change)(T&)) {
  value_of(c.load()).value;
  { value_of(c.load()).version } -> std::convertible_to<std::uint64_t>;
  { c.compare_and_set(version, value) } -> tells;
  { c.store(value) } -> answers<std::uint64_t>;
  { c.update(change) } -> answers<std::uint64_t>;
};

// One holder at a time.
template <class M>
concept mutex = requires(M& m) {
  m.lock();
  { m.try_lock() } -> tells;
};

// What a lock over processes gives its holder.
template <class G>
concept fenced_guard = std::movable<G> && requires(G& held) {
  { held.fence() } -> std::convertible_to<std::uint64_t>;
  { held.owner() } -> std::convertible_to<unique_id>;
  { held.lost().stop_requested() } -> std::convertible_to<bool>;
  held.deadline();
  { held.renew() } -> std::same_as<outcome<nothing>>;
  { held.unlock() } -> std::same_as<outcome<nothing>>;
};
// A lock that may end before its holder does.
template <class M>
concept fenced_mutex = mutex<M> && fenced_guard<value_of_t<decltype(std::declval<M&>().lock())>>;

// Refuses who held the lock before the present holder opened it.
template <class R, class T, class Guard>
concept fenced_resource = requires(R& resource, Guard& held, T value) {
  value_of(resource.open(held)).value;
  { resource.write(value_of(resource.open(held)), value) } -> tells;
};

// Runs a request once per key.
template <class S, class R>
concept idempotency_store = requires(S& s, const std::string& key, fingerprint payload, R (&f)()) {
  { s.run(key, payload, f) } -> tells;
};

// Takes work of many keys and has that of a key done in order: items for processes, or functions
// for this one.
template <class Q, class Work>
concept work_queue = requires(Q& q, const std::string& key, Work work) {
  { q.push(key, work) } -> answers<std::uint64_t>;
}
|| requires(Q& q, const std::string& key, Work work) {
  q.post(key, work);
};

// Keeps the newest of what is written: see keyed_mirror.
template <class M, class K, class V, class Version>
concept mirror_target = std::is_invocable_r_v < mirror_write_result,
        M&, const K&, std::optional<V>,
const Version& > ;

}  // namespace interlock::store
