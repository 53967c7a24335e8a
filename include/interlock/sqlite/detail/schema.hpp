// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/schema.hpp - the tables, and every statement on them.
//
// '@' stands for the client's prefix and an underscore. What follows it in a table's name has no
// underscore, so two prefixes never make one name. SQLite takes "A" and "a" for one name: a capital
// is written as '$' and its small letter. Names and keys are blobs: they may hold any bytes.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace interlock::sqlite::detail {

inline constexpr std::int64_t schema_version = 1;

// In one transaction, where they are not yet. `cell`, `fenced`, `claim`, `item`, `aside` and
// `mirror` hold values of any size, so they have rowids.
inline constexpr std::string_view create_tables = R"sql(
CREATE TABLE "@meta"(one INTEGER PRIMARY KEY CHECK(one=1), schema INTEGER NOT NULL,
  incarnation TEXT NOT NULL, version INTEGER NOT NULL, turn INTEGER NOT NULL) STRICT;
CREATE TABLE "@answer"(session BLOB NOT NULL, kind INTEGER NOT NULL, name BLOB NOT NULL,
  sequence INTEGER NOT NULL, operation BLOB NOT NULL, answer BLOB NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY(session, kind, name)) STRICT, WITHOUT ROWID;
CREATE TABLE "@counter"(name BLOB PRIMARY KEY NOT NULL, value INTEGER NOT NULL)
  STRICT, WITHOUT ROWID;
CREATE TABLE "@bounded"(name BLOB PRIMARY KEY NOT NULL, value INTEGER NOT NULL,
  low INTEGER NOT NULL, high INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE "@cell"(name BLOB PRIMARY KEY NOT NULL, version INTEGER NOT NULL, bytes BLOB) STRICT;
CREATE TABLE "@mutex"(name BLOB PRIMARY KEY NOT NULL, owner BLOB, fence INTEGER NOT NULL,
  until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE "@fenced"(name BLOB PRIMARY KEY NOT NULL, fence INTEGER NOT NULL,
  owner BLOB NOT NULL, bytes BLOB) STRICT;
CREATE TABLE "@claim"(store BLOB NOT NULL, key BLOB NOT NULL, print INTEGER NOT NULL,
  state INTEGER NOT NULL, attempt INTEGER NOT NULL, owner BLOB NOT NULL, until INTEGER NOT NULL,
  response BLOB, PRIMARY KEY(store, key)) STRICT;
CREATE TABLE "@queue"(queue BLOB NOT NULL, key BLOB NOT NULL, next INTEGER NOT NULL,
  attempt INTEGER NOT NULL, owner BLOB, due INTEGER, turn INTEGER NOT NULL,
  PRIMARY KEY(queue, key)) STRICT, WITHOUT ROWID;
CREATE INDEX "@queuedue" ON "@queue"(queue, due, turn) WHERE due IS NOT NULL;
CREATE TABLE "@item"(queue BLOB NOT NULL, key BLOB NOT NULL, sequence INTEGER NOT NULL,
  tries INTEGER NOT NULL, payload BLOB NOT NULL, PRIMARY KEY(queue, key, sequence)) STRICT;
CREATE TABLE "@aside"(queue BLOB NOT NULL, key BLOB NOT NULL, sequence INTEGER NOT NULL,
  attempt INTEGER NOT NULL, tries INTEGER NOT NULL, payload BLOB NOT NULL,
  PRIMARY KEY(queue, key, sequence)) STRICT;
CREATE TABLE "@mirror"(target BLOB NOT NULL, key BLOB NOT NULL, epoch INTEGER NOT NULL,
  sequence INTEGER NOT NULL, bytes BLOB, PRIMARY KEY(target, key)) STRICT;
INSERT INTO "@meta" VALUES(1, 1, lower(hex(randomblob(16))), 0, 0);
)sql";

enum class sql : std::uint8_t {
  begin,
  begin_reading,
  commit,
  rollback,
  step_begin,
  step_undo,
  step_end,
  meta_exists,
  meta_load,
  next_version,
  next_turn,
  answer_find,
  answer_touch,
  answer_keep,
  answer_sweep,
  counter_add,
  counter_first,
  counter_load,
  counter_set,
  bounded_make,
  bounded_add,
  bounded_load,
  cell_load,
  cell_put,
  cell_swap,
  cell_first,
  mutex_acquire,
  mutex_load,
  mutex_renew,
  mutex_release,
  mutex_raise,
  fenced_open,
  fenced_load,
  fenced_write,
  claim_load,
  claim_take,
  claim_complete,
  claim_load_owner,
  claim_release,
  claim_heartbeat,
  claim_sweep,
  queue_push,
  queue_begin,
  queue_late,
  queue_waiting,
  queue_next,
  queue_taken,
  queue_owned,
  queue_after,
  queue_heartbeat,
  queue_depth,
  item_push,
  item_head,
  item_tries,
  item_erase,
  item_count,
  aside_put,
  aside_list,
  aside_find,
  aside_erase,
  aside_count,
  mirror_put,
  mirror_get,
  count
};

struct sql_text {
  sql which;
  std::string_view text;
};

inline constexpr auto statements = std::to_array<sql_text>({
    {sql::begin, "BEGIN IMMEDIATE"},
    {sql::begin_reading, "BEGIN"},
    {sql::commit, "COMMIT"},
    {sql::rollback, "ROLLBACK"},
    {sql::step_begin, "SAVEPOINT interlock_step"},
    {sql::step_undo, "ROLLBACK TO interlock_step"},
    {sql::step_end, "RELEASE interlock_step"},
    {sql::meta_exists, "SELECT 1 FROM sqlite_schema WHERE type='table' AND name='@meta'"},
    {sql::meta_load, R"(SELECT schema, incarnation FROM "@meta" WHERE one=1)"},
    {sql::next_version, R"(UPDATE "@meta" SET version=version+1 WHERE one=1 RETURNING version)"},
    {sql::next_turn, R"(UPDATE "@meta" SET turn=turn+1 WHERE one=1 RETURNING turn)"},

    {sql::answer_find, R"(SELECT sequence, operation, answer FROM "@answer"
      WHERE session=?1 AND kind=?2 AND name=?3)"},
    {sql::answer_touch, R"(UPDATE "@answer" SET at=max(at, ?4)
      WHERE session=?1 AND kind=?2 AND name=?3)"},
    {sql::answer_keep,
     R"(INSERT INTO "@answer"(session, kind, name, sequence, operation, answer, at)
      VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(session, kind, name) DO UPDATE SET
      sequence=excluded.sequence, operation=excluded.operation, answer=excluded.answer,
      at=excluded.at)"},
    {sql::answer_sweep, R"(DELETE FROM "@answer" WHERE at<?2 AND (session, kind, name) IN
      (SELECT session, kind, name FROM "@answer" WHERE session>=?1 ORDER BY session, kind, name
       LIMIT ?3))"},

    {sql::counter_add, R"(UPDATE "@counter" SET value=value+?2 WHERE name=?1 RETURNING value)"},
    {sql::counter_first, R"(INSERT INTO "@counter"(name, value) VALUES(?1, ?2)
      ON CONFLICT(name) DO UPDATE SET value=value+excluded.value RETURNING value)"},
    {sql::counter_load, R"(SELECT value FROM "@counter" WHERE name=?1)"},
    {sql::counter_set, R"(INSERT INTO "@counter"(name, value) VALUES(?1, ?2)
      ON CONFLICT(name) DO UPDATE SET value=excluded.value)"},

    {sql::bounded_make, R"(INSERT INTO "@bounded"(name, value, low, high) VALUES(?1, ?2, ?3, ?4))"},
    {sql::bounded_add, R"(UPDATE "@bounded" SET value=value+?2
      WHERE name=?1 AND value+?2 BETWEEN low AND high RETURNING value)"},
    {sql::bounded_load, R"(SELECT value, low, high FROM "@bounded" WHERE name=?1)"},

    {sql::cell_load, R"(SELECT version, bytes FROM "@cell" WHERE name=?1)"},
    {sql::cell_put, R"(UPDATE "@cell" SET version=?2, bytes=?3 WHERE name=?1)"},
    {sql::cell_swap, R"(UPDATE "@cell" SET version=?2, bytes=?3 WHERE name=?1 AND version=?4)"},
    {sql::cell_first, R"(INSERT INTO "@cell"(name, version, bytes) VALUES(?1, ?2, ?3)
      ON CONFLICT(name) DO NOTHING)"},

    {sql::mutex_acquire, R"(INSERT INTO "@mutex"(name, owner, fence, until) VALUES(?1, ?2, ?3, ?4)
      ON CONFLICT(name) DO UPDATE SET
      fence=CASE WHEN owner IS excluded.owner THEN fence ELSE max(fence+1, excluded.fence) END,
      owner=excluded.owner, until=excluded.until
      WHERE owner IS NULL OR owner=excluded.owner OR until<=?5 RETURNING fence)"},
    {sql::mutex_load, R"(SELECT until FROM "@mutex" WHERE name=?1)"},
    {sql::mutex_renew, R"(UPDATE "@mutex" SET until=?4 WHERE name=?1 AND owner=?2 AND fence=?3)"},
    {sql::mutex_release, R"(UPDATE "@mutex" SET owner=NULL
      WHERE name=?1 AND owner=?2 AND fence=?3)"},
    {sql::mutex_raise, R"(UPDATE "@mutex" SET fence=max(fence, ?4)
      WHERE name=?1 AND owner=?2 AND fence=?3 RETURNING fence)"},

    {sql::fenced_open, R"(INSERT INTO "@fenced"(name, fence, owner, bytes) VALUES(?1, ?2, ?3, NULL)
      ON CONFLICT(name) DO UPDATE SET fence=excluded.fence, owner=excluded.owner
      WHERE fence<excluded.fence OR (fence=excluded.fence AND owner=excluded.owner)
      RETURNING bytes)"},
    {sql::fenced_load, R"(SELECT fence FROM "@fenced" WHERE name=?1)"},
    {sql::fenced_write, R"(UPDATE "@fenced" SET bytes=?4 WHERE name=?1 AND fence=?2 AND owner=?3)"},

    {sql::claim_load, R"(SELECT print, state, attempt, owner, until, response FROM "@claim"
      WHERE store=?1 AND key=?2)"},
    {sql::claim_take, R"(INSERT INTO "@claim"(store, key, print, state, attempt, owner, until)
      VALUES(?1, ?2, ?3, 0, ?4, ?5, ?6) ON CONFLICT(store, key) DO UPDATE SET print=excluded.print,
      state=0, attempt=excluded.attempt, owner=excluded.owner, until=excluded.until,
      response=NULL)"},
    {sql::claim_complete, R"(UPDATE "@claim" SET state=1, response=?5, until=?6
      WHERE store=?1 AND key=?2 AND owner=?3 AND attempt=?4 AND state=0)"},
    {sql::claim_load_owner, R"(SELECT 1 FROM "@claim"
      WHERE store=?1 AND key=?2 AND owner=?3 AND attempt=?4 AND state=1)"},
    {sql::claim_release, R"(UPDATE "@claim" SET state=2, until=?5
      WHERE store=?1 AND key=?2 AND owner=?3 AND attempt=?4 AND state=0)"},
    {sql::claim_heartbeat, R"(UPDATE "@claim" SET until=?5
      WHERE store=?1 AND key=?2 AND owner=?3 AND attempt=?4 AND state=0)"},
    {sql::claim_sweep, R"(DELETE FROM "@claim" WHERE until<=?2 AND rowid IN
      (SELECT rowid FROM "@claim"
      WHERE rowid>(SELECT max(rowid) FROM "@claim")*?1/1048576 ORDER BY rowid LIMIT ?3))"},

    {sql::queue_push, R"(UPDATE "@queue" SET next=next+1
      WHERE queue=?1 AND key=?2 AND due IS NOT NULL RETURNING next-1)"},
    {sql::queue_begin, R"(INSERT INTO "@queue"(queue, key, next, attempt, due, turn)
      VALUES(?1, ?2, 2, 0, 0, ?3) ON CONFLICT(queue, key) DO UPDATE SET next=next+1, due=0,
      turn=excluded.turn RETURNING next-1)"},
    {sql::queue_late, R"(SELECT key, attempt FROM "@queue"
      WHERE queue=?1 AND due>0 AND due<=?2 ORDER BY due, turn LIMIT 1)"},
    {sql::queue_waiting, R"(SELECT key, attempt FROM "@queue"
      WHERE queue=?1 AND due=0 ORDER BY turn LIMIT 1)"},
    {sql::queue_next, R"(SELECT min(due) FROM "@queue" WHERE queue=?1 AND due IS NOT NULL)"},
    {sql::queue_taken, R"(UPDATE "@queue" SET attempt=attempt+1, owner=?3, due=?4
      WHERE queue=?1 AND key=?2 RETURNING attempt)"},
    {sql::queue_owned, R"(SELECT 1 FROM "@queue"
      WHERE queue=?1 AND key=?2 AND owner=?3 AND attempt=?4)"},
    {sql::queue_after, R"(UPDATE "@queue" SET owner=NULL, due=?3, turn=?4
      WHERE queue=?1 AND key=?2)"},
    {sql::queue_heartbeat, R"(UPDATE "@queue" SET due=?5
      WHERE queue=?1 AND key=?2 AND owner=?3 AND attempt=?4)"},
    {sql::queue_depth, R"(SELECT count(*) FROM "@queue"
      WHERE queue=?1 AND owner IS NOT NULL AND due>?2)"},

    {sql::item_push, R"(INSERT INTO "@item"(queue, key, sequence, tries, payload)
      VALUES(?1, ?2, ?3, 0, ?4))"},
    {sql::item_head, R"(SELECT rowid, sequence, tries, payload FROM "@item"
      WHERE queue=?1 AND key=?2 ORDER BY sequence LIMIT 1)"},
    {sql::item_tries, R"(UPDATE "@item" SET tries=tries+1 WHERE rowid=?1)"},
    {sql::item_erase, R"(DELETE FROM "@item" WHERE rowid=?1)"},
    {sql::item_count, R"(SELECT count(*) FROM "@item" WHERE queue=?1)"},

    {sql::aside_put, R"(INSERT OR REPLACE INTO
      "@aside"(queue, key, sequence, attempt, tries, payload) VALUES(?1, ?2, ?3, ?4, ?5, ?6))"},
    {sql::aside_list, R"(SELECT key, sequence, attempt, tries, payload FROM "@aside"
      WHERE queue=?1 ORDER BY rowid LIMIT ?2)"},
    {sql::aside_find, R"(SELECT rowid, payload FROM "@aside"
      WHERE queue=?1 AND key=?2 AND sequence=?3)"},
    {sql::aside_erase, R"(DELETE FROM "@aside" WHERE rowid=?1)"},
    {sql::aside_count, R"(SELECT count(*) FROM "@aside" WHERE queue=?1)"},

    {sql::mirror_put, R"(INSERT INTO "@mirror" AS held(target, key, epoch, sequence, bytes)
      VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(target, key) DO UPDATE SET epoch=excluded.epoch,
      sequence=excluded.sequence, bytes=excluded.bytes
      WHERE (held.epoch, held.sequence)<(excluded.epoch, excluded.sequence))"},
    {sql::mirror_get, R"(SELECT epoch, sequence, bytes FROM "@mirror"
      WHERE target=?1 AND key=?2)"},
});

consteval bool in_order() {
  for (std::size_t i = 0; i < statements.size(); ++i) {
    if (statements[i].which != static_cast<sql>(i)) return false;
  }
  return statements.size() == static_cast<std::size_t>(sql::count);
}
static_assert(in_order(), "a statement is found by its place");

// Returns: what '@' stands for.
[[nodiscard]] inline std::string table_prefix(std::string_view prefix) {
  std::string text;
  for (const char c : prefix) {
    const bool capital = c >= 'A' && c <= 'Z';
    if (capital) text += '$';
    text += capital ? static_cast<char>(c - 'A' + 'a') : c;
  }
  text += '_';
  return text;
}

// Returns: the text with the prefix in the place of each '@'.
[[nodiscard]] inline std::string with_prefix(std::string_view text, std::string_view prefix) {
  std::string out;
  for (const char c : text) {
    if (c == '@') {
      out += prefix;
    } else {
      out += c;
    }
  }
  return out;
}

// Each statement, with a client's prefix.
class sql_texts {
public:
  explicit sql_texts(std::string_view prefix) : tables_(table_prefix(prefix)) {
    for (const sql_text& each : statements) {
      texts_[static_cast<std::size_t>(each.which)] = with_prefix(each.text, tables_);
    }
  }
  [[nodiscard]] const std::string& operator[](sql which) const noexcept {
    return texts_[static_cast<std::size_t>(which)];
  }
  [[nodiscard]] std::string create() const { return with_prefix(create_tables, tables_); }

private:
  std::string tables_;
  std::array<std::string, static_cast<std::size_t>(sql::count)> texts_;
};

}  // namespace interlock::sqlite::detail
