// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/detail/postgres_words.hpp - as much of PostgreSQL's protocol as a test of a
// server needs: who comes, one query, its rows.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace interlock::testing::server_detail {

inline void put_number(std::string& to, std::size_t number) {
  for (int shift = 24; shift >= 0; shift -= 8) to += static_cast<char>((number >> shift) & 255U);
}

[[nodiscard]] inline std::size_t number_at(std::string_view text, std::size_t at, int bytes = 4) {
  std::size_t number = 0;
  for (int i = 0; i < bytes; ++i, ++at) {
    number = number * 256 + static_cast<unsigned char>(text[at]);
  }
  return number;
}

// Returns: the message that opens a connection.
[[nodiscard]] inline std::string postgres_startup() {
  using namespace std::string_view_literals;
  constexpr std::string_view who = "user\0postgres\0database\0postgres\0\0"sv;
  std::string text;
  put_number(text, who.size() + 8);
  put_number(text, 196608);  // version 3.0
  return text.append(who);
}

[[nodiscard]] inline std::string postgres_query(std::string_view sql) {
  std::string text = "Q";
  put_number(text, sql.size() + 5);
  return text.append(sql).append(1, '\0');
}

// Effects: calls use(kind, body) for each message that is all there.
template <class Use>
void each_message(std::string_view text, Use use) {
  while (text.size() >= 5) {
    const std::size_t size = number_at(text, 1) + 1;
    if (size > text.size()) return;
    use(text.front(), text.substr(5, size - 5));
    text.remove_prefix(size);
  }
}

// Returns: how many messages of that kind there are; of any for the kind 0.
[[nodiscard]] inline std::size_t count_messages(std::string_view text, char wanted) {
  std::size_t count = 0;
  each_message(text, [&](char kind, std::string_view) { count += wanted == 0 || kind == wanted; });
  return count;
}

// Returns: what an error says: its severity, state and message.
[[nodiscard]] inline std::string postgres_error(std::string_view body) {
  std::string text;
  while (body.size() > 1) {
    const auto end = body.find('\0');
    if (body.front() == 'V' || body.front() == 'C' || body.front() == 'M') {
      if (!text.empty()) text += ' ';
      text += body.substr(1, end - 1);
    }
    body.remove_prefix(end + 1);
  }
  return text += '\n';
}

// Returns: rows as lines, with | between columns, and errors.
[[nodiscard]] inline std::string postgres_rows(std::string_view answer) {
  std::string rows;
  each_message(answer, [&](char kind, std::string_view body) {
    if (kind == 'E') rows += postgres_error(body);
    if (kind != 'D') return;
    std::size_t at = 2;
    for (std::size_t left = number_at(body, 0, 2); left > 0; --left) {
      const std::size_t size = number_at(body, at);
      at += 4;
      if (size != 0xFFFFFFFF) {  // NULL
        rows += body.substr(at, size);
        at += size;
      }
      rows += left > 1 ? '|' : '\n';
    }
  });
  return rows;
}

// Returns: whether a process with this title serves a client.
[[nodiscard]] inline bool is_postgres_client(std::string_view title) {
  return title.rfind("postgres: ", 0) == 0 && (title.find("[local]") != std::string_view::npos ||
                                               title.find("127.0.0.1(") != std::string_view::npos);
}

// Returns: the port in the name of its socket, "/folder/.s.PGSQL.5432".
[[nodiscard]] inline std::string postgres_port(std::string_view path) {
  return std::string(path.substr(path.rfind('.') + 1));
}

}  // namespace interlock::testing::server_detail
