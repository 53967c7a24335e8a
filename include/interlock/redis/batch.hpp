// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/batch.hpp - many operations in one write, and what became of each.
//
// Problem     A pipeline is quick, and when it breaks in the middle most clients say one error for
//             all of it: what was done and what was not is lost.
// Guarantee   Each operation of a batch has an outcome of its own. What a broken connection left
//             unanswered in a batch is unknown and the rest is exact.
// Outcomes    Each as alone. unknown: it was sent whole and not answered. refused: it was not sent
//             whole, or the server refused it. Without connection, all are refused.
// Durability  As the server writes: see counter.hpp.
// Progress    run() blocks until all answers or its deadline.
// Cost        One write, and no memory per operation once as many were queued before; 0.1
//             microseconds each. After the server lost its scripts, a round trip for each script.
// Lifetime    Queued objects outlive run(), so the compiler refuses temporary ones. Not for several
//             threads at once.
// Not for     Order or atomicity: the operations are apart, and others' come in between. See
//             transaction.hpp.
//
// Example     // examples/engines/redis_batch.cpp
//             redis::batch many(server);
//             const auto first = many.add(hits, 1);
//             const auto second = many.add(misses, 2);
//             const auto value = many.store(cell, "seen");
//             many.run();
//             const auto now = many[first].value();

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "bounded_counter.hpp"
#include "client.hpp"
#include "counter.hpp"
#include "detail/recorder.hpp"
#include "versioned.hpp"

namespace interlock::redis {

class batch {
public:
  // Where the outcome of one operation will be.
  template <class Outcome>
  struct place {
    std::size_t index;
  };
  using number = store::outcome<std::int64_t>;
  using bounded = store::outcome<std::int64_t, store::bounded_state>;
  using version = store::outcome<std::uint64_t, store::cell_state>;

  explicit batch(client of) : client_(std::move(of)), parts_(client_) {}

  // Effects: queues the operation. The objects are of this batch's client.
  place<number> add(const counter& to, std::int64_t n, store::operation_id id = {}) {
    const client::object& at = to.object();
    begin();
    if (id) return queue<number>({what::add, &at, 0, n, extra({id, {}, {}})});
    const detail::decimal amount(n);
    const std::array<std::string_view, 3> command{"INCRBY", at.key(), amount};
    detail::append_command(request_, command);
    return queue<number>({what::add, &at, 0, n, 0});
  }
  place<number> load(const counter& of) {
    begin();
    const std::array<std::string_view, 2> command{"GET", of.object().key()};
    detail::append_command(request_, command);
    return queue<number>({what::load, &of.object(), 0, 0, 0});
  }
  place<bounded> try_add(const bounded_counter& to, std::int64_t n, store::operation_id id = {}) {
    begin();
    return queue<bounded>({what::try_add, &to.object(), 0, n, extra({id, {}, {}})});
  }
  template <class T>
  place<version> store(const versioned<T>& to, const std::type_identity_t<T>& value,
                       store::operation_id id = {}) {
    begin();
    return queue<version>(
        {what::put, &to.object(), 0, 0, extra({id, std::nullopt, store::codec<T>::encode(value)})});
  }
  // Conflict: what is there; to.decoded() reads it.
  template <class T>
  place<version> compare_and_set(const versioned<T>& to, std::uint64_t expected,
                                 const std::type_identity_t<T>& value,
                                 store::operation_id id = {}) {
    begin();
    return queue<version>(
        {what::put, &to.object(), 0, 0, extra({id, expected, store::codec<T>::encode(value)})});
  }

  // It would be gone before run().
  place<number> add(const counter&&, std::int64_t, store::operation_id = {}) = delete;
  place<number> load(const counter&&) = delete;
  place<bounded> try_add(const bounded_counter&&, std::int64_t, store::operation_id = {}) = delete;
  template <class T>
  place<version> store(const versioned<T>&&, const std::type_identity_t<T>&,
                       store::operation_id = {}) = delete;
  template <class T>
  place<version> compare_and_set(const versioned<T>&&, std::uint64_t,
                                 const std::type_identity_t<T>&, store::operation_id = {}) = delete;

  // Effects: sends all that was queued and waits for the answers. Afterwards nothing is queued, and
  //          the outcomes stay until something is. 0: the client's timeout.
  // Throws: std::bad_alloc; then there are no outcomes, and all may have been done.
  void run(std::chrono::milliseconds timeout = std::chrono::milliseconds(0));

  // Preconditions: run() since it was queued, nothing queued after that.
  [[nodiscard]] const number& operator[](place<number> at) const { return numbers_[at.index]; }
  [[nodiscard]] const bounded& operator[](place<bounded> at) const { return bounded_[at.index]; }
  [[nodiscard]] const version& operator[](place<version> at) const { return versions_[at.index]; }

  // Returns: how many operations are queued.
  [[nodiscard]] std::size_t size() const noexcept { return queued_.size(); }

private:
  using call_deadline = store::detail::call_deadline;

  enum class what : std::uint8_t { add, load, try_add, put };
  struct operation {
    what does;
    const client::object* at;
    std::size_t end;  // of its bytes in the request
    std::int64_t amount;
    std::size_t more;  // 1 + where its details are; 0: none
  };
  struct details {
    store::operation_id id{};
    std::optional<std::uint64_t> expected{};
    std::string bytes{};
  };
  // The protocols of the client over what is recorded and replayed.
  class protocols : public detail::queues<detail::recorder> {
  public:
    explicit protocols(const client& of)
        : queues(std::make_shared<shared>(detail::recorder(of.state_->executor), of.options(),
                                          of.state_->known, of.state_->look_every)) {}
    [[nodiscard]] detail::recorder& executor() noexcept { return state_->executor; }
  };

  void begin() {
    request_.resize(queued_.empty() ? 0 : queued_.back().end);  // one that threw was not queued
    if (!fresh_) return;
    fresh_ = false;
    numbers_.clear();
    bounded_.clear();
    versions_.clear();
    counts_ = {};
  }
  std::size_t extra(details more) {
    details_.push_back(std::move(more));
    return details_.size();
  }
  // Effects: queues it; its command, if that is a script's, is put together by the protocols.
  template <class Outcome>
  place<Outcome> queue(operation of) {
    if (of.more != 0) {
      parts_.executor().record(request_);
      static_cast<void>(protocol<Outcome>(of, std::chrono::milliseconds(0)));
    }
    of.end = request_.size();
    queued_.push_back(of);
    return {counts_[list_of<Outcome>()]++};
  }
  template <class Outcome>
  static constexpr std::size_t list_of() noexcept {
    return std::is_same_v<Outcome, number> ? 0 : std::is_same_v<Outcome, bounded> ? 1 : 2;
  }
  template <class Outcome>
  Outcome protocol(const operation& of, std::chrono::milliseconds timeout);

  // Effects: nothing is queued any more.
  void done() noexcept {
    request_.clear();
    queued_.clear();
    details_.clear();
    answers_.clear();
    fresh_ = true;
  }
  void send(const call_deadline& deadline);
  void settle(const operation& of, detail::reply answer, const call_deadline& deadline);

  client client_;
  protocols parts_;
  bool fresh_ = false;  // run() was the last that was called
  std::string request_;
  std::vector<operation> queued_;
  std::vector<details> details_;
  std::vector<detail::reply> answers_;
  std::array<std::size_t, 3> counts_{};  // of each type of outcome among those queued
  std::vector<number> numbers_;
  std::vector<bounded> bounded_;
  std::vector<version> versions_;
};

// Effects: asks by the client's protocol: records its command, or replays its answer.
template <class Outcome>
Outcome batch::protocol(const operation& of, std::chrono::milliseconds timeout) {
  static const details none;
  const details& more = of.more == 0 ? none : details_[of.more - 1];
  const store::call_options call{more.id, timeout};
  if constexpr (std::is_same_v<Outcome, number>) {
    return of.does == what::load ? parts_.counter_load(*of.at, call)
                                 : parts_.counter_add(*of.at, of.amount, call);
  } else if constexpr (std::is_same_v<Outcome, bounded>) {
    return parts_.bounded_add(*of.at, of.amount, call);
  } else {
    return parts_.cell_put(*of.at, more.expected, more.bytes, call);
  }
}

inline void batch::run(std::chrono::milliseconds timeout) {
  begin();
  const auto empty = [](batch* of) { of->done(); };
  const std::unique_ptr<batch, decltype(empty)> at_the_end(this, empty);  // of a throw, too
  const call_deadline deadline(store::call_options{{}, timeout}, client_.options().timeout);
  send(deadline);
  for (std::size_t i = 0; i < queued_.size(); ++i) {
    settle(queued_[i], std::move(answers_[i]), deadline);
  }
}

// Effects: an answer for each, or why there is none.
inline void batch::send(const call_deadline& deadline) {
  detail::pooled& executor = client_.state_->executor;
  answers_.reserve(queued_.size());  // before anything is sent
  auto lent = executor.borrow(deadline, "batch.run");
  if (!lent) {
    const store::error& why = lent.error();
    for (std::size_t i = 0; i < queued_.size(); ++i) {
      answers_.emplace_back(value::not_sent(why.detail, why.code));
    }
    return;
  }
  detail::connection& on = **lent;
  const std::size_t replicas = executor.replicas();
  if (replicas != 0) detail::append_wait(request_, replicas, deadline);
  std::size_t before = 0;
  std::size_t commands = replicas != 0 ? 1 : 0;
  for (const operation& each : queued_) {
    if (std::exchange(before, each.end) != each.end) ++commands;
  }
  const std::size_t gone = on.send(request_, commands, deadline);
  before = 0;
  for (const operation& each : queued_) {
    if (std::exchange(before, each.end) == each.end) {
      answers_.emplace_back(value());  // refused before it became a command, and will be again
    } else if (each.end > gone) {
      answers_.emplace_back(value::not_sent(on.why(), on.code()));
    } else {
      answers_.push_back(on.read(deadline));
    }
  }
  if (replicas != 0 && !detail::waited(on.read(deadline), replicas)) {
    for (detail::reply& each : answers_) {
      if (each.kind() < value_kind::error) each = detail::too_few_replicas(replicas);
    }
  }
  if (on.broken()) lent->discard();
}

// Effects: has the answer kept as the operation's outcome.
inline void batch::settle(const operation& of, detail::reply answer,
                          const call_deadline& deadline) {
  if (of.more == 0 && answer.kind() == value_kind::integer) {
    numbers_.emplace_back(answer.integer());
    return;
  }
  parts_.executor().replay(std::move(answer));
  const std::chrono::milliseconds left = deadline.rest().timeout;
  switch (of.does) {
    case what::add:
    case what::load:
      numbers_.push_back(protocol<number>(of, left));
      break;
    case what::try_add:
      bounded_.push_back(protocol<bounded>(of, left));
      break;
    case what::put:
      versions_.push_back(protocol<version>(of, left));
      break;
  }
}

}  // namespace interlock::redis
