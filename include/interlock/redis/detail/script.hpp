// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/script.hpp - a script that the server runs as one step, and the parts that
// many scripts share.
//
// Rules for each script
//   - ARGV[1] is the sequence of the operation id or '', ARGV[2] how long its record is kept, in
//     milliseconds. With a sequence, the last of KEYS is the record: (sequence, answer, op). An
//     answer from it keeps it as long again, if the server may write, and never less long: another
//     client may keep it for longer.
//   - It answers with a list whose first item is 1 (applied), 0 (conflict) or a reason below.
//   - It reads every key that it writes before it writes any, so a key of another type fails first.
//     The first write is the record of the id. What follows cannot fail.
//   - Numbers of callers are text. Lua's numbers are doubles: they count what stays below 2^53,
//     which is times in microseconds and numbers that begin at 1.

#include <string>
#include <string_view>

#include "sha1.hpp"

namespace interlock::redis::detail {

inline constexpr int answer_conflict = 0;
inline constexpr int answer_applied = 1;
inline constexpr int answer_expired = -1;
inline constexpr int answer_wrong_kind = -2;
inline constexpr int answer_bad_value = -3;
inline constexpr int answer_overflow = -4;
inline constexpr int answer_other_operation = -5;

struct script {
  template <class... Part>
  explicit script(Part... part) {
    (text.append(std::string_view(part)), ...);
    sha = sha1(text);
  }

  std::string text;
  std::string sha;
};

// What each begins with, after its name in `op`. less compares numbers that are not negative.
inline constexpr std::string_view lua_frame = R"(
local seq, keep = ARGV[1], ARGV[2]
local rec = seq ~= '' and KEYS[#KEYS]
local function less(a, b) return #a < #b or (#a == #b and a < b) end
if rec then
  local known = redis.call('GET', rec)
  if known then
    local before = cmsgpack.unpack(known)
    if before[1] == seq and before[3] ~= op then return {-5} end
    if before[1] == seq then
      local left = redis.pcall('PTTL', rec)
      if type(left) ~= 'number' or left < tonumber(keep) then redis.pcall('PEXPIRE', rec, keep) end
      return before[2]
    end
    if less(seq, before[1]) then return {-1} end
  end
end
local function answer(a)
  if rec then redis.call('SET', rec, cmsgpack.pack({seq, a, op}), 'PX', keep) end
  return a
end
)";

// Sums of integers of up to 20 digits, in two halves of one sign: 10 digits and the rest.
inline constexpr std::string_view lua_sums = R"(
local function halves(s)
  local sign, digits = 1, s
  if s:sub(1, 1) == '-' then sign, digits = -1, s:sub(2) end
  return sign * (tonumber(digits:sub(1, -11)) or 0), sign * tonumber(digits:sub(-10))
end
local function plus(a, b)
  local h1, l1 = halves(a)
  local h2, l2 = halves(b)
  local h, l = h1 + h2, l1 + l2
  if l >= 1e10 then h, l = h + 1, l - 1e10 elseif l <= -1e10 then h, l = h - 1, l + 1e10 end
  if h > 0 and l < 0 then h, l = h - 1, l + 1e10 end
  if h < 0 and l > 0 then h, l = h + 1, l - 1e10 end
  return h, l
end
local function below(h1, l1, h2, l2) return h1 < h2 or (h1 == h2 and l1 < l2) end
local function text(h, l)
  if h == 0 then return string.format('%.0f', l + 0) end
  return string.format('%.0f%010.0f', h, math.abs(l))
end
)";

// The time in microseconds; and a number above the one before that is no less than the time.
inline constexpr std::string_view lua_time = R"(
local function micros()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
local function whole(n) return string.format('%.0f', n) end
)";
inline constexpr std::string_view lua_fresh = R"(
local function fresh(before, now)
  if #before < 16 or (#before == 16 and before < '9007199254740000') then
    return whole(math.max(tonumber(before) + 1, now))
  end
  return text(plus(before, '1'))
end
)";

}  // namespace interlock::redis::detail
