// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/scripts_leases.hpp - the scripts of mutexes, fenced resources and
// idempotency stores.
//
// A mutex is a hash: f, its last fence; o, its owner and u, when his lease ends, in microseconds of
// the server's clock. It stays when the lease ends: its owner may renew it until another takes it.
// A fenced resource is a hash: f and o, who opened it last; d, its bytes. A key of an idempotency
// store is a hash: h, the fingerprint; s, r(unning), d(one) or f(ree); a, the last attempt; o, who
// runs or ran it; u, when the lease or the time that the answer is kept ends; r, the response. The
// hash stays for the client's retention after that, so attempts go on counting that long.

#include "script.hpp"

namespace interlock::redis::detail {

// KEYS: mutex, record. ARGV: 3 owner, 4 lease in milliseconds.
inline const script& script_lease_acquire() {
  static const script it("local op = 'lease_acquire'", lua_frame, lua_sums, lua_time, lua_fresh, R"(
local r = redis.call('HMGET', KEYS[1], 'o', 'f', 'u')
local now = micros()
local ends = whole(now + ARGV[4] * 1000)
if r[1] == ARGV[3] then
  local a = answer({1, r[2]})
  redis.call('HSET', KEYS[1], 'u', ends)
  return a
end
if r[1] and tonumber(r[3]) > now then return {0, math.ceil((tonumber(r[3]) - now) / 1000)} end
local a = answer({1, fresh(r[2] or '0', now)})
redis.call('HSET', KEYS[1], 'o', ARGV[3], 'f', a[2], 'u', ends)
return a
)");
  return it;
}

// KEYS: mutex, record. ARGV: 3 owner, 4 fence, 5 lease.
inline const script& script_lease_renew() {
  static const script it("local op = 'lease_renew'", lua_frame, lua_time, R"(
local r = redis.call('HMGET', KEYS[1], 'o', 'f')
if r[1] ~= ARGV[3] or r[2] ~= ARGV[4] then return {0} end
local a = answer({1})
redis.call('HSET', KEYS[1], 'u', whole(micros() + ARGV[5] * 1000))
return a
)");
  return it;
}

// KEYS: mutex, record. ARGV: 3 owner, 4 fence.
inline const script& script_lease_release() {
  static const script it("local op = 'lease_release'", lua_frame, R"(
local r = redis.call('HMGET', KEYS[1], 'o', 'f')
if r[1] ~= ARGV[3] or r[2] ~= ARGV[4] then return {0} end
local a = answer({1})
redis.call('HDEL', KEYS[1], 'o', 'u')
return a
)");
  return it;
}

// KEYS: mutex, record. ARGV: 3 owner, 4 fence, 5 what the fence has to exceed.
inline const script& script_lease_raise() {
  static const script it("local op = 'lease_raise'", lua_frame, lua_sums, lua_time, lua_fresh, R"(
local r = redis.call('HMGET', KEYS[1], 'o', 'f')
if r[1] ~= ARGV[3] then return {0} end
local high = less(ARGV[5], r[2])
if r[2] ~= ARGV[4] and not high then return {0} end
if high then return answer({1, r[2]}) end
local a = answer({1, fresh(ARGV[5], micros())})
redis.call('HSET', KEYS[1], 'f', a[2])
return a
)");
  return it;
}

// KEYS: resource. ARGV: 3 fence, 4 owner.
inline const script& script_fenced_open() {
  static const script it("local op = 'fenced_open'", lua_frame, R"(
local r = redis.call('HMGET', KEYS[1], 'f', 'o', 'd')
if r[1] and (less(ARGV[3], r[1]) or (r[1] == ARGV[3] and r[2] ~= ARGV[4])) then return {0, r[1]} end
redis.call('HSET', KEYS[1], 'f', ARGV[3], 'o', ARGV[4])
return {1, r[3]}
)");
  return it;
}

// KEYS: resource, record. ARGV: 3 fence, 4 owner, 5 bytes.
inline const script& script_fenced_write() {
  static const script it("local op = 'fenced_write'", lua_frame, R"(
local r = redis.call('HMGET', KEYS[1], 'f', 'o')
if r[1] ~= ARGV[3] or r[2] ~= ARGV[4] then return {0, r[1] or '0'} end
local a = answer({1})
redis.call('HSET', KEYS[1], 'd', ARGV[5])
return a
)");
  return it;
}

// KEYS: key, record. ARGV: 3 fingerprint, 4 owner, 5 lease. Answers 1, then 0 (claimed), 1 (done),
// 2 (busy) or 3 (mismatch), the attempt, and the response or what is left of the lease.
inline const script& script_idempotency_claim() {
  static const script it("local op = 'idempotency_claim'", lua_frame, lua_time, R"(
local r = redis.call('HMGET', KEYS[1], 'h', 's', 'a', 'o', 'u', 'r')
local now = micros()
local mine = r[2] == 'r' and r[4] == ARGV[4]
local free = not r[2] or r[2] == 'f' or (r[2] == 'd' and tonumber(r[5]) <= now)
if not free and r[1] ~= ARGV[3] then return {1, 3, r[3], ''} end
if not free and r[2] == 'd' then return {1, 1, r[3], r[6] or ''} end
if not free and not mine and tonumber(r[5]) > now then
  return {1, 2, r[3], whole(math.ceil((tonumber(r[5]) - now) / 1000))}
end
local attempt = r[3] or '0'
if not mine then attempt = whole(tonumber(attempt) + 1) end
local a = answer({1, 0, attempt, ''})
redis.call('HSET', KEYS[1], 'h', ARGV[3], 's', 'r', 'a', attempt, 'o', ARGV[4],
           'u', whole(now + ARGV[5] * 1000))
redis.call('HDEL', KEYS[1], 'r')
redis.call('PEXPIRE', KEYS[1], whole(keep + ARGV[5]))
return a
)");
  return it;
}

// KEYS: key, record. ARGV: 3 owner, 4 attempt, 5 response, 6 how long it is kept.
inline const script& script_idempotency_complete() {
  static const script it("local op = 'idempotency_complete'", lua_frame, lua_time, R"(
local r = redis.call('HMGET', KEYS[1], 's', 'a', 'o')
if (r[1] ~= 'r' and r[1] ~= 'd') or r[2] ~= ARGV[4] or r[3] ~= ARGV[3] then return {0} end
local a = answer({1})
if r[1] == 'd' then return a end
redis.call('HSET', KEYS[1], 's', 'd', 'r', ARGV[5], 'u', whole(micros() + ARGV[6] * 1000))
redis.call('PEXPIRE', KEYS[1], whole(keep + ARGV[6]))
return a
)");
  return it;
}

// KEYS: key, record. ARGV: 3 owner, 4 attempt.
inline const script& script_idempotency_release() {
  static const script it("local op = 'idempotency_release'", lua_frame, R"(
local r = redis.call('HMGET', KEYS[1], 's', 'a', 'o')
if r[1] ~= 'r' or r[2] ~= ARGV[4] or r[3] ~= ARGV[3] then return {0} end
local a = answer({1})
redis.call('HSET', KEYS[1], 's', 'f')
return a
)");
  return it;
}

// KEYS: key, record. ARGV: 3 owner, 4 attempt, 5 lease.
inline const script& script_idempotency_heartbeat() {
  static const script it("local op = 'idempotency_heartbeat'", lua_frame, lua_time, R"(
local r = redis.call('HMGET', KEYS[1], 's', 'a', 'o')
if r[1] ~= 'r' or r[2] ~= ARGV[4] or r[3] ~= ARGV[3] then return {0} end
local a = answer({1})
redis.call('HSET', KEYS[1], 'u', whole(micros() + ARGV[5] * 1000))
redis.call('PEXPIRE', KEYS[1], whole(keep + ARGV[5]))
return a
)");
  return it;
}

}  // namespace interlock::redis::detail
