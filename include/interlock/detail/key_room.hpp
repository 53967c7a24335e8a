// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/key_room.hpp - who waits in the line of a key for a place, first come first.
//
// Who finds its key full stands in the line itself, as one who brings a result home does, with a
// task that is not queued yet. When a place of the key is free, the task of the first of them takes
// its stand in the line, and it is told. If its turn comes before that, the task runs then. So the
// order of a key is that of arrival, whoever waited; and to wait takes no memory and no other lock.
//
// The last of a line knows the first there that seeks a place. The shard is locked.

#include <cstdint>

#include "key_work.hpp"

namespace interlock::detail {

template <class Key>
struct seeking_key_work : keyed_work<Key> {
  enum class state : std::uint8_t { waits, placed, begun, closed };

  seeking_key_work(key_work::kind k, key_work::performer p, key_work& its, const Key& key) noexcept
      : keyed_work<Key>(k, p, key), task(its) {}

  // Effects: its turn has come first: the task runs, or is cancelled, as if it were in the line.
  ending perform_task(const queue_options* options, key_work::step now) noexcept {
    became = state::begun;
    return task.perform(task, options, now);
  }

  key_work& task;
  state became = state::waits;  // written under the lock, or by who does it
};

struct key_seekers {
  static key_work* first(const key_work& head) noexcept {
    return head.last == &head ? nullptr : head.last->ready;
  }
  static key_work* next(const key_work& seeker) noexcept {
    key_work* w = seeker.next;
    while (w != nullptr && !w->seeks) w = w->next;
    return w;
  }
  // Effects: the work comes behind the last of the line.
  static void append(key_work& head, key_work& w) noexcept {
    key_work* const before = first(head);
    w.ready = before == nullptr && w.seeks ? &w : before;
    w.previous = head.last;
    w.next = nullptr;
    head.last = head.last->next = &w;
  }
  // Preconditions: it is in that line, not the head.
  static void stop(key_work& head, key_work& seeker) noexcept {
    if (first(head) == &seeker) head.last->ready = next(seeker);
    seeker.seeks = false;
  }
  // Effects: takes work that seeks nothing out of the line, not the head.
  static void unlink(key_work& head, key_work& w) noexcept {
    w.previous->next = w.next;
    if (w.next != nullptr) {
      w.next->previous = w.previous;
      return;
    }
    head.last = w.previous;
    if (head.last != &head) head.last->ready = w.ready;
  }
  // Effects: puts the task where the one stands that sought a place for it.
  static void replace(key_work& head, key_work& seeker, key_work& task) noexcept {
    stop(head, seeker);
    task.since = seeker.since;
    task.sampled = seeker.sampled;
    task.previous = seeker.previous;
    task.next = seeker.next;
    task.ready = seeker.ready;
    task.previous->next = &task;
    (task.next != nullptr ? task.next->previous : head.last) = &task;
  }
};

}  // namespace interlock::detail
