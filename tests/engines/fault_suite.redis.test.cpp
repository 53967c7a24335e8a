// SPDX-License-Identifier: BSL-1.0
// The fault suite on a Redis.

#include "engines/faults/redis.hpp"

#include "engines/fault_suite.hpp"
