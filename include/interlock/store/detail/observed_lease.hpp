// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/observed_lease.hpp - a lease that those who wait end by their own clocks.
//
// The lock is a cell. Its holder writes "OWNER LEASE BEAT" (32 digits, milliseconds, a number) and
// a larger beat with each renewal; it is erased when the lock is free. Each write gives the cell a
// version that was never there before. Who sees one version for the whole lease that stands in it,
// by his own clock, writes himself over it, if the version is still that. Nobody's clock is
// compared with another's; they only have to go at about the same speed, for which a hundredth is
// added. The fence is the version of the write that took the lock.

#include <charconv>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "../boot_clock.hpp"
#include "../protocol.hpp"
#include "bound_object.hpp"
#include "local_clock.hpp"

namespace interlock::store::detail {

// What stands in the cell.
struct observed_sign {
  unique_id owner;
  std::chrono::milliseconds lease{0};
  std::uint64_t beat = 0;

  [[nodiscard]] std::string text() const {
    std::string out = owner.text();
    out += ' ';
    out += std::to_string(lease.count());
    out += ' ';
    out += std::to_string(beat);
    return out;
  }
  [[nodiscard]] static std::optional<observed_sign> parse(std::string_view text) {
    const auto owner = unique_id::parse(text.substr(0, 32));
    if (!owner || text.size() < 36 || text[32] != ' ') return std::nullopt;
    observed_sign sign{*owner, {}, 0};
    const char* const end = text.data() + text.size();
    std::chrono::milliseconds::rep lease = 0;
    const auto first = std::from_chars(text.data() + 33, end, lease);
    if (first.ec != std::errc() || first.ptr == end || *first.ptr != ' ') return std::nullopt;
    const auto second = std::from_chars(first.ptr + 1, end, sign.beat);
    if (second.ec != std::errc() || second.ptr != end) return std::nullopt;
    sign.lease = std::chrono::milliseconds(lease);
    return sign;
  }
};

template <class E>
class observed_lease {
public:
  using engine_type = E;
  struct hold {
    unique_id owner;
    std::uint64_t fence = 0;
    std::uint64_t version = 0;  // of the cell; 0: not known, since an answer was lost
    std::uint64_t beat = 0;
    std::chrono::milliseconds lease{0};
  };

  explicit observed_lease(bound_object<E> at)
      : at_(std::move(at)), clock_(clock_of(at_.client())), watched_(std::make_shared<watch>()) {}
  [[nodiscard]] const bound_object<E>& at() const noexcept { return at_; }

  outcome<hold, lease_busy> acquire(const unique_id& owner, std::chrono::milliseconds lease,
                                    const call_options& call) const {
    const call_deadline limit = at_.deadline(call);
    auto seen = at_.client().cell_load(at_.object(), limit.rest());
    if (!seen) return std::move(seen).template without_answer<hold, lease_busy>();
    if (seen->bytes) {
      const auto sign = observed_sign::parse(*seen->bytes);
      if (!sign) return not_a_sign(*seen->bytes);
      const bool mine = sign->owner == owner;  // and its answer was lost: written anew
      const auto left = remaining(seen->version, sign->lease);
      if (!mine && left.count() > 0) return conflicting{lease_busy{left}};
    }
    const std::string mine = observed_sign{owner, lease, 0}.text();
    auto put = at_.client().cell_put(at_.object(), seen->version, mine, limit.rest());
    if (put) return hold{owner, *put, *put, 0, lease};
    if (put.conflicted()) return conflicting{lease_busy{std::chrono::milliseconds(1)}};
    return std::move(put).template without_answer<hold, lease_busy>();
  }

  outcome<nothing> renew(hold& held, std::chrono::milliseconds lease,
                         const call_options& call) const {
    const std::string sign = observed_sign{held.owner, lease, held.beat + 1}.text();
    return put(held, sign, call);
  }
  outcome<nothing> release(hold& held, const call_options& call) const {
    return put(held, std::nullopt, call);
  }
  // Effects: takes the version of one more write for the fence. They are given in order, so one is
  //          enough where `above` is of the same data.
  outcome<nothing> raise(hold& held, std::uint64_t above, const call_options& call) const {
    if (held.fence > above) return nothing{};
    auto said = renew(held, held.lease, call);
    if (!said) return said;
    if (held.version > above) {
      held.fence = held.version;
      return nothing{};
    }
    return refusal(at_.failed(errc::bad_argument, "observed_mutex.raise",
                              "the watermark is larger than every version of this data",
                              "use one kind of lock for a resource, or raise it there"));
  }

private:
  struct watch {
    std::mutex guard;
    std::uint64_t version = 0;
    boot_clock::time_point since{};
  };

  // Returns: how long this version has to be seen still, until its lease is over.
  std::chrono::milliseconds remaining(std::uint64_t version,
                                      std::chrono::milliseconds lease) const {
    const auto now = clock_->now();
    const std::lock_guard lock(watched_->guard);
    if (watched_->version != version) {
      watched_->version = version;
      watched_->since = now;
    }
    return std::chrono::ceil<std::chrono::milliseconds>(lease + lease / 100 -
                                                        (now - watched_->since));
  }
  // Effects: finds out what the cell is at, after an answer was lost.
  outcome<nothing> look(hold& held, const call_options& call) const {
    auto seen = at_.client().cell_load(at_.object(), call);
    if (!seen) return std::move(seen).template without_answer<nothing>();
    const auto sign = seen->bytes ? observed_sign::parse(*seen->bytes) : std::nullopt;
    if (!sign || sign->owner != held.owner) return conflicting{nothing{}};
    held.version = seen->version;
    held.beat = sign->beat;
    return nothing{};
  }
  outcome<nothing> put(hold& held, std::optional<std::string_view> bytes,
                       const call_options& call) const {
    const call_deadline limit = at_.deadline(call);
    if (held.version == 0) {
      auto again = look(held, limit.rest());
      if (!again) return again;
    }
    auto said = at_.client().cell_put(at_.object(), held.version, bytes, limit.rest());
    if (said.conflicted()) return conflicting{nothing{}};
    if (said) {
      held.version = *said;
      ++held.beat;
      return nothing{};
    }
    if (said.unknown()) held.version = 0;
    return std::move(said).template without_answer<nothing, nothing>();
  }
  refusal not_a_sign(std::string_view bytes) const {
    std::string detail = "what is stored is no lease: ";
    detail += printable(bytes);
    return refusal(at_.failed(errc::bad_value, "observed_mutex.lock", std::move(detail),
                              "give the mutex a name of its own"));
  }

  bound_object<E> at_;
  std::shared_ptr<const local_clock> clock_;
  std::shared_ptr<watch> watched_;
};

}  // namespace interlock::store::detail
