// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/queues.hpp - items in line by key, and who works on which key.
//
// A key's `due` says when it may be taken: 0 at once, in the order of `turn`; a time if it waits
// for a delay or for the end of a lease; null if it has no item. Its items are numbered in the
// order of their pushes, which come one after the other.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "connection.hpp"
#include "leases.hpp"
#include "request.hpp"

namespace interlock::sqlite::detail {

using take_outcome = store::outcome<store::queue_item, store::queue_idle>;
using push_outcome = store::outcome<std::uint64_t>;

inline std::int64_t next_turn(connection& on) {
  statement next(on, sql::next_turn);
  if (!next.row()) throw fault{SQLITE_CORRUPT, "the row of turns is gone", 0, false};
  const std::int64_t turn = next.integer(0);
  next.run();
  return turn;
}

// In a transaction.
inline push_outcome push_item(connection& on, const request& by, std::string_view payload) {
  by.require_key();
  std::optional<std::uint64_t> sequence;
  {
    statement push(on, sql::queue_push, by.name, by.key);
    if (push.row()) {
      sequence = push.number(0);
      push.run();
    }
  }
  if (!sequence) {
    const std::int64_t turn = next_turn(on);
    statement begin(on, sql::queue_begin, by.name, by.key, turn);
    begin.row();
    sequence = begin.number(0);
    begin.run();
  }
  statement(on, sql::item_push, by.name, by.key, *sequence, payload).run();
  return *sequence;
}

struct due_key {
  std::string key;
  std::uint64_t attempt = 0;
};

// Returns: a key that may be taken: one whose lease or delay has ended, or that waits longest.
inline std::optional<due_key> find_due(connection& on, const request& by, std::int64_t now) {
  {
    statement late(on, sql::queue_late, by.name, now);
    if (late.row()) return due_key{std::string(late.bytes(0)), late.number(1)};
  }
  statement waiting(on, sql::queue_waiting, by.name);
  if (!waiting.row()) return std::nullopt;
  return due_key{std::string(waiting.bytes(0)), waiting.number(1)};
}

struct head_item {
  std::int64_t row = 0;
  store::queue_item item;
};

inline std::optional<head_item> find_head(connection& on, std::string_view queue,
                                          std::string_view key) {
  statement head(on, sql::item_head, queue, key);
  if (!head.row()) return std::nullopt;
  return head_item{
      head.integer(0),
      {std::string(key), head.number(1), 0, head.number(2), std::string(head.bytes(3))}};
}

// Effects: the key's first item is set aside.
inline void set_aside(connection& on, std::string_view queue, const due_key& of,
                      const head_item& head) {
  statement(on, sql::aside_put, queue, of.key, head.item.sequence, of.attempt, head.item.tries,
            head.item.payload)
      .run();
  statement(on, sql::item_erase, head.row).run();
}

// In a transaction. Effects, besides: items that failed too often are set aside: `moved` is called.
template <class Moved>
take_outcome take_item(connection& on, const request& by, std::string_view owner,
                       std::chrono::milliseconds lease, std::uint64_t most_tries, std::int64_t now,
                       Moved moved) {
  const std::int64_t until = end_of(by, now, lease);
  for (int moves = 0; moves < 1000;) {  // a call ends, whatever there is
    const std::optional<due_key> found = find_due(on, by, now);
    if (!found) {
      statement next(on, sql::queue_next, by.name);
      if (!next.row() || next.null(0)) return store::conflicting{store::queue_idle{}};
      return store::conflicting{store::queue_idle{left_of(next.integer(0), now)}};
    }
    std::optional<head_item> head = find_head(on, by.name, found->key);
    while (head && most_tries != 0 && head->item.tries >= most_tries) {
      set_aside(on, by.name, *found, *head);
      moved();
      ++moves;
      head = find_head(on, by.name, found->key);
    }
    if (!head) {
      statement(on, sql::queue_after, by.name, found->key, std::nullopt, 0).run();
      moved();
      continue;
    }
    statement(on, sql::item_tries, head->row).run();
    statement taken(on, sql::queue_taken, by.name, found->key, owner, until);
    taken.row();
    head->item.attempt = taken.number(0);
    taken.run();
    ++head->item.tries;
    return std::move(head->item);
  }
  return store::conflicting{store::queue_idle{std::chrono::milliseconds(0)}};
}

inline bool owns_key(connection& on, const request& by, std::string_view owner,
                     std::uint64_t attempt) {
  return statement(on, sql::queue_owned, by.name, by.key, owner, attempt).row();
}

// In a transaction.
inline plain_outcome finish_item(connection& on, const request& by, std::string_view owner,
                                 std::uint64_t attempt) {
  if (!owns_key(on, by, owner, attempt)) return store::conflicting{store::nothing{}};
  if (const auto head = find_head(on, by.name, by.key)) {
    statement(on, sql::item_erase, head->row).run();
  }
  const bool more = statement(on, sql::item_head, by.name, by.key).row();
  const std::optional<std::int64_t> due = more ? std::optional<std::int64_t>(0) : std::nullopt;
  statement(on, sql::queue_after, by.name, by.key, due, more ? next_turn(on) : 0).run();
  return store::nothing{};
}

// In a transaction.
inline plain_outcome give_back_item(connection& on, const request& by, std::string_view owner,
                                    std::uint64_t attempt, std::chrono::milliseconds delay,
                                    std::int64_t now) {
  const std::int64_t due = end_of(by, now, delay, std::chrono::milliseconds(0));
  if (!owns_key(on, by, owner, attempt)) return store::conflicting{store::nothing{}};
  statement(on, sql::queue_after, by.name, by.key, delay.count() != 0 ? due : 0, next_turn(on))
      .run();
  return store::nothing{};
}

inline plain_outcome keep_item(connection& on, const request& by, std::string_view owner,
                               std::uint64_t attempt, std::chrono::milliseconds lease,
                               std::int64_t now) {
  const std::int64_t until = end_of(by, now, lease);
  return done_if(
      statement(on, sql::queue_heartbeat, by.name, by.key, owner, attempt, until).changed());
}

inline store::outcome<std::vector<store::queue_item>> list_aside(connection& on, const request& by,
                                                                 std::uint64_t most) {
  std::vector<store::queue_item> found;
  statement list(on, sql::aside_list, by.name, std::min(most, largest));
  while (list.row()) {
    found.push_back({std::string(list.bytes(0)), list.number(1), list.number(2), list.number(3),
                     std::string(list.bytes(4))});
  }
  return found;
}

// In a transaction.
inline push_outcome restore_item(connection& on, const request& by, std::uint64_t sequence) {
  by.require_key();
  std::int64_t row = 0;
  std::string payload;
  {
    statement aside(on, sql::aside_find, by.name, by.key, sequence);
    if (!aside.row()) return store::conflicting{store::nothing{}};
    row = aside.integer(0);
    payload = aside.bytes(1);
  }
  statement(on, sql::aside_erase, row).run();
  return push_item(on, by, payload);
}

// In a transaction: three numbers of one moment.
inline store::outcome<store::queue_depth> depth_of(connection& on, const request& by,
                                                   std::int64_t now) {
  const auto count = [](statement&& of) { return of.row() ? of.number(0) : std::uint64_t{0}; };
  store::queue_depth depth;
  depth.waiting = count(statement(on, sql::item_count, by.name));
  depth.taken = count(statement(on, sql::queue_depth, by.name, now));
  depth.set_aside = count(statement(on, sql::aside_count, by.name));
  return depth;
}

}  // namespace interlock::sqlite::detail
