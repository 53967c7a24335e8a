// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/memory/client.hpp - an engine in memory: all types of stores without a server, and
// whatever may go wrong with one, on demand.
//
// Problem     Code that uses a store wants tests without one, and its error paths want errors.
// Guarantee   An operation that was asked for twice under one id is done once.
//             An id that is older than its session is refused as expired.
//             After its data is lost a client is refused until it accepts that.
//             Clients beside each other share data under one prefix and under others none.
// Outcomes    All four: conflict as the protocol says; refused and unknown by faults on demand, and
//             refused for bad names, sums that do not fit, values over the limit.
// Durability  none: the data is gone with the last client that shares it.
// Progress    One lock for all data. Delays that were asked for block.
// Cost        A look-up by name and a lock a call; kept for tests, not for speed.
// Lifetime    Copies are handles to one client. Awaited calls keep it.
// Not for     Programs that need no engine: counter, versioned and so on are far quicker.
//
// Example     // examples/engines/memory_client.cpp
//             memory::client engine({}, {.clock = time});
//             const auto hits = engine.object_named(store::object_kind::counter, "hits");
//             const auto first = engine.counter_add(hits, 5, {.id = id});
//             const auto again = engine.counter_add(hits, 5, {.id = id});  // 5

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../store/client_options.hpp"
#include "../store/protocol.hpp"
#include "detail/session.hpp"
#include "faults.hpp"
#include "manual_clock.hpp"

namespace interlock::memory {

struct settings {
  // The engine's time, and that by which programs keep their deadlines. Null: the machine's.
  std::shared_ptr<manual_clock> clock{};
};

class client {
  using call_options = store::call_options;
  using unique_id = store::unique_id;
  using nothing = store::nothing;
  using milliseconds = std::chrono::milliseconds;
  using text = std::string_view;
  template <class T, class C = nothing>
  using outcome = store::outcome<T, C>;

public:
  static constexpr store::guarantees claims{
      store::visibility::process, store::durability::none, true, true, true,
      store::fence_kind::monotone};
  static constexpr const char* engine_name = "memory";

  class object {
  public:
    [[nodiscard]] text name() const noexcept { return text(key_).substr(prefix_); }

  private:
    friend client;
    object(store::object_kind kind, text prefix, text name)
        : kind_(kind), prefix_(prefix.size() + 1), key_(prefix) {
      key_ += '/';  // which no prefix holds
      key_ += name;
    }
    [[nodiscard]] detail::target target() const { return {kind_, name(), key_}; }

    store::object_kind kind_;
    std::size_t prefix_;
    std::string key_;
  };

  // Throws: failure: bad_argument for a prefix that cannot be one; guarantee_not_met.
  explicit client(store::client_options options = {}, settings how = {})
      : client(std::make_shared<detail::data>(), std::move(options), std::move(how.clock)) {}

  // Returns: another client of the same data, as another process would have it.
  [[nodiscard]] client beside(store::client_options options = {}) const {
    return client(session_->shared(), std::move(options), session_->clock());
  }

  // Effects: from now on asks this before and after each operation of this client and its copies.
  void inject(faults what) { session_->inject(std::move(what)); }
  // Effects: all data is gone and another data set has taken its place.
  void lose_history() {
    const std::lock_guard lock(session_->shared()->guard);
    session_->shared()->holds = detail::content();
  }
  // Effects: goes on with the data that is there.
  void accept_history() { session_->accept_history(); }
  // Effects: calls are refused from now on, in all copies.
  void close() { session_->close(); }
  // Effects: somebody sets the engine's clock, which programs do not see.
  void shift_clock(std::chrono::nanoseconds by) {
    const std::lock_guard lock(session_->shared()->guard);
    session_->shared()->shifted += by;
  }
  // Returns: how many requests this client was asked for.
  [[nodiscard]] std::uint64_t requests() const { return session_->requests(); }
  // Returns: the clock by which deadlines of this client are kept; null: the machine's.
  [[nodiscard]] std::shared_ptr<const store::detail::local_clock> local_clock() const {
    return session_->clock();
  }

  [[nodiscard]] store::probed_guarantees probed() const { return {claims, {}, "memory"}; }
  [[nodiscard]] std::string incarnation() const { return session_->known(); }
  [[nodiscard]] const store::client_options& options() const noexcept {
    return session_->options();
  }
  // Throws: failure (bad_argument, too_large).
  [[nodiscard]] object object_named(store::object_kind kind, text name) const {
    store::detail::require_none(store::detail::bad_name("memory", store::to_string(kind), name));
    return object(kind, session_->options().prefix, name);
  }
  template <class F>
  void offload(F&& f) {
    session_->threads().execute(std::forward<F>(f));
  }

  // Operations: see store/protocol.hpp.
  outcome<std::int64_t> counter_add(const object& at, std::int64_t n, const call_options& call);
  outcome<std::int64_t> counter_load(const object& at, const call_options& call);
  outcome<std::int64_t> counter_exchange(const object& at, std::int64_t to,
                                         const call_options& call);

  outcome<store::bounded_state> bounded_open(const object& at, store::bounded_state as,
                                             const call_options& call);
  outcome<std::int64_t, store::bounded_state> bounded_add(const object& at, std::int64_t n,
                                                          const call_options& call);
  outcome<store::bounded_state> bounded_load(const object& at, const call_options& call);

  outcome<store::cell_state> cell_load(const object& at, const call_options& call);
  outcome<std::vector<store::cell_state>> cells_load(std::span<const object* const> all,
                                                     const call_options& call);
  outcome<std::uint64_t, store::cell_state> cell_put(const object& at,
                                                     std::optional<std::uint64_t> expected,
                                                     std::optional<text> bytes,
                                                     const call_options& call);
  outcome<std::uint64_t, store::cell_conflict> cells_commit(
      std::span<const store::cell_check<object>> checks,
      std::span<const store::cell_write<object>> writes, const call_options& call);

  outcome<store::lease_grant, store::lease_busy> lease_acquire(const object& at,
                                                               const unique_id& owner,
                                                               milliseconds lease,
                                                               const call_options& call);
  outcome<nothing> lease_renew(const object& at, const unique_id& owner, std::uint64_t fence,
                               milliseconds lease, const call_options& call);
  outcome<nothing> lease_release(const object& at, const unique_id& owner, std::uint64_t fence,
                                 const call_options& call);
  outcome<store::lease_grant> lease_raise(const object& at, const unique_id& owner,
                                          std::uint64_t fence, std::uint64_t above,
                                          const call_options& call);

  outcome<store::fenced_state, store::stale_fence> fenced_open(const object& at,
                                                               std::uint64_t fence,
                                                               const unique_id& owner,
                                                               const call_options& call);
  outcome<nothing, store::stale_fence> fenced_write(const object& at, std::uint64_t fence,
                                                    const unique_id& owner, text bytes,
                                                    const call_options& call);

  outcome<store::idempotency_claim> idempotency_claim(const object& at, text key, fingerprint print,
                                                      const unique_id& owner, milliseconds lease,
                                                      const call_options& call);
  outcome<nothing> idempotency_complete(const object& at, text key, const unique_id& owner,
                                        std::uint64_t attempt, text response, milliseconds keep,
                                        const call_options& call);
  outcome<nothing> idempotency_release(const object& at, text key, const unique_id& owner,
                                       std::uint64_t attempt, const call_options& call);
  outcome<nothing> idempotency_heartbeat(const object& at, text key, const unique_id& owner,
                                         std::uint64_t attempt, milliseconds lease,
                                         const call_options& call);

  outcome<std::uint64_t> queue_push(const object& at, text key, text payload,
                                    const call_options& call);
  outcome<store::queue_item, store::queue_idle> queue_take(const object& at, const unique_id& owner,
                                                           milliseconds lease, std::uint64_t most,
                                                           const call_options& call);
  outcome<nothing> queue_finish(const object& at, text key, const unique_id& owner,
                                std::uint64_t attempt, const call_options& call);
  outcome<nothing> queue_give_back(const object& at, text key, const unique_id& owner,
                                   std::uint64_t attempt, milliseconds delay,
                                   const call_options& call);
  outcome<nothing> queue_heartbeat(const object& at, text key, const unique_id& owner,
                                   std::uint64_t attempt, milliseconds lease,
                                   const call_options& call);
  outcome<std::vector<store::queue_item>> queue_set_aside(const object& at, std::uint64_t most,
                                                          const call_options& call);
  outcome<std::uint64_t> queue_restore(const object& at, text key, std::uint64_t sequence,
                                       const call_options& call);
  outcome<store::queue_depth> queue_depth(const object& at, const call_options& call);

  outcome<nothing, store::mirror_row> mirror_put(const object& at, text key, mirror_version version,
                                                 std::optional<text> bytes,
                                                 const call_options& call);
  outcome<store::mirror_row> mirror_get(const object& at, text key, const call_options& call);

private:
  client(std::shared_ptr<detail::data> shared, store::client_options options,
         std::shared_ptr<manual_clock> clock);

  template <class Outcome, class F>
  Outcome write(const object& at, text verb, const call_options& call, F work) {
    return session_->perform<Outcome, true>(at.target(), verb, call, std::move(work));
  }
  template <class Outcome, class F>
  Outcome read(const object& at, text verb, const call_options& call, F work) {
    return session_->perform<Outcome, false>(at.target(), verb, call, std::move(work));
  }
  // Returns: why the operation cannot be done at all.
  [[nodiscard]] std::optional<store::refusal> refusal_of(const object& at, text verb,
                                                         std::optional<text> key,
                                                         std::size_t bytes = 0) const;
  [[nodiscard]] static store::refusal bad(const object& at, text verb, store::errc code,
                                          text detail, text remedy);

  std::shared_ptr<detail::session> session_;
};

}  // namespace interlock::memory

#include "detail/client_keys.hpp"
#include "detail/client_numbers.hpp"
