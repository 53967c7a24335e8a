// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/protocol.hpp - what an engine does, one round trip each; the types stand on it.
//
// sqlite::client, redis::client, postgres::client and memory::client are engines. The types of
// store/ (basic_counter and so on) say what they need of one through these functions and nothing
// else, so an engine of your own gets all of them: give it these functions and run the conformance
// suite on it. A client is a cheap handle: copies share connections; each function may be called
// from any thread; none throws but std::bad_alloc.
//
// Rules for every function
//   - It answers within the call's timeout (or the client's), waits for a connection included.
//   - A request that was not sent, or that the engine says it did not do, is refused. One that was
//     sent and not answered is unknown, with the call's id. A read is refused, never unknown.
//   - With an operation id, the answer is kept with the object and the session, in the same atomic
//     step as the effect: see operation_id.hpp. What conflicts or is refused is not kept.
//   - Time is the engine's own clock; no client's clock is sent.
//   - Names and keys are 1 to 512 bytes, any of them; values up to the client's limit.
//   - Kinds are spaces of their own: a counter and a cell may bear the same name.

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../idempotency_outcome.hpp"
#include "../mirror_version.hpp"
#include "call_options.hpp"
#include "client_options.hpp"
#include "guarantees.hpp"
#include "outcome.hpp"

namespace interlock::store {

inline constexpr std::size_t max_name_bytes = 512;

enum class object_kind : std::uint8_t {
  counter, bounded_counter, cell, mutex, fenced, idempotency, queue, mirror
};

// Returns: the kind's name, such as "bounded_counter"; what errors begin with.
constexpr const char* to_string(object_kind kind) noexcept {
  switch (kind) {
    case object_kind::counter: return "counter";
    case object_kind::bounded_counter: return "bounded_counter";
    case object_kind::cell: return "versioned";
    case object_kind::mutex: return "mutex";
    case object_kind::fenced: return "fenced";
    case object_kind::idempotency: return "idempotency_store";
    case object_kind::queue: return "serial_queue";
    case object_kind::mirror: return "mirror_target";
  }
  return "no object_kind";
}

// A bounded counter as it is. `low` and `high` are kept with it: who opens it with other bounds is
// refused with wrong_kind.
struct bounded_state {
  std::int64_t value = 0;
  std::int64_t low = 0;
  std::int64_t high = 0;
};

// A cell as it is. Version 0: it never was. No bytes and another version: it was erased. A version
// is never used twice under one name, nor by two names of one client.
struct cell_state {
  std::uint64_t version = 0;
  std::optional<std::string> bytes{};

  friend bool operator==(const cell_state&, const cell_state&) = default;
};

template <class Object>
struct cell_check {
  const Object* cell = nullptr;
  std::uint64_t version = 0;
};
template <class Object>
struct cell_write {
  const Object* cell = nullptr;
  std::optional<std::string_view> bytes;  // none: erase
};
struct cell_conflict {
  std::size_t index = 0;  // of the check that failed
  cell_state now;
};

// A lease that was given. Its fence is larger than every fence given before under that name.
struct lease_grant {
  std::uint64_t fence = 0;
};
struct lease_busy {
  std::chrono::milliseconds remaining{0};  // of the holder's lease, unless he renews it
};

// A fenced resource as it was opened.
struct fenced_state {
  std::optional<std::string> bytes{};  // none: never written
};
struct stale_fence {
  std::uint64_t watermark = 0;  // the largest fence that opened it
};

struct idempotency_claim {
  enum class state : std::uint8_t {
    claimed,   // run it: `attempt` is yours
    done,      // it ran: `response`
    busy,      // another runs it: `remaining` of its lease
    mismatch   // the key is known with another fingerprint
  };
  state what = state::claimed;
  std::uint64_t attempt = 0;
  std::string response{};
  std::chrono::milliseconds remaining{0};
};

struct queue_item {
  std::string key;
  std::uint64_t sequence = 0;  // of the item in its key: 1, 2, 3 ...
  std::uint64_t attempt = 0;   // larger with every take of that key: the fence of this one
  std::uint64_t tries = 0;     // how often this item was taken
  std::string payload;
};
struct queue_idle {
  // Until something may be due that is not now: a lease that ends, a delay that passes. None: only
  // a
  // push brings more.
  std::optional<std::chrono::milliseconds> next{};
};
struct queue_depth {
  std::uint64_t waiting = 0;    // items, those taken included
  std::uint64_t taken = 0;      // keys that are worked on
  std::uint64_t set_aside = 0;  // items that failed too often
};

// What a mirror target holds for a key. No bytes: deleted, and its version is kept.
struct mirror_row {
  std::optional<mirror_version> version{};  // none: it never was
  std::optional<std::string> bytes{};
};

// What an engine's client is. `e` may be used by many threads at once.
template <class E>
concept engine =
    std::copyable<E> &&
    requires(E& e, const typename E::object& object,
             std::span<const typename E::object* const> objects,
             std::span<const cell_check<typename E::object>> checks,
             std::span<const cell_write<typename E::object>> writes, std::string_view text,
             std::optional<std::string_view> bytes, std::optional<std::uint64_t> expected,
             std::int64_t amount, std::uint64_t number, const unique_id& owner, fingerprint print,
             std::chrono::milliseconds time, mirror_version version, const call_options& call) {
      // What it can promise at best, what this server promises, which data set it is.
      { E::claims } -> std::convertible_to<guarantees>;
      { E::engine_name } -> std::convertible_to<const char*>;  // "redis"
      { e.probed() } -> std::convertible_to<probed_guarantees>;
      { e.incarnation() } -> std::convertible_to<std::string>;
      { e.options() } -> std::convertible_to<const client_options&>;
      // Throws: failure (bad_argument) for a name that is empty or too long.
      { e.object_named(object_kind{}, text) } -> std::same_as<typename E::object>;
      { object.name() } -> std::convertible_to<std::string_view>;
      // Where awaited calls wait: takes a callable and runs it on a thread of the client.
      e.offload([] {});

      // Counters: signed 64 bits, 0 at first. A sum that would not fit is refused (bad_argument).
      // the new value
      { e.counter_add(object, amount, call) } -> std::same_as<outcome<std::int64_t>>;
      { e.counter_load(object, call) } -> std::same_as<outcome<std::int64_t>>;
      // the old
      { e.counter_exchange(object, amount, call) } -> std::same_as<outcome<std::int64_t>>;

      // Bounded counters. open: makes it with this value and these bounds, or finds it with them.
      // add: the new value; conflict, if that would pass a bound. Not opened: refused (wrong_kind).
      { e.bounded_open(object, bounded_state{}, call) } -> std::same_as<outcome<bounded_state>>;
      { e.bounded_add(object, amount, call) } -> std::same_as<outcome<std::int64_t, bounded_state>>;
      { e.bounded_load(object, call) } -> std::same_as<outcome<bounded_state>>;

      // Cells. put: the new version; with `expected`, only if that is the version (0: never was).
      // No bytes: erases. commit: all writes or none, if every check holds; the version of all of
      // them.
      { e.cell_load(object, call) } -> std::same_as<outcome<cell_state>>;
      // one moment
      { e.cells_load(objects, call) } -> std::same_as<outcome<std::vector<cell_state>>>;
      { e.cell_put(object, expected, bytes, call) }
          -> std::same_as<outcome<std::uint64_t, cell_state>>;
      { e.cells_commit(checks, writes, call) }
          -> std::same_as<outcome<std::uint64_t, cell_conflict>>;

      // Leases. acquire: again by the same owner gives the same fence and a new lease. A lease that
      // has ended may be taken by others; until one does, its owner may renew it. renew and
      // release: conflict, if the lease is not (owner, fence) any more. raise: the fence becomes
      // larger than `number` if it is not, for a holder who found a resource at a higher watermark.
      { e.lease_acquire(object, owner, time, call) }
          -> std::same_as<outcome<lease_grant, lease_busy>>;
      { e.lease_renew(object, owner, number, time, call) } -> std::same_as<outcome<nothing>>;
      { e.lease_release(object, owner, number, call) } -> std::same_as<outcome<nothing>>;
      { e.lease_raise(object, owner, number, number, call) } -> std::same_as<outcome<lease_grant>>;

      // Fenced resources. open: raises the watermark to (fence, owner) and gives the state;
      // conflict if the watermark is larger, or equal with another owner. It does so each time and
      // keeps no answer: an id is not used. write: only under the very pair that opened it last.
      // Writing the same bytes again is harmless.
      { e.fenced_open(object, number, owner, call) }
          -> std::same_as<outcome<fenced_state, stale_fence>>;
      { e.fenced_write(object, number, owner, text, call) }
          -> std::same_as<outcome<nothing, stale_fence>>;

      // Idempotency. claim(store, key, fingerprint, owner, lease): again by the same owner gives
      // the
      // same attempt. complete(store, key, owner, attempt, response, keep), release, heartbeat:
      // conflict if the attempt is not the owner's any more. complete again with success: applied.
      // A released key is free again, whatever the fingerprint, and so is one whose answer was kept
      // for `keep`; its attempts go on counting. One whose lease ended keeps its fingerprint.
      { e.idempotency_claim(object, text, print, owner, time, call) }
          -> std::same_as<outcome<idempotency_claim>>;
      { e.idempotency_complete(object, text, owner, number, text, time, call) }
          -> std::same_as<outcome<nothing>>;
      { e.idempotency_release(object, text, owner, number, call) }
          -> std::same_as<outcome<nothing>>;
      { e.idempotency_heartbeat(object, text, owner, number, time, call) }
          -> std::same_as<outcome<nothing>>;

      // Queues. push(queue, key, payload): the sequence. take(queue, owner, lease, most tries): the
      // oldest item of a key that nobody works on, longest-waiting keys first; an item that was
      // taken
      // `most tries` times is set aside instead, and its key goes on with the next. finish,
      // give_back
      // (after a delay), heartbeat: conflict if the take is not the owner's any more. set_aside: up
      // to n of those. restore: puts one behind its key's items, as if it were new: its sequence.
      { e.queue_push(object, text, text, call) } -> std::same_as<outcome<std::uint64_t>>;
      { e.queue_take(object, owner, time, number, call) }
          -> std::same_as<outcome<queue_item, queue_idle>>;
      { e.queue_finish(object, text, owner, number, call) } -> std::same_as<outcome<nothing>>;
      { e.queue_give_back(object, text, owner, number, time, call) }
          -> std::same_as<outcome<nothing>>;
      { e.queue_heartbeat(object, text, owner, number, time, call) }
          -> std::same_as<outcome<nothing>>;
      { e.queue_set_aside(object, number, call) } -> std::same_as<outcome<std::vector<queue_item>>>;
      { e.queue_restore(object, text, number, call) } -> std::same_as<outcome<std::uint64_t>>;
      { e.queue_depth(object, call) } -> std::same_as<outcome<queue_depth>>;

      // Mirror targets. put(target, key, version, bytes or deletion): conflict with what is there,
      // if
      // its version is not smaller.
      { e.mirror_put(object, text, version, bytes, call) }
          -> std::same_as<outcome<nothing, mirror_row>>;
      { e.mirror_get(object, text, call) } -> std::same_as<outcome<mirror_row>>;
    };

}  // namespace interlock::store
