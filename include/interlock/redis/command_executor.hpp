// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/command_executor.hpp - what a Redis client does for interlock's
// protocols to run on it.
//
// redis::client brings connections of its own, over hiredis. A program that has redis-plus-plus,
// Boost.Redis or another client already wraps that one in a type with one function and gives it to
// redis::basic_client. The type is copied; copies use the same connections, from any thread:
//
//   value execute(std::span<const std::string_view> command,
//                 std::chrono::steady_clock::time_point deadline);
//
//   - It sends the command, its name first, and gives the answer. The server's own errors are
//     value::error with their text as it is: the first word decides.
//   - It returns by the deadline. Commands are never sent twice: a client that retries by itself
//     has to be told not to. (A write that is sent again counts twice.)
//   - value::not_sent only if the server cannot have got the whole command; otherwise
//     value::unanswered. If the client does not tell which, that is unanswered.
//   - Any connection will do for any command: none of those used depends on the one before it.
//     All go to one server, the primary.
//
// It may have: void renew(): what is executed from now on is on connections made from now on.
// accept_history() calls it, since those from before may lead to another server.

#include <chrono>
#include <concepts>
#include <span>
#include <string_view>

#include "value.hpp"

namespace interlock::redis {

template <class X>
concept command_executor = std::copy_constructible<X> &&
    requires(X& x, std::span<const std::string_view> command,
             std::chrono::steady_clock::time_point deadline) {
  { x.execute(command, deadline) } -> std::same_as<value>;
};

}  // namespace interlock::redis
