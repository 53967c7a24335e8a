// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/cells.hpp - cells and mirror targets of a client.

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "counters.hpp"
#include "scripts_cells.hpp"

namespace interlock::redis::detail {

template <class Executor>
class cells : public counters<Executor> {
public:
  using typename caller<Executor>::object;

  outcome<store::cell_state> cell_load(const object& at, const call_options& call) {
    using out = outcome<store::cell_state>;
    const asked by{at, "load", call, false};
    const std::array<std::string_view, 4> command{"HMGET", at.key(), "v", "d"};
    return this->template native<out>(by, command, [&](const auto& answer) -> out {
      reader in;
      store::cell_state is = cell(in, answer, 0);
      if (in.good()) return is;
      return this->unreadable(by);
    });
  }

  outcome<std::vector<store::cell_state>> cells_load(std::span<const object* const> all,
                                                     const call_options& call) {
    using out = outcome<std::vector<store::cell_state>>;
    if (all.empty()) return std::vector<store::cell_state>();
    std::vector<std::string_view> keys;
    keys.reserve(all.size());
    for (const object* each : all) keys.push_back(each->key());
    const call_options without_id{{}, call.timeout};
    const asked by{*all.front(), "load", without_id, false};
    script_call script = this->calling(script_cells_load(), by, keys);
    return this->template run<out>(by, script, [&](const auto& answer, bool) -> out {
      reader in;
      std::vector<store::cell_state> states;
      states.reserve(all.size());
      for (std::size_t i = 0; i < all.size(); ++i) states.push_back(cell(in, answer, 1 + 2 * i));
      if (in.good()) return states;
      return this->unreadable(by);
    });
  }

  outcome<std::uint64_t, store::cell_state> cell_put(const object& at,
                                                     std::optional<std::uint64_t> expected,
                                                     std::optional<std::string_view> bytes,
                                                     const call_options& call) {
    using out = outcome<std::uint64_t, store::cell_state>;
    const asked by{at, "put", call};
    if (auto bad = this->bad_size(by, bytes ? bytes->size() : 0)) return *std::move(bad);
    const std::array<std::string_view, 2> keys{at.key(), this->state_->versions};
    const decimal version(expected.value_or(0));
    script_call script = this->calling(script_cell_put(), by, keys);
    script.parts.add(expected ? std::string_view(version) : std::string_view());
    add_bytes(script.parts, bytes);
    return this->template run<out>(by, script, [&](const auto& answer, bool applied) -> out {
      reader in;
      if (applied) return version_of(in, by, answer).template without_conflict<out>();
      store::cell_state is = cell(in, answer, 1);
      if (in.good()) return store::conflicting{std::move(is)};
      return this->unreadable(by);
    });
  }

  outcome<std::uint64_t, store::cell_conflict> cells_commit(
      std::span<const store::cell_check<object>> checks,
      std::span<const store::cell_write<object>> writes, const call_options& call);

  outcome<nothing, store::mirror_row> mirror_put(const object& at, std::string_view key,
                                                 mirror_version version,
                                                 std::optional<std::string_view> bytes,
                                                 const call_options& call) {
    using out = outcome<nothing, store::mirror_row>;
    const asked by{at, "put", call};
    if (auto bad = this->bad_key(by, key)) return *std::move(bad);
    if (auto bad = this->bad_size(by, bytes ? bytes->size() : 0)) return *std::move(bad);
    const std::string whole = row(at, key);
    const std::string_view one = whole;
    const decimal epoch(version.epoch);
    const decimal sequence(version.sequence);
    script_call script = this->calling(script_mirror_put(), by, {&one, 1});
    script.parts.add(epoch);
    script.parts.add(sequence);
    add_bytes(script.parts, bytes);
    return this->template run<out>(by, script, [&](const auto& answer, bool applied) -> out {
      if (applied) return nothing{};
      reader in;
      store::mirror_row is = mirrored(in, answer, 1);
      if (in.good()) return store::conflicting{std::move(is)};
      return this->unreadable(by);
    });
  }

  outcome<store::mirror_row> mirror_get(const object& at, std::string_view key,
                                        const call_options& call) {
    using out = outcome<store::mirror_row>;
    const asked by{at, "get", call, false};
    if (auto bad = this->bad_key(by, key)) return *std::move(bad);
    const std::string whole = row(at, key);
    const std::array<std::string_view, 5> command{"HMGET", whole, "e", "s", "d"};
    return this->template native<out>(by, command, [&](const auto& answer) -> out {
      reader in;
      store::mirror_row is = mirrored(in, answer, 0);
      if (in.good()) return is;
      return this->unreadable(by);
    });
  }

protected:
  using counters<Executor>::counters;

  // Returns: the key of a row of a store or target.
  static std::string row(const object& at, std::string_view key) {
    std::string text = at.key();
    text += key;
    return text;
  }

private:
  struct version_or {
    std::optional<std::uint64_t> version;
    std::optional<store::refusal> why;
    template <class Out>
    Out without_conflict() && {
      if (version) return *version;
      return *std::move(why);
    }
  };
  template <class Answer>
  static version_or version_of(reader& in, const asked& by, const Answer& answer) {
    in.expect(answer, 2);
    const auto version = in.good() ? in.template number<std::uint64_t>(answer.at(1)) : 0;
    if (in.good()) return {version, std::nullopt};
    return {std::nullopt, caller<Executor>::unreadable(by)};
  }
  static void add_bytes(arguments& parts, std::optional<std::string_view> bytes) {
    parts.add(bytes ? "w" : "d");
    parts.add(bytes.value_or(std::string_view()));
  }
  template <class Answer>
  static store::cell_state cell(reader& in, const Answer& answer, std::size_t first) {
    in.expect(answer, first + 2);
    store::cell_state is;
    if (!in.good() || answer.at(first).kind() == value_kind::nil) return is;
    is.version = in.template number<std::uint64_t>(answer.at(first));
    is.bytes = in.bytes(answer.at(first + 1));
    return is;
  }
  template <class Answer>
  static store::mirror_row mirrored(reader& in, const Answer& answer, std::size_t first) {
    in.expect(answer, first + 3);
    store::mirror_row is;
    if (!in.good() || answer.at(first).kind() == value_kind::nil) return is;
    is.version = {in.template number<std::uint64_t>(answer.at(first)),
                  in.template number<std::uint64_t>(answer.at(first + 1))};
    is.bytes = in.bytes(answer.at(first + 2));
    return is;
  }
};

template <class Executor>
auto cells<Executor>::cells_commit(std::span<const store::cell_check<object>> checks,
                                   std::span<const store::cell_write<object>> writes,
                                   const call_options& call)
    -> outcome<std::uint64_t, store::cell_conflict> {
  using out = outcome<std::uint64_t, store::cell_conflict>;
  if (checks.empty() && writes.empty()) return std::uint64_t{0};
  const asked by{writes.empty() ? *checks.front().cell : *writes.front().cell, "commit", call};
  std::vector<std::string_view> keys;
  keys.reserve(checks.size() + writes.size() + 1);
  for (const auto& each : checks) keys.push_back(each.cell->key());
  for (const auto& each : writes) {
    const asked one{*each.cell, "commit", call};
    if (auto bad = this->bad_size(one, each.bytes ? each.bytes->size() : 0)) return *std::move(bad);
    keys.push_back(each.cell->key());
  }
  keys.push_back(this->state_->versions);
  script_call script = this->calling(script_cells_commit(), by, keys);
  std::deque<decimal> numbers;  // which stay where they are
  script.parts.add(numbers.emplace_back(checks.size()));
  for (const auto& each : checks) script.parts.add(numbers.emplace_back(each.version));
  script.parts.add(numbers.emplace_back(writes.size()));
  for (const auto& each : writes) add_bytes(script.parts, each.bytes);
  return this->template run<out>(by, script, [&](const auto& answer, bool applied) -> out {
    reader in;
    if (applied) return version_of(in, by, answer).template without_conflict<out>();
    in.expect(answer, 4);
    if (!in.good()) return this->unreadable(by);
    store::cell_conflict other;
    other.index = in.template number<std::size_t>(answer.at(1));
    other.now = cell(in, answer, 2);
    if (in.good()) return store::conflicting{std::move(other)};
    return this->unreadable(by);
  });
}

}  // namespace interlock::redis::detail
