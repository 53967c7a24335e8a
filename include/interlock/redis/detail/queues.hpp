// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/queues.hpp - serial queues of a client.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "leases.hpp"
#include "scripts_queues.hpp"

namespace interlock::redis::detail {

template <class Executor>
class queues : public leases<Executor> {
public:
  using typename caller<Executor>::object;

  outcome<std::uint64_t> queue_push(const object& at, std::string_view key,
                                    std::string_view payload, const call_options& call) {
    const asked by{at, "push", call};
    if (auto bad = this->bad_size(by, payload.size())) return *std::move(bad);
    return sequence(script_queue_push(), by, key, {key, payload});
  }

  outcome<store::queue_item, store::queue_idle> queue_take(const object& at, const unique_id& owner,
                                                           milliseconds lease, std::uint64_t most,
                                                           const call_options& call) {
    using out = outcome<store::queue_item, store::queue_idle>;
    const asked by{at, "take", call};
    const decimal time(script_time(lease));
    const decimal tries(most);
    return ask_queue<out>(script_queue_take(), by, {owner.text(), time, tries},
                          [&](reader& in, const auto& answer, bool applied) -> out {
                            in.expect(answer, applied ? 6 : 2);
                            if (!in.good()) return this->unreadable(by);
                            if (!applied) return idle(in, by, answer.at(1));
                            store::queue_item is;
                            is.key = in.bytes(answer.at(1)).value_or("");
                            is.sequence = in.template number<std::uint64_t>(answer.at(2));
                            is.attempt = in.template number<std::uint64_t>(answer.at(3));
                            is.tries = in.template number<std::uint64_t>(answer.at(4));
                            is.payload = in.bytes(answer.at(5)).value_or("");
                            if (in.good()) return is;
                            return this->unreadable(by);
                          });
  }

  outcome<nothing> queue_finish(const object& at, std::string_view key, const unique_id& owner,
                                std::uint64_t attempt, const call_options& call) {
    const decimal number(attempt);
    return of_owner(script_queue_finish(), {at, "finish", call}, key, {key, owner.text(), number});
  }
  outcome<nothing> queue_give_back(const object& at, std::string_view key, const unique_id& owner,
                                   std::uint64_t attempt, milliseconds delay,
                                   const call_options& call) {
    const decimal number(attempt);
    const decimal time(script_time(delay));
    return of_owner(script_queue_give_back(), {at, "give_back", call}, key,
                    {key, owner.text(), number, time});
  }
  outcome<nothing> queue_heartbeat(const object& at, std::string_view key, const unique_id& owner,
                                   std::uint64_t attempt, milliseconds lease,
                                   const call_options& call) {
    const decimal number(attempt);
    const decimal time(script_time(lease));
    return of_owner(script_queue_heartbeat(), {at, "heartbeat", call}, key,
                    {key, owner.text(), number, time});
  }

  outcome<std::vector<store::queue_item>> queue_set_aside(const object& at, std::uint64_t most,
                                                          const call_options& call) {
    using out = outcome<std::vector<store::queue_item>>;
    const call_options without_id{{}, call.timeout};
    const asked by{at, "set_aside", without_id, false};
    if (most == 0) return std::vector<store::queue_item>();
    const decimal count(std::min<std::uint64_t>(most, 1'000'000));
    return ask_queue<out>(script_queue_set_aside(), by, {count},
                          [&](reader& in, const auto& answer, bool) -> out {
                            std::vector<store::queue_item> items;
                            for (std::size_t i = 1; i + 2 < answer.size(); i += 3) {
                              items.push_back(aside(in, answer, i));
                            }
                            if (in.good()) return items;
                            return this->unreadable(by);
                          });
  }
  outcome<std::uint64_t> queue_restore(const object& at, std::string_view key, std::uint64_t number,
                                       const call_options& call) {
    const decimal which(number);
    return sequence(script_queue_restore(), {at, "restore", call}, key, {key, which});
  }
  outcome<store::queue_depth> queue_depth(const object& at, const call_options& call) {
    using out = outcome<store::queue_depth>;
    const call_options without_id{{}, call.timeout};
    const asked by{at, "depth", without_id, false};
    return ask_queue<out>(script_queue_depth(), by, {},
                          [&](reader& in, const auto& answer, bool) -> out {
                            in.expect(answer, 4);
                            if (!in.good()) return this->unreadable(by);
                            store::queue_depth is;
                            is.waiting = in.template number<std::uint64_t>(answer.at(1));
                            is.taken = in.template number<std::uint64_t>(answer.at(2));
                            is.set_aside = in.template number<std::uint64_t>(answer.at(3));
                            if (in.good()) return is;
                            return this->unreadable(by);
                          });
  }

protected:
  using leases<Executor>::leases;

private:
  using list = std::initializer_list<argument>;

  template <class Out, class F>
  Out ask_queue(const script& of, const asked& by, list arguments, F f) {
    std::array<std::string_view, 6> keys;
    for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = by.at.keys()[i];
    script_call script = this->calling(of, by, keys);
    return this->template ask_with<Out>(by, script, arguments, f);
  }
  outcome<nothing> of_owner(const script& of, const asked& by, std::string_view key,
                            list arguments) {
    if (auto bad = this->bad_key(by, key)) return *std::move(bad);
    return ask_queue<outcome<nothing>>(of, by, arguments, this->done_or_conflict);
  }
  outcome<std::uint64_t> sequence(const script& of, const asked& by, std::string_view key,
                                  list arguments) {
    using out = outcome<std::uint64_t>;
    if (auto bad = this->bad_key(by, key)) return *std::move(bad);
    return ask_queue<out>(
        of, by, arguments, [&](reader& in, const auto& answer, bool applied) -> out {
          if (!applied) return store::conflicting{nothing{}};
          in.expect(answer, 2);
          const auto n = in.good() ? in.template number<std::uint64_t>(answer.at(1)) : 0;
          if (in.good()) return n;
          return this->unreadable(by);
        });
  }
  template <class Part>
  static outcome<store::queue_item, store::queue_idle> idle(reader& in, const asked& by,
                                                            const Part& next) {
    store::queue_idle is;
    if (next.kind() != value_kind::nil) {
      is.next = milliseconds(in.template number<std::int64_t>(next));
    }
    if (in.good()) return store::conflicting{is};
    return caller<Executor>::unreadable(by);
  }
  // Three items: KEY:SEQUENCE, TRIES:ATTEMPT, the payload.
  template <class Answer>
  static store::queue_item aside(reader& in, const Answer& answer, std::size_t first) {
    store::queue_item is;
    const std::string name = in.bytes(answer.at(first)).value_or("");
    const std::string counts = in.bytes(answer.at(first + 1)).value_or("");
    is.payload = in.bytes(answer.at(first + 2)).value_or("");
    const std::size_t end = name.rfind(':');
    const std::size_t middle = counts.find(':');
    if (end == std::string::npos || middle == std::string::npos ||
        !parse(std::string_view(name).substr(end + 1), is.sequence) ||
        !parse(std::string_view(counts).substr(0, middle), is.tries) ||
        !parse(std::string_view(counts).substr(middle + 1), is.attempt)) {
      in.fail();
    } else {
      is.key = name.substr(0, end);
    }
    return is;
  }
};

}  // namespace interlock::redis::detail
