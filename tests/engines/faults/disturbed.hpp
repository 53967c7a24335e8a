// SPDX-License-Identifier: BSL-1.0
#pragma once

// A client whose requests go through a losing, for the types, which make their requests themselves,
// renewals and heartbeats included. Include a place before.

#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>

#include "common.hpp"

namespace faults {

enum class fences { checked, ignored };  // ignored: a bug, which the tests have to find

class disturbed : public place::client {
  using plain = place::client;
  using text = std::string_view;
  using milliseconds = std::chrono::milliseconds;  // a client has such names of its own
  using call_options = store::call_options;
  using unique_id = store::unique_id;

public:
  disturbed(losing& between, store::client_options options, fences how = fences::checked)
      : plain(between.open(std::move(options))), between_(&between), how_(how) {}

  auto lease_acquire(const object& at, const unique_id& owner, milliseconds lease,
                     const call_options& call) {
    return between_->ask([&] { return plain::lease_acquire(at, owner, lease, call); });
  }
  auto lease_renew(const object& at, const unique_id& owner, std::uint64_t fence,
                   milliseconds lease, const call_options& call) {
    return between_->ask([&] { return plain::lease_renew(at, owner, fence, lease, call); });
  }
  auto lease_release(const object& at, const unique_id& owner, std::uint64_t fence,
                     const call_options& call) {
    return between_->ask([&] { return plain::lease_release(at, owner, fence, call); });
  }
  auto fenced_open(const object& at, std::uint64_t fence, const unique_id& owner,
                   const call_options& call) {
    return between_->ask([&] {
      const bool ignored = how_ == fences::ignored;
      return plain::fenced_open(at, ignored ? 1 : fence, ignored ? nobody() : owner, call);
    });
  }
  auto fenced_write(const object& at, std::uint64_t fence, const unique_id& owner, text bytes,
                    const call_options& call) {
    return between_->ask([&] {
      const bool ignored = how_ == fences::ignored;
      return plain::fenced_write(at, ignored ? 1 : fence, ignored ? nobody() : owner, bytes, call);
    });
  }
  auto queue_push(const object& at, text key, text payload, const call_options& call) {
    return between_->ask([&] { return plain::queue_push(at, key, payload, call); });
  }
  auto queue_take(const object& at, const unique_id& owner, milliseconds lease, std::uint64_t most,
                  const call_options& call) {
    return between_->ask([&] { return plain::queue_take(at, owner, lease, most, call); });
  }
  auto queue_finish(const object& at, text key, const unique_id& owner, std::uint64_t attempt,
                    const call_options& call) {
    return between_->ask([&] { return plain::queue_finish(at, key, owner, attempt, call); });
  }
  auto queue_give_back(const object& at, text key, const unique_id& owner, std::uint64_t attempt,
                       milliseconds delay, const call_options& call) {
    return between_->ask(
        [&] { return plain::queue_give_back(at, key, owner, attempt, delay, call); });
  }
  auto queue_heartbeat(const object& at, text key, const unique_id& owner, std::uint64_t attempt,
                       milliseconds lease, const call_options& call) {
    return between_->ask(
        [&] { return plain::queue_heartbeat(at, key, owner, attempt, lease, call); });
  }

private:
  static const unique_id& nobody() {
    static const unique_id one = unique_id::fresh();
    return one;
  }

  losing* between_;
  fences how_;
};

}  // namespace faults
