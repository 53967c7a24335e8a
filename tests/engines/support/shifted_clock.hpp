// SPDX-License-Identifier: BSL-1.0
#pragma once

// The date as a server sees it, moved while it runs: start it with environment(), as an option of
// throwaway_redis and throwaway_postgres. The program is built with INTERLOCK_SHIFTED_CLOCK, the
// path of the library (shifted_clock.c).

#include <interlock/testing/temporary_folder.hpp>

#include <sys/stat.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <string>

namespace support {

class shifted_clock {
public:
  shifted_clock() {
    ::chmod(folder_.path().c_str(), 0755);  // the server may be another user's
    std::ofstream(path()) << std::string(sizeof(std::int64_t), '\0');
  }

  // Returns: false where the library is not built, for want of a C compiler.
  [[nodiscard]] static bool available() { return *INTERLOCK_SHIFTED_CLOCK != '\0'; }

  [[nodiscard]] std::map<std::string, std::string> environment() const {
    return {{"LD_PRELOAD", INTERLOCK_SHIFTED_CLOCK}, {"INTERLOCK_CLOCK_SHIFT", path()}};
  }

  // Effects: from now on the servers' date is this far from the true one.
  void set(std::chrono::nanoseconds shift) const {
    const std::int64_t number = shift.count();
    char bytes[sizeof number];
    std::memcpy(bytes, &number, sizeof number);
    std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);  // in place
    file.write(bytes, sizeof bytes);
  }

private:
  [[nodiscard]] std::string path() const { return folder_.path() + "/shift"; }

  interlock::testing::temporary_folder folder_;
};

}  // namespace support
