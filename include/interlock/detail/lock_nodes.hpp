// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/lock_nodes.hpp - what the lock graph is made of: parties, waits, locks.
//
// A party is a thread, a coroutine (by its frame), or a named owner. A coroutine waits with those
// that wait for it to end: its chain. What any of them owns, it asks with.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <source_location>
#include <string>
#include <utility>
#include <vector>

#include "../lock_report.hpp"

namespace interlock::detail {

struct lock_party {
  enum class kind : unsigned char { nobody, thread, coroutine, named };

  kind what = kind::nobody;
  std::uintptr_t id = 0;       // an address: see this_thread(), or of a frame or an owner
  const char* name = nullptr;  // of a named one

  friend std::strong_ordering operator<=>(const lock_party& a, const lock_party& b) noexcept {
    return a.what != b.what ? a.what <=> b.what : a.id <=> b.id;
  }
  friend bool operator==(const lock_party& a, const lock_party& b) noexcept {
    return (a <=> b) == 0;
  }
};

// How a wait can end without the lock.
enum class wait_end : unsigned char { never, refusal, stop, deadline };

struct tracked_lock;

struct lock_wait {
  std::vector<lock_party> chain;  // who asks; then those that wait for it to end
  std::source_location at;
  wait_end end = wait_end::never;

  tracked_lock* wanted = nullptr;  // the rest is the graph's; null: it does not wait
  std::uint64_t turn = 0;
};

// That one lock was held while another was asked for.
struct order_step {
  tracked_lock* to;
  std::source_location held;
  std::source_location asked;
  std::string who;
  std::vector<std::uint64_t> gates;  // the other locks that were held each time, by number
  bool told = false;
};

struct tracked_lock {
  enum class state : unsigned char { free, owned, loose };  // loose: released by its guard

  std::string name;
  std::uint64_t number = 0;  // the rest is the graph's

  state now = state::free;
  lock_party owner;  // nobody: its guard was moved or released, so whose it is is not known
  lock_party taker;
  std::source_location taken;
  const char* how = nullptr;  // what took it, if that leaves open who owns it; see waits_as_owner()
  bool closed = false;
  std::uint64_t turn = 0;
  std::map<std::uint64_t, lock_wait*> waits;
  std::map<std::uint64_t, order_step> later;      // what was asked for while this was held
  std::map<std::uint64_t, tracked_lock*> sooner;  // the locks that lead here
};

// Names of the parties of one report: "coroutine 1" is the first coroutine in it.
class labels {
public:
  std::string of(const lock_party& party) {
    if (party.what == lock_party::kind::named) return party.name;
    auto& known = party.what == lock_party::kind::thread ? threads_ : coroutines_;
    const auto number = known.try_emplace(party.id, known.size() + 1).first->second;
    return kind_of(party) + (' ' + std::to_string(number));
  }
  static std::string kind_of(const lock_party& party) {
    switch (party.what) {
      case lock_party::kind::thread:
        return "thread";
      case lock_party::kind::coroutine:
        return "coroutine";
      case lock_party::kind::named:
        return party.name;
      case lock_party::kind::nobody:
        break;
    }
    return "somebody";
  }

private:
  std::map<std::uintptr_t, std::size_t> threads_;
  std::map<std::uintptr_t, std::size_t> coroutines_;
};

inline lock_report::entry held_entry(const tracked_lock& lock, std::string note = {}) {
  if (lock.how != nullptr && lock.taken.line() != 0) {
    if (!note.empty()) note += ", ";
    note += lock.how;
  }
  return {lock.name, lock.taken, std::move(note)};
}

}  // namespace interlock::detail
