// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/client.hpp - Redis as an engine: one server, its connections, what it promises.
//
// Problem     A Redis server keeps as little or as much as its settings say, most of them less than
//             programs assume; and a client that repeats a command after a lost reply does it
//             twice.
// Guarantee   A client probes what its server promises, and assumes the worst of what it may not
//             read. A server whose settings promise less than is required is refused with the
//             setting to change. A write that left and was not answered is unknown, and exact when
//             asked again under its id.
//             After its data set was lost a client is refused until it accepts that.
// Outcomes    All four. Refused: the server's errors (OOM, READONLY, LOADING, NOPERM and so on),
//             and what did not leave. Unknown: a write that left and was not answered in time.
// Durability  appendonly yes and appendfsync always: a power loss. appendfsync everysec: nothing of
//             the last two seconds, since Redis holds writes back while a flush takes its time; no:
//             a crash of the server. Without appendonly: none. A replica that takes over may lack
//             writes whatever the settings; with `replicas`, fewer.
// Progress    Each call blocks until its answer or its deadline. A host's name is looked up as long
//             as the system takes for it.
// Cost        A round trip, and no more of the processor than redisCommandArgv takes. 1 to 8
//             connections, each of which looks at the data set once a second.
// Lifetime    Copies are handles to one client. Awaited calls keep it.
// Not for     Redis Cluster with keys of several prefixes in one transaction; Sentinel, which this
//             does not ask who is primary.
//
// Example     // examples/engines/redis_client.cpp
//             redis::client server(url, {.prefix = "shop"});
//             const auto hits = server.object_named(store::object_kind::counter, "hits");
//             const auto id = store::operation_id::fresh();
//             auto now = server.counter_add(hits, 5, {.id = id});
//             now = server.counter_add(hits, 5, {.id = id});  // asked again: still 5

#include <memory>
#include <string_view>
#include <utility>

#include "../store/client_options.hpp"
#include "../store/protocol.hpp"
#include "basic_client.hpp"
#include "detail/pooled.hpp"
#include "settings.hpp"

namespace interlock::redis {

class batch;

class client : public basic_client<detail::pooled> {
public:
  // `url`: redis://[user:password@]host:port[/db], rediss:// for TLS, unix:///path[?db=n].
  // Effects: connects, and asks for the server's settings and its data set.
  // Throws: store::failure: bad_address, not_connected, access_denied, timed_out, busy (it loads),
  //         and as basic_client.
  explicit client(std::string_view url, const store::client_options& options = {},
                  const settings& how = {})
      : client(url, options, how, history_for(options)) {}

  // Effects: closes all connections. Calls from now on are refused.
  void close() noexcept { state_->executor.close(); }

private:
  friend class batch;

  client(std::string_view url, const store::client_options& options, const settings& how,
         const std::shared_ptr<detail::history>& known)
      : basic_client(detail::pooled(url, options, how, known), options, known, how.look_every) {}
};

static_assert(store::engine<client>);

}  // namespace interlock::redis
