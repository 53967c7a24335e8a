// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/mirror_key.hpp - what a mirror knows of one key, and who waits for it.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "../mirror_options.hpp"
#include "alarm_heap.hpp"
#include "mirror_errand.hpp"
#include "ring.hpp"
#include "waiter.hpp"

namespace interlock::detail {

template <class Version>
struct mirror_key;

// Somebody who waits for a send; lives on the stack or in the coroutine frame of the one who waits.
template <class Version>
struct flush_node {
  explicit flush_node(waiter& by) noexcept : who(by) {}

  waiter& who;
  // Under the lock of the line; when it has its answer, of whoever answers it.
  flush_node* next = nullptr;
  flush_node* previous = nullptr;
  std::uint64_t ticket = 0;         // the first send that may answer it
  const Version* least = nullptr;   // and the least version of it, if not null
  mirror_key<Version>* of = nullptr;  // alive while this is listed
  lent_hand* hand = nullptr;          // the same
  const std::chrono::steady_clock::time_point* until = nullptr;  // of a thread's wait
  mirror_flush_result result = mirror_flush_result::closed;
  bool blocks = false;      // a thread, which must not be one that sends
  bool is_sender = false;  // and is
};

// Effects: wakes those of the list. Coroutines go on after the last one has its answer: no thread
//          waits for one before it.
template <class Version>
void answer(flush_node<Version>* list) noexcept {
  if (list == nullptr) return;
  trampoline::together([list]() mutable noexcept {
    while (list != nullptr) std::exchange(list, list->next)->who.wake();
  });
}

enum class mirror_place : unsigned char {
  idle,     // nothing to send
  ready,    // waits for a sender
  timed,    // waits for its time: after a failure, or because of min_interval
  sending,  // is being read and written
  stopped,  // closed, and the last send has ended
};

template <class Version>
struct mirror_due : alarm_node {
  mirror_due(time_point at, mirror_key<Version>& key) noexcept
      : alarm_node(at, nullptr), of(&key) {}
  mirror_key<Version>* of;
};

template <class Version>
struct mirror_key {
  using time_point = std::chrono::steady_clock::time_point;

  // The bits of `word`.
  static constexpr std::uint32_t dirty = 1;    // a send will begin after whoever sees this
  static constexpr std::uint32_t closed = 2;   // touches are refused
  static constexpr std::uint32_t updates = 4;  // a look does not do: no asymmetric fence
  static constexpr std::uint32_t stuck = 8;    // in line, and nobody will come: see strand()

  // Returns: true if a touch that sees this has nothing left to do.
  static bool says_due(std::uint32_t word) noexcept {
    return (word & (dirty | closed | updates | stuck)) == dirty;
  }

  explicit mirror_key(bool looks) noexcept : word(looks ? 0 : updates) {}
  mirror_key(const mirror_key&) = delete;
  mirror_key& operator=(const mirror_key&) = delete;

  // Returns: true if nothing is known of it that would have to be kept. With the line locked.
  bool is_spare() const noexcept {
    return at == mirror_place::idle && waiting.empty() && pins == 0;
  }

  // With the line locked, here and below.
  bool reaches(const Version& least) const noexcept {
    return confirmed && !(*confirmed < least);
  }

  // Effects: those of the waiting that this result is for get it, behind the answered ones.
  void collect(mirror_flush_result result, flush_node<Version>*& answered) noexcept {
    flush_node<Version>** end = &answered;
    while (*end != nullptr) end = &(*end)->next;
    for (flush_node<Version>* each = waiting.first(); each != nullptr;) {
      flush_node<Version>& node = *each;
      each = waiting.after(node);
      if (result != mirror_flush_result::closed && node.ticket > begun) continue;
      if (result == mirror_flush_result::flushed && node.least && !reaches(*node.least)) continue;
      waiting.remove(node);
      if (node.hand != nullptr) node.hand->forget();
      node.result = result;
      node.next = nullptr;
      *end = &node;
      end = &node.next;
    }
  }

  std::atomic<std::uint32_t> word;

  // Under the lock of the line:
  mirror_place at = mirror_place::idle;
  bool last = false;     // the send under way began after close()
  bool resting = false;  // sent, and in line only so that min_interval is kept
  bool overdue = false;    // a confirmation, and that was surfaced
  bool abandoned = false;  // not even tried again
  bool lost = false;       // stopped, and the target may not have the last value
  std::uint32_t pins = 0;
  std::uint64_t begun = 0;  // sends
  time_point began{};       // the last of them; only with min_interval
  time_point since{};       // the first touch that no send took up; only with max_staleness
  std::optional<Version> sent;       // what the last send read
  std::optional<Version> confirmed;  // the target has this version or a newer one
  ring_of<flush_node<Version>> waiting;
  mirror_key* next = nullptr;      // in the ring of those that are ready
  mirror_key* previous = nullptr;
  std::optional<mirror_due<Version>> due;  // while timed

  // Of whoever sends; handed on under the lock:
  std::size_t failures = 0;  // in a row
  time_point oldest{};       // the first touch that this send takes up
};

}  // namespace interlock::detail
