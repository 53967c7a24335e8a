// SPDX-License-Identifier: BSL-1.0
#pragma once

// tests/testing/litmus.hpp - litmus tests as text, run by the explorer and by the oracle.
//
//   threads      ... | ...          instructions   ... ; ...
//   x.rlx = 1    store              a = x.acq      load into a register
//   a = x.ar += 1   fetch_add       a = x.ar := 1  exchange
//   a = x.ar/rlx ? 0 : 1            compare_exchange from 0 to 1, order on success / on failure
//   wait x.acq == 1                 load until it is so
//   F.sc         fence; F.none: nothing
//   p = 1, a = p    not atomic      a = choose 2   0 or 1
//   if a == 0: ...  if a != 0: ...  one instruction on a condition
//
// Atomic objects are u to z, plain ones p to s, registers a to h; a value may be a register, or
// a register + a constant. The orders: rlx con acq rel ar sc. $1, $2, ... stand for the words of
// a variant.

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "front.hpp"
#include "oracle.hpp"

namespace litmus {

// What is observed: registers and last values of objects. Expected is one of
//   all                 each combination of values that were stored there
//   not 1 0, 1 1        all but these
//   0 0, 0 1            these
//   race, no race       the verdict on plain objects alone
struct variant {
  const char* words;
  const char* expected;
};
struct family {
  const char* name;
  const char* code;
  const char* watched;
  std::vector<variant> variants;
};

// ---- reading the text ---------------------------------------------------------------------------

[[noreturn]] inline void wrong(const std::string& text) {
  std::fprintf(stderr, "litmus: cannot read '%s'\n", text.c_str());
  std::exit(3);
}

inline std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, at);) parts.push_back(part);
  return parts;
}

class reader {
public:
  oracle::program code;
  std::map<char, int> places;  // by name; numbered as they come

  explicit reader(const std::string& text) {
    for (const std::string& thread : split(text, '|')) {
      code.emplace_back();
      for (const std::string& one : split(thread, ';')) {
        tokens_.clear();
        next_ = 0;
        cut(one);
        if (!tokens_.empty()) instruction();
        if (next_ != tokens_.size()) wrong(one);
      }
    }
  }

private:
  void cut(const std::string& text) {
    for (std::size_t i = 0; i < text.size();) {
      const auto is_word = [&](std::size_t k) {
        return k < text.size() && std::isalnum(static_cast<unsigned char>(text[k])) != 0;
      };
      std::size_t end = i + 1;
      if (is_word(i)) {
        while (is_word(end)) ++end;
      } else if (end < text.size() && text[end] == '=' && text[i] != ' ') {
        ++end;
      }
      if (text[i] != ' ') tokens_.push_back(text.substr(i, end - i));
      i = end;
    }
  }
  [[nodiscard]] std::string peek() const { return next_ < tokens_.size() ? tokens_[next_] : ""; }
  std::string take() {
    if (next_ == tokens_.size()) wrong("end of an instruction");
    return tokens_[next_++];
  }
  bool taken(const char* token) {
    if (peek() != token) return false;
    ++next_;
    return true;
  }
  void expect(const char* token) {
    if (!taken(token)) wrong(peek() + "' instead of '" + token);
  }
  static bool is_register(const std::string& t) { return t.size() == 1 && t >= "a" && t <= "h"; }
  static bool is_plain(const std::string& t) { return t.size() == 1 && t >= "p" && t <= "s"; }

  int constant() { return std::stoi(take()); }
  int reg() { return take()[0] - 'a'; }
  oracle::number number() {
    if (!is_register(peek())) return {constant()};
    const int from = reg();
    return {taken("+") ? constant() : 0, from};
  }
  oracle::order order() {
    const std::map<std::string, oracle::order> names = {
        {"rlx", oracle::relaxed}, {"con", oracle::acquire}, {"acq", oracle::acquire},
        {"rel", oracle::release}, {"ar", oracle::acq_rel},  {"sc", oracle::seq_cst}};
    const auto found = names.find(take());
    if (found == names.end()) wrong("order " + tokens_[next_ - 1]);
    return found->second;
  }
  void object(oracle::instruction& i) {
    const std::string name = take();
    i.place = places.try_emplace(name[0], static_cast<int>(places.size())).first->second;
    i.strong = is_plain(name) ? oracle::plain : (expect("."), order());
    i.weak = taken("/") ? order() : oracle::relaxed;
  }

  void instruction() {
    oracle::instruction i{oracle::what::load, 0, oracle::relaxed, oracle::relaxed, {}, {}};
    if (taken("if")) {
      i.only_if = reg();
      i.equal = take() == "==";
      i.this_value = constant();
      expect(":");
    }
    if (taken("F")) {
      i.kind = oracle::what::fence;
      expect(".");
      if (taken("none")) return;
      i.strong = order();
    } else if (taken("wait")) {
      i.waits = true;
      object(i);
      expect("==");
      i.expected = number();
    } else {
      if (is_register(peek())) {
        i.result = reg();
        expect("=");
      }
      access(i);
    }
    code.back().push_back(i);
  }
  void access(oracle::instruction& i) {
    if (taken("choose")) {
      i.kind = oracle::what::choose;
      i.value = constant();
      return;
    }
    object(i);
    if (taken("+=")) {
      i.kind = oracle::what::add;
      i.value = number();
    } else if (taken(":=")) {
      i.kind = oracle::what::exchange;
      i.value = number();
    } else if (taken("?")) {
      i.kind = oracle::what::cas;
      i.expected = number();
      expect(":");
      i.value = number();
    } else if (taken("=")) {
      i.kind = oracle::what::store;
      i.value = number();
    }
  }

  std::vector<std::string> tokens_;
  std::size_t next_ = 0;
};

inline std::string filled(std::string code, const std::vector<std::string>& words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string name = "$" + std::to_string(i + 1);
    for (std::size_t at; (at = code.find(name)) != std::string::npos;) {
      code.replace(at, name.size(), words[i]);
    }
  }
  return code;
}

inline std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  std::istringstream in(text);
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

inline std::vector<oracle::observed> watched(const std::string& text, reader& source) {
  std::vector<oracle::observed> result;
  for (const std::string& word : words_of(text)) {
    const auto place = source.places.find(word[0]);
    const bool object = place != source.places.end();
    result.push_back({object, object ? place->second : word[0] - 'a'});
  }
  return result;
}

// Each combination of the values that are stored: for a register also 0, the initial value.
inline outcomes all_of(const oracle::program& code, const std::vector<oracle::observed>& what) {
  outcomes all = {""};
  for (const oracle::observed& one : what) {
    int place = one.index;
    std::set<int> values;
    for (const auto& thread : code) {
      for (const auto& i : thread) {
        if (one.object || i.result != one.index) continue;
        place = i.place;
        values.insert(0);
      }
    }
    for (const auto& thread : code) {
      for (const auto& i : thread) {
        const bool writes = i.kind != oracle::what::load && i.kind != oracle::what::fence;
        if (writes && i.place == place) values.insert(i.value.constant);
      }
    }
    outcomes longer;
    for (const std::string& before : all) {
      for (const int v : values) {
        longer.insert(before + (before.empty() ? "" : " ") + std::to_string(v));
      }
    }
    all = longer;
  }
  return all;
}

inline outcomes listed(const std::string& text) {
  outcomes result;
  for (const std::string& part : split(text, ',')) {
    std::string one;
    for (const std::string& word : words_of(part)) one += (one.empty() ? "" : " ") + word;
    result.insert(one);
  }
  return result;
}

inline outcomes meant(const std::string& expected, const oracle::program& code,
                      const std::vector<oracle::observed>& what) {
  if (expected == "all") return all_of(code, what);
  if (expected.compare(0, 4, "not ") != 0) return listed(expected);
  outcomes all = all_of(code, what);
  for (const std::string& one : listed(expected.substr(4))) {
    if (all.erase(one) == 0) wrong(expected);
  }
  return all;
}

// ---- running it under the explorer --------------------------------------------------------------

// A value of 128 bits: both halves must travel together.
struct alignas(16) wide {
  long long low = 0, high = 0;
  wide() = default;
  explicit wide(int v) : low(v), high(-v) {}
  explicit operator int() const { return low == -high ? static_cast<int>(low) : 999; }
  friend bool operator==(const wide&, const wide&) = default;
};

template <class T>
struct machine {
  atomic<T> object[6] = {};
  plain<T> data[6] = {};
  int reg[oracle::registers] = {};

  [[nodiscard]] T value(const oracle::number& n) const {
    return static_cast<T>(n.constant + (n.from < 0 ? 0 : reg[n.from]));
  }
  void keep(const oracle::instruction& i, T read) {
    if (i.result >= 0) reg[i.result] = static_cast<int>(read);
  }

  void perform(const oracle::instruction& i) {
    constexpr std::memory_order orders[] = {rlx, acq, rel, ar, sc, rlx};
    if (i.only_if >= 0 && (reg[i.only_if] == i.this_value) != i.equal) return;
    atomic<T>& x = object[i.place];
    const std::memory_order order = orders[i.strong];
    switch (i.kind) {
      case oracle::what::load: load(i, x, order); break;
      case oracle::what::store:
        if (i.strong == oracle::plain) {
          data[i.place] = value(i.value);
        } else {
          x.store(value(i.value), order);
        }
        break;
      case oracle::what::add:
        if constexpr (std::is_integral_v<T>) keep(i, x.fetch_add(value(i.value), order));
        break;
      case oracle::what::exchange: keep(i, x.exchange(value(i.value), order)); break;
      case oracle::what::cas: {
        T expected = value(i.expected);
        (void)x.compare_exchange_strong(expected, value(i.value), order, orders[i.weak]);
        keep(i, expected);
        break;
      }
      case oracle::what::fence: fence(order); break;
      case oracle::what::choose:
        reg[i.result] = static_cast<int>(testing::choose(static_cast<unsigned>(i.value.constant)));
        break;
    }
  }

private:
  void load(const oracle::instruction& i, atomic<T>& x, std::memory_order order) {
    if (i.strong == oracle::plain) return keep(i, data[i.place]);
    if (!i.waits) return keep(i, x.load(order));
    while (x.load(order) != value(i.expected)) testing::spin_hint();
  }
};

template <class T>
testing::report explored(const oracle::program& code, const std::vector<oracle::observed>& what,
                         testing::options how = {}) {
  how.count_distinct = how.sample == testing::sampling::none;
  how.source_lines = false;
  return testing::explore(how, [&](testing::world& w) {
    machine<T> m;
    for (const auto& thread : code) {
      w.thread([&] {
        for (const auto& one : thread) m.perform(one);
      });
    }
    w.finally([&] {
      for (const oracle::observed& one : what) {
        if (one.object) {
          w.outcome(static_cast<int>(m.object[one.index].load(rlx)));
        } else {
          w.outcome(m.reg[one.index]);
        }
      }
    });
  });
}

// Effects: explores one variant and compares it with what is expected and with the oracle: the
//          outcomes, the number of executions, and whether there is a race.
template <class T = int>
void verify(const family& f, const variant& v) {
  const std::string text = filled(f.code, words_of(v.words));
  reader source(text);
  const auto what = watched(f.watched, source);
  const std::string expected = v.expected;
  if (std::is_class_v<T> && text.find("+=") != std::string::npos) return;
  const oracle::enumeration axioms(source.code, what);
  const testing::report report = explored<T>(source.code, what);
  INFO(std::string(f.name) + " " + v.words + ": " + text);
  CAPTURE(report.text());
  CHECK(axioms.races == (expected == "race"));
  if (expected == "race") {
    CHECK(report.failure.find("data race") != std::string::npos);
    return;
  }
  CHECK(report.proved());
  CHECK(report.distinct == report.executions);
  CHECK(report.executions == axioms.executions);
  CHECK(joined(seen(report)) == joined(axioms.outcomes));
  if (expected != "no race") {
    CHECK(joined(axioms.outcomes) == joined(meant(expected, source.code, what)));
  }
}

}  // namespace litmus
