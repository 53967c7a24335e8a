// SPDX-License-Identifier: BSL-1.0
// How fast histories are checked. Every thread always has an operation open, the worst case. For
// each kind one right history is timed, and the same one with a single wrong answer near its end
// must be refused, or there is no figure. Prints, in seconds of processor time:
//   history NAME operations seconds configurations

#include <interlock/testing/history.hpp>
#include <interlock/testing/linearizability.hpp>
#include <interlock/testing/monitors.hpp>
#include <interlock/testing/order_monitors.hpp>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <random>
#include <vector>

using namespace interlock::testing;  // NOLINT: this file is about nothing else

namespace {

// A register that is read, written and compared; all values that are stored are distinct.
struct register_call {
  enum class kind { read, write, replaced, refused } what = kind::read;
  std::uint32_t expected = 0;
  std::uint32_t value = 0;  // read, refused: the one seen
};

struct register_state {
  std::uint32_t value = 0;

  bool apply(const register_call& c, bool) {
    if (reads(c)) return c.value == value;
    if (c.what == register_call::kind::replaced && c.expected != value) return false;
    value = c.value;
    return true;
  }
  static bool reads(const register_call& c) {
    return c.what == register_call::kind::read || c.what == register_call::kind::refused;
  }
  [[nodiscard]] std::size_t hash() const { return value; }
  friend bool operator==(const register_state&, const register_state&) = default;
};

// Returns: count operations of so many threads, each with one open at any time. act(thread) takes
//          effect at a random moment of its operation. In the order of recording, thread by thread.
template <class Op, class Act>
std::vector<recorded<Op>> saturated(std::uint32_t threads, std::size_t count, Act act) {
  std::mt19937_64 random(7);
  std::vector<std::vector<recorded<Op>>> logs(threads);
  std::vector<bool> done(threads);
  for (std::uint32_t t = 0; t < threads; ++t) {
    logs[t].reserve(count / threads * 5 / 4);
    logs[t].push_back({Op{}, {0, interval::never}, t});
  }
  std::uint64_t ticket = 0;
  while (ticket < count) {
    const auto t = static_cast<std::uint32_t>(random() % threads);
    recorded<Op>& now = logs[t].back();
    if (!done[t]) {
      now.op = act(t);
      done[t] = true;
      continue;
    }
    now.when.returned = ++ticket;
    done[t] = false;
    logs[t].push_back({Op{}, {ticket, interval::never}, t});
  }
  std::vector<recorded<Op>> all;
  all.reserve(count);
  for (auto& log : logs) {
    if (!done[log.back().thread]) log.pop_back();  // called, and nothing done yet
    if (!log.empty() && !log.back().when.answered()) log.back().when.returned = ++ticket;
    all.insert(all.end(), log.begin(), log.end());
    log = {};
  }
  return all;
}

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// `spoil` makes one answer wrong.
template <class Op, class Check, class Spoil>
void measure(const char* name, std::vector<recorded<Op>> all, Check check, Spoil spoil) {
  const double begin = processor_seconds();
  const verdict right = check(all);
  const double seconds = processor_seconds() - begin;
  spoil(all);
  const verdict wrong = check(all);
  if (!right || wrong) {
    std::printf("history %s FAILED: %s\n", name,
                right ? "the wrong history was accepted" : right.text().c_str());
    std::exit(1);
  }
  std::printf("history %s %zu %.2f %llu\n", name, all.size(), seconds,
              static_cast<unsigned long long>(right.configurations));
  std::fflush(stdout);
}

std::vector<recorded<counter_call>> counter_history(std::uint32_t threads, std::size_t count) {
  std::int64_t value = 0;
  std::mt19937 choice(1);
  return saturated<counter_call>(threads, count, [&](std::uint32_t) {
    if (choice() % 4 == 0) return counter_call{counter_call::kind::load, 0, value};
    return counter_call{counter_call::kind::add, 1, value++};
  });
}

std::vector<recorded<queue_call>> queue_history(std::uint32_t threads, std::size_t count) {
  std::deque<std::uint64_t> object;
  std::uint64_t pushed = 0;
  std::mt19937 choice(2);
  return saturated<queue_call>(threads, count, [&](std::uint32_t) {
    if (choice() % 2 == 0) {
      object.push_back(++pushed);
      return queue_call{queue_call::kind::push, pushed};
    }
    if (object.empty()) return queue_call{queue_call::kind::pop_empty, 0};
    const queue_call result{queue_call::kind::pop, object.front()};
    object.pop_front();
    return result;
  });
}

std::vector<recorded<register_call>> register_history(std::uint32_t threads, std::size_t count,
                                                      bool writes) {
  std::uint32_t value = 0, fresh = 0;
  std::vector<std::uint32_t> known(threads);  // what each thread saw last
  std::mt19937 choice(3);
  return saturated<register_call>(threads, count, [&](std::uint32_t t) {
    register_call call;
    const auto what = choice() % 3;
    if (what == 0) {
      call = {register_call::kind::read, 0, known[t] = value};
    } else if (what == 1 && writes) {
      call = {register_call::kind::write, 0, value = ++fresh};
    } else if (known[t] == value || choice() % 2 == 0) {
      call = {register_call::kind::replaced, value, ++fresh};
      value = fresh;
    } else {
      call = {register_call::kind::refused, known[t], value};
      known[t] = value;
    }
    return call;
  });
}

std::vector<recorded<cell_call>> cell_history(std::uint32_t threads, std::size_t count) {
  cell_state cell;
  std::mt19937 choice(4);
  return saturated<cell_call>(threads, count, [&](std::uint32_t) {
    const auto what = choice() % 3;
    if (what == 0) return cell_call{cell_call::kind::load, 0, cell.value, cell.version};
    if (what == 1 && cell.version != 0) {
      return cell_call{cell_call::kind::refused, cell.version - 1, cell.value, cell.version};
    }
    ++cell.version;
    cell.value = static_cast<std::int64_t>(cell.version * 3);
    return cell_call{cell_call::kind::replaced, cell.version - 1, cell.value, cell.version};
  });
}

// Two operations of one thread, a dozen apart, change their answers.
template <class Op>
void swap_late(std::vector<recorded<Op>>& all) {
  std::swap(all[all.size() - 20].op, all[all.size() - 8].op);
}

// A thread's last pop changes its answer with an earlier one, whose push was over long before.
void swap_pops(std::vector<recorded<queue_call>>& all) {
  const auto popped = [&](std::size_t i) { return all[i].op.what == queue_call::kind::pop; };
  std::size_t last = all.size() - 1;
  while (!popped(last)) --last;
  std::size_t earlier = last;
  while (!popped(earlier) || all[earlier].op.value + 20 > all[last].op.value) --earlier;
  std::swap(all[earlier].op, all[last].op);
}

}  // namespace

int main(int count, char** arguments) {
  const std::size_t scale = count > 1 ? std::strtoul(arguments[1], nullptr, 10) : 1;
  const std::size_t ten_million = 10'000'000 / scale, million = 1'000'000 / scale;
  const auto swap = [](auto& all) { swap_late(all); };
  measure("counter", counter_history(8, ten_million),
          [](const auto& all) { return monitor_counter(all); }, swap);
  measure("queue", queue_history(8, ten_million),
          [](const auto& all) { return monitor_queue(all); },
          [](auto& all) { swap_pops(all); });
  measure("cell", cell_history(8, ten_million), [](const auto& all) { return monitor_cell(all); },
          swap);
  const auto search = [](const auto& all) { return linearizable(all, register_state{}); };
  measure("compare-and-set", register_history(8, million, false), search, swap);
  measure("read-write-compare-and-set", register_history(8, million, true), search, swap);
  measure("counter-search", counter_history(8, million),
          [](const auto& all) { return linearizable(all, counter_state{}); }, swap);
}
