// SPDX-License-Identifier: BSL-1.0
// inplace_stop_token in every execution: called once or gone, never under its destructor.

#include "testing/front.hpp"

#include <interlock/inplace_stop_token.hpp>

#include <utility>

#include "support/detached.hpp"
#include "support/permits.hpp"
#include "testing/last_user.hpp"

using interlock::inplace_stop_callback;
using interlock::inplace_stop_source;
using interlock::inplace_stop_token;
using interlock::wait_status;
using testing::world;

namespace {

// Counts in plain memory that its owner takes back behind it: a race if the call is not over.
struct rings {
  int* calls;
  void operator()() const noexcept { ++*calls; }
};

// What a source must not be: it forgets a callback when it calls it, and does not wait for the call.
class hasty_source {
public:
  void add(int* calls) {
    lock(door_);
    calls_ = calls;
    door_.store(0, rel);
  }
  void remove() {
    lock(door_);
    calls_ = nullptr;
    door_.store(0, rel);
  }
  void request_stop() {
    lock(door_);
    int* const found = std::exchange(calls_, nullptr);
    door_.store(0, rel);
    if (found != nullptr) ++*found;
  }

private:
  atomic<int> door_{0};
  int* calls_ = nullptr;
};

void leaves_under_the_call(world& w) {
  hasty_source source;
  w.thread([&] {
    auto* const calls = new int(0);
    source.add(calls);
    source.remove();
    delete calls;
  });
  w.thread([&] { source.request_stop(); });
  w.finally([] {});
}

// A callback comes and goes while the stop is requested.
void comes_and_goes(world& w) {
  inplace_stop_source source;
  int called = 0;
  w.thread([&] {
    auto* const calls = new int(0);
    { const inplace_stop_callback bell(source.get_token(), rings{calls}); }
    called = *calls;
    testing::check(called <= 1, "once");
    testing::check(called == 0 || source.stop_requested(), "not without a request");
    delete calls;
  });
  w.thread([&] { testing::check(source.request_stop(), "the first request"); });
  w.finally([&] { w.outcome(called); });
}

// One comes and goes behind another that stays, and is the next one to be called.
void goes_before_another(world& w) {
  inplace_stop_source source;
  int stays = 0;
  const inplace_stop_callback first(source.get_token(), rings{&stays});
  w.thread([&] {
    int calls = 0;
    { const inplace_stop_callback bell(source.get_token(), rings{&calls}); }
    testing::check(calls <= 1, "once");
  });
  w.thread([&] { source.request_stop(); });
  w.finally([&] { testing::check(stays == 1, "called once"); });
}

// Two of them.
void two_come_and_go(world& w) {
  inplace_stop_source source;
  w.threads(2, [&] {
    int calls = 0;
    { const inplace_stop_callback bell(source.get_token(), rings{&calls}); }
    testing::check(calls <= 1, "once");
  });
  w.thread([&] { source.request_stop(); });
  w.finally([] {});
}

void two_requests(world& w) {
  inplace_stop_source source;
  int calls = 0;
  const inplace_stop_callback bell(source.get_token(), rings{&calls});
  int first[2] = {};
  for (int t = 0; t < 2; ++t) {
    w.thread([&, t] { first[t] = source.request_stop() ? 1 : 0; });
  }
  w.finally([&] {
    testing::check(first[0] + first[1] == 1, "one of them was the first");
    testing::check(calls == 1, "called once");
  });
}

// The thread that is called destroys the callback from within it, while the list is looked at.
void destroys_itself(world& w) {
  inplace_stop_source source;
  struct once {
    struct destroys {
      once* self;
      void operator()() const noexcept {
        ++*self->calls;
        delete self;
      }
    };
    once(inplace_stop_source& from, int& count)
        : calls(&count), bell(from.get_token(), destroys{this}) {}
    int* calls;
    inplace_stop_callback<destroys> bell;
  };
  int calls = 0;
  new once(source, calls);
  w.thread([&] { source.request_stop(); });
  w.thread([&] { source.request_stop(); });
  w.finally([&] { testing::check(calls == 1, "called once"); });
}

void sees_what_came_before(world& w) {
  inplace_stop_source source;
  int goods = 0;
  w.thread([&] {
    goods = 3;
    source.request_stop();
  });
  w.thread([&] {
    if (source.stop_requested()) testing::check(goods == 3, "visible");
  });
  w.thread([&] {
    const auto look = [&] { testing::check(goods == 3, "visible to a callback"); };
    const inplace_stop_callback bell(source.get_token(), look);
  });
  w.finally([] {});
}

// A callback that stays is called, whoever is first.
void stays_and_is_called(world& w) {
  inplace_stop_source source;
  struct bell {
    bell(inplace_stop_source& from, int& count) : callback(from.get_token(), rings{&count}) {}
    inplace_stop_callback<rings> callback;
  };
  bell* kept = nullptr;
  int calls[2] = {};
  w.thread([&] {
    const bool late = source.stop_requested();
    kept = new bell(source, calls[0]);
    if (late) testing::check(calls[0] == 1, "called at once behind the request");
  });
  w.thread([&] {
    { const bell before(source, calls[1]); }
    testing::check(source.request_stop(), "the first request");
    testing::check(!source.request_stop(), "the second request");
    { const bell behind(source, calls[1]); }
    testing::check(calls[1] == 1, "called at once behind the request");
  });
  w.finally([&] {
    testing::check(calls[0] == 1, "called");
    delete kept;
  });
}

// Both request, one with a callback of its own; the last one destroys the source.
void registers_and_requests(world& w) {
  auto* const shared = used_by<inplace_stop_source>::make(2);
  int firsts[2] = {};
  w.thread([&, shared] {
    inplace_stop_source& source = **shared;
    const bool late = source.stop_requested();
    int calls = 0;
    {
      const inplace_stop_callback bell(source.get_token(), rings{&calls});
      testing::check(!late || calls == 1, "called at once behind the request");
      firsts[0] = source.request_stop() ? 1 : 0;
    }
    testing::check(firsts[0] == 0 || calls == 1, "called by its own request");
    shared->leave();
  });
  w.thread([&, shared] {
    firsts[1] = (*shared)->request_stop() ? 1 : 0;
    shared->leave();
  });
  w.finally([&] { testing::check(firsts[0] + firsts[1] == 1, "one of them was the first"); });
}

// The coroutine that is stopped, or let in, is the last to use the source.
void last_one_destroys(world& w) {
  struct scene {
    inplace_stop_source source;
    support::permits from;
  };
  auto* const shared = used_by<scene>::make(3);
  int went_on = 0;
  w.thread([&, shared] {
    const auto wait = [](used_by<scene>& s, int& count) -> support::detached {
      const wait_status how = co_await s->from.take_unless(s->source.get_token());
      testing::check(how == wait_status::acquired || s->source.stop_requested(), "no other reason");
      ++count;
      s.leave();
    };
    wait(*shared, went_on);
  });
  w.thread([shared] {
    (*shared)->source.request_stop();
    shared->leave();
  });
  w.thread([shared] {
    (*shared)->from.give();
    shared->leave();
  });
  w.finally([&] { testing::check(went_on == 1, "resumed once"); });
}

}  // namespace

TEST_CASE("inplace_stop_token: called once or gone, never under its destructor") {
  const auto report = proved(comes_and_goes);
  CHECK(joined(seen(report)) == "0, 1");
  proved(goes_before_another, whole_waits());
}

TEST_CASE("inplace_stop_token: two come and go", "[.deep]") {
  proved(two_come_and_go, whole_waits());
}

TEST_CASE("inplace_stop_token: one of two requests is the first") { proved(two_requests); }

TEST_CASE("inplace_stop_token: a callback that stays is called") { proved(stays_and_is_called); }

TEST_CASE("inplace_stop_token: to register and to request, and the last one destroys") {
  proved(registers_and_requests, whole_waits());
}

TEST_CASE("inplace_stop_token: a callback may destroy itself") { proved(destroys_itself, whole_waits()); }

TEST_CASE("inplace_stop_token: what was done before the request is visible") {
  proved(sees_what_came_before, whole_waits());
}

TEST_CASE("inplace_stop_token: a coroutine is stopped or let in, and may be the last one") {
  proved(last_one_destroys, whole_waits());
}

TEST_CASE("inplace_stop_token: a source that does not wait for a call is found") {
  failing(leaves_under_the_call);
}

TEST_CASE("inplace_stop_token: mutants", "[.mutants]") {
  mutants({comes_and_goes, sees_what_came_before, two_requests, registers_and_requests,
           stays_and_is_called});
}
