// SPDX-License-Identifier: BSL-1.0

#include <boost/thread/synchronized_value.hpp>

#include "transactions/jobs.hpp"

namespace transactions {
namespace {

struct synchronized_values {
  std::array<boost::synchronized_value<std::int64_t, std::mutex>, accounts> balance;
  void move(std::size_t from, std::size_t to) {
    auto both = boost::synchronize(balance[from], balance[to]);
    --*std::get<0>(both);
    ++*std::get<1>(both);
  }
};

const bench::contenders here([] {
  add_transfers<synchronized_values>("Boost synchronized_value, two");
});

}  // namespace
}  // namespace transactions
