// SPDX-License-Identifier: BSL-1.0
// redis::tls: whom it believes. Skipped where hiredis has no TLS, as in Debian 12.

#include <cstdio>

#include "support/catch.hpp"
#include "support/servers.hpp"

#if __has_include(<hiredis/hiredis_ssl.h>)

#include <interlock/redis/client.hpp>
#include <interlock/redis/tls.hpp>
#include <interlock/testing/temporary_folder.hpp>
#include <interlock/testing/throwaway_redis.hpp>

#include <cstdlib>
#include <optional>
#include <string>

namespace redis = interlock::redis;
namespace store = interlock::store;
namespace testing = interlock::testing;

namespace {

struct certificate {
  // `name`: such as DNS:localhost.
  explicit certificate(const std::string& name) {
    const std::string make =
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=" +
        name + " -keyout '" + key + "' -out '" + file + "' 2>/dev/null";
    made = std::system(make.c_str()) == 0;
  }
  testing::temporary_folder folder{};
  std::string file = folder.path() + "/cert.pem";
  std::string key = folder.path() + "/key.pem";
  bool made = false;
};

class tls_server {
public:
  explicit tls_server(const certificate& own)
      : port_(std::to_string(testing::server_detail::free_port())),
        server_({.settings = {"tls-port " + port_, "tls-cert-file " + own.file,
                              "tls-key-file " + own.key, "tls-ca-cert-file " + own.file,
                              "tls-auth-clients no"}}) {}
  [[nodiscard]] std::string url(const std::string& host) const {
    return "rediss://" + host + ":" + port_;
  }
  // Returns: how many commands it was asked so far, this question included.
  [[nodiscard]] std::string commands() const {
    const std::string all = server_.command({"INFO", "commandstats"});
    const std::size_t at = all.find("cmdstat_get:");
    return at == std::string::npos ? "none" : all.substr(at, all.find('\n', at) - at);
  }

private:
  std::string port_;
  testing::throwaway_redis server_;
};

std::optional<store::error> refusal_of(const std::string& url, redis::tls_files files) {
  try {
    const redis::client made(url, {}, {.secure = redis::tls(std::move(files))});
    return std::nullopt;
  } catch (const store::failure& why) {
    return why.error();
  }
}

}  // namespace

TEST_CASE("A server is believed by the name or address of the URL in its certificate") {
  if (!support::need_redis()) return;
  const certificate own("DNS:localhost,IP:127.0.0.1");
  if (!support::need(own.made, "openssl")) return;
  const tls_server server(own);
  for (const char* host : {"localhost", "127.0.0.1"}) {
    redis::client c(server.url(host), {}, {.secure = redis::tls({.authority = own.file})});
    const auto hits = c.object_named(store::object_kind::counter, host);
    for (int i = 1; i < 100; ++i) REQUIRE(c.counter_add(hits, 1, {}).value() == i);
    const auto cell = c.object_named(store::object_kind::cell, host);
    const std::string large(std::size_t{3} << 20U, 'x');
    REQUIRE(c.cell_put(cell, {}, large, {}).applied());
    CHECK(c.cell_load(cell, {})->bytes == large);
  }
}

TEST_CASE(
    "A server with another name or an unknown authority is refused before anything is said to it") {
  if (!support::need_redis()) return;
  const certificate own("DNS:elsewhere");
  const certificate unrelated("DNS:localhost");
  if (!support::need(own.made && unrelated.made, "openssl")) return;
  const tls_server server(own);
  for (const auto& files :
       {redis::tls_files{.authority = own.file}, redis::tls_files{.authority = unrelated.file},
        redis::tls_files{.authority = unrelated.file, .name = "elsewhere"}, redis::tls_files{}}) {
    const auto why = refusal_of(server.url("localhost"), files);
    REQUIRE(why);
    CHECK(why->code == store::errc::not_connected);
    CHECK(why->detail.find("TLS: ") == 0);
  }
  CHECK(server.commands() == "none");
  CHECK_FALSE(refusal_of(server.url("localhost"), {.authority = own.file, .name = "elsewhere"}));
  CHECK(server.commands() != "none");
  CHECK_THROWS_AS(redis::tls({.authority = "/nonexistent"}), store::failure);
}

#else

TEST_CASE("A server is believed by the name or address of the URL in its certificate") {
  std::puts("skipped: this hiredis has no TLS");
  support::skipped = true;
}
TEST_CASE(
    "A server with another name or an unknown authority is refused before anything is said to it") {
  support::skipped = true;
}

#endif
