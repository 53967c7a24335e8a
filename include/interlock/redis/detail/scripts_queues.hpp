// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/scripts_queues.hpp - the scripts of serial queues.
//
// A queue is six keys.
//   state    hash: t, the last ticket; a, the last attempt; and for each key K of the queue
//            nK the last sequence given, hK the oldest item (none: K is empty), kK how often that
//            was taken, oK and cK owner and attempt of the last take (none: nobody's);
//            xK:SEQUENCE how often an item that is set aside was taken, ':', its last attempt
//   items    hash: K:SEQUENCE to payload, those set aside included
//   ready    sorted set: keys with an item and no owner at work, by ticket, so the longest-waiting
//            is first
//   leased   sorted set: keys that are worked on, by when the lease ends
//   delayed  sorted set: keys given back for later, by when that is
//   aside    sorted set: K:SEQUENCE of the items that failed too often, by ticket
// A key with items is in exactly one of ready, leased and delayed. One whose lease has ended goes
// to ready with the next take; its owner may still finish it until another has taken it. Tickets,
// not times, order what is ready: a clock that goes back delays leases and delays, and nothing
// else.

#include "script.hpp"

namespace interlock::redis::detail {

inline constexpr std::string_view lua_queue = R"(
local S, I, R, L, D, A = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
redis.call('HLEN', S) redis.call('HLEN', I)
for i = 3, 6 do redis.call('ZCARD', KEYS[i]) end
local function ready(k) redis.call('ZADD', R, redis.call('HINCRBY', S, 't', 1), k) end
local function put(k, n, payload)
  redis.call('HSET', S, 'n' .. k, n)
  redis.call('HSET', I, k .. ':' .. n, payload)
  if redis.call('HSETNX', S, 'h' .. k, n) == 1 then ready(k) end
end
local function next_of(k)
  return string.format('%.0f', tonumber(redis.call('HGET', S, 'n' .. k) or '0') + 1)
end
local function pass(k, h)
  redis.call('HDEL', S, 'o' .. k, 'c' .. k, 'k' .. k)
  if tonumber(h) < tonumber(redis.call('HGET', S, 'n' .. k)) then
    redis.call('HSET', S, 'h' .. k, string.format('%.0f', tonumber(h) + 1))
    return true
  end
  redis.call('HDEL', S, 'h' .. k)
  return false
end
local function owned(k)
  local r = redis.call('HMGET', S, 'o' .. k, 'c' .. k)
  return r[1] == ARGV[4] and r[2] == ARGV[5]
end
)";

// KEYS: the six, record. ARGV: 3 key, 4 payload.
inline const script& script_queue_push() {
  static const script it("local op = 'queue_push'", lua_frame, lua_queue, R"(
local a = answer({1, next_of(ARGV[3])})
put(ARGV[3], a[2], ARGV[4])
return a
)");
  return it;
}

// KEYS: the six, record. ARGV: 3 owner, 4 lease, 5 most tries. Applied: key, sequence, attempt,
// tries, payload. Conflict: milliseconds until something is due, or nothing.
inline const script& script_queue_take() {
  static const script it("local op = 'queue_take'", lua_frame, lua_sums, lua_time, lua_fresh,
                         lua_queue, R"(
local now = micros()
for _, z in ipairs({L, D}) do
  for _, k in ipairs(redis.call('ZRANGEBYSCORE', z, '-inf', whole(now), 'LIMIT', 0, 100)) do
    redis.call('ZREM', z, k)
    ready(k)
  end
end
for i = 1, 1000 do
  local k = redis.call('ZRANGE', R, 0, 0)[1]
  if not k then break end
  local r = redis.call('HMGET', S, 'h' .. k, 'k' .. k)
  local item, tries = k .. ':' .. r[1], tonumber(r[2] or '0')
  if tries < tonumber(ARGV[5]) then
    local attempt = fresh(redis.call('HGET', S, 'a') or '0', now)
    local a = answer({1, k, r[1], attempt, whole(tries + 1), redis.call('HGET', I, item) or ''})
    redis.call('HSET', S, 'a', attempt, 'o' .. k, ARGV[3], 'c' .. k, attempt, 'k' .. k, a[5])
    redis.call('ZREM', R, k)
    redis.call('ZADD', L, whole(now + ARGV[4] * 1000), k)
    return a
  end
  redis.call('ZADD', A, redis.call('HINCRBY', S, 't', 1), item)
  local last = redis.call('HGET', S, 'c' .. k) or '0'
  redis.call('HSET', S, 'x' .. item, whole(tries) .. ':' .. last)
  if not pass(k, r[1]) then redis.call('ZREM', R, k) end
end
if redis.call('ZCARD', R) > 0 then return {0, 0} end
local first
for _, z in ipairs({L, D}) do
  local score = redis.call('ZRANGE', z, 0, 0, 'WITHSCORES')[2]
  if score and (not first or tonumber(score) < first) then first = tonumber(score) end
end
return {0, first and math.max(math.ceil((first - now) / 1000), 0) or false}
)");
  return it;
}

// KEYS: the six, record. ARGV: 3 key, 4 owner, 5 attempt.
inline const script& script_queue_finish() {
  static const script it("local op = 'queue_finish'", lua_frame, lua_queue, R"(
local k = ARGV[3]
if not owned(k) then return {0} end
local h = redis.call('HGET', S, 'h' .. k)
local a = answer({1})
redis.call('HDEL', I, k .. ':' .. h)
redis.call('ZREM', L, k)
redis.call('ZREM', R, k)
if pass(k, h) then ready(k) end
return a
)");
  return it;
}

// KEYS: the six, record. ARGV: 3 key, 4 owner, 5 attempt, 6 delay.
inline const script& script_queue_give_back() {
  static const script it("local op = 'queue_give_back'", lua_frame, lua_time, lua_queue, R"(
local k = ARGV[3]
if not owned(k) then return {0} end
local a = answer({1})
redis.call('HDEL', S, 'o' .. k)
redis.call('ZREM', L, k)
redis.call('ZREM', R, k)
if tonumber(ARGV[6]) > 0 then
  redis.call('ZADD', D, whole(micros() + ARGV[6] * 1000), k)
else
  ready(k)
end
return a
)");
  return it;
}

// KEYS: the six, record. ARGV: 3 key, 4 owner, 5 attempt, 6 lease.
inline const script& script_queue_heartbeat() {
  static const script it("local op = 'queue_heartbeat'", lua_frame, lua_time, lua_queue, R"(
local k = ARGV[3]
if not owned(k) then return {0} end
local a = answer({1})
redis.call('ZREM', R, k)
redis.call('ZADD', L, whole(micros() + ARGV[6] * 1000), k)
return a
)");
  return it;
}

// KEYS: the six, record. ARGV[3]: how many at most. Three items for each:
// K:SEQUENCE, tries:attempt, payload.
inline const script& script_queue_set_aside() {
  static const script it("local op = 'queue_set_aside'", lua_frame, lua_queue, R"(
local a = {1}
for _, item in ipairs(redis.call('ZRANGE', A, 0, tonumber(ARGV[3]) - 1)) do
  a[#a + 1] = item
  a[#a + 1] = redis.call('HGET', S, 'x' .. item) or '0:0'
  a[#a + 1] = redis.call('HGET', I, item) or ''
end
return a
)");
  return it;
}

// KEYS: the six, record. ARGV: 3 key, 4 sequence.
inline const script& script_queue_restore() {
  static const script it("local op = 'queue_restore'", lua_frame, lua_queue, R"(
local k, item = ARGV[3], ARGV[3] .. ':' .. ARGV[4]
if not redis.call('ZSCORE', A, item) then return {0} end
local payload = redis.call('HGET', I, item) or ''
local a = answer({1, next_of(k)})
redis.call('ZREM', A, item)
redis.call('HDEL', I, item)
redis.call('HDEL', S, 'x' .. item)
put(k, a[2], payload)
return a
)");
  return it;
}

// KEYS: the six. Three items: items that wait, keys that are worked on, items set aside.
inline const script& script_queue_depth() {
  static const script it("local op = 'queue_depth'", lua_frame, lua_time, lua_queue, R"(
local aside = redis.call('ZCARD', A)
local taken = redis.call('ZCOUNT', L, '(' .. whole(micros()), '+inf')
return {1, redis.call('HLEN', I) - aside, taken, aside}
)");
  return it;
}

}  // namespace interlock::redis::detail
