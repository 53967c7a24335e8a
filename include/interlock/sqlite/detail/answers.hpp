// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/answers.hpp - what is done once under an operation id, and its answer.

#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "../../store/detail/backoff.hpp"
#include "connection.hpp"
#include "request.hpp"

namespace interlock::sqlite::detail {

// An answer as bytes: numbers as 8 bytes, strings after their length.
class answer_writer {
public:
  void put(std::uint64_t number) {
    for (unsigned at = 0; at < 64; at += 8) text_ += static_cast<char>((number >> at) & 0xffU);
  }
  void put(std::int64_t number) { put(static_cast<std::uint64_t>(number)); }
  void put(const std::string& bytes) {
    put(std::uint64_t{bytes.size()});
    text_ += bytes;
  }
  void put(store::nothing) {}
  void put(const store::bounded_state& s) { all(s.value, s.low, s.high); }
  void put(const store::lease_grant& g) { put(g.fence); }
  void put(const store::idempotency_claim& c) { put(c.attempt); }  // kept if it was claimed
  void put(const store::queue_item& i) { all(i.key, i.sequence, i.attempt, i.tries, i.payload); }
  [[nodiscard]] const std::string& text() const noexcept { return text_; }

private:
  template <class... Parts>
  void all(const Parts&... parts) {
    (put(parts), ...);
  }
  std::string text_;
};

class answer_reader {
public:
  explicit answer_reader(std::string_view text) : text_(text) {}

  void get(std::uint64_t& number) {
    number = 0;
    for (unsigned at = 0; at < 8 && at < text_.size(); ++at) {
      number |= std::uint64_t{static_cast<unsigned char>(text_[at])} << (8 * at);
    }
    text_.remove_prefix(text_.size() < 8 ? text_.size() : 8);
  }
  void get(std::int64_t& number) {
    std::uint64_t bits = 0;
    get(bits);
    number = static_cast<std::int64_t>(bits);
  }
  void get(std::string& bytes) {
    std::uint64_t size = 0;
    get(size);
    bytes = text_.substr(0, size);
    text_.remove_prefix(bytes.size());
  }
  void get(store::nothing&) {}
  void get(store::bounded_state& s) { all(s.value, s.low, s.high); }
  void get(store::lease_grant& g) { get(g.fence); }
  void get(store::idempotency_claim& c) { get(c.attempt); }
  void get(store::queue_item& i) { all(i.key, i.sequence, i.attempt, i.tries, i.payload); }

private:
  template <class... Parts>
  void all(Parts&... parts) {
    (get(parts), ...);
  }
  std::string_view text_;
};

template <class T>
[[nodiscard]] bool is_kept(const T& answer) {
  if constexpr (std::is_same_v<T, store::idempotency_claim>) {
    return answer.what == store::idempotency_claim::state::claimed;
  } else {
    return true;
  }
}

// Effects: forgets a few answers that are older than `before`, if they are of sessions after a
//          random one: each record is looked at now and then, and no index has to be kept.
inline void sweep_answers(connection& on, std::int64_t before) {
  auto& random = store::detail::splitmix::of_this_thread();
  if (random.next() % 8 != 0) return;
  statement(on, sql::answer_sweep, id_bytes({random.next(), random.next()}), before, 32).run();
}

// In a transaction. Returns: the answer that the call's id got before, or body()'s, which is kept
//                           for `retention` after it was asked for last.
template <class R, class F>
R once(connection& on, const request& by, std::int64_t now, std::chrono::milliseconds retention,
       F body) {
  if (!by.call.id) return body();
  by.require_small(by.call.id.sequence, "sequence of the operation id");
  const id_bytes session(by.call.id.session);
  const auto kind = static_cast<std::int64_t>(by.kind);
  {
    statement known(on, sql::answer_find, session, kind, by.name);
    if (known.row()) {
      if (known.number(0) > by.call.id.sequence) {
        return by.refuse(store::errc::expired, "the session went on to a later operation",
                         "what became of this one is not known any more: look at the state");
      }
      if (known.number(0) == by.call.id.sequence) {
        if (known.bytes(1) != by.operation) {
          return by.refuse(store::errc::bad_argument,
                           "the operation id was given to another operation",
                           "give each operation an id of its own");
        }
        typename R::value_type answer{};
        answer_reader(known.bytes(2)).get(answer);
        on.repeats = true;
        try {
          statement(on, sql::answer_touch, session, kind, by.name, now).run();
        } catch (const fault&) {
          // there is no room for a later time: it is known nevertheless
        }
        return answer;
      }
    }
  }
  R result = body();
  if (!result.applied() || !is_kept(result.value())) return result;
  answer_writer answer;
  answer.put(result.value());
  statement(on, sql::answer_keep, session, kind, by.name, by.call.id.sequence,
            std::string_view(by.operation), answer.text(), now)
      .run();
  sweep_answers(on, now - microseconds_in(retention));
  return result;
}

}  // namespace interlock::sqlite::detail
