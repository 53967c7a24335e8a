// SPDX-License-Identifier: BSL-1.0
// A program beside the test, killed and started again. Prints:
//   killed: 137
//   and again: 1

#include <interlock/testing/server_process.hpp>
#include <interlock/testing/temporary_folder.hpp>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <string>

using interlock::testing::server_process;
using interlock::testing::temporary_folder;

int main() {
  temporary_folder place;
  const std::string note = place.path() + "/note";
  std::ofstream(note) << "gone at the end\n";

  server_process program({.package = "coreutils"});
  program.start("sleep", {"1000"});
  program.kill();
  std::printf("killed: %d\n", program.wait(std::chrono::milliseconds(0)).value_or(0));
  program.restart();
  std::printf("and again: %d\n", static_cast<int>(program.running()));
  return program.running() ? 0 : 1;
}
