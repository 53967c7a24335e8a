// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/history.hpp - whether this is still the data set that the client knows.
//
// Two signs. The incarnation is a name that is written once per data set: another name, or none, is
// another data set. The beat is a number of this client's own that goes up by one each time it
// looks: one that is not above what was acknowledged before shows that the server came back with
// an older state, by a snapshot or as a replica that was behind.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "../../store/operation_id.hpp"
#include "../value.hpp"
#include "request.hpp"

namespace interlock::redis::detail {

class history {
public:
  using clock = std::chrono::steady_clock;

  history(const std::string& prefix, std::chrono::milliseconds retention)
      : incarnation_key_("{" + prefix + "}:incarnation"),
        schema_key_("{" + prefix + "}:schema"),
        beat_key_("{" + prefix + "}:beat:" + store::unique_id::fresh().text()),
        retention_(std::max<std::int64_t>(script_time(retention), 1)) {}

  [[nodiscard]] const std::string& incarnation_key() const noexcept { return incarnation_key_; }
  [[nodiscard]] const std::string& schema_key() const noexcept { return schema_key_; }
  [[nodiscard]] const std::string& beat_key() const noexcept { return beat_key_; }
  [[nodiscard]] std::chrono::milliseconds retention() const noexcept { return retention_; }

  // What the beat has to exceed. Taken before the beat is sent.
  struct mark {
    std::int64_t beat = 0;
  };
  [[nodiscard]] mark before(clock::time_point now) const {
    const std::lock_guard lock(mutex_);
    // A key that may have expired proves nothing.
    return {now - beaten_ < retention_ / 2 ? beat_ : 0};
  }

  // Effects: takes what a look at the server gave. `beat`: 0 if it could not be raised.
  void saw(std::string_view incarnation, std::int64_t beat, mark than, clock::time_point now) {
    const std::lock_guard lock(mutex_);
    if (accepted_.empty()) return;
    found_ = incarnation;
    if (incarnation != accepted_ || (beat != 0 && beat <= than.beat)) lost_ = true;
    if (beat > beat_) {
      beat_ = beat;
      beaten_ = now;
    }
  }

  enum class state : std::uint8_t { fine, due, lost };
  // Returns: due, to one caller, when nobody has looked for that long.
  [[nodiscard]] state now(clock::time_point now, clock::duration every) {
    const std::lock_guard lock(mutex_);
    if (lost_) return state::lost;
    if (now - looked_ < every) return state::fine;
    looked_ = now;
    return state::due;
  }
  // Effects: the look that was due gave no answer: the next caller is to look.
  void look_again() {
    const std::lock_guard lock(mutex_);
    looked_ = {};
  }
  [[nodiscard]] bool lost() const {
    const std::lock_guard lock(mutex_);
    return lost_;
  }

  // Effects: this is the data set that the client knows from now on.
  void accept(std::string incarnation) {
    const std::lock_guard lock(mutex_);
    accepted_ = std::move(incarnation);
    lost_ = false;
    beat_ = 0;
    looked_ = clock::now();
  }
  [[nodiscard]] std::string incarnation() const {
    const std::lock_guard lock(mutex_);
    return accepted_;
  }

  // Returns: what to tell who asks while it is lost.
  [[nodiscard]] std::string why() const {
    const std::lock_guard lock(mutex_);
    if (found_ == accepted_) {
      return "the server came back with an older state: acknowledged writes are gone";
    }
    std::string text = "the data set is ";
    text += found_.empty() ? "empty" : found_;
    text += ", the client knew ";
    text += accepted_;
    return text;
  }

private:
  const std::string incarnation_key_;
  const std::string schema_key_;
  const std::string beat_key_;
  const std::chrono::milliseconds retention_;

  mutable std::mutex mutex_;  // protects all below
  std::string accepted_;      // empty before the first connection is made
  std::string found_;
  std::int64_t beat_ = 0;  // the largest that was acknowledged
  clock::time_point beaten_{};
  clock::time_point looked_{};
  bool lost_ = false;
};

// Effects: asks the server with `ask(command)`, which gives what it answers, and notes what it saw.
// Returns: the answer that was none, if one was; else nil.
template <class Ask>
auto look(history& known, Ask&& ask) -> decltype(ask(std::span<const std::string_view>())) {
  const auto now = history::clock::now();
  const history::mark than = known.before(now);
  const std::array<std::string_view, 2> get{"GET", known.incarnation_key()};
  auto name = ask(std::span<const std::string_view>(get));
  if (name.kind() != value_kind::bytes && name.kind() != value_kind::nil) return name;
  const std::array<std::string_view, 2> raise{"INCR", known.beat_key()};
  auto beat = ask(std::span<const std::string_view>(raise));
  if (beat.kind() == value_kind::not_sent || beat.kind() == value_kind::unanswered) return beat;
  const bool beaten = beat.kind() == value_kind::integer;  // else it may not be written now
  known.saw(name.text(), beaten ? beat.integer() : 0, than, now);
  if (beaten) {
    const decimal keep(known.retention().count());
    const std::array<std::string_view, 3> expire{"PEXPIRE", known.beat_key(), keep};
    auto kept = ask(std::span<const std::string_view>(expire));
    if (kept.kind() == value_kind::not_sent || kept.kind() == value_kind::unanswered) return kept;
  }
  return decltype(name)(value());
}

}  // namespace interlock::redis::detail
