// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/reply.hpp - what hiredis read, with the words of redis::value, not copied.

#include <hiredis/hiredis.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "../value.hpp"

namespace interlock::redis::detail {

// A part of an answer, while that lives.
class reply_view {
public:
  explicit reply_view(const redisReply* raw) noexcept : raw_(raw) {}

  [[nodiscard]] value_kind kind() const noexcept {
    switch (raw_->type) {
      case REDIS_REPLY_INTEGER:
        return value_kind::integer;
      case REDIS_REPLY_STRING:
      case REDIS_REPLY_STATUS:
        return value_kind::bytes;
      case REDIS_REPLY_ARRAY:
        return value_kind::list;
      case REDIS_REPLY_ERROR:
        return value_kind::error;
      default:
        return value_kind::nil;
    }
  }
  [[nodiscard]] std::int64_t integer() const noexcept { return raw_->integer; }
  [[nodiscard]] std::string_view text() const noexcept {
    return raw_->str != nullptr ? std::string_view(raw_->str, raw_->len) : std::string_view();
  }
  [[nodiscard]] std::size_t size() const noexcept {
    return raw_->type == REDIS_REPLY_ARRAY ? raw_->elements : 0;
  }
  // Preconditions: i < size().
  [[nodiscard]] reply_view at(std::size_t i) const noexcept { return reply_view(raw_->element[i]); }

private:
  const redisReply* raw_;
};

// A whole answer, or why there is none.
class reply {
public:
  explicit reply(redisReply* raw) noexcept : raw_(raw) {}
  explicit reply(value none) : none_(std::make_unique<value>(std::move(none))) {}

  [[nodiscard]] value_kind kind() const noexcept {
    return raw_ != nullptr ? view().kind() : none_->kind();
  }
  [[nodiscard]] std::int64_t integer() const noexcept { return view().integer(); }
  [[nodiscard]] std::string_view text() const noexcept {
    return raw_ != nullptr ? view().text() : none_->text();
  }
  [[nodiscard]] store::errc code() const noexcept {
    return none_ != nullptr ? none_->code() : store::errc::engine_failure;
  }
  [[nodiscard]] std::size_t size() const noexcept { return raw_ != nullptr ? view().size() : 0; }
  [[nodiscard]] reply_view at(std::size_t i) const noexcept { return view().at(i); }

private:
  struct freed {
    void operator()(redisReply* raw) const noexcept { freeReplyObject(raw); }
  };
  [[nodiscard]] reply_view view() const noexcept { return reply_view(raw_.get()); }

  std::unique_ptr<redisReply, freed> raw_;  // or
  std::unique_ptr<value> none_;
};

}  // namespace interlock::redis::detail
