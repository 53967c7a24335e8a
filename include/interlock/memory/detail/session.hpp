// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/memory/detail/session.hpp - one client of an engine in memory: its options, its faults,
// which data set it knows, and the way of a request from the call to the answer.

#include <algorithm>
#include <any>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "../../detail/century.hpp"
#include "../../store/boot_clock.hpp"
#include "../../store/call_options.hpp"
#include "../../store/client_options.hpp"
#include "../../store/detail/names.hpp"
#include "../../store/detail/offload.hpp"
#include "../../store/outcome.hpp"
#include "../faults.hpp"
#include "../manual_clock.hpp"
#include "data.hpp"

namespace interlock::memory::detail {

using store::call_options;
using store::doubt;
using store::errc;
using store::error;
using store::refusal;

// An object as requests name it.
struct target {
  store::object_kind kind;
  std::string_view name;
  const std::string& key;  // with the client's prefix
};

class session {
public:
  session(std::shared_ptr<data> shared, store::client_options options,
          std::shared_ptr<manual_clock> clock)
      : data_(std::move(shared)),
        options_(std::move(options)),
        clock_(std::move(clock)),
        threads_(options_.threads != 0 ? options_.threads : options_.connections) {
    const std::lock_guard lock(data_->guard);
    known_ = data_->holds.incarnation;
  }

  [[nodiscard]] const std::shared_ptr<data>& shared() const noexcept { return data_; }
  [[nodiscard]] const store::client_options& options() const noexcept { return options_; }
  [[nodiscard]] const std::shared_ptr<manual_clock>& clock() const noexcept { return clock_; }
  [[nodiscard]] store::detail::offload_threads& threads() noexcept { return threads_; }

  void inject(faults what) {
    const std::lock_guard lock(guard_);
    faults_ = std::make_shared<const faults>(std::move(what));
  }
  [[nodiscard]] std::uint64_t requests() const {
    const std::lock_guard lock(guard_);
    return requests_;
  }
  [[nodiscard]] std::string known() const {
    const std::lock_guard lock(guard_);
    return known_;
  }
  void accept_history() {
    std::string now = [this] {
      const std::lock_guard lock(data_->guard);
      return data_->holds.incarnation;
    }();
    const std::lock_guard lock(guard_);
    known_ = std::move(now);
  }

  void close() {
    const std::lock_guard lock(guard_);
    closed_ = true;
  }

  // The engine's time. Preconditions: the data's guard is held.
  [[nodiscard]] time now() const {
    const auto local = clock_ ? clock_->now() : store::boot_clock::now();
    return local.time_since_epoch() + data_->shifted;
  }

  // Effects: does work(content, now) under the data's guard, once for an id, between the faults.
  template <class Outcome, bool Writes, class F>
  Outcome perform(const target& at, std::string_view verb, const call_options& call, F work) {
    std::string operation = store::to_string(at.kind);
    operation += '.';
    operation += verb;
    request asked{operation, at.name, false, Writes, 0};
    const auto what = begin(asked);
    if (closed()) {
      return refused(asked, errc::closed, "the client was closed", "make another client");
    }
    const auto most = call.timeout.count() != 0 ? call.timeout : options_.timeout;
    if (most.count() < 0) {
      return refused(asked, errc::timed_out, "no time was left", "give the call a longer timeout");
    }
    bool lost = false;
    if (auto why = before(what.get(), asked, most, lost)) return *std::move(why);
    Outcome answer = done<Outcome, Writes>(at, asked, call, work);
    asked.done = true;
    if (auto why = after(what.get(), asked, most, lost)) {
      if (answer.refused()) return answer;  // who knows that nothing was done loses nothing
      if constexpr (Writes) return doubt(std::move(*why), call.id);
      return refusal(std::move(*why));
    }
    return answer;
  }

  [[nodiscard]] static refusal refused(const request& asked, errc code, std::string_view detail,
                                       std::string_view remedy) {
    return refusal({code, "memory", std::string(asked.operation),
                    store::detail::printable(asked.object), std::string(detail),
                    std::string(remedy)});
  }

private:
  [[nodiscard]] bool closed() const {
    const std::lock_guard lock(guard_);
    return closed_;
  }
  std::shared_ptr<const faults> begin(request& asked) {
    const std::lock_guard lock(guard_);
    asked.number = ++requests_;
    return faults_;
  }

  std::optional<refusal> before(const faults* what, const request& asked,
                                std::chrono::milliseconds most, bool& lost) {
    if (what == nullptr) return std::nullopt;
    const fault seen = (*what)(asked);
    switch (seen.what) {
      case fault::kind::none:
        break;
      case fault::kind::lose_reply:
        lost = true;
        break;
      case fault::kind::drop:
        return refused(asked, errc::not_connected, "the request was dropped", "ask again");
      case fault::kind::refuse:
        return refused(asked, seen.why, "refused on demand", "");
      case fault::kind::delay:
        pass(std::min(seen.by, most));
        if (seen.by < most) break;
        return refused(asked, errc::timed_out, "the deadline passed before it was sent",
                       "give the call a longer timeout");
    }
    return std::nullopt;
  }

  std::optional<error> after(const faults* what, const request& asked,
                             std::chrono::milliseconds most, bool lost) {
    const fault seen = what != nullptr ? (*what)(asked) : fault::none();
    if (seen.what == fault::kind::delay) {
      pass(std::min(seen.by, most));
      if (seen.by >= most) {
        return error{errc::timed_out,
                     "memory",
                     std::string(asked.operation),
                     store::detail::printable(asked.object),
                     "no reply by the deadline",
                     "ask again with the same operation id"};
      }
    }
    if (lost || (seen.what != fault::kind::none && seen.what != fault::kind::delay)) {
      return error{errc::connection_lost,        "memory",
                   std::string(asked.operation), store::detail::printable(asked.object),
                   "the reply was lost",         "ask again with the same operation id"};
    }
    return std::nullopt;
  }

  template <class Outcome, bool Writes, class F>
  Outcome done(const target& at, const request& asked, const call_options& call, F& work) {
    const std::string expected = known();
    const std::lock_guard lock(data_->guard);
    content& holds = data_->holds;
    if (holds.incarnation != expected) {
      return refused(asked, errc::history_lost, "the data is another one than at connect",
                     "check what the program relies on, then accept_history()");
    }
    const time at_present = now();
    if (!Writes || !call.id) return work(holds, at_present);
    using value = typename Outcome::value_type;
    answers& all = holds.asked[{at.kind, at.key}];
    const auto who = std::pair(call.id.session.high, call.id.session.low);
    const auto found = all.of.find(who);
    if (found != all.of.end() && !is_silent(found->second, at_present)) {
      answered& last = found->second;
      if (call.id.sequence < last.sequence) {
        return refused(asked, errc::expired, "the session has had a later answer since",
                       "read the object: what became of this request is not known any more");
      }
      if (call.id.sequence == last.sequence) {
        const auto* again = std::any_cast<value>(&last.answer);
        if (again != nullptr && last.operation == asked.operation) {
          last.heard = at_present;
          return *again;
        }
        return refused(asked, errc::bad_argument, "the id is of another operation",
                       "give each operation an id of its own");
      }
    }
    Outcome answer = work(holds, at_present);
    if (answer.applied() && is_kept(answer.value())) {
      all.of[who] = {call.id.sequence, std::string(asked.operation), answer.value(), at_present};
      if (all.of.size() >= all.look_at) forget_silent(all, at_present);
    }
    return answer;
  }

  [[nodiscard]] bool is_silent(const answered& last, time at_present) const {
    return at_present - last.heard > interlock::detail::within_a_century(options_.retention);
  }
  void forget_silent(answers& all, time at_present) const {
    std::erase_if(all.of, [&](const auto& each) { return is_silent(each.second, at_present); });
    all.look_at = std::max<std::size_t>(64, 2 * all.of.size());  // as often as the size doubles
  }

  void pass(std::chrono::milliseconds by) {
    if (clock_) {
      clock_->advance(by);
      return;
    }
    std::mutex nobody;
    std::condition_variable never;
    std::unique_lock lock(nobody);
    never.wait_for(lock, by, [] { return false; });
  }

  const std::shared_ptr<data> data_;
  const store::client_options options_;
  const std::shared_ptr<manual_clock> clock_;
  mutable std::mutex guard_;  // never held together with the data's
  std::shared_ptr<const faults> faults_;
  std::uint64_t requests_ = 0;
  std::string known_;
  bool closed_ = false;
  store::detail::offload_threads threads_;
};

}  // namespace interlock::memory::detail
