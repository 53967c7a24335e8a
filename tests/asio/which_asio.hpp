// SPDX-License-Identifier: BSL-1.0
#pragma once

// Each program of this folder is built for both: Boost.Asio, and Asio without Boost. What was still
// experimental in the older one gets its later name here.

#if defined(INTERLOCK_TEST_STANDALONE_ASIO)
#if defined(__clang__)
#define ASIO_HAS_CO_AWAIT 1  // Asio 1.22 looks for <experimental/coroutine> there
#endif
#include <asio.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/experimental/deferred.hpp>

#include <interlock/standalone_asio.hpp>

namespace net = asio;
using asio::experimental::as_tuple;
using asio::experimental::deferred;
using error_code = std::error_code;
using system_error = std::system_error;
#else
#include <boost/asio.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>

#include <interlock/asio.hpp>

namespace net = boost::asio;
using boost::asio::as_tuple;
using boost::asio::deferred;
using error_code = boost::system::error_code;
using system_error = boost::system::system_error;
#endif
