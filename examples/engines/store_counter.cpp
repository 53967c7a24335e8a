// SPDX-License-Identifier: BSL-1.0
// Count in a store: with another client, the same words. A reply that is lost changes nothing.
// Prints: 7 hits

#include <interlock/memory/counter.hpp>
#include <interlock/store/until_known.hpp>

#include <cstdio>

namespace memory = interlock::memory;
namespace store = interlock::store;

int main() {
  memory::client engine;
  memory::counter hits(engine, "hits");
  hits.add(5).value();  // throws if it was not done

  engine.inject(memory::faults([n = 0](const memory::request& r) mutable {  // loses two replies
    return r.done && n++ < 2 ? memory::fault::lose_reply() : memory::fault::none();
  }));
  const auto id = store::operation_id::fresh();
  auto now = hits.add(1, {.id = id});
  if (now.unknown()) now = hits.add(1, {.id = id});  // counted once in any case
  const auto paid = store::until_known([&](const store::call_options& call) {
    return hits.add(1, call);
  });

  std::printf("%d hits\n", static_cast<int>(*hits.load()));
  return paid.applied() && *hits.load() == 7 ? 0 : 1;
}
