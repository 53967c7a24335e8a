// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/detail/schema.hpp - the tables of a prefix, as they are made.
//
// Nothing is indexed that changes with each write, but `due` of queues: updates stay on their page.
// A session is a row of `operation`. What is older than the retention is deleted now and then, a
// few pages at a time. That a session was asked for again is noted once in a quarter of the
// retention, so its row is kept for a quarter longer.

#include <cstdint>
#include <string_view>

namespace interlock::postgres::detail {

inline constexpr std::int64_t schema_version = 1;

inline constexpr std::string_view schema_tables = R"(
create table if not exists @meta (
  only_one bool primary key default true check (only_one),
  version int8 not null,
  incarnation text not null);
create sequence if not exists @version;
create table if not exists @counter (
  name bytea primary key, value int8 not null, previous int8 not null default 0)
  with (fillfactor = 50);
create table if not exists @bounded_counter (
  name bytea primary key, value int8 not null, low int8 not null, high int8 not null)
  with (fillfactor = 50);
create table if not exists @cell (
  name bytea primary key, version int8 not null, bytes bytea) with (fillfactor = 70);
create table if not exists @lease (
  name bytea primary key, owner bytea, fence int8 not null, until timestamptz not null)
  with (fillfactor = 50);
create table if not exists @fenced (
  name bytea primary key, fence int8 not null, owner bytea not null, bytes bytea)
  with (fillfactor = 70);
create table if not exists @idempotency (
  name bytea, key bytea, print int8 not null, attempt int8 not null, owner bytea,
  until timestamptz not null, done bool not null default false, expires timestamptz,
  response bytea, primary key (name, key)) with (fillfactor = 70);
create table if not exists @queue_key (
  name bytea, key bytea, next int8 not null, waiting int8 not null, due timestamptz not null,
  tries int8 not null default 0, attempt int8 not null default 0, taken int8, owner bytea,
  primary key (name, key)) with (fillfactor = 50);
create index if not exists queue_key_due on @queue_key (name, due) where waiting > 0;
create table if not exists @queue_item (
  name bytea, key bytea, sequence int8, payload bytea not null, primary key (name, key, sequence));
create table if not exists @queue_aside (
  name bytea, key bytea, sequence int8, payload bytea not null, attempt int8 not null,
  tries int8 not null, at timestamptz not null default clock_timestamp(),
  primary key (name, key, sequence));
create table if not exists @mirror (
  name bytea, key bytea, epoch int8 not null, sequence int8 not null, bytes bytea,
  primary key (name, key)) with (fillfactor = 70);
create table if not exists @operation (
  kind int2, step int2 not null default 0, object bytea, session bytea, sequence int8 not null,
  answer int8, response bytea, at timestamptz not null default clock_timestamp(),
  primary key (kind, object, session)) with (fillfactor = 50);
)";

inline constexpr std::string_view schema_functions = R"(
create or replace function @repeated(stored int8, answer int8, since timestamptz, by_other bool)
returns bool language plpgsql as $$
begin
  if by_other then
    raise exception using errcode = 'IL002', message = 'the id is of another operation';
  end if;
  raise exception using errcode = 'IL001', message = stored || ':' || coalesce(answer, 0) || ':' ||
    (extract(epoch from clock_timestamp() - since) * 1000)::int8;
end $$;

create or replace function @cells_commit(checked bytea[], versions int8[], written bytea[],
  contents bytea[], about bytea, by_session bytea, by_sequence int8)
returns table (answer int8, failed int8, now_version int8, now_bytes bytea)
language plpgsql as $$
#variable_conflict use_column
declare
  every bytea[] := checked || written;
  fresh int8;
  missing int8;
  got int8;
begin
  loop
    missing := (select count(distinct n.name) from unnest(every) as n (name));
    if cardinality(written) > 0 then
      perform 1 from @cell c where c.name = any (every) order by c.name for update;
      get diagnostics got = row_count;
      missing := missing - got;
    end if;
    select n.i - 1, coalesce(c.version, 0), c.bytes into failed, now_version, now_bytes
      from unnest(checked, versions) with ordinality as n (name, expected, i)
      left join @cell c on c.name = n.name
      where coalesce(c.version, 0) <> n.expected order by n.i limit 1;
    if found then
      return next;
      return;
    end if;
    if cardinality(written) = 0 then
      answer := 0;
      exit;
    end if;
    -- What was not there to be locked has to be made here: somebody may have made it since.
    exit when missing = 0;
    insert into @cell (name, version)
      select n.name, 0 from (select distinct unnest(every)) as n (name)
      where not exists (select 1 from @cell c where c.name = n.name)
      order by n.name on conflict do nothing;
    get diagnostics got = row_count;
    exit when got = missing;
  end loop;
  if cardinality(written) > 0 then
    fresh := nextval('@version');
    update @cell c set version = fresh, bytes = w.bytes
      from unnest(written, contents) as w (name, bytes) where c.name = w.name;
    delete from @cell c where c.name = any (checked) and c.version = 0;
    answer := fresh;
  end if;
  if by_session is not null then
    insert into @operation as o (kind, step, object, session, sequence, answer)
      values (2, 1, about, by_session, by_sequence, answer)
      on conflict (kind, object, session) do update set step = excluded.step,
      sequence = excluded.sequence, answer = excluded.answer, at = excluded.at
      where case when o.sequence < excluded.sequence then true
                 else @repeated(o.sequence, o.answer, o.at, o.sequence = excluded.sequence
                                and o.step <> excluded.step) end;
  end if;
  failed := null;
  now_version := null;
  now_bytes := null;
  return next;
end $$;

create or replace function @queue_take(queue bytea, by_owner bytea, lease int8, most int8)
returns table (key bytea, sequence int8, attempt int8, tries int8, payload bytea, next_in int8)
language plpgsql as $$
#variable_conflict use_column
declare
  found_key record;
  item record;
begin
  loop
    select k.key, k.tries, k.attempt into found_key from @queue_key k
      where k.name = queue and k.waiting > 0 and k.due <= (select clock_timestamp())
      order by k.due limit 1 for update skip locked;
    if not found then
      select greatest(1, ceil(extract(epoch from k.due - clock_timestamp()) * 1000))::int8
        into next_in from @queue_key k where k.name = queue and k.waiting > 0
        order by k.due limit 1;
      return next;
      return;
    end if;
    loop
      select i.sequence, i.payload into item from @queue_item i
        where i.name = queue and i.key = found_key.key order by i.sequence limit 1;
      exit when not found;
      if found_key.tries < most then
        key := found_key.key;
        sequence := item.sequence;
        payload := item.payload;
        tries := found_key.tries + 1;
        update @queue_key k set owner = by_owner, taken = item.sequence, tries = k.tries + 1,
          attempt = greatest(k.attempt + 1,
                             (extract(epoch from clock_timestamp()) * 1000000)::int8),
          due = clock_timestamp() + lease * interval '1 ms'
          where k.name = queue and k.key = found_key.key returning k.attempt into attempt;
        return next;
        return;
      end if;
      insert into @queue_aside (name, key, sequence, payload, attempt, tries)
        values (queue, found_key.key, item.sequence, item.payload, found_key.attempt,
                found_key.tries);
      delete from @queue_item i where i.name = queue and i.key = found_key.key
        and i.sequence = item.sequence;
      update @queue_key k set owner = null, tries = 0, waiting = k.waiting - 1
        where k.name = queue and k.key = found_key.key;
      found_key.tries := 0;
    end loop;
  end loop;
end $$;
)";

}  // namespace interlock::postgres::detail
