// SPDX-License-Identifier: BSL-1.0

#include "examples/lab/scenarios/order_pipeline.hpp"

#include "proof.hpp"

TEST_CASE("Every job waits for its turn in a right form") {
  scenarios::prove(lab::order_pipeline::describe(), 150,
                   [](const lab::tally& end) { return end.got < end.expected; });
}
