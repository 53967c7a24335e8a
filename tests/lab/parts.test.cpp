// SPDX-License-Identifier: BSL-1.0

// What the lab concludes and prints, from stories made up here: the verdicts that a right library
// never shows, and text that must not break a page, a JSON file or a table.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "html.hpp"
#include "json.hpp"
#include "machine.hpp"
#include "options.hpp"
#include "pictures.hpp"
#include "report.hpp"
#include "result.hpp"
#include "runner.hpp"
#include "scenario.hpp"
#include "support/catch.hpp"
#include "table.hpp"
#include "text.hpp"

namespace {

lab::tally right(const lab::settings&, lab::trace*) {
  return {10, 10, 0};
}

// Loses more with each seed, and draws three steps of which the last loses.
lab::tally wrong(const lab::settings& set, lab::trace* picture) {
  if (picture != nullptr) {
    picture->name_lane(0, "one");
    picture->note(0, "reads 1");
    picture->note(1, "reads 1");
    picture->note(0, "writes <2>", true);
  }
  const auto lost = static_cast<std::int64_t>(set.seed % 5);
  return {10, 10 - lost, lost};
}

lab::tally throws(const lab::settings&, lab::trace*) {
  throw std::runtime_error("no bank");
}

double price(unsigned threads, std::uint64_t) {
  return 2.5 * threads;
}

lab::scenario story(std::vector<lab::form> forms) {
  return {"story", "A \"story\".", "1 < 2 & 3", "units", "cure<T>", "It's so.", std::move(forms)};
}

const lab::form loser{"naive", "a < b", lab::role::naive, wrong, price};
const lab::form winner{"fixed", "a & b", lab::role::fixed, right, price};

lab::run_result run_briefly(const lab::scenario& of) {
  return lab::run({&of}, {}, 0.02, [](double, std::string_view) {});
}

lab::scenario titled(std::string_view name) {
  lab::scenario out;
  out.name = name;
  return out;
}

// Two scenarios of this process, of which the engine that is built has one, and one of its own.
const std::vector<lab::scenario>& in_process() {
  static const std::vector<lab::scenario> all{titled("wallet"), titled("deadlock")};
  return all;
}
const std::vector<lab::engine>& engines() {
  static const std::vector<lab::scenario> there{titled("wallet"), titled("two_servers")};
  static const std::vector<lab::engine> all{{"built", "libbuilt-dev", &there},
                                            {"absent", "libabsent-dev"}};
  return all;
}

lab::options parsed(const std::vector<std::string_view>& arguments) {
  return lab::parse(arguments, in_process(), engines());
}

// Returns: what is refused, and why; empty if nothing is.
std::string refusal(const std::vector<std::string_view>& arguments) {
  try {
    parsed(arguments);
  } catch (const lab::usage_error& refused) {
    return refused.what();
  }
  return {};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a run in which the wrong lost and the right did not holds no surprise") {
  const lab::scenario of = story({loser, winner});
  const lab::run_result run = run_briefly(of);
  CHECK(lab::surprises(run).empty());

  const lab::form_result& naive = *run.scenarios[0].first(lab::role::naive);
  CHECK(naive.worst.lost == 4);
  CHECK(naive.worst_seed % 5 == 4);
  CHECK(naive.losing_rounds > 0);
  CHECK(naive.losing_rounds < naive.rounds);
  CHECK(naive.lost() == 4);
  REQUIRE(naive.losing_round.has_value());
  CHECK(naive.losing_round->events.size() == 3);
  REQUIRE(naive.cost.size() == 4);
  CHECK(naive.cost_at(8)->median == 20.0);
  CHECK(naive.cost_at(3) == nullptr);
}

TEST_CASE("a fixed form that loses is named with its rounds and its seed") {
  const lab::form bad{"fixed", "", lab::role::fixed, wrong, nullptr};
  const lab::scenario of = story({loser, bad});
  const lab::run_result run = run_briefly(of);
  const std::vector<std::string> odd = lab::surprises(run);
  REQUIRE(odd.size() == 1);
  CHECK(odd[0].rfind("story: the form 'fixed' lost in ", 0) == 0);
  CHECK(contains(odd[0], "--seed "));
  const lab::form_result& fixed = *run.scenarios[0].first(lab::role::fixed);
  CHECK(fixed.lost() == fixed.lost_in_all);
  CHECK(contains(lab::report(run, lab::this_machine()), "Not as it should be"));
}

TEST_CASE("a naive form that was never seen to lose is named") {
  lab::scenario of = story({loser, winner});
  lab::run_result run = run_briefly(of);
  lab::form_result& naive = run.scenarios[0].forms[0];
  naive.losing_rounds = 0;
  const std::vector<std::string> odd = lab::surprises(run);
  REQUIRE(odd.size() == 1);
  CHECK(contains(odd[0], "was not seen to lose"));
  CHECK(contains(odd[0], "--seconds"));
}

TEST_CASE("a scenario without a naive or a fixed round is not taken for a success") {
  const lab::form roundless{"fixed", "", lab::role::fixed, nullptr, nullptr};
  const lab::scenario empty = story({});
  CHECK(lab::surprises(run_briefly(empty)).size() == 2);
  const lab::scenario half = story({loser, roundless});
  CHECK(lab::surprises(run_briefly(half)) ==
        std::vector<std::string>{"story: the form 'fixed' has no round"});
  CHECK(contains(lab::json(run_briefly(empty)), "\"naive\": null"));
  CHECK(contains(lab::table(run_briefly(empty), {}), "story"));
  CHECK(contains(lab::report(run_briefly(empty), lab::this_machine()), "</html>"));
}

TEST_CASE("a round that throws ends the run with its scenario, form and message") {
  const lab::form thrower{"fixed", "", lab::role::fixed, throws, nullptr};
  const lab::scenario of = story({loser, thrower});
  std::string message;
  try {
    run_briefly(of);
  } catch (const std::runtime_error& failure) {
    message = failure.what();
  }
  CHECK(message == "story: fixed threw: no bank");
}

TEST_CASE("all text of a story is escaped in the page") {
  const lab::scenario of = story({loser, winner});
  const std::string page = lab::report(run_briefly(of), lab::this_machine());
  CHECK(contains(page, "A &quot;story&quot;."));
  CHECK(contains(page, "1 &lt; 2 &amp; 3"));
  CHECK(contains(page, "cure&lt;T&gt;"));
  CHECK(contains(page, "It&#39;s so."));
  CHECK(contains(page, "writes &lt;2&gt;"));
  CHECK(contains(page, "thread 2"));  // a lane without a name
}

TEST_CASE("JSON strings are escaped") {
  lab::scenario of = story({loser, winner});
  of.unit = "a \"unit\"\\\n\x01";
  CHECK(contains(lab::json(run_briefly(of)), R"("unit": "a \"unit\"\\\u000a\u0001")"));
}

TEST_CASE("a long timeline is cut around the step that loses") {
  lab::timeline drawn;
  drawn.lanes = {"one", "two"};
  for (unsigned i = 0; i < 100; ++i) {
    drawn.events.push_back({i % 2, "step " + std::to_string(i), i == 60});
  }
  const std::string picture = lab::steps(drawn);
  CHECK(contains(picture, "step 60<small>"));
  CHECK_FALSE(contains(picture, "step 5<"));
  CHECK_FALSE(contains(picture, "step 99<"));
  CHECK(contains(picture, "steps before this left out"));
  CHECK(contains(picture, "steps after this left out"));
}

TEST_CASE("bars hold values below zero and values beyond what was expected") {
  lab::scenario of = story({loser, winner});
  lab::run_result run = run_briefly(of);
  lab::form_result& naive = run.scenarios[0].forms[0];
  naive.worst = {20, -60, 80};
  CHECK(contains(lab::bars(run.scenarios[0]), "class=\"zero\""));
  CHECK(contains(lab::bars(run.scenarios[0]), "&minus;60"));
  naive.worst = {1, 4, 3};
  CHECK_FALSE(contains(lab::bars(run.scenarios[0]), "class=\"zero\""));
  naive.worst = {0, 0, 1};
  CHECK_FALSE(contains(lab::bars(run.scenarios[0]), "nan"));
}

TEST_CASE("a price chart stands even if all prices are equal") {
  const lab::form flat{"naive", "", lab::role::naive, wrong,
                       [](unsigned, std::uint64_t) { return 7.0; }};
  const lab::scenario of = story({flat});
  const lab::run_result run = run_briefly(of);
  const std::string chart = lab::cost_chart(run.scenarios[0], 2);
  CHECK(contains(chart, "2 CPUs"));
  CHECK_FALSE(contains(chart, "nan"));
  CHECK_FALSE(contains(chart, "inf"));
  CHECK_FALSE(contains(lab::cost_chart(run.scenarios[0], 64), "CPUs"));
}

TEST_CASE("the table fits 100 columns and paints only on request") {
  const lab::scenario of = story({loser, winner});
  const lab::run_result run = run_briefly(of);
  const std::string plain = lab::table(run, {});
  CHECK_FALSE(contains(plain, "\033"));
  for (std::size_t at = 0; at < plain.size(); at = plain.find('\n', at) + 1) {
    CHECK(plain.find('\n', at) - at <= 100);
  }
  CHECK(contains(lab::table(run, {true, false}), "\033[1;31m4\033[0m"));
}

TEST_CASE("numbers and durations read well") {
  CHECK(lab::html::number(std::int64_t{-1234567}) == "&minus;1&#8239;234&#8239;567");
  CHECK(lab::html::number(std::int64_t{9999}) == "9999");
  CHECK(lab::html::number(INT64_MIN).rfind("&minus;9&#8239;223", 0) == 0);
  CHECK(lab::html::duration(0.53) == "0.5&nbsp;ns");
  CHECK(lab::html::duration(999.6) == "1.0&nbsp;&micro;s");
  CHECK(lab::html::duration(12345678) == "12&nbsp;ms");
  CHECK(lab::nanoseconds(99.94) == "99.9");
  CHECK(lab::nanoseconds(99.96) == "100");
  CHECK(lab::in_quotes("a\nb") == "'a?b'");
}

TEST_CASE("an engine has its own scenarios, named before or behind it") {
  CHECK(parsed({}).on == nullptr);
  CHECK(parsed({}).scenarios.size() == 2);
  const lab::options all = parsed({"--engine", "built"});
  REQUIRE(all.on == &engines()[0]);
  REQUIRE(all.scenarios.size() == 2);
  CHECK(all.scenarios[1]->name == "two_servers");
  CHECK(all.seconds == 3.2);
  for (const auto& arguments : {std::vector<std::string_view>{"wallet", "--engine=built"},
                                std::vector<std::string_view>{"--engine=built", "wallet"}}) {
    const lab::options one = parsed(arguments);
    REQUIRE(one.scenarios.size() == 1);
    CHECK(one.scenarios[0] == engines()[0].scenarios->data());
  }
  CHECK(parsed({"wallet"}).scenarios[0] == in_process().data());
  CHECK(parsed({"--list", "--engine=built"}).what == lab::options::command::list);
}

TEST_CASE("an address needs an engine and stays as it is") {
  CHECK(parsed({"--engine=built"}).url.empty());
  CHECK(parsed({"--url=redis://h:1/2", "--engine=built"}).url == "redis://h:1/2");
  CHECK(parsed({"--engine", "built", "--url", "user=a password=b"}).url == "user=a password=b");
  CHECK(contains(refusal({"--url", "x"}), "--engine"));
  CHECK(contains(refusal({"--engine=built", "--url="}), "--url ''"));
}

TEST_CASE("what an engine cannot do is refused with what can be done") {
  CHECK(contains(refusal({"--engine=absent"}), "install libabsent-dev"));
  CHECK(contains(refusal({"--engine=bilt"}), "did you mean built?"));
  CHECK(contains(refusal({"--engine=xyzzy"}), "there are built, absent"));
  CHECK(contains(refusal({"--engine=built", "deadlock"}), "without --engine"));
  CHECK(contains(refusal({"two_servers"}), "'two_servers' needs an engine; add --engine built"));
  CHECK(contains(refusal({"two_servants"}), "unknown scenario 'two_servants'"));
  CHECK(contains(refusal({"--engine=built", "two_server"}), "did you mean two_servers?"));
  CHECK(contains(refusal({"--engine=built", "--explain", "wallet"}), "leave out --engine"));
  CHECK(refusal({"--engine=built", "--threads=8"}).empty());
}
