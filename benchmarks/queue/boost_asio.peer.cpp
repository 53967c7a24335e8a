// SPDX-License-Identifier: BSL-1.0
// Boost.Asio's strands: on a pool of one thread; for keys, a strand each on a pool of two.

#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>

#include "queue/posts.hpp"

namespace queues {
namespace {

using strand_type = boost::asio::strand<boost::asio::thread_pool::executor_type>;

struct one_strand {
  static constexpr bool in_place = false;
  boost::asio::thread_pool pool{1};
  strand_type strand = boost::asio::make_strand(pool.get_executor());
  ~one_strand() { pool.join(); }
  template <class Task>
  void post(const Task& task) {
    boost::asio::post(strand, task);
  }
};

struct strand_per_key {
  static constexpr bool in_place = false;
  boost::asio::thread_pool pool{2};
  std::vector<strand_type> strands;
  strand_per_key() {
    strands.reserve(accounts);
    for (std::uint64_t i = 0; i < accounts; ++i) {
      strands.push_back(boost::asio::make_strand(pool.get_executor()));
    }
  }
  ~strand_per_key() { pool.join(); }
  template <class Task>
  void post(std::uint64_t key, const Task& task) {
    boost::asio::post(strands[key], task);
  }
};

const bench::contenders here([] {
  add_run<one_strand>("Boost.Asio strand, post and spin");
  add_posts<one_strand>("Boost.Asio strand");
  add_keyed<strand_per_key>("Boost.Asio strand for each key, 2 workers");
});

}  // namespace
}  // namespace queues
