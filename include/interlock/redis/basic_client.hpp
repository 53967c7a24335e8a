// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/basic_client.hpp - Redis as an engine of interlock, over a Redis client of yours.
//
// Problem     A program that has a Redis client (redis-plus-plus, Boost.Redis) wants no second
//             set of connections beside it.
// Guarantee   Every protocol runs over an executor of the program's own.
//             A command that an executor did not send is refused, one without an answer is unknown.
// Outcomes    All four. Refused: the server's errors, and what was not sent. Unknown: a write that
//             was sent and not answered by the deadline. Conflicts are the types'.
// Durability  That of the server's settings: see client.hpp.
// Progress    As the executor's.
// Cost        A round trip a call, and one more after the server lost its scripts.
// Lifetime    Copies are handles to one client and share the executor.
// Not for     Executors that send a command again by themselves: a write would count twice.
//
// Example     // examples/engines/redis_own_client.cpp
//             redis::basic_client<own_executor> engine(own_executor{connection});
//             const auto hits = engine.object_named(store::object_kind::counter, "hits");
//             const auto first = engine.counter_add(hits, 1, {});

#include <array>
#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "command_executor.hpp"
#include "detail/probe.hpp"
#include "detail/queues.hpp"

namespace interlock::redis {

template <class Executor>
class basic_client : public detail::queues<Executor> {
  using base = detail::queues<Executor>;
  using shared = typename detail::caller<Executor>::shared;

public:
  using typename base::object;

  static constexpr store::guarantees claims = detail::best_promises;
  static constexpr const char* engine_name = "redis";

  // Effects: asks the server for its settings and its data set.
  // Throws: store::failure: bad_argument for a prefix; guarantee_not_met with the setting to
  //         change; wrong_schema; access_denied; what kept the executor from an answer.
  explicit basic_client(Executor executor,
                        store::client_options options = {}) requires command_executor<Executor>
      : basic_client(std::move(executor), options, history_for(options), std::chrono::seconds(1)) {}

  [[nodiscard]] store::probed_guarantees probed() const { return this->state_->probed; }
  [[nodiscard]] std::string incarnation() const { return this->state_->known->incarnation(); }
  [[nodiscard]] const store::client_options& options() const noexcept {
    return this->state_->options;
  }

  // Effects: goes on with the data set that is there.
  // Throws: store::failure, as the constructor.
  void accept_history() {
    shared& state = *this->state_;
    if constexpr (requires { state.executor.renew(); }) state.executor.renew();
    state.known->accept(opened(state));
  }

  // Throws: store::failure (bad_argument, too_large).
  [[nodiscard]] object object_named(store::object_kind kind, std::string_view name) const {
    store::detail::require_none(store::detail::bad_name("redis", store::to_string(kind), name));
    return object(kind, this->state_->tag, name);
  }

  template <class F>
  void offload(F&& f) {
    this->state_->threads.execute(std::forward<F>(f));
  }

protected:
  basic_client(Executor executor, const store::client_options& options,
               std::shared_ptr<detail::history> known, std::chrono::milliseconds look_every)
      : base(std::make_shared<shared>(std::move(executor), options, std::move(known), look_every)) {
    shared& state = *this->state_;
    state.probed = detail::probe(asking(state));
    if (options.require && !state.probed.promised.cover(*options.require)) refuse_promises();
    state.known->accept(opened(state));
  }

  static std::shared_ptr<detail::history> history_for(const store::client_options& options) {
    store::detail::require_none(store::detail::bad_prefix("redis", options.prefix));
    return std::make_shared<detail::history>(options.prefix, options.retention);
  }

private:
  // Returns: what sends one command, whatever became of the data set.
  static auto asking(shared& state) {
    return [&state](std::span<const std::string_view> command) {
      const store::detail::call_deadline deadline(state.options.timeout);
      if constexpr (requires { state.executor.execute_anyway(command, deadline); }) {
        return state.executor.execute_anyway(command, deadline);
      } else {
        return state.executor.execute(command, deadline.at());
      }
    };
  }
  static std::string opened(shared& state) {
    return detail::open_data(*state.known, state.tag, asking(state));
  }
  [[noreturn]] void refuse_promises() const {
    const store::client_options& options = this->state_->options;
    store::error why = detail::error_of(store::errc::guarantee_not_met, "client", "",
                                        "Redis does not promise that at all");
    why.remedy = "require less, or use another engine";
    const auto setting = this->state_->probed.in_the_way_of(*options.require);
    if (setting && claims.cover(*options.require)) {
      why.detail = setting->name;
      why.detail += " is '";
      why.detail += setting->value;
      why.detail += "': ";
      why.detail += setting->limits;
      why.remedy = setting->remedy;
    }
    throw store::failure(std::move(why));
  }
};

}  // namespace interlock::redis
