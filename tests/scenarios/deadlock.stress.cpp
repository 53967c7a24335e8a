// SPDX-License-Identifier: BSL-1.0

#include "examples/lab/scenarios/deadlock.hpp"

#include "proof.hpp"

TEST_CASE("Both transfers come through in a right form and neither does in the naive one") {
  scenarios::prove(lab::deadlock::describe(), 300,
                   [](const lab::tally& end) { return end.got == 0; });
}
