// SPDX-License-Identifier: BSL-1.0
// Concurrency Kit has the processor's operations in assembly.

#include <ck_pr.h>

#include "support/yardsticks.hpp"

namespace {

struct pr_inc {
  std::uint64_t word = 0;
  void operator()(unsigned) { ck_pr_inc_64(&word); }
};

struct pr_take {
  std::uint64_t stock = ~std::uint64_t{0};
  void operator()(unsigned) {
    std::uint64_t seen = ck_pr_load_64(&stock);
    while (seen >= 1 && !ck_pr_cas_64_value(&stock, seen, seen - 1, &seen)) {
    }
    benchmark::DoNotOptimize(seen);
  }
};

const bench::contenders here([] {
  bench::add<pr_inc>("counters/add one/Concurrency Kit ck_pr_inc");
  bench::add<pr_take>("counters/take one/Concurrency Kit ck_pr_cas loop");
});

}  // namespace
