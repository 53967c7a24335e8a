// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/memory/detail/data.hpp - what an engine in memory holds, and what is done to each
// thing.
//
// Functions here are called under the data's mutex, with the engine's time; they know no faults.

#include <algorithm>
#include <any>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "../../detail/century.hpp"
#include "../../store/operation_id.hpp"
#include "../../store/outcome.hpp"
#include "../../store/protocol.hpp"

namespace interlock::memory::detail {

using store::conflicting;
using store::nothing;
using store::outcome;
using store::unique_id;
using milliseconds = std::chrono::milliseconds;
using time = std::chrono::nanoseconds;

// Returns: when a time that begins now ends; a century at most.
[[nodiscard]] inline time end_of(time now, milliseconds lasts) {
  return now + interlock::detail::within_a_century(lasts);
}
// Returns: what is left until then, in milliseconds, rounded up.
[[nodiscard]] inline milliseconds left(time until, time now) {
  return std::chrono::ceil<milliseconds>(std::max(until - now, time(0)));
}

struct lease {
  std::optional<unique_id> owner{};
  std::uint64_t fence = 0;  // the last that was given
  time until{0};

  [[nodiscard]] bool of(const unique_id& who, std::uint64_t which) const {
    return owner == who && fence == which;
  }
  outcome<store::lease_grant, store::lease_busy> acquire(const unique_id& who, milliseconds lasts,
                                                         time now) {
    if (owner && owner != who && until > now) {
      return conflicting{store::lease_busy{left(until, now)}};
    }
    if (owner != who) {
      owner = who;
      ++fence;
    }
    until = end_of(now, lasts);
    return store::lease_grant{fence};
  }
  outcome<nothing> renew(const unique_id& who, std::uint64_t which, milliseconds lasts, time now) {
    if (!of(who, which)) return conflicting{nothing{}};
    until = end_of(now, lasts);
    return nothing{};
  }
  outcome<nothing> release(const unique_id& who, std::uint64_t which) {
    if (!of(who, which)) return conflicting{nothing{}};
    owner.reset();
    return nothing{};
  }
  outcome<store::lease_grant> raise(const unique_id& who, std::uint64_t which,
                                    std::uint64_t above) {
    if (!of(who, which)) return conflicting{nothing{}};
    if (fence <= above) fence = above + 1;
    return store::lease_grant{fence};
  }
};

struct fenced_cell {
  std::uint64_t fence = 0;
  std::optional<unique_id> owner{};
  std::optional<std::string> bytes{};

  outcome<store::fenced_state, store::stale_fence> open(std::uint64_t with, const unique_id& who) {
    if (with < fence || (with == fence && owner && owner != who)) {
      return conflicting{store::stale_fence{fence}};
    }
    fence = with;
    owner = who;
    return store::fenced_state{bytes};
  }
  outcome<nothing, store::stale_fence> write(std::uint64_t with, const unique_id& who,
                                             std::string_view text) {
    if (with != fence || owner != who) return conflicting{store::stale_fence{fence}};
    bytes = std::string(text);
    return nothing{};
  }
};

// One key of an idempotency store. It is kept without an answer too, for its attempts.
struct idempotent_run {
  enum class phase : std::uint8_t { free, running, done };
  phase is = phase::free;
  fingerprint print{};
  unique_id owner{};
  std::uint64_t attempt = 0;
  time until{0};  // of the lease; when it is done: how long the answer is kept
  std::string response{};

  [[nodiscard]] bool of(const unique_id& who, std::uint64_t which) const {
    return is == phase::running && owner == who && attempt == which;
  }
  store::idempotency_claim claim(fingerprint asked, const unique_id& who, milliseconds lasts,
                                 time now) {
    using state = store::idempotency_claim::state;
    if (is == phase::done && until <= now) is = phase::free;
    if (is != phase::free && print != asked) return {state::mismatch, attempt, {}, {}};
    if (is == phase::done) return {state::done, attempt, response, {}};
    const bool mine = is == phase::running && owner == who;
    if (is == phase::running && !mine && until > now) {
      return {state::busy, attempt, {}, left(until, now)};
    }
    if (!mine) ++attempt;
    is = phase::running;
    print = asked;
    owner = who;
    until = end_of(now, lasts);
    return {state::claimed, attempt, {}, {}};
  }
  outcome<nothing> complete(const unique_id& who, std::uint64_t which, std::string_view answer,
                            milliseconds keep, time now) {
    if (is == phase::done && owner == who && attempt == which) return nothing{};
    if (!of(who, which)) return conflicting{nothing{}};
    is = phase::done;
    response = std::string(answer);
    until = end_of(now, keep);
    return nothing{};
  }
  outcome<nothing> release(const unique_id& who, std::uint64_t which) {
    if (!of(who, which)) return conflicting{nothing{}};
    is = phase::free;
    return nothing{};
  }
  outcome<nothing> heartbeat(const unique_id& who, std::uint64_t which, milliseconds lasts,
                             time now) {
    if (!of(who, which)) return conflicting{nothing{}};
    until = end_of(now, lasts);
    return nothing{};
  }
};

struct queue {
  struct item {
    std::uint64_t sequence;
    std::string payload;
    std::uint64_t tries = 0;
  };
  struct line {  // of one key; it stays when it is empty, for its numbers
    std::deque<item> items{};
    std::uint64_t sequences = 0;
    std::uint64_t attempts = 0;
    std::optional<unique_id> owner{};
    time until{0};                  // of the lease of that owner, or not to be taken before
    std::uint64_t waits_since = 0;  // smaller: longer

    [[nodiscard]] bool of(const unique_id& who, std::uint64_t which) const {
      return owner == who && attempts == which;
    }
  };
  std::map<std::string, line, std::less<>> lines{};
  std::vector<store::queue_item> aside{};
  std::uint64_t ticks = 0;

  std::uint64_t push(std::string_view key, std::string_view payload) {
    line& to = lines[std::string(key)];
    if (to.items.empty() && !to.owner) to.waits_since = ++ticks;
    to.items.push_back({++to.sequences, std::string(payload)});
    return to.sequences;
  }
  // Effects: the item in front leaves, and the line waits behind the others.
  void pop(line& from) {
    from.items.pop_front();
    from.owner.reset();
    from.until = time(0);
    from.waits_since = ++ticks;
  }
  [[nodiscard]] line* held(std::string_view key, const unique_id& who, std::uint64_t which) {
    const auto found = lines.find(key);
    return found != lines.end() && found->second.of(who, which) ? &found->second : nullptr;
  }
  outcome<store::queue_item, store::queue_idle> take(const unique_id& who, milliseconds lasts,
                                                     std::uint64_t most, time now) {
    for (;;) {
      std::optional<time> next;
      auto* const found = first_due(now, next);
      if (found == nullptr) {
        store::queue_idle idle;
        if (next) idle.next = left(*next, now);
        return conflicting{idle};
      }
      line& from = found->second;
      item& front = from.items.front();
      if (front.tries >= most) {
        aside.push_back(
            {found->first, front.sequence, from.attempts, front.tries, std::move(front.payload)});
        pop(from);
        continue;
      }
      from.owner = who;
      from.until = end_of(now, lasts);
      return store::queue_item{found->first, front.sequence, ++from.attempts, ++front.tries,
                               front.payload};
    }
  }
  [[nodiscard]] store::queue_depth depth(time now) const {
    store::queue_depth sum;
    for (const auto& [key, of] : lines) {
      sum.waiting += of.items.size();
      if (of.owner && of.until > now) ++sum.taken;
    }
    sum.set_aside = aside.size();
    return sum;
  }

private:
  std::pair<const std::string, line>* first_due(time now, std::optional<time>& next) {
    std::pair<const std::string, line>* first = nullptr;
    for (auto& each : lines) {
      const line& is = each.second;
      if (is.items.empty()) continue;
      if (is.until > now) {
        next = next ? std::min(*next, is.until) : is.until;
      } else if (first == nullptr || is.waits_since < first->second.waits_since) {
        first = &each;
      }
    }
    return first;
  }
};

// What is remembered of the last request of a session with an id.
struct answered {
  std::uint64_t sequence = 0;
  std::string operation{};
  std::any answer{};
  time heard{0};
};
// Returns: whether an answer stays the same: that a key is busy does not.
template <class T>
[[nodiscard]] bool is_kept(const T& answer) {
  if constexpr (std::is_same_v<T, store::idempotency_claim>) {
    return answer.what == store::idempotency_claim::state::claimed;
  } else {
    return true;
  }
}
struct answers {
  std::map<std::pair<std::uint64_t, std::uint64_t>, answered> of{};
  std::size_t look_at = 64;  // with so many, those of silent sessions are looked for
};

// Objects by their kind and name; the name begins with the client's prefix.
struct content {
  std::string incarnation = unique_id::fresh().text();
  std::uint64_t cell_versions = 0;
  std::map<std::string, std::int64_t> counters{};
  std::map<std::string, store::bounded_state> bounded{};
  std::map<std::string, store::cell_state> cells{};
  std::map<std::string, lease> leases{};
  std::map<std::string, fenced_cell> fenced{};
  std::map<std::string, std::map<std::string, idempotent_run, std::less<>>> idempotent{};
  std::map<std::string, queue> queues{};
  std::map<std::string, std::map<std::string, store::mirror_row, std::less<>>> mirrors{};
  std::map<std::pair<store::object_kind, std::string>, answers> asked{};
};

struct data {
  std::mutex guard;
  content holds;    // under the guard
  time shifted{0};  // the engine's clock against the machine's; under the guard
};

}  // namespace interlock::memory::detail
