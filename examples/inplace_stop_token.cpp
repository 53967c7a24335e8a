// SPDX-License-Identifier: BSL-1.0
// Prints: stopped
//         requested before: called at once
//         a second request does nothing

#include <interlock/inplace_stop_token.hpp>

#include <cstdio>

using namespace interlock;

int main() {
  inplace_stop_source stop;
  const inplace_stop_callback bell(stop.get_token(), [] { std::puts("stopped"); });
  stop.request_stop();  // calls it; false from the second request on

  const inplace_stop_callback late(stop.get_token(),
                                   [] { std::puts("requested before: called at once"); });
  if (!stop.request_stop()) std::puts("a second request does nothing");
  return 0;
}
