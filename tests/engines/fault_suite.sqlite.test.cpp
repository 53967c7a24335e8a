// SPDX-License-Identifier: BSL-1.0
// The fault suite on an SQLite file.

#include "engines/faults/sqlite.hpp"

#include "engines/fault_suite.hpp"
