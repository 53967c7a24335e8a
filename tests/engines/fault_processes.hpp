// SPDX-License-Identifier: BSL-1.0
#pragma once

// What happens to processes, written once: they stand still for longer than a lease, and are
// killed. Include a place before.

#include "faults/crashes.hpp"
#include "faults/queue_chaos.hpp"
#include "faults/stopped_holder.hpp"
