// SPDX-License-Identifier: BSL-1.0
// The locks and condition variables of the standard library in explored threads, and the calls
// that explored threads are refused.

#include <array>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include <poll.h>
#include <semaphore.h>
#include <unistd.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

#include "front.hpp"

using namespace std::chrono_literals;
using testing::world;

namespace {

bool says(const testing::report& report, const char* words) {
  INFO(report.text());
  return report.failure.find(words) != std::string::npos;
}

// Set behind a call: as the last thing that a function does it may be a jump, whose line is lost.
volatile int behind = 0;

// ---- mutexes ------------------------------------------------------------------------------------

template <class Mutex>
void counts(world& w, int threads) {
  Mutex mutex;
  plain<int> inside{0};
  for (int i = 0; i < threads; ++i) {
    w.thread([&] {
      const std::lock_guard guard(mutex);
      inside = inside + 1;
    });
  }
  w.finally([&, threads] { testing::check(inside == threads, "each was inside"); });
}

}  // namespace

TEST_CASE("mutex: an execution for each order in which it is taken, and no race inside") {
  CHECK(proved([](world& w) { counts<std::mutex>(w, 1); }).executions == 1);
  CHECK(proved([](world& w) { counts<std::mutex>(w, 2); }).executions == 2);
  CHECK(proved([](world& w) { counts<std::mutex>(w, 3); }).executions == 6);
  CHECK(proved([](world& w) { counts<std::mutex>(w, 4); }).executions == 24);
  CHECK(proved([](world& w) { counts<std::recursive_mutex>(w, 3); }).executions == 6);
  CHECK(proved([](world& w) { counts<std::shared_mutex>(w, 3); }).executions == 6);
  CHECK(proved([](world& w) { counts<std::timed_mutex>(w, 3); }).executions == 6);
  CHECK(says(failing([](world& w) {
               std::mutex mutex;
               plain<int> inside{0};
               for (int i = 0; i < 2; ++i) {
                 w.thread([&, i] {
                   std::unique_lock guard(mutex, std::defer_lock);
                   if (i == 0) guard.lock();
                   inside = inside + 1;
                 });
               }
               w.finally([] {});
             }),
             "data race"));
}

TEST_CASE("mutex: as many executions as there are orders of the critical sections, no more") {
  const auto sections = [](int threads, int times, bool of_their_own) {
    return proved([=](world& w) {
             std::array<std::mutex, 3> mutexes;
             for (int t = 0; t < threads; ++t) {
               w.thread([&, t] {
                 for (int i = 0; i < times; ++i) {
                   const std::lock_guard guard(
                       mutexes[of_their_own ? static_cast<unsigned>(t) : 0]);
                 }
               });
             }
             w.finally([] {});
           })
        .executions;
  };
  CHECK(sections(2, 2, false) == 6);   // 4! / (2! 2!)
  CHECK(sections(2, 3, false) == 20);  // 6! / (3! 3!)
  CHECK(sections(3, 2, false) == 90);  // 6! / (2! 2! 2!)
  CHECK(sections(3, 2, true) == 1);
}

TEST_CASE("mutex: two in opposite order are a deadlock") {
  CHECK(says(failing([](world& w) {
               std::mutex a, b;
               w.thread([&] {
                 const std::lock_guard first(a);
                 const std::lock_guard second(b);
               });
               w.thread([&] {
                 const std::lock_guard first(b);
                 const std::lock_guard second(a);
               });
               w.finally([] {});
             }),
             "deadlock: thread 1 waits for a lock that nobody will release; thread 2 waits"));
  proved([](world& w) {
    std::mutex a, b;
    for (int i = 0; i < 2; ++i) w.thread([&] { const std::scoped_lock both(a, b); });
    w.finally([] {});
  });
}

TEST_CASE("mutex: unlocked by who has not locked it, or locked twice, is named") {
  CHECK(says(failing([](world& w) {
               std::mutex mutex;
               w.thread([&] {
                 mutex.unlock();
                 behind = 1;
               });
               w.finally([] {});
             }),
             "thread 1 unlocks what it has not locked (locks.model.cpp:"));
  CHECK(says(failing([](world& w) {
               std::mutex mutex;
               w.thread([&] {
                 mutex.lock();
                 mutex.lock();
                 behind = 1;
               });
               w.finally([] {});
             }),
             "thread 1 locks a mutex that it has locked already (locks.model.cpp:"));
  CHECK(proved([](world& w) {
          std::recursive_mutex mutex;
          w.thread([&] {
            const std::lock_guard outer(mutex);
            const std::lock_guard inner(mutex);
            const std::unique_lock innermost(mutex, std::try_to_lock);
            testing::check(innermost.owns_lock(), "may be taken again");
          });
          w.thread([&] { const std::lock_guard other(mutex); });
          w.finally([] {});
        }).executions == 2);
}

TEST_CASE("mutex: try_lock fails where another thread may have it, a time-out where it may last") {
  CHECK(joined(seen(proved([](world& w) {
          std::mutex mutex;
          bool had[2] = {};
          for (bool& mine : had) {
            w.thread([&] {
              const std::unique_lock guard(mutex, std::try_to_lock);
              mine = guard.owns_lock();
            });
          }
          w.finally([&] { w.outcome(had[0], had[1]); });
        }))) == "0 1, 1 0, 1 1");
  CHECK(joined(seen(proved([](world& w) {
          std::timed_mutex mutex;
          bool in_time = false;
          w.thread([&] { const std::lock_guard guard(mutex); });
          w.thread([&] {
            in_time = mutex.try_lock_for(1ms);
            if (in_time) mutex.unlock();
          });
          w.finally([&] { w.outcome(in_time); });
        }))) == "0, 1");
}

TEST_CASE("mutex: destroyed while another thread is about to unlock it is found") {
  const auto with = [](bool last_out) {
    return [last_out](world& w) {
      struct object {
        std::mutex mutex;
        plain<int> users{2};
      };
      auto* const shared = new object;
      for (int i = 0; i < 2; ++i) {
        w.thread([shared, last_out] {
          shared->mutex.lock();
          const bool last = (shared->users = shared->users - 1) == 0;
          if (last && !last_out) delete shared;  // and unlocks what is gone
          if (!last || last_out) shared->mutex.unlock();
          if (last && last_out) delete shared;
        });
      }
      w.finally([] {});
    };
  };
  proved(with(true));
  CHECK(says(failing([](world& w) {
               auto* const mutex = new std::mutex;
               atomic<int> gone{0};
               w.thread([&] {
                 mutex->lock();
                 gone.store(1, rel);
                 mutex->unlock();
               });
               w.thread([&] {
                 if (gone.load(acq) == 1) delete mutex;
               });
               w.finally([&] {
                 if (gone.load(rlx) == 0) delete mutex;
               });
             }),
             "free"));
}

TEST_CASE("shared_mutex: readers are inside together, a writer alone") {
  const auto body = [](bool writes_shared) {
    return [writes_shared](world& w) {
      std::shared_mutex mutex;
      plain<int> data{0};
      atomic<int> readers{0};
      int most[2] = {};
      for (int& mine : most) {
        w.thread([&] {
          const std::shared_lock guard(mutex);
          mine = readers.fetch_add(1, rlx) + 1;
          testing::check(data >= 0, "read");
          readers.fetch_sub(1, rlx);
        });
      }
      w.thread([&, writes_shared] {
        if (writes_shared) {
          const std::shared_lock guard(mutex);
          data = 1;
        } else {
          const std::lock_guard guard(mutex);
          data = 1;
        }
      });
      w.finally([&] { w.outcome(most[0] + most[1]); });
    };
  };
  CHECK(joined(seen(proved(body(false)))) == "2, 3");
  CHECK(says(failing(body(true)), "data race"));
}

// ---- condition variables ------------------------------------------------------------------------

namespace {

enum class notifies { under_lock, after_unlock, never, without_lock };

// One thread waits for a flag that another one sets.
struct signal {
  std::mutex mutex;
  std::condition_variable changed;
  atomic<int> flag{0};

  void wait() {
    std::unique_lock guard(mutex);
    while (flag.load(rlx) == 0) changed.wait(guard);
  }
  void set(notifies how) {
    std::unique_lock guard(mutex, std::defer_lock);
    if (how != notifies::without_lock) guard.lock();
    flag.store(1, rlx);
    if (how == notifies::after_unlock) guard.unlock();
    if (how != notifies::never) changed.notify_one();
  }
};

void signals(world& w, notifies how) {
  signal s;
  w.thread([&] { s.wait(); });
  w.thread([&, how] { s.set(how); });
  w.finally([] {});
}

}  // namespace

TEST_CASE("condition variable: a flag set under the lock and notified arrives; else it is lost") {
  proved([](world& w) { signals(w, notifies::under_lock); });
  proved([](world& w) { signals(w, notifies::after_unlock); });
  for (const notifies how : {notifies::never, notifies::without_lock}) {
    CHECK(says(failing([how](world& w) { signals(w, how); }),
               "deadlock: thread 1 waits for a condition variable that nobody will notify"));
  }
}

TEST_CASE("condition variable: notify after the waiter may have destroyed it is found") {
  const auto body = [](notifies how) {
    return [how](world& w) {
      auto* const s = new signal;
      w.thread([s] {
        s->wait();
        delete s;
      });
      w.thread([s, how] { s->set(how); });
      w.finally([] {});
    };
  };
  proved(body(notifies::under_lock));
  const auto late = failing(body(notifies::after_unlock));
  CHECK((says(late, "free") || says(late, "data race")));
}

TEST_CASE("condition variable: one notification for two waiters is lost, for all it is not") {
  const auto body = [](bool all) {
    return [all](world& w) {
      std::mutex mutex;
      std::condition_variable changed;
      plain<int> flag{0};
      for (int i = 0; i < 2; ++i) {
        w.thread([&] {
          std::unique_lock guard(mutex);
          changed.wait(guard, [&] { return flag == 1; });
        });
      }
      w.thread([&, all] {
        const std::lock_guard guard(mutex);
        flag = 1;
        all ? changed.notify_all() : changed.notify_one();
      });
      w.finally([] {});
    };
  };
  proved(body(true));
  CHECK(says(failing(body(false)), "nobody will notify"));
}

TEST_CASE("condition variable: who takes each wake-up for the event is found") {
  const auto body = [](world& w) {
    std::mutex mutex;
    std::condition_variable changed;
    plain<int> flag{0};
    w.thread([&] {
      std::unique_lock guard(mutex);
      if (flag == 0) changed.wait(guard);
      testing::check(flag == 1, "the event has come");
    });
    w.thread([&] {
      const std::lock_guard guard(mutex);
      flag = 1;
      changed.notify_one();
    });
    w.finally([] {});
  };
  proved(body);
  testing::options how;
  how.spurious_wakeups = 1;
  CHECK(says(testing::explore(how, body), "the event has come"));
}

TEST_CASE("condition variable: a wait with a deadline ends by time, without one it is a deadlock") {
  const auto report = proved([](world& w) {
    std::mutex mutex;
    std::condition_variable changed;
    plain<int> flag{0};
    bool in_time = false;
    w.thread([&] {
      std::unique_lock guard(mutex);
      const auto start = std::chrono::steady_clock::now();
      in_time = changed.wait_for(guard, 10ms, [&] { return flag == 1; });
      testing::check(in_time || std::chrono::steady_clock::now() == start + 10ms, "on time");
    });
    w.thread([&] {
      const std::lock_guard guard(mutex);
      flag = 1;  // and does not notify
    });
    w.finally([&] { w.outcome(in_time); });
  });
  CHECK(joined(seen(report)) == "0, 1");
}

TEST_CASE("condition variable: without its mutex it is named") {
  CHECK(says(failing([](world& w) {
               std::mutex mutex;
               std::condition_variable changed;
               w.thread([&] {
                 std::unique_lock guard(mutex);
                 mutex.unlock();
                 changed.wait(guard);
                 behind = 1;
               });
               w.finally([] {});
             }),
             "thread 1 waits on a condition variable without its mutex (locks.model.cpp:"));
}

TEST_CASE("a queue with a mutex and two condition variables delivers in order") {
  const auto body = [](bool waits_for_space) {
    return [waits_for_space](world& w) {
      std::mutex mutex;
      std::condition_variable filled, emptied;
      plain<int> slot{0};
      w.thread([&, waits_for_space] {
        for (int i = 1; i <= 2; ++i) {
          std::unique_lock guard(mutex);
          if (waits_for_space) emptied.wait(guard, [&] { return slot == 0; });
          slot = i;
          filled.notify_one();
        }
      });
      w.thread([&] {
        for (int i = 1; i <= 2; ++i) {
          std::unique_lock guard(mutex);
          filled.wait(guard, [&] { return slot != 0; });
          testing::check(slot == i, "in order");
          slot = 0;
          emptied.notify_one();
        }
      });
      w.finally([] {});
    };
  };
  proved(body(true));
  CHECK(says(failing(body(false)), ""));
}

TEST_CASE("locks and condition variables are sampled and replayed as all else") {
  for (const auto kind :
       {testing::sampling::random_walk, testing::sampling::pct, testing::sampling::pos}) {
    testing::options how;
    how.sample = kind;
    how.samples = 200;
    const auto fine = testing::explore(how, [](world& w) { signals(w, notifies::under_lock); });
    CAPTURE(fine.text());
    CHECK(fine.failure.empty());
    CHECK(fine.executions > 100);
    CHECK(testing::explore(how, [](world& w) { counts<std::mutex>(w, 4); }).failure.empty());
    const auto lost = [](world& w) { signals(w, notifies::never); };
    CHECK(says(testing::explore(how, lost), "nobody will notify"));
    testing::options again;
    again.replay = failing(lost).replay;
    CHECK(says(testing::explore(again, lost), "nobody will notify"));
  }
}

// ---- once ---------------------------------------------------------------------------------------

TEST_CASE("call_once: one thread runs the function, the others wait for it") {
  const auto report = proved([](world& w) {
    static std::once_flag flag;  // not left over: each execution begins with a new one
    plain<int> made{0};
    for (int i = 0; i < 3; ++i) {
      w.thread([&] {
        std::call_once(flag, [&] { made = made + 1; });
        testing::check(made == 1, "made once");
      });
    }
    w.finally([] {});
  });
  CHECK(report.executions == 3);
}

TEST_CASE("call_once: after an exception another thread tries, each with its own function") {
  const auto report = proved([](world& w) {
    std::once_flag flag;
    atomic<int> made{0};
    for (int i = 0; i < 2; ++i) {
      w.thread([&, i] {
        try {
          std::call_once(flag, [&, i] {
            made.store(i + 1, rlx);
            if (i == 0) throw std::runtime_error("not yet");
          });
        } catch (const std::runtime_error&) {
        }
      });
    }
    w.finally([&] { testing::check(made.load(rlx) == 2, "the second one made it"); });
  });
  CHECK(report.executions == 2);
}

// ---- futexes and refused calls ------------------------------------------------------------------

#if defined(__linux__)

TEST_CASE("a futex by the system call is a parking word") {
  const auto body = [](bool wakes) {
    return [wakes](world& w) {
      atomic<std::uint32_t> word{0};
      w.thread([&] {
        while (word.load(acq) == 0) syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, nullptr);
      });
      w.thread([&, wakes] {
        word.store(1, rel);
        if (wakes) syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1);
      });
      w.finally([] {});
    };
  };
  proved(body(true));
  CHECK(says(failing(body(false)), "nobody will unpark it"));
}

#endif

TEST_CASE("a call that cannot be explored is named, with its thread, its line and what to do") {
  const auto refused = [](std::function<void()> call) {
    return failing([call](world& w) {
             w.thread([] {});
             w.thread([&call] { call(); });
             w.finally([] {});
           })
        .failure;
  };
  const auto expected = [](const std::string& call, const char* remedy) {
    return "thread 2 calls " + call + ", which cannot be explored: " + remedy;
  };
  const auto names = [](const std::string& failure, const std::string& text) {
    INFO(failure);
#if defined(__clang__)  // addr2line does not see through what Clang inlines
    if (text.find("std::thread)") != std::string::npos) return failure.find(text) == 0;
#endif
    return failure.find(text) == 0 && failure.find("(locks.model.cpp:") != std::string::npos;
  };
  constexpr const char* wait = "wait with spin_hint, park or a condition variable";
  CHECK(names(refused([] {
                std::thread([] {}).join();
                behind = 1;
              }),
              expected("pthread_create (std::thread)", "add the thread with world.thread")));
  CHECK(names(refused([] {
                std::this_thread::sleep_for(1ms);
                behind = 1;
              }),
              expected("nanosleep (std::this_thread::sleep_for)", wait)));
  CHECK(names(refused([] {
                usleep(1);
                behind = 1;
              }),
              expected("usleep", wait)));
  CHECK(names(refused([] {
                sleep(1);
                behind = 1;
              }),
              expected("sleep", wait)));
  CHECK(names(refused([] {
                char byte = 0;
                static_cast<void>(read(0, &byte, 1) == 1);
                behind = 1;
              }),
              expected("read", "keep input and output out")));
  CHECK(names(refused([] {
                static_cast<void>(write(1, "", 0) == 0);
                behind = 1;
              }),
              expected("write", "keep input and output out")));
  CHECK(names(refused([] {
                poll(nullptr, 0, 1);
                behind = 1;
              }),
              expected("poll", "keep input and output out")));
  CHECK(names(refused([] {
                sem_t semaphore;
                sem_init(&semaphore, 0, 0);
                sem_wait(&semaphore);
                behind = 1;
              }),
              expected("sem_wait", "it is not modelled; std::mutex")));
}

TEST_CASE("outside of explored threads the real functions are called") {
  std::mutex mutex;
  std::condition_variable changed;
  bool flag = false;
  std::thread other([&] {
    std::this_thread::sleep_for(1ms);
    const std::lock_guard guard(mutex);
    flag = true;
    changed.notify_one();
  });
  {
    std::unique_lock guard(mutex);
    changed.wait(guard, [&] { return flag; });
    CHECK_FALSE(changed.wait_for(guard, 1ms, [] { return false; }));
  }
  other.join();
  std::once_flag once;
  int calls = 0;
  for (int i = 0; i < 2; ++i) std::call_once(once, [&] { ++calls; });
  CHECK(calls == 1);
  std::shared_mutex shared;
  shared.lock_shared();
  CHECK_FALSE(shared.try_lock());
  shared.unlock_shared();
}
