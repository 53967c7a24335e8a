// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/fwd.hpp - names only, for headers that hold or pass these types by reference.

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
class tracked_async_mutex;
class lock_owner;
struct lock_report;

template <class Key, class Response, class Hash, class Equal>
class idempotency_cache;
class serial_queue;
template <class Key, class Hash, class Equal>
class keyed_serial_queue;
template <class Source, class Target>
class mirror;

}  // namespace interlock
