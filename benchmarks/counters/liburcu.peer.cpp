// SPDX-License-Identifier: BSL-1.0
// liburcu's atomic words.

#include <urcu/uatomic.h>

#include "support/yardsticks.hpp"

namespace {

struct uatomic_add_one {
  unsigned long word = 0;
  void operator()(unsigned) { uatomic_inc(&word); }
};

const bench::contenders here([] {
  bench::add<uatomic_add_one>("counters/add one/liburcu uatomic_inc");
});

}  // namespace
