// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/error.hpp - what went wrong on an engine: in which operation, and the remedy.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace interlock::store {

enum class errc : std::uint8_t {
  bad_argument,       // a name, a key or a number that no engine takes
  too_large,          // a key or value over the engine's limit
  bad_value,          // what is stored does not decode as the type that was asked for
  wrong_kind,         // the name is taken by an object of another kind, or with other bounds
  wrong_schema,       // the data was written by a version that this one cannot read
  bad_address,        // the URL cannot be read, or names nothing
  not_connected,      // no connection: refused, or dropped before the request left
  connection_lost,    // dropped while the request was under way
  timed_out,          // the deadline of the call passed
  overloaded,         // every connection was in use until the deadline
  access_denied,      // wrong password, or not permitted
  read_only,          // a replica, a standby, or a file that may not be written
  out_of_space,       // the disk or the engine's memory is full
  busy,               // locked by others, or the engine is loading, until the deadline
  too_many_conflicts, // a transaction lost to others more often than its attempts allow
  guarantee_not_met,  // the server's settings promise less than what was required
  history_lost,       // the data set is another one than when the client connected
  expired,            // the operation id is older than what the engine remembers
  lease_lost,         // the lease ended before the work did
  cancelled,          // the stop token ended the call before anything was sent
  closed,             // the client was closed
  killed,             // the engine's administrator ended the call: a script, a query
  engine_failure      // anything else that the engine said
};

// Returns: the name, such as "timed out".
constexpr const char* to_string(errc code) noexcept {
  switch (code) {
    case errc::bad_argument: return "bad argument";
    case errc::too_large: return "too large";
    case errc::bad_value: return "bad value";
    case errc::wrong_kind: return "wrong kind";
    case errc::wrong_schema: return "wrong schema";
    case errc::bad_address: return "bad address";
    case errc::not_connected: return "not connected";
    case errc::connection_lost: return "connection lost";
    case errc::timed_out: return "timed out";
    case errc::overloaded: return "overloaded";
    case errc::access_denied: return "access denied";
    case errc::read_only: return "read only";
    case errc::out_of_space: return "out of space";
    case errc::busy: return "busy";
    case errc::too_many_conflicts: return "too many conflicts";
    case errc::guarantee_not_met: return "guarantee not met";
    case errc::history_lost: return "history lost";
    case errc::expired: return "expired";
    case errc::lease_lost: return "lease lost";
    case errc::cancelled: return "cancelled";
    case errc::closed: return "closed";
    case errc::killed: return "killed";
    case errc::engine_failure: return "engine failure";
  }
  return "no errc";
}

struct error {
  errc code = errc::engine_failure;
  std::string engine;     // "sqlite", "redis", "postgres", "memory"
  std::string operation;  // "counter.add", "mutex.lock"
  std::string object;     // the name of the counter, the key: what it was about; "" for the client
  std::string detail;     // what happened, in the engine's words where it has some
  std::string remedy;     // what to do about it

  // Returns: all of it as one line.
  [[nodiscard]] std::string message() const {
    std::string text = engine;
    text += ": ";
    text += operation;
    if (!object.empty()) {
      text += " '";
      text += object;
      text += '\'';
    }
    text += ": ";
    text += to_string(code);
    if (!detail.empty()) {
      text += ": ";
      text += detail;
    }
    if (!remedy.empty()) {
      text += "; ";
      text += remedy;
    }
    return text;
  }
};

// Thrown by constructors that cannot connect, and by outcome::value() where there is none.
class failure : public std::runtime_error {
public:
  explicit failure(store::error what)
      : std::runtime_error(what.message()), error_(std::move(what)) {}

  [[nodiscard]] const store::error& error() const noexcept { return error_; }

private:
  store::error error_;
};

}  // namespace interlock::store
