// SPDX-License-Identifier: BSL-1.0
// keyed_serial_queue in every execution: one task of a key at a time, in order, none lost.
//
// Its own workers are std::threads, which the explorer has not: what they serve is served here by
// the callers, or by an explored thread behind an executor.

#include "testing/front.hpp"

#include <interlock/keyed_serial_queue.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/detached.hpp"
#include "support/stopping.hpp"
#include "testing/job_thread.hpp"
#include "testing/last_user.hpp"

namespace {
struct to_two;
}
template <>
inline constexpr unsigned interlock::detail::key_shard_bits<to_two> = 1;

using interlock::post_result;
using interlock::queue_options;
using testing::world;

namespace {

// Two shards instead of 64: the same code, and each look at all of them is a few events.
struct to_two {
  std::size_t operator()(int key) const noexcept { return static_cast<std::size_t>(key); }
};

using queue = interlock::keyed_serial_queue<int, to_two>;
struct broken {};

struct book {
  explicit book(queue_options how = {}) : accounts(std::move(how)) {
    for (auto& each : entries) each.reserve(8);
  }
  std::vector<int> entries[2];  // of each key; plain: a race if two tasks of one run at once
  queue accounts;               // last: its destructor runs tasks
};

enum class call { post, run };

void enter(book& b, call how, int key, int entry) {
  const auto write = [&b, key, entry] {
    b.entries[key].push_back(entry);
    return entry;
  };
  if (how == call::post) {
    testing::check(b.accounts.post(key, write) == post_result::accepted, "accepted");
  } else {
    testing::check(b.accounts.run(key, write) == entry, "its own result");
  }
}

// Each thread has tasks of its key done, and the last one destroys the queue.
struct producer {
  call how;
  int key;
};

void producers(world& w, std::vector<producer> all, int rounds) {
  auto* const b = new book;
  auto* const left = new std::atomic<int>(static_cast<int>(all.size()));
  int total = 0;
  for (std::size_t p = 0; p < all.size(); ++p) {
    w.thread([&total, b, left, p, rounds, each = all[p]] {
      for (int i = 0; i < rounds; ++i) {
        enter(*b, each.how, each.key, static_cast<int>(p) * 10 + i);
      }
      if (left->fetch_sub(1, ar) != 1) return;
      b->accounts.close();
      for (const auto& list : b->entries) {
        for (std::size_t i = 0; i < list.size(); ++i) {
          ++total;
          for (std::size_t k = i + 1; k < list.size(); ++k) {
            const bool same = list[i] / 10 == list[k] / 10;
            testing::check(!same || list[i] < list[k], "in the order of each producer");
          }
        }
      }
      testing::check(b->accounts.active_keys_approx() == 0, "keys without work are forgotten");
      delete b;
      delete left;
    });
  }
  w.finally([&, n = static_cast<int>(all.size()) * rounds] {
    testing::check(total == n, "every task has run once");
  });
}

// The destructor runs while the thread that does the work is still inside its call.
void destroyed_beside_the_runner(world& w) {
  auto* const b = new book;
  std::atomic<bool> begun{false};
  int ran = 0;
  w.thread([&, b] {
    static_cast<void>(b->accounts.post(1, [&] { begun.store(true, rel); }));
  });
  w.thread([&, b] {
    while (!begun.load(acq)) testing::spin_hint();
    static_cast<void>(b->accounts.post(1, [&ran] { ++ran; }));
    delete b;
    testing::check(ran == 1, "the destructor waits for what was accepted");
  });
  w.finally([] {});
}

void failures(world& w) {
  auto* const shared = used_by<book>::make(2);
  for (int t = 0; t < 2; ++t) {
    w.thread([shared, t] {
      bool thrown = false;
      try {
        (*shared)->accounts.run(1, [t] {
          if (t == 0) throw broken();
        });
      } catch (const broken&) {
        thrown = true;
      }
      testing::check(thrown == (t == 0), "an exception reaches its caller and nobody else");
      if (t == 0) testing::check((*shared)->accounts.stats().failed == 1, "and is counted");
      shared->leave();
    });
  }
  w.finally([] {});
}

// close() and drain() beside post().
void closes(world& w) {
  auto* const shared = used_by<book>::make(2);
  int accepted = 0;
  int ran = 0;
  w.thread([&, shared] {
    for (int i = 0; i < 2; ++i) {
      accepted += (*shared)->accounts.post(1, [&ran] { ++ran; }) == post_result::accepted;
    }
    shared->leave();
  });
  w.thread([shared] {
    (*shared)->accounts.close();
    (*shared)->accounts.drain();
    const auto late = (*shared)->accounts.post(1, [] { testing::check(false, "closed"); });
    testing::check(late == post_result::closed, "refused");
    shared->leave();
  });
  w.finally([&] {
    testing::check(accepted == ran, "what was accepted ran");
    w.outcome(ran);
  });
}

// Both drain: of the key, of all.
void drains(world& w, bool one_key) {
  auto* const shared = used_by<book>::make(2);
  for (int t = 0; t < 2; ++t) {
    w.thread([shared, t, one_key] {
      bool done = false;
      static_cast<void>((*shared)->accounts.post(1, [&done] { done = true; }));
      if (t == 0 && one_key) (*shared)->accounts.drain(1);
      if (t == 0 && !one_key) (*shared)->accounts.drain();
      if (t == 1) (*shared)->accounts.run(1, [] {});
      testing::check(done, "what was accepted before has ended");
      shared->leave();
    });
  }
  w.finally([] {});
}

void raise(std::atomic<int>& flag) { flag.fetch_add(1, ar); }
void await(const std::atomic<int>& flag, int value) {
  while (flag.load(acq) < value) testing::spin_hint();
}

// Two keys share the places. Each task posts behind itself; `meet`: both before either is done.
void few_places(world& w, std::size_t places, bool meet) {
  auto* const accounts = new queue({}, {.total = places});
  std::atomic<int> tried{0};
  atomic<int> accepted{0};
  for (int key = 0; key < 2; ++key) {
    w.thread([&, accounts, key, meet] {
      accounts->run(key, [&, accounts, key, meet] {
        if (accounts->post(key, [] {}) == post_result::accepted) accepted.fetch_add(1, rlx);
        raise(tried);
        if (meet) await(tried, 2);
      });
    });
  }
  w.finally([&, accounts, places, meet] {
    const auto all = static_cast<std::size_t>(accepted.load(rlx));
    testing::check(!meet || all == places, "as many as there are places");
    accounts->run(0, [accounts, places] {
      for (std::size_t i = 0; i <= places; ++i) {
        const bool fits = accounts->post(0, [] {}) == post_result::accepted;
        testing::check(fits == (i < places), "all places are free again");
      }
    });
    delete accounts;
  });
}

// The place of a task is free when it begins.
void place_comes_back(world& w) {
  auto* const accounts = new queue({}, {.total = 1});
  std::atomic<int> busy{0}, posted{0}, begun{0}, posted_again{0};
  w.thread([&, accounts] {
    accounts->run(1, [&] {
      raise(busy);
      await(posted, 1);
    });
  });
  w.thread([&, accounts] {
    await(busy, 1);
    const auto first = accounts->post(1, [&] {
      raise(begun);
      await(posted_again, 1);
    });
    raise(posted);
    await(begun, 1);
    const auto second = accounts->post(1, [] {});
    raise(posted_again);
    testing::check(first == post_result::accepted && second == first, "both fit");
  });
  w.finally([accounts] { delete accounts; });
}

// Two keys may be at work when a third thread drains.
void drains_two_keys(world& w) {
  auto* const accounts = new queue;
  std::atomic<int> busy{0};
  for (int key = 0; key < 2; ++key) {
    w.thread([&, accounts, key] { accounts->run(key, [&busy] { raise(busy); await(busy, 3); }); });
  }
  w.thread([&, accounts] {
    await(busy, 2);
    raise(busy);
    accounts->drain();
  });
  w.finally([accounts] { delete accounts; });
}

void executed_elsewhere(world& w, int producers) {
  job_thread worker;
  queue_options how;
  how.executor = std::ref(worker);
  how.quantum = 1;
  auto* const b = new book(how);
  std::atomic<int> left{producers};
  for (int p = 0; p < producers; ++p) {
    w.thread([&, b, p, producers] {
      enter(*b, call::post, 1, p * 10);
      if (left.fetch_sub(1, ar) != 1) return;
      b->accounts.drain(1);
      testing::check(b->entries[1].size() == static_cast<std::size_t>(producers), "all have run");
      delete b;
      worker.stop();
    });
  }
  w.thread([&] { worker.work(); });
  w.finally([] {});
}

// A stop, or a cancel of the key, beside the runner: the task runs or it does not, and it is told.
void leaves_the_line(world& w, bool by_cancel) {
  auto* const accounts = new queue;
  auto* const left = new std::atomic<int>(2);
  auto* const stop = new support::stop_source;
  std::atomic<int> busy{0};
  bool ran = false;
  bool told = false;
  const auto leave = [accounts, left, stop] {
    if (left->fetch_sub(1, ar) != 1) return;
    delete accounts;
    delete left;
    delete stop;
  };
  w.thread([&, accounts, by_cancel, leave] {
    accounts->run(1, [&, accounts, by_cancel] {
      raise(busy);
      if (by_cancel) accounts->cancel_pending(1);
      if (!by_cancel) stop->request_stop();
    });
    leave();
  });
  w.thread([&, accounts, stop, leave] {
    await(busy, 1);
    const auto how = accounts->run(1, [&] { ran = true; }, stop->get_token());
    told = how.ran();
    leave();
  });
  w.finally([&] {
    testing::check(ran == told, "who waits knows whether it ran");
    w.outcome(ran ? 1 : 0);
  });
}

// A job of an executor takes what rests while the key is cancelled, and the queue goes.
void rests_and_is_cancelled(world& w, int tasks) {
  job_thread worker;
  queue_options how;
  how.executor = std::ref(worker);
  auto* const accounts = new queue(how);
  int ran = 0;
  w.thread([&, accounts, tasks] {
    for (int i = 0; i < tasks; ++i) static_cast<void>(accounts->post(1, [&ran] { ++ran; }));
    accounts->cancel_pending(1);
    delete accounts;
    worker.stop();
  });
  w.thread([&] { worker.work(); });
  w.finally([&] { w.outcome(ran); });
}

// What comes as the job goes home is seen by that job, or by who brings it; else nobody does it.
void comes_as_the_job_goes(world& w) {
  job_thread worker;
  queue_options how;
  how.executor = std::ref(worker);
  auto* const accounts = new queue(how);
  int ran = 0;
  static_cast<void>(accounts->post(1, [&ran] { ++ran; }));
  w.thread([&, accounts] {
    static_cast<void>(accounts->post(1, [&ran] { ++ran; }));
    delete accounts;  // waits until there is no key
    testing::check(ran == 2, "all have run");
    worker.stop();
  });
  w.thread([&] { worker.work(); });
  w.finally([] {});
}

// Two keys whose tasks wait for each other: nobody hangs, and who is told is inside of a circle.
void circle_of_keys(world& w) {
  using interlock::detail::lane_waits;
  // Of executions that were cut short something may be left.
  new (&lane_waits::instance()) lane_waits();
  auto* const accounts = new queue;
  atomic<int> told{0};
  for (int key = 0; key < 2; ++key) {
    w.thread([&told, accounts, key] {
      accounts->run(key, [&told, accounts, key] {
        try {
          accounts->run(1 - key, [] {});
        } catch (const std::system_error& e) {
          testing::check(e.code() == std::errc::resource_deadlock_would_occur, "a circle");
          told.fetch_add(1, rlx);
        }
      });
    });
  }
  w.finally([&, accounts] {
    testing::check(told.load(rlx) <= 1, "one of them");
    w.outcome(told.load(rlx));
    delete accounts;
  });
}

// A task in one key waits for a task of the other: no circle, whatever is on the list still.
void chain_of_keys(world& w) {
  using interlock::detail::lane_waits;
  new (&lane_waits::instance()) lane_waits();
  auto* const accounts = new queue;
  atomic<int> ran{0};
  for (int key = 0; key < 2; ++key) {
    w.thread([&ran, accounts, key] {
      const auto count = [&ran] { ran.fetch_add(1, rlx); };
      if (key == 1) accounts->run(1, count);
      if (key == 0) accounts->run(0, [&] { accounts->run(1, count); });
    });
  }
  w.finally([&ran, accounts] {
    testing::check(ran.load(rlx) == 2, "both, without an error");
    delete accounts;
  });
}

// ---- places, and tasks that end early -----------------------------------------------------------

// One place, which a task of the key has that another thread does.
void full_key(world& w, book& b, std::atomic<int>& busy) {
  w.thread([&b, &busy] {
    b.accounts.run(1, [&] {
      const auto posted = b.accounts.post(1, [&b] { b.entries[1].push_back(1); });
      testing::check(posted == post_result::accepted, "there was a place");
      raise(busy);
    });
  });
}
void check_ends(book& b, int expected) {
  b.accounts.drain();
  const auto all = b.accounts.stats();
  testing::check(static_cast<int>(b.entries[1].size()) == expected, "what was accepted has run");
  testing::check(all.accepted == all.completed + all.cancelled, "one end each");
}

queue_options one_place() {
  queue_options how;
  how.capacity = 1;
  return how;
}

// The place is given while the runner goes from one to the next. The queue goes right after.
void waits_for_a_place(world& w) {
  auto* const b = new book(one_place());
  auto* const busy = new std::atomic<int>(0);
  full_key(w, *b, *busy);
  w.thread([b, busy] {
    await(*busy, 1);
    const auto how = b->accounts.post_wait(1, [b] { b->entries[1].push_back(2); });
    testing::check(how == post_result::accepted, "there is a place in the end");
  });
  w.finally([b, busy] {
    check_ends(*b, 2);
    testing::check(b->entries[1] == std::vector<int>{1, 2}, "in order");
    delete b;
    delete busy;
  });
}

support::detached posts_to(book& b, post_result& told) {
  told = co_await b.accounts.async_post(1, [&b] { b.entries[1].push_back(2); });
}
support::detached posts_to(book& b, post_result& told, support::stop_source& stop) {
  told = co_await b.accounts.async_post(
      1, [&b] { b.entries[1].push_back(2); }, stop.get_token());
}

// A coroutine gets its place, or the end that its thread makes for it. `late`: another thread does
// that, and a third one waits for the place.
enum class beside { nothing, close, close_of_key, cancel, stop };
void place_beside(world& w, beside what, bool late) {
  auto* const b = new book(one_place());
  auto* const busy = new std::atomic<int>(0);
  auto* const stop = new support::stop_source;
  post_result how = post_result::full;
  full_key(w, *b, *busy);
  const auto end = [b, stop, what] {
    if (what == beside::close) b->accounts.close();
    if (what == beside::close_of_key) b->accounts.close(1);
    if (what == beside::cancel) b->accounts.cancel_pending(1);
    if (what == beside::stop) stop->request_stop();
  };
  w.thread([&how, b, busy, stop, what, late, end] {
    await(*busy, 1);
    if (late) {
      how = b->accounts.post_wait(1, [b] { b->entries[1].push_back(2); }, stop->get_token());
    } else if (what == beside::stop) {
      posts_to(*b, how, *stop);
    } else {
      posts_to(*b, how);
    }
    if (!late) end();
  });
  if (late) {
    w.thread([busy, end] {
      await(*busy, 1);
      end();
    });
  }
  w.finally([&w, &how, b, busy, stop, what] {
    const bool closes = what == beside::close || what == beside::close_of_key;
    const auto refusal = closes ? post_result::closed : post_result::cancelled;
    testing::check(how == post_result::accepted || how == refusal, "one of the two");
    const int accepted = how == post_result::accepted;
    const auto cancelled = static_cast<int>(b->accounts.stats().cancelled);
    check_ends(*b, 1 + accepted - cancelled);
    w.outcome(accepted, cancelled);
    testing::check(what == beside::cancel || cancelled == 0, "only by a cancel");
    delete b;
    delete busy;
    delete stop;
  });
}

// A stop of a queued task beside its turn, as the queue goes. Then its captures are gone as well.
void stopped_post(world& w) {
  auto* const b = new book(one_place());
  auto* const stop = new support::stop_source;
  auto* const left = new std::atomic<int>(2);
  std::atomic<int> busy{0}, queued{0};
  int captured = 0;
  struct leaving {
    explicit leaving(int* w) : where(w) {}
    leaving(leaving&& other) noexcept : where(std::exchange(other.where, nullptr)) {}
    ~leaving() {
      if (where != nullptr) ++*where;
    }
    int* where;
  };
  w.thread([&, b, stop, left] {
    b->accounts.run(1, [&] {
      raise(busy);
      await(queued, 1);
    });
    b->accounts.drain(1);
    testing::check(captured == 1, "its captures are destroyed");
    const auto all = b->accounts.stats();
    testing::check(all.cancelled + b->entries[1].size() == 1, "it ran or was stopped");
    delete b;
    if (left->fetch_sub(1, ar) == 1) delete stop, delete left;
  });
  w.thread([&, b, stop, left] {
    await(busy, 1);
    const auto said = b->accounts.post(
        1, [b, gone = leaving(&captured)] { b->entries[1].push_back(1); }, stop->get_token());
    testing::check(said == post_result::accepted, "there was a place");
    raise(queued);
    stop->request_stop();  // the queue may be going
    if (left->fetch_sub(1, ar) == 1) delete stop, delete left;
  });
  w.finally([] {});
}

// Two drain while captures are being destroyed.
void withdrawn_beside_drains(world& w) {
  struct shared_state {
    interlock::detail::withdrawals all;
    int destroyed = 0;
  };
  auto* const shared = new shared_state;
  shared->all.begin();
  w.thread([shared] {
    shared->destroyed = 1;
    shared->all.end();
  });
  for (int t = 0; t < 2; ++t) {
    w.thread([shared] {
      testing::check(shared->all.wait(nullptr), "without a deadline there is an end");
      testing::check(shared->destroyed == 1, "what was destroyed is seen");
    });
  }
  w.finally([shared] { delete shared; });
}

// ---- the crew alone -----------------------------------------------------------------------------

// An executor behind which one explored thread does jobs, or drops them.
class one_job {
public:
  using moves_what_it_runs = void;
  template <class Job>
  void execute(Job job) {
    // Callers need not know of each other: an update, since a load may see an idle of before.
    for (int seen = idle; !state_.compare_exchange_strong(seen, filling, acq, rlx); seen = idle) {
      testing::spin_hint();
    }
    if constexpr (std::is_same_v<Job, interlock::detail::moving_job>) job_.emplace(std::move(job));
    state_.store(waiting, rel);
  }
  void stop() { over_.store(true, rel); }
  // Effects: does `drops` of them no more than to destroy them, the first ones.
  void work(int drops) {
    for (;;) {
      const bool last_look = over_.load(acq);
      if (state_.load(acq) == waiting) {
        interlock::detail::moving_job job(std::move(*job_));
        job_.reset();
        state_.store(idle, rel);
        if (drops-- <= 0) job();
      } else if (last_look) {
        return;
      } else {
        testing::spin_hint();
      }
    }
  }

private:
  static constexpr int idle = 0, filling = 1, waiting = 2;
  std::optional<interlock::detail::moving_job> job_;
  std::atomic<int> state_{idle};
  std::atomic<bool> over_{false};
};

// What key_service does with the crew, on nothing but numbers.
class crew_user {
public:
  crew_user(one_job& to, bool searches)
      : searches_(searches),
        crew_(interlock::any_executor(to), 2, {&serve_all, &no_failure, this}) {}

  void bring(unsigned number) {
    key_crew::claim_result call = key_crew::claim_result::somebody_comes;
    {
      shard& home = shards_[number];
      const std::lock_guard lock(home.lock);
      ++home.at_rest;
      if (home.marked) return;
      home.marked = true;
      crew_.mark(number);
      call = crew_.claim();
      if (call == key_crew::claim_result::alone) crew_.pass_gate();
    }
    if (call == key_crew::claim_result::somebody_comes) return;
    if (call == key_crew::claim_result::ask && crew_.ask()) return;
    while (crew_.rests() != 0) serve();
    crew_.leave_gate();
  }
  // Effects: waits until so much is done. The last touch of the crew.
  void close(int all, bool works) {
    while (done_.load(acq) != all) testing::spin_hint();
    crew_.close_gate();
    testing::check(crew_.works() == works, "it works until a job is dropped");
  }

private:
  using key_crew = interlock::detail::key_crew;
  struct shard {
    interlock::detail::brief_lock lock;
    bool marked = false;
    int at_rest = 0;
  };

  void serve() noexcept {
    const std::uint64_t bits = crew_.rests();
    for (unsigned i = 0; i < shards_.size(); ++i) {
      if ((bits >> i & 1U) == 0) continue;
      const std::lock_guard lock(shards_[i].lock);
      done_.fetch_add(std::exchange(shards_[i].at_rest, 0), rel);
      if (std::exchange(shards_[i].marked, false)) crew_.clear(i);
    }
  }
  static void serve_all(void* self) noexcept {
    auto& user = *static_cast<crew_user*>(self);
    do {
      user.serve();
    } while (user.searches_ && user.search());
  }
  bool search() noexcept {
    if (!crew_.begin_search()) return false;
    crew_.end_search();
    return crew_.rests() != 0;
  }
  static void no_failure(void*) noexcept {}

  const bool searches_;
  std::array<shard, 2> shards_;
  std::atomic<int> done_{0};
  key_crew crew_;
};

// Each thread brings work to its shards; one more piece may lie there before.
void crew(world& w, std::vector<std::vector<unsigned>> bring, bool before, bool searches,
          int drops) {
  one_job jobs;
  auto* const user = new crew_user(jobs, searches);
  int all = before;
  if (before) user->bring(0);
  std::atomic<int> left{static_cast<int>(bring.size())};
  for (const auto& shards : bring) all += static_cast<int>(shards.size());
  for (const auto& shards : bring) {
    w.thread([&, user, shards, all, drops] {
      for (const unsigned each : shards) user->bring(each);
      if (left.fetch_sub(1, ar) != 1) return;
      user->close(all, drops == 0);
      delete user;
      jobs.stop();
    });
  }
  w.thread([&, drops] { jobs.work(drops); });
  w.finally([] {});
}

void comes_to_a_job_that_goes(world& w) { crew(w, {{0}}, true, false, 0); }
void comes_to_a_job_that_searches(world& w) { crew(w, {{0}}, true, true, 0); }
void comes_as_a_job_is_dropped(world& w) { crew(w, {{0}}, true, false, 1); }
void comes_to_another_shard(world& w) { crew(w, {{1}}, true, false, 0); }
void come_at_two_shards(world& w) { crew(w, {{0}, {1}}, false, false, 0); }

// ---- what others do -----------------------------------------------------------------------------

// Finds the lane of a key, lets go of the table, and uses the lane.
void erased_while_another_has_a_pointer(world& w) {
  struct lane {
    int tasks = 1;
  };
  auto* table = new lane;
  std::atomic<int> locked{0};
  const auto with_lock = [&](auto f) {
    for (int seen = 0; !locked.compare_exchange_strong(seen, 1, acq, rlx); seen = 0) {
      testing::spin_hint();
    }
    f();
    locked.store(0, rel);
  };
  w.thread([&, with_lock] {
    lane* found = nullptr;
    with_lock([&] { found = table; });
    if (found != nullptr) ++found->tasks;  // the mistake: the lane may be gone
  });
  w.thread([&, with_lock] {
    lane* gone = nullptr;
    with_lock([&] { gone = std::exchange(table, nullptr); });
    delete gone;
  });
  w.finally([] {});
}

// Looks whether the key is busy, and marks it after that.
void two_runners_for_a_key(world& w) {
  std::atomic<bool> busy{false};
  int balance = 0;
  for (int t = 0; t < 2; ++t) {
    w.thread([&] {
      if (busy.load(acq)) return;
      busy.store(true, rlx);
      ++balance;
      busy.store(false, rel);
    });
  }
  w.finally([] {});
}

constexpr producer posts{call::post, 1};
constexpr producer runs{call::run, 1};
constexpr producer posts_other{call::post, 0};

std::string ends_of(beside what, bool late) {
  return joined(seen(proved([=](world& w) { place_beside(w, what, late); }, whole_waits())));
}

}  // namespace

TEST_CASE("keyed_serial_queue: no two tasks of a key run at once, in order, none lost") {
  proved([](world& w) { producers(w, {posts, posts}, 1); }, whole_waits());
  proved([](world& w) { producers(w, {runs, runs}, 1); }, whole_waits());
  proved([](world& w) { producers(w, {posts, runs}, 1); }, whole_waits());
}

TEST_CASE("keyed_serial_queue: two keys side by side") {
  proved([](world& w) { producers(w, {posts, posts_other}, 2); }, whole_waits());
}

TEST_CASE("keyed_serial_queue: two calls each", "[.deep]") {
  proved([](world& w) { producers(w, {posts, posts}, 2); }, whole_waits());
}

TEST_CASE("keyed_serial_queue: two calls of run each", "[.deep]") {
  proved([](world& w) { producers(w, {runs, runs}, 2); }, whole_waits());
}

TEST_CASE("keyed_serial_queue: three threads", "[.deep]") {
  proved([](world& w) { producers(w, {posts, runs, posts_other}, 1); }, whole_waits());
  proved([](world& w) { producers(w, {runs, runs, runs}, 1); }, whole_waits());
  proved([](world& w) { producers(w, {posts, posts, posts}, 1); }, whole_waits());
}

TEST_CASE("keyed_serial_queue: four threads", "[.deep]") {
  proved([](world& w) { producers(w, {posts, runs, posts, runs}, 1); }, whole_waits());
}

TEST_CASE("keyed_serial_queue: what a task throws reaches the caller of run") {
  proved(failures, whole_waits());
}

TEST_CASE("keyed_serial_queue: it may be destroyed while the runner is still inside its call") {
  proved(destroyed_beside_the_runner, whole_waits());
}

TEST_CASE("keyed_serial_queue: nothing is accepted after close, and what was accepted runs") {
  CHECK(joined(seen(proved(closes, whole_waits()))) == "0, 1, 2");
}

TEST_CASE("keyed_serial_queue: drain waits for what was accepted before") {
  proved([](world& w) { drains(w, true); }, whole_waits());
  proved([](world& w) { drains(w, false); }, whole_waits());
}

TEST_CASE("keyed_serial_queue: drain waits for two keys") {
  proved(drains_two_keys, whole_waits());
}

TEST_CASE("keyed_serial_queue: all keys share the places") {
  proved([](world& w) { few_places(w, 1, true); }, whole_waits());
  proved([](world& w) { few_places(w, 2, false); }, whole_waits());
  proved(place_comes_back, whole_waits());
}

TEST_CASE("keyed_serial_queue: an executor does the work") {
  proved([](world& w) { executed_elsewhere(w, 1); }, whole_waits());
}

TEST_CASE("keyed_serial_queue: a stop or a cancel beside the runner has one outcome") {
  CHECK(joined(seen(proved([](world& w) { leaves_the_line(w, true); }, whole_waits()))) == "0, 1");
  CHECK(joined(seen(proved([](world& w) { leaves_the_line(w, false); }, whole_waits()))) ==
        "0, 1");
}

TEST_CASE("keyed_serial_queue: what rests is taken once or cancelled") {
  const auto one = [](world& w) { rests_and_is_cancelled(w, 1); };
  CHECK(joined(seen(proved(one, whole_waits()))) == "0, 1");
}

TEST_CASE("keyed_serial_queue: what comes as the job goes home is done", "[.deep]") {
  proved(comes_as_the_job_goes, whole_waits());
}

TEST_CASE("keyed_serial_queue: a job that goes, searches or is dropped leaves no work behind") {
  proved(comes_to_a_job_that_goes, whole_waits());
  proved(comes_to_a_job_that_searches, whole_waits());
  proved(comes_as_a_job_is_dropped, whole_waits());
  proved(comes_to_another_shard, whole_waits());
}

TEST_CASE("keyed_serial_queue: a circle of keys is told to one, and where there is none nobody") {
  CHECK(joined(seen(proved(circle_of_keys, whole_waits()))) == "0, 1");
  proved(chain_of_keys, whole_waits());
}

TEST_CASE("keyed_serial_queue: who waits for a place gets it, a thread or a coroutine") {
  proved(waits_for_a_place, whole_waits());
  CHECK(ends_of(beside::nothing, false) == "1 0");
}

TEST_CASE("keyed_serial_queue: a wait for a place beside an end has one outcome") {
  CHECK(ends_of(beside::close, false) == "0 0, 1 0");
  CHECK(ends_of(beside::close_of_key, false) == "0 0, 1 0");
  CHECK(ends_of(beside::stop, false) == "0 0, 1 0");
  CHECK(ends_of(beside::cancel, false) == "1 0, 1 1");
}

TEST_CASE("keyed_serial_queue: threads wait for a place beside an end", "[.deep]") {
  for (const beside what : {beside::close, beside::close_of_key, beside::stop}) {
    CHECK(ends_of(what, true) == "0 0, 1 0");
  }
  CHECK(ends_of(beside::cancel, true) == "1 0, 1 1");
}

TEST_CASE("keyed_serial_queue: a task is stopped or runs, and its captures go before the queue") {
  proved(stopped_post, whole_waits());
  proved(withdrawn_beside_drains);
}

TEST_CASE("keyed_serial_queue: of two who find nobody on the way one asks", "[.deep]") {
  proved(come_at_two_shards, whole_waits());
}

TEST_CASE("keyed_serial_queue: two that rest are taken once or cancelled", "[.deep]") {
  const auto two = [](world& w) { rests_and_is_cancelled(w, 2); };
  CHECK(joined(seen(proved(two, whole_waits()))) == "0, 1, 2");
}

TEST_CASE("keyed_serial_queue: a second runner for a key is found") { failing(two_runners_for_a_key); }

TEST_CASE("keyed_serial_queue: a lane that is erased while another has a pointer is found") {
  failing(erased_while_another_has_a_pointer);
}

TEST_CASE("keyed_serial_queue: mutants", "[.mutants]") {
  testing::mutation_options how;
  how.how = whole_waits();
  mutants({failures, destroyed_beside_the_runner, [](world& w) { drains(w, false); },
           [](world& w) { few_places(w, 1, true); }, [](world& w) { few_places(w, 2, false); },
           place_comes_back, drains_two_keys, [](world& w) { rests_and_is_cancelled(w, 1); },
           [](world& w) { leaves_the_line(w, false); }, stopped_post, waits_for_a_place,
           [](world& w) { executed_elsewhere(w, 1); }, comes_to_a_job_that_goes,
           comes_to_a_job_that_searches, comes_as_a_job_is_dropped, comes_to_another_shard},
          how);
  mutants({withdrawn_beside_drains});
}
