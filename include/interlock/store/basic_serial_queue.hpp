// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/basic_serial_queue.hpp - work of many keys for many processes, in order per key.
//
// Problem     Two workers take two jobs of one account, and the second is done first. A worker dies
//             with a job, which waits for hours; or he was only slow, and ends the job of the next.
//             One job that always fails stops all behind it.
// Guarantee   Items of a key are worked on one at a time and in the order of their pushes.
//             No item is lost whatever happens to its worker. A worker who was taken for dead
//             cannot end the item of his successor. An item whose worker is dead is another's
//             after the lease. An item that fails too often is set aside and its key goes on.
//             A payload that does not decode is set aside like one that fails.
// Outcomes    take: conflict: nothing is due now, and when something will be. finish, give_back:
//             conflict: it is another's by now. unknown: a push that may be there, repeat it with
//             its id; a take whose item comes again after the lease; a finish that may be done.
// Durability  That of the engine, see its serial_queue.hpp.
// Progress    take, push, finish block for a request each; work() until its stop, one item at a
//             time: call it on as many threads as are to work.
// Cost        One request each to push, take and finish; one each third of a lease; one per poll
//             of a worker without work.
// Lifetime    A handle: copies are cheap and share the client. Items keep it. Not across fork().
// Resumes on  async_ forms: a thread of the client.
// Cancellation work(): an inplace_stop_token, after the item at hand.
// Not for     Effects that must happen once: at least once is what a queue can do. Write with
//             (key, attempt) to what checks it, or finish in the effect's own transaction.
//
// Example     memory::serial_queue<int> jobs(engine, "jobs");  // examples/engines/store_queue.cpp
//             jobs.push("account-7", 100).value();
//             const auto done = jobs.work([&](auto& item) { book(item.key(), item.value()); },
//                                         stop.get_token(), how);

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "codec.hpp"
#include "detail/as_holder.hpp"
#include "detail/bound_object.hpp"
#include "detail/kept_claim.hpp"
#include "detail/sleeper.hpp"
#include "protocol.hpp"
#include "queue_options.hpp"

namespace interlock::store {

// E: an engine's client, of which it needs the queue functions.
template <encodable T, class E>
class basic_serial_queue {
public:
  using value_type = T;
  using client_type = E;
  class item;
  // An item that failed too often.
  struct aside {
    std::string key;
    std::uint64_t sequence;
    std::uint64_t tries;
    std::optional<T> value;  // none: it does not decode
  };

  // Throws: failure (bad_argument, too_large) for a name that is not 1 to 512 bytes.
  basic_serial_queue(E client, std::string_view name, queue_options how = {})
      : at_(std::move(client), object_kind::queue, name),
        how_(how),
        clock_(detail::clock_of(at_.client())),
        keeper_(detail::lease_keeper::of_process()) {}

  // Effects: puts the value behind those of its key. Returns: its number in its key: 1, 2, 3 ...
  outcome<std::uint64_t> push(std::string_view key, const T& value,
                              const call_options& call = {}) const {
    const std::string bytes = codec<T>::encode(value);
    return at_.client().queue_push(at_.object(), key, bytes, call);
  }
  // Effects: takes the oldest item of a key that nobody works on. An id has no part in it: an item
  //          whose answer was lost is nobody's until its lease has ended.
  // Returns: it; conflict if nothing is due.
  outcome<item, queue_idle> take(const call_options& call = {}) const;

  // Effects: takes items, calls f(item) and finishes them, until the stop. What f throws gives the
  //          item back; an item that f has ended itself, or moved elsewhere, is left as it is. f
  //          runs on this thread.
  // Throws: std::bad_alloc, std::system_error without a thread for heartbeats.
  template <class F>
  work_done work(F&& f, inplace_stop_token stop, const work_options& how = {}) const;

  // Returns: the first `most` of those set aside.
  [[nodiscard]] outcome<std::vector<aside>> set_aside(std::uint64_t most = 100,
                                                      const call_options& call = {}) const {
    auto said = at_.client().queue_set_aside(at_.object(), most, call);
    if (!said) return std::move(said).template without_answer<std::vector<aside>>();
    std::vector<aside> all;
    for (queue_item& each : *said) {
      all.push_back(
          {std::move(each.key), each.sequence, each.tries, codec<T>::decode(each.payload)});
    }
    return all;
  }
  // Effects: puts one of those behind its key's items, as if it were new. Returns: its new number.
  outcome<std::uint64_t> restore(std::string_view key, std::uint64_t sequence,
                                 const call_options& call = {}) const {
    return at_.client().queue_restore(at_.object(), key, sequence, call);
  }
  [[nodiscard]] outcome<queue_depth> depth(const call_options& call = {}) const {
    return at_.client().queue_depth(at_.object(), call);
  }

  // Returns: awaitables of what the functions above return.
  [[nodiscard("write co_await")]] auto async_push(std::string key, T value,
                                                  const call_options& call = {}) const {
    return at_.async(call, [self = *this, k = std::move(key), v = std::move(value)](
                               const call_options& c) { return self.push(k, v, c); });
  }
  [[nodiscard("write co_await")]] auto async_take(const call_options& call = {}) const {
    return at_.async(call, [self = *this](const call_options& c) { return self.take(c); });
  }

  [[nodiscard]] std::string_view name() const noexcept { return at_.name(); }
  [[nodiscard]] E& client() const noexcept { return at_.client(); }
  [[nodiscard]] const typename E::object& object() const noexcept { return at_.object(); }
  [[nodiscard]] const queue_options& options() const noexcept { return how_; }

private:
  [[nodiscard]] std::optional<refusal> bad_options() const {
    using namespace std::chrono_literals;
    if (how_.lease >= 10ms && how_.lease <= 24h && how_.poll >= 1ms && how_.tries > 0) {
      return std::nullopt;
    }
    return refusal(
        at_.failed(errc::bad_argument, "serial_queue.take", "the options cannot be kept",
                   "give a lease of 10 ms to 24 hours, a poll of 1 ms, one try at least"));
  }
  static outcome<nothing> finished(item& mine);
  template <class F>
  static void work_on(item& mine, F& f, const work_options& how, work_done& done);
  static std::chrono::milliseconds usual_delay(std::uint64_t tries) {
    const auto doubled = std::min<std::uint64_t>(tries > 0 ? tries - 1 : 0, 10);
    return std::min<std::chrono::milliseconds>(std::chrono::milliseconds(100) * (1U << doubled),
                                               std::chrono::minutes(1));
  }

  detail::bound_object<E> at_;
  queue_options how_;
  std::shared_ptr<const detail::local_clock> clock_;
  std::shared_ptr<detail::lease_keeper> keeper_;
};

// An item that this process works on. Its heartbeat goes on by itself. One that is dropped is
// another's after the lease.
template <encodable T, class E>
class basic_serial_queue<T, E>::item {
public:
  item(item&& other) noexcept
      : at_(std::move(other.at_)),
        is_(std::move(other.is_)),
        value_(std::move(other.value_)),
        owner_(other.owner_),
        lease_(other.lease_),
        ended_(std::exchange(other.ended_, true)),
        kept_(std::move(other.kept_)) {}
  item& operator=(item&& other) noexcept {
    if (this == &other) return *this;
    at_ = std::move(other.at_);
    is_ = std::move(other.is_);
    value_ = std::move(other.value_);
    owner_ = other.owner_;
    lease_ = other.lease_;
    ended_ = std::exchange(other.ended_, true);
    kept_ = std::move(other.kept_);
    return *this;
  }

  [[nodiscard]] const std::string& key() const noexcept { return is_.key; }
  [[nodiscard]] std::uint64_t sequence() const noexcept { return is_.sequence; }
  // Returns: larger with every take of the key: with key(), the fence of its effects.
  [[nodiscard]] std::uint64_t attempt() const noexcept { return is_.attempt; }
  // Returns: how often this item was taken: 1 the first time.
  [[nodiscard]] std::uint64_t tries() const noexcept { return is_.tries; }
  [[nodiscard]] const unique_id& owner() const noexcept { return owner_; }
  [[nodiscard]] const T& value() const noexcept { return value_; }
  // Returns: a token that is stopped before another may take the item. Valid as long as the item.
  [[nodiscard]] inplace_stop_token lost() const noexcept { return kept_.lost(); }

  // Effects: the lease begins anew, each time: an id of the call is not used. Returns: conflict if
  //          the item is another's.
  outcome<nothing> heartbeat(const call_options& call = {}) {
    return kept_.beat_now([&] {
      return at_.client().queue_heartbeat(at_.object(), is_.key, owner_, is_.attempt, lease_,
                                          {{}, call.timeout});
    });
  }
  // Effects: the item is done, and the next of its key may be taken.
  // Returns: conflict if it is another's by now. unknown: perhaps it is done; ask again, with an id
  //          for an exact answer, or leave it: it is done, or comes again after the lease.
  outcome<nothing> finish(const call_options& call = {}) {
    return end(call, [&](const call_options& his) {
      return at_.client().queue_finish(at_.object(), is_.key, owner_, is_.attempt, his);
    });
  }
  // Effects: the item may be taken again after `delay`; those behind it wait.
  outcome<nothing> give_back(std::chrono::milliseconds delay = {}, const call_options& call = {}) {
    return end(call, [&](const call_options& his) {
      return at_.client().queue_give_back(at_.object(), is_.key, owner_, is_.attempt, delay, his);
    });
  }
  // Effects: the same as finish, on a thread of the client; no more heartbeats from now on.
  // Returns: an awaitable of what finish() returns.
  [[nodiscard("write co_await")]] auto async_finish(const call_options& call = {}) {
    kept_.end();
    ended_ = true;
    return at_.async(call, [at = at_, key = is_.key, owner = owner_,
                            attempt = is_.attempt](const call_options& c) {
      return detail::as_holder(owner, c, [&](const call_options& his) {
        return at.client().queue_finish(at.object(), key, owner, attempt, his);
      });
    });
  }
  // Returns: whether the item was ended, by finish or give_back that was answered or by a
  //          transaction that was done, or moved from.
  [[nodiscard]] bool ended() const noexcept { return ended_ || kept_.ended(); }

private:
  friend basic_serial_queue;
  friend detail::ending_items;
  item(const basic_serial_queue& home, queue_item is, T value, const unique_id& owner,
       boot_clock::time_point sent)
      : at_(home.at_),
        is_(std::move(is)),
        value_(std::move(value)),
        owner_(owner),
        lease_(home.how_.lease),
        kept_(home.keeper_, home.clock_, lease_, sent, at_.client().options().timeout,
              [at = at_, key = is_.key, owner, attempt = is_.attempt,
               lease = lease_](std::chrono::milliseconds timeout) {
                return at.client().queue_heartbeat(at.object(), key, owner, attempt, lease,
                                                   {{}, timeout});
              }) {}
  template <class Ask>
  outcome<nothing> end(const call_options& call, Ask ask) {
    const detail::ending_lease under_way = kept_.ending();
    outcome<nothing> said = detail::as_holder(owner_, call, ask);
    if (said || said.conflicted()) {
      kept_.end();
      ended_ = true;
    }
    return said;
  }

  detail::bound_object<E> at_;
  queue_item is_;
  T value_;
  unique_id owner_;
  std::chrono::milliseconds lease_;
  bool ended_ = false;  // or moved from
  detail::kept_claim kept_;
};

template <encodable T, class E>
auto basic_serial_queue<T, E>::take(const call_options& call) const -> outcome<item, queue_idle> {
  if (auto wrong = bad_options()) return *std::move(wrong);
  const detail::call_deadline limit = at_.deadline(call);
  const unique_id owner = unique_id::fresh();
  for (;;) {
    const auto sent = clock_->now();
    auto said = at_.client().queue_take(at_.object(), owner, how_.lease, how_.tries, limit.rest());
    if (!said) return std::move(said).template without_answer<item>();
    std::optional<T> value = codec<T>::decode(said->payload);
    if (value) {
      item mine(*this, *std::move(said), *std::move(value), owner, sent);
      if (mine.kept_.holds()) return mine;
      return doubt(at_.failed(errc::lease_lost, "serial_queue.take",
                              "the lease was over before the answer came",
                              "give it a longer lease"));
    }
    // Tried once more; after the last try the engine sets it aside.
    auto back = at_.client().queue_give_back(at_.object(), said->key, owner, said->attempt, {},
                                             limit.rest());
    // Refused or unknown: until its lease is over the item is held by nobody who could end it.
    if (!back && !back.conflicted()) return doubt(back.error());
    if (limit.passed()) {
      return refusal(at_.failed(errc::timed_out, "serial_queue.take",
                                "the time passed over items that do not decode",
                                "look for a writer of another type"));
    }
  }
}

// Returns: what the engine said to the end of the item: asked again while it cannot be asked or
// does not answer, as long as the item is ours.
template <encodable T, class E>
auto basic_serial_queue<T, E>::finished(item& mine) -> outcome<nothing> {
  using namespace std::chrono_literals;
  detail::backoff pace(10ms, 1s);
  outcome<nothing> said = mine.finish();
  for (int n = 0; n < 10 && !mine.ended() && !mine.lost().stop_requested(); ++n) {
    detail::pause_until(std::chrono::steady_clock::now() + pace.next());
    outcome<nothing> again = mine.finish();
    const bool clear = again.applied() || !said.unknown();
    if (clear) said = std::move(again);  // else a conflict may be the first one's success
  }
  return said;
}

template <encodable T, class E>
template <class F>
void basic_serial_queue<T, E>::work_on(item& mine, F& f, const work_options& how, work_done& done) {
  outcome<nothing> said = nothing{};
  const auto delay = how.delay ? how.delay(mine.tries()) : usual_delay(mine.tries());
  try {
    f(mine);
    if (!mine.ended()) said = finished(mine);
    if (said) ++done.finished;
  } catch (...) {
    ++done.failed;
    if (how.on_failure) how.on_failure(mine.key(), std::current_exception());
    if (!mine.ended()) said = mine.give_back(delay);
  }
  if (said.conflicted()) ++done.lost;
  if (!said.refused() && !said.unknown()) return;
  ++done.unknown;  // refused: it comes again after the lease, as the effect was not told
  if (how.on_error) how.on_error(said.error());
}

template <encodable T, class E>
template <class F>
work_done basic_serial_queue<T, E>::work(F&& f, inplace_stop_token stop,
                                         const work_options& how) const {
  work_done done;
  detail::sleeper rest(stop);
  detail::backoff pace(std::chrono::milliseconds(10), std::chrono::seconds(1));
  while (!stop.stop_requested()) {
    auto said = take();
    if (said) {
      work_on(*said, f, how, done);
      pace.reset();
      continue;
    }
    if (said.conflicted()) {
      const auto most = std::min(how_.poll, said.conflict().next.value_or(how_.poll));
      rest.until(*clock_, clock_->now() + detail::poll_pause(most));
      continue;
    }
    if (how.on_error) how.on_error(said.error());
    rest.until(*clock_, clock_->now() + pace.next());
  }
  return done;
}

}  // namespace interlock::store
