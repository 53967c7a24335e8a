// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/recorder.hpp - an executor that notes the command of a protocol for later,
// and gives the protocol its answer when that is there.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "pooled.hpp"

namespace interlock::redis::detail {

class recorder {
public:
  explicit recorder(pooled executor) : executor_(std::move(executor)) {}

  // Effects: the next command is appended to `request`; its outcome means nothing.
  void record(std::string& request) noexcept { request_ = &request; }
  // Effects: the next command gets this answer, as often as it is tried if there is none; another
  //          one, the script in place of its hash, is sent by itself.
  void replay(reply answer) {
    request_ = nullptr;
    answer_.emplace(std::move(answer));
  }

  [[nodiscard]] reply execute(std::span<const std::string_view> command,
                              const call_deadline& deadline, bool writes) {
    if (request_ != nullptr) {
      append_command(*request_, command);
      return reply(value::not_sent({}, errc::cancelled));
    }
    if (!answer_) return executor_.execute(command, deadline, writes);
    const std::string why(answer_->text());
    if (answer_->kind() == value_kind::not_sent)
      return reply(value::not_sent(why, answer_->code()));
    if (answer_->kind() == value_kind::unanswered) {
      return reply(value::unanswered(why, answer_->code()));
    }
    reply answer = *std::move(answer_);
    answer_.reset();
    return answer;
  }

private:
  pooled executor_;
  std::string* request_ = nullptr;
  std::optional<reply> answer_;
};

}  // namespace interlock::redis::detail
