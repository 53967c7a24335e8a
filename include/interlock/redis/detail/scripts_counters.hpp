// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/scripts_counters.hpp - the scripts of counters and bounded counters.
//
// A counter is a string. A bounded counter is a hash: v, its value; l and h, its bounds.

#include "script.hpp"

namespace interlock::redis::detail {

// KEYS: counter, record. ARGV[3]: the amount.
inline const script& script_counter_add() {
  static const script it("local op = 'counter_add'", lua_frame, lua_sums, R"(
local v = redis.call('GET', KEYS[1]) or '0'
if #v > 20 or not v:match('^%-?%d+$') then return {-3} end
local h, l = plus(v, ARGV[3])
if below(h, l, -922337203, -6854775808) or below(922337203, 6854775807, h, l) then return {-4} end
local a = answer({1, text(h, l)})
redis.call('SET', KEYS[1], a[2])
return a
)");
  return it;
}

// KEYS: counter, record. ARGV[3]: the new value.
inline const script& script_counter_exchange() {
  static const script it("local op = 'counter_exchange'", lua_frame, lua_sums, R"(
local v = redis.call('GET', KEYS[1]) or '0'
if #v > 20 or not v:match('^%-?%d+$') then return {-3} end
local h, l = halves(v)
if below(h, l, -922337203, -6854775808) or below(922337203, 6854775807, h, l) then return {-3} end
local a = answer({1, v})
redis.call('SET', KEYS[1], ARGV[3])
return a
)");
  return it;
}

// KEYS: bounded counter, record. ARGV: 3 value, 4 low, 5 high.
inline const script& script_bounded_open() {
  static const script it("local op = 'bounded_open'", lua_frame, R"(
local r = redis.call('HMGET', KEYS[1], 'v', 'l', 'h')
if r[1] and (r[2] ~= ARGV[4] or r[3] ~= ARGV[5]) then return {-2, r[1], r[2], r[3]} end
if r[1] then return answer({1, r[1], r[2], r[3]}) end
local a = answer({1, ARGV[3], ARGV[4], ARGV[5]})
redis.call('HSET', KEYS[1], 'v', ARGV[3], 'l', ARGV[4], 'h', ARGV[5])
return a
)");
  return it;
}

// KEYS: bounded counter, record. ARGV[3]: the amount.
inline const script& script_bounded_add() {
  static const script it("local op = 'bounded_add'", lua_frame, lua_sums, R"(
local r = redis.call('HMGET', KEYS[1], 'v', 'l', 'h')
if not r[1] then return {-2} end
local h, l = plus(r[1], ARGV[3])
local lh, ll = halves(r[2])
local hh, hl = halves(r[3])
if below(h, l, lh, ll) or below(hh, hl, h, l) then return {0, r[1], r[2], r[3]} end
local a = answer({1, text(h, l)})
redis.call('HSET', KEYS[1], 'v', a[2])
return a
)");
  return it;
}

}  // namespace interlock::redis::detail
