// SPDX-License-Identifier: BSL-1.0
// What an SQLite file promises by its settings, and what its clock does to leases.

#include "engines/faults/sqlite.hpp"

#include <array>
#include <cstddef>
#include <memory>
#include <mutex>

namespace faults {

class shifted_place {
public:
  static bool available() { return true; }
  [[nodiscard]] place::client open(store::client_options options) const {
    const auto clock = clock_;
    return place::client(folder_.path() + "/data.db", std::move(options),
                         {.synchronous = interlock::sqlite::synchronous::off, .clock = [clock] {
                            const std::lock_guard hold(clock->guard);
                            return std::chrono::system_clock::now() + clock->shift;
                          }});
  }
  void shift(std::chrono::minutes to) const {
    const std::lock_guard hold(clock_->guard);
    clock_->shift = to;
  }

private:
  struct shifted {
    std::mutex guard;
    std::chrono::minutes shift{0};
  };
  std::shared_ptr<shifted> clock_ = std::make_shared<shifted>();
  interlock::testing::temporary_folder folder_;
};

}  // namespace faults

#include "engines/faults/clocks.hpp"
#include "engines/faults/settings.hpp"

TEST_CASE("settings: an SQLite file promises what its journal and its flushes give") {
  using namespace faults;
  namespace sqlite = interlock::sqlite;
  using store::durability;
  struct mode {
    sqlite::journal value;
    const char* name;
    bool survives;     // kill -9
    bool full_enough;  // synchronous = FULL survives a power loss
  };
  constexpr std::array journals{mode{sqlite::journal::wal, "wal", true, true},
                                mode{sqlite::journal::truncate, "truncate", true, true},
                                mode{sqlite::journal::persist, "persist", true, true},
                                mode{sqlite::journal::remove, "delete", true, false},
                                mode{sqlite::journal::memory, "memory", false, false},
                                mode{sqlite::journal::off, "off", false, false}};
  constexpr std::array levels{"off", "normal", "full", "extra"};
  for (const mode& journal : journals) {
    for (std::size_t level = 0; level < levels.size(); ++level) {
      const interlock::testing::temporary_folder folder;
      expected_promise row{journal.name, durability::process_crash, "PRAGMA synchronous"};
      row.settings += std::string(", synchronous ") + levels[level];
      if (level == 3 || (level == 2 && journal.full_enough)) row.keeps = durability::power_loss;
      if (!journal.survives) row.keeps = durability::none;
      if (!journal.survives) row.in_the_way = "PRAGMA journal_mode";
      if (row.keeps == durability::power_loss) row.in_the_way = "";
      promises(row, [&](store::client_options options) {
        return place::client(
            folder.path() + "/data.db", std::move(options),
            {.journal = journal.value, .synchronous = static_cast<sqlite::synchronous>(level)});
      });
    }
  }
}
