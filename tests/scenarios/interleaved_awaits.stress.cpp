// SPDX-License-Identifier: BSL-1.0

#include "examples/lab/scenarios/interleaved_awaits.hpp"

#include "proof.hpp"

TEST_CASE("Handlers that interleave on one thread lose no update in the right form") {
  scenarios::prove(lab::interleaved_awaits::describe(), 2000,
                   [](const lab::tally& end) { return end.got == 101; });
}
