// SPDX-License-Identifier: BSL-1.0

#include "examples/lab/scenarios/last_seat.hpp"

#include "proof.hpp"

TEST_CASE("The last seat is sold once in every right form and again in the naive one") {
  scenarios::prove(lab::last_seat::describe(), 300,
                   [](const lab::tally& end) { return end.got >= 2 && end.got <= 4; });
}
