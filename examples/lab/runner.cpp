// SPDX-License-Identifier: BSL-1.0

#include "runner.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <exception>
#include <string>

namespace lab {

namespace {

// How the time of a scenario is shared out. A plain form shows its price; that it is right needs
// few rounds.
constexpr double cost_share = 0.35;
constexpr double weight_of(role kind) {
  switch (kind) {
    case role::naive:
      return 3;
    case role::still_wrong:
      return 2;
    case role::fixed:
      return 3;
    case role::plain:
      return 0.5;
  }
  return 1;
}

constexpr double patience = 10;         // seconds more for a wrong form that has not lost yet
constexpr double drawing_patience = 2;  // seconds to find a losing round to draw
constexpr std::array cost_threads{1U, 2U, 4U, 8U};
constexpr int repetitions = 5;
constexpr double shortest_measurement = 50e3;  // nanoseconds

class stopwatch {
public:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(clock::now() - start_).count();
  }

private:
  using clock = std::chrono::steady_clock;
  clock::time_point start_ = clock::now();
};

// Effects: runs rounds for `share` seconds, at least one; adds them up in `into`.
template <class Tick>
void run_rounds(form_result& into, const settings& base, double share, Tick tick) {
  const stopwatch watch;
  for (;;) {
    settings set = base;
    set.seed = base.seed + into.rounds;
    const tally end = into.of->round(set, nullptr);
    if (into.rounds == 0 || std::abs(end.lost) > std::abs(into.worst.lost)) {
      into.worst = end;
      into.worst_seed = set.seed;
    }
    ++into.rounds;
    into.losing_rounds += end.lost != 0 ? 1 : 0;
    into.lost_in_all += end.lost;

    const double spent = watch.seconds();
    tick(std::min(spent / share, 1.0));
    const bool waiting = into.should_lose() && into.losing_rounds == 0;
    if (spent >= (waiting ? share + patience : share)) return;
  }
}

// Returns: a small round that lost, with the step that lost it if one is found in time.
std::optional<timeline> draw_losing_round(const form& of, const settings& base) {
  const stopwatch watch;
  std::optional<timeline> best;
  settings set = base;
  do {
    trace picture;
    const tally end = of.round(set, &picture);
    ++set.seed;
    if (end.lost == 0) continue;
    const auto& events = picture.events();
    const bool marked =
        std::any_of(events.begin(), events.end(), [](const event& e) { return e.harmful; });
    if (marked || !best) best = timeline{picture.lanes(), events, end};
    if (marked) break;
  } while (watch.seconds() < drawing_patience);
  return best;
}

// Returns: nanoseconds per operation, never so small that a division by it goes astray.
double measure(const form& of, unsigned threads, std::uint64_t operations) {
  return std::max(of.cost(threads, operations), 0.01);
}

// Returns: how many operations per thread take about that long.
std::uint64_t calibrate(const form& of, unsigned threads, double nanoseconds) {
  constexpr std::uint64_t most = std::uint64_t{1} << 28U;
  for (std::uint64_t operations = 8;; operations *= 4) {
    const double each = measure(of, threads, operations);
    if (each * static_cast<double>(operations) >= nanoseconds / 4 || operations >= most) {
      return std::clamp<std::uint64_t>(static_cast<std::uint64_t>(nanoseconds / each), 1, most);
    }
  }
}

// One form at one number of threads.
struct measurement {
  form_result* of;
  unsigned threads;
  std::uint64_t operations;
  std::vector<double> samples;
};

cost_point summarize(measurement& of) {
  std::sort(of.samples.begin(), of.samples.end());
  return {of.threads, of.samples[of.samples.size() / 2], of.samples.front(), of.samples.back()};
}

// Effects: measures every form that has a price in about `share` seconds. The repetitions are
//          interleaved, so that a disturbance of the machine meets all forms alike.
template <class Tick>
void run_costs(std::vector<form_result>& forms, double share, Tick tick) {
  std::vector<form_result*> priced;
  for (form_result& each : forms) {
    if (each.of->cost != nullptr) priced.push_back(&each);
  }
  if (priced.empty()) return;

  const auto points = static_cast<double>(priced.size() * cost_threads.size());
  const double each = std::max(share * 1e9 / (points * (repetitions + 1)), shortest_measurement);
  std::vector<measurement> plan;
  for (const unsigned threads : cost_threads) {
    for (form_result* form : priced) {
      plan.push_back({form, threads, calibrate(*form->of, threads, each), {}});
    }
  }
  double done = 1;
  for (int i = 0; i < repetitions; ++i) {
    for (measurement& of : plan) {
      of.samples.push_back(measure(*of.of->of, of.threads, of.operations));
    }
    tick(++done / (repetitions + 1));
  }
  for (measurement& of : plan) of.of->cost.push_back(summarize(of));
}

template <class Tick>
scenario_result run_scenario(const scenario& of, const settings& base, double seconds, Tick tick) {
  scenario_result out;
  out.of = &of;
  double weights = 0;
  bool priced = false;
  for (const form& each : of.forms) {
    weights += each.round != nullptr ? weight_of(each.kind) : 0;
    priced = priced || each.cost != nullptr;
  }
  const double round_seconds = seconds * (priced ? 1 - cost_share : 1);

  double before = 0;  // seconds of the plan that are over
  std::string at;
  try {
    for (const form& each : of.forms) {
      form_result& found = out.forms.emplace_back();
      found.of = &each;
      if (each.round == nullptr) continue;
      at = std::string(of.name) + ": " + std::string(each.name);
      const double share = round_seconds * weight_of(each.kind) / weights;
      run_rounds(found, base, share,
                 [&](double done) { tick((before + done * share) / seconds, at); });
      before += share;
      if (found.losing_rounds > 0) found.losing_round = draw_losing_round(each, base);
    }
    at = std::string(of.name) + ": cost";
    run_costs(out.forms, seconds * cost_share,
              [&](double done) { tick((before + done * seconds * cost_share) / seconds, at); });
  } catch (const std::exception& failure) {
    throw std::runtime_error(at + " threw: " + failure.what());
  }
  return out;
}

}  // namespace

run_result run(const std::vector<const scenario*>& chosen, const settings& base, double seconds,
               const observer& watch) {
  const stopwatch all;
  run_result out;
  const auto count = static_cast<double>(chosen.size());
  for (const scenario* each : chosen) {
    const auto before = static_cast<double>(out.scenarios.size());
    out.scenarios.push_back(run_scenario(
        *each, base, seconds / count,
        [&](double done, const std::string& at) { watch((before + done) / count, at); }));
  }
  out.seconds = all.seconds();
  return out;
}

}  // namespace lab
