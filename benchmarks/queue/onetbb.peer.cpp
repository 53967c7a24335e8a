// SPDX-License-Identifier: BSL-1.0
// oneTBB's serial node of a flow graph.

#include <oneapi/tbb/flow_graph.h>

#include "queue/posts.hpp"

namespace queues {
namespace {

struct serial_node {
  static constexpr bool in_place = false;
  using job = std::function<void()>;
  tbb::flow::graph graph;
  tbb::flow::function_node<job, tbb::flow::continue_msg> node{
      graph, tbb::flow::serial, [](const job& task) { task(); }};
  ~serial_node() { graph.wait_for_all(); }
  template <class Task>
  void post(const Task& task) {
    node.try_put(job(task));
  }
};

const bench::contenders here([] {
  add_run<serial_node>("oneTBB serial node, try_put and spin");
  add_posts<serial_node>("oneTBB serial node");
});

}  // namespace
}  // namespace queues
