// SPDX-License-Identifier: BSL-1.0
#pragma once

// One of each kind of write of an engine's client, on objects that are as each needs them.

#include <interlock/store/protocol.hpp>

#include <chrono>
#include <cstdint>
#include <string>

#include "support/catch.hpp"

template <class Client>
class every_write {
public:
  using object = typename Client::object;
  using object_kind = interlock::store::object_kind;

  explicit every_write(const Client& of) : client(of) {
    REQUIRE(client.bounded_open(stock, {5, 0, 10}, {}).applied());
    grant_ = client.lease_acquire(mutex, me, minute, {})->fence;
    REQUIRE(client.fenced_open(fenced, grant_, me, {}).applied());
    claim_ = client.idempotency_claim(keys, "claimed", print, me, minute, {})->attempt;
    REQUIRE(client.queue_push(queue, "taken", "p", {}).applied());
    item_ = client.queue_take(queue, me, minute, 9, {})->attempt;
    REQUIRE(client.queue_push(queue, "waits", "p", {}).applied());
  }

  // Effects: calls note(NAME, outcome) for each, under an id of its own that follows from `id`, if
  //          that is one.
  template <class Note>
  void ask(const interlock::store::operation_id& id, Note note) {
    auto call = [next = id]() mutable -> interlock::store::call_options {
      if (next) ++next.session.low;
      return {.id = next};
    };
    const auto now = client.cell_load(other, {});  // not every server tells it
    const interlock::store::cell_check<object> checks[] = {{&other, now ? now->version : 0}};
    const interlock::store::cell_write<object> cells[] = {{&other, "x"}};
    note("counter.add", client.counter_add(count, 1, call()));
    note("bounded_counter.add", client.bounded_add(stock, -1, call()));
    note("versioned.store", client.cell_put(cell, {}, "x", call()));
    note("versioned.commit", client.cells_commit(checks, cells, call()));
    note("mutex.lock", client.lease_acquire(free, me, minute, call()));
    note("mutex.renew", client.lease_renew(mutex, me, grant_, minute, call()));
    note("fenced.write", client.fenced_write(fenced, grant_, me, "x", call()));
    note("idempotency_store.claim",
         client.idempotency_claim(keys, "new", print, me, minute, call()));
    note("idempotency_store.heartbeat",
         client.idempotency_heartbeat(keys, "claimed", me, claim_, minute, call()));
    note("idempotency_store.complete",
         client.idempotency_complete(keys, "claimed", me, claim_, "x", minute, call()));
    note("serial_queue.push", client.queue_push(queue, "k", "p", call()));
    note("serial_queue.take", client.queue_take(queue, me, minute, 9, call()));
    note("serial_queue.heartbeat",
         client.queue_heartbeat(queue, "taken", me, item_, minute, call()));
    note("serial_queue.finish", client.queue_finish(queue, "taken", me, item_, call()));
    note("mirror_target.put", client.mirror_put(mirror, "k", {1, 1}, "x", call()));
    note("mutex.unlock", client.lease_release(mutex, me, grant_, call()));
  }

  [[nodiscard]] std::uint64_t grant() const noexcept { return grant_; }

  Client client;
  const object count = named(object_kind::counter, "count"),
               stock = named(object_kind::bounded_counter, "stock"),
               cell = named(object_kind::cell, "cell"), other = named(object_kind::cell, "other"),
               mutex = named(object_kind::mutex, "mutex"), free = named(object_kind::mutex, "free"),
               fenced = named(object_kind::fenced, "fenced"),
               keys = named(object_kind::idempotency, "keys"),
               queue = named(object_kind::queue, "queue"),
               mirror = named(object_kind::mirror, "mirror");
  const interlock::store::unique_id me = interlock::store::unique_id::fresh();

private:
  static constexpr std::chrono::minutes minute{1};
  static constexpr interlock::fingerprint print{1};

  [[nodiscard]] object named(object_kind kind, const char* name) const {
    return client.object_named(kind, name);
  }

  std::uint64_t grant_ = 0, claim_ = 0, item_ = 0;
};
