// SPDX-License-Identifier: BSL-1.0
// The lab: runs each race as naive code and with the type that ends it. `lab --help` says more.

#include <interlock/version.hpp>

#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

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

enum exit_status { as_told = 0, not_as_told = 1, usage = 2 };

// Throws: usage_error if not all of it could be written.
void print(std::FILE* stream, const std::string& text) {
  if (std::fputs(text.c_str(), stream) < 0 || std::fflush(stream) != 0) {
    throw lab::usage_error("cannot write to standard output; make room or send it elsewhere");
  }
}

std::string command(const std::vector<std::string_view>& arguments) {
  std::string out = "lab";
  for (const std::string_view each : arguments) out.append(" ").append(each);
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
  out.facts.emplace_back("Threads in a round", std::to_string(wanted.base.threads));
  out.facts.emplace_back("First seed", std::to_string(wanted.base.seed));
  return out;
}

exit_status run(const lab::options& wanted, const std::vector<std::string_view>& arguments) {
  const std::optional<lab::output_file> json = opened(wanted.json);
  const std::optional<lab::output_file> html = opened(wanted.html);

  lab::progress bar;
  const lab::run_result found =
      lab::run(wanted.scenarios, wanted.base, wanted.seconds,
               [&](double done, std::string_view at) { bar.show(done, at); });
  bar.clear();

  const bool json_to_stdout = wanted.json == "-";
  std::FILE* const screen = json_to_stdout ? stderr : stdout;
  print(screen, lab::table(found, lab::look_of(screen)));
  if (json) json->write(lab::json(found));
  if (json_to_stdout) print(stdout, lab::json(found));
  if (html) {
    html->write(lab::report(found, machine_of(wanted, arguments)));
    print(screen, "Report with pictures: " + html->path() + "\n");
  }

  const std::vector<std::string> odd = lab::surprises(found);
  for (const std::string& each : odd) std::fprintf(stderr, "lab: %s\n", each.c_str());
  return odd.empty() ? as_told : not_as_told;
}

exit_status obey(const std::vector<std::string_view>& arguments) {
  const lab::options wanted = lab::parse(arguments, lab::scenarios());
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
    case lab::options::command::run:
      break;
  }
  return run(wanted, arguments);
}

}  // namespace

int main(int count, char** values) {
  try {
    return obey({values + (count > 0 ? 1 : 0), values + count});
  } catch (const lab::usage_error& error) {
    std::fprintf(stderr, "lab: %s\n", error.what());
    return usage;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lab: %s\n", error.what());
    return not_as_told;
  }
}
