// SPDX-License-Identifier: BSL-1.0
// The fault suite on a PostgreSQL.

#include "engines/faults/postgres.hpp"

#include "engines/fault_suite.hpp"
