// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/scripts_cells.hpp - the scripts of cells and of mirror targets.
//
// A cell is a hash: v, its version; d, its bytes, or none when it was erased. Versions come from
// one key for all cells of a prefix, and are no less than the time in microseconds, so one that was
// given before a loss of data is not given again. A row of a mirror target is a hash: e and s, its
// version; d, its bytes, or none when it was deleted.

#include "script.hpp"

namespace interlock::redis::detail {

// KEYS: cells. Two items for each: its version, its bytes.
inline const script& script_cells_load() {
  static const script it(R"(
local a = {1}
for i = 1, #KEYS do
  local now = redis.call('HMGET', KEYS[i], 'v', 'd')
  a[2 * i] = now[1] or '0'
  a[2 * i + 1] = now[2]
end
return a
)");
  return it;
}

// KEYS: cell, versions, record. ARGV: 3 the version that is expected or '', 4 'w' or 'd', 5 bytes.
inline const script& script_cell_put() {
  static const script it("local op = 'cell_put'", lua_frame, lua_sums, lua_time, lua_fresh, R"(
local now = redis.call('HMGET', KEYS[1], 'v', 'd')
local v = now[1] or '0'
if ARGV[3] ~= '' and ARGV[3] ~= v then return {0, v, now[2]} end
local a = answer({1, fresh(redis.call('GET', KEYS[2]) or '0', micros())})
redis.call('SET', KEYS[2], a[2])
if ARGV[4] == 'w' then
  redis.call('HSET', KEYS[1], 'v', a[2], 'd', ARGV[5])
else
  redis.call('HSET', KEYS[1], 'v', a[2])
  redis.call('HDEL', KEYS[1], 'd')
end
return a
)");
  return it;
}

// KEYS: n cells that are checked, m that are written, versions, record.
// ARGV: 3 n, the n versions, m, and for each write 'w' or 'd' and bytes.
inline const script& script_cells_commit() {
  static const script it("local op = 'cells_commit'", lua_frame, lua_sums, lua_time, lua_fresh, R"(
local n = tonumber(ARGV[3])
local m = tonumber(ARGV[4 + n])
for i = 1, n do
  local now = redis.call('HMGET', KEYS[i], 'v', 'd')
  local v = now[1] or '0'
  if v ~= ARGV[3 + i] then return {0, i - 1, v, now[2]} end
end
for i = 1, m do redis.call('HLEN', KEYS[n + i]) end
local versions = KEYS[n + m + 1]
local last = redis.call('GET', versions) or '0'
if m == 0 then return answer({1, last}) end
local a = answer({1, fresh(last, micros())})
redis.call('SET', versions, a[2])
for i = 1, m do
  local key, at = KEYS[n + i], 3 + n + 2 * i
  if ARGV[at] == 'w' then
    redis.call('HSET', key, 'v', a[2], 'd', ARGV[at + 1])
  else
    redis.call('HSET', key, 'v', a[2])
    redis.call('HDEL', key, 'd')
  end
end
return a
)");
  return it;
}

// KEYS: row, record. ARGV: 3 epoch, 4 sequence, 5 'w' or 'd', 6 bytes.
inline const script& script_mirror_put() {
  static const script it("local op = 'mirror_put'", lua_frame, R"(
local r = redis.call('HMGET', KEYS[1], 'e', 's', 'd')
if r[1] and not (less(r[1], ARGV[3]) or (r[1] == ARGV[3] and less(r[2], ARGV[4]))) then
  return {0, r[1], r[2], r[3]}
end
local a = answer({1})
redis.call('HSET', KEYS[1], 'e', ARGV[3], 's', ARGV[4])
if ARGV[5] == 'w' then
  redis.call('HSET', KEYS[1], 'd', ARGV[6])
else
  redis.call('HDEL', KEYS[1], 'd')
end
return a
)");
  return it;
}

}  // namespace interlock::redis::detail
