// SPDX-License-Identifier: BSL-1.0
// idempotency_cache: look-ups without a run, ends of waits, leases and doubt, weights, keys, growth.
// Bugs of this kind, by name: [skipped-fingerprint] [lost-leader] [live-owner-reclaimed]
// [late-owner] [dependent-keys] [cancel-cancels-all] [freed-under-reader] [over-weight] [bad-key].

#include <interlock/coarse_time.hpp>
#include <interlock/idempotency_cache.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/manual_timer.hpp>
#include <interlock/task.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/broken_token.hpp"
#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/owned.hpp"
#include "support/threads.hpp"

using interlock::coarse_time;
using interlock::fingerprint;
using interlock::idempotency_cache;
using interlock::idempotency_outcome;
using interlock::inplace_stop_source;
using interlock::manual_timer;
using interlock::sync_wait;
using interlock::task;
using enum interlock::idempotency_outcome;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;
using support::detached;

namespace {

using cache_type = idempotency_cache<std::string, int>;
using support::broken_token;
constexpr fingerprint pay{17};
constexpr fingerprint other_payload{18};

cache_type::options leased(coarse_time& time) {
  cache_type::options how;
  how.ttl = nanoseconds(1'000);
  how.lease = nanoseconds(100);
  how.time = &time;
  return how;
}
void pass(coarse_time& time, std::int64_t by) { time.advance_to(time.now() + nanoseconds(by)); }

template <class Cache>
void wait_for_joiners(const Cache& cache, std::uint64_t n) {
  while (cache.statistics().joined < n) std::this_thread::yield();
}

const auto never = [] { return -1; };

template <class Cache, class... Ends>
detached join(Cache& cache, std::optional<idempotency_outcome>& said, Ends... ends) {
  const auto got = co_await cache.async_claim("k", pay, ends...);
  said = got.owner ? executed : got.answer.outcome;
}
detached join_until(cache_type& cache, manual_timer& timer, manual_timer::time_point deadline,
                    std::optional<idempotency_outcome>& said) {
  const auto got = co_await cache.async_claim_until(timer, deadline, "k", pay);
  said = got.owner ? executed : got.answer.outcome;
}

}  // namespace

// ---- look-ups -----------------------------------------------------------------------------------

TEST_CASE("visit and find say what there is and run nothing") {
  coarse_time time(nanoseconds(1));
  auto how = leased(time);
  how.is_final_failure = [](const std::exception_ptr&) { return true; };
  cache_type cache(how);
  int seen = 0;
  const auto look = [&](std::string_view key, fingerprint payload = pay) {
    seen = 0;
    return cache.visit(key, payload, [&seen](const int& answer) { seen = answer; });
  };
  CHECK(look("k") == absent);
  auto claimed = cache.try_claim("k", pay);
  CHECK(look("k") == in_flight);
  CHECK(look("k", other_payload) == payload_mismatch);  // [skipped-fingerprint]
  claimed.owner.complete(7);
  CHECK(look("k") == replayed);
  CHECK(seen == 7);
  CHECK(look("k", other_payload) == payload_mismatch);
  CHECK(seen == 0);
  const auto held = cache.find("k", pay);
  CHECK(held.outcome == replayed);
  CHECK(*held == 7);
  CHECK(held.attempt == 1);
  CHECK(cache.find("k", other_payload).outcome == payload_mismatch);
  CHECK_FALSE(cache.find("k", other_payload));

  cache.try_claim("bad", pay).owner.fail(std::make_exception_ptr(1));
  CHECK(look("bad") == failed);
  CHECK(cache.find("bad", pay).outcome == failed);

  pass(time, 1'000);
  CHECK(look("k") == absent);
  CHECK(*held == 7);
  CHECK(cache.statistics().mismatches == 4);
}

TEST_CASE("a key is looked for by what its Hash and Equal take, and with a hash that is known") {
  cache_type cache;
  const std::string key(36, 'x');
  CHECK(cache.run(std::string_view(key), pay, [] { return 3; }).outcome == executed);
  CHECK(cache.run(key.c_str(), pay, never).outcome == replayed);
  CHECK(cache.run(key, pay, never).outcome == replayed);
  const auto hashed = cache.hashed(key);
  CHECK(cache.run(hashed, pay, never).outcome == replayed);
  CHECK(cache.visit(hashed, pay, [](int) {}) == replayed);
  CHECK(cache.try_run(cache.hashed(std::string_view("new")), pay, [] { return 4; }).outcome ==
        executed);
  CHECK(cache.evict(std::string_view("new")));
  CHECK(cache.forget(hashed));
  CHECK(cache.size_approx() == 0);
}

TEST_CASE("a reader that stays keeps what it sees and nothing else waits for it") {
  idempotency_cache<int, std::shared_ptr<int>> cache({.capacity = 4});
  std::weak_ptr<int> watched;
  const auto make = [&] {
    auto made = std::make_shared<int>(5);
    watched = made;
    return made;
  };
  cache.run(1, pay, make);
  const std::weak_ptr<int> first = watched;
  cache.visit(1, pay, [&](const std::shared_ptr<int>& answer) {
    CHECK(cache.evict(1));
    for (int i = 2; i < 50; ++i) cache.run(i, pay, make);  // evicts others meanwhile
    CHECK_FALSE(first.expired());
    CHECK(*answer == 5);  // [freed-under-reader]
  });
  for (int i = 50; i < 60; ++i) cache.run(i, pay, make);
  CHECK(first.expired());
}

// ---- ends of waits ------------------------------------------------------------------------------

TEST_CASE("a joiner that is cancelled or too late leaves and nobody else does") {
  cache_type cache;
  auto claimed = cache.claim("k", pay);
  inplace_stop_source stops;
  manual_timer timer;
  const auto late = timer.now() + std::chrono::seconds(1);
  std::optional<idempotency_outcome> first, second, third;
  join(cache, first, stops.get_token());
  join_until(cache, timer, late, second);
  join(cache, third);
  idempotency_outcome fourth{};
  std::thread thread([&] { fourth = cache.run("k", pay, never, stops.get_token()).outcome; });
  wait_for_joiners(cache, 4);
  stops.request_stop();  // [cancel-cancels-all]
  thread.join();
  CHECK(first == cancelled);
  CHECK(fourth == cancelled);
  CHECK_FALSE(second.has_value());
  timer.advance_to(late);
  CHECK(second == timed_out);
  CHECK_FALSE(third.has_value());
  CHECK(cache.try_run("k", pay, never).outcome == in_flight);
  claimed.owner.complete(4);
  CHECK(third == joined);
  // What was asked to stop before finds an answer all the same, but does not wait.
  CHECK(cache.run("k", pay, never, stops.get_token()).outcome == replayed);
  auto again = cache.claim("l", pay);
  CHECK(cache.run("l", pay, never, stops.get_token()).outcome == cancelled);
}

TEST_CASE("a thread waits no longer than until its deadline") {
  cache_type cache;
  auto claimed = cache.claim("k", pay);
  const auto soon = [] { return steady_clock::now() + std::chrono::milliseconds(2); };
  CHECK(cache.run_until(soon(), "k", pay, never).outcome == timed_out);
  CHECK(cache.claim_until(soon(), "k", pay).answer.outcome == timed_out);
  const auto far = steady_clock::now() + std::chrono::hours(1);
  std::thread thread([&] {
    wait_for_joiners(cache, 3);
    claimed.owner.complete(1);
  });
  CHECK(cache.run_until(far, "k", pay, never).outcome == joined);
  thread.join();
  inplace_stop_source stops;
  CHECK(cache.run_until(far, "k", pay, never, stops.get_token()).outcome == replayed);
}

TEST_CASE("async_run ends its wait by a token or a timer") {
  cache_type cache;
  auto claimed = cache.claim("k", pay);
  inplace_stop_source stops;
  stops.request_stop();
  manual_timer timer;
  const auto run = []() -> task<int> { co_return -1; };
  CHECK(sync_wait(cache.async_run("k", pay, run, stops.get_token())).outcome == cancelled);
  CHECK(sync_wait(cache.async_run_until(timer, timer.now(), "k", pay, run)).outcome == timed_out);
  CHECK(sync_wait(cache.async_run_until(timer, timer.now(), "k", pay, run, stops.get_token()))
            .outcome == cancelled);
  CHECK(sync_wait(cache.async_run_until(timer, timer.now(), "free", pay, run)).outcome == executed);
}

TEST_CASE("a joiner that cannot listen to its stop throws that, and leaves nothing behind") {
  cache_type cache;
  auto first = cache.claim("k", pay);
  CHECK_THROWS_AS(cache.run("k", pay, never, broken_token{}), std::bad_alloc);
  const auto late = steady_clock::now() + std::chrono::hours(1);
  CHECK_THROWS_AS(cache.claim_until(late, "k", pay, broken_token{}), std::bad_alloc);
  first.owner.complete(1);
  CHECK(cache.run("k", pay, never).outcome == replayed);

  // Who was woken before that has what it waited for: the answer, or the key.
  auto second = cache.claim("l", pay);
  const std::function<void()> answers = [&] { second.owner.complete(2); };
  const auto told = cache.run("l", pay, never, broken_token{&answers});
  CHECK(told.outcome == joined);
  CHECK(*told == 2);
  auto third = cache.claim("m", pay);
  const std::function<void()> gives_up = [&] { third = {}; };
  const auto taken = cache.run("m", pay, [] { return 3; }, broken_token{&gives_up});
  CHECK(taken.outcome == executed);
  CHECK(taken.attempt == 2);
}

TEST_CASE("a claim waits until a deadline or a stop, whichever comes first") {
  cache_type cache;
  auto owner = cache.try_claim("k", pay);
  manual_timer timer;
  inplace_stop_source stops;
  std::optional<idempotency_outcome> first, second;
  const auto waits = [&](std::optional<idempotency_outcome>& said) -> detached {
    const auto late = timer.now() + std::chrono::seconds(1);
    const auto got = co_await cache.async_claim_until(timer, late, "k", pay, stops.get_token());
    said = got.answer.outcome;
  };
  waits(first);
  timer.advance_to(timer.now() + std::chrono::seconds(1));
  CHECK(first == timed_out);
  waits(second);
  stops.request_stop();
  CHECK(second == cancelled);
  const auto far = steady_clock::now() + std::chrono::hours(1);
  CHECK(cache.claim_until(far, "k", pay, stops.get_token()).answer.outcome == cancelled);
  inplace_stop_source never_asked;
  const auto now = steady_clock::now();
  CHECK(cache.claim_until(now, "k", pay, never_asked.get_token()).answer.outcome == timed_out);
}

TEST_CASE("a coroutine that joined takes over at its deadline when the lease is over") {
  coarse_time time(nanoseconds(1));
  cache_type cache(leased(time));
  auto hung = cache.try_claim("k", pay);
  manual_timer timer;
  std::optional<idempotency_outcome> early, late;
  join_until(cache, timer, timer.now() + std::chrono::seconds(1), early);
  join_until(cache, timer, timer.now() + std::chrono::seconds(2), late);
  pass(time, 50);
  timer.advance_to(timer.now() + std::chrono::seconds(1));
  CHECK(early == timed_out);
  pass(time, 50);
  timer.advance_to(timer.now() + std::chrono::seconds(1));
  CHECK(late == executed);
  CHECK(hung.owner.complete(1).outcome == lost_ownership);
}

TEST_CASE("a stop that was asked for before takes away no answer that is there and no free key") {
  cache_type cache;
  inplace_stop_source stops;
  stops.request_stop();
  const auto run = []() -> task<int> { co_return 1; };
  CHECK(sync_wait(cache.async_run("k", pay, run, stops.get_token())).outcome == executed);
  CHECK(sync_wait(cache.async_run("k", pay, run, stops.get_token())).outcome == replayed);
  CHECK(cache.run("k", pay, never, stops.get_token()).outcome == replayed);
  CHECK(cache.run("j", pay, [] { return 1; }, stops.get_token()).outcome == executed);
  std::optional<idempotency_outcome> said;
  const auto claims = [&]() -> detached {
    said = (co_await cache.async_claim("k", pay, stops.get_token())).answer.outcome;
  };
  claims();
  CHECK(said == replayed);
}

// ---- leases -------------------------------------------------------------------------------------

TEST_CASE("[late-owner] a run whose lease is over goes on with the next caller, joiners and all") {
  coarse_time time(nanoseconds(1));
  cache_type cache(leased(time));
  auto late = cache.try_claim("k", pay);
  std::optional<idempotency_outcome> joiner;
  join(cache, joiner);
  pass(time, 99);
  CHECK(cache.try_run("k", pay, never).outcome == in_flight);
  pass(time, 1);
  CHECK(cache.try_run("k", other_payload, never).outcome == payload_mismatch);
  const auto second = cache.try_run("k", pay, [] { return 2; });
  CHECK(second.outcome == executed);
  CHECK(second.attempt == 2);
  CHECK(joiner == joined);
  CHECK_FALSE(late.owner.renew());
  CHECK_FALSE(late.owner.begin_effect());
  const auto lost = late.owner.complete(1);
  CHECK(lost.outcome == lost_ownership);
  CHECK(*cache.find("k", pay) == 2);
  CHECK(cache.statistics().takeovers == 1);
}

TEST_CASE("[live-owner-reclaimed] an owner that renews its lease keeps its key") {
  coarse_time time(nanoseconds(1));
  cache_type cache(leased(time));
  auto claimed = cache.try_claim("k", pay);
  for (int i = 0; i < 5; ++i) {
    pass(time, 99);
    CHECK(claimed.owner.renew());
    CHECK(cache.try_run("k", pay, never).outcome == in_flight);
  }
  CHECK(claimed.owner.complete(1).outcome == executed);
  // Without a lease nobody is reclaimed, however long it takes.
  cache_type patient({.time = &time});
  auto slow = patient.try_claim("k", pay);
  pass(time, std::int64_t{1} << 60);
  CHECK(patient.try_run("k", pay, never).outcome == in_flight);
}

TEST_CASE("a thread that joined takes over when the lease is over") {
  cache_type cache({.lease = std::chrono::milliseconds(20)});
  auto hung = cache.try_claim("k", pay);
  const auto got = cache.run("k", pay, [] { return 2; });
  CHECK(got.outcome == executed);
  CHECK(got.attempt == 2);
}

TEST_CASE("a run whose effect has begun is in doubt when its lease is over, never run again") {
  coarse_time time(nanoseconds(1));
  cache_type cache(leased(time));
  auto first = cache.try_claim("k", pay);
  CHECK(first.owner.begin_effect());
  CHECK_FALSE(cache.claim_in_doubt("k", pay).owner);  // not yet
  pass(time, 100);
  CHECK(cache.run("k", pay, never).outcome == in_doubt);
  CHECK(cache.try_run("k", pay, never).outcome == in_doubt);
  CHECK(cache.claim_in_doubt("k", other_payload).answer.outcome == payload_mismatch);

  SECTION("its owner comes after all") {
    CHECK(first.owner.complete(1).outcome == executed);
    CHECK(*cache.find("k", pay) == 1);
  }
  SECTION("somebody finds out") {
    auto resolver = cache.claim_in_doubt("k", pay);
    REQUIRE(resolver.owner);
    CHECK(resolver.owner.attempt() == 2);
    CHECK(first.owner.complete(1).outcome == lost_ownership);
    CHECK(resolver.owner.complete(2).outcome == executed);
    CHECK(*cache.find("k", pay) == 2);
  }
  SECTION("it is forgotten") {
    CHECK_FALSE(cache.evict("k"));
    CHECK(cache.forget("k"));
    CHECK(cache.run("k", pay, [] { return 3; }).outcome == executed);
  }
}

TEST_CASE("[lost-leader] an owner that vanishes after its effect began leaves a doubt, not a rerun") {
  cache_type cache;
  auto first = cache.try_claim("k", pay);
  std::optional<idempotency_outcome> joiner;
  join(cache, joiner);
  REQUIRE(first.owner.begin_effect());
  first = {};
  CHECK(joiner == in_doubt);
  CHECK(cache.run("k", pay, never).outcome == in_doubt);
  SECTION("resolved") {
    CHECK(cache.claim_in_doubt("k", pay).owner.complete(5).outcome == executed);
    CHECK(cache.run("k", pay, never).outcome == replayed);
  }
  SECTION("forgotten") {
    CHECK(cache.forget("k"));
    CHECK(cache.run("k", pay, [] { return 6; }).outcome == executed);
  }
  SECTION("left as it is") {}
}

TEST_CASE("[late-owner] a late owner is not told that its response is the answer") {
  coarse_time time(nanoseconds(1));
  cache_type cache(leased(time));
  const auto late = cache.run("k", pay, [&] {
    pass(time, 100);
    std::thread([&] { cache.run("k", pay, [] { return 2; }); }).join();
    return 1;
  });
  CHECK(late.outcome == lost_ownership);
  CHECK_FALSE(late);
  CHECK(*late.response == 1);
  CHECK(*cache.run("k", pay, never) == 2);
}

TEST_CASE("an answer has an age however it is asked for") {
  coarse_time time(nanoseconds(1));
  cache_type cache(leased(time));
  CHECK(cache.run("k", pay, [] { return 1; }).age == nanoseconds(0));
  pass(time, 30);
  CHECK(cache.run("k", pay, never).age == nanoseconds(30));
  CHECK(cache.find("k", pay).age == nanoseconds(30));
  CHECK(cache.try_claim("k", pay).answer.age == nanoseconds(30));
}

// ---- statistics ---------------------------------------------------------------------------------

namespace {

std::uint64_t ended_calls(const interlock::idempotency_statistics& of) {
  return of.executed + of.failures + of.given_up + of.shared + of.replayed + of.mismatches +
         of.refused + of.bad_keys + of.in_flight + of.in_doubt + of.reentered + of.circular +
         of.cancelled + of.timed_out;
}

}  // namespace

TEST_CASE("every call that has ended is counted once") {
  coarse_time time(nanoseconds(1));
  auto how = leased(time);
  how.capacity = 3;
  cache_type cache(how);
  std::uint64_t calls = 0;
  const auto counted = [&](std::uint64_t more) {
    calls += more;
    return cache.statistics();
  };

  cache.run("a", pay, [&] {
    CHECK(cache.run("a", pay, never).outcome == reentered);
    CHECK(cache.try_run("a", pay, never).outcome == in_flight);
    CHECK(cache.run("a", other_payload, never).outcome == payload_mismatch);
    return 1;
  });
  cache.run("a", pay, never);
  CHECK(cache.run("", pay, never).outcome == bad_key);
  CHECK_THROWS(cache.run("b", pay, []() -> int { throw std::runtime_error("not today"); }));
  auto at = counted(7);
  CHECK(ended_calls(at) == calls);
  CHECK(at.executed * at.reentered * at.in_flight * at.mismatches * at.replayed == 1);
  CHECK(at.bad_keys * at.failures == 1);
  CHECK(cache.evict("a"));
  CHECK(cache.statistics().dropped == 1);

  // Those who wait: given an answer, taken over, cancelled, too late, destroyed, told of a doubt.
  manual_timer timer;
  inplace_stop_source stops;
  std::optional<idempotency_outcome> said[4];
  auto first = cache.try_claim("k", pay);
  join(cache, said[0]);
  join(cache, said[1], stops.get_token());
  join_until(cache, timer, timer.now() + std::chrono::seconds(1), said[2]);
  stops.request_stop();
  timer.advance_to(timer.now() + std::chrono::seconds(1));
  CHECK((said[1] == cancelled && said[2] == timed_out));
  {
    const auto waits = [](cache_type& in) -> support::owned {
      const auto unused = co_await in.async_claim("k", pay);
      static_cast<void>(unused);
    };
    waits(cache).handle.destroy();
  }
  at = counted(3);
  CHECK(ended_calls(at) == calls);
  CHECK((at.cancelled == 2 && at.timed_out == 1 && at.joined == 4 && at.running == 1));
  first = {};  // the first joiner takes over, and gives up in its end
  CHECK(said[0] == executed);
  at = counted(2);
  CHECK((ended_calls(at) == calls && at.given_up == 2 && at.takeovers == 1 && at.running == 0));

  auto second = cache.try_claim("k", pay);
  join(cache, said[3]);
  CHECK(second.owner.begin_effect());
  second = {};
  CHECK((said[3] == in_doubt && cache.run("k", pay, never).outcome == in_doubt));
  at = counted(3);
  CHECK((ended_calls(at) == calls && at.in_doubt == 2 && at.running == 1 && at.entries == 1));

  // A late owner, refusals, expiry.
  auto late = cache.try_claim("l", pay);
  pass(time, 100);
  cache.run("l", pay, [] { return 2; });
  late.owner.complete(1);
  auto third = cache.try_claim("m", pay);
  CHECK(cache.forget("l"));
  auto fourth = cache.try_claim("n", pay);
  CHECK(cache.run("o", pay, never).outcome == over_capacity);
  at = counted(3);
  CHECK((ended_calls(at) == calls && at.lost == 1 && at.takeovers == 2 && at.refused == 1));
  third.owner.complete(3);
  fourth.owner.complete(4);
  pass(time, 1'000);
  CHECK_FALSE(cache.evict("m"));
  at = counted(2);
  CHECK((ended_calls(at) == calls && at.expired == 1 && at.dropped == 2 && at.running == 1));
}

// ---- the listener -------------------------------------------------------------------------------

namespace {

// Returns: options that write down what the listener hears, such as "executed k 1".
cache_type::options listening(coarse_time& time, std::string& heard) {
  auto how = leased(time);
  how.on_event = [&heard](const interlock::idempotency_event<std::string>& event) {
    heard += to_string(event.what);
    heard += ' ';
    if (event.key == nullptr) {
      heard += to_string(event.outcome);
    } else {
      heard += *event.key + ' ' + std::to_string(event.attempt);
    }
    heard += '\n';
  };
  return how;
}

}  // namespace

TEST_CASE("a listener hears what becomes of runs and answers, each once, and of no hit") {
  coarse_time time(nanoseconds(1));
  std::string heard;
  auto how = listening(time, heard);
  how.capacity = 2;
  how.max_weight = 100;
  how.weigh = [](const std::string&, int each) { return static_cast<std::uint64_t>(each); };
  cache_type cache(how);
  const auto news = [&] { return std::exchange(heard, {}); };

  cache.run("a", pay, [] { return 1; });
  CHECK(news() == "started a 1\nexecuted a 1\n");
  cache.run("a", pay, never);
  CHECK(cache.find("a", pay));
  cache.visit("a", pay, [](int) {});
  CHECK(news().empty());
  cache.run("a", other_payload, never);
  CHECK(news() == "refused payload mismatch\n");
  CHECK_THROWS(cache.run("b", pay, []() -> int { throw std::runtime_error("not today"); }));
  CHECK(news() == "started b 1\nfailed b 1\n");
  cache.run("b", pay, [] { return 101; });
  CHECK(news() == "started b 1\ntoo heavy b 1\nexecuted b 1\n");

  cache.run("b", pay, [] { return 2; });
  cache.run("c", pay, [] { return 3; });
  CHECK(news() == "started b 1\nexecuted b 1\nevicted b 1\nstarted c 1\nexecuted c 1\n");
  CHECK(cache.evict("a"));
  CHECK(news() == "dropped a 1\n");
  pass(time, 1'000);
  cache.run("c", pay, [] { return 3; });
  CHECK(news() == "expired c 1\nstarted c 1\nexecuted c 1\n");
  pass(time, 1'000);
  cache.run("d", pay, [] { return 98; });
  CHECK(news() == "expired c 1\nstarted d 1\nexecuted d 1\n");
  cache.run("e", pay, [] { return 97; });
  CHECK(news() == "started e 1\nevicted d 1\nexecuted e 1\n");
  CHECK(cache.statistics().expired == 2);
}

TEST_CASE("a listener hears of the end of a run before those who joined go on") {
  coarse_time time(nanoseconds(1));
  std::string heard;
  cache_type cache(listening(time, heard));
  const auto news = [&] { return std::exchange(heard, {}); };
  std::optional<idempotency_outcome> first, second;
  auto owner = cache.try_claim("k", pay);
  join(cache, first);
  CHECK(cache.try_run("k", pay, never).outcome == in_flight);
  owner.owner.complete(1);
  CHECK(news() == "started k 1\nrefused in flight\nexecuted k 1\njoined k 1\n");
  CHECK(cache.forget("k"));
  CHECK(news() == "dropped k 1\n");

  owner = cache.try_claim("k", pay);
  join(cache, second);
  owner = {};  // the heir takes over, and gives up in its end
  CHECK(second == executed);
  CHECK(news() == "started k 1\ngiven up k 1\ntaken over k 2\ngiven up k 2\n");

  owner = cache.try_claim("k", pay);
  pass(time, 100);
  auto next = cache.try_claim("k", pay);
  owner.owner.complete(1);
  CHECK(news() == "started k 1\ntaken over k 2\nlost k 1\n");
  CHECK(next.owner.begin_effect());
  next = {};
  cache.run("k", pay, never);
  CHECK(news() == "left in doubt k 2\nrefused in doubt\n");
}

TEST_CASE("a listener may call the cache, and what it throws is dropped") {
  coarse_time time(nanoseconds(1));
  auto how = leased(time);
  how.capacity = 2;
  cache_type* inside = nullptr;
  int calls = 0;
  std::vector<idempotency_outcome> said;
  how.on_event = [&](const interlock::idempotency_event<std::string>& event) {
    ++calls;
    if (event.key != nullptr && *event.key == "k") {
      const auto seen = inside->statistics().entries;
      CHECK(seen <= 2);
      said.push_back(inside->try_run("k", pay, never).outcome);
      if (event.what == interlock::idempotency_news::started) {
        said.push_back(inside->run("k", pay, never).outcome);
      }
    }
    throw std::runtime_error("the listener is out");
  };
  cache_type cache(how);
  inside = &cache;
  CHECK(cache.run("k", pay, [] { return 1; }).outcome == executed);
  CHECK(said == std::vector{in_flight, reentered, replayed});
  cache.run("l", pay, [] { return 1; });
  cache.try_claim("m", pay) = {};
  CHECK(*cache.run("n", pay, [] { return 4; }) == 4);
  CHECK(calls == 11);  // 2 of k, 2 refusals in it, 2 of l, its end, 2 of m, 2 of n
}

// ---- bounds -------------------------------------------------------------------------------------

TEST_CASE("[over-weight] no limit on the weight is rounded up, however many shards share it") {
  for (const std::uint64_t limit : {1U, 65U, 100U}) {
    idempotency_cache<int, int> cache({.capacity = 65'536,
                                       .max_weight = limit,
                                       .weigh = [](const int&, const int&) { return 1U; }});
    for (int i = 0; i < 10'000; ++i) cache.run(i, pay, [i] { return i; });
    CHECK(cache.statistics().weight <= limit);
    CHECK(cache.statistics().weight >= limit / 2);
  }
}

TEST_CASE("a response that asks the cache in its end finds it empty when the cache ends") {
  struct curious;
  using asked = idempotency_cache<int, std::shared_ptr<curious>>;
  struct curious {
    asked* cache;
    int* absent;
    ~curious() {
      for (int i = 0; i < 100; ++i) {
        *absent += cache->find(i, pay).outcome == interlock::idempotency_outcome::absent ? 1 : 0;
      }
      cache->run(100, pay, [] { return nullptr; });
    }
  };
  int absent = 0;
  {
    asked cache({.capacity = 1024});
    for (int i = 0; i < 10; ++i) {
      cache.run(i, pay, [&] { return std::shared_ptr<curious>(new curious{&cache, &absent}); });
    }
  }
  CHECK(absent == 1000);
}

TEST_CASE("[over-weight] answers weigh no more than the limit together") {
  using texts = idempotency_cache<int, std::string>;
  texts cache({.capacity = 100, .max_weight = 100, .weigh = [](const int&, const std::string& text) {
                 return text.size();
               }});
  for (int i = 0; i < 30; ++i) {
    cache.run(i, pay, [] { return std::string(30, 'x'); });
    CHECK(cache.statistics().weight <= 100);
  }
  CHECK(cache.size_approx() == 3);
  CHECK(cache.find(29, pay));
  // One that is too heavy reaches its caller and displaces nothing.
  const auto heavy = cache.run(50, pay, [] { return std::string(101, 'y'); });
  CHECK(heavy.outcome == executed);
  CHECK(heavy->size() == 101);
  CHECK_FALSE(cache.find(50, pay));
  CHECK(cache.size_approx() == 3);
  CHECK(cache.statistics().too_heavy == 1);
  cache.evict(29);
  CHECK(cache.statistics().weight == 60);
}

TEST_CASE("[bad-key] an empty key and one that is too long are refused before anything runs") {
  cache_type cache({.max_key_size = 8});
  CHECK(cache.run("", pay, never).outcome == bad_key);
  CHECK(cache.run("123456789", pay, never).outcome == bad_key);
  CHECK(cache.try_claim(std::string(9, 'x'), pay).answer.outcome == bad_key);
  CHECK(sync_wait(cache.async_run("", pay, []() -> task<int> { co_return -1; })).outcome == bad_key);
  CHECK(cache.run("12345678", pay, [] { return 1; }).outcome == executed);
  CHECK(cache.find("", pay).outcome == absent);
  CHECK_FALSE(cache.evict(""));
  CHECK(cache.size_approx() == 1);
}

TEST_CASE("more bad options are refused with a sentence") {
  const auto refuses = [](cache_type::options how) {
    try {
      const cache_type cache(how);
    } catch (const std::invalid_argument&) {
      return true;
    }
    return false;
  };
  CHECK(refuses({.max_key_size = 0}));
  CHECK(refuses({.lease = nanoseconds(-1)}));
  CHECK(refuses({.max_weight = 5}));
  CHECK(refuses({.weigh = [](const std::string&, int) { return 1U; }}));
  CHECK_FALSE(refuses({}));
}

TEST_CASE("[dependent-keys] runs that wait for each other are told so before they hang") {
  cache_type cache;
  std::atomic<int> inside{0};
  idempotency_outcome inner[2] = {};
  support::run_threads(2, [&](std::size_t me) {
    const char* const names[] = {"a", "b"};
    cache.run(names[me], pay, [&] {
      inside.fetch_add(1);
      while (inside.load() < 2) std::this_thread::yield();
      const auto got = cache.run(names[1 - me], pay, never);
      inner[me] = got.outcome;
      return 1;
    });
  });
  // One of them closes the circle; the other one gets the answer of its run.
  CHECK((inner[0] == circular) != (inner[1] == circular));
  CHECK((inner[0] == joined) != (inner[1] == joined));
}

// ---- growth -------------------------------------------------------------------------------------

TEST_CASE("the table grows a little at a time and no answer is ever out of sight") {
  idempotency_cache<std::size_t, std::size_t> cache({.capacity = 1'000'000});
  const std::size_t keys = support::rounds(100'000);
  std::atomic<std::size_t> known{0};
  std::atomic<std::size_t> missed{0};
  support::run_threads(3, [&](std::size_t me) {
    if (me == 0) {
      for (std::size_t i = 0; i < keys; ++i) {
        cache.run(i, pay, [&] { return i; });
        known.store(i + 1, std::memory_order_release);
      }
      return;
    }
    std::size_t at = me;
    for (std::size_t now = 0; (now = known.load(std::memory_order_acquire)) < keys;) {
      if (now == 0) continue;
      at = (at * 7 + 13) % now;
      std::size_t seen = 0;
      const auto said = cache.visit(at, pay, [&](const std::size_t& answer) { seen = answer; });
      if (said != replayed || seen != at) missed.fetch_add(1, std::memory_order_relaxed);
    }
  });
  CHECK(missed.load() == 0);
  CHECK(cache.size_approx() == keys);
}

TEST_CASE("keys that are evicted by name again and again take no memory") {
  auto token = std::make_shared<int>(0);
  idempotency_cache<int, std::shared_ptr<int>> cache({.capacity = 1'000});
  for (int i = 0; i < 100; ++i) cache.run(i, pay, [&] { return token; });
  for (int i = 0; i < 10'000; ++i) {
    cache.run(5'000, pay, [&] { return token; });
    cache.evict(5'000);
  }
  CHECK(cache.size_approx() == 100);
  CHECK(token.use_count() < 500);  // 101, what is dead in the line, and what waits for readers
}

// ---- runs within runs ---------------------------------------------------------------------------

// Two threads, and no circle at any time: one asks for 1 when it has left 2, for which a run of 1
// may have waited. The other one is still on its way out of that wait.
template <class Cache, class Two>
int circles_told(Cache& cache, const Two& two) {
  std::atomic<int> told{0};
  const auto ask = [&](int key, const auto& f) {
    try {
      if (cache.run(key, pay, f).outcome == circular) told.fetch_add(1);
    } catch (const std::runtime_error&) {
    }
  };
  std::atomic<bool> inside{false};
  std::thread thread([&] {
    ask(1, [&] {
      inside.store(true);
      ask(2, [] { return 1; });
      return 1;
    });
  });
  ask(3, [&] {
    ask(2, [&] {
      while (!inside.load() || cache.statistics().joined == 0) std::this_thread::yield();
      return two();
    });
    ask(1, [] { return 1; });
    return 1;
  });
  thread.join();
  return told.load();
}

TEST_CASE("a run that has failed or was not kept leads nobody into a circle") {
  int told = 0;
  for (std::size_t i = 0; i < support::rounds(200); ++i) {
    idempotency_cache<int, int> cache({.is_final_response = [](int answer) { return answer == 1; }});
    told += circles_told(cache, []() -> int { throw std::runtime_error("not today"); });
    idempotency_cache<int, int> again({.is_final_response = [](int answer) { return answer == 1; }});
    told += circles_told(again, [] { return 2; });
  }
  CHECK(told == 0);
}

TEST_CASE("what an answer weighs names no thread") {
  int told = 0;
  for (std::size_t i = 0; i < support::rounds(200); ++i) {
    // The number of some thread, or of none.
    const std::uint64_t weight = i % 4 == 0 ? 1'000'000 : i % 4;
    idempotency_cache<int, int> cache(
        {.capacity = 100, .max_weight = 10'000'000, .weigh = [weight](int, int) { return weight; }});
    told += circles_told(cache, [] { return 2; });
    CHECK(cache.statistics().weight == 3 * weight);
  }
  CHECK(told == 0);
}

TEST_CASE("[dependent-keys] who waits for a run that loses its lease waits for its successor") {
  coarse_time time(nanoseconds(1));
  idempotency_cache<int, int> cache(
      {.capacity = 8, .lease = std::chrono::hours(1), .time = &time});
  auto late = cache.try_claim(2, pay);
  time.advance_to(std::chrono::minutes(59));
  std::thread thread([&] {
    cache.run(1, pay, [&] { return *cache.run(2, pay, never); });
  });
  wait_for_joiners(cache, 1);
  time.advance_to(std::chrono::minutes(61));
  idempotency_outcome inner{};
  cache.run(2, pay, [&] {
    late.owner.complete(7);
    for (int i = 10; i < 60; ++i) cache.run(i, pay, [] { return 1; });  // frees what it was
    const auto soon = steady_clock::now() + std::chrono::seconds(20);
    inner = cache.run_until(soon, 1, pay, never).outcome;
    return 5;
  });
  thread.join();
  CHECK(inner == circular);
  CHECK(*cache.find(1, pay) == 5);
}

// ---- leases that are renewed, long, or of one who resolves --------------------------------------

TEST_CASE("[live-owner-reclaimed] a joiner that looks at a lease loses no answer of its run") {
  std::atomic<std::int64_t> now{1};
  std::atomic<int> asked{0};
  const std::int64_t lease = 2'000'000;
  cache_type cache({.lease = nanoseconds(lease), .now = [&] {
                      asked.fetch_add(1);
                      return nanoseconds(now.load());
                    }});
  auto claimed = cache.try_claim("k", pay);
  std::atomic<bool> over{false};
  cache_type::result got;
  std::thread thread([&] {
    got = cache.run("k", pay, never);
    over.store(true);
  });
  wait_for_joiners(cache, 1);
  now.store(lease / 2);
  CHECK(claimed.owner.renew());
  CHECK(cache.forget("k"));
  now.store(lease + 100);  // past the lease that it joined in, not past this one
  const int before = asked.load();
  while (asked.load() < before + 3 && !over.load()) std::this_thread::yield();
  const auto lost = claimed.owner.complete(7);
  thread.join();
  CHECK(lost.outcome == lost_ownership);
  CHECK(got.outcome == joined);
  CHECK(*got == 7);
  CHECK(cache.statistics().joined == 1);
}

TEST_CASE("a clock that throws at a joiner takes it from its run") {
  std::atomic<bool> broken{false};
  cache_type cache({.lease = std::chrono::milliseconds(1), .now = [&]() -> nanoseconds {
                      if (broken.load()) throw std::runtime_error("no time");
                      return nanoseconds(1);
                    }});
  auto claimed = cache.try_claim("k", pay);
  bool thrown = false;
  std::thread thread([&] {
    try {
      cache.run("k", pay, never);
    } catch (const std::runtime_error&) {
      thrown = true;
    }
  });
  wait_for_joiners(cache, 1);
  broken.store(true);
  thread.join();
  broken.store(false);
  CHECK(thrown);
  CHECK(claimed.owner.complete(1).outcome == executed);
}

TEST_CASE("[live-owner-reclaimed] a lease as long as time has no end") {
  cache_type cache({.lease = nanoseconds::max()});
  auto claimed = cache.try_claim("k", pay);
  CHECK(cache.try_run("k", pay, never).outcome == in_flight);
  std::thread thread([&] {
    wait_for_joiners(cache, 1);
    claimed.owner.complete(1);
  });
  CHECK(cache.run("k", pay, never).outcome == joined);
  thread.join();
}

TEST_CASE("[lost-leader] who resolves a doubt and gives up leaves it as it was") {
  const bool late = GENERATE(false, true);
  coarse_time time(nanoseconds(1));
  cache_type cache(leased(time));
  auto first = cache.try_claim("k", pay);
  CHECK(first.owner.begin_effect());
  first = {};
  auto resolver = cache.claim_in_doubt("k", pay);
  REQUIRE(resolver.owner);
  if (late) {
    pass(time, 100);
  } else {
    std::optional<idempotency_outcome> joiner;
    join(cache, joiner);
    resolver = {};
    CHECK(joiner == in_doubt);
  }
  CHECK(cache.run("k", pay, never).outcome == in_doubt);
  CHECK(cache.try_run("k", pay, never).outcome == in_doubt);
  auto second = cache.claim_in_doubt("k", pay);
  REQUIRE(second.owner);
  CHECK(second.owner.attempt() == 3);
  SECTION("answered") {
    CHECK(second.owner.complete(5).outcome == executed);
    CHECK(cache.run("k", pay, never).outcome == replayed);
  }
  SECTION("it did not happen") {
    second.owner.fail(std::make_exception_ptr(1));
    CHECK(cache.run("k", pay, [] { return 6; }).outcome == executed);
  }
}

// ---- readers that stand on a record -------------------------------------------------------------

// Holds a look-up up when it has found its key and not yet read the state of its record.
struct held_up {
  bool operator()(int a, int b) const {
    if (std::atomic<int>* const at = std::exchange(here, nullptr); at != nullptr) {
      at->store(1);
      while (at->load() == 1) std::this_thread::yield();
    }
    return a == b;
  }
  inline static thread_local std::atomic<int>* here = nullptr;
};

TEST_CASE("[late-owner] a reader that found a record is not given what came late or has left") {
  coarse_time time(nanoseconds(1));
  idempotency_cache<int, int, interlock::seeded_hash<int>, held_up> cache(
      {.capacity = 8, .lease = nanoseconds(100), .time = &time});
  auto first = cache.try_claim(1, pay);
  std::atomic<int> at{0};
  int seen = 0;
  idempotency_outcome said{};
  std::thread thread([&] {
    held_up::here = &at;
    said = cache.visit(1, pay, [&](int answer) { seen = answer; });
  });
  while (at.load() != 1) std::this_thread::yield();
  SECTION("its owner is late") {
    pass(time, 100);
    CHECK(cache.run(1, pay, [] { return 2; }).outcome == executed);
    CHECK(first.owner.complete(1).outcome == lost_ownership);
  }
  SECTION("it was forgotten") {
    cache.forget(1);
    CHECK(first.owner.complete(1).outcome == lost_ownership);
    CHECK(cache.run(1, pay, [] { return 2; }).outcome == executed);
  }
  SECTION("it failed") {
    first.owner.fail(std::make_exception_ptr(1));
    CHECK(cache.run(1, pay, [] { return 2; }).outcome == executed);
  }
  SECTION("it was evicted") {
    first.owner.complete(1);
    cache.evict(1);
    CHECK(cache.run(1, pay, [] { return 2; }).outcome == executed);
  }
  at.store(2);
  thread.join();
  CHECK(said == replayed);
  CHECK(seen == 2);
}

// ---- what is easily got wrong -------------------------------------------------------------------

TEST_CASE("[live-owner-reclaimed] a run is not taken over from inside its own f") {
  coarse_time time(nanoseconds(1));
  cache_type cache(leased(time));
  idempotency_outcome inner{};
  const auto got = cache.run("k", pay, [&] {
    pass(time, 200);
    inner = cache.run("k", pay, never).outcome;
    return 1;
  });
  CHECK(inner == reentered);
  CHECK(got.outcome == executed);
}

TEST_CASE("what is awaited counts from when it is awaited") {
  coarse_time time(nanoseconds(1));
  cache_type cache(leased(time));
  std::optional<idempotency_outcome> said;
  const auto waits = [&]() -> detached {
    auto later = cache.async_claim("k", pay);
    pass(time, 150);
    const auto got = co_await std::move(later);
    said = got.owner ? executed : got.answer.outcome;
    CHECK(cache.try_run("k", pay, never).outcome == in_flight);
  };
  waits();
  CHECK(said == executed);
}

TEST_CASE("[re-entry] what judges an answer and asks for its key is told so") {
  cache_type* self = nullptr;
  idempotency_outcome inner{};
  cache_type cache({.is_final_response = [&](const int&) {
    inner = self->run("k", pay, never).outcome;
    return true;
  }});
  self = &cache;
  cache.try_claim("k", pay).owner.complete(1);
  CHECK(inner == reentered);
  cache.forget("k");
  inner = {};
  sync_wait(cache.async_run("k", pay, []() -> task<int> { co_return 1; }));
  CHECK(inner == reentered);
}

namespace {

struct key_with_hash {
  std::string text;
  std::size_t hash_;
  bool operator==(const key_with_hash& other) const { return text == other.text; }
};
struct hash_of_text {
  std::size_t operator()(const key_with_hash& key) const {
    return std::hash<std::string>()(key.text);
  }
};

struct later {
  later() = default;
  later(const later&) = delete;
  template <class F>
  void execute(F f) {
    jobs.emplace_back(std::move(f));
  }
  std::vector<std::function<void()>> jobs;
};

support::owned joins_on(cache_type& cache, later& jobs) {
  const auto got = co_await cache.async_claim("k", pay).resume_on(jobs);
  static_cast<void>(got);
}

}  // namespace

TEST_CASE("a key is hashed by Hash, whatever its members are called") {
  idempotency_cache<key_with_hash, int, hash_of_text> cache;
  CHECK(cache.run(key_with_hash{"k", 1}, pay, [] { return 1; }).outcome == executed);
  CHECK(cache.run(key_with_hash{"k", std::size_t{1} << 60U}, pay, never).outcome == replayed);
}

TEST_CASE("a joiner that an executor is about to resume is not destroyed in silence") {
  const std::string said = support::death_message([] {
    cache_type cache;
    later jobs;
    auto claimed = cache.try_claim("k", pay);
    const support::owned joiner = joins_on(cache, jobs);
    claimed.owner.complete(1);
    joiner.handle.destroy();
  });
  CHECK(said.find("about to resume it") != std::string::npos);
}

// ---- joiners that are destroyed -----------------------------------------------------------------

struct inside_the_call {
  template <class F>
  void execute(F f) const {
    f();
  }
};

template <class Awaitable>
detached destroys(Awaitable joins, support::owned& other, int& answers) {
  const auto got = co_await std::move(joins);
  if (got.answer) ++answers;
  other.handle.destroy();
}
template <class Awaitable>
support::owned joins_and_stays(Awaitable joins, int& answers) {
  const auto got = co_await std::move(joins);
  if (got.answer) ++answers;
}

TEST_CASE("a joiner that goes on inside its wake-up may destroy the next one") {
  cache_type cache;
  const std::string key = "k";
  auto claimed = cache.try_claim(key, pay);
  support::owned second, third;
  int answers = 0;
  SECTION("by an executor that runs it at once") {
    destroys(cache.async_claim(key, pay).resume_on(inside_the_call()), second, answers);
  }
  SECTION("in its turn") { destroys(cache.async_claim(key, pay), second, answers); }
  second = joins_and_stays(cache.async_claim(key, pay), answers);
  third = joins_and_stays(cache.async_claim(key, pay), answers);
  claimed.owner.complete(1);
  CHECK(answers == 2);
  third.handle.destroy();
}

// ---- children -----------------------------------------------------------------------------------

namespace {

struct counted {
  explicit counted(int& all) : alive(&all) { ++all; }
  counted(counted&& other) noexcept : alive(std::exchange(other.alive, nullptr)) {}
  counted& operator=(counted&&) = delete;
  ~counted() {
    if (alive != nullptr) --*alive;
  }
  int* alive;
};

}  // namespace

TEST_CASE("a look-up of a thread that a child does not have keeps nothing alive there") {
  cache_type cache;
  cache.run("k", pay, [] { return 1; });
  std::atomic<int> at{0};
  std::thread reader([&] {
    cache.visit("k", pay, [&](int) {
      at.store(1);
      while (at.load() == 1) std::this_thread::yield();
    });
  });
  while (at.load() != 1) std::this_thread::yield();
  const pid_t child = ::fork();
  if (child == 0) {
    int alive = 0;
    idempotency_cache<int, counted> own({.capacity = 16});
    for (int i = 0; i < 2'000; ++i) own.run(i, pay, [&] { return counted(alive); });
    ::_exit(alive < 100 ? 0 : 1);
  }
  at.store(2);
  reader.join();
  int status = -1;
  ::waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

// A thread that lets go of what others have pinned has the lock of their records for a moment.
TEST_CASE("a child lets go of answers, whatever other threads were doing when it was forked") {
  interlock::detail::reader& here = *interlock::detail::readers::here();
  std::atomic<int> at{0};
  std::thread counter([&] {
    const std::lock_guard lock(here.pins_mutex);
    at.store(1);
    while (at.load() == 1) std::this_thread::yield();
  });
  while (at.load() != 1) std::this_thread::yield();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);  // not to wait without an end for a lock that nobody has
    int alive = 0;
    {
      idempotency_cache<int, counted> own({.capacity = 16});
      own.run(0, pay, [&] { return counted(alive); });
      static_cast<void>(own.find(0, pay));
      const auto pinned = own.find(0, pay);
      for (int i = 1; i < 2'000; ++i) own.run(i, pay, [&] { return counted(alive); });
    }
    ::_exit(alive == 0 ? 0 : 1);
  }
  at.store(2);
  counter.join();
  int status = -1;
  ::waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
