// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/client.hpp - a file that processes of one machine share: all types, one engine.
//
// Problem     Processes on one machine count, lock and hand over work, and it must be there after a
//             crash. An SQLite file does that without a server, if each read and its write are one
//             immediate transaction, locks are waited for, and the settings promise it.
// Guarantee   A writer that is killed loses no acknowledged write of SQLite.
//             What the settings of a file take away is not promised by its client.
//             Two processes on one SQLite file lose no update of one another.
// Outcomes    refused: another process held the file until the deadline (busy), the disk is full,
//             the file may not be written; nothing was done. unknown: the system failed while it
//             committed (an input or output error; with a journal mode of persist, memory or
//             off, a full disk): ask again under the call's operation id.
// Durability  As probed() says. By default (WAL, synchronous FULL, a local disk) what was applied
//             survives a power loss. A file that is replaced under a client is noticed within a
//             second: until then, writes go to the old one.
// Progress    Writers of a client come in turn; one waits for other processes by sleeping a few
//             milliseconds at a time, until its deadline. Readers wait for nobody in WAL mode.
// Cost        One statement of SQLite's, two locks of a mutex, a look at the clock. Durable: a
//             flush of the disk with each write.
// Lifetime    A handle: copies share the connections, the last one closes them. In a child of
//             fork() each call is refused, and so is a client of its own on a file that the parent
//             had open: close before fork(), or exec a program in the child.
// Not for     Several machines on one file: locks of network file systems are not to be trusted.
//
// Example     sqlite::client db(path);  // examples/engines/sqlite_client.cpp
//             const auto hits = db.object_named(store::object_kind::counter, "hits");
//             const store::outcome<std::int64_t> now = db.counter_add(hits, 5, {});

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../store/protocol.hpp"
#include "detail/answers.hpp"
#include "detail/cells.hpp"
#include "detail/claims.hpp"
#include "detail/counters.hpp"
#include "detail/database.hpp"
#include "detail/leases.hpp"
#include "detail/mirrors.hpp"
#include "detail/queues.hpp"
#include "settings.hpp"

namespace interlock::sqlite {

namespace detail {
struct client_access;  // of transactions
}

class client {
  using ms = std::chrono::milliseconds;
  using call_options = store::call_options;
  using unique_id = store::unique_id;
  using nothing = store::nothing;
  using text = std::string_view;
  using bytes_or_none = std::optional<text>;
  template <class T, class C = nothing>
  using outcome = store::outcome<T, C>;
  using connection = detail::connection;
  using request = detail::request;
  using scope = detail::transaction_scope;

public:
  using object = detail::object;
  static constexpr const char* engine_name = "sqlite";
  static constexpr store::guarantees claims = detail::best;

  // Effects: opens the file, or creates it, and makes its tables if they are not there. A path, a
  //          "file:" URI, or ":memory:" for data that this client and its copies alone see.
  // Throws: store::failure, with what to do.
  explicit client(std::string path, store::client_options options = {}, settings how = {})
      : db_(std::make_shared<detail::database>(std::move(path), std::move(options),
                                               std::move(how))) {}

  // Returns: what this file, under these settings, promises.
  [[nodiscard]] const store::probed_guarantees& probed() const noexcept { return db_->probed(); }
  [[nodiscard]] const store::client_options& options() const noexcept { return db_->options(); }
  // Returns: which data set it is: made once with the tables.
  [[nodiscard]] std::string incarnation() const { return db_->incarnation(); }
  // Effects: works on with a file that took the place of the one that was opened.
  // Throws: store::failure; bad_argument inside a transaction of this thread.
  void accept_history() { db_->accept_history(); }
  // Effects: calls are refused from now on, in all copies; the connections are closed, after the
  //          transaction if this thread is inside one.
  void close() noexcept { db_->close(); }

  // Throws: store::failure for a name that is empty or longer than 512 bytes.
  [[nodiscard]] object object_named(store::object_kind kind, text name) const {
    store::detail::require_none(store::detail::bad_name(engine_name, store::to_string(kind), name));
    return {kind, name};
  }
  template <class F>
  void offload(F&& f) {
    db_->offload(std::forward<F>(f));
  }

  outcome<std::int64_t> counter_add(const object& of, std::int64_t amount,
                                    const call_options& call) {
    const request by{"counter.add", of.name(), of.kind(), call};
    const auto body = [&](connection& on) { return detail::add_to_counter(on, by, amount); };
    return call.id ? once<outcome<std::int64_t>>(by, body)
                   : db_->alone<outcome<std::int64_t>>(by, body);
  }
  outcome<std::int64_t> counter_load(const object& of, const call_options& call) {
    const request by{"counter.load", of.name(), of.kind(), call};
    return db_->read<outcome<std::int64_t>>(
        by, [&](connection& on) { return detail::load_counter(on, by); });
  }
  outcome<std::int64_t> counter_exchange(const object& of, std::int64_t value,
                                         const call_options& call) {
    const request by{"counter.exchange", of.name(), of.kind(), call};
    return once<outcome<std::int64_t>>(
        by, [&](connection& on) { return detail::exchange_counter(on, by, value); });
  }

  outcome<store::bounded_state> bounded_open(const object& of, store::bounded_state wanted,
                                             const call_options& call) {
    const request by{"bounded_counter.open", of.name(), of.kind(), call};
    return once<outcome<store::bounded_state>>(
        by, [&](connection& on) { return detail::open_bounded(on, by, wanted); });
  }
  outcome<std::int64_t, store::bounded_state> bounded_add(const object& of, std::int64_t amount,
                                                          const call_options& call) {
    const request by{"bounded_counter.add", of.name(), of.kind(), call};
    const auto body = [&](connection& on) { return detail::add_to_bounded(on, by, amount); };
    if (call.id) return once<detail::bounded_outcome>(by, body);
    const detail::call_deadline limit(call, options().timeout);
    using tried = outcome<std::optional<std::int64_t>>;
    tried first = db_->alone<tried>(
        by, [&](connection& on) -> tried { return detail::try_add_to_bounded(on, by, amount); });
    if (!first) return std::move(first).without_answer<std::int64_t, store::bounded_state>();
    if (*first) return **first;
    const call_options rest = limit.rest();
    return once<detail::bounded_outcome>({by.operation, by.name, by.kind, rest}, body);
  }
  outcome<store::bounded_state> bounded_load(const object& of, const call_options& call) {
    const request by{"bounded_counter.load", of.name(), of.kind(), call};
    return db_->read<outcome<store::bounded_state>>(
        by, [&](connection& on) { return detail::load_bounded(on, by); });
  }

  outcome<store::cell_state> cell_load(const object& of, const call_options& call) {
    const request by{"versioned.load", of.name(), of.kind(), call};
    using found = outcome<store::cell_state>;
    return db_->read<found>(
        by, [&](connection& on) -> found { return detail::find_cell(on, by.name); });
  }
  outcome<std::vector<store::cell_state>> cells_load(std::span<const object* const> objects,
                                                     const call_options& call);
  outcome<std::uint64_t, store::cell_state> cell_put(const object& of,
                                                     std::optional<std::uint64_t> expected,
                                                     bytes_or_none bytes,
                                                     const call_options& call) {
    const request by{"versioned.put", of.name(), of.kind(), call};
    return once<detail::put_outcome>(by, [&](connection& on) {
      require_fits(by, bytes);
      return detail::put_cell(on, by, expected, bytes);
    });
  }
  outcome<std::uint64_t, store::cell_conflict> cells_commit(
      std::span<const store::cell_check<object>> checks,
      std::span<const store::cell_write<object>> writes, const call_options& call);

  outcome<store::lease_grant, store::lease_busy> lease_acquire(const object& of,
                                                               const unique_id& owner, ms lease,
                                                               const call_options& call) {
    const request by{"mutex.acquire", of.name(), of.kind(), call};
    return once<detail::lease_outcome>(by, [&](connection& on) {
      return detail::acquire_lease(on, by, detail::id_bytes(owner), lease, db_->now());
    });
  }
  outcome<nothing> lease_renew(const object& of, const unique_id& owner, std::uint64_t fence,
                               ms lease, const call_options& call) {
    const request by{"mutex.renew", of.name(), of.kind(), call};
    return once<detail::plain_outcome>(by, [&](connection& on) {
      return detail::renew_lease(on, by, detail::id_bytes(owner), fence, lease, db_->now());
    });
  }
  outcome<nothing> lease_release(const object& of, const unique_id& owner, std::uint64_t fence,
                                 const call_options& call) {
    const request by{"mutex.release", of.name(), of.kind(), call};
    return once<detail::plain_outcome>(by, [&](connection& on) {
      return detail::release_lease(on, by, detail::id_bytes(owner), fence);
    });
  }
  outcome<store::lease_grant> lease_raise(const object& of, const unique_id& owner,
                                          std::uint64_t fence, std::uint64_t above,
                                          const call_options& call) {
    const request by{"mutex.raise", of.name(), of.kind(), call};
    return once<outcome<store::lease_grant>>(by, [&](connection& on) {
      return detail::raise_lease(on, by, detail::id_bytes(owner), fence, above);
    });
  }

  outcome<store::fenced_state, store::stale_fence> fenced_open(const object& of,
                                                               std::uint64_t fence,
                                                               const unique_id& owner,
                                                               const call_options& call) {
    const call_options each{{}, call.timeout};  // what is kept opens nothing
    const request by{"fenced.open", of.name(), of.kind(), each};
    return db_->write<detail::open_outcome>(by, [&](connection& on, scope&) {
      return detail::open_fenced(on, by, fence, detail::id_bytes(owner));
    });
  }
  outcome<nothing, store::stale_fence> fenced_write(const object& of, std::uint64_t fence,
                                                    const unique_id& owner, text bytes,
                                                    const call_options& call) {
    const request by{"fenced.write", of.name(), of.kind(), call};
    return once<detail::fenced_outcome>(by, [&](connection& on) {
      require_fits(by, bytes);
      return detail::write_fenced(on, by, fence, detail::id_bytes(owner), bytes);
    });
  }

  outcome<store::idempotency_claim> idempotency_claim(const object& of, text key, fingerprint print,
                                                      const unique_id& owner, ms lease,
                                                      const call_options& call) {
    const request by{"idempotency_store.claim", of.name(), of.kind(), call, key};
    return once<detail::claim_outcome>(by, [&](connection& on) {
      return detail::claim_key(on, by, print, detail::id_bytes(owner), lease, db_->now(),
                               db_->options().retention);
    });
  }
  outcome<nothing> idempotency_complete(const object& of, text key, const unique_id& owner,
                                        std::uint64_t attempt, text response, ms keep,
                                        const call_options& call) {
    const request by{"idempotency_store.complete", of.name(), of.kind(), call, key};
    return once<detail::plain_outcome>(by, [&](connection& on) {
      require_fits(by, response);
      return detail::complete_claim(on, by, detail::id_bytes(owner), attempt, response, keep,
                                    db_->now());
    });
  }
  outcome<nothing> idempotency_release(const object& of, text key, const unique_id& owner,
                                       std::uint64_t attempt, const call_options& call) {
    const request by{"idempotency_store.release", of.name(), of.kind(), call, key};
    return once<detail::plain_outcome>(by, [&](connection& on) {
      return detail::release_claim(on, by, detail::id_bytes(owner), attempt, db_->now());
    });
  }
  outcome<nothing> idempotency_heartbeat(const object& of, text key, const unique_id& owner,
                                         std::uint64_t attempt, ms lease,
                                         const call_options& call) {
    const request by{"idempotency_store.heartbeat", of.name(), of.kind(), call, key};
    return once<detail::plain_outcome>(by, [&](connection& on) {
      return detail::keep_claim(on, by, detail::id_bytes(owner), attempt, lease, db_->now());
    });
  }

  outcome<std::uint64_t> queue_push(const object& of, text key, text payload,
                                    const call_options& call) {
    const request by{"serial_queue.push", of.name(), of.kind(), call, key};
    return once<detail::push_outcome>(by, [&](connection& on) {
      require_fits(by, payload);
      return detail::push_item(on, by, payload);
    });
  }
  outcome<store::queue_item, store::queue_idle> queue_take(const object& of, const unique_id& owner,
                                                           ms lease, std::uint64_t most_tries,
                                                           const call_options& call);
  outcome<nothing> queue_finish(const object& of, text key, const unique_id& owner,
                                std::uint64_t attempt, const call_options& call) {
    const request by{"serial_queue.finish", of.name(), of.kind(), call, key};
    return once<detail::plain_outcome>(by, [&](connection& on) {
      return detail::finish_item(on, by, detail::id_bytes(owner), attempt);
    });
  }
  outcome<nothing> queue_give_back(const object& of, text key, const unique_id& owner,
                                   std::uint64_t attempt, ms delay, const call_options& call) {
    const request by{"serial_queue.give_back", of.name(), of.kind(), call, key};
    return once<detail::plain_outcome>(by, [&](connection& on) {
      return detail::give_back_item(on, by, detail::id_bytes(owner), attempt, delay, db_->now());
    });
  }
  outcome<nothing> queue_heartbeat(const object& of, text key, const unique_id& owner,
                                   std::uint64_t attempt, ms lease, const call_options& call) {
    const request by{"serial_queue.heartbeat", of.name(), of.kind(), call, key};
    return once<detail::plain_outcome>(by, [&](connection& on) {
      return detail::keep_item(on, by, detail::id_bytes(owner), attempt, lease, db_->now());
    });
  }
  outcome<std::vector<store::queue_item>> queue_set_aside(const object& of, std::uint64_t most,
                                                          const call_options& call) {
    const request by{"serial_queue.set_aside", of.name(), of.kind(), call};
    return db_->read<outcome<std::vector<store::queue_item>>>(
        by, [&](connection& on) { return detail::list_aside(on, by, most); });
  }
  outcome<std::uint64_t> queue_restore(const object& of, text key, std::uint64_t sequence,
                                       const call_options& call) {
    const request by{"serial_queue.restore", of.name(), of.kind(), call, key};
    return once<detail::push_outcome>(
        by, [&](connection& on) { return detail::restore_item(on, by, sequence); });
  }
  outcome<store::queue_depth> queue_depth(const object& of, const call_options& call) {
    const request by{"serial_queue.depth", of.name(), of.kind(), call};
    return snapshot<outcome<store::queue_depth>>(
        by, [&](connection& on) { return detail::depth_of(on, by, db_->now()); });
  }

  outcome<nothing, store::mirror_row> mirror_put(const object& of, text key, mirror_version version,
                                                 bytes_or_none bytes, const call_options& call) {
    const request by{"mirror_target.put", of.name(), of.kind(), call, key};
    const auto body = [&](connection& on) {
      require_fits(by, bytes);
      return detail::put_mirrored(on, by, version, bytes);
    };
    return call.id ? once<detail::mirror_outcome>(by, body)
                   : db_->alone<detail::mirror_outcome>(by, body);
  }
  outcome<store::mirror_row> mirror_get(const object& of, text key, const call_options& call) {
    const request by{"mirror_target.get", of.name(), of.kind(), call, key};
    return db_->read<outcome<store::mirror_row>>(by,
                                                 [&](connection& on) -> outcome<store::mirror_row> {
                                                   by.require_key();
                                                   return detail::find_mirrored(on, by);
                                                 });
  }

private:
  friend struct detail::client_access;

  void require_fits(const request& by, bytes_or_none bytes) const {
    if (bytes) by.require_size(bytes->size(), db_->options().max_value_bytes);
  }

  // Returns: body(connection) in a transaction, once under the call's id.
  template <class R, class F>
  R once(const request& by, F body) {
    return db_->write<R>(by, [&](connection& on, scope&) -> R {
      return detail::once<R>(on, by, call_time(by), db_->options().retention,
                             [&]() -> R { return body(on); });
    });
  }
  std::int64_t call_time(const request& by) const { return by.call.id ? db_->now() : 0; }

  // Returns: body(connection), where all that it reads is of one moment.
  template <class R, class F>
  R snapshot(const request& by, F body) {
    return db_->read<R>(by, [&](connection& on) -> R {
      detail::reading_scope one_moment(on);
      return body(on);
    });
  }

  std::shared_ptr<detail::database> db_;
};

inline auto client::cells_load(std::span<const object* const> objects, const call_options& call)
    -> outcome<std::vector<store::cell_state>> {
  using found = outcome<std::vector<store::cell_state>>;
  const std::string_view first = objects.empty() ? std::string_view() : objects.front()->name();
  const request by{"transaction.read", first, store::object_kind::cell, call};
  return snapshot<found>(by, [&](connection& on) -> found {
    std::vector<store::cell_state> states;
    states.reserve(objects.size());
    for (const object* const each : objects) states.push_back(detail::find_cell(on, each->name()));
    return states;
  });
}

inline auto client::cells_commit(std::span<const store::cell_check<object>> checks,
                                 std::span<const store::cell_write<object>> writes,
                                 const call_options& call)
    -> outcome<std::uint64_t, store::cell_conflict> {
  std::string_view first;
  if (!checks.empty()) first = checks.front().cell->name();
  if (!writes.empty()) first = writes.front().cell->name();
  const request by{"transaction.commit", first, store::object_kind::cell, call};
  return once<detail::commit_outcome>(by, [&](connection& on) {
    for (const store::cell_write<object>& each : writes) require_fits(by, each.bytes);
    return detail::commit_cells(on, checks, writes);
  });
}

inline auto client::queue_take(const object& of, const unique_id& owner, ms lease,
                               std::uint64_t most_tries, const call_options& call)
    -> outcome<store::queue_item, store::queue_idle> {
  const request by{"serial_queue.take", of.name(), of.kind(), call};
  return db_->write<detail::take_outcome>(by, [&](connection& on, scope& transaction) {
    return detail::once<detail::take_outcome>(on, by, call_time(by), db_->options().retention, [&] {
      return detail::take_item(on, by, detail::id_bytes(owner), lease, most_tries, db_->now(),
                               [&] { transaction.keep(); });
    });
  });
}

static_assert(store::engine<client>);

}  // namespace interlock::sqlite
