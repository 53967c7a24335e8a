// SPDX-License-Identifier: BSL-1.0
// Boost.Asio has no mutex. What people take for one: a channel with room for one message, and,
// where the section does not suspend, a strand.

#include <interlock/asio.hpp>
#include <interlock/async_mutex.hpp>

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

template <std::size_t Permits>
class channel_of {
public:
  explicit channel_of(asio::io_context& context) : channel_(context, Permits) {}

  auto lock() { return channel_.async_send(error_code(), asio::use_awaitable); }
  void unlock() {
    channel_.try_receive([](error_code) {});
  }

private:
  asio::experimental::concurrent_channel<void(error_code)> channel_;
};
using channel_mutex = channel_of<1>;

// Ours in coroutines of Asio.
class bridged_mutex {
public:
  explicit bridged_mutex(asio::io_context&) {}
  auto lock() { return interlock::async_lock(mutex_, asio::use_awaitable); }

private:
  interlock::async_mutex mutex_;
};

asio::awaitable<void> repeat_sections(benchmark::State& state, channel_mutex& mutex) {
  std::int64_t value = 0;
  for (auto _ : state) {
    co_await mutex.lock();
    benchmark::DoNotOptimize(++value);
    mutex.unlock();
  }
}
asio::awaitable<void> repeat_sections(benchmark::State& state, bridged_mutex& mutex) {
  std::int64_t value = 0;
  for (auto _ : state) {
    const auto held = co_await mutex.lock();
    benchmark::DoNotOptimize(++value);
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
template <class Shared, class Make>
double crowd_on_one_context(Make make) {
  std::vector<double> runs;
  for (int run = 0; run < (bench::quick ? 3 : 11); ++run) {
    asio::io_context context(1);
    Shared shared(context);
    for (int i = 0; i < visitors; ++i) asio::co_spawn(context, make(shared), asio::detached);
    const double start = bench::thread_cpu_ns();
    context.run();
    runs.push_back((bench::thread_cpu_ns() - start) / (visitors * visits));
  }
  return bench::median(runs);
}

template <std::size_t Permits>
asio::awaitable<void> hold_across_a_yield(channel_of<Permits>& mutex, int times) {
  for (int i = 0; i < times; ++i) {
    co_await mutex.lock();
    co_await asio::post(asio::use_awaitable);
    mutex.unlock();
  }
}
asio::awaitable<void> hold_across_a_yield(bridged_mutex& mutex, int times) {
  for (int i = 0; i < times; ++i) {
    const auto held = co_await mutex.lock();
    co_await asio::post(asio::use_awaitable);
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
asio::awaitable<void> hold_shortly(bridged_mutex& mutex, std::int64_t& value) {
  for (int i = 0; i < rounds; ++i) {
    {
      const auto held = co_await mutex.lock();
      benchmark::DoNotOptimize(++value);
    }
    co_await asio::post(asio::use_awaitable);
  }
}

asio::awaitable<void> only_yield(int times) {
  for (int i = 0; i < times; ++i) co_await asio::post(asio::use_awaitable);
}

template <class Mutex>
struct two_contexts {
  std::array<asio::io_context, 2> contexts{{asio::io_context(1), asio::io_context(1)}};
  Mutex mutex{contexts[0]};
  std::int64_t value = 0;
  void operator()(unsigned lane) { contexts[lane].run(); }
};

template <class Mutex, class Make>
void add_contexts(const std::string& name, Make make) {
  bench::add_timed(name + "/2 threads", [make](benchmark::State& state) {
    const pair_run result(state, [&] {
      auto fresh = std::make_unique<two_contexts<Mutex>>();
      for (asio::io_context& home : fresh->contexts) {
        for (int i = 0; i < crowd; ++i) asio::co_spawn(home, make(*fresh), asio::detached);
      }
      return fresh;
    });
    return result.ns() / (2.0 * crowd * rounds);
  });
}

using bell = asio::experimental::concurrent_channel<void(error_code)>;

asio::awaitable<void> ring_and_wait(bell& mine, bell& yours, bool first) {
  for (int i = 0; i < turns_each; ++i) {
    if (first) yours.try_send(error_code());
    co_await mine.async_receive(asio::use_awaitable);
    if (!first) yours.try_send(error_code());
  }
}

// Returns: CPU time for one turn of either.
double by_turns(benchmark::State&) {
  std::vector<double> runs;
  for (int run = 0; run < (bench::quick ? 3 : 11); ++run) {
    asio::io_context context(1);
    bell one(context, 1);
    bell two(context, 1);
    asio::co_spawn(context, ring_and_wait(one, two, true), asio::detached);
    asio::co_spawn(context, ring_and_wait(two, one, false), asio::detached);
    const double start = bench::thread_cpu_ns();
    context.run();
    runs.push_back((bench::thread_cpu_ns() - start) / (2 * turns_each));
  }
  return bench::median(runs);
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

template <class Mutex>
void add_mutex(const std::string& who) {
  benchmark::RegisterBenchmark(
      (in_a_coroutine + who + "/alone").c_str(), [](benchmark::State& state) {
        asio::io_context context(1);
        Mutex mutex(context);
        asio::co_spawn(context, repeat_sections(state, mutex), asio::detached);
        context.run();
      });
  bench::add_timed(held_across_a_yield + who + "/alone", [](benchmark::State&) {
    return crowd_on_one_context<Mutex>(
        [](Mutex& mutex) { return hold_across_a_yield(mutex, visits); });
  });
  add_contexts<Mutex>(loops_short + who, [](two_contexts<Mutex>& shared) {
    return hold_shortly(shared.mutex, shared.value);
  });
  add_contexts<Mutex>(loops_held + who, [](two_contexts<Mutex>& shared) {
    return hold_across_a_yield(shared.mutex, rounds);
  });
}

const bench::contenders here([] {
  add_mutex<channel_mutex>("Boost.Asio channel of 1");
  add_mutex<bridged_mutex>("interlock::async_mutex by async_lock in Boost.Asio");
  repeated(a_child + "Boost.Asio awaitable", call_children);
  repeated(in_a_coroutine + "Boost.Asio strand, in and out", repeat_in_strand);
  add_strand_of_two_threads(loops_short + "Boost.Asio strand, in and out");
  bench::add_timed(fifty_by_ten + "Boost.Asio channel of 10/alone", [](benchmark::State&) {
    return crowd_on_one_context<channel_of<10>>(
        [](channel_of<10>& permits) { return hold_across_a_yield(permits, visits); });
  });
  bench::add_timed(two_by_turns + "Boost.Asio channel of 1/alone", by_turns);
  bench::add_timed(a_yield + "Boost.Asio post/alone", [](benchmark::State&) {
    return crowd_on_one_context<channel_mutex>([](channel_mutex&) { return only_yield(visits); });
  });
  add_contexts<channel_mutex>(a_yield + "Boost.Asio post",
                              [](two_contexts<channel_mutex>&) { return only_yield(rounds); });
});

}  // namespace
}  // namespace async
