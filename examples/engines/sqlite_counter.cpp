// SPDX-License-Identifier: BSL-1.0
// A shop in a file: hits, a stock that is never oversold, a message that nobody overwrites unseen.
// Prints: 5 hits, sold, saved

#include <interlock/sqlite/bounded_counter.hpp>
#include <interlock/sqlite/counter.hpp>
#include <interlock/sqlite/versioned.hpp>

#include <cstdio>
#include <string>

namespace sqlite = interlock::sqlite;

int main() {
  sqlite::client db(":memory:");  // or a file

  sqlite::counter hits(db, "hits");
  hits.add(5).value();  // throws if it was not done

  sqlite::bounded_counter stock(db, "stock", {.value = 3, .low = 0, .high = 100});
  const bool sold = stock.try_sub(2).applied();
  const bool oversold = stock.try_sub(2).applied();

  sqlite::versioned<std::string> motd(db, "motd");
  const auto seen = motd.load().value();
  const bool saved = motd.compare_and_set(seen.version, "closed on Monday").applied();

  const auto count = static_cast<int>(hits.load().value());
  std::printf("%d hits, %s, %s\n", count, sold && !oversold ? "sold" : "oversold",
              saved ? "saved" : "lost");
  return count == 5 && sold && !oversold && saved ? 0 : 1;
}
