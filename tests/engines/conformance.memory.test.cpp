// SPDX-License-Identifier: BSL-1.0
// The suite of conformance on the engine in memory.

#include <interlock/memory/client.hpp>

#include <utility>

namespace {

class data_set {
public:
  using engine = interlock::memory::client;

  engine client(interlock::store::client_options options = {}) {
    return first_.beside(std::move(options));
  }

private:
  engine first_;
};

}  // namespace

#include "engines/conformance.hpp"

TEST_CASE("Histories with lost replies are explained if unknown may take effect and only then") {
  using namespace interlock::testing;
  constexpr std::size_t threads = 3;
  interlock::memory::client first;
  ticket_clock clock;
  history<counter_call> calls(clock, threads);
  std::vector<int> unknown(threads, 0);
  support::run_threads(threads, [&](std::size_t me) {
    engine e = first.beside();
    e.inject(interlock::memory::faults::seeded(me, {.drop = 50, .lose_reply = 100}));
    const object hits = e.object_named(object_kind::counter, "hits");
    for (int i = 0; i < 60; ++i) {
      const std::int64_t n = i % 3 == 0 ? 0 : i + 1;
      counter_call asked{n == 0 ? counter_call::kind::load : counter_call::kind::add, n, 0};
      auto open = calls.begin(me, asked);
      auto answer = n == 0 ? e.counter_load(hits, {}) : e.counter_add(hits, n, {});
      while (answer.refused()) {  // not done, so asked again as the same operation
        answer = n == 0 ? e.counter_load(hits, {}) : e.counter_add(hits, n, {});
      }
      unknown[me] += answer.unknown();
      if (!answer) continue;
      asked.seen = *answer - n;
      open.answer(asked);
    }
  });
  auto all = calls.operations();
  CHECK(unknown[0] + unknown[1] + unknown[2] > 0);
  CHECK(linearizable(all, counter_state{}).text() == "correct");
  // who takes an unknown for undone finds answers that nothing explains
  std::erase_if(all, [](const auto& one) { return !one.when.answered(); });
  CHECK_FALSE(linearizable(all, counter_state{}));
}
