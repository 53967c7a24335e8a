// SPDX-License-Identifier: BSL-1.0
// Processes that use a Redis stand still or are killed.

#include "engines/faults/redis.hpp"

#include "engines/fault_processes.hpp"
#include "engines/faults/killed_servers.hpp"
