// SPDX-License-Identifier: BSL-1.0
// lock_report: its text, and who gets it.

#include <interlock/lock_report.hpp>

#include <source_location>
#include <string>

#include "support/catch.hpp"
#include "support/death.hpp"

using interlock::lock_report;
using interlock::on_lock_report;
using interlock::to_string;

namespace {

using here = std::source_location;

lock_report circle(bool certain) {
  return {lock_report::kind::cycle,
          certain,
          {{"thread 1",
            {{"door", here::current(), ""}},
            {{"gate", here::current(), "may end by a stop"}}},
           {"thread 2", {{"gate", here::current(), ""}}, {{"door", here::current(), ""}}}}};
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

int first_got = 0;
int second_got = 0;

}  // namespace

TEST_CASE("A report names each lock and where it was taken or asked for") {
  const std::string text = to_string(circle(true));
  CHECK(has(text, "interlock: deadlock: 2 wait for each other in a circle\n"));
  CHECK(has(text, "  thread 1\n    holds \"door\" since lock_report.test.cpp:"));
  CHECK(has(text, "    asks for \"gate\" at lock_report.test.cpp:"));
  CHECK(has(text, " (may end by a stop)\n"));
  CHECK(has(text, "  thread 2\n    holds \"gate\" since lock_report.test.cpp:"));
  CHECK(has(to_string(circle(false)), "interlock: perhaps a deadlock: 2 wait"));

  lock_report other = circle(true);
  const auto headline = [&](lock_report::kind what) {
    other.what = what;
    const std::string all = to_string(other);
    return all.substr(0, all.find('\n'));
  };
  CHECK(headline(lock_report::kind::relock) ==
        "interlock: deadlock: the owner of a mutex waits for it");
  CHECK(headline(lock_report::kind::order) ==
        "interlock: lock order: these were taken in both orders; a deadlock once it happens at one "
        "time");
  CHECK(headline(lock_report::kind::stranger) ==
        "interlock: a mutex is adopted by who does not own it");
  CHECK(headline(lock_report::kind::destruction) ==
        "interlock: a mutex is destroyed while it is in use");
}

TEST_CASE("The handler that was set last gets every report") {
  first_got = second_got = 0;
  const auto first = [](const lock_report&) { ++first_got; };
  const auto second = [](const lock_report&) { ++second_got; };
  CHECK(on_lock_report(first) == nullptr);
  interlock::detail::tell(circle(true));
  CHECK(on_lock_report(second) == +first);
  interlock::detail::tell(circle(true));
  interlock::detail::tell(circle(false));
  CHECK(on_lock_report(nullptr) == +second);
  CHECK(first_got == 1);
  CHECK(second_got == 2);
}

TEST_CASE("A deadlock that nothing can end stops the program unless a handler was set") {
  const std::string text = support::death_message([] { interlock::detail::tell(circle(true)); });
  CHECK(text == to_string(circle(true)));
  CHECK(support::death_message([] { interlock::detail::tell(circle(false)); }) == "(survived)");
  CHECK(support::death_message([] {
          on_lock_report([](const lock_report&) {});
          interlock::detail::tell(circle(true));
        }) == "(survived)");
}
