// SPDX-License-Identifier: BSL-1.0

#include "examples/lab/scenarios/transfer.hpp"

#include "proof.hpp"

TEST_CASE("The sum never changes in a right form also when a step throws half-way") {
  scenarios::prove(lab::transfer::describe(), 200,
                   [](const lab::tally& end) { return end.got != end.expected; });
}
