// SPDX-License-Identifier: BSL-1.0

#include "examples/lab/scenarios/stale_sync.hpp"

#include "proof.hpp"

TEST_CASE("The slow store ends at 5 in every right form and behind in every wrong one") {
  scenarios::prove(lab::stale_sync::describe(), 150,
                   [](const lab::tally& end) { return end.got >= 1 && end.got <= 4; });
}
