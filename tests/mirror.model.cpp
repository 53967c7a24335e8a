// SPDX-License-Identifier: BSL-1.0
// mirror in every execution: no touch is missed, the target never goes back, one write at a time.
//
// The mirror's own thread is a std::thread, which the explorer has not. An explored thread does its
// work here, behind an executor or in its very place; or the threads that touch do.

#include "testing/front.hpp"

#include <interlock/detail/futex_mutex.hpp>
#include <interlock/detail/mirror_line.hpp>
#include <interlock/inplace_stop_token.hpp>
#include <interlock/mirror.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support/detached.hpp"
#include "testing/job_thread.hpp"

using interlock::mirror_flush_result;
using interlock::mirror_options;
using interlock::mirror_write_result;
using testing::world;

namespace {

struct refused {};

struct snapshot {
  int value;
  int version;
};

// Plain, but for what threads look at that do not write: a race if two writes are in flight.
struct table {
  int value = 0;
  int version = 0;
  int writes = 0;
  int to_fail = 0;  // so many writes from now
  std::atomic<int> confirmed{0};

  mirror_write_result write(int v, int new_version) {
    ++writes;
    if (to_fail > 0) {
      --to_fail;
      return mirror_write_result::failed;
    }
    testing::check(new_version > version, "a version that is not newer is never written");
    value = v;
    version = new_version;
    confirmed.store(new_version, rlx);
    return mirror_write_result::applied;
  }
};

struct reads {  // the source's own orders do not matter
  std::atomic<int>* likes;
  snapshot operator()() const {
    const int now = likes->load(rlx);
    return {now, now};
  }
};

struct writes {
  table* row;
  mirror_write_result operator()(int value, int version) const { return row->write(value, version); }
};

enum class sent_by { job_thread, toucher };

mirror_options options(sent_by who, job_thread& worker) {
  mirror_options how;
  how.delay = [](std::size_t) { return std::chrono::nanoseconds(0); };
  if (who == sent_by::toucher) {  // an executor that refuses leaves the work to who asked
    how.schedule = [](std::chrono::nanoseconds, const std::function<void()>&) { throw refused(); };
  } else {
    how.schedule = [&worker](std::chrono::nanoseconds, std::function<void()> job) {
      worker(std::move(job));
    };
  }
  return how;
}

struct office {
  office(sent_by who, job_thread& worker, table& saved, std::size_t attempts = 5)
      : row(reads{&likes}, writes{&saved}, with(options(who, worker), attempts)) {}
  static mirror_options with(mirror_options how, std::size_t attempts) {
    how.attempts = attempts;
    return how;
  }

  std::atomic<int> likes{0};
  interlock::mirror<reads, writes> row;
};

// What all bodies have: a thread that does the jobs, and an end of it.
struct scene {
  scene(sent_by who, int users, std::size_t attempts = 5)
      : left(users), o(new office(who, worker, saved, attempts)) {}

  // The last one closes and destroys the mirror, and looks at what it left.
  void leave() {
    if (left.fetch_sub(1, ar) != 1) return;
    const int total = o->likes.load(rlx);
    delete o;  // closes
    testing::check(saved.value == total, "the target ends with what the source holds");
    worker.stop();
  }

  job_thread worker;
  table saved;
  std::atomic<int> left;
  office* o;
};

// Each thread changes the source and touches.
void touches(world& w, sent_by who, int threads, int rounds, int failing_writes) {
  auto* const s = new scene(who, threads);
  s->saved.to_fail = failing_writes;
  w.threads(static_cast<unsigned>(threads), [s, rounds] {
    for (int i = 0; i < rounds; ++i) {
      s->o->likes.fetch_add(1, rlx);
      testing::check(s->o->row.touch(), "open");
    }
    s->leave();
  });
  if (who == sent_by::job_thread) w.thread([s] { s->worker.work(); });
  w.finally([s] { delete s; });
}

// The writes so far, and no thread closes before the body has looked.
void writes_without_close(world& w, int threads) {
  auto* const s = new scene(sent_by::toucher, 1);
  w.threads(static_cast<unsigned>(threads), [s] {
    s->o->likes.fetch_add(1, rlx);
    s->o->row.touch();
  });
  w.finally([&w, s, threads] {
    testing::check(s->saved.value == threads, "after a touch a write reads what the source held");
    w.outcome(s->saved.writes);
    const auto said = s->o->row.statistics();
    testing::check(said.writes == static_cast<unsigned>(s->saved.writes), "each write is counted");
    testing::check(said.touches == said.writes + said.skipped, "and what it was for");
    s->leave();
    delete s;
  });
}

// flush() beside touch().
void flushes(world& w, sent_by who, int failing_writes, std::size_t attempts) {
  auto* const s = new scene(who, 2, attempts);
  s->saved.to_fail = failing_writes;
  w.thread([s] {
    s->o->likes.fetch_add(1, rlx);
    s->o->row.touch();
    s->leave();
  });
  w.thread([&w, s] {
    const int mine = s->o->likes.fetch_add(1, rlx) + 1;
    const bool flushed = s->o->row.flush() == mirror_flush_result::flushed;
    testing::check(!flushed || s->saved.confirmed.load(rlx) >= mine, "the target has confirmed it");
    w.outcome(flushed);
    s->leave();
  });
  if (who == sent_by::job_thread) w.thread([s] { s->worker.work(); });
  w.finally([s] { delete s; });
}

// A coroutine flushes and goes on where the write ended.
support::detached flushes_then(scene& s, int mine, std::atomic<int>& answered) {
  const auto said = co_await s.o->row.async_flush();
  testing::check(said == mirror_flush_result::flushed, "flushed");
  testing::check(s.saved.confirmed.load(rlx) >= mine, "the target has confirmed it");
  answered.fetch_add(1, rel);
}

void coroutine_flushes(world& w, sent_by who) {
  auto* const s = new scene(who, 2);
  std::atomic<int> answered{0};
  for (int t = 0; t < 2; ++t) {
    w.thread([&answered, s, t] {
      const int mine = s->o->likes.fetch_add(1, rlx) + 1;
      if (t == 0) {
        flushes_then(*s, mine, answered);
        while (answered.load(acq) == 0) testing::spin_hint();
      } else {
        s->o->row.touch();
      }
      s->leave();
    });
  }
  if (who == sent_by::job_thread) w.thread([s] { s->worker.work(); });
  w.finally([s] { delete s; });
}

// close() beside touch() and flush(): what was accepted is sent, then nothing more.
void closes(world& w, sent_by who, bool flushes) {
  auto* const s = new scene(who, 1);
  std::atomic<int> both{2};
  const auto end = [&both, s] {
    if (both.fetch_sub(1, ar) == 1) {
      delete s->o;
      s->worker.stop();
    }
  };
  w.thread([&w, s, end, flushes] {
    const int mine = s->o->likes.fetch_add(1, rlx) + 1;
    bool accepted = false;
    if (flushes) {
      accepted = s->o->row.flush() == mirror_flush_result::flushed;
    } else {
      accepted = s->o->row.touch();
    }
    const bool closed = s->o->row.close() == mirror_flush_result::flushed;
    testing::check(closed, "the target has the last value");
    testing::check(!accepted || s->saved.confirmed.load(rlx) >= mine, "what was accepted is sent");
    w.outcome(accepted);
    end();
  });
  w.thread([s, end] {
    s->o->row.close();
    testing::check(!s->o->row.touch(), "refused");
    testing::check(s->o->row.flush() == mirror_flush_result::closed, "refused");
    end();
  });
  if (who == sent_by::job_thread) w.thread([s] { s->worker.work(); });
  w.finally([s] { delete s; });
}

// Touches after close() are refused, and do not count.
void refuses(world& w) {
  auto* const s = new scene(sent_by::toucher, 1);
  s->o->row.close();
  w.threads(2, [s] { testing::check(!s->o->row.touch(), "refused"); });
  w.finally([s] {
    testing::check(s->o->row.statistics().touches == 0, "not counted");
    s->leave();
    delete s;
  });
}

// A flush after close() is refused, by whoever flushed before.
void flushes_twice(world& w) {
  auto* const s = new scene(sent_by::toucher, 1);
  std::atomic<bool> flushed{false};
  std::atomic<bool> closed{false};
  w.thread([&, s] {
    s->o->likes.fetch_add(1, rlx);
    testing::check(s->o->row.flush() == mirror_flush_result::flushed, "open");
    flushed.store(true, rel);
    while (!closed.load(acq)) testing::spin_hint();
    testing::check(s->o->row.flush() == mirror_flush_result::closed, "refused");
  });
  w.thread([&, s] {
    while (!flushed.load(acq)) testing::spin_hint();
    s->o->row.close();
    closed.store(true, rel);
  });
  w.finally([s] {
    s->leave();
    delete s;
  });
}

// Two threads wait for the end while a third one sends.
void both_close(world& w) {
  auto* const s = new scene(sent_by::toucher, 1);
  w.thread([s] {
    s->o->likes.fetch_add(1, rlx);
    s->o->row.touch();
  });
  w.threads(2, [s] {
    const auto said = s->o->row.close();
    testing::check(said == mirror_flush_result::flushed, "what was accepted is sent");
  });
  w.finally([s] {
    delete s->o;
    delete s;
  });
}

// The target asks for what would wait for itself; another thread may.
struct flushes_inside {
  struct all;
  all* self;
  mirror_write_result operator()(int value, int version) const;
};
struct flushes_inside::all {
  all() : row(reads{&likes}, flushes_inside{this}, options(sent_by::toucher, worker)) {}
  ::job_thread worker;
  table saved;
  std::atomic<int> likes{0};
  interlock::mirror<reads, flushes_inside> row;
};
mirror_write_result flushes_inside::operator()(int value, int version) const {
  bool told = false;
  try {
    static_cast<void>(self->row.flush());
  } catch (const std::system_error&) {
    told = true;
  }
  testing::check(told, "told, not hung");
  return self->saved.write(value, version);
}

void asks_inside(world& w) {
  auto* const a = new flushes_inside::all;
  for (int t = 0; t < 2; ++t) {
    w.thread([a, t] {
      a->likes.fetch_add(1, rlx);
      if (t == 0) {
        a->row.touch();
      } else {
        testing::check(a->row.flush() == mirror_flush_result::flushed, "another thread may");
      }
    });
  }
  w.finally([a] { delete a; });
}

// The target fails until close() has to give up, or does not.
void gives_up(world& w) {
  auto* const s = new scene(sent_by::toucher, 1, 1);
  s->saved.to_fail = 1;
  w.thread([s] {
    s->o->likes.fetch_add(1, rlx);
    s->o->row.touch();
  });
  w.thread([&w, s] {
    const auto said = s->o->row.close();
    testing::check(said == s->o->row.close(), "the same, asked again");
    w.outcome(said == mirror_flush_result::flushed, s->saved.confirmed.load(rlx));
  });
  w.finally([s] {
    delete s->o;
    delete s;
  });
}

// ---- waits that end beside an executor that refuses ---------------------------------------------

// Who flushes writes, and would rest until the next write may begin; but its wait ends before, and
// what it leaves behind a touch asks for, or the end.
struct resting_office {
  resting_office() : row(reads{&likes}, writes{&saved}, rests()) {}
  static mirror_options rests() {
    mirror_options how;
    how.schedule = [](std::chrono::nanoseconds, const std::function<void()>&) { throw refused(); };
    how.min_interval = std::chrono::milliseconds(1);
    return how;
  }
  void change() {
    likes.fetch_add(1, rlx);
    testing::check(row.touch(), "open");
  }
  // For finally.
  void expect(int total) {
    testing::check(row.close() == mirror_flush_result::flushed, "the target has the last value");
    testing::check(saved.value == total, "a touch is not lost");
  }

  std::atomic<int> likes{1};
  table saved;
  interlock::inplace_stop_source source;
  int answers = 0;
  interlock::mirror<reads, writes> row;
};

support::detached flushes_until_stop(resting_office& o) {
  const auto said = co_await o.row.async_flush(2, o.source.get_token());  // no such version yet
  testing::check(said == mirror_flush_result::cancelled, "cancelled");
  ++o.answers;
}

void flush_is_called_off(world& w) {
  auto* const o = new resting_office;
  w.thread([o] { flushes_until_stop(*o); });
  w.thread([o] {
    o->source.request_stop();
    o->change();
  });
  w.finally([o] {
    testing::check(o->answers == 1, "one end");
    o->expect(2);
    delete o;
  });
}

// ---- the mirror's own thread --------------------------------------------------------------------

// In the place of a std::thread: some explored thread calls run().
struct desk {
  void run() {
    work();
    ended.store(true, rel);
  }
  std::function<void()> work;
  std::atomic<bool> ended{false};
};

class desk_thread {
public:
  inline static desk* next = nullptr;  // whom the next one gets; then the one behind

  desk_thread() = default;
  explicit desk_thread(std::function<void()> work) : at_(next++) {
    at_->work = std::move(work);
  }
  std::thread::id get_id() const { return {}; }
  bool joinable() const { return at_ != nullptr; }
  void join() const {
    while (!at_->ended.load(acq)) testing::spin_hint();
  }

private:
  desk* at_ = nullptr;
};

// The owner of a line with one key.
template <class Fence, class Thread = std::thread>
struct outbox {
  using line = interlock::detail::mirror_line<outbox, int, Fence, Thread>;
  using key = typename line::key;

  explicit outbox(interlock::detail::mirror_schedule how, std::uint32_t parallel = 1,
                  interlock::detail::mirror_pace pace = {5, {}, {}})
      : sender(*this, pace, parallel, std::move(how)) {}
  ~outbox() {
    sender.wait_for_end(nullptr, &one);
  }

  interlock::detail::mirror_attempt<int> attempt(const key& k) noexcept {
    using interlock::detail::mirror_end;
    if (&k != &one) return {mirror_end::applied, 0, nullptr};
    sent = likes.load(read);
    const bool partly = parts-- > 0;
    return {to_fail-- > 0 ? mirror_end::failed : mirror_end::applied, sent, nullptr, partly};
  }
  std::chrono::nanoseconds pause(std::size_t) const noexcept { return wait; }
  void surface(const key&, const interlock::mirror_failure&) noexcept {}
  static std::nullptr_t hold(const key&) noexcept { return nullptr; }
  static void retire(const key&) noexcept {}

  std::atomic<int> likes{0};
  int sent = 0;
  int to_fail = 0;
  int parts = 0;  // so many sends from now are not all of it
  std::chrono::nanoseconds wait{0};
  std::memory_order read = rlx;
  key one{line::looks()};
  line sender;
};

// Each thread changes the source and touches; the last one closes and destroys. Only what wakes
// the worker leads to a send: one that is lost hangs.
void wakes_own_thread(world& w, int threads, int failing, std::chrono::nanoseconds pause,
                      unsigned workers = 1, bool touch = true) {
  using box_type = outbox<interlock::detail::asymmetric_fence, desk_thread>;
  struct own_office {
    own_office(int users, unsigned crew) : left(users) {
      desk_thread::next = places;
      box = new box_type({}, crew);
    }
    void leave() {
      if (left.fetch_sub(1, ar) != 1) return;
      box->sender.wait_for_end(nullptr, &box->one);
      testing::check(box->sent == box->likes.load(rlx), "what the source held was sent");
      delete box;
    }
    desk places[2];
    std::atomic<int> left;
    box_type* box;
  };
  auto* const o = new own_office(threads, workers);
  o->box->to_fail = failing;
  o->box->wait = pause;
  w.threads(static_cast<unsigned>(threads), [o, touch] {
    if (touch) {
      o->box->likes.fetch_add(1, rlx);
      testing::check(o->box->sender.touch(o->box->one), "open");
    }
    o->leave();
  });
  for (unsigned i = 0; i < workers; ++i) w.thread([o, i] { o->places[i].run(); });
  w.finally([o] { delete o; });
}

// ---- an executor that takes waits alone -------------------------------------------------------

// The first write fails. Who touches lends a hand until the executor has taken the wait; then that
// comes, when its time has come, beside the thread that closes, or finds the mirror gone.
void takes_waits_alone(world& w, bool again) {
  struct scene_of_waits {
    ::job_thread worker;
    std::atomic<int> clock{0};  // milliseconds
    outbox<interlock::detail::asymmetric_fence> box{
        {[this](std::chrono::nanoseconds delay, std::function<void()> job) {
           if (delay == std::chrono::nanoseconds(0)) throw refused();
           worker([this, run = std::move(job)] {
             clock.store(1, rlx);
             run();
           });
         },
         [this] {
           return std::chrono::steady_clock::time_point(std::chrono::milliseconds(clock.load(rlx)));
         }}};
  };
  auto* const s = new scene_of_waits;
  s->box.to_fail = 1;
  s->box.wait = std::chrono::milliseconds(1);
  w.thread([s, again] {
    s->box.likes.fetch_add(1, rlx);
    testing::check(s->box.sender.touch(s->box.one), "open");
    if (again) {
      s->box.likes.fetch_add(1, rlx);
      testing::check(s->box.sender.touch(s->box.one), "open");
    }
    s->box.sender.wait_for_end(nullptr, &s->box.one);
    testing::check(s->box.sent == s->box.likes.load(rlx), "what the source held was sent");
    s->worker.stop();
  });
  w.thread([s] { s->worker.work(); });
  w.finally([s] { delete s; });
}

// ---- a touch that looks first -------------------------------------------------------------------

// The two sides of an asymmetric fence are to each other as two fences.
struct both_fenced {
  static bool available() { return true; }
  static void light() { fence(sc); }
  static void heavy() { fence(sc); }
};
struct one_fenced : both_fenced {  // what an asymmetric fence is not: for free
  static void light() {}
};

interlock::detail::mirror_schedule refuses_all() {
  return {[](std::chrono::nanoseconds, const std::function<void()>&) { throw refused(); },
          [] { return std::chrono::steady_clock::time_point(std::chrono::hours(1)); }};
}

template <class Fence>
void looks_first(world& w, const std::vector<int>& rounds, int parts = 0) {
  auto* const o = new outbox<Fence>(refuses_all(), 1, {5, {}, std::chrono::hours(1)});
  o->parts = parts;
  int all = 0;
  for (const int mine : rounds) {
    all += mine;
    w.thread([o, mine] {
      for (int i = 0; i < mine; ++i) {
        o->likes.fetch_add(1, rlx);
        testing::check(o->sender.touch(o->one), "open");
      }
    });
  }
  w.finally([o, all] {
    testing::check(o->sent == all, "after a touch a write reads what the source held");
    testing::check(o->one.since == std::chrono::steady_clock::time_point{}, "no touch is waiting");
    delete o;
  });
}

// A touch beside the rest of what was sent in parts, without a fence that would hide its order.
void sends_in_parts(world& w) {
  looks_first<interlock::detail::asymmetric_fence>(w, {1, 1}, 1);
}

// The same thread finds its key due, and not due any more.
void looks_again(world& w) {
  struct all {
    std::function<void()> job;
    std::atomic<int> turn{0};
    outbox<both_fenced> box{{[this](std::chrono::nanoseconds, std::function<void()> run) {
                               if (job) throw refused();
                               job = std::move(run);
                             },
                             {}}};
    void change() {
      box.likes.fetch_add(1, rlx);
      testing::check(box.sender.touch(box.one), "open");
    }
    void waits_for(int whose) const {
      while (turn.load(acq) != whose) testing::spin_hint();
    }
  };
  auto* const a = new all;
  w.thread([a] {
    a->change();
    a->change();
    a->turn.store(1, rel);
    a->waits_for(2);
    a->change();
    testing::check(a->box.sent == 3, "after a touch a write reads what the source held");
  });
  w.thread([a] {
    a->waits_for(1);
    a->job();
    a->turn.store(2, rel);
  });
  w.finally([a] { delete a; });
}

// ---- what nobody comes for ----------------------------------------------------------------------

// An executor that refuses at first, and counts what it takes and drops.
struct refusing_box {
  explicit refusing_box(interlock::detail::mirror_pace pace = {5, {}, {}})
      : box({[this](std::chrono::nanoseconds, const std::function<void()>& job) {
               if (refuses) throw refused();
               ++taken;
               last = job;
             },
             {}},
            2, pace) {}
  bool refuses = true;
  int taken = 0;
  std::function<void()> last;
  outbox<both_fenced> box;
};

// One who may not stay leaves a key behind: the next touch asks for a job, and only that one.
void asks_again(world& w) {
  auto* const r = new refusing_box;
  w.thread([r] {
    const auto none = interlock::detail::lent_hand::none();
    r->box.likes.store(1, rlx);
    testing::check(r->box.sender.touch(r->box.one, &none), "open");
    testing::check(r->box.sent == 0, "nobody has come");
    r->refuses = false;
    r->box.sender.touch(r->box.one);
    testing::check(r->taken == 1, "the touch asks again");
    r->box.sender.touch(r->box.one);
    testing::check(r->taken == 1, "and once");
    r->box.sender.wait_for_end(nullptr, &r->box.one);
    testing::check(r->box.sent == 1, "a touch is not lost");
  });
  w.finally([r] { delete r; });
}

// One key is touched while another one is left behind with it, when it rests after a send.
void strands_another(world& w) {
  auto* const r = new refusing_box({5, std::chrono::hours(1), {}});
  auto* const two = new outbox<both_fenced>::key(true);
  r->refuses = false;
  r->box.sender.touch(r->box.one);
  std::exchange(r->last, nullptr)();  // sends, and asks for the end of the rest
  r->refuses = true;
  w.thread([r, two] {
    const auto none = interlock::detail::lent_hand::none();
    testing::check(r->box.sender.touch(*two, &none), "open");
  });
  w.thread([r] {
    r->box.likes.store(1, rlx);
    testing::check(r->box.sender.touch(r->box.one), "open");
  });
  w.finally([r, two] {
    outbox<both_fenced>::line::node* answered = nullptr;
    outbox<both_fenced>::line::errand todo;
    r->box.sender.close(*two, answered, todo);
    r->box.sender.complete(answered, todo);
    r->box.sender.wait_for_end(nullptr, &r->box.one);
    testing::check(r->box.sent == 1, "a touch is not lost");
    delete r;
    delete two;
  });
}

// ---- what others do -----------------------------------------------------------------------------

// Sends what it got, under a lock.
void sends_snapshots(world& w, bool reads_again) {
  std::atomic<int> likes{0};
  interlock::detail::futex_mutex mutex;
  int row = 0;
  for (int t = 0; t < 2; ++t) {
    w.thread([&, reads_again] {
      int now = likes.fetch_add(1, ar) + 1;
      if (reads_again) now = likes.load(acq);
      const std::lock_guard lock(mutex);
      row = now;
    });
  }
  w.finally([&] { testing::check(row == 2, "the row ends with what the source holds"); });
}

// Queues each snapshot for one sender, which is in order but not in the source's.
void queues_snapshots(world& w) {
  std::atomic<int> likes{0};
  interlock::detail::futex_mutex mutex;
  std::vector<int> queue;
  for (int t = 0; t < 2; ++t) {
    w.thread([&] {
      const int now = likes.fetch_add(1, ar) + 1;
      const std::lock_guard lock(mutex);
      queue.push_back(now);
    });
  }
  w.finally([&] {
    table row;
    for (const int each : queue) row.write(each, each);
  });
}

constexpr sent_by toucher = sent_by::toucher;
constexpr sent_by jobs = sent_by::job_thread;

}  // namespace

using namespace std::chrono_literals;

TEST_CASE("mirror: after a touch a write begins that reads what the source held, and few do") {
  CHECK(joined(seen(proved([](world& w) { writes_without_close(w, 2); }, whole_waits()))) == "1, 2");
}

TEST_CASE("mirror: three threads touch and few writes follow", "[.deep]") {
  const auto report = proved([](world& w) { writes_without_close(w, 3); }, whole_waits());
  if (report.proved()) CHECK(joined(seen(report)) == "1, 2, 3");
}

TEST_CASE("mirror: no touch is missed, one write at a time, the target never goes back") {
  proved([](world& w) { touches(w, toucher, 2, 1, 0); }, whole_waits());
  proved([](world& w) { touches(w, jobs, 1, 1, 0); }, whole_waits());
}

TEST_CASE("mirror: two threads that touch twice", "[.deep]") {
  proved([](world& w) { touches(w, toucher, 2, 2, 0); }, whole_waits());
}

TEST_CASE("mirror: two threads touch and a third one sends", "[.deep]") {
  proved([](world& w) { touches(w, jobs, 2, 1, 0); }, whole_waits());
}

TEST_CASE("mirror: three threads touch", "[.deep]") {
  proved([](world& w) { touches(w, toucher, 3, 1, 0); }, whole_waits());
}

TEST_CASE("mirror: three threads touch twice", "[.deep]") {
  proved([](world& w) { touches(w, toucher, 3, 2, 0); }, whole_waits());
}

TEST_CASE("mirror: four threads touch", "[.deep]") {
  proved([](world& w) { touches(w, toucher, 4, 1, 0); }, whole_waits());
}

TEST_CASE("mirror: a failed write is tried again with what the source holds by then") {
  proved([](world& w) { touches(w, toucher, 2, 1, 1); }, whole_waits());
  CHECK(joined(seen(proved(gives_up, whole_waits()))) == "0 0, 1 0, 1 1");
}

TEST_CASE("mirror: a flush answers flushed only if the target has confirmed it") {
  CHECK(joined(seen(proved([](world& w) { flushes(w, toucher, 0, 5); }, whole_waits()))) == "1");
  CHECK(joined(seen(proved([](world& w) { flushes(w, toucher, 1, 1); }, whole_waits()))) == "0, 1");
  CHECK(joined(seen(proved([](world& w) { flushes(w, toucher, 1, 2); }, whole_waits()))) == "1");
  proved([](world& w) { coroutine_flushes(w, toucher); }, whole_waits());
}

TEST_CASE("mirror: flushes that a third thread answers", "[.deep]") {
  const auto report = proved([](world& w) { flushes(w, jobs, 0, 5); }, whole_waits());
  if (report.proved()) CHECK(joined(seen(report)) == "1");
  proved([](world& w) { coroutine_flushes(w, jobs); }, whole_waits());
}

TEST_CASE("mirror: closing sends what was touched before and then nothing more") {
  CHECK(joined(seen(proved([](world& w) { closes(w, toucher, false); }, whole_waits()))) == "0, 1");
  CHECK(joined(seen(proved([](world& w) { closes(w, toucher, true); }, whole_waits()))) == "0, 1");
}

TEST_CASE("mirror: two threads close while a third one sends", "[.deep]") {
  proved(both_close, whole_waits());
}

TEST_CASE("mirror: what is refused does not count, and a target may not wait for itself") {
  proved(refuses, whole_waits());
  proved(flushes_twice, whole_waits());
  proved(asks_inside, whole_waits());
}

TEST_CASE("mirror: closing beside a thread that sends", "[.deep]") {
  const auto report = proved([](world& w) { closes(w, jobs, false); }, whole_waits());
  if (report.proved()) CHECK(joined(seen(report)) == "0, 1");
}

TEST_CASE("mirror: its own thread is woken for each request") {
  proved([](world& w) { wakes_own_thread(w, 1, 0, 0ns); }, whole_waits());
  proved([](world& w) { wakes_own_thread(w, 1, 1, 1ms); }, whole_waits());
  proved([](world& w) { wakes_own_thread(w, 1, 0, 0ns, 2, false); }, whole_waits());
}

TEST_CASE("mirror: its own thread is woken for each of two touches", "[.deep]") {
  proved([](world& w) { wakes_own_thread(w, 2, 0, 0ns); }, whole_waits());
}

TEST_CASE("mirror: a wait that the executor has taken comes beside the end, or behind it") {
  proved([](world& w) { takes_waits_alone(w, false); }, whole_waits());
}

TEST_CASE("mirror: a flush that is called off ends what its thread does for others") {
  proved(flush_is_called_off, whole_waits());
}

TEST_CASE("mirror: a touch while the executor has a wait", "[.deep]") {
  proved([](world& w) { takes_waits_alone(w, true); }, whole_waits());
}

TEST_CASE("mirror: a touch that looks first needs the fence, whatever the source's orders") {
  proved([](world& w) { looks_first<both_fenced>(w, {1, 1}); }, whole_waits());
  const auto report = failing([](world& w) { looks_first<one_fenced>(w, {1, 1}); }, whole_waits());
  CHECK(report.failure.find("after a touch a write reads") != std::string::npos);
}

TEST_CASE("mirror: a touch beside a send of several parts, and one that finds its key due no more") {
  proved(sends_in_parts, whole_waits());
  proved(looks_again, whole_waits());
}

TEST_CASE("mirror: what a hand leaves behind is asked for by the next touch, or sent in the end") {
  proved(asks_again, whole_waits());
  proved(strands_another, whole_waits());
}

TEST_CASE("mirror: three threads that look first, and two that do so twice", "[.deep]") {
  proved([](world& w) { looks_first<both_fenced>(w, {1, 1, 1}); }, whole_waits());
  proved([](world& w) { looks_first<both_fenced>(w, {2, 2}); }, whole_waits());
}

TEST_CASE("mirror: a row that gets what each thread saw, in another order, is found") {
  for (const bool reads_again : {false, true}) {
    const auto sends = failing([=](world& w) { sends_snapshots(w, reads_again); });
    CHECK(sends.failure.find("the row ends with what the source") != std::string::npos);
  }
  const auto queues = failing(queues_snapshots);
  CHECK(queues.failure.find("not newer is never written") != std::string::npos);
}

TEST_CASE("mirror: mutants", "[.mutants]") {
  testing::mutation_options how;
  how.how = whole_waits();
  mutants({[](world& w) { writes_without_close(w, 2); }, gives_up,
           [](world& w) { coroutine_flushes(w, toucher); },
           [](world& w) { looks_first<both_fenced>(w, {1, 1}); },
           [](world& w) { flushes(w, toucher, 0, 5); },
           [](world& w) { touches(w, jobs, 1, 1, 0); },
           [](world& w) { touches(w, toucher, 2, 1, 1); },
           [](world& w) { closes(w, toucher, false); }, refuses, flushes_twice,
           [](world& w) { wakes_own_thread(w, 1, 0, 0ns, 2, false); }, asks_inside,
           [](world& w) { wakes_own_thread(w, 1, 0, 0ns); }, looks_again, asks_again,
           strands_another, sends_in_parts, both_close},
          how);
}
