// SPDX-License-Identifier: BSL-1.0
// inplace_stop_token: the contract, one guarantee a case.

#include <interlock/inplace_stop_token.hpp>

#include <interlock/detail/stoppable.hpp>

#include <atomic>
#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/allocations.hpp"
#include "support/catch.hpp"
#include "support/death.hpp"
#include "support/detached.hpp"
#include "support/permits.hpp"
#include "support/small_stack.hpp"
#include "support/threads.hpp"

using interlock::inplace_stop_callback;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::wait_status;

namespace {

// What C++26 asks of a stop token, [stoptoken.concepts].
template <template <class> class>
struct an_alias;
template <class Token>
concept stoppable_token =
    requires(const Token token) {
      typename an_alias<Token::template callback_type>;
      { token.stop_requested() } noexcept -> std::same_as<bool>;
      { token.stop_possible() } noexcept -> std::same_as<bool>;
      { Token(token) } noexcept;
    } && std::copyable<Token> && std::equality_comparable<Token> && std::swappable<Token>;

}  // namespace

static_assert(stoppable_token<inplace_stop_token>);
static_assert(interlock::detail::stop_token_like<inplace_stop_token>);
static_assert(std::is_trivially_copyable_v<inplace_stop_token>);
static_assert(std::is_nothrow_default_constructible_v<inplace_stop_token>);
static_assert(!std::is_copy_constructible_v<inplace_stop_source>);
static_assert(!std::is_move_constructible_v<inplace_stop_source>);
static_assert(!std::is_move_constructible_v<inplace_stop_callback<void (*)()>>);
static_assert(inplace_stop_source::stop_possible());
static_assert(sizeof(inplace_stop_source) <= 40);
static_assert(sizeof(inplace_stop_callback<void (*)()>) <= 40);
static_assert(std::is_same_v<inplace_stop_token::callback_type<void (*)()>,
                             inplace_stop_callback<void (*)()>>);

namespace {

constinit inplace_stop_source in_static_storage;

struct counts {
  int* calls;
  void operator()() const noexcept { ++*calls; }
};

}  // namespace

TEST_CASE("A callback is called once if the stop is requested and never otherwise") {
  inplace_stop_source source;
  int gone = 0;
  int stays = 0;
  { const inplace_stop_callback out(source.get_token(), counts{&gone}); }
  {
    const inplace_stop_callback in(source.get_token(), counts{&stays});
    CHECK_FALSE(source.stop_requested());
    CHECK(source.request_stop());
    CHECK(source.stop_requested());
    CHECK(stays == 1);
    CHECK_FALSE(source.request_stop());
  }
  CHECK(gone == 0);
  CHECK(stays == 1);
}

TEST_CASE("callbacks are called in the order in which they were registered") {
  inplace_stop_source source;
  std::vector<int> calls;
  const auto logs = [&](int id) { return [&calls, id] { calls.push_back(id); }; };
  const inplace_stop_callback a(source.get_token(), logs(1));
  auto between = std::make_optional<inplace_stop_callback<std::decay_t<decltype(logs(0))>>>(
      source.get_token(), logs(2));
  const inplace_stop_callback b(source.get_token(), logs(3));
  between.reset();
  const inplace_stop_callback c(source.get_token(), logs(4));
  source.request_stop();
  CHECK(calls == std::vector<int>{1, 3, 4});
}

TEST_CASE("A callback that is registered after the request is called by its constructor") {
  inplace_stop_source source;
  source.request_stop();
  int calls = 0;
  {
    const inplace_stop_callback late(source.get_token(), counts{&calls});
    CHECK(calls == 1);
  }
  CHECK(calls == 1);
}

TEST_CASE("a callback that is registered by a callback is called at once") {
  inplace_stop_source source;
  int calls = 0;
  const inplace_stop_callback outer(source.get_token(), [&] {
    const inplace_stop_callback inner(source.get_token(), counts{&calls});
    CHECK(calls == 1);
  });
  source.request_stop();
  CHECK(calls == 1);
}

TEST_CASE("A callback may destroy itself") {
  struct self_made {
    explicit self_made(inplace_stop_source& source, int& count)
        : calls(count), bell(source.get_token(), destroys{this}) {}
    struct destroys {
      self_made* self;
      void operator()() const {
        ++self->calls;
        const std::unique_ptr<self_made> gone(self);
      }
    };
    int& calls;
    inplace_stop_callback<destroys> bell;
  };
  inplace_stop_source source;
  int calls = 0;
  for (int i = 0; i < 3; ++i) std::make_unique<self_made>(source, calls).release();
  source.request_stop();
  CHECK(calls == 3);
}

TEST_CASE("a callback may destroy another one, which is then not called") {
  inplace_stop_source source;
  int calls = 0;
  std::optional<inplace_stop_callback<counts>> second;
  const inplace_stop_callback first(source.get_token(), [&] { second.reset(); });
  second.emplace(source.get_token(), counts{&calls});
  source.request_stop();
  CHECK(calls == 0);
}

TEST_CASE("A destroyed callback is not running on another thread") {
  inplace_stop_source source;
  std::atomic<bool> inside{false};
  std::atomic<bool> go_on{false};
  std::atomic<bool> left{false};
  bool returned_after = false;
  const auto body = [&] {
    inside.store(true);
    while (!go_on.load()) std::this_thread::yield();
    left.store(true);
  };
  std::optional<inplace_stop_callback<decltype(body)>> bell;
  bell.emplace(source.get_token(), body);
  std::thread stopper([&] { source.request_stop(); });
  while (!inside.load()) std::this_thread::yield();
  std::thread leaver([&] {
    bell.reset();
    returned_after = left.load();
  });
  go_on.store(true);
  leaver.join();
  stopper.join();
  CHECK(returned_after);
}

TEST_CASE("What was done before the request is visible to whoever sees it") {
  for (std::size_t i = 0; i < support::rounds(1'000); ++i) {
    inplace_stop_source source;
    int data = 0;
    int seen = -1;
    std::thread looks([&] {
      while (!source.stop_requested()) std::this_thread::yield();
      seen = data;
    });
    data = 42;
    source.request_stop();
    looks.join();
    REQUIRE(seen == 42);
  }
}

TEST_CASE("A coroutine that a callback wakes goes on after the last callback has returned") {
  support::permits never;
  auto source = std::make_unique<inplace_stop_source>();
  std::vector<std::string> log;
  const auto waits = [&](bool last) -> support::detached {
    const wait_status how = co_await never.take_unless(source->get_token());
    log.push_back(to_string(how));
    if (last) source.reset();  // nobody is at it any more
  };
  waits(false);
  {
    std::optional<inplace_stop_callback<void (*)()>> none;
    waits(true);
  }
  source->request_stop();
  CHECK(log == std::vector<std::string>{"cancelled", "cancelled"});
  CHECK(source == nullptr);
}

TEST_CASE("one request that ends a million waits needs no deep stack") {
  const std::size_t count = support::rounds(1'000'000);
  std::size_t cancelled = 0;
  const bool ran = support::on_small_stack([&] {
    support::permits never;
    inplace_stop_source source;
    const auto waits = [&]() -> support::detached {
      const wait_status how = co_await never.take_unless(source.get_token());
      if (how == wait_status::cancelled) ++cancelled;
    };
    for (std::size_t i = 0; i < count; ++i) waits();
    source.request_stop();
  });
  CHECK(ran);
  CHECK(cancelled == count);
}

TEST_CASE("a token of no source is never stopped") {
  inplace_stop_token none;
  CHECK_FALSE(none.stop_possible());
  CHECK_FALSE(none.stop_requested());
  int calls = 0;
  { const inplace_stop_callback bell(none, counts{&calls}); }
  CHECK(calls == 0);
  inplace_stop_token some = in_static_storage.get_token();
  CHECK(some.stop_possible());
  CHECK(some != none);
  swap(some, none);
  CHECK(none == in_static_storage.get_token());
  CHECK(some == inplace_stop_token());
}

TEST_CASE("stop tokens allocate nothing") {
  const std::size_t before = support::allocations();
  {
    inplace_stop_source source;
    int calls = 0;
    const inplace_stop_callback bell(source.get_token(), counts{&calls});
    { const inplace_stop_callback out(source.get_token(), counts{&calls}); }
    source.request_stop();
  }
  CHECK(support::allocations() == before);
}

TEST_CASE("a stop source that is destroyed under a callback ends the program") {
  CHECK(support::death_message([] {
          std::optional<inplace_stop_source> source(std::in_place);
          int calls = 0;
          const inplace_stop_callback bell(source->get_token(), counts{&calls});
          source.reset();
        }).find("~inplace_stop_source: a callback is registered") != std::string::npos);
}

TEST_CASE("callbacks come and go while another thread requests the stop: each is called once or gone") {
  const std::size_t rounds = support::rounds(2'000);
  std::atomic<std::size_t> wrong{0};
  for (std::size_t round = 0; round < rounds; ++round) {
    inplace_stop_source source;
    support::run_threads(3, [&](std::size_t id) {
      if (id == 0) {
        if (!source.request_stop()) wrong.fetch_add(1);
        return;
      }
      for (int i = 0; i < 20; ++i) {
        int calls = 0;  // plain: the destructor orders it
        {
          const inplace_stop_callback bell(source.get_token(), counts{&calls});
        }
        if (calls > 1) wrong.fetch_add(1);
      }
    });
  }
  CHECK(wrong.load() == 0);
}
