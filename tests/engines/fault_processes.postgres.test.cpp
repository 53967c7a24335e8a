// SPDX-License-Identifier: BSL-1.0
// Processes that use a PostgreSQL stand still or are killed.

#include "engines/faults/postgres.hpp"

#include "engines/fault_processes.hpp"
#include "engines/faults/killed_servers.hpp"
#include "engines/faults/queue_commits.hpp"
