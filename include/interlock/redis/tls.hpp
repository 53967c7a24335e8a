// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/tls.hpp - TLS to a Redis server, for rediss:// addresses.
//
// Problem     hiredis checks that a certificate is signed, not that it is the server's: whoever has
//             a certificate of the same authority can stand in its place.
// Guarantee   A server is believed by the name or address of the URL in its certificate. A server
//             with another name or an unknown authority is refused before anything is said to it.
// Outcomes    Connecting fails with not_connected and OpenSSL's words.
// Durability  none of its own: see client.hpp.
// Progress    blocking: the handshake; each of its waits for the server ends with the time that
//             was left to connect in.
// Cost        A handshake a connection, and the processor's time for the cipher.
// Lifetime    The settings keep what was read of the files.
// Not for     hiredis 0.14, which has no TLS. Link interlock::redis_tls, which is there where
//             hiredis has it.
//
// Example     // examples/engines/redis_tls.cpp
//             redis::client server(url, {}, {.secure = redis::tls({.authority = authority})});

#include <hiredis/hiredis.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <functional>
#include <memory>
#include <string>

#include "../store/error.hpp"

namespace interlock::redis {

struct tls_files {
  std::string authority{};    // the certificates that are trusted; empty: the system's
  std::string certificate{};  // of this client, if the server asks for one
  std::string key{};          // to that certificate
  std::string name{};         // of the server, in its certificate; empty: the host of the URL
};

// Returns: what settings::secure takes.
// Throws: store::failure (bad_argument) for files that cannot be read.
inline std::function<std::string(redisContext&, const std::string&)> tls(tls_files files = {}) {
  const auto words = [] {
    char text[256] = "";
    ERR_error_string_n(ERR_get_error(), text, sizeof text);
    ERR_clear_error();
    return std::string(text);
  };
  const std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  const auto must = [&](int good, const std::string& what) {
    if (good == 1) return;
    throw store::failure({store::errc::bad_argument, "redis", "tls", what, words(),
                          "give files in PEM form that this program may read"});
  };
  must(context != nullptr ? 1 : 0, "");
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  if (files.authority.empty()) {
    must(SSL_CTX_set_default_verify_paths(context.get()), "");
  } else {
    must(SSL_CTX_load_verify_locations(context.get(), files.authority.c_str(), nullptr),
         files.authority);
  }
  if (!files.certificate.empty()) {
    must(SSL_CTX_use_certificate_chain_file(context.get(), files.certificate.c_str()),
         files.certificate);
    must(SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM),
         files.key);
  }
  return [context, words, given = files.name](redisContext& connection, const std::string& host) {
    const std::string& name = given.empty() ? host : given;
    SSL* const ssl = SSL_new(context.get());
    if (ssl == nullptr) return words();
    const bool address = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str()) == 1;
    ERR_clear_error();
    // What the macro SSL_set_tlsext_host_name does, without its cast.
    const auto announce = [ssl](std::string text) {
      return SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, text.data());
    };
    const bool set = address || (SSL_set1_host(ssl, name.c_str()) == 1 && announce(name) == 1);
    if (!set) {
      SSL_free(ssl);
      return words();
    }
    if (redisInitiateSSL(&connection, ssl) == REDIS_OK) return std::string();
    const long verdict = SSL_get_verify_result(ssl);
    SSL_free(ssl);  // it is the connection's only if all went well
    if (verdict != X509_V_OK) return std::string(X509_verify_cert_error_string(verdict));
    return std::string(connection.errstr);
  };
}

}  // namespace interlock::redis
