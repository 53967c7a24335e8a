// SPDX-License-Identifier: BSL-1.0

#include "examples/lab/scenarios/wallet.hpp"

#include "proof.hpp"

TEST_CASE("Two debits both count in every right form and only one does in the naive one") {
  scenarios::prove(lab::wallet::describe(), 600,
                   [](const lab::tally& end) { return end.got == 700 || end.got == 500; });
}
