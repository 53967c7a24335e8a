// SPDX-License-Identifier: BSL-1.0
// The lab: runs each race as naive code and with the type that ends it. `lab --help` says more.

#include <interlock/version.hpp>

#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine.hpp"
#include "explained.hpp"
#include "explorer.hpp"
#include "json.hpp"
#include "machine.hpp"
#include "options.hpp"
#include "output_file.hpp"
#include "progress.hpp"
#include "report.hpp"
#include "runner.hpp"
#include "scenario.hpp"
#include "table.hpp"
#include "terminal.hpp"

namespace {

// Ctrl-C, while a server of the lab's runs: what was made is removed first, unless it comes twice.
volatile std::sig_atomic_t interrupted_by = 0;

extern "C" void note_interruption(int which) {
  interrupted_by = which;
  std::signal(which, SIG_DFL);
}

struct interruption {};

enum exit_status { as_told = 0, not_as_told = 1, usage = 2 };

// Throws: usage_error if not all of it could be written.
void print(std::FILE* stream, const std::string& text) {
  if (std::fputs(text.c_str(), stream) < 0 || std::fflush(stream) != 0) {
    throw lab::usage_error("cannot write to standard output; make room or send it elsewhere");
  }
}

// Returns: the command, with no address of a server, which may hold a password.
std::string command(const std::vector<std::string_view>& arguments) {
  std::string out = "lab";
  bool secret = false;
  for (const std::string_view each : arguments) {
    const bool with_value = each.substr(0, 6) == "--url=";
    out.append(" ").append(secret ? "URL" : with_value ? "--url=URL" : each);
    secret = each == "--url";
  }
  return out;
}

std::optional<lab::output_file> opened(const std::string& name) {
  if (name.empty() || name == "-") return std::nullopt;
  return lab::output_file(name);
}

lab::machine machine_of(const lab::options& wanted,
                        const std::vector<std::string_view>& arguments) {
  lab::machine out = lab::this_machine();
  out.facts.emplace_back("Command", command(arguments));
  if (wanted.on == nullptr) {
    const bool explored = !lab::find_explorer().empty();
    out.facts.emplace_back("Explorer", explored ? "interlock::testing, RC11" : "not built");
  }
  if (wanted.what == lab::options::command::explain) return out;
  out.facts.emplace_back("Threads in a round", std::to_string(wanted.base.threads));
  out.facts.emplace_back("First seed", std::to_string(wanted.base.seed));
  return out;
}

// Effects: has each scenario of the run explored, if the explorer is there.
void add_explored(lab::run_result& run, const std::vector<const lab::scenario*>& chosen,
                  const std::string& explorer) {
  if (explorer.empty()) return;
  std::vector<std::vector<lab::explored_form>> found = lab::explore(explorer, chosen);
  for (std::size_t i = 0; i < chosen.size(); ++i) run.scenarios[i].explored = std::move(found[i]);
}

lab::run_result on_real_threads(const lab::options& wanted) {
  std::unique_ptr<lab::opened_engine> server;
  if (wanted.on != nullptr) {
    std::signal(SIGINT, note_interruption);
    std::signal(SIGTERM, note_interruption);
    server = wanted.on->open(wanted.url, wanted.base.threads);
  }
  lab::progress bar;
  const auto watch = [&](double done, std::string_view at) {
    if (interrupted_by != 0) throw interruption();
    bar.show(done, at);
  };
  lab::run_result found = lab::run(wanted.scenarios, wanted.base, wanted.seconds, watch);
  bar.clear();
  if (server != nullptr) {
    found.engine = server->description();
    return found;
  }
  try {
    add_explored(found, wanted.scenarios, lab::find_explorer());
  } catch (const lab::explorer_error& error) {
    found.explorer_failure = error.what();  // the run is worth its report without it
  }
  return found;
}

lab::run_result on_the_explorer(const lab::options& wanted) {
  const std::string explorer = lab::find_explorer();
  if (explorer.empty()) {
    throw lab::usage_error(
        "--explain needs the program lab-explain beside the lab; build the target lab-explain "
        "(GCC or Clang, without sanitizers), or run ./scripts/demo");
  }
  lab::run_result out;
  out.only_explored = true;
  for (const lab::scenario* each : wanted.scenarios) out.scenarios.push_back({each, {}, {}});
  add_explored(out, wanted.scenarios, explorer);
  return out;
}

exit_status run(const lab::options& wanted, const std::vector<std::string_view>& arguments) {
  const std::optional<lab::output_file> json = opened(wanted.json);
  const std::optional<lab::output_file> html = opened(wanted.html);
  const bool explain = wanted.what == lab::options::command::explain;
  const lab::run_result found = explain ? on_the_explorer(wanted) : on_real_threads(wanted);

  const bool json_to_stdout = wanted.json == "-";
  std::FILE* const screen = json_to_stdout ? stderr : stdout;
  const lab::look look = lab::look_of(screen);
  print(screen, explain ? lab::explained(found, look) : lab::table(found, look));
  if (!found.engine.empty()) print(screen, "on " + found.engine + "\n");
  if (json) json->write(lab::json(found));
  if (json_to_stdout) print(stdout, lab::json(found));
  if (html) {
    lab::machine machine = machine_of(wanted, arguments);
    if (!found.engine.empty()) machine.facts.emplace_back("Engine", found.engine);
    html->write(lab::report(found, machine));
    print(screen, "Report with pictures: " + html->path() + "\n");
  }

  const std::vector<std::string> odd = lab::surprises(found);
  for (const std::string& each : odd) std::fprintf(stderr, "lab: %s\n", each.c_str());
  return odd.empty() ? as_told : not_as_told;
}

exit_status obey(const std::vector<std::string_view>& arguments) {
  const lab::options wanted = lab::parse(arguments, lab::scenarios(), lab::engines());
  switch (wanted.what) {
    case lab::options::command::help:
      print(stdout, lab::help());
      return as_told;
    case lab::options::command::list:
      print(stdout, lab::list(wanted.scenarios));
      return as_told;
    case lab::options::command::version:
      print(stdout, "lab, Interlock " INTERLOCK_VERSION_STRING "\n");
      return as_told;
    case lab::options::command::explain:
    case lab::options::command::run:
      break;
  }
  return run(wanted, arguments);
}

int work_for(std::string_view name) {
  for (const lab::engine& each : lab::engines()) {
    if (each.name == name && each.built()) return each.work();
  }
  throw lab::usage_error("--work-for is the lab's own option; --help lists yours");
}

}  // namespace

int main(int count, char** values) {
  try {
    const std::vector<std::string_view> arguments(values + (count > 0 ? 1 : 0), values + count);
    // As a process that a lab has started, for a story with several: see engines/worker.hpp.
    if (arguments.size() == 2 && arguments[0] == "--work-for") return work_for(arguments[1]);
    return obey(arguments);
  } catch (const interruption&) {
    return 128 + interrupted_by;
  } catch (const lab::usage_error& error) {
    std::fprintf(stderr, "lab: %s\n", error.what());
    return usage;
  } catch (const std::exception& error) {
    if (interrupted_by != 0) return 128 + interrupted_by;  // Ctrl-C is for the server, too
    std::fprintf(stderr, "lab: %s\n", error.what());
    return not_as_told;
  }
}
