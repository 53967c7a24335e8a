// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/connection_pool.hpp - a bounded number of connections, made as needed.
//
// The connection that came back last goes out first, so those that are not needed stay idle. One
// that was idle for longer than `idle_check`, or while another was found broken, is asked whether
// it is healthy before it goes out. Connecting and asking happen outside the lock. After a failed
// connect nobody tries again before a back-off has passed, which all callers share; then one does.
// One that failed since its caller had next to no time says nothing of the server.
// Whoever comes meanwhile waits for a connection that is in use, or hears the last error at once
// if there is none. After renew() no later caller gets a connection, or hears an error, of before.
//
// A Connection is destroyed to close it, and has: bool healthy(const call_deadline&) noexcept.
// It may have: bool settled() const noexcept. One that is not, when its caller is done or was ended
// by an exception, is closed.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "../outcome.hpp"
#include "backoff.hpp"
#include "deadline.hpp"
#include "names.hpp"

namespace interlock::store::detail {

struct pool_settings {
  const char* engine = "";
  std::size_t most = 8;  // 0 is taken for 1
  std::chrono::milliseconds idle_check = std::chrono::seconds(30);
  std::chrono::milliseconds first_pause{20};  // after a failed connect
  std::chrono::milliseconds longest_pause{2000};
};

template <class Connection>
class connection_pool {
public:
  using made = std::variant<std::unique_ptr<Connection>, error>;
  // Called without a lock, by several threads at once. Should be over by the deadline.
  using factory = std::function<made(const call_deadline&)>;

  connection_pool(pool_settings settings, factory make)
      : settings_(settings),
        make_(std::move(make)),
        pace_(settings.first_pause, settings.longest_pause) {
    settings_.most = std::max<std::size_t>(settings_.most, 1);
    idle_.reserve(settings_.most);
  }

  connection_pool(const connection_pool&) = delete;
  connection_pool& operator=(const connection_pool&) = delete;

  // A connection for one caller. It goes back to the pool, which outlives it.
  class [[nodiscard]] lease {
  public:
    lease(lease&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)),
          held_(std::move(other.held_)),
          begun_(other.begun_),
          generation_(other.generation_),
          at_once_(other.at_once_) {}
    lease& operator=(lease&&) = delete;
    ~lease() {
      if (pool_ == nullptr) return;
      if constexpr (requires(const Connection& held) { held.settled(); }) {
        if (!held_->settled()) {
          discard();
          return;
        }
      }
      pool_->put_back(std::move(held_), begun_, generation_);
    }

    Connection& operator*() const noexcept { return *held_; }
    Connection* operator->() const noexcept { return held_.get(); }

    // Returns: whether it was idle, so that checkout() took no time.
    [[nodiscard]] bool at_once() const noexcept { return at_once_; }
    // Effects: closes the connection, which is broken: it does not go back.
    void discard() noexcept {
      held_.reset();
      std::exchange(pool_, nullptr)->drop();
    }

  private:
    friend connection_pool;
    lease(connection_pool* pool, std::unique_ptr<Connection> held, call_deadline::time_point begun,
          std::uint64_t generation, bool at_once) noexcept
        : pool_(pool),
          held_(std::move(held)),
          begun_(begun),
          generation_(generation),
          at_once_(at_once) {}

    connection_pool* pool_;  // null when moved from, or dropped
    std::unique_ptr<Connection> held_;
    call_deadline::time_point begun_;
    std::uint64_t generation_;
    bool at_once_;
  };

  // Returns: a connection; or refused: timed_out (no time was given), overloaded (all were in use
  //          until the deadline), closed, or what the factory said.
  [[nodiscard]] outcome<lease> checkout(const call_deadline& deadline, std::string_view operation,
                                        std::string_view object = {});

  // Effects: closes what is idle, now, and what is in use when it comes back. Who waits is refused.
  void close() noexcept {
    std::vector<entry> gone;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      gone.swap(idle_);
      total_ -= gone.size();
    }
    freed_.notify_all();
  }

  // Effects: what is idle is asked whether it is healthy before it is used again.
  void suspect_idle() noexcept {
    const std::lock_guard lock(mutex_);
    ++era_;
  }

  // Effects: who asks from now on gets a connection that is made from now on. Closes what is idle,
  //          now, and what is in use when it comes back. The last error of connecting is forgotten.
  void renew() {
    std::vector<entry> gone;
    gone.reserve(settings_.most);  // idle_ keeps room
    {
      const std::lock_guard lock(mutex_);
      ++generation_;
      trying_ = false;  // who tries still, tries the server of before
      gone.swap(idle_);
      total_ -= gone.size();
      last_error_.reset();
      pace_.reset();
    }
    freed_.notify_all();
  }

  // Returns: how many connections there are, those that are being made included.
  [[nodiscard]] std::size_t size() const noexcept {
    const std::lock_guard lock(mutex_);
    return total_;
  }
  [[nodiscard]] std::size_t idle() const noexcept {
    const std::lock_guard lock(mutex_);
    return idle_.size();
  }

private:
  struct entry {
    std::unique_ptr<Connection> connection;
    call_deadline::time_point used;
    std::uint64_t era;  // when it came back
  };
  struct asked {
    std::string_view operation;
    std::string_view object;
  };

  void put_back(std::unique_ptr<Connection> connection, call_deadline::time_point used,
                std::uint64_t generation) noexcept {
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      wake = waiting_ != 0;
      if (!closed_ && generation == generation_) {
        idle_.push_back({std::move(connection), used, era_});  // has room
      } else {
        --total_;
      }
    }
    if (wake) freed_.notify_one();
  }
  void drop() noexcept {
    {
      const std::lock_guard lock(mutex_);
      --total_;
      ++era_;
    }
    freed_.notify_all();  // one may have waited for the last one in use
  }

  [[nodiscard]] refusal refuse(errc code, const asked& by, std::string detail,
                               std::string remedy) const {
    return refusal({code, settings_.engine, std::string(by.operation), printable(by.object),
                    std::move(detail), std::move(remedy)});
  }
  // Preconditions: last_error_ has a value. Returns: it, as the answer to this operation.
  [[nodiscard]] refusal refuse_as_last(const asked& by) const {
    return refuse_as(*last_error_, by);
  }
  [[nodiscard]] static refusal refuse_as(error why, const asked& by) {
    why.operation = by.operation;
    why.object = printable(by.object);
    return refusal(std::move(why));
  }
  [[nodiscard]] refusal refuse_in_time(const asked& by) const {
    if (last_error_) return refuse_as_last(by);
    std::string detail = "all ";
    detail += std::to_string(settings_.most);
    detail += " connections were in use until the deadline";
    return refuse(errc::overloaded, by, std::move(detail),
                  "raise client_options::connections, or the timeout");
  }

  // Effects: unlocks, connects, locks.
  [[nodiscard]] outcome<lease> connect(std::unique_lock<std::mutex>& lock,
                                       const call_deadline& deadline, const asked& by);

  // Who has less to connect in, and fails, tells nobody else to wait.
  static constexpr std::chrono::milliseconds least_time{100};

  pool_settings settings_;
  const factory make_;

  mutable std::mutex mutex_;  // protects all below
  std::condition_variable freed_;
  std::vector<entry> idle_;  // the one that came back last is last; never more than `most`
  std::size_t total_ = 0;
  std::size_t waiting_ = 0;
  std::uint64_t era_ = 0;         // one more with each connection that was found broken
  std::uint64_t generation_ = 0;  // one more with each renew()
  bool closed_ = false;
  bool trying_ = false;              // one connects after the back-off; the others wait for him
  std::optional<error> last_error_;  // of connecting; none after a success
  call_deadline::time_point not_before_{};  // when there was an error
  backoff pace_;
};

template <class Connection>
auto connection_pool<Connection>::checkout(const call_deadline& deadline,
                                           std::string_view operation, std::string_view object)
    -> outcome<lease> {
  const asked by{operation, object};
  if (deadline.hopeless()) {
    return refuse(errc::timed_out, by, "there was no time left before anything was sent",
                  "give the call a longer timeout");
  }
  std::unique_lock lock(mutex_);
  for (bool at_once = true;; at_once = false) {
    if (closed_) return refuse(errc::closed, by, "the client was closed", "make another client");
    if (!idle_.empty()) {
      entry found = std::move(idle_.back());
      idle_.pop_back();
      const std::uint64_t generation = generation_;
      const bool fresh = found.era == era_ && deadline.begun() - found.used < settings_.idle_check;
      lock.unlock();
      if (fresh || found.connection->healthy(deadline)) {
        return lease(this, std::move(found.connection), deadline.begun(), generation,
                     at_once && fresh);
      }
      found.connection.reset();
      lock.lock();
      --total_;
      ++era_;
      freed_.notify_one();
      continue;
    }
    call_deadline::time_point until = deadline.at();
    if (total_ < settings_.most && !trying_) {
      if (!last_error_ || call_deadline::clock::now() >= not_before_) {
        return connect(lock, deadline, by);
      }
      if (total_ == 0) return refuse_as_last(by);
      until = std::min(until, not_before_);
    }
    ++waiting_;
    const bool late = freed_.wait_until(lock, until) == std::cv_status::timeout;
    --waiting_;
    if (late && until == deadline.at() && idle_.empty()) return refuse_in_time(by);
  }
}

template <class Connection>
auto connection_pool<Connection>::connect(std::unique_lock<std::mutex>& lock,
                                          const call_deadline& deadline, const asked& by)
    -> outcome<lease> {
  ++total_;
  const std::uint64_t generation = generation_;
  const bool alone = last_error_.has_value();
  trying_ = trying_ || alone;
  lock.unlock();
  const auto begun = call_deadline::clock::now();
  made result = [&]() -> made {
    try {
      return make_(deadline);
    } catch (const std::exception& thrown) {
      return error{errc::not_connected, settings_.engine, "client", "", thrown.what(), ""};
    }
  }();
  lock.lock();
  if (alone && generation == generation_) trying_ = false;
  auto* const good = std::get_if<std::unique_ptr<Connection>>(&result);
  if (good != nullptr) {
    if (generation == generation_) {
      last_error_.reset();
      pace_.reset();
    }
    lock.unlock();
    if (alone) freed_.notify_all();
    return lease(this, std::move(*good), deadline.begun(), generation, false);
  }
  --total_;
  const bool hurried = deadline.at() - begun < least_time && deadline.passed();
  if (!hurried && generation == generation_) {
    last_error_ = std::get<error>(result);
    not_before_ = call_deadline::clock::now() + pace_.next();
  }
  refusal why = refuse_as(std::get<error>(std::move(result)), by);
  lock.unlock();
  freed_.notify_all();
  return why;
}

}  // namespace interlock::store::detail
