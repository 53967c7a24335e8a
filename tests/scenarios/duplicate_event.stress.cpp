// SPDX-License-Identifier: BSL-1.0

#include "examples/lab/scenarios/duplicate_event.hpp"

#include "proof.hpp"

TEST_CASE("An event takes effect once in every right form also across a restart") {
  scenarios::prove(lab::duplicate_event::describe(), 150,
                   [](const lab::tally& end) { return end.got > 5 && end.got <= 10; });
}
