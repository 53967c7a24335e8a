// SPDX-License-Identifier: BSL-1.0
#pragma once

// What goes wrong between a client and its engine, written once: lost requests and replies,
// histories of operations and of transactions, leases that end in the hands of mutexes and queues.
// Include a place before.

#include "faults/histories.hpp"
#include "faults/increment_then_write.hpp"
#include "faults/locked_updates.hpp"
#include "faults/lost_replies.hpp"
#include "faults/queued_work.hpp"
#include "faults/transactions.hpp"
