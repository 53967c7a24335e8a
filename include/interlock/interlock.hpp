// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/interlock.hpp - everything. Each header can be included alone and costs less.

#include "async_mutex.hpp"
#include "async_shared_mutex.hpp"
#include "bounded_counter.hpp"
#include "counter.hpp"
#include "idempotency_cache.hpp"
#include "inplace_stop_token.hpp"
#include "keyed_serial_queue.hpp"
#include "lock_owner.hpp"
#include "lock_report.hpp"
#include "manual_timer.hpp"
#include "mirror.hpp"
#include "serial_queue.hpp"
#include "snapshot.hpp"
#include "striped_bounded_counter.hpp"
#include "striped_counter.hpp"
#include "task.hpp"
#include "timer.hpp"
#include "timer_thread.hpp"
#include "tracked_async_mutex.hpp"
#include "transaction.hpp"
#include "version.hpp"
#include "versioned.hpp"
#include "watermark.hpp"
#include "when_all.hpp"
