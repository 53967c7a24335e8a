// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/mirror_pace.hpp - how often a mirror sends and tries again, and one attempt.

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <stdexcept>

#include "../mirror_options.hpp"
#include "misuse.hpp"

namespace interlock::detail {

struct mirror_pace {
  std::size_t attempts;
  std::chrono::nanoseconds min_interval;
  std::chrono::nanoseconds max_staleness;
};

// What is longer is as long: a moment and it are still a moment.
inline constexpr std::chrono::hours longest_wait{24 * 365};

template <class Options>
mirror_pace valid_pace(const Options& options) {
  const std::chrono::nanoseconds none{0};
  if (options.attempts == 0) {
    throw std::invalid_argument("interlock::mirror: 0 attempts can write nothing; use at least 1");
  }
  if (options.min_interval < none || options.max_staleness < none) {
    throw std::invalid_argument("interlock::mirror: a time may not be negative");
  }
  if (options.max_staleness != none && options.max_staleness < options.min_interval) {
    throw std::invalid_argument(
        "interlock::mirror: max_staleness must not be shorter than min_interval");
  }
  if (options.now && !options.schedule) {
    throw std::invalid_argument(
        "interlock::mirror: the mirror's own threads sleep by steady_clock; a clock needs a "
        "schedule");
  }
  const std::chrono::nanoseconds longest = longest_wait;
  return {options.attempts, std::min(options.min_interval, longest),
          std::min(options.max_staleness, longest)};
}

inline std::uint32_t valid_parallel(std::uint32_t parallel) {
  if (parallel != 0) return parallel;
  throw std::invalid_argument("interlock::mirror: 0 keys at a time are none; use at least 1");
}

// What a mirror does if it is told nothing else.
inline std::chrono::nanoseconds usual_delay(std::size_t failures) noexcept {
  const std::int64_t doubled = 10LL << std::min<std::size_t>(failures - 1, 10);
  const std::chrono::nanoseconds full =
      std::chrono::milliseconds(std::min(doubled, std::int64_t{1000}));
  // Mirrors that failed together should not come back together: a different part off each time.
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  const std::uint64_t mixed = static_cast<std::uint64_t>(now) * 0x9E3779B97F4A7C15U >> 54U;
  return full - full * static_cast<std::int64_t>(mixed) / 2048;
}

[[noreturn]] inline void misuse_of_mirror() noexcept {
  misuse("mirror: destroyed on the thread that is sending; destroy it on another one");
}

template <class Source>
auto read_source(Source& source) {
  if constexpr (std::invocable<Source&>) {
    return source();
  } else {
    return source.load();
  }
}

// What became of one attempt.
enum class mirror_end : unsigned char {
  applied,
  stale,
  skipped,
  failed,
  unknown,
  refused  // as stale, and that tells nothing of the updates that were sent
};

template <class Version>
struct mirror_attempt {
  mirror_end how = mirror_end::unknown;
  std::optional<Version> version{};  // as far as it was read
  std::exception_ptr error{};
  bool partly = false;  // there is more to send, for which the same flushes wait

  bool failed() const noexcept { return how >= mirror_end::failed; }
  // Preconditions: failed.
  mirror_write_result result() const noexcept {
    switch (how) {
      case mirror_end::failed: return mirror_write_result::failed;
      case mirror_end::refused: return mirror_write_result::stale;
      default: return mirror_write_result::unknown;
    }
  }
};

constexpr mirror_end end_of(mirror_write_result result) noexcept {
  switch (result) {
    case mirror_write_result::applied: return mirror_end::applied;
    case mirror_write_result::stale: return mirror_end::stale;
    case mirror_write_result::failed: return mirror_end::failed;
    default: return mirror_end::unknown;
  }
}

constexpr void count(mirror_end how, mirror_statistics& all) noexcept {
  switch (how) {
    case mirror_end::applied: ++all.writes; break;
    case mirror_end::stale: ++all.stale; break;
    case mirror_end::skipped: ++all.skipped; break;
    case mirror_end::unknown: ++all.unknown; [[fallthrough]];
    default: ++all.failures;
  }
}

// Effects: what `once` answers is how it ended; if it throws, nobody knows.
template <class Version, class F>
mirror_attempt<Version> attempt_once(F once) noexcept {
  mirror_attempt<Version> done;
  try {
    done.how = once(done);
  } catch (...) {
    done.error = std::current_exception();
  }
  return done;
}

}  // namespace interlock::detail
