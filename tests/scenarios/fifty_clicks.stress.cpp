// SPDX-License-Identifier: BSL-1.0

#include "examples/lab/scenarios/fifty_clicks.hpp"

#include "proof.hpp"

TEST_CASE("Fifty clicks at once are fifty clicks in every right form and fewer in the naive one") {
  scenarios::prove(lab::fifty_clicks::describe(), 200, [](const lab::tally& end) {
    return end.expected == 150 && end.got > 100 && end.got < 150;
  });
}
