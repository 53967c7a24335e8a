// SPDX-License-Identifier: BSL-1.0
// libcds has one atomic word, with padding around it or without.

#include <cds/algo/atomic.h>

#include "support/yardsticks.hpp"

namespace {

struct item_counter_add {
  cds::atomicity::cache_friendly_item_counter clicks;
  void operator()(unsigned) { clicks.inc(); }
};

const bench::contenders here([] {
  bench::add<item_counter_add>("counters/add one/libcds cache_friendly_item_counter");
});

}  // namespace
