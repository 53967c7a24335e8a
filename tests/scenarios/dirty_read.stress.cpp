// SPDX-License-Identifier: BSL-1.0

#include "examples/lab/scenarios/dirty_read.hpp"

#include "proof.hpp"

TEST_CASE("A reader sees all of a commit or none of it in a right form") {
  scenarios::prove(lab::dirty_read::describe(), 150,
                   [](const lab::tally& end) { return end.got == 90 || end.got == 110; });
}
