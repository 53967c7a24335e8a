// SPDX-License-Identifier: BSL-1.0
#pragma once

// What every engine does, as one suite. A program of an engine says what its data sets are, in its
// unnamed namespace, and includes this:
//
//   struct data_set {            // a fresh one, empty
//     using engine = ...;        // the client
//     engine client(store::client_options = {});  // another one of this data set
//   };

#include <interlock/store/operation_id.hpp>
#include <interlock/store/protocol.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "support/catch.hpp"
#include "support/threads.hpp"

namespace conformance {

using namespace std::chrono_literals;
namespace store = interlock::store;
using interlock::fingerprint;
using interlock::mirror_version;
using store::errc;
using store::object_kind;
using store::operation_id;
using store::unique_id;

inline constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();
inline constexpr std::int64_t smallest = std::numeric_limits<std::int64_t>::min();

// Names and keys that separators, quotes or ends of strings could make one.
inline std::vector<std::string> odd_names() {
  return {"a",
          "a:b",
          "a",
          std::string("a\0b", 3),
          std::string("\0", 1),
          "a:b:c",
          "{a}",
          "'a'",
          "\"a\"",
          "a%00b",
          "a\\",
          "\xff\xfe",
          " ",
          "a ",
          std::string(512, 'n'),
          "%s",
          "$1",
          "?"};
}
inline std::string odd_value() {
  return std::string("\0\r\n'\"%:{}$\\\xff", 11);
}

// Random numbers that are the same each time.
class dice {
public:
  explicit dice(std::uint64_t seed) : next_(seed) {}
  std::int64_t operator()(std::int64_t from, std::int64_t to) {
    return std::uniform_int_distribution<std::int64_t>(from, to)(next_);
  }

private:
  std::mt19937_64 next_;
};

}  // namespace conformance

#include "engines/conformance/cells.hpp"
#include "engines/conformance/claims.hpp"
#include "engines/conformance/histories.hpp"
#include "engines/conformance/leases.hpp"
#include "engines/conformance/numbers.hpp"
#include "engines/conformance/queues.hpp"
