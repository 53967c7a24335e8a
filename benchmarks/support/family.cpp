// SPDX-License-Identifier: BSL-1.0
// The program of a family that has several sources.

#include "support/bench.hpp"

int main(int argc, char** argv) {
  return bench::run(argc, argv);
}
