// SPDX-License-Identifier: BSL-1.0
#pragma once

// The chaos of queue_chaos.hpp, where the effect of an item and its end are one commit. Include a
// place before.

#include <interlock/store/basic_versioned.hpp>

#include <string>

#include "queue_chaos.hpp"

namespace faults {

// The effect and the end of the item are one commit.
class committed_way {
public:
  static constexpr const char* role = "queue worker in transactions";
  explicit committed_way(const place::client& client) : client_(client) {}

  void work(const chaos_queue& queue, const store::queue_item& item,
            const store::unique_id& owner) {
    static_cast<void>(place::transact(client_,
                                      [&](auto& t) {
                                        const auto list = of(item.key);
                                        t.write(list,
                                                t.read(list).value_or("") + item.payload + " ");
                                        t.finish(queue, item.key, owner, item.attempt);
                                      },
                                      {}));
  }
  std::string done(const std::string& key) { return of(key).load().value().value.value_or(""); }

private:
  using text_cell = store::basic_versioned<std::string, place::client>;
  [[nodiscard]] text_cell of(const std::string& key) const { return text_cell(client_, key); }
  place::client client_;
};

inline const bool knows_committed_way = add_role(committed_way::role, work_for_ever<committed_way>);

}  // namespace faults

TEST_CASE("queue chaos: each item that ends with its effect has it once and in order") {
  using namespace faults;
  if (!place::available()) return;
  queue_chaos<committed_way>();
}
