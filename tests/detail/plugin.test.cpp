// SPDX-License-Identifier: BSL-1.0
// The kernel reads a thread's rseq_cs whenever it takes the processor away from it. Should that
// still point into a library that was unloaded, the thread dies of it, long after.

#include <dlfcn.h>
#include <signal.h>
#include <sys/wait.h>

#include <interlock/detail/restartable.hpp>
#include <interlock/detail/stripe_state.hpp>

#include <vector>

#include "support/catch.hpp"
#include "support/rseq.hpp"

namespace il = interlock::detail;
namespace seq = interlock::detail::restartable;

#ifdef INTERLOCK_TESTS_SEQUENCES

namespace {

class plugin {
public:
  plugin() : handle_(::dlopen(INTERLOCK_PLUGIN, RTLD_NOW | RTLD_LOCAL)) {}
  bool loaded() const { return handle_ != nullptr; }
  template <class Function>
  Function* find(const char* name) const {
    return reinterpret_cast<Function*>(::dlsym(handle_, name));
  }
  // Returns: whether the library has left the process.
  bool unload() {
    ::dlclose(handle_);
    return ::dlopen(INTERLOCK_PLUGIN, RTLD_NOW | RTLD_NOLOAD) == nullptr;
  }

private:
  void* handle_;
};

using add_many = std::uint64_t(const std::atomic<std::uint64_t>&, std::uint64_t);
using add_one = bool(const std::atomic<std::uint64_t>&);

struct object {
  std::vector<il::stripe_slot> slots =
      std::vector<il::stripe_slot>(seq::rows() * il::row_bytes / sizeof(il::stripe_slot));
  std::atomic<std::uint64_t> state{il::state_of(slots.data())};
  std::uint64_t sum() const {
    std::uint64_t all = 0;
    for (std::size_t row = 0; row < seq::rows(); ++row)
      all += il::slot_of(state.load(), row).load();
    return all;
  }
};

// Effects: uses the plugin in the naive form, unloads it, and lets this thread be moved about.
// Returns: whether it came to that: the kernel had not looked before the library was gone.
bool dangle() {
  const object counter;
  plugin library;
  auto* const add = library.find<add_one>("plugin_add_and_leave");
  add(counter.state);
  library.unload();
  if (support::area_of_this_thread().rseq_cs == 0) return false;
  support::mover about({support::thread_number()});
  for (const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
       std::chrono::steady_clock::now() < end;) {
  }
  return true;
}

}  // namespace

TEST_CASE("threads outlive a library whose sequences they ran") {
  if (!seq::available()) return;
  constexpr std::size_t threads = 6;
  const object counter;
  plugin library;
  REQUIRE(library.loaded());
  CHECK(library.find<bool()>("plugin_unloadable")());
  auto* const add = library.find<add_many>("plugin_add");
  REQUIRE(add != nullptr);
  std::atomic<std::uint64_t> landed{0};
  std::atomic<std::size_t> used{0}, pointing{0}, alive{0};
  std::atomic<bool> gone{false};
  std::vector<std::atomic<pid_t>> numbers(threads);
  bool unloaded = false;
  support::run_threads(threads + 1, [&](std::size_t me) {
    if (me < threads) {
      numbers[me].store(support::thread_number());
      landed.fetch_add(add(counter.state, 10'000));
      pointing.fetch_add(support::area_of_this_thread().rseq_cs != 0);
      used.fetch_add(1);
      while (!gone.load()) {
      }
      for (std::size_t i = 0; i < support::rounds(20'000'000); ++i) asm volatile("");
      alive.fetch_add(1);
      return;
    }
    while (used.load() < threads) std::this_thread::yield();
    unloaded = library.unload();
    std::vector<pid_t> all;
    for (auto& number : numbers) all.push_back(number.load());
    support::mover about(all);
    gone.store(true);
    while (alive.load() < threads) std::this_thread::yield();
  });
  CHECK(unloaded);
  CHECK(pointing.load() == 0);
  CHECK(landed.load() == counter.sum());
  CHECK(landed.load() > 0);
}

TEST_CASE("a thread that keeps pointing at unloaded code is killed") {
  if (!seq::available()) return;
  int status = 0;
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGSEGV, SIG_DFL);  // past the test framework's own handler
    for (int i = 0; i < 1'000 && !dangle(); ++i) {
    }
    ::_exit(0);
  }
  ::waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGSEGV);
}

#else

TEST_CASE("without sequences nothing can stay behind") {
  CHECK(!seq::available());
}

#endif
