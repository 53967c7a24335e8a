// SPDX-License-Identifier: BSL-1.0
// A Redis server over TLS, believed by its name. Needs hiredis with TLS, and the openssl program.
// Prints: 5 hits over TLS; another name is refused

#if __has_include(<hiredis/hiredis_ssl.h>)

#include <interlock/redis/client.hpp>
#include <interlock/redis/tls.hpp>
#include <interlock/testing/temporary_folder.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace redis = interlock::redis;
namespace store = interlock::store;
namespace testing = interlock::testing;

int main() {
  const testing::temporary_folder folder;
  const std::string authority = folder.path() + "/cert.pem";
  const std::string key = folder.path() + "/key.pem";
  const std::string make =
      "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
      "-addext subjectAltName=DNS:localhost -keyout '" +
      key + "' -out '" + authority + "' 2>/dev/null";
  if (!testing::throwaway_redis::available() || std::system(make.c_str()) != 0) {
    std::puts("skipped: no redis-server, or no openssl");
    return 77;
  }
  const std::string port = std::to_string(testing::server_detail::free_port());
  const testing::throwaway_redis throwaway(
      {.settings = {"tls-port " + port, "tls-cert-file " + authority, "tls-key-file " + key,
                    "tls-ca-cert-file " + authority, "tls-auth-clients no"}});
  const std::string url = "rediss://localhost:" + port;

  redis::client server(url, {}, {.secure = redis::tls({.authority = authority})});
  const auto hits = server.object_named(store::object_kind::counter, "hits");
  const auto now = server.counter_add(hits, 5, {});
  bool refused = false;
  try {
    const redis::client other("rediss://127.0.0.1:" + port, {},
                              {.secure = redis::tls({.authority = authority})});
  } catch (const store::failure& why) {
    std::fprintf(stderr, "%s\n", why.what());
    refused = why.error().code == store::errc::not_connected;
  }
  std::printf("%d hits over TLS; another name is %s\n", static_cast<int>(now.value_or(0)),
              refused ? "refused" : "believed");
  return now.value_or(0) == 5 && refused ? 0 : 1;
}

#else
#include <cstdio>

int main() {
  std::puts("skipped: this hiredis has no TLS");
  return 77;
}
#endif
