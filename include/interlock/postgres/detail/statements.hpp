// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/detail/statements.hpp - the SQL of the protocol, one statement a step.
//
// READ COMMITTED is enough for each of them: a statement that waited for a row looks at its WHERE
// again. '@' stands for the client's schema. A statement that changes something gives one column,
// `answer`, and a row if it was done; under an operation id it is written into another one, which
// keeps the answer, and which fails, with all that was done, if the session's sequence is not
// larger than before: the error IL001 carries what was kept, and IL002 says that it is another
// operation's.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "../../store/protocol.hpp"

namespace interlock::postgres::detail {

enum class statement : std::uint8_t {
  counter_add,
  counter_exchange,
  bounded_add,
  cell_put,
  cell_put_first,
  cell_put_expected,
  lease_acquire,
  lease_renew,
  lease_release,
  lease_raise,
  fenced_write,
  idempotency_complete,
  idempotency_release,
  idempotency_heartbeat,
  queue_push,
  queue_finish,
  queue_give_back,
  queue_heartbeat,
  queue_restore,
  mirror_put,
  // those that take no id
  counter_load,
  bounded_open,
  bounded_load,
  cell_load,
  cells_load,
  cells_commit,
  lease_remaining,
  fenced_open,
  fenced_watermark,
  idempotency_claim,
  idempotency_state,
  queue_take,
  queue_set_aside,
  queue_depth,
  mirror_get,
  operation_find,
  operation_touch,
  run_record,
  run_find,
  run_claim,
  run_complete,
  prune_operations,
  prune_idempotency,
  prune_keys,
  count
};

inline constexpr std::size_t statement_count = static_cast<std::size_t>(statement::count);

struct statement_text {
  std::string_view with;  // common table expressions before it, "name as (...)"; or ""
  std::string_view body;
  int parameters = 0;  // of those that take an id
};

// In the order of the enum.
inline constexpr std::array<statement_text, statement_count> statement_texts{{
    {"",
     "insert into @counter as c (name, value) values ($1, $2) on conflict (name) do update set "
     "value = c.value + excluded.value returning value as answer",
     2},
    {"",
     "insert into @counter as c (name, value) values ($1, $2) on conflict (name) do update set "
     "previous = c.value, value = excluded.value returning previous as answer",
     2},
    {"",
     "update @bounded_counter set value = value + $2::int8 where name = $1 and value::numeric + "
     "$2::int8 between low and high returning value as answer",
     2},
    {"",
     "insert into @cell as c (name, version, bytes) values ($1, nextval('@version'), $2) on "
     "conflict (name) do update set version = nextval('@version'), bytes = excluded.bytes "
     "returning version as answer",
     2},
    {"",
     "insert into @cell as c (name, version, bytes) values ($1, nextval('@version'), $2) on "
     "conflict (name) do update set version = excluded.version, bytes = excluded.bytes where "
     "c.version = 0 returning version as answer",
     2},
    {"",
     "update @cell set version = nextval('@version'), bytes = $2 where name = $1 and version = "
     "$3 returning version as answer",
     3},
    {"",
     "insert into @lease as l (name, owner, until, fence) values ($1, $2, clock_timestamp() + "
     "$3::int8 * interval '1 ms', (extract(epoch from clock_timestamp()) * 1000000)::int8) on "
     "conflict (name) do update set owner = excluded.owner, until = clock_timestamp() + "
     "$3::int8 * interval '1 ms', fence = case when l.owner = excluded.owner then l.fence else "
     "greatest(l.fence + 1, excluded.fence) end where l.owner is null or l.owner = "
     "excluded.owner or l.until <= clock_timestamp() returning fence as answer",
     3},
    {"",
     "update @lease set until = clock_timestamp() + $4::int8 * interval '1 ms' where name = $1 "
     "and owner = $2 and fence = $3 returning 0::int8 as answer",
     4},
    {"",
     "update @lease set owner = null where name = $1 and owner = $2 and fence = $3 returning "
     "0::int8 as answer",
     3},
    {"",
     "update @lease set fence = greatest(fence, $4::int8 + 1) where name = $1 and owner = $2 "
     "and fence = $3 returning fence as answer",
     4},
    {"",
     "update @fenced set bytes = $4 where name = $1 and fence = $2 and owner = $3 returning "
     "0::int8 as answer",
     4},
    {"",
     "update @idempotency set done = true, response = case when done then response else $5 end, "
     "expires = clock_timestamp() + $6::int8 * interval '1 ms' where name = $1 and key = $2 and "
     "owner = $3 and attempt = $4 returning 0::int8 as answer",
     6},
    {"",
     "update @idempotency set owner = null, until = clock_timestamp() where name = $1 and key = "
     "$2 and owner = $3 and attempt = $4 and not done returning 0::int8 as answer",
     4},
    {"",
     "update @idempotency set until = clock_timestamp() + $5::int8 * interval '1 ms' where name "
     "= $1 and key = $2 and owner = $3 and attempt = $4 and not done returning 0::int8 as answer",
     5},
    {"k as (insert into @queue_key as k (name, key, next, waiting, due) values ($1, $2, 2, 1, "
     "clock_timestamp()) on conflict (name, key) do update set next = k.next + 1, waiting = "
     "k.waiting + 1, due = case when k.waiting = 0 then clock_timestamp() else k.due end "
     "returning next - 1 as sequence)",
     "insert into @queue_item (name, key, sequence, payload) select $1, $2, k.sequence, $3 from "
     "k returning sequence as answer",
     3},
    {"k as (update @queue_key set waiting = waiting - 1, owner = null, tries = 0, due = "
     "clock_timestamp() where name = $1 and key = $2 and owner = $3 and attempt = $4 returning "
     "taken)",
     "delete from @queue_item i using k where i.name = $1 and i.key = $2 and i.sequence = "
     "k.taken returning 0::int8 as answer",
     4},
    {"",
     "update @queue_key set owner = null, due = clock_timestamp() + $5::int8 * interval '1 ms' "
     "where name = $1 and key = $2 and owner = $3 and attempt = $4 returning 0::int8 as answer",
     5},
    {"",
     "update @queue_key set due = clock_timestamp() + $5::int8 * interval '1 ms' where name = "
     "$1 and key = $2 and owner = $3 and attempt = $4 returning 0::int8 as answer",
     5},
    {"a as (delete from @queue_aside where name = $1 and key = $2 and sequence = $3 returning "
     "payload), k as (insert into @queue_key as k (name, key, next, waiting, due) select $1, "
     "$2, 2, 1, clock_timestamp() from a on conflict (name, key) do update set next = k.next + "
     "1, waiting = k.waiting + 1, due = case when k.waiting = 0 then clock_timestamp() else "
     "k.due end returning next - 1 as sequence)",
     "insert into @queue_item (name, key, sequence, payload) select $1, $2, k.sequence, "
     "a.payload from k, a returning sequence as answer",
     3},
    {"",
     "insert into @mirror as m (name, key, epoch, sequence, bytes) values ($1, $2, $3, $4, $5) "
     "on conflict (name, key) do update set epoch = excluded.epoch, sequence = "
     "excluded.sequence, bytes = excluded.bytes where (m.epoch, m.sequence) < (excluded.epoch, "
     "excluded.sequence) returning 0::int8 as answer",
     5},
    {"", "select value from @counter where name = $1"},
    {"",
     "insert into @bounded_counter as b (name, value, low, high) values ($1, $2, $3, $4) on "
     "conflict (name) do nothing returning value, low, high"},
    {"", "select value, low, high from @bounded_counter where name = $1"},
    {"", "select version, bytes from @cell where name = $1"},
    {"",
     "select n.i - 1, c.version, c.bytes from unnest($1::bytea[]) with ordinality as n (name, "
     "i) join @cell c on c.name = n.name"},
    {"",
     "select answer, failed, now_version, now_bytes from @cells_commit($1::bytea[], $2::int8[], "
     "$3::bytea[], $4::bytea[], $5::bytea, $6::bytea, $7::int8)"},
    {"",
     "select case when owner is null then 0 else greatest(0, ceil(extract(epoch from until - "
     "clock_timestamp()) * 1000)) end::int8 from @lease where name = $1"},
    {"",
     "insert into @fenced as f (name, fence, owner) values ($1, $2, $3) on conflict (name) do "
     "update set fence = excluded.fence, owner = excluded.owner where f.fence < excluded.fence "
     "or (f.fence = excluded.fence and f.owner = excluded.owner) returning bytes"},
    {"", "select fence from @fenced where name = $1"},
    {"",
     "insert into @idempotency as i (name, key, print, owner, until, attempt) values ($1, $2, "
     "$3, $4, clock_timestamp() + $5::int8 * interval '1 ms', 1) on conflict (name, key) do "
     "update set print = excluded.print, owner = excluded.owner, until = clock_timestamp() + "
     "$5::int8 * interval '1 ms', attempt = case when i.owner = excluded.owner and not i.done "
     "then i.attempt else i.attempt + 1 end, done = false, response = null, expires = null "
     "where case when i.done then i.expires <= clock_timestamp() when i.owner is null then true "
     "else i.print = excluded.print and (i.owner = excluded.owner or i.until <= "
     "clock_timestamp()) end returning attempt"},
    {"",
     "select print, done, response, greatest(0, ceil(extract(epoch from until - clock_timestamp()) "
     "* 1000))::int8, case when done then expires <= clock_timestamp() else owner is null end, "
     "attempt from @idempotency where name = $1 and key = $2"},
    {"", "select key, sequence, attempt, tries, payload, next_in from @queue_take($1, $2, $3, $4)"},
    {"",
     "select key, sequence, attempt, tries, payload from @queue_aside where name = $1 order by "
     "at, key, sequence limit $2"},
    {"",
     "select coalesce(sum(waiting), 0)::int8, count(*) filter (where owner is not null and due "
     "> clock_timestamp()), (select count(*) from @queue_aside where name = $1) from @queue_key "
     "where name = $1 and waiting > 0"},
    {"", "select epoch, sequence, bytes from @mirror where name = $1 and key = $2"},
    {"",
     "select sequence, answer, step::int8, (extract(epoch from clock_timestamp() - at) * "
     "1000)::int8 from @operation where kind = $2::int8 and object = $1 and session = $3"},
    // It waits for nobody, no standby either: the answer is there.
    {"",
     "update @operation set at = clock_timestamp() where ctid = any (array(select ctid from "
     "@operation where kind = $2::int8 and object = $1 and session = $3 and "
     "set_config('synchronous_commit', 'off', true) is not null for update skip locked))"},
    // A transaction as a whole is an object without a name, of kind 100.
    {"",
     "insert into @operation as o (kind, object, session, sequence, response) values (100, '', $1, "
     "$2, $3) on conflict (kind, object, session) do update set sequence = excluded.sequence, "
     "response = excluded.response, at = excluded.at where o.sequence < excluded.sequence "
     "returning 1"},
    {"",
     "select sequence, response, (extract(epoch from clock_timestamp() - at) * 1000)::int8 from "
     "@operation where kind = 100 and object = '' and session = $1"},
    // Claim, effect and answer in one transaction: nobody else ever sees a key that is claimed.
    {"",
     "insert into @idempotency as i (name, key, print, until, attempt, done) values ($1, $2, $3, "
     "clock_timestamp(), 1, true) on conflict (name, key) do update set print = excluded.print, "
     "owner = null, until = excluded.until, attempt = i.attempt + 1, done = true, response = null, "
     "expires = null where case when i.done then i.expires <= clock_timestamp() when i.owner is "
     "null then true else i.print = excluded.print and i.until <= clock_timestamp() end returning "
     "attempt"},
    {"",
     "update @idempotency set response = $3, expires = clock_timestamp() + $4::int8 * interval '1 "
     "ms' where name = $1 and key = $2"},
    // Whom somebody holds is not waited for: he may be about to live again. A key whose items were
    // set aside stays, as it would number others like them.
    {"",
     "delete from @operation where ctid = any (array(select ctid from @operation tablesample "
     "system (least(100, 6400.0 * 8192 / greatest(8192, pg_relation_size('@operation')))) where "
     "at < clock_timestamp() - $1::int8 * interval '1 ms' limit 1000 for update skip locked))"},
    {"",
     "delete from @idempotency where ctid = any (array(select ctid from @idempotency "
     "tablesample system (least(100, 6400.0 * 8192 / greatest(8192, "
     "pg_relation_size('@idempotency')))) where case when done then expires else until end < "
     "clock_timestamp() - $1::int8 * interval '1 ms' limit 1000 for update skip locked))"},
    {"",
     "delete from @queue_key where ctid = any (array(select ctid from @queue_key k tablesample "
     "system (least(100, 6400.0 * 8192 / greatest(8192, pg_relation_size('@queue_key')))) where "
     "waiting = 0 and due < clock_timestamp() - $1::int8 * interval '1 ms' and not exists (select "
     "from @queue_aside a where a.name = k.name and a.key = k.key) limit 1000 for update of k skip "
     "locked))"},
}};

// Returns: which kind's records the statement's answer is kept with.
[[nodiscard]] constexpr store::object_kind kind_of(statement s) noexcept {
  using store::object_kind;
  if (s <= statement::counter_exchange) return object_kind::counter;
  if (s == statement::bounded_add) return object_kind::bounded_counter;
  if (s <= statement::cell_put_expected || s == statement::cells_commit) return object_kind::cell;
  if (s <= statement::lease_raise) return object_kind::mutex;
  if (s == statement::fenced_write) return object_kind::fenced;
  if (s <= statement::idempotency_heartbeat) return object_kind::idempotency;
  return s <= statement::queue_restore ? object_kind::queue : object_kind::mirror;
}
// Returns: which operation of the kind it is part of. Answers are kept with it: none may change.
[[nodiscard]] constexpr int step_of(statement s) noexcept {
  switch (s) {
    case statement::counter_exchange:
    case statement::cells_commit:
    case statement::lease_renew:
    case statement::idempotency_release:
    case statement::queue_finish:
      return 1;
    case statement::lease_release:
    case statement::idempotency_heartbeat:
    case statement::queue_give_back:
      return 2;
    case statement::lease_raise:
    case statement::queue_heartbeat:
      return 3;
    case statement::queue_restore:
      return 4;
    default:
      return 0;
  }
}
[[nodiscard]] constexpr bool takes_id(statement s) noexcept {
  return s < statement::counter_load;
}

// Returns: the text with the schema (`"prefix".`) in the place of each '@'.
[[nodiscard]] inline std::string with_schema(std::string_view text, std::string_view schema) {
  std::string out;
  for (const char c : text) {
    if (c == '@') {
      out += schema;
    } else {
      out += c;
    }
  }
  return out;
}

// Returns: the statement as it is sent.
[[nodiscard]] inline std::string plain_sql(statement s, std::string_view schema) {
  const statement_text& text = statement_texts[static_cast<std::size_t>(s)];
  std::string sql;
  if (!text.with.empty()) {
    sql += "with ";
    sql += text.with;
    sql += ' ';
  }
  sql += text.body;
  return with_schema(sql, schema);
}

// Returns: the same under an operation id, whose session and sequence are the last two parameters.
[[nodiscard]] inline std::string once_sql(statement s, std::string_view schema) {
  const statement_text& text = statement_texts[static_cast<std::size_t>(s)];
  std::string sql = "with ";
  sql += text.with;
  if (!text.with.empty()) sql += ", ";
  sql += "e as (";
  sql += text.body;
  sql += ") insert into @operation as o (kind, step, object, session, sequence, answer) select ";
  sql += std::to_string(static_cast<int>(kind_of(s)));
  sql += ", ";
  sql += std::to_string(step_of(s));
  sql += ", $1, $";
  sql += std::to_string(text.parameters + 1);
  sql += ", $";
  sql += std::to_string(text.parameters + 2);
  sql +=
      ", e.answer from e on conflict (kind, object, session) do update set step = excluded.step, "
      "sequence = excluded.sequence, answer = excluded.answer, at = excluded.at where case when "
      "o.sequence < excluded.sequence then true else @repeated(o.sequence, o.answer, o.at, "
      "o.sequence = excluded.sequence and o.step <> excluded.step) end returning answer";
  return with_schema(sql, schema);
}

}  // namespace interlock::postgres::detail
