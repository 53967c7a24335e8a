// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/caller.hpp - the way of a request: its command, the server's answer, the
// outcome. What the protocols of basic_client stand on.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../store/client_options.hpp"
#include "../../store/detail/deadline.hpp"
#include "../../store/detail/names.hpp"
#include "../../store/detail/offload.hpp"
#include "../../store/protocol.hpp"
#include "errors.hpp"
#include "history.hpp"
#include "request.hpp"
#include "script.hpp"

namespace interlock::redis::detail {

using std::chrono::milliseconds;
using store::call_options;
using store::nothing;
using store::outcome;
using store::unique_id;
using store::detail::call_deadline;

// A name with its keys. All keys of a client begin with {PREFIX}, so they are in one slot.
class object {
public:
  object(store::object_kind kind, const std::string& tag, std::string_view name)
      : kind_(kind), name_(name) {
    const auto key = [&](const char* part) {
      std::string text = tag;
      text += store::to_string(kind);
      text += ':';
      text += part;
      if (kind == store::object_kind::idempotency || kind == store::object_kind::mirror) {
        text += std::to_string(name.size());  // the key comes after the name
        text += ':';
        text += name;
        text += ':';
      } else {
        text += name;
      }
      return text;
    };
    if (kind == store::object_kind::queue) {
      for (const char* part : {"state:", "items:", "ready:", "leased:", "delayed:", "aside:"}) {
        keys_.push_back(key(part));
      }
    } else {
      keys_.push_back(key(""));
    }
  }

  [[nodiscard]] std::string_view name() const noexcept { return name_; }
  [[nodiscard]] store::object_kind kind() const noexcept { return kind_; }
  // Returns: the key; or what comes before the key of a row.
  [[nodiscard]] const std::string& key() const noexcept { return keys_.front(); }
  [[nodiscard]] const std::vector<std::string>& keys() const noexcept { return keys_; }

private:
  store::object_kind kind_;
  std::string name_;
  std::vector<std::string> keys_;
};

// Who asks for what.
struct asked {
  const object& at;
  const char* verb;  // "add"
  const call_options& call;
  bool writes = true;

  [[nodiscard]] std::string operation() const {
    std::string text = store::to_string(at.kind());
    text += '.';
    text += verb;
    return text;
  }
  [[nodiscard]] store::refusal refuse(errc code, std::string detail) const {
    return store::refusal(error_of(code, operation(), at.name(), std::move(detail)));
  }
  [[nodiscard]] store::refusal refuse(errc code, std::string detail, std::string remedy) const {
    store::error why = error_of(code, operation(), at.name(), std::move(detail));
    why.remedy = std::move(remedy);
    return store::refusal(std::move(why));
  }
};

// A script with its keys and what each script gets first. The caller adds the rest to `parts`.
struct script_call {
  script_call(const script& of, const asked& by, const std::string& tag, milliseconds retention,
              std::span<const std::string_view> keys)
      : lua(of),
        count(keys.size() + (by.call.id ? 1 : 0)),
        sequence(by.call.id.sequence),
        keep(std::max<std::int64_t>(script_time(retention), 1)) {
    parts.add("EVALSHA");
    parts.add(of.sha);
    parts.add(count);
    for (const std::string_view key : keys) parts.add(key);
    if (by.call.id) {
      record = tag;
      record += "id:";
      record += store::to_string(by.at.kind());
      record += ':';
      record += by.call.id.session.text();
      record += ':';
      record += by.at.name();
      parts.add(record);
    }
    parts.add(by.call.id ? std::string_view(sequence) : std::string_view());
    parts.add(keep);
  }

  const script& lua;
  arguments parts;

private:
  const decimal count;
  const decimal sequence;
  const decimal keep;
  std::string record;
};

// Reads the items of an answer; remembers whether all were what they should be.
class reader {
public:
  template <class N, class Part>
  [[nodiscard]] N number(const Part& part) {
    N out{};
    if (part.kind() == value_kind::integer) {
      out = static_cast<N>(part.integer());
    } else if (part.kind() != value_kind::bytes || !parse(part.text(), out)) {
      good_ = false;
    }
    return out;
  }
  template <class Part>
  [[nodiscard]] std::optional<std::string> bytes(const Part& part) {
    if (part.kind() == value_kind::bytes) return std::string(part.text());
    if (part.kind() != value_kind::nil) good_ = false;
    return std::nullopt;
  }
  template <class Answer>
  void expect(const Answer& answer, std::size_t items) {
    if (answer.kind() != value_kind::list || answer.size() < items) good_ = false;
  }
  void fail() noexcept { good_ = false; }
  [[nodiscard]] bool good() const noexcept { return good_; }

private:
  bool good_ = true;
};

template <class Executor>
class caller {
public:
  using object = detail::object;

protected:
  struct shared {
    shared(Executor with, store::client_options wishes, std::shared_ptr<history> whose,
           milliseconds look)
        : executor(std::move(with)),
          options(std::move(wishes)),
          tag("{" + options.prefix + "}:"),
          versions(tag + "versions"),
          known(std::move(whose)),
          look_every(look),
          threads(options.threads != 0 ? options.threads : options.connections) {}

    Executor executor;
    const store::client_options options;
    const std::string tag;
    const std::string versions;  // the key of the last version of a cell
    const std::shared_ptr<history> known;
    const milliseconds look_every;
    store::probed_guarantees probed;  // set before others know of it
    store::detail::offload_threads threads;
  };

  explicit caller(std::shared_ptr<shared> state) noexcept : state_(std::move(state)) {}

  // Effects: sends the command and gives the answer to f, which gives the outcome. An error of the
  //          server, or no answer, is an outcome already.
  template <class Outcome, class F>
  Outcome native(const asked& by, std::span<const std::string_view> command, F f) {
    const call_deadline deadline(by.call, state_->options.timeout);
    if (deadline.hopeless()) return late(by);
    auto answer = send(command, deadline, by.writes);
    if (answer.kind() == value_kind::error) return failed(by, answer.text(), false);
    if (answer.kind() >= value_kind::not_sent) return none(by, answer);
    return f(answer);
  }
  template <class Outcome, class F>
  Outcome run(const asked& by, script_call& call, F f) {
    const call_deadline deadline(by.call, state_->options.timeout);
    if (deadline.hopeless()) return late(by);
    const std::span<std::string_view> parts = call.parts.parts();
    auto answer = send(parts, deadline, by.writes);
    if (answer.kind() == value_kind::error && answer.text().substr(0, 8) == "NOSCRIPT") {
      parts[0] = "EVAL";  // it was not executed; this one stays in the server's cache
      parts[1] = call.lua.text;
      answer = send(parts, deadline, by.writes);
    }
    if (answer.kind() == value_kind::error) return failed(by, answer.text(), by.writes);
    if (answer.kind() >= value_kind::not_sent) return none(by, answer);
    if (answer.kind() != value_kind::list || answer.size() == 0) return odd(by);
    const std::int64_t what = answer.at(0).integer();
    if (what < 0) return refused(by, what);
    return f(answer, what == answer_applied);
  }

  [[nodiscard]] script_call calling(const script& of, const asked& by,
                                    std::span<const std::string_view> keys) const {
    return script_call(of, by, state_->tag, state_->options.retention, keys);
  }
  [[nodiscard]] script_call calling(const script& of, const asked& by) const {
    const std::string_view key = by.at.key();
    return calling(of, by, {&key, 1});
  }

  // Returns: why it cannot be asked at all.
  [[nodiscard]] std::optional<store::refusal> bad_key(const asked& by, std::string_view key) const {
    auto bad = store::detail::bad_name("redis", by.operation(), key, "key");
    if (!bad) return std::nullopt;
    return store::refusal(*std::move(bad));
  }
  [[nodiscard]] std::optional<store::refusal> bad_size(const asked& by, std::size_t bytes) const {
    if (bytes <= state_->options.max_value_bytes) return std::nullopt;
    auto bad = store::detail::bad_size("redis", by.operation(), by.at.name(), bytes,
                                       state_->options.max_value_bytes);
    return store::refusal(*std::move(bad));
  }

  // Returns: that the answer cannot be read.
  [[nodiscard]] static store::refusal unreadable(const asked& by) {
    return by.refuse(errc::bad_value, "what is stored is not what interlock writes");
  }

  std::shared_ptr<shared> state_;

private:
  // What an answer that nobody of ours gives means.
  struct either {
    std::optional<store::refusal> refused{};
    std::optional<store::doubt> unknown{};
    template <class T, class C>
    operator outcome<T, C>() && {
      if (refused) return *std::move(refused);
      return *std::move(unknown);
    }
  };
  static either doubtful(const asked& by, store::error why, bool without_effect) {
    either out;
    if (without_effect || !by.writes) {
      out.refused.emplace(std::move(why));
    } else {
      out.unknown.emplace(std::move(why), by.call.id);
    }
    return out;
  }
  [[gnu::noinline]] static store::refusal late(const asked& by) {
    return by.refuse(errc::timed_out, "there was no time left before anything was sent");
  }
  [[gnu::noinline]] static either failed(const asked& by, std::string_view text, bool script) {
    const meaning is = meaning_of(text, script);
    store::error why = error_of(is.code, by.operation(), by.at.name(), std::string(text));
    if (is.code == errc::bad_argument) {
      why.detail = "the sum does not fit 64 bits";
      why.remedy = "exchange the counter first";
    }
    return doubtful(by, std::move(why), is.without_effect);
  }
  template <class Answer>
  [[gnu::noinline]] static either none(const asked& by, const Answer& answer) {
    const bool sent = answer.kind() == value_kind::unanswered;
    const bool broke = !sent && answer.code() == errc::connection_lost;
    return doubtful(by,
                    error_of(broke ? errc::not_connected : answer.code(), by.operation(),
                             by.at.name(), std::string(answer.text())),
                    !sent);
  }
  [[gnu::noinline]] static either odd(const asked& by) {
    return doubtful(by,
                    error_of(errc::engine_failure, by.operation(), by.at.name(),
                             "the answer is none that a script of interlock gives"),
                    false);
  }
  [[gnu::noinline]] static store::refusal refused(const asked& by, std::int64_t what) {
    switch (what) {
      case answer_expired:
        return by.refuse(errc::expired, "the session has had a later answer since");
      case answer_wrong_kind:
        return by.refuse(errc::wrong_kind, "it was never opened, or is there with other bounds",
                         "open it first, with the bounds that it has");
      case answer_overflow:
        return by.refuse(errc::bad_argument, "the sum does not fit 64 bits",
                         "exchange the counter first");
      case answer_other_operation:
        return by.refuse(errc::bad_argument, "the id is of another operation",
                         "give each operation an id of its own");
      default:
        return unreadable(by);
    }
  }

  // Returns: the answer. What did not leave, and a read that was not answered, is tried once more
  //          on another connection.
  auto send(std::span<const std::string_view> command, const call_deadline& deadline, bool writes) {
    auto answer = send_once(command, deadline, writes);
    if (answer.kind() < value_kind::not_sent || answer.code() != errc::connection_lost ||
        (writes && answer.kind() == value_kind::unanswered) || deadline.passed()) {
      return answer;
    }
    return send_once(command, deadline, writes);
  }
  auto send_once(std::span<const std::string_view> command, const call_deadline& deadline,
                 bool writes) {
    Executor& on = state_->executor;
    if constexpr (requires { on.execute(command, deadline, writes); }) {
      return on.execute(command, deadline, writes);
    } else {
      const auto ask = [&](std::span<const std::string_view> one) {
        return on.execute(one, deadline.at());
      };
      history& known = *state_->known;
      if (known.now(deadline.begun(), state_->look_every) == history::state::due) {
        const value seen = look(known, ask);
        if (seen.kind() >= value_kind::not_sent) {
          known.look_again();
          return value::not_sent(std::string(seen.text()), seen.code());
        }
      }
      if (known.lost()) return value::not_sent(known.why(), errc::history_lost);
      return ask(command);
    }
  }
};

}  // namespace interlock::redis::detail
