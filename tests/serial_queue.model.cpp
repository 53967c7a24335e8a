// SPDX-License-Identifier: BSL-1.0
// serial_queue in every execution: one task at a time, in order, none lost, results to who asked.
//
// The queue's own worker is a std::thread, which the explorer has not: what the worker serves is
// served here by the callers, or by an explored thread behind an executor.

#include "testing/front.hpp"

#include <interlock/serial_queue.hpp>
#include <interlock/task.hpp>

#include <atomic>
#include <chrono>
#include <coroutine>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

#include "support/detached.hpp"
#include "support/stopping.hpp"
#include "testing/ferry.hpp"
#include "testing/job_thread.hpp"
#include "testing/last_user.hpp"

using interlock::post_result;
using interlock::queue_options;
using interlock::serial_queue;
using interlock::sync_wait;
using interlock::task;
using interlock::when_full;
using testing::world;

namespace {

struct broken {};

void raise(std::atomic<int>& flag) { flag.fetch_add(1, ar); }
void await(const std::atomic<int>& flag, int value) {
  while (flag.load(acq) < value) testing::spin_hint();
}

// Of executions that were cut short something may be left.
struct fresh_waits {
  fresh_waits() {
    using interlock::detail::lane_waits;
    new (&lane_waits::instance()) lane_waits();
  }
};

// What looks before it queues is taken for a wait without end by options::whole_waits.
queue_options strictly(queue_options how) {
  how.strict = true;
  return how;
}

struct book : fresh_waits {
  explicit book(queue_options how = {}, bool strict = true)
      : queue(strict ? strictly(std::move(how)) : std::move(how)) {
    entries.reserve(8);
  }
  std::vector<int> entries;  // plain: a race if two tasks run at once
  serial_queue queue;        // last: its destructor runs tasks
};
using shared_book = used_by<book>;

// Entries of producer p are 10 p, 10 p + 1, ...
bool each_in_order(const std::vector<int>& entries) {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    for (std::size_t k = i + 1; k < entries.size(); ++k) {
      if (entries[i] / 10 == entries[k] / 10 && entries[i] >= entries[k]) return false;
    }
  }
  return true;
}

enum class call { post, run, submit };

void enter(book& b, call how, int entry) {
  const auto write = [&b, entry] {
    b.entries.push_back(entry);
    return entry;
  };
  if (how == call::post) {
    testing::check(b.queue.post(write) == post_result::accepted, "accepted");
  } else if (how == call::run) {
    testing::check(b.queue.run(write) == entry, "its own result");
  } else {
    testing::check(sync_wait(b.queue.submit(write)) == entry, "its own result");
  }
}

// Each thread has tasks done. Whoever is last destroys the queue.
void producers(world& w, std::vector<call> hows, int rounds) {
  auto* const shared = shared_book::make(static_cast<int>(hows.size()));
  const std::size_t all = hows.size() * static_cast<std::size_t>(rounds);
  int complete = 0;
  for (std::size_t p = 0; p < hows.size(); ++p) {
    w.thread([&complete, shared, p, all, rounds, how = hows[p]] {
      for (int i = 0; i < rounds; ++i) enter(**shared, how, static_cast<int>(p) * 10 + i);
      // In the line behind all that is known to have been queued.
      (*shared)->queue.run([&] {
        testing::check(each_in_order((*shared)->entries), "in the order of each producer");
        complete += (*shared)->entries.size() == all;
      });
      shared->leave();
    });
  }
  w.finally([&] { testing::check(complete >= 1, "no task is lost"); });
}

// The body looks and destroys: smaller.
void plain_producers(world& w, std::vector<call> hows, int rounds, bool strict = true) {
  auto* const b = new book({}, strict);
  for (std::size_t p = 0; p < hows.size(); ++p) {
    w.thread([b, p, rounds, how = hows[p]] {
      for (int i = 0; i < rounds; ++i) enter(*b, how, static_cast<int>(p) * 10 + i);
    });
  }
  w.finally([b, all = hows.size() * static_cast<std::size_t>(rounds)] {
    b->queue.drain();
    testing::check(b->entries.size() == all, "every task has run once");
    testing::check(each_in_order(b->entries), "in the order of each producer");
    const auto said = b->queue.stats();
    testing::check(said.accepted == all && said.completed == all, "and was counted");
    delete b;
  });
}

// A task throws on its way to another thread's runner.
void failures(world& w, bool submitted) {
  auto* const shared = shared_book::make(2);
  for (int t = 0; t < 2; ++t) {
    w.thread([shared, t, submitted] {
      bool thrown = false;
      const auto f = [shared, t] {
        (*shared)->entries.push_back(t);
        if (t == 0) throw broken();
      };
      try {
        if (submitted) {
          sync_wait((*shared)->queue.submit(f));
        } else {
          (*shared)->queue.run(f);
        }
      } catch (const broken&) {
        thrown = true;
      }
      testing::check(thrown == (t == 0), "an exception reaches its caller and nobody else");
      shared->leave();
    });
  }
  w.finally([] {});
}

// Posted failures go to on_error.
void posted_failures(world& w) {
  int errors = 0;  // plain: told by one runner at a time
  queue_options how;
  how.on_error = [&errors](const std::exception_ptr&) { ++errors; };
  auto* const shared = shared_book::make(2, std::move(how));
  for (int t = 0; t < 2; ++t) {
    w.thread([shared] {
      static_cast<void>((*shared)->queue.post([] { throw broken(); }));
      shared->leave();
    });
  }
  w.finally([&] { testing::check(errors == 2, "each failure is told"); });
}

// close() beside post() and run(): what was accepted runs, nothing else.
void closes(world& w, call how) {
  auto* const shared = shared_book::make(2);
  int accepted = 0;
  int ran = 0;
  w.thread([&, shared, how] {
    for (int i = 0; i < 2; ++i) {
      if (how == call::post) {
        accepted += (*shared)->queue.post([&ran] { ++ran; }) == post_result::accepted;
        continue;
      }
      try {
        (*shared)->queue.run([&ran] { ++ran; });
        ++accepted;
      } catch (const std::system_error& error) {
        testing::check(error.code() == std::errc::broken_pipe, "closed");
      }
    }
    shared->leave();
  });
  w.thread([shared] {
    (*shared)->queue.run([] {});
    (*shared)->queue.close();
    const auto late = (*shared)->queue.post([] { testing::check(false, "nothing after close"); });
    testing::check(late == post_result::closed, "refused");
    shared->leave();
  });
  w.finally([&] {
    testing::check(accepted == ran, "what was accepted ran");
    w.outcome(ran);
  });
}

// Who knows of close() sees it.
void knows_of_close(world& w) {
  auto* const b = new book;
  std::atomic<int> closed{0};
  w.thread([&, b] {
    b->queue.close();
    raise(closed);
  });
  w.thread([&, b] {
    const bool posted = b->queue.post([] {}) == post_result::accepted;
    w.outcome(posted);
    await(closed, 1);
    testing::check(b->queue.closed(), "it is closed");
  });
  w.finally([b] { delete b; });
}

// The destructor runs while the thread that does the work is still inside its call.
void destroyed_beside_the_runner(world& w, bool posts) {
  auto* const b = new book;
  std::atomic<bool> begun{false};
  int ran = 0;
  w.thread([&, b, posts] {
    const auto first = [&] { begun.store(true, rel); };
    if (posts) {
      static_cast<void>(b->queue.post(first));
    } else {
      b->queue.run(first);
    }
  });
  w.thread([&, b] {
    while (!begun.load(acq)) testing::spin_hint();
    static_cast<void>(b->queue.post([&ran] { ++ran; }));
    delete b;
    testing::check(ran == 1, "the destructor waits for what was accepted");
  });
  w.finally([] {});
}

// drain() beside other producers.
void drains(world& w) {
  auto* const shared = shared_book::make(2);
  for (int t = 0; t < 2; ++t) {
    w.thread([shared, t] {
      if (t == 0) {
        bool done = false;
        static_cast<void>((*shared)->queue.post([&done] { done = true; }));
        (*shared)->queue.drain();
        testing::check(done, "what was accepted before has ended");
      } else {
        static_cast<void>((*shared)->queue.post([] {}));
      }
      shared->leave();
    });
  }
  w.finally([] {});
}

// cancel_pending() beside tasks: each runs or ends as cancelled.
void cancels(world& w) {
  auto* const b = new book;
  int ran = 0;
  int cancelled = 0;
  w.thread([&, b] {
    for (int i = 0; i < 2; ++i) static_cast<void>(b->queue.post([&ran] { ++ran; }));
  });
  w.thread([&, b] {
    b->queue.cancel_pending();
    try {
      b->queue.run([&ran] { ++ran; });
    } catch (const std::system_error& error) {
      testing::check(error.code() == std::errc::operation_canceled, "cancelled");
      ++cancelled;
    }
  });
  w.finally([&, b] {
    b->queue.drain();
    const auto said = b->queue.stats();
    testing::check(said.completed == static_cast<unsigned>(ran), "what ran");
    testing::check(said.accepted == 3 && said.completed + said.cancelled == 3, "each one ended");
    testing::check(cancelled == 0, "who comes after it is not cancelled");
    delete b;
  });
}

// try_run does not wait.
void tries(world& w) {
  auto* const shared = shared_book::make(2);
  int ran = 0;
  for (int t = 0; t < 2; ++t) {
    w.thread([&, shared] {
      const bool did = (*shared)->queue.try_run([&ran] { ++ran; });
      if (!did) (*shared)->queue.run([&ran] { ++ran; });
      shared->leave();
    });
  }
  w.finally([&] { testing::check(ran == 2, "tried, or waited"); });
}

// A queue with few places in line: what does not fit is refused, or its poster waits.
void few_places(world& w, std::size_t places, when_full full) {
  queue_options how;
  how.capacity = places;
  how.full = full;
  auto* const b = new book(how);
  int ran = 0;
  atomic<int> accepted{0};
  for (int t = 0; t < 3; ++t) {
    w.thread([&, b] {
      const auto said = b->queue.post([&ran] { ++ran; });
      testing::check(said != post_result::closed, "it is open");
      if (said == post_result::accepted) accepted.fetch_add(1, rlx);
    });
  }
  w.finally([&, b, full] {
    b->queue.drain();
    testing::check(ran == accepted.load(rlx), "what was accepted ran");
    testing::check(full == when_full::reject || ran == 3, "who waits is not refused");
    w.outcome(ran);
    delete b;
  });
}

// Two posters, one place, and a runner that is busy until both have tried.
void last_place(world& w) {
  queue_options how;
  how.capacity = 1;
  auto* const b = new book(how);
  std::atomic<int> busy{0}, tried{0};
  atomic<int> accepted{0};
  w.thread([&, b] {
    b->queue.run([&] {
      raise(busy);
      await(tried, 2);
    });
  });
  for (int t = 0; t < 2; ++t) {
    w.thread([&, b] {
      await(busy, 1);
      if (b->queue.post([] {}) == post_result::accepted) accepted.fetch_add(1, rlx);
      raise(tried);
    });
  }
  w.finally([&, b] {
    testing::check(accepted.load(rlx) == 1, "one place, one task");
    delete b;
  });
}

// The place of a task is free when it begins.
void place_comes_back(world& w) {
  queue_options how;
  how.capacity = 1;
  auto* const b = new book(how);
  std::atomic<int> busy{0}, posted{0}, begun{0}, posted_again{0};
  w.thread([&, b] {
    b->queue.run([&] {
      raise(busy);
      await(posted, 1);
    });
  });
  w.thread([&, b] {
    await(busy, 1);
    const auto first = b->queue.post([&] {
      raise(begun);
      await(posted_again, 1);
    });
    raise(posted);
    await(begun, 1);
    const auto second = b->queue.post([] {});
    raise(posted_again);
    testing::check(first == post_result::accepted && second == first, "both fit");
  });
  w.finally([b] { delete b; });
}

// A place is taken while another one comes back.
void places_come_and_go(world& w) {
  queue_options how;
  how.capacity = 2;
  auto* const b = new book(how);
  w.thread([b] { b->queue.run([b] { static_cast<void>(b->queue.post([] {})); }); });
  w.thread([b] { static_cast<void>(b->queue.post([] {})); });
  w.finally([b] {
    b->queue.run([b] {
      for (int i = 0; i < 3; ++i) {
        const bool fits = b->queue.post([] {}) == post_result::accepted;
        testing::check(fits == (i < 2), "all places are free again");
      }
    });
    delete b;
  });
}

// The runner queues, another thread cancels, the runner may queue again.
void cancels_exactly(world& w, bool queues_again) {
  auto* const b = new book;
  std::atomic<int> queued{0}, cancelled{0};
  w.thread([&, b, queues_again] {
    int ran = 0;
    b->queue.run([&, b, queues_again] {
      static_cast<void>(b->queue.post([&, b, queues_again] {
        static_cast<void>(b->queue.post([&ran] { ran += 10; }));
        raise(queued);
        await(cancelled, 1);
        if (queues_again) static_cast<void>(b->queue.post([&ran] { ++ran; }));
      }));
    });
    testing::check(ran == (queues_again ? 1 : 0), "what was queued before, and nothing after");
  });
  w.thread([&, b] {
    await(queued, 1);
    b->queue.cancel_pending();
    raise(cancelled);
  });
  w.finally([b] { delete b; });
}

// Two cancel. What one of them has queued between two cancellations of its own does not run.
void two_cancel(world& w) {
  auto* const b = new book;
  w.thread([b] {
    b->queue.run([b] {
      b->queue.cancel_pending();
      const auto posted = b->queue.post([] { testing::check(false, "it was cancelled"); });
      testing::check(posted == post_result::accepted, "accepted");
      b->queue.cancel_pending();
    });
  });
  w.thread([b] { b->queue.cancel_pending(); });
  w.finally([b] { delete b; });
}

// A submitted coroutine suspends inside the queue: nothing else starts before it has ended.
struct trip : fresh_waits {
  explicit trip(queue_options how = {}) : queue(strictly(std::move(how))) {}
  serial_queue queue;
  ferry over;
  int inside = 0;
};

task<int> crosses(trip& t, bool throws) {
  ferry& over = t.over;
  ++t.inside;
  co_await over;
  testing::check(t.inside == 1, "nothing has started meanwhile");
  --t.inside;
  if (throws) throw broken();
  co_return 5;
}

void suspends_inside(world& w, bool throws) {
  auto* const shared = used_by<trip>::make(2);
  w.thread([shared, throws] {
    trip& t = **shared;
    bool thrown = false;
    try {
      const int result = sync_wait(t.queue.submit([&t, throws] { return crosses(t, throws); }));
      testing::check(result == 5, "the result of the awaited");
    } catch (const broken&) {
      thrown = true;
    }
    testing::check(thrown == throws, "the exception of the awaited");
    shared->leave();
  });
  w.thread([shared] {
    trip& t = **shared;
    static_cast<void>(t.queue.post([&t] { testing::check(++t.inside == 1, "alone"); --t.inside; }));
    t.over.carry();
    shared->leave();
  });
  w.finally([] {});
}

struct passage {  // a value: GCC 12 copies what a function gives by reference to co_await
  ferry& over;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) const noexcept { over.await_suspend(self); }
  void await_resume() const noexcept {}
};

// What is submitted is itself something that another thread ends, perhaps before it has begun to
// wait for it.
void suspends_directly(world& w) {
  auto* const shared = used_by<trip>::make(2);
  w.thread([shared] {
    trip& t = **shared;
    sync_wait(t.queue.submit([&t] { return passage{t.over}; }));
    testing::check(t.inside == 1, "what came before its end is visible");
    shared->leave();
  });
  w.thread([shared] {
    trip& t = **shared;
    t.inside = 1;
    t.over.carry();
    shared->leave();
  });
  w.finally([] {});
}

// The role of runner goes to a thread that waits, from there perhaps to a coroutine, and comes back.
support::detached submits(trip& t, int& done) {
  co_await t.queue.submit([&t] { return passage{t.over}; });
  ++done;
}

void role_comes_back(world& w, bool to_coroutine) {
  queue_options how;
  how.quantum = 1;
  auto* const t = new trip(how);
  std::atomic<int> busy{0}, queued{0};
  int done = 0;
  w.thread([&, t, to_coroutine] {
    t->queue.run([&] {
      raise(busy);
      await(queued, 1);
    });
    if (to_coroutine) t->over.carry();
  });
  w.thread([&, t, to_coroutine] {
    await(busy, 1);
    static_cast<void>(t->queue.post([&done] { ++done; }));
    if (to_coroutine) {
      submits(*t, done);
    } else {
      static_cast<void>(t->queue.post([&done] { ++done; }));
    }
    raise(queued);
    t->queue.run([] {});
  });
  w.finally([&, t] {
    t->queue.drain();
    testing::check(done == 2, "all is done");
    delete t;
  });
}

// ---- with an executor ---------------------------------------------------------------------------

void executed_elsewhere(world& w, call how, int producers) {
  job_thread worker;
  queue_options options;
  options.executor = std::ref(worker);
  options.quantum = 1;
  auto* const b = new book(options);
  std::atomic<int> left{producers};
  for (int p = 0; p < producers; ++p) {
    w.thread([&, b, how, p, producers] {
      enter(*b, how, p * 10);
      if (left.fetch_sub(1, ar) != 1) return;
      b->queue.drain();
      testing::check(b->entries.size() == static_cast<std::size_t>(producers), "all have run");
      delete b;
      worker.stop();
    });
  }
  w.thread([&] { worker.work(); });
  w.finally([] {});
}

// The executor refuses: the thread that asked does the work.
void executor_throws(world& w) {
  int told = 0;
  queue_options how;
  how.executor = [](const std::function<void()>&) { throw broken(); };
  how.on_error = [&told](const std::exception_ptr&) { ++told; };
  auto* const shared = shared_book::make(2, std::move(how));
  int ran = 0;
  for (int t = 0; t < 2; ++t) {
    w.thread([&, shared] {
      static_cast<void>((*shared)->queue.post([&ran] { ++ran; }));
      shared->leave();
    });
  }
  w.finally([&] { testing::check(ran == 2 && told >= 1, "done here, and told"); });
}

// ---- who may leave before its turn --------------------------------------------------------------

// A coroutine that one thread submits and another one stops, beside a third task in line.
support::detached submits_until(book& b, support::stop_source& stop, int entry, int& told) {
  const auto got =
      co_await b.queue.submit([&b, entry] { b.entries.push_back(entry); }, stop.get_token());
  testing::check(got.ran() || got.status() == interlock::wait_status::cancelled, "ran or stopped");
  told += got.ran() ? 1 : 10;
}

// Cancel racing run: exactly one of the two happens, and the queue may go right after.
void stop_beside_the_runner(world& w) {
  auto* const b = new book;
  support::stop_source stop;
  int told = 0;
  w.thread([b] { static_cast<void>(b->queue.post([b] { b->entries.push_back(0); })); });
  w.thread([&, b] { submits_until(*b, stop, 1, told); });
  w.thread([&] { stop.request_stop(); });
  w.finally([&, b] {
    b->queue.drain();
    testing::check(told == 1 || told == 10, "told once");
    testing::check(b->entries.size() == (told == 1 ? 2U : 1U), "and so it was");
    const auto all = b->queue.stats();
    testing::check(all.accepted == all.completed + all.cancelled, "and counted");
    w.outcome(told);
    delete b;
  });
}

// In line for certain: the runner is busy until it has been queued.
void stop_in_the_line(world& w) {
  auto* const b = new book;
  support::stop_source stop;
  std::atomic<int> busy{0}, queued{0};
  int told = 0;
  w.thread([&, b] {
    b->queue.run([&] {
      raise(busy);
      await(queued, 1);
    });
  });
  w.thread([&, b] {
    await(busy, 1);
    static_cast<void>(b->queue.post([b] { b->entries.push_back(0); }));
    submits_until(*b, stop, 1, told);
    static_cast<void>(b->queue.post([b] { b->entries.push_back(2); }));
    raise(queued);
    stop.request_stop();
  });
  w.finally([&, b] {
    b->queue.drain();
    const std::vector<int> all = told == 1 ? std::vector{0, 1, 2} : std::vector{0, 2};
    testing::check(b->entries == all, "in the order of the line");
    w.outcome(told);
    delete b;
  });
}

// A thread that leaves at its deadline.
void late_thread(world& w) {
  auto* const b = new book;
  w.thread([b] { b->queue.run([b] { b->entries.push_back(0); }); });
  w.thread([&, b] {
    const auto soon = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
    const bool ran = b->queue.run_until(soon, [b] { b->entries.push_back(1); }).ran();
    w.outcome(ran);
  });
  w.finally([b] {
    b->queue.drain();
    const auto all = b->queue.stats();
    testing::check(all.completed == b->entries.size(), "what ran");
    testing::check(all.cancelled + all.completed == 2, "sums");
    delete b;
  });
}

// A posted task that is stopped gives its place back, also as the queue goes.
void stopped_post(world& w) {
  queue_options how;
  how.capacity = 1;
  auto* const b = new book(how);
  support::stop_source stop;
  std::atomic<int> busy{0}, queued{0};
  w.thread([&, b] {
    b->queue.run([&] {
      raise(busy);
      await(queued, 1);
    });
    delete b;
  });
  w.thread([&, b] {
    await(busy, 1);
    const auto said = b->queue.post([b] { b->entries.push_back(1); }, stop.get_token());
    testing::check(said == post_result::accepted, "there was a place");
    raise(queued);
    stop.request_stop();  // the queue may be going
  });
  w.finally([] {});
}

// Two posters and one droppable task in line.
void drops(world& w) {
  queue_options how;
  how.capacity = 1;
  how.full = when_full::drop_oldest;
  auto* const b = new book(how);
  std::atomic<int> busy{0}, queued{0};
  int accepted = 1;
  w.thread([&, b] {
    b->queue.run([&] {
      raise(busy);
      await(queued, 1);
    });
  });
  w.thread([&, b] {
    await(busy, 1);
    const auto first = b->queue.post_droppable([b] { b->entries.push_back(1); });
    raise(queued);
    const auto second = b->queue.post([b] { b->entries.push_back(2); });
    testing::check(first == post_result::accepted, "there was a place");
    accepted += second == post_result::accepted;  // not between the first one's turn and its begin
  });
  w.finally([&, b] {
    b->queue.drain();
    const auto all = b->queue.stats();
    const auto dropped = static_cast<int>(all.dropped);
    testing::check(static_cast<int>(b->entries.size()) == accepted - dropped, "each has one end");
    testing::check(accepted == 2 || dropped == 0, "nothing is dropped for nothing");
    w.outcome(accepted, dropped);
    delete b;
  });
}

// ---- who waits for room -------------------------------------------------------------------------

void waits_for_room(world& w) {
  queue_options how;
  how.capacity = 1;
  auto* const b = new book(how);
  int ran = 0;
  for (int t = 0; t < 2; ++t) {
    w.thread([&, b] {
      const auto said = b->queue.post_wait([&ran] { ++ran; });
      testing::check(said == post_result::accepted, "there is room in the end");
    });
  }
  w.finally([&, b] {
    b->queue.drain();
    testing::check(ran == 2, "all have run");
    delete b;
  });
}

void close_ends_the_wait_for_room(world& w) {
  queue_options how;
  how.capacity = 1;
  auto* const b = new book(how);
  std::atomic<int> busy{0}, refused{0};
  w.thread([&, b] {
    b->queue.run([&, b] {
      static_cast<void>(b->queue.post([] {}));
      raise(busy);
      b->queue.close();
      await(refused, 1);
    });
  });
  w.thread([&, b] {
    await(busy, 1);
    testing::check(b->queue.post_wait([] {}) == post_result::closed, "closed");
    raise(refused);
  });
  w.finally([b] { delete b; });
}

// ---- the queue's own thread, and the offer ------------------------------------------------------

// What serial_queue::work() does, by an explored thread: serves, and watches for more.
class watched_lane : fresh_waits {
public:
  watched_lane() : lane_(strictly({})) {
    lane_.use([this](auto&&) { raise(calls_); });
  }
  interlock::detail::queue_lane& operator*() { return lane_; }
  void work() {
    int served = 0;
    for (;;) {
      const int calls = calls_.load(acq);
      if (calls < 0) return;
      if (calls > served) {
        served = calls;
        lane_.serve_and_watch();
      } else {
        testing::spin_hint();
      }
    }
  }
  void end() {
    lane_.close();
    lane_.drain();
    calls_.store(-1, rel);
  }

private:
  interlock::detail::queue_lane lane_;
  std::atomic<int> calls_{0};
};

void watches(world& w, bool runs) {
  watched_lane own;
  int ran = 0;
  w.thread([&] { own.work(); });
  w.thread([&, runs] {
    for (int i = 0; i < 2; ++i) {
      if (runs && i == 1) {
        (*own).run([&ran] { ++ran; });
      } else {
        static_cast<void>((*own).post([&ran] { ++ran; }));
      }
    }
    own.end();
  });
  w.finally([&] { testing::check(ran == 2, "all is done"); });
}

// One runs, which may take the queue from the thread that watches it, and another one posts.
void watches_two(world& w) {
  watched_lane own;
  int ran = 0;
  std::atomic<int> left{2};
  const auto end = [&] {
    if (left.fetch_sub(1, ar) == 1) own.end();
  };
  w.thread([&] { own.work(); });
  w.thread([&] {
    static_cast<void>((*own).post([&ran] { ++ran; }));
    end();
  });
  w.thread([&] {
    (*own).run([&ran] { ++ran; });
    end();
  });
  w.finally([&] { testing::check(ran == 2, "all is done"); });
}

// The lane alone.
class small_lane : public interlock::detail::lane<small_lane> {
  using base = interlock::detail::lane<small_lane>;
  friend base;

public:
  void leave_watched() {
    enter();
    leave(watched_bit);
  }
  void look_after() {
    if (watch()) serve({}, nullptr, 1);
  }
  void post(interlock::detail::work& w) { push_and_attend(w); }
  // Effects: by the first to come, who has done his quantum.
  void post_and_offer(interlock::detail::work& first, interlock::detail::work& second) {
    enter();
    push(first, 0);
    push(second, 0);
    serve({}, nullptr, 0);
  }
  void await_push() const {
    while (newest(look()) == nullptr) testing::spin_hint();
  }

private:
  interlock::detail::ending perform(interlock::detail::work& w) {
    return w.perform(w, nullptr, interlock::detail::work::step::run);
  }
  static void count(interlock::detail::ending) {}
  static std::uint32_t help() { return 1; }
  static bool schedule(interlock::detail::batch&) { return false; }
  static bool offers() { return true; }
  static void settle() {}
  static void take_from_line(interlock::detail::batch&) {}
  static bool strict() { return true; }
  static void note(interlock::detail::work&) {}
  static void forget(interlock::detail::work&) {}
};

template <class F>
struct function_work : interlock::detail::work {
  explicit function_work(F its) : work(kind::posted, &perform_it), f(std::move(its)) {}
  static interlock::detail::ending perform_it(work& self, const queue_options*, step) noexcept {
    static_cast<function_work&>(self).f();
    return interlock::detail::ending::completed;
  }
  F f;
};

void enters_what_is_watched(world& w) {
  fresh_waits fresh;
  small_lane lane;
  lane.leave_watched();
  int ran = 0;
  function_work posted([&ran] { ++ran; });
  w.thread([&] { lane.look_after(); });
  w.thread([&] { lane.run([&ran] { ++ran; }); });
  w.thread([&] { lane.post(posted); });
  w.finally([&] {
    lane.drain();
    testing::check(ran == 2, "all is done");
  });
}

// For certain: the runner has offered, somebody takes over, and a third one posts meanwhile.
void takes_over_for_certain(world& w) {
  fresh_waits fresh;
  small_lane lane;
  int ran = 0;
  std::atomic<int> offered{0}, pushed{0};
  unsigned runner = 0;
  function_work first([&] {
    raise(offered);
    lane.await_push();
    raise(pushed);
  });
  function_work second([&] { runner = testing::here().thread; });
  const auto count = [&ran] { ++ran; };
  function_work taken(count);
  function_work late(count);
  unsigned heir = 0;
  w.thread([&] { lane.post_and_offer(first, second); });
  w.thread([&] {
    heir = testing::here().thread;
    await(offered, 1);
    lane.post(taken);
  });
  w.thread([&] {
    await(pushed, 1);
    lane.post(late);
  });
  w.finally([&] {
    lane.drain();
    testing::check(runner == heir, "who came has the role");
    testing::check(ran == 2, "all is done");
  });
}

// The one that came for the role does not wait for ever: it goes, or has it.
void goes_or_takes_over(world& w) {
  fresh_waits fresh;
  small_lane lane;
  int ran = 0;
  std::atomic<int> offered{0};
  unsigned runner = 0;
  function_work first([&] {
    raise(offered);
    lane.await_push();
  });
  function_work second([&] { runner = testing::here().thread; });
  function_work third([&ran] { ++ran; });
  unsigned heir = 0;
  w.thread([&] { lane.post_and_offer(first, second); });
  w.thread([&] {
    heir = testing::here().thread;
    await(offered, 1);
    lane.post(third);
  });
  w.finally([&] {
    lane.drain();
    testing::check(ran == 1, "all is done");
    w.outcome(runner == heir);
  });
}

// For certain: the thread watches while one runs and another one posts.
void takes_what_is_watched(world& w) {
  watched_lane own;
  int ran = 0;
  std::atomic<int> began{0}, left{2};
  const auto end = [&] {
    if (left.fetch_sub(1, ar) == 1) own.end();
  };
  w.thread([&] { own.work(); });
  w.thread([&] {
    static_cast<void>((*own).post([&began] { raise(began); }));
    await(began, 1);
    (*own).run([&ran] { ++ran; });
    end();
  });
  w.thread([&] {
    await(began, 1);
    static_cast<void>((*own).post([&ran] { ++ran; }));
    end();
  });
  w.finally([&] { testing::check(ran == 2, "all is done"); });
}

// The one that posts first comes back although nobody waits for a task of its own.
void takes_over(world& w) {
  queue_options how;
  how.quantum = 1;
  auto* const b = new book(how);
  int ran = 0;
  for (int t = 0; t < 2; ++t) {
    w.thread([&, b] {
      for (int i = 0; i < 2; ++i) static_cast<void>(b->queue.post([&ran] { ++ran; }));
    });
  }
  w.finally([&, b] {
    b->queue.drain();
    testing::check(ran == 4, "all is done");
    delete b;
  });
}

// For certain: the runner offers, and the other one posts.
void takes_an_offer(world& w) {
  queue_options how;
  how.quantum = 1;
  auto* const b = new book(how);
  std::atomic<int> offered{0}, posted{0};
  int ran = 0;
  w.thread([&, b] {
    static_cast<void>(b->queue.post([&, b] {
      static_cast<void>(b->queue.post([&ran] { ++ran; }));
      static_cast<void>(b->queue.post([&] {
        raise(offered);
        await(posted, 1);
      }));
    }));
  });
  w.thread([&, b] {
    await(offered, 1);
    static_cast<void>(b->queue.post([&] { ++ran; }));
  });
  w.thread([&] {
    await(offered, 1);
    raise(posted);
  });
  w.finally([&, b] {
    b->queue.drain();
    testing::check(ran == 2, "all is done");
    delete b;
  });
}

// ---- circles ------------------------------------------------------------------------------------

// Two queues whose tasks wait for each other: nobody hangs, and whoever is told is inside a circle.
void circle_of_two(world& w) {
  auto* const a = new book;
  auto* const b = new book;
  atomic<int> told{0};
  const auto through = [&told](book* outer, book* inner) {
    outer->queue.run([&told, inner] {
      try {
        inner->queue.run([] {});
      } catch (const std::system_error& e) {
        testing::check(e.code() == std::errc::resource_deadlock_would_occur, "a circle");
        told.fetch_add(1, rlx);
      }
    });
  };
  w.thread([=] { through(a, b); });
  w.thread([=] { through(b, a); });
  w.finally([&, a, b] {
    testing::check(told.load(rlx) <= 1, "one of them");
    w.outcome(told.load(rlx));
    delete a;
    delete b;
  });
}

// No circle, but a wait that has ended and is perhaps not off the list yet.
void no_circle(world& w) {
  auto* const a = new book;
  auto* const b = new book;
  std::atomic<int> over{0};
  w.thread([&, a, b] { b->queue.run([&, a] { a->queue.run([&over] { raise(over); }); }); });
  w.thread([&, a, b] {
    static thread_local bool second = false;
    second = true;
    await(over, 1);
    a->queue.run([b] {
      if (second) b->queue.run([] {});  // on the first one, inside of b, it would be an error
    });
  });
  w.finally([a, b] {
    delete a;
    delete b;
  });
}

bool is_told(serial_queue& queue) {
  try {
    queue.run([] {});
    return false;
  } catch (const std::system_error& e) {
    testing::check(e.code() == std::errc::resource_deadlock_would_occur, "a circle");
    return true;
  }
}

// The wait of a thread that this one has given the role to, and that is over.
void no_circle_any_more(world& w) {
  queue_options how;
  how.quantum = 1;
  auto* const a = new book;
  auto* const b = new book(how);
  std::atomic<int> busy{0}, over{0};
  w.thread([&, a, b] {
    await(busy, 1);
    a->queue.run([&, b] { b->queue.run([&over] { raise(over); }); });
  });
  w.thread([&, a, b] {
    b->queue.run([&, b] {
      static_cast<void>(b->queue.post([] {}));  // so the quantum is done
      raise(busy);
    });
    w.outcome(b->queue.try_run([&, a] {
      if (over.load(acq) != 0) testing::check(!is_told(a->queue), "the other one waits no more");
    }));
  });
  w.finally([a, b] {
    delete a;
    delete b;
  });
}

// Who has been given a place waits for nothing: not for the task that had it before.
void room_is_no_circle(world& w) {
  queue_options how;
  how.capacity = 1;
  auto* const a = new book;
  auto* const b = new book(how);
  std::atomic<int> busy{0};
  bool told = false;
  w.thread([&, a, b] {
    await(busy, 1);
    a->queue.run([b] { static_cast<void>(b->queue.post_wait([] {})); });
  });
  w.thread([&, a, b] {
    b->queue.run([&, a, b] {
      static_cast<void>(b->queue.post([&, a] { told = is_told(a->queue); }));
      raise(busy);
    });
  });
  w.finally([&, a, b] {
    delete a;
    delete b;
    testing::check(!told, "no circle");
  });
}

// A coroutine that holds a queue and has had its turn in another one, but has not gone on yet.
support::detached holds_and_awaits(serial_queue& held, serial_queue& other) {
  co_await held.submit([&other]() -> task<void> { co_await other.submit([] {}); });
}

void over_is_no_circle(world& w) {
  auto* const a = new book;
  auto* const b = new book;
  int ran = 0;
  w.thread([&, a, b] {
    b->queue.run([&, a, b] {
      holds_and_awaits(a->queue, b->queue);
      static_cast<void>(b->queue.post([&, a] { ran += is_told(a->queue) ? 10 : 1; }));
    });
  });
  w.finally([&, a, b] {
    b->queue.drain();
    testing::check(ran == 1, "it waits for nothing any more");
    delete a;
    delete b;
  });
}

// A coroutine that a queue awaits, and that awaits the queue: told, or nobody would get on.
task<int> awaits_its_queue(serial_queue& queue) {
  int code = 0;
  try {
    co_await queue.submit([] {});
  } catch (const std::system_error& e) {
    code = e.code() == std::errc::resource_deadlock_would_occur ? 1 : 2;
  }
  co_return code;
}

void awaits_itself(world& w) {
  auto* const b = new book;
  w.thread([b] {
    const int code =
        sync_wait(b->queue.submit([b] { return awaits_its_queue(b->queue); }));
    testing::check(code == 1, "an error");
  });
  w.thread([b] { static_cast<void>(b->queue.post([] {})); });
  w.finally([b] { delete b; });
}

// Two stops beside the end of the queue.
void stopped_posts(world& w) {
  queue_options how;
  how.capacity = 2;
  auto* const b = new book(how);
  support::stop_source first;
  support::stop_source second;
  std::atomic<int> busy{0}, queued{0};
  w.thread([&, b] {
    b->queue.run([&] {
      raise(busy);
      await(queued, 1);
    });
    delete b;
  });
  w.thread([&, b] {
    await(busy, 1);
    static_cast<void>(b->queue.post([] {}, first.get_token()));
    static_cast<void>(b->queue.post([] {}, second.get_token()));
    raise(queued);
    first.request_stop();
  });
  w.thread([&] {
    await(queued, 1);
    second.request_stop();
  });
  w.finally([] {});
}

// ---- what others do -----------------------------------------------------------------------------

// A list without a lock.
struct unlocked_queue {
  void post(int entry) { entries.push_back(entry); }
  std::vector<int> entries;
};

void races(world& w) {
  unlocked_queue queue;
  for (int t = 0; t < 2; ++t) w.thread([&queue, t] { queue.post(t); });
  w.finally([] {});
}

// The runner leaves with a look and a store: what came between the two is left behind.
class forgetful_lane {
public:
  explicit forgetful_lane(int& ran) : ran_(ran) {}
  void post() {
    const int before = word_.fetch_add(2, ar);
    if ((before & 1) == 0 && (word_.fetch_or(1, ar) & 1) == 0) serve();
  }

private:
  void serve() {
    for (;;) {
      const int seen = word_.load(acq);
      for (int i = 0; i < seen / 2; ++i) ++ran_;
      if (seen / 2 == 0) break;
      word_.fetch_sub(seen & ~1, ar);
    }
    word_.store(0, rel);
  }

  int& ran_;
  std::atomic<int> word_{0};
};

void leaves_a_task_behind(world& w) {
  int ran = 0;
  forgetful_lane lane(ran);
  for (int t = 0; t < 2; ++t) w.thread([&lane] { lane.post(); });
  w.finally([&] { testing::check(ran == 2, "every task has run once"); });
}

using enum call;

}  // namespace

TEST_CASE("serial_queue: no two tasks run at once, each in its turn, none lost: two threads") {
  proved([](world& w) { producers(w, {post, post}, 1); }, whole_waits());
  proved([](world& w) { producers(w, {run, run}, 1); }, whole_waits());
  proved([](world& w) { producers(w, {submit, submit}, 1); }, whole_waits());
  proved([](world& w) { producers(w, {post, run}, 1); }, whole_waits());
}

TEST_CASE("serial_queue: queued tasks run in the order in which they were queued: two calls each") {
  proved([](world& w) { plain_producers(w, {post, post}, 2); }, whole_waits());
  proved([](world& w) { plain_producers(w, {run, run}, 2); }, whole_waits());
  proved([](world& w) { plain_producers(w, {submit, submit}, 2); }, whole_waits());
}

TEST_CASE("serial_queue: three threads") {
  proved([](world& w) { plain_producers(w, {post, post, post}, 1); }, whole_waits());
  proved([](world& w) { plain_producers(w, {run, run, run}, 1); }, whole_waits());
  proved([](world& w) { plain_producers(w, {post, run, submit}, 1); }, whole_waits());
}

TEST_CASE("serial_queue: threads that park while they wait") {
  proved([](world& w) { plain_producers(w, {run, run}, 1); });
  proved([](world& w) { plain_producers(w, {run, submit}, 1); });
  proved([](world& w) { plain_producers(w, {run, run, run}, 1); });
}

TEST_CASE("serial_queue: threads that look before they queue") {
  proved([](world& w) { plain_producers(w, {run, run}, 1, false); });
  proved([](world& w) { plain_producers(w, {run, post}, 1, false); });
  proved([](world& w) { plain_producers(w, {post, post}, 1, false); });
}

TEST_CASE("serial_queue: four threads", "[.deep]") {
  proved([](world& w) { plain_producers(w, {post, post, post, post}, 1); }, whole_waits());
  proved([](world& w) { plain_producers(w, {run, run, run, run}, 1); }, whole_waits());
}

TEST_CASE("serial_queue: three threads that run two tasks each", "[.deep]") {
  proved([](world& w) { plain_producers(w, {run, run, run}, 2); }, whole_waits());
}

TEST_CASE("serial_queue: three threads that post two tasks each", "[.deep]") {
  proved([](world& w) { plain_producers(w, {post, post, post}, 2); }, whole_waits());
}

TEST_CASE("serial_queue: what a task throws reaches the caller of run or submit") {
  proved([](world& w) { failures(w, false); }, whole_waits());
  proved([](world& w) { failures(w, true); }, whole_waits());
  proved(posted_failures, whole_waits());
}

TEST_CASE("serial_queue: nothing is accepted after close, and what was accepted runs") {
  CHECK(joined(seen(proved([](world& w) { closes(w, post); }, whole_waits()))) == "0, 1, 2");
  CHECK(joined(seen(proved([](world& w) { closes(w, run); }, whole_waits()))) == "0, 1, 2");
  CHECK(joined(seen(proved(knows_of_close, whole_waits()))) == "0, 1");
}

TEST_CASE("serial_queue: it may be destroyed while the runner is still inside its call") {
  proved([](world& w) { destroyed_beside_the_runner(w, true); }, whole_waits());
  proved([](world& w) { destroyed_beside_the_runner(w, false); }, whole_waits());
  proved([](world& w) { destroyed_beside_the_runner(w, true); });
}

TEST_CASE("serial_queue: drain waits for what was accepted before") { proved(drains, whole_waits()); }

TEST_CASE("serial_queue: every accepted task runs to its end unless it is cancelled") {
  proved(cancels, whole_waits());
  proved([](world& w) { cancels_exactly(w, false); }, whole_waits());
  proved([](world& w) { cancels_exactly(w, true); }, whole_waits());
  proved(two_cancel, whole_waits());
}

TEST_CASE("serial_queue: try_run does not wait") { proved(tries, whole_waits()); }

TEST_CASE("serial_queue: a full queue refuses, or the poster waits") {
  const auto report =
      proved([](world& w) { few_places(w, 1, when_full::reject); }, whole_waits());
  CHECK(joined(seen(report)) == "2, 3");
  proved(places_come_and_go, whole_waits());
  proved(last_place, whole_waits());
  proved(place_comes_back, whole_waits());
}

TEST_CASE("serial_queue: three posters wait for one place", "[.deep]") {
  proved([](world& w) { few_places(w, 1, when_full::block); }, whole_waits());
}

TEST_CASE("serial_queue: nothing starts while a submitted coroutine is suspended") {
  proved([](world& w) { suspends_inside(w, false); }, whole_waits());
  proved([](world& w) { suspends_inside(w, true); }, whole_waits());
  proved(suspends_directly, whole_waits());
  proved([](world& w) { role_comes_back(w, true); }, whole_waits());
  proved([](world& w) { role_comes_back(w, false); }, whole_waits());
}

TEST_CASE("serial_queue: an executor does the work, or refuses it") {
  proved([](world& w) { executed_elsewhere(w, post, 1); }, whole_waits());
  proved([](world& w) { executed_elsewhere(w, post, 2); }, whole_waits());
  proved([](world& w) { executed_elsewhere(w, run, 2); }, whole_waits());
  proved(executor_throws, whole_waits());
}

TEST_CASE("serial_queue: a stop and the runner: one of them has it") {
  CHECK(joined(seen(proved(stop_beside_the_runner, whole_waits()))) == "1, 10");
  CHECK(joined(seen(proved(stop_in_the_line, whole_waits()))) == "1, 10");
  CHECK(joined(seen(proved(late_thread))) == "0, 1");
  proved(stopped_post, whole_waits());
  proved(stopped_posts, whole_waits());
  CHECK(joined(seen(proved(drops, whole_waits()))) == "1 0, 2 0, 2 1");
}

TEST_CASE("serial_queue: who waits for room gets it, or is told that the queue is closed") {
  proved(waits_for_room, whole_waits());
  proved(close_ends_the_wait_for_room, whole_waits());
}

TEST_CASE("serial_queue: its own thread watches for work, and run may take the queue meanwhile") {
  proved([](world& w) { watches(w, false); }, whole_waits());
  proved([](world& w) { watches(w, true); }, whole_waits());
  proved(watches_two, whole_waits());
  proved(enters_what_is_watched, whole_waits());
}

TEST_CASE("serial_queue: run and post take turns with the thread that watches", "[.deep]") {
  proved(takes_what_is_watched, whole_waits());
}

TEST_CASE("serial_queue: a runner that has done its quantum is relieved") {
  proved(takes_over, whole_waits());
  proved(takes_an_offer, whole_waits());
  proved(takes_over_for_certain, whole_waits());
  CHECK(joined(seen(proved(goes_or_takes_over))) == "0, 1");
}

TEST_CASE("serial_queue: queues that wait for each other are found, and only such") {
  CHECK(joined(seen(proved(circle_of_two, whole_waits()))) == "0, 1");
  proved(no_circle, whole_waits());
  CHECK(joined(seen(proved(no_circle_any_more, whole_waits()))) == "0, 1");
  proved(over_is_no_circle, whole_waits());
  proved(room_is_no_circle, whole_waits());
  proved(awaits_itself, whole_waits());
}

TEST_CASE("serial_queue: a list without a lock is found") { failing(races); }

TEST_CASE("serial_queue: a runner that leaves a task behind is found") {
  failing(leaves_a_task_behind);
}

TEST_CASE("serial_queue: mutants", "[.mutants]") {
  testing::mutation_options how;
  how.how = whole_waits();
  mutants({[](world& w) { destroyed_beside_the_runner(w, true); }, suspends_directly, cancels,
           [](world& w) { failures(w, true); }, [](world& w) { plain_producers(w, {run, run}, 1); },
           [](world& w) { executed_elsewhere(w, post, 1); }, last_place, place_comes_back,
           [](world& w) { cancels_exactly(w, false); }, [](world& w) { cancels_exactly(w, true); },
           two_cancel, stop_beside_the_runner, stop_in_the_line, stopped_post, stopped_posts, drops,
           awaits_itself, [](world& w) { watches(w, true); }, watches_two, enters_what_is_watched,
           takes_an_offer, takes_over,
           [](world& w) { executed_elsewhere(w, post, 2); },
           [](world& w) { plain_producers(w, {post, post}, 2); }, close_ends_the_wait_for_room,
           circle_of_two, no_circle, no_circle_any_more, over_is_no_circle, takes_over_for_certain,
           room_is_no_circle,
           waits_for_room, [](world& w) { role_comes_back(w, true); },
           [](world& w) { role_comes_back(w, false); }, knows_of_close, places_come_and_go},
          how);
  mutants({[](world& w) { plain_producers(w, {run, run}, 1); }, stopped_post,
           goes_or_takes_over});  // who waits parks
}
