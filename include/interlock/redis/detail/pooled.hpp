// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/pooled.hpp - the connections of redis::client: made, prepared, shared; and
// each command sent once on one of them.

#include <hiredis/hiredis.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "../../store/client_options.hpp"
#include "../../store/detail/connection_pool.hpp"
#include "../settings.hpp"
#include "connection.hpp"
#include "errors.hpp"
#include "history.hpp"
#include "url.hpp"

namespace interlock::redis::detail {

// Effects: appends what waits until the replicas have all writes before it.
inline void append_wait(std::string& request, std::size_t replicas, const call_deadline& deadline) {
  const decimal count(replicas);
  const decimal time(deadline.rest().timeout.count());
  const std::array<std::string_view, 3> wait{"WAIT", count, time};
  append_command(request, wait);
}
// Returns: whether the answer to that says that enough of them had it.
[[nodiscard]] inline bool waited(const reply& answer, std::size_t replicas) noexcept {
  return answer.kind() == value_kind::integer &&
         answer.integer() >= static_cast<std::int64_t>(replicas);
}
[[nodiscard]] inline reply too_few_replicas(std::size_t replicas) {
  std::string why = "fewer replicas than ";
  why += std::to_string(replicas);
  why += " had the write by the deadline";
  return reply(value::unanswered(std::move(why), errc::timed_out));
}

class pooled {
public:
  using pool = store::detail::connection_pool<connection>;

  // Throws: store::failure (bad_address). Does not connect.
  pooled(std::string_view url, const store::client_options& options, settings wishes,
         std::shared_ptr<history> known)
      : state_(std::make_shared<shared>(parse_url(url), options, std::move(wishes),
                                        std::move(known))) {
    const address& to = state_->to;
    if (to.secure && !state_->wishes.secure) {
      throw store::failure(
          {errc::bad_address, "redis", "client", "", "rediss:// needs TLS, and none was given",
           "link interlock::redis_tls and pass redis::settings{.secure = redis::tls()}, of "
           "interlock/redis/tls.hpp"});
    }
  }

  // Returns: the answer, or that there is none. `writes`: waits for replicas, if that is wished.
  [[nodiscard]] reply execute(std::span<const std::string_view> command,
                              const call_deadline& deadline, bool writes) {
    auto got = state_->connections.checkout(deadline, "", "");
    if (!got) return reply(not_given(got.error()));
    pool::lease& on = *got;
    if (!ready(*on, deadline)) return not_ready(on, *state_->known);
    const std::size_t replicas = writes ? state_->wishes.replicas : 0;
    reply answer = replicas == 0 ? on->execute(command, deadline)
                                 : execute_on_replicas(*on, command, replicas, deadline);
    if (on->broken()) on.discard();
    return answer;
  }

  // Returns: the answer, whatever became of the data set.
  [[nodiscard]] reply execute_anyway(std::span<const std::string_view> command,
                                     const call_deadline& deadline) {
    auto got = state_->connections.checkout(deadline, "", "");
    if (!got) return reply(not_given(got.error()));
    reply answer = (*got)->execute(command, deadline);
    if ((*got)->broken()) got->discard();
    return answer;
  }

  // Returns: a connection for many commands at once.
  [[nodiscard]] store::outcome<pool::lease> borrow(const call_deadline& deadline,
                                                   std::string_view operation) {
    auto got = state_->connections.checkout(deadline, operation);
    if (!got) return got;
    if (ready(**got, deadline)) return got;
    const reply why = not_ready(*got, *state_->known);
    return store::refusal(error_of(why.code(), operation, "", std::string(why.text())));
  }

  [[nodiscard]] std::size_t replicas() const noexcept { return state_->wishes.replicas; }
  // Effects: who asks from now on gets a connection that is made from now on.
  void renew() { state_->connections.renew(); }
  void close() noexcept { state_->connections.close(); }

private:
  struct shared {
    shared(address address_to, const store::client_options& options, settings with,
           std::shared_ptr<history> whose)
        : to(std::move(address_to)),
          wishes(std::move(with)),
          known(std::move(whose)),
          connections({.engine = "redis",
                       .most = options.connections,
                       .idle_check = std::chrono::milliseconds(100)},
                      [this](const call_deadline& deadline) { return make(*this, deadline); }) {}

    const address to;
    const settings wishes;
    const std::shared_ptr<history> known;
    pool connections;
  };

  static value not_given(const store::error& why) { return value::not_sent(why.detail, why.code); }

  static reply not_ready(pool::lease& on, const history& known) {
    if (!on->broken()) return reply(value::not_sent(known.why(), errc::history_lost));
    value why = value::not_sent(on->why(), on->code());
    on.discard();
    return reply(std::move(why));
  }
  // Returns: false if the data set is another one than the client knows, or if it is broken now.
  [[nodiscard]] bool ready(connection& on, const call_deadline& deadline) {
    switch (state_->known->now(deadline.begun(), state_->wishes.look_every)) {
      case history::state::fine:
        return true;
      case history::state::lost:
        return false;
      case history::state::due:
        break;
    }
    look_on(on, *state_->known, deadline);
    if (on.broken()) state_->known->look_again();
    return !on.broken() && !state_->known->lost();
  }
  static reply look_on(connection& on, history& known, const call_deadline& deadline) {
    return look(known, [&](std::span<const std::string_view> command) {
      return on.execute(command, deadline);
    });
  }

  [[nodiscard]] static reply execute_on_replicas(connection& on,
                                                 std::span<const std::string_view> command,
                                                 std::size_t replicas,
                                                 const call_deadline& deadline);

  static pool::made make(const shared& all, const call_deadline& deadline);
  static std::variant<redisContext*, store::error> connect(const address& to,
                                                           const call_deadline& deadline);
  static reply prepare(connection& on, const shared& all, const call_deadline& deadline);

  std::shared_ptr<shared> state_;
};

inline reply pooled::execute_on_replicas(connection& on, std::span<const std::string_view> command,
                                         std::size_t replicas, const call_deadline& deadline) {
  std::string& request = on.request();
  append_command(request, command);
  const std::size_t first = request.size();
  append_wait(request, replicas, deadline);
  if (on.send(request, 2, deadline) < first) {
    return reply(value::not_sent(on.why(), on.code()));
  }
  reply answer = on.read(deadline);
  if (on.broken()) return answer;
  const reply last = on.read(deadline);
  if (answer.kind() == value_kind::error || waited(last, replicas)) return answer;
  return too_few_replicas(replicas);
}

inline pooled::pool::made pooled::make(const shared& all, const call_deadline& deadline) {
  auto result = connect(all.to, deadline);
  if (auto* const bad = std::get_if<store::error>(&result)) return std::move(*bad);
  redisContext* const context = std::get<redisContext*>(result);
  auto made = std::make_unique<connection>(context, all.to.secure);
  if (all.to.secure) {
    const no_sigpipe quiet;
    redisSetTimeout(context, time_of(deadline.remaining()));  // until the first command
    std::string bad = all.wishes.secure(*context, all.to.host);
    if (!bad.empty()) return error_of(errc::not_connected, "client", "", "TLS: " + std::move(bad));
  }
  const reply refused = prepare(*made, all, deadline);
  if (refused.kind() == value_kind::error) {
    return error_of(meaning_of(refused.text(), false).code, "client", "",
                    std::string(refused.text()));
  }
  if (made->broken()) {
    const bool late = made->code() == errc::timed_out;
    return error_of(late ? errc::timed_out : errc::not_connected, "client", "", made->why());
  }
  return made;
}

inline std::variant<redisContext*, store::error> pooled::connect(const address& to,
                                                                 const call_deadline& deadline) {
  const timeval limit = time_of(deadline.remaining());
  redisContext* const context = to.path.empty()
                                    ? redisConnectWithTimeout(to.host.c_str(), to.port, limit)
                                    : redisConnectUnixWithTimeout(to.path.c_str(), limit);
  if (context != nullptr && context->err == 0) {
    if (to.path.empty()) redisEnableKeepAlive(context);
    return context;
  }
  std::string detail = to.path.empty() ? to.host + ":" : to.path;
  if (to.path.empty()) detail += std::to_string(to.port);
  detail += ": ";
  detail += context != nullptr ? context->errstr : "no memory";
  const bool no_name = context != nullptr && context->err == REDIS_ERR_OTHER;
  if (context != nullptr) redisFree(context);
  store::error bad =
      error_of(no_name ? errc::bad_address : errc::not_connected, "client", "", std::move(detail));
  if (no_name) bad.remedy = "see that the host of the URL is the right one";
  return bad;
}

// Returns: the first answer that is an error; else another.
inline reply pooled::prepare(connection& on, const shared& all, const call_deadline& deadline) {
  const address& to = all.to;
  if (!to.password.empty()) {
    const std::array<std::string_view, 3> with_user{"AUTH", to.user, to.password};
    const std::array<std::string_view, 2> without{"AUTH", to.password};
    reply auth = to.user.empty() ? on.execute(without, deadline) : on.execute(with_user, deadline);
    if (auth.kind() != value_kind::bytes) return auth;
  }
  if (to.database != 0) {
    const decimal number(to.database);
    const std::array<std::string_view, 2> select{"SELECT", number};
    reply selected = on.execute(select, deadline);
    if (selected.kind() != value_kind::bytes) return selected;
  }
  const std::array<std::string_view, 3> name{"CLIENT", "SETNAME", all.wishes.client_name};
  reply named = on.execute(name, deadline);
  if (on.broken() || named.text().substr(0, 6) == "NOAUTH") return named;  // else it is a courtesy
  return look_on(on, *all.known, deadline);
}

}  // namespace interlock::redis::detail
