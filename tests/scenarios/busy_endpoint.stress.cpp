// SPDX-License-Identifier: BSL-1.0

#include "examples/lab/scenarios/busy_endpoint.hpp"

#include "proof.hpp"

TEST_CASE("Two requests are never inside at once in a right form") {
  scenarios::prove(lab::busy_endpoint::describe(), 300,
                   [](const lab::tally& end) { return end.got >= 2 && end.got <= 4; });
}
