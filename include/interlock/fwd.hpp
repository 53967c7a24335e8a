// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/fwd.hpp - names only, for headers that hold or pass these types by reference.
// (Not the guards: they are members, as async_mutex::guard, and need the type's own header.)

#include <cstdint>

namespace interlock {

template <class T>
class counter;
class striped_counter;
class bounded_counter;
class striped_bounded_counter;
template <class T>
class watermark;

template <class T>
class versioned;
class transaction;
template <class R>
class transaction_outcome;

enum class wait_status : unsigned char;
struct max_waiters;
class inplace_stop_source;
class inplace_stop_token;
template <class CallbackFn>
class inplace_stop_callback;
class timer_thread;
class manual_timer;

template <class T>
class task;
class async_mutex;
class async_shared_mutex;
class async_semaphore;
class async_condition;
enum class event_reset : unsigned char;
template <event_reset Reset>
class async_event;
using async_manual_reset_event = async_event<event_reset{0}>;
using async_auto_reset_event = async_event<event_reset{1}>;
template <class First, class... Rest>
class guard_of_all;
template <class R>
class run_result;
class tracked_async_mutex;
class lock_owner;
struct lock_report;
using lock_report_handler = void (*)(const lock_report&);

template <class Key, class Response, class Hash, class Equal>
class idempotency_cache;
enum class fingerprint : std::uint64_t;
enum class idempotency_outcome : std::uint8_t;
struct idempotency_statistics;
class serial_lane;
class serial_queue;
template <class Key, class Hash, class Equal>
class keyed_serial_queue;
struct keyed_bounds;
class worker_pool;
struct worker_pool_options;
enum class post_result;
enum class when_full;
struct queue_options;
struct queue_stats;
template <class Source, class Target>
class mirror;
enum class mirror_write_result : unsigned char;
enum class mirror_flush_result : unsigned char;
struct mirror_failure;
struct mirror_options;
struct mirror_statistics;
struct mirror_version;
template <class Value, class Version>
struct mirror_snapshot;
template <class Key>
struct keyed_mirror_options;
template <class Key, class Value, class Version, class Hash, class Equal>
class keyed_mirror;
template <class Key, class Update, class Hash, class Equal>
class merging_mirror;
template <class Key, class Hash>
class fill_leases;

}  // namespace interlock
