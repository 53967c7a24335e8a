// SPDX-License-Identifier: BSL-1.0
// Processes that use an SQLite file stand still or are killed.

#include "engines/faults/sqlite.hpp"

#include "engines/fault_processes.hpp"
#include "engines/faults/queue_commits.hpp"
