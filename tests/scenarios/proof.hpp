// SPDX-License-Identifier: BSL-1.0
#pragma once

// What every scenario has to show: its wrong forms are seen to lose, its right forms never do, and
// the picture of a losing round marks the step that lost.

#include <algorithm>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <string>

#include "examples/lab/scenario.hpp"
#include "support/catch.hpp"
#include "support/threads.hpp"

namespace scenarios {

using plausible = std::function<bool(const lab::tally&)>;

inline bool is_wrong(const lab::form& form) {
  return form.kind == lab::role::naive || form.kind == lab::role::still_wrong;
}

// Effects: runs rounds of a wrong form until one loses, at most 300; checks that one did and that
//          what it ended with is one of the wrong ends that the story knows.
inline void check_that_it_loses(const lab::form& form, const plausible& wrong_end) {
  lab::settings set;
  lab::tally end;
  while (end.lost == 0 && set.seed <= 300) {
    end = form.round(set, nullptr);
    ++set.seed;
  }
  CAPTURE(set.seed, end.expected, end.got, end.lost);
  CHECK(end.lost > 0);
  CHECK(wrong_end(end));
}

// Effects: runs rounds of a right form with few and with many threads; checks that none lost.
inline void check_that_it_holds(const lab::form& form, std::size_t rounds) {
  for (const unsigned threads : {1U, 2U, 4U, 12U}) {
    const std::size_t share = form.kind == lab::role::fixed && threads == 4 ? rounds : rounds / 8;
    for (std::size_t i = 0; i < share; ++i) {
      const lab::tally end = form.round({threads, i + 1}, nullptr);
      if (end.lost == 0 && end.got == end.expected) continue;
      CAPTURE(threads, i, end.expected, end.got, end.lost);
      FAIL_CHECK("a right form lost");
      return;
    }
  }
}

// Effects: draws rounds; checks that a losing round marks a step and that a right form never does.
inline void check_pictures(const lab::form& form) {
  bool lost_one = false;
  for (std::uint64_t seed = 1; seed <= (is_wrong(form) ? 100U : 10U) && !lost_one; ++seed) {
    lab::trace picture;
    const lab::tally end = form.round({4, seed}, &picture);
    const auto& events = picture.events();
    const auto lanes = picture.lanes().size();
    CHECK_FALSE(events.empty());
    CHECK(lanes <= 3);
    CHECK(std::none_of(picture.lanes().begin(), picture.lanes().end(),
                       [](const std::string& name) { return name.empty(); }));
    const bool marked = std::any_of(events.begin(), events.end(),
                                    [](const lab::event& step) { return step.harmful; });
    lost_one = end.lost != 0;
    if (lost_one) CHECK(marked);
    if (!is_wrong(form)) CHECK_FALSE(marked);
  }
  CHECK(lost_one == is_wrong(form));
}

// Effects: all of it, for every form.
inline void prove(const lab::scenario& of, std::size_t rounds, const plausible& wrong_end) {
  REQUIRE(of.forms.size() >= 2);
  CHECK(of.forms.front().kind == lab::role::naive);
  for (const lab::form& form : of.forms) {
    CAPTURE(std::string(form.name));
    if (is_wrong(form)) {
      check_that_it_loses(form, wrong_end);
    } else {
      check_that_it_holds(form, support::rounds(rounds));
    }
    check_pictures(form);
    if (form.cost != nullptr) CHECK(form.cost(2, support::rounds(1000)) > 0);
  }
}

}  // namespace scenarios
