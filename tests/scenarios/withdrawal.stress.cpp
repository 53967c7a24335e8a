// SPDX-License-Identifier: BSL-1.0

#include "examples/lab/scenarios/withdrawal.hpp"

#include "proof.hpp"

TEST_CASE("Of two withdrawals of 80 from 100 every right form refuses one and no wrong form does") {
  scenarios::prove(lab::withdrawal::describe(), 600,
                   [](const lab::tally& end) { return end.got == 160 && end.lost == 60; });
}
