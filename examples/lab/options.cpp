// SPDX-License-Identifier: BSL-1.0

#include "options.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <numeric>
#include <optional>

#include "text.hpp"

namespace lab {

namespace {

constexpr double seconds_per_scenario = 1.6;
constexpr double most_seconds = 86400;
constexpr unsigned most_threads = 64;

// Returns: the number of insertions, removals and replacements that turn one word into the other.
std::size_t distance(std::string_view from, std::string_view to) {
  std::vector<std::size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < from.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < to.size(); ++j) {
      const std::size_t replaced = diagonal + (from[i] == to[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

// Returns: "did you mean a or b", with the (at most three) names nearest to what was typed, or "".
template <class Names>
std::string nearest(std::string_view typed, const Names& names) {
  struct candidate {
    std::size_t away;
    std::string_view name;
  };
  std::vector<candidate> near;
  for (const std::string_view name : names) {
    const bool contained = typed.size() >= 3 && name.find(typed) != std::string_view::npos;
    const std::size_t away = contained ? 0 : distance(typed, name);
    if (away <= std::max<std::size_t>(2, name.size() / 3)) near.push_back({away, name});
  }
  std::sort(near.begin(), near.end(), [](const candidate& a, const candidate& b) {
    return a.away != b.away ? a.away < b.away : a.name < b.name;
  });
  if (near.size() > 3) near.resize(3);
  std::string out;
  for (std::size_t i = 0; i < near.size(); ++i) {
    out += i == 0 ? "did you mean " : i + 1 == near.size() ? " or " : ", ";
    out += near[i].name;
  }
  return out;
}

// Returns: the element of that name, or nullptr.
template <class Named>
const Named* named(std::string_view name, const std::vector<Named>& all) {
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Named& n) { return n.name == name; });
  return found == all.end() ? nullptr : &*found;
}

template <class Named>
std::vector<std::string_view> names_of(const std::vector<Named>& all) {
  std::vector<std::string_view> names;
  for (const Named& each : all) names.push_back(each.name);
  return names;
}

// Returns: the scenario of that name among those that run on `on`, or in this process if that is
//          null.
const scenario* find(std::string_view typed, const std::vector<scenario>& known, const engine* on,
                     const std::vector<scenario>& in_process,
                     const std::vector<engine>& engines) {
  if (const scenario* const found = named(typed, known)) return found;
  if (on != nullptr && named(typed, in_process) != nullptr) {
    throw usage_error("scenario " + in_quotes(typed) + " needs no engine; run it without --engine");
  }
  for (const engine& each : engines) {
    if (each.built() && named(typed, *each.scenarios) != nullptr) {
      throw usage_error("scenario " + in_quotes(typed) + " needs an engine; add --engine " +
                        std::string(each.name));
    }
  }
  const std::string guess = nearest(typed, names_of(known));
  throw usage_error("unknown scenario " + in_quotes(typed) + "; " +
                    (guess.empty() ? "" : guess + "? ") + "--list names them all");
}

template <class Integer>
Integer whole_number(std::string_view option, std::string_view text, Integer low, Integer high) {
  Integer value{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() || value < low || value > high) {
    throw usage_error(std::string(option) + " " + in_quotes(text) + ": give a whole number from " +
                      std::to_string(low) + " to " + std::to_string(high));
  }
  return value;
}

double positive_number(std::string_view option, std::string_view text) {
  const std::string copy(text);
  const bool plain = !copy.empty() && copy.find_first_not_of("0123456789.") == std::string::npos;
  char* end = nullptr;
  const double value = plain ? std::strtod(copy.c_str(), &end) : 0.0;
  if (!plain || end != copy.c_str() + copy.size() || !(value > 0) || value > most_seconds) {
    throw usage_error(std::string(option) + " " + in_quotes(text) +
                      ": give a number of seconds above 0 and up to 86400, like 20 or 2.5");
  }
  return value;
}

const engine* find_engine(std::string_view typed, const std::vector<engine>& known) {
  const engine* const found = named(typed, known);
  if (found == nullptr) {
    const std::string guess = nearest(typed, names_of(known));
    std::string all;
    for (const engine& each : known) all.append(all.empty() ? "" : ", ").append(each.name);
    throw usage_error("unknown engine " + in_quotes(typed) + "; " +
                      (guess.empty() ? "" : guess + "? ") + "there are " + all +
                      ", and the scenarios that run without --engine");
  }
  if (!found->built()) {
    throw usage_error("engine " + in_quotes(typed) + " is not in this build; install " +
                      std::string(found->library) +
                      " and build again, or run the scenarios without --engine");
  }
  return found;
}

// Walks the arguments once; "--name=value" and "--name value" are the same.
class parser {
public:
  parser(const std::vector<std::string_view>& arguments, const std::vector<scenario>& known,
         const std::vector<engine>& engines)
      : arguments_(arguments), in_process_(known), engines_(engines) {}

  options run() {
    while (at_ < arguments_.size()) {
      const std::string_view argument = arguments_[at_++];
      if (only_names_ || argument.empty() || argument[0] != '-' || argument == "-") {
        asked_for_.push_back(argument);
      } else if (argument == "--") {
        only_names_ = true;
      } else {
        option(argument);
      }
    }
    finish();
    return std::move(out_);
  }

private:
  void add(const scenario& named) {
    auto& all = out_.scenarios;
    if (std::find(all.begin(), all.end(), &named) == all.end()) all.push_back(&named);
  }

  void option(std::string_view argument) {
    const std::size_t equals = argument.find('=');
    const std::string_view name = argument.substr(0, equals);
    if (equals != std::string_view::npos) inline_value_ = argument.substr(equals + 1);
    if (name == "--list") {
      out_.what = options::command::list;
    } else if (name == "--explain") {
      explain(value(name));
    } else if (name == "--help" || name == "-h") {
      out_.what = options::command::help;
    } else if (name == "--version") {
      out_.what = options::command::version;
    } else if (name == "--no-html") {
      no_html_ = true;
    } else if (name == "--threads") {
      out_.base.threads = whole_number<unsigned>(name, value(name), 2, most_threads);
      timed_ = "--threads";
    } else if (name == "--seconds") {
      seconds_ = positive_number(name, value(name));
      timed_ = "--seconds";
    } else if (name == "--seed") {
      out_.base.seed = whole_number<std::uint64_t>(name, value(name), 0, UINT64_MAX);
      timed_ = "--seed";
    } else if (name == "--json") {
      out_.json = file(name);
    } else if (name == "--html") {
      out_.html = file(name);
      html_named_ = true;
      if (out_.html == "-") throw usage_error("--html '-': the page is a file; name one");
    } else if (name == "--engine") {
      out_.on = find_engine(value(name), engines_);
    } else if (name == "--url") {
      url_ = value(name);
    } else {
      unknown(name);
    }
    if (inline_value_) {
      throw usage_error("option " + in_quotes(name) + " takes no value; leave out " +
                        in_quotes(std::string("=").append(*inline_value_)));
    }
  }

  [[noreturn]] static void unknown(std::string_view name) {
    static constexpr std::string_view names[] = {"--list",   "--explain", "--threads", "--seconds",
                                                 "--seed",   "--json",    "--html",    "--no-html",
                                                 "--engine", "--url",     "--help",    "--version"};
    const std::string guess = nearest(name, names);
    throw usage_error("unknown option " + in_quotes(name) + "; " +
                      (guess.empty() ? "" : guess + "? ") + "--help explains them all");
  }

  void explain(std::string_view name) {
    out_.what = options::command::explain;
    if (name == "all") {
      explain_all_ = true;
    } else {
      asked_for_.push_back(name);
    }
  }

  std::string_view value(std::string_view option) {
    if (inline_value_) {
      const std::string_view text = *inline_value_;
      inline_value_.reset();
      return text;
    }
    if (at_ == arguments_.size()) {
      throw usage_error("option " + in_quotes(option) + " needs a value; --help shows which");
    }
    return arguments_[at_++];
  }

  std::string file(std::string_view option) {
    const std::string name(value(option));
    if (name.empty())
      throw usage_error("option " + in_quotes(option) + " needs the name of a file");
    return name;
  }

  void finish_engine() {
    if (url_) {
      if (out_.on == nullptr) {
        throw usage_error("--url " + in_quotes(*url_) + " needs --engine, which says of what kind");
      }
      if (url_->empty()) throw usage_error("--url '': name a server, or leave it out");
      out_.url = std::string(*url_);
    }
    if (out_.on != nullptr && out_.what == options::command::explain) {
      throw usage_error("--explain explores this process alone; leave out --engine");
    }
  }

  void finish_scenarios() {
    const std::vector<scenario>& known = out_.on != nullptr ? *out_.on->scenarios : in_process_;
    for (const std::string_view name : asked_for_) {
      add(*find(name, known, out_.on, in_process_, engines_));
    }
    if (explain_all_ || out_.scenarios.empty()) {
      for (const scenario& each : known) add(each);
    }
  }

  void finish() {
    if (out_.what == options::command::explain && !timed_.empty()) {
      throw usage_error(std::string(timed_) +
                        " is for real threads; --explain tries every interleaving, leave it out");
    }
    finish_engine();
    finish_scenarios();
    if (no_html_ && html_named_) {
      throw usage_error("--html and --no-html contradict each other; give one of them");
    }
    if (no_html_) out_.html.clear();
    if (!out_.json.empty() && out_.json == out_.html) {
      throw usage_error("--json and --html name the same file " + in_quotes(out_.json) +
                        "; give each its own");
    }
    out_.seconds =
        seconds_.value_or(seconds_per_scenario * static_cast<double>(out_.scenarios.size()));
  }

  const std::vector<std::string_view>& arguments_;
  const std::vector<scenario>& in_process_;
  const std::vector<engine>& engines_;
  std::vector<std::string_view> asked_for_;  // names of scenarios, in this order
  bool explain_all_ = false;
  std::optional<std::string_view> url_;
  std::size_t at_ = 0;
  bool only_names_ = false;
  bool no_html_ = false;
  bool html_named_ = false;
  std::optional<double> seconds_;
  std::string_view timed_;  // the last option given that is for real threads alone
  std::optional<std::string_view> inline_value_;
  options out_;
};

}  // namespace

options parse(const std::vector<std::string_view>& arguments, const std::vector<scenario>& known,
              const std::vector<engine>& known_engines) {
  return parser(arguments, known, known_engines).run();
}

std::string help() {
  return
      R"(lab - runs each race as naive code and with the type that ends it, on real threads.

usage: lab [OPTION...] [SCENARIO...]      every scenario if none is named

  --list          name the scenarios and their stories, run nothing
  --explain NAME  find the interleaving that makes the naive form lose, and try every one of the
                  fixed form, with the model explorer; 'all' is every scenario
  --threads N     threads in a round, 2 to 64 (default 4)
  --seconds S     time for the whole run, shared out evenly (default 1.6 per scenario)
  --seed N        the first seed; each round takes the next one (default 1)
  --json FILE     write the facts as JSON; with '-' to standard output, and the table to
                  standard error
  --html FILE     write the report with pictures there (default lab-report.html)
  --no-html       write no report
  --engine NAME   run on sqlite, redis or postgres: a server of the lab's own, which it starts on a
                  socket in a temporary folder and stops; for sqlite a file there
  --url URL       with --engine: use this server (for sqlite: this file) instead, under names of
                  the lab's own, which it removes
  --help          this text
  --version       the version

exit status: 0 every naive form was seen to lose and no fixed form lost anything; 1 otherwise;
             2 an argument is wrong, a file cannot be written, the explorer is not built, or the
             engine's server is not there
)";
}

}  // namespace lab
