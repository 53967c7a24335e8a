// SPDX-License-Identifier: BSL-1.0

#include "examples/lab/scenarios/double_payment.hpp"

#include "proof.hpp"

TEST_CASE("However often a payment is sent every right form charges once and answers alike") {
  scenarios::prove(lab::double_payment::describe(), 400,
                   [](const lab::tally& end) { return end.got >= 2 && end.got <= 4; });
}
