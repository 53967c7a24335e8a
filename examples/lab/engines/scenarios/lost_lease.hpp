// SPDX-License-Identifier: BSL-1.0
#pragma once

// lost_lease - the holder of a lock is stopped for longer than its lease, does not know it, and
// writes on.

#include <interlock/store/codec.hpp>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../world.hpp"

namespace lab::lost_lease {

inline constexpr std::int64_t start = 100;
inline constexpr std::int64_t by_a = 10;  // what holder A pays in, and B
inline constexpr std::int64_t by_b = 20;
inline constexpr std::chrono::milliseconds lease{100};

// An account that remembers the largest fence that wrote to it.
struct checked_value {
  std::int64_t balance = 0;
  std::uint64_t fence = 0;
};

// What a write came to.
struct written {
  bool done = false;
  line said;
};

}  // namespace lab::lost_lease

template <>
struct interlock::store::codec<lab::lost_lease::checked_value> {
  static std::string encode(const lab::lost_lease::checked_value& value) {
    return lab::sentence(value.balance, " ") + std::to_string(value.fence);
  }
  static std::optional<lab::lost_lease::checked_value> decode(std::string_view bytes) {
    const std::size_t space = bytes.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    const auto balance = codec<std::int64_t>::decode(bytes.substr(0, space));
    const auto fence = codec<std::uint64_t>::decode(bytes.substr(space + 1));
    if (!balance || !fence) return std::nullopt;
    return lab::lost_lease::checked_value{*balance, *fence};
  }
};

namespace lab::lost_lease {

// The account in three forms, each with
//   make(client, name)          effects: it holds 100
//   read(guard)                 returns: the balance
//   write(guard, seen, value)   effects: replaces it, if that form lets the holder
//   balance()                   returns: what is there, for the oracle

// The lock alone: who has read under it, writes.
template <class E>
class plain {
public:
  static constexpr const char* part = "plain";

  plain(typename E::client on, const std::string& name) : cell_(std::move(on), name) {}
  static void make(typename E::client on, const std::string& name) {
    plain(std::move(on), name).cell_.store(start).value();
  }

  template <class Guard>
  std::int64_t read(Guard&) {
    return balance();
  }
  template <class Guard>
  written write(Guard&, std::int64_t seen, std::int64_t value) {
    const std::int64_t over = balance();  // for the picture
    cell_.store(value).value();
    return {true, writes_back(value, seen, over)};
  }
  [[nodiscard]] std::int64_t balance() const { return *cell_.load().value().value; }

private:
  typename E::template versioned<std::int64_t> cell_;
};

// The account refuses a write whose fence is smaller than that of an earlier write.
template <class E>
class checked_at_write {
public:
  static constexpr const char* part = "checked";

  checked_at_write(typename E::client on, const std::string& name) : cell_(std::move(on), name) {}
  static void make(typename E::client on, const std::string& name) {
    checked_at_write(std::move(on), name).cell_.store({start, 0}).value();
  }

  template <class Guard>
  std::int64_t read(Guard&) {
    return balance();
  }
  template <class Guard>
  written write(Guard& held, std::int64_t seen, std::int64_t value) {
    for (;;) {
      const auto now = cell_.load().value();
      if (now.value->fence > held.fence())
        return {false, {"is refused: a larger fence has written"}};
      const auto answer = cell_.compare_and_set(now.version, {value, held.fence()});
      if (answer.applied()) return {true, writes_back(value, seen, now.value->balance)};
      if (!answer.conflicted()) static_cast<void>(answer.value());
    }
  }
  [[nodiscard]] std::int64_t balance() const { return cell_.load().value().value->balance; }

private:
  typename E::template versioned<checked_value> cell_;
};

// From the moment a holder opens the account, no earlier holder can write to it.
template <class E>
class fenced {
public:
  static constexpr const char* part = "fenced";
  using resource = typename E::template fenced<std::int64_t>;

  fenced(typename E::client on, const std::string& name) : account_(std::move(on), name) {}
  static void make(typename E::client on, const std::string& name) {
    typename E::mutex door(on, name);
    auto held = door.lock().value();
    fenced made(std::move(on), name);
    made.read(held);
    made.write(held, 0, start);
    held.unlock().value();
  }

  // Returns: nothing if a later holder was here already.
  template <class Guard>
  std::optional<std::int64_t> try_read(Guard& held) {
    auto answer = account_.open(held);
    if (answer.conflicted()) return std::nullopt;
    as_ = std::move(answer).value();
    return as_->value.value_or(0);
  }
  template <class Guard>
  std::int64_t read(Guard& held) {
    return try_read(held).value_or(0);  // if nothing: the write is refused
  }
  template <class Guard>
  written write(Guard&, std::int64_t, std::int64_t value) {
    if (!as_) return {false, {"is refused: a later holder has opened the account"}};
    const auto answer = account_.write(*as_, value);
    if (answer.conflicted()) return {false, {"is refused: a later holder has opened the account"}};
    static_cast<void>(answer.value());
    return {true, {sentence("writes ", value)}};
  }
  [[nodiscard]] std::int64_t balance() {
    typename E::mutex door(account_.client(), account_.name());
    auto held = door.lock().value();
    const std::int64_t found = read(held);
    held.unlock().value();
    return found;
  }

private:
  resource account_;
  std::optional<typename resource::opened> as_;
};

template <class E>
auto lock(const typename E::mutex& door) {
  constexpr std::chrono::milliseconds poll{5};
  return door.lock({.lease = lease, .renew = E::renewed, .poll = poll}).value();
}

// Effects: pays in under the lock, anew while it is refused.
template <class E, template <class> class Account>
void pay_in(const typename E::mutex& door, Account<E>& account, std::int64_t amount) {
  for (bool done = false; !done;) {
    auto held = lock<E>(door);
    const std::int64_t seen = account.read(held);
    done = account.write(held, seen, seen + amount).done;
  }
}

// The process of holder A.
template <class E, template <class> class Account>
void hold(employer& lab, const typename E::client& on) {
  const typename E::mutex door(on, lab.object);
  Account<E> account(on, lab.object);
  {
    auto held = lock<E>(door);
    const std::int64_t seen = account.read(held);
    lab.say(std::to_string(seen));
    lab.hear();  // stands still in here, without knowing it
    const written end = account.write(held, seen, seen + by_a);
    lab.say((end.said.harmful ? "!" : " ") + end.said.text);
    if (end.done) return lab.say("done");
  }
  lab.hear();
  pay_in<E, Account>(door, account, by_a);
  lab.say("done");
}

template <class E>
void hold(employer& lab, const typename E::client& on) {
  if (lab.part == plain<E>::part) return hold<E, plain>(lab, on);
  if (lab.part == checked_at_write<E>::part) return hold<E, checked_at_write>(lab, on);
  hold<E, fenced>(lab, on);
}

template <class E>
struct on {
  // Effects: holder B pays in, on the lab's own behalf: its write comes before or after what
  //          a_writes() lets holder A do.
  template <template <class> class Account, class Writes>
  static void second_holder(const typename E::mutex& door, Account<E>& account, stage& scene,
                            bool first, Writes a_writes) {
    bool done = false;
    {
      auto held = lock<E>(door);
      const std::int64_t seen = account.read(held);
      scene.say(1, sentence("gets the lock, as the lease has ended; reads ", seen));
      if (!first) a_writes();
      written end = account.write(held, seen, seen + by_b);
      done = end.done;
      scene.say(1, std::move(end.said.text), end.said.harmful);
    }
    if (first) a_writes();
    if (!done) pay_in<E, Account>(door, account, by_b);
  }

  template <template <class> class Account>
  static tally play(const settings& set, trace* picture) {
    stage scene(picture);
    scene.name(0, "holder A, a process");
    scene.name(1, "holder B");
    const std::string name = fresh<E>("account");
    Account<E>::make(client<E>(), name);
    const typename E::mutex door(client<E>(), name);
    Account<E> account(client<E>(), name);

    const auto a = world<E>::current().process(Account<E>::part, name);
    scene.say(0, "locks, reads " + a->hear());
    a->stop();
    scene.say(0, "is stopped, for longer than its lease");
    second_holder<Account>(door, account, scene, set.seed % 2 == 0, [&] {
      a->resume();
      a->say("go");
      const std::string said = a->hear();
      scene.say(0, "goes on: " + said.substr(1), said[0] == '!');
    });
    a->say("again, if it was refused");
    a->hear();
    const std::int64_t expected = start + by_a + by_b;
    const std::int64_t got = account.balance();
    return {expected, got, expected - got};
  }

  // Prices: lock, read, write, unlock; nobody else wants the lock.
  template <class Account, class PayIn>
  static double cost(unsigned threads, std::uint64_t operations, PayIn pay_in) {
    std::vector<typename E::mutex> doors;
    std::vector<Account> accounts;
    for (unsigned i = 0; i < threads; ++i) {
      const std::string name = fresh<E>("account");
      doors.emplace_back(client<E>(), name);
      accounts.emplace_back(client<E>(), name);
    }
    return price(threads, operations, [&](unsigned lane) {
      auto held = doors[lane].lock().value();
      pay_in(held, accounts[lane]);
      held.unlock().value();
    });
  }
  static double naive_cost(unsigned threads, std::uint64_t operations) {
    return cost<typename E::template versioned<std::int64_t>>(
        threads, operations, [](auto&, const auto& account) {
          account.store(account.load().value().value.value_or(0) + 1).value();
        });
  }
  static double fenced_cost(unsigned threads, std::uint64_t operations) {
    return cost<typename E::template fenced<std::int64_t>>(
        threads, operations, [](auto& held, const auto& account) {
          const auto as = account.open(held).value();
          account.write(as, as.value.value_or(0) + 1).value();
        });
  }

  static scenario describe() {
    return {
        .name = "lost_lease",
        .story = "The holder of a lock is stopped for longer than its lease, and writes on.",
        .numbers = "100; A pays in 10 and B 20, each under the lock: 130; naive ends at 110 or 120",
        .unit = "money paid in and lost",
        .cure = "mutex and fenced<T>",
        .moral =
            "A lock with an expiry keeps nobody out who does not know that it has expired. A fence "
            "that is checked at the write comes too late for who has read and not written yet. A "
            "resource that is opened with the fence, before it is read, refuses every earlier "
            "holder from then on.",
        .forms =
            {
                {"naive", "lock; SELECT, add, UPDATE; unlock", role::naive, play<plain>,
                 naive_cost},
                {"fence-at-write", "the same; UPDATE ... WHERE fence <= mine", role::still_wrong,
                 play<checked_at_write>, nullptr},
                {"fenced", "lock; account.open(guard), add, account.write; unlock", role::fixed,
                 play<fenced>, fenced_cost},
            },
    };
  }
};

}  // namespace lab::lost_lease
