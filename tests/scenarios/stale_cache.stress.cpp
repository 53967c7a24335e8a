// SPDX-License-Identifier: BSL-1.0

#include "examples/lab/scenarios/stale_cache.hpp"

#include "proof.hpp"

TEST_CASE("The cache never ends older than the store in a right form") {
  scenarios::prove(lab::stale_cache::describe(), 250,
                   [](const lab::tally& end) { return end.got == 1; });
}
