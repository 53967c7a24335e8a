// SPDX-License-Identifier: BSL-1.0

#include "explorer.hpp"

#include <sys/wait.h>
#include <unistd.h>
#include <interlock/version.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "text.hpp"

namespace lab {

namespace {

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> out;
  for (std::size_t end = text.find(at); end != std::string_view::npos; end = text.find(at)) {
    out.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  out.push_back(text);
  return out;
}

[[noreturn]] void misunderstood(std::string_view line) {
  throw explorer_error("lab-explain said " + in_quotes(line) +
                       ", which this lab does not understand; build both anew");
}

// Reads the records one by one, as the head of explain/main.cpp lists them.
class reader {
public:
  explicit reader(const std::vector<const scenario*>& chosen)
      : chosen_(chosen), found_(chosen.size()) {}

  void read(std::string_view line) {
    const std::vector<std::string_view> fields = split(line, '\t');
    const auto is = [&](std::string_view name, std::size_t size) {
      return fields[0] == name && fields.size() == size;
    };
    if (is("lab-explain", 2) && fields[1] == INTERLOCK_VERSION_STRING) return;
    if (is("form", 3)) return begin(fields[1], fields[2]);
    if (is("end", 1)) return void(ended_ = true);
    if (now_ == nullptr) misunderstood(line);
    if (is("counts", 7)) {
      now_->executions = static_cast<std::uint64_t>(number(fields[1]));
      now_->whole = number(fields[3]) != 0;
      end_ = {number(fields[4]), number(fields[5]), number(fields[6])};
    } else if (is("failure", 2)) {
      now_->failure = fields[1];
      now_->losing = timeline{{}, {}, end_};
    } else if (is("race", 2)) {
      now_->race = fields[1];
    } else if (is("lane", 2) && now_->losing) {
      now_->losing->lanes.emplace_back(fields[1]);
    } else if (is("step", 5) && now_->losing) {
      const auto lane = static_cast<std::size_t>(number(fields[1]));
      if (lane >= now_->losing->lanes.size()) misunderstood(line);
      now_->losing->events.push_back(
          {static_cast<unsigned>(lane), std::string(fields[4]), fields[2] == "1"});
      now_->places.emplace_back(fields[3]);
    } else {
      misunderstood(line);
    }
  }

  std::vector<std::vector<explored_form>> result() {
    if (!ended_) throw explorer_error("lab-explain stopped before its end");
    return std::move(found_);
  }

private:
  void begin(std::string_view scenario_name, std::string_view form_name) {
    for (std::size_t i = 0; i < chosen_.size(); ++i) {
      if (chosen_[i]->name != scenario_name) continue;
      for (const form& each : chosen_[i]->forms) {
        if (each.name != form_name) continue;
        now_ = &found_[i].emplace_back();
        now_->of = &each;
        return;
      }
    }
    misunderstood(form_name);
  }
  static std::int64_t number(std::string_view text) {
    std::int64_t value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failure != std::errc() || end != text.data() + text.size()) misunderstood(text);
    return value;
  }

  const std::vector<const scenario*>& chosen_;
  std::vector<std::vector<explored_form>> found_;
  explored_form* now_ = nullptr;
  tally end_;
  bool ended_ = false;
};

std::string in_shell_quotes(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

std::string find_explorer() {
  std::error_code ignored;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const std::filesystem::path beside = self.parent_path() / "lab-explain";
  return !self.empty() && ::access(beside.c_str(), X_OK) == 0 ? beside.string() : "";
}

std::vector<std::vector<explored_form>> read_explored(std::string_view printed,
                                                      const std::vector<const scenario*>& chosen) {
  reader records(chosen);
  for (const std::string_view line : split(printed, '\n')) {
    if (!line.empty()) records.read(line);
  }
  return records.result();
}

std::vector<std::vector<explored_form>> explore(const std::string& program,
                                                const std::vector<const scenario*>& chosen) {
  std::string command = in_shell_quotes(program);
  for (const scenario* each : chosen) command.append(" ").append(each->name);
  std::FILE* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) throw explorer_error("lab-explain cannot be started");
  std::string printed;
  char buffer[4096];
  for (std::size_t got = 0; (got = std::fread(buffer, 1, sizeof buffer, pipe)) != 0;) {
    printed.append(buffer, got);
  }
  const int status = ::pclose(pipe);
  if (status != 0) {
    throw explorer_error("lab-explain failed (status " +
                         std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : status) +
                         "); run it by itself to see why: " + program);
  }
  return read_explored(printed, chosen);
}

}  // namespace lab
