// SPDX-License-Identifier: BSL-1.0
// Asks our queues and those of others what they do where queues differ; prints the table of
// docs/queue-comparison.md. Others are asked if they are installed.

#include <condition_variable>
#include <cstdio>
#include <deque>
#include <future>
#include <mutex>

#include "benchmarks/queue/probes/interlock.hpp"

#ifdef HAVE_BOOST_ASIO
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#endif
#ifdef HAVE_ONETBB
#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#endif
#ifdef HAVE_MOODYCAMEL
#include <blockingconcurrentqueue.h>
#endif

namespace probes {
namespace {

// call() of those that have none: post, and wait until it has run.
template <class Subject>
void post_and_wait(Subject& subject, const function& f) {
  std::promise<void> done;
  subject.post([&] {
    f();
    done.set_value();
  });
  done.get_future().get();
}

// What most code has, with the draining destructor that most forget.
class deque_and_worker {
public:
  static constexpr const char* name = "std::deque, a worker";
  ~deque_and_worker() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    more_.notify_one();
    thread_.join();
  }
  void post(const function& f) {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(f);
    }
    more_.notify_one();
  }
  void call(const function& f) { post_and_wait(*this, f); }
  bool told() const { return false; }

private:
  void work() {
    for (std::unique_lock lock(mutex_);;) {
      more_.wait(lock, [this] { return over_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      const function task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<function> tasks_;
  bool over_ = false;
  std::thread thread_{[this] { work(); }};
};

#ifdef HAVE_BOOST_ASIO
using strand_type = boost::asio::strand<boost::asio::thread_pool::executor_type>;

struct asio_strand {
  static constexpr const char* name = "Boost.Asio strand";
  boost::asio::thread_pool pool{1};
  strand_type strand = boost::asio::make_strand(pool.get_executor());
  void post(const function& f) { boost::asio::post(strand, f); }
  void call(const function& f) { post_and_wait(*this, f); }
  bool told() const { return false; }
};
struct asio_strands {
  boost::asio::thread_pool pool{1};
  strand_type first = boost::asio::make_strand(pool.get_executor());
  strand_type second = boost::asio::make_strand(pool.get_executor());
  void post(int lane, const function& f) { boost::asio::post(lane == 0 ? first : second, f); }
};
#endif

#ifdef HAVE_ONETBB
using serial = tbb::flow::function_node<function, tbb::flow::continue_msg>;

struct tbb_node {
  static constexpr const char* name = "oneTBB serial node";
  tbb::flow::graph graph;
  serial node{graph, tbb::flow::serial, [](const function& f) { f(); }};
  ~tbb_node() { told(); }  // as it has to be: the node goes before its graph
  void post(const function& f) { node.try_put(f); }
  void call(const function& f) { post_and_wait(*this, f); }
  bool told() {
    try {
      graph.wait_for_all();
    } catch (...) {
      return true;
    }
    return false;
  }
};
struct tbb_nodes {  // one worker beside this thread, which does no tasks
  tbb::global_control two{tbb::global_control::max_allowed_parallelism, 2};
  tbb::flow::graph graph;
  serial first{graph, tbb::flow::serial, [](const function& f) { f(); }};
  serial second{graph, tbb::flow::serial, [](const function& f) { f(); }};
  void post(int lane, const function& f) { (lane == 0 ? first : second).try_put(f); }
};
struct tbb_arena {
  static constexpr const char* name = "oneTBB task_arena(1)";
  tbb::task_arena arena{1};
  void post(const function& f) { arena.enqueue(f); }
  void call(const function& f) { post_and_wait(*this, f); }
  bool told() const { return false; }
};
#endif

#ifdef HAVE_MOODYCAMEL
class moodycamel_and_worker {
public:
  static constexpr const char* name = "moodycamel, a worker";
  ~moodycamel_and_worker() {
    tasks_.enqueue(function());
    thread_.join();
  }
  void post(const function& f) { tasks_.enqueue(f); }
  void call(const function& f) { post_and_wait(*this, f); }
  bool told() const { return false; }

private:
  void work() {
    for (function task;;) {
      tasks_.wait_dequeue(task);
      if (!task) return;
      task();
    }
  }
  moodycamel::BlockingConcurrentQueue<function> tasks_;
  std::thread thread_{[this] { work(); }};
};
#endif

std::vector<report> ask_all() {
  std::vector<report> all = ask_ours();
  all.push_back(ask<deque_and_worker>());
#ifdef HAVE_BOOST_ASIO
  all.push_back(ask<asio_strand, asio_strands>());
#endif
#ifdef HAVE_ONETBB
  all.push_back(ask<tbb_node, tbb_nodes>());
  all.push_back(ask<tbb_arena>());
#endif
#ifdef HAVE_MOODYCAMEL
  all.push_back(ask<moodycamel_and_worker>());
#endif
  return all;
}

void print(const std::vector<report>& all) {
  std::string text = "|";
  std::string line = "\n|---|";
  for (const std::string& each : questions) {
    text += " | " + each;
    line += "---|";
  }
  text += " |" + line + "\n";
  for (const report& each : all) text += line_of(each) + "\n";
  std::fputs(text.c_str(), stdout);
}

}  // namespace
}  // namespace probes

int main() {
  probes::print(probes::ask_all());
}
