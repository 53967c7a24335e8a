// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/postgres/detail/text_parameters.hpp - parameters and rows of statements that programs
// write themselves: text, whose types the server knows.

#include <libpq-fe.h>

#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "../../store/codec.hpp"
#include "../../store/sql_rows.hpp"
#include "wire.hpp"

namespace interlock::postgres::detail {

// Copies what it is given.
class text_parameters {
public:
  template <class... T>
  explicit text_parameters(const T&... each) {
    texts_.reserve(sizeof...(each));
    (add(each), ...);
    for (std::size_t i = 0; i < texts_.size(); ++i) {
      values_.push_back(texts_[i] ? texts_[i]->c_str() : nullptr);
      lengths_.push_back(texts_[i] ? static_cast<int>(texts_[i]->size()) : 0);
    }
  }
  [[nodiscard]] const std::vector<const char*>& values() const noexcept { return values_; }
  [[nodiscard]] const std::vector<int>& lengths() const noexcept { return lengths_; }
  [[nodiscard]] const std::vector<int>& formats() const noexcept { return formats_; }
  // Returns: whether a text has a zero byte, where libpq would end it.
  [[nodiscard]] bool torn() const noexcept { return torn_; }

private:
  void put(std::optional<std::string> text, int format = 0) {
    torn_ = torn_ || (format == 0 && text && text->find('\0') != std::string::npos);
    texts_.push_back(std::move(text));
    formats_.push_back(format);
  }
  void add(std::nullopt_t) { put(std::nullopt); }
  void add(std::nullptr_t) { put(std::nullopt); }
  void add(std::span<const std::byte> bytes) {  // bytea
    put(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), 1);
  }
  template <class T>
  void add(const std::optional<T>& value) {
    if (value) {
      add(*value);
    } else {
      put(std::nullopt);
    }
  }
  template <class T>
  requires(!std::is_arithmetic_v<T> &&
           std::convertible_to<const T&, std::string_view>) void add(const T& text) {
    put(std::string(std::string_view(text)));
  }
  template <class T>
  requires std::is_arithmetic_v<T>
  void add(T number) { put(store::codec<T>::encode(number)); }

  std::vector<std::optional<std::string>> texts_;
  std::vector<const char*> values_;
  std::vector<int> lengths_;
  std::vector<int> formats_;
  bool torn_ = false;
};

// Returns: rows in the text format, as every engine gives them: bytea as bytes, bool as 0 and 1.
[[nodiscard]] inline store::sql_rows rows_of(const result& from) {
  constexpr unsigned of_bool = 16, of_bytea = 17;
  const int columns = PQnfields(from.get()), rows = PQntuples(from.get());
  std::vector<std::string> names;
  for (int column = 0; column < columns; ++column) names.emplace_back(PQfname(from.get(), column));
  std::vector<store::sql_rows::value> values;
  for (int row = 0; row < rows; ++row) {
    for (int column = 0; column < columns; ++column) {
      std::optional<std::string> text = bytes_or_none(from, row, column);
      const unsigned type = PQftype(from.get(), column);
      if (text && type == of_bool) *text = *text == "t" ? "1" : "0";
      if (text && type == of_bytea) {
        std::size_t size = 0;
        unsigned char* const plain =
            PQunescapeBytea(reinterpret_cast<const unsigned char*>(text->c_str()), &size);
        if (plain == nullptr) throw std::bad_alloc();
        text->assign(reinterpret_cast<const char*>(plain), size);
        PQfreemem(plain);
      }
      values.push_back(std::move(text));
    }
  }
  const std::string_view changed = PQcmdTuples(from.get());
  const auto count = store::codec<std::int64_t>::decode(changed);
  const bool selected = std::string_view(PQcmdStatus(from.get())).substr(0, 6) == "SELECT";
  return {std::move(names), std::move(values), count && !selected ? *count : 0};
}

// The words at the beginning of a statement, in small letters, without what is between them.
class first_words {
public:
  explicit first_words(std::string_view sql) noexcept : sql_(sql) {}
  // Returns: the next one; "" where something else comes.
  [[nodiscard]] std::string next() {
    skip();
    std::string text;
    while (!sql_.empty() && ((sql_[0] | 0x20) >= 'a' && (sql_[0] | 0x20) <= 'z')) {
      text += static_cast<char>(sql_[0] | 0x20);
      sql_.remove_prefix(1);
    }
    return text;
  }

private:
  void skip() {
    for (;;) {
      const std::size_t at = sql_.find_first_not_of(" \t\r\n\f\v;");
      sql_.remove_prefix(at == std::string_view::npos ? sql_.size() : at);
      if (sql_.substr(0, 2) == "--") {
        const std::size_t end = sql_.find('\n');
        sql_.remove_prefix(end == std::string_view::npos ? sql_.size() : end);
      } else if (sql_.substr(0, 2) == "/*") {
        std::size_t depth = 1, i = 2;  // they nest
        for (; i < sql_.size() && depth != 0; ++i) {
          const std::string_view two = sql_.substr(i, 2);
          if (two == "/*") ++depth, ++i;
          if (two == "*/") --depth, ++i;
        }
        sql_.remove_prefix(i > sql_.size() ? sql_.size() : i);
      } else {
        return;
      }
    }
  }

  std::string_view sql_;
};

// Returns: whether a statement would begin or end a transaction.
[[nodiscard]] inline bool ends_transaction(std::string_view sql) {
  first_words words(sql);
  const std::string first = words.next();
  if (first == "rollback") {  // but to a savepoint it may go
    std::string next = words.next();
    if (next == "work" || next == "transaction") next = words.next();
    return next != "to";
  }
  if (first == "prepare") return words.next() == "transaction";
  return first == "commit" || first == "end" || first == "abort" || first == "begin" ||
         first == "start";
}

// Returns: whether a statement may make a temporary table, view or sequence, or a cursor that stays
//          open after COMMIT. A word counts wherever it is: once too often costs a connection.
[[nodiscard]] inline bool leaves_temporary(std::string_view sql, std::string_view first) {
  bool holds = false, into = false, temporary = false;
  std::string word;
  for (std::size_t i = 0; i <= sql.size(); ++i) {
    const char c = i < sql.size() ? sql[i] : ' ';
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_') {
      word += static_cast<char>(c == '_' ? c : c | 0x20);
      continue;
    }
    holds = holds || word == "hold";
    into = into || word == "into";
    temporary = temporary || word == "temp" || word == "temporary" || word.starts_with("pg_temp");
    word.clear();
  }
  if (first == "declare") return holds;
  if (first == "create" || first == "explain" || first == "do") return temporary;
  return temporary && into && first != "insert" && first != "merge";
}

// Returns: whether a statement would change its connection for those that come after.
[[nodiscard]] inline bool alters_session(std::string_view sql) {
  first_words words(sql);
  const std::string first = words.next();
  if (first == "set") {
    const std::string next = words.next();
    return next != "local" && next != "transaction" && next != "constraints";
  }
  return first == "reset" || first == "listen" || first == "deallocate" || first == "discard" ||
         first == "load" || first == "prepare" || leaves_temporary(sql, first);
}

}  // namespace interlock::postgres::detail
