// SPDX-License-Identifier: BSL-1.0
// Boost.Asio has no mutex. What people take for one: a channel with room for one message, and,
// where the section does not suspend, a strand.

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/experimental/concurrent_channel.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "async/jobs.hpp"

namespace async {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

class channel_mutex {
public:
  explicit channel_mutex(asio::io_context& context, std::size_t permits = 1)
      : channel_(context, permits) {}

  auto lock() { return channel_.async_send(error_code(), asio::use_awaitable); }
  void unlock() {
    channel_.try_receive([](error_code) {});
  }

private:
  asio::experimental::concurrent_channel<void(error_code)> channel_;
};

asio::awaitable<void> repeat_sections(benchmark::State& state, channel_mutex& mutex) {
  std::int64_t value = 0;
  for (auto _ : state) {
    co_await mutex.lock();
    benchmark::DoNotOptimize(++value);
    mutex.unlock();
  }
}

using strand = asio::strand<asio::io_context::executor_type>;

// In by dispatch, out by post: a dispatch out would still run inside the strand.
asio::awaitable<void> repeat_in_strand(benchmark::State& state, asio::io_context& context) {
  strand door(context.get_executor());
  std::int64_t value = 0;
  for (auto _ : state) {
    co_await asio::dispatch(asio::bind_executor(door, asio::use_awaitable));
    benchmark::DoNotOptimize(++value);
    co_await asio::post(asio::bind_executor(context, asio::use_awaitable));
  }
}

asio::awaitable<int> child(int argument) {
  co_return argument + 1;
}

asio::awaitable<void> call_children(benchmark::State& state, asio::io_context&) {
  int value = 0;
  for (auto _ : state) {
    value = co_await child(value);
    benchmark::DoNotOptimize(value);
  }
}

template <class Make>
void repeated(const std::string& name, Make make) {
  benchmark::RegisterBenchmark((name + "/alone").c_str(), [make](benchmark::State& state) {
    asio::io_context context(1);
    asio::co_spawn(context, make(state, context), asio::detached);
    context.run();
  });
}

// Returns: CPU time of this thread per visit of fifty coroutines of one context.
template <class Make>
double crowd_on_one_context(Make make) {
  std::vector<double> runs;
  for (int run = 0; run < (bench::quick ? 3 : 11); ++run) {
    asio::io_context context(1);
    channel_mutex mutex(context);
    for (int i = 0; i < visitors; ++i) asio::co_spawn(context, make(mutex), asio::detached);
    const double start = bench::thread_cpu_ns();
    context.run();
    runs.push_back((bench::thread_cpu_ns() - start) / (visitors * visits));
  }
  return bench::median(runs);
}

asio::awaitable<void> hold_across_a_yield(channel_mutex& mutex, int times, std::int64_t& value) {
  for (int i = 0; i < times; ++i) {
    co_await mutex.lock();
    const std::int64_t seen = value;
    co_await asio::post(asio::use_awaitable);
    value = seen + 1;
    mutex.unlock();
  }
}

asio::awaitable<void> hold_shortly(channel_mutex& mutex, std::int64_t& value) {
  for (int i = 0; i < rounds; ++i) {
    co_await mutex.lock();
    benchmark::DoNotOptimize(++value);
    mutex.unlock();
    co_await asio::post(asio::use_awaitable);
  }
}

asio::awaitable<void> only_yield(int times) {
  for (int i = 0; i < times; ++i) co_await asio::post(asio::use_awaitable);
}

struct two_contexts {
  std::array<asio::io_context, 2> contexts{{asio::io_context(1), asio::io_context(1)}};
  channel_mutex mutex{contexts[0]};
  std::int64_t value = 0;
  void operator()(unsigned lane) { contexts[lane].run(); }
};

template <class Make>
void contexts(const std::string& name, Make make) {
  bench::add_timed(name + "/2 threads", [make](benchmark::State& state) {
    const pair_run result(state, [&] {
      auto fresh = std::make_unique<two_contexts>();
      for (asio::io_context& home : fresh->contexts) {
        for (int i = 0; i < crowd; ++i) asio::co_spawn(home, make(*fresh), asio::detached);
      }
      return fresh;
    });
    return result.ns() / (2.0 * crowd * rounds);
  });
}

// A strand belongs to one context, which both threads run.
struct strand_of_two_threads {
  asio::io_context context{2};
  strand door{context.get_executor()};
  std::int64_t value = 0;
  void operator()(unsigned) { context.run(); }
};

asio::awaitable<void> enter_strand(strand_of_two_threads& shared) {
  for (int i = 0; i < rounds; ++i) {
    co_await asio::dispatch(asio::bind_executor(shared.door, asio::use_awaitable));
    benchmark::DoNotOptimize(++shared.value);
    co_await asio::post(asio::bind_executor(shared.context, asio::use_awaitable));
  }
}

void add_strand_of_two_threads(const std::string& name) {
  bench::add_timed(name + "/2 threads", [](benchmark::State& state) {
    const pair_run result(state, [] {
      auto fresh = std::make_unique<strand_of_two_threads>();
      for (int i = 0; i < 2 * crowd; ++i) {
        asio::co_spawn(fresh->context, enter_strand(*fresh), asio::detached);
      }
      return fresh;
    });
    return result.ns() / (2.0 * crowd * rounds);
  });
}

const bench::contenders here([] {
  const std::string channel = "Boost.Asio channel of 1";
  benchmark::RegisterBenchmark(
      (in_a_coroutine + channel + "/alone").c_str(), [](benchmark::State& state) {
        asio::io_context context(1);
        channel_mutex mutex(context);
        asio::co_spawn(context, repeat_sections(state, mutex), asio::detached);
        context.run();
      });
  repeated(a_child + "Boost.Asio awaitable", call_children);
  repeated(in_a_coroutine + "Boost.Asio strand, in and out", repeat_in_strand);
  bench::add_timed(held_across_a_yield + channel + "/alone", [](benchmark::State&) {
    std::int64_t value = 0;
    return crowd_on_one_context(
        [&](channel_mutex& mutex) { return hold_across_a_yield(mutex, visits, value); });
  });
  bench::add_timed(a_yield + "Boost.Asio post/alone", [](benchmark::State&) {
    return crowd_on_one_context([](channel_mutex&) { return only_yield(visits); });
  });
  contexts(loops_short + channel,
           [](two_contexts& shared) { return hold_shortly(shared.mutex, shared.value); });
  contexts(loops_held + channel, [](two_contexts& shared) {
    return hold_across_a_yield(shared.mutex, rounds, shared.value);
  });
  contexts(a_yield + "Boost.Asio post", [](two_contexts&) { return only_yield(rounds); });
  add_strand_of_two_threads(loops_short + "Boost.Asio strand, in and out");
});

}  // namespace
}  // namespace async
