// SPDX-License-Identifier: BSL-1.0
// The fault suite on the engine in memory.

#include "engines/faults/memory.hpp"

#include "engines/fault_suite.hpp"
