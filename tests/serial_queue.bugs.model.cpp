// SPDX-License-Identifier: BSL-1.0
// The mistakes that queues of this kind were shipped with, one at a time: the small form that has
// it is found in some execution, and serial_queue in the same place has none, in every execution.
//
// Where they come from: docs/serial_queue.md.

#include "testing/front.hpp"

#include <interlock/serial_queue.hpp>
#include <interlock/testing/explored_history.hpp>
#include <interlock/testing/linearizability.hpp>

#include <array>
#include <atomic>
#include <exception>
#include <functional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "support/stopping.hpp"
#include "testing/last_user.hpp"

using interlock::post_result;
using interlock::queue_options;
using interlock::serial_queue;
using testing::world;

namespace {

void raise(std::atomic<int>& flag) { flag.fetch_add(1, ar); }
void await(const std::atomic<int>& flag, int value) {
  while (flag.load(acq) < value) testing::spin_hint();
}

queue_options strictly() {
  queue_options how;
  how.strict = true;  // see serial_queue.model.cpp
  return how;
}

// ---- close racing post --------------------------------------------------------------------------

// A flag beside the list: what is posted between the look at it and the push is left behind.
class flagged_queue {
public:
  bool post() {
    if (closed_.load(acq)) return false;
    queued_.fetch_add(1, ar);
    return true;
  }
  int close_and_drain() {
    closed_.store(true, rel);
    return queued_.exchange(0, ar);
  }

private:
  std::atomic<bool> closed_{false};
  std::atomic<int> queued_{0};
};

void accepted_after_close(world& w) {
  flagged_queue queue;
  int ran = 0;
  int accepted = 0;
  w.thread([&] { accepted += queue.post(); });
  w.thread([&] { ran = queue.close_and_drain(); });
  w.finally([&] { testing::check(ran == accepted, "what was accepted has run"); });
}

void ours_closes(world& w) {
  auto* const queue = new serial_queue(strictly());
  int ran = 0;
  std::atomic<int> accepted{0}, ran_at_drain{0};
  w.thread([&, queue] {
    accepted.store(queue->post([&ran] { ++ran; }) == post_result::accepted, rlx);
  });
  w.thread([&, queue] {
    queue->close();
    queue->drain();
    ran_at_drain.store(ran, rlx);
  });
  w.finally([&, queue] {
    testing::check(ran_at_drain.load(rlx) == ran && ran == accepted.load(rlx), "nothing after it");
    delete queue;
  });
}

// ---- cancel racing run --------------------------------------------------------------------------

// The state is looked at and then written: both the canceller and the runner get it.
void runs_what_was_cancelled(world& w) {
  std::atomic<int> state{0};  // queued, running, cancelled
  std::atomic<int> ends{0};
  const auto end_with = [&](int how) {
    if (state.load(acq) != 0) return;
    state.store(how, rel);
    ends.fetch_add(1, rlx);
  };
  w.thread([&] { end_with(1); });
  w.thread([&] { end_with(2); });
  w.finally([&] { testing::check(ends.load(rlx) == 1, "one end"); });
}

void ours_cancels(world& w) {
  auto* const queue = new serial_queue(strictly());
  std::atomic<int> ends{0};
  w.thread([&, queue] {
    try {
      queue->run([&ends] { ends.fetch_add(1, rlx); });
    } catch (const std::system_error&) {
      ends.fetch_add(1, rlx);
    }
  });
  w.thread([queue] { static_cast<void>(queue->post([] {})); });
  w.thread([queue] { queue->cancel_pending(); });
  w.finally([&, queue] {
    testing::check(ends.load(rlx) == 1, "one end");
    delete queue;
  });
}

// ---- a stack node touched after its completion --------------------------------------------------

struct stack_node {
  std::atomic<int> done{0};
  bool counted = false;
};

// The runner tells that the work is done, and then notes something in the node.
void touches_what_is_gone(world& w) {
  std::atomic<stack_node*> slot{nullptr};
  w.thread([&] {
    auto* const node = new stack_node;
    slot.store(node, rel);
    while (node->done.load(acq) == 0) testing::spin_hint();
    delete node;
  });
  w.thread([&] {
    stack_node* node = nullptr;
    while ((node = slot.load(acq)) == nullptr) testing::spin_hint();
    node->done.store(1, rel);
    node->counted = true;
  });
  w.finally([] {});
}

void ours_lets_go(world& w) {
  auto* const queue = new serial_queue(strictly());
  int ran = 0;
  for (int t = 0; t < 2; ++t) {
    w.thread([&, queue] { queue->run([&ran] { ++ran; }); });  // the node is on this stack
  }
  w.finally([&, queue] {
    testing::check(ran == 2, "each has run");
    delete queue;
  });
}

// ---- reordering across producers ----------------------------------------------------------------

// A list for each producer, worked off one after the other: no order between them.
void reorders(world& w) {
  std::array<std::atomic<int>, 2> lists{};
  std::atomic<int> told{0};
  std::vector<int> ran;
  w.thread([&] {
    lists[1].store(1, rel);
    raise(told);
  });
  w.thread([&] {
    await(told, 1);
    lists[0].store(2, rel);
  });
  w.thread([&] {
    for (int left = 2; left != 0;) {
      bool found = false;
      for (auto& list : lists) {
        if (const int entry = list.exchange(0, ar)) ran.push_back(entry), --left, found = true;
      }
      if (!found) testing::spin_hint();
    }
  });
  w.finally([&] { testing::check(ran == std::vector{1, 2}, "in the order of happens-before"); });
}

void ours_keeps_order(world& w) {
  auto* const queue = new serial_queue(strictly());
  std::atomic<int> told{0};
  std::vector<int> ran;
  w.thread([&, queue] {
    static_cast<void>(queue->post([&ran] { ran.push_back(1); }));
    raise(told);
  });
  w.thread([&, queue] {
    await(told, 1);
    static_cast<void>(queue->post([&ran] { ran.push_back(2); }));
  });
  w.thread([queue] { static_cast<void>(queue->post([] {})); });
  w.finally([&, queue] {
    queue->drain();
    testing::check(ran == std::vector{1, 2}, "in the order of happens-before");
    delete queue;
  });
}

// ---- Vyukov's false empty -----------------------------------------------------------------------

// A push is an exchange of the tail and then a link. Who finds no link takes it for an empty queue.
struct linked_node {
  std::atomic<linked_node*> next{nullptr};
};
void takes_half_linked_for_empty(world& w) {
  linked_node stub;
  linked_node a;
  linked_node b;
  std::atomic<linked_node*> tail{&stub};
  std::atomic<int> pushed{0};
  const auto push = [&](linked_node& node) {
    linked_node* const before = tail.exchange(&node, ar);
    before->next.store(&node, rel);
  };
  int found = 0;
  w.thread([&] { push(a); });
  w.thread([&] {
    push(b);
    raise(pushed);
  });
  w.thread([&] {
    await(pushed, 1);
    for (linked_node* at = stub.next.load(acq); at != nullptr; at = at->next.load(acq)) ++found;
    testing::check(found >= 1, "what was pushed before is there");
  });
  w.finally([] {});
}

void ours_is_not_empty(world& w) {
  auto* const queue = new serial_queue(strictly());
  std::atomic<int> pushed{0};
  int ran = 0;
  w.thread([&, queue] { static_cast<void>(queue->post([] {})); });
  w.thread([&, queue] {
    static_cast<void>(queue->post([&ran] { ++ran; }));
    raise(pushed);
  });
  w.thread([&, queue] {
    await(pushed, 1);
    queue->drain();
    testing::check(ran == 1, "what was posted before has run");
  });
  w.finally([queue] { delete queue; });
}

// ---- a starving lane ----------------------------------------------------------------------------

// A thread does all of one lane before it looks at the next. The first one feeds itself.
bool serves_all_lanes(int quantum, int steps) {
  std::size_t lane = 0;
  for (int step = 0; step < steps; ++step) {
    if (lane == 1) return true;
    if (quantum != 0 && step % quantum == quantum - 1) lane = 1 - lane;  // its task posts itself
  }
  return false;
}

// One thread, two queues behind it; the task of the first posts itself until the second has run.
bool ours_serves_all_lanes() {
  std::vector<std::function<void()>> jobs;
  queue_options how;
  how.quantum = 4;
  how.executor = [&jobs](auto job) { jobs.push_back(job); };
  serial_queue busy(how);
  serial_queue other(how);
  bool served = false;
  int runs = 0;
  std::function<void()> again = [&] {
    if (!served && ++runs < 1000) static_cast<void>(busy.post(again));
  };
  static_cast<void>(busy.post(again));
  static_cast<void>(other.post([&served] { served = true; }));
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const std::function<void()> job = jobs[i];
    job();
  }
  return served && runs <= 8;
}

// ---- work lost in a destructor ------------------------------------------------------------------

// The destructor stops the worker, which looks at the flag before it looks at the list.
void loses_work_as_it_goes(world& w) {
  std::atomic<int> queued{0};
  std::atomic<bool> stop{false};
  int ran = 0;
  w.thread([&] {
    queued.fetch_add(1, ar);
    stop.store(true, rel);
  });
  w.thread([&] {
    while (!stop.load(acq)) {
      if (queued.exchange(0, ar) != 0) ++ran;
      testing::spin_hint();
    }
  });
  w.finally([&] { testing::check(ran == 1, "what was accepted has run"); });
}

void ours_goes(world& w) {
  auto* const shared = used_by<serial_queue>::make(2, strictly());
  std::atomic<int> ran{0};
  for (int t = 0; t < 2; ++t) {
    w.thread([&, shared] {
      static_cast<void>((*shared)->post([&ran] { ran.fetch_add(1, rlx); }));
      shared->leave();
    });
  }
  w.finally([&] { testing::check(ran.load(rlx) == 2, "what was accepted has run"); });
}

// ---- a throw that leaves those who wait hanging -------------------------------------------------

struct broken {};

// The flag that says "done" is set behind the call: a throw passes it by.
void hangs_after_a_throw(world& w) {
  std::atomic<int> busy{0};
  std::atomic<bool> over{false};
  w.thread([&] {
    try {
      raise(busy);
      throw broken();
      over.store(true, rel);  // NOLINT: that is the mistake
    } catch (const broken&) {
    }
  });
  w.thread([&] {
    await(busy, 1);
    while (!over.load(acq)) testing::spin_hint();
  });
  w.finally([] {});
}

void ours_goes_on(world& w) {
  auto* const queue = new serial_queue(strictly());
  std::atomic<int> ran{0};
  w.thread([&, queue] {
    try {
      queue->run([] { throw broken(); });
      testing::check(false, "it throws");
    } catch (const broken&) {
    }
  });
  w.thread([&, queue] { queue->run([&ran] { ran.fetch_add(1, rlx); }); });
  w.finally([&, queue] {
    testing::check(ran.load(rlx) == 1, "the other one has run");
    delete queue;
  });
}

// ---- an executor that refuses -------------------------------------------------------------------

// "Scheduled" is noted, then the executor throws: the next one finds it scheduled and only queues.
void loses_what_was_refused(world& w) {
  std::atomic<bool> scheduled{false};
  std::atomic<int> queued{0};
  int ran = 0;
  const auto post = [&](bool refuses) {
    queued.fetch_add(1, ar);
    if (scheduled.exchange(true, ar)) return;
    if (refuses) return;  // by a throw
    ran += queued.exchange(0, ar);
    scheduled.store(false, rel);
  };
  w.thread([&] { post(true); });
  w.thread([&] { post(false); });
  w.finally([&] { testing::check(ran == 2, "both have run in the end"); });
}

void ours_is_refused(world& w) {
  queue_options how = strictly();
  how.executor = [](auto) { throw broken(); };
  how.on_error = [](const std::exception_ptr&) {};
  auto* const queue = new serial_queue(how);
  int ran = 0;
  for (int t = 0; t < 2; ++t) {
    w.thread([&, queue] { static_cast<void>(queue->post([&ran] { ++ran; })); });
  }
  w.finally([&, queue] {
    queue->drain();
    testing::check(ran == 2, "both have run in the end");
    delete queue;
  });
}

// ---- whole histories ----------------------------------------------------------------------------

// A call and its answer: of a task, how many ran before it; of a drain, how many had run behind it.
struct turn_call {
  enum class kind { task, drain, close } what = kind::task;
  std::size_t id = 0;
  int turn = 0;
  bool accepted = true;

  friend std::string describe(const turn_call& c) {
    constexpr const char* names[] = {"task ", "drain ", "close "};
    return testing::history_detail::words(names[static_cast<int>(c.what)], c.id,
                                          c.accepted ? " had turn " : " was refused ", c.turn);
  }
};

// What a queue is to who looks at it from outside: an accepted task is done within its call.
struct one_by_one {
  int ran = 0;
  bool closed = false;

  bool apply(const turn_call& c, bool answered) {
    using kind = turn_call::kind;
    closed = closed || c.what == kind::close;
    if (c.what == kind::close) return true;
    if (c.what == kind::drain) return !answered || c.turn >= ran;
    if (answered && c.accepted == closed) return false;
    return closed || c.turn == ran++ || !answered;
  }
  friend bool operator==(const one_by_one&, const one_by_one&) = default;
};

// tell, look: a flag, by which one thread may learn that the other's calls came before its own.
// stand: a post that could be stopped.
enum class step { post, stand, run, drain, shut, tell, look };
using steps = std::vector<step>;

template <class Queue>
struct recorded_queue {
  explicit recorded_queue(Queue* its) : queue(its) {}

  void take(step what, std::size_t id) {
    using kind = turn_call::kind;
    const auto task = [this, id] {
      turns[id] = ran++;
      ended.store(ran, rlx);
    };
    if (what == step::post) {
      calls.record({kind::task, id}, [&](turn_call& c) {
        c.accepted = queue->post(task) == post_result::accepted;
      });
    } else if (what == step::stand) {
      calls.record({kind::task, id}, [&](turn_call& c) {
        c.accepted = queue->post(task, never.get_token()) == post_result::accepted;
      });
    } else if (what == step::run) {
      calls.record({kind::task, id}, [&](turn_call& c) {
        try {
          queue->run(task);
        } catch (const std::system_error&) {
          c.accepted = false;
        }
      });
    } else if (what == step::drain) {
      calls.record({kind::drain, id}, [&](turn_call& c) {
        queue->drain();
        c.turn = ended.load(rlx);
      });
    } else if (what == step::shut) {
      calls.record({kind::close, id}, [&](turn_call&) { queue->close(); });
    } else if (what == step::tell) {
      raise(told);
    } else {
      static_cast<void>(told.load(acq));
    }
  }
  void check() const {
    calls.check([this](const auto& all) {
      auto answered = all;  // that of a post is known now
      for (auto& one : answered) {
        if (one.op.what == turn_call::kind::task) one.op.turn = turns[one.op.id];
      }
      return testing::linearizable(answered, one_by_one{});
    });
  }

  Queue* queue;
  support::stop_source never;
  int ran = 0;  // plain, as the turns: a race if two tasks run at once
  std::array<int, 8> turns{-1, -1, -1, -1, -1, -1, -1, -1};
  std::atomic<int> ended{0}, told{0};
  testing::explored_history<turn_call> calls;
};

template <class Queue>
void history_of(world& w, Queue* queue, const std::vector<steps>& threads) {
  recorded_queue<Queue> book(queue);
  std::size_t id = 0;
  for (const steps& its : threads) {
    w.thread([&book, &its, first = id] {
      for (std::size_t i = 0; i < its.size(); ++i) book.take(its[i], first + i);
    });
    id += its.size();
  }
  w.finally([&] {
    queue->drain();
    book.check();
    delete queue;
  });
}

// A list for each producer. Who finds nobody at work does what is listed, the last thread's first.
class lists_of_producers {
public:
  post_result post(const std::function<void()>& f, support::stop_source::token) { return post(f); }
  post_result post(const std::function<void()>& f) {
    lock(lock_);
    lists_[testing::here().thread].push_back(f);
    const bool works = !std::exchange(working_, true);
    lock_.store(0, rel);
    if (works) work();
    return post_result::accepted;
  }
  void run(const std::function<void()>& f) {
    std::atomic<int> done{0};
    static_cast<void>(post([&] {
      f();
      raise(done);
    }));
    await(done, 1);
  }
  void drain() {}
  void close() {}

private:
  void work() {
    for (;;) {
      lock(lock_);
      std::vector<std::function<void()>> taken;
      for (std::size_t i = lists_.size(); i-- != 0 && taken.empty();) taken.swap(lists_[i]);
      working_ = !taken.empty();
      lock_.store(0, rel);
      if (taken.empty()) return;
      for (const auto& f : taken) f();
    }
  }

  std::atomic<int> lock_{0};
  bool working_ = false;
  std::array<std::vector<std::function<void()>>, 4> lists_;
};

using enum step;

// While the first thread's task runs, the two others' are listed.
const std::vector<steps> told_by_another{{run}, {post, tell}, {look, post}};

}  // namespace

TEST_CASE("bugs: close racing post") {
  failing(accepted_after_close);
  proved(ours_closes, whole_waits());
}

TEST_CASE("bugs: cancel racing run") {
  failing(runs_what_was_cancelled);
  proved(ours_cancels, whole_waits());
}

TEST_CASE("bugs: a stack node touched after its completion") {
  failing(touches_what_is_gone);
  proved(ours_lets_go, whole_waits());
}

TEST_CASE("bugs: reordering across producers") {
  failing(reorders);
  proved(ours_keeps_order, whole_waits());
}

TEST_CASE("bugs: Vyukov's false empty") {
  failing(takes_half_linked_for_empty);
  proved(ours_is_not_empty, whole_waits());
}

TEST_CASE("bugs: a starving lane") {
  CHECK_FALSE(serves_all_lanes(0, 1000));
  CHECK(serves_all_lanes(4, 1000));
  CHECK(ours_serves_all_lanes());
}

TEST_CASE("bugs: work lost in a destructor") {
  failing(loses_work_as_it_goes);
  proved(ours_goes, whole_waits());
}

TEST_CASE("bugs: a throw that leaves those who wait hanging") {
  failing(hangs_after_a_throw);
  proved(ours_goes_on, whole_waits());
}

TEST_CASE("bugs: an executor that refuses") {
  failing(loses_what_was_refused);
  proved(ours_is_refused, whole_waits());
}

TEST_CASE("bugs: a queue answers as if each call did its task at once, in every execution") {
  const auto ours = [](std::vector<steps> threads) {
    proved([&](world& w) { history_of(w, new serial_queue(strictly()), threads); }, whole_waits());
  };
  ours(told_by_another);
  ours({{post, tell, run}, {look, run, post}});
  ours({{post, run}, {post, drain}});
  ours({{run}, {post, stand, post}});
  ours({{post, tell, shut}, {look, post, run}});
  const auto theirs =
      failing([](world& w) { history_of(w, new lists_of_producers, told_by_another); });
  CHECK(theirs.failure.find("no order explains the answer") != std::string::npos);
}

TEST_CASE("bugs: mutants", "[.mutants]") {
  testing::mutation_options how;
  how.how = whole_waits();
  mutants({ours_closes, ours_keeps_order, ours_goes_on}, how);
}
