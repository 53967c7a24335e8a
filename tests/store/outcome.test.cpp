// SPDX-License-Identifier: BSL-1.0
// The words of engines: outcomes, errors, operation ids, codecs, guarantees.

#include <interlock/store/codec.hpp>
#include <interlock/store/error.hpp>
#include <interlock/store/guarantees.hpp>
#include <interlock/store/operation_id.hpp>
#include <interlock/store/outcome.hpp>
#include <interlock/store/until_known.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <variant>
#include <vector>

#include "support/catch.hpp"

namespace {

using namespace std::chrono_literals;
namespace store = interlock::store;
using store::errc;
using store::operation_id;
using store::outcome;

store::error wrong(errc code) {
  return {code, "fake", "counter.add", "hits", "the plug was pulled", "plug it in"};
}

}  // namespace

TEST_CASE("An outcome is one of four and says which") {
  const outcome<int, std::string> good = 5;
  CHECK(good.status() == store::status::applied);
  CHECK((good && good.applied() && *good == 5 && good.value_or(7) == 5));

  const outcome<int, std::string> other = store::conflicting{std::string("taken")};
  CHECK(other.status() == store::status::conflict);
  CHECK((!other && other.conflicted() && other.conflict() == "taken" && other.value_or(7) == 7));

  const outcome<int, std::string> no = store::refusal(wrong(errc::read_only));
  CHECK(no.status() == store::status::refused);
  CHECK((!no && no.refused() && no.error().code == errc::read_only && !no.id()));

  const operation_id id = operation_id::fresh();
  const outcome<int, std::string> who_knows = store::doubt(wrong(errc::connection_lost), id);
  CHECK(who_knows.status() == store::status::unknown);
  CHECK((!who_knows && who_knows.unknown() && who_knows.id() == id));
  for (const auto s : {store::status::applied, store::status::conflict, store::status::refused,
                       store::status::unknown}) {
    CHECK(std::string(store::to_string(s)) != "no status");
  }
}

TEST_CASE("value throws what went wrong where there is no answer") {
  outcome<int> no = store::refusal(wrong(errc::read_only));
  const outcome<int> other = store::conflicting{store::nothing{}};
  CHECK_THROWS_AS(no.value(), store::failure);
  CHECK_THROWS_AS(*other, store::failure);
  CHECK_THROWS_AS(other.error(), std::bad_variant_access);
  CHECK_THROWS_AS(no.conflict(), std::bad_variant_access);
  try {
    (void)std::as_const(no).value();
    CHECK(false);
  } catch (const store::failure& thrown) {
    CHECK(thrown.error().code == errc::read_only);
    CHECK(std::string(thrown.what()) ==
          "fake: counter.add 'hits': read only: the plug was pulled; plug it in");
  }
}

TEST_CASE("An outcome goes over into one of another type and keeps what it is") {
  const auto half = [](int n) { return n / 2.0; };
  CHECK(*outcome<int>(5).map(half) == 2.5);
  CHECK(outcome<int>(store::refusal(wrong(errc::busy))).map(half).refused());
  const operation_id id = operation_id::fresh();
  CHECK(outcome<int>(store::doubt(wrong(errc::busy), id)).map(half).id() == id);
  CHECK(outcome<int>(store::conflicting{store::nothing{}}).map(half).conflicted());
  outcome<std::unique_ptr<int>> moved = std::make_unique<int>(3);
  CHECK(*std::move(moved).value() == 3);
  outcome<int, int> other = store::conflicting{4};
  CHECK(std::move(other).without_answer<std::string, std::int64_t>().conflict() == 4);
  // an error is shared, not copied
  static_assert(sizeof(store::refusal) == 2 * sizeof(void*));
}

TEST_CASE("Each errc has a name of its own") {
  std::set<std::string> names;
  for (int i = 0; i <= static_cast<int>(errc::engine_failure); ++i) {
    names.insert(store::to_string(static_cast<errc>(i)));
  }
  CHECK(names.size() == static_cast<std::size_t>(errc::engine_failure) + 1);
  CHECK(names.count("no errc") == 0);
  CHECK(store::error{errc::busy, "fake", "client", "", "", ""}.message() == "fake: client: busy");
}

TEST_CASE("An operation id goes through text and nothing else passes for one") {
  const operation_id id = operation_id::fresh();
  CHECK(id);
  CHECK(operation_id::parse(id.text()) == id);
  CHECK(id.text().size() == 34);
  CHECK_FALSE(operation_id{});
  const std::string digits = "0123456789abcdef0123456789abcdef";
  CHECK(store::unique_id::parse(digits)->text() == digits);
  CHECK(operation_id::parse(digits + "-9223372036854775807")->sequence == INT64_MAX);
  const std::vector<std::string> wrong_ones = {
      "",          digits,        digits + "-",       digits + "-0",
      digits + "-01", digits + "-1x", digits + "--1", digits + "-9223372036854775808",
      digits + "-99999999999999999999", digits + "1-1", "0123456789ABCDEF0123456789abcdef-1",
      "0123456789abcdef 123456789abcdef-1", std::string(" ").append(digits, 1).append("-1")};
  for (const std::string& text : wrong_ones) {
    INFO(text);
    CHECK_FALSE(operation_id::parse(text));
  }
}

TEST_CASE("Ids of one session come in order and of two sessions never meet") {
  store::operation_session one;
  store::operation_session two;
  const operation_id a = one.next();
  const operation_id b = one.next();
  CHECK((a.sequence == 1 && b.sequence == 2 && a.session == b.session));
  CHECK(two.next().session != a.session);
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(operation_id::fresh().text());
  CHECK(seen.size() == 1000);
}

namespace {

template <class T>
void goes_around(const T& value) {
  const std::string bytes = store::codec<T>::encode(value);
  INFO(bytes);
  CHECK(store::codec<T>::decode(bytes) == value);
}
enum class colour : std::uint8_t { red = 1, blue = 200 };

}  // namespace

TEST_CASE("What is encoded decodes to itself and to nothing else") {
  goes_around(std::numeric_limits<std::int64_t>::min());
  goes_around(std::numeric_limits<std::uint64_t>::max());
  goes_around(std::int8_t{-7});
  goes_around(0.1);
  goes_around(std::numeric_limits<double>::denorm_min());
  goes_around(true);
  goes_around(false);
  goes_around(colour::blue);
  goes_around(std::string("a\0b", 3));
  goes_around(std::string());
  CHECK(store::codec<int>::encode(-12) == "-12");
  for (const char* bad : {"", " 1", "1 ", "+1", "0x1", "99999999999999999999", "one"}) {
    INFO(bad);
    CHECK_FALSE(store::codec<int>::decode(bad));
  }
  CHECK_FALSE(store::codec<std::int8_t>::decode("128"));
  CHECK_FALSE(store::codec<unsigned>::decode("-1"));
  CHECK_FALSE(store::codec<bool>::decode("true"));
  static_assert(store::encodable<std::string> && store::encodable<int> && store::encodable<bool>);
  static_assert(!store::encodable<std::vector<int>>);
}

TEST_CASE("A guarantee covers what it needs to in every respect") {
  using namespace store;
  const guarantees strong{visibility::network, durability::failover, true, true, true,
                          fence_kind::monotone_across_data_loss};
  const guarantees weak{};
  CHECK(strong.cover(weak));
  CHECK(strong.cover(strong));
  CHECK(weak.cover(weak));
  std::vector<guarantees> each(6, weak);
  each[0].seen_by = visibility::host;
  each[1].keeps = durability::process_crash;
  each[2].linearizable = true;
  each[3].serializable = true;
  each[4].keeps_all_keys = true;
  each[5].fence = fence_kind::unique;
  for (const guarantees& one : each) {
    CHECK_FALSE(weak.cover(one));
    CHECK(strong.cover(one));
    CHECK(weaker(strong, one) == one);
    CHECK(weaker(one, weak) == weak);
  }
}

TEST_CASE("The setting in the way of a promise is the one that is named") {
  using namespace store;
  probed_guarantees probed;
  guarantees all;
  all.keeps = durability::power_loss;
  guarantees some = all;
  some.keeps = durability::process_crash;
  probed.settings.push_back({"appendonly", "yes", "", "", all});
  probed.settings.push_back({"appendfsync", "everysec", "a second", "set it to always", some});
  CHECK_FALSE(probed.in_the_way_of(some));
  REQUIRE(probed.in_the_way_of(all));
  CHECK(probed.in_the_way_of(all)->name == "appendfsync");
}

namespace {

// A counter whose answers get lost as a script says: what is done, what is heard.
struct unsure_counter {
  enum step { heard, lost_after, lost_before, refused, gone, conflict };
  std::vector<step> script;
  std::size_t calls = 0;
  std::int64_t value = 0;
  operation_id done{};

  outcome<std::int64_t> add(std::int64_t n, const store::call_options& call) {
    const step now = calls < script.size() ? script[calls] : script.back();
    ++calls;
    if (now == refused) return store::refusal(wrong(errc::not_connected));
    if (now == gone) return store::refusal(wrong(errc::expired));
    if (now == conflict) return store::conflicting{store::nothing{}};
    if (now != lost_before && !(done == call.id)) {
      value += n;
      done = call.id;
    }
    if (now != heard) return store::doubt(wrong(errc::connection_lost), call.id);
    return value;
  }
  outcome<std::int64_t> add_until_known(store::until_known_options how = {}) {
    return store::until_known([&](const store::call_options& call) { return add(1, call); }, how);
  }
};

}  // namespace

TEST_CASE("A request with a lost reply is done once and its answer comes") {
  unsure_counter hits;
  hits.script = {unsure_counter::lost_after, unsure_counter::lost_before, unsure_counter::heard};
  CHECK(hits.add_until_known().value() == 1);
  CHECK(hits.value == 1);
  CHECK(hits.calls == 3);
  // the naive way, a fresh id each time, does it twice
  unsure_counter naive;
  naive.script = hits.script;
  while (naive.add(1, {.id = operation_id::fresh()}).unknown()) {
  }
  CHECK(naive.value == 2);
  // a refusal that comes first is one
  unsure_counter off;
  off.script = {unsure_counter::refused};
  CHECK(off.add_until_known().refused());
}

TEST_CASE("What may have been done is never called refused") {
  unsure_counter hits;
  hits.script = {unsure_counter::lost_after, unsure_counter::refused, unsure_counter::heard};
  CHECK(hits.add_until_known().value() == 1);

  unsure_counter down;
  down.script = {unsure_counter::lost_after, unsure_counter::refused};
  const operation_id id = operation_id::fresh();
  const auto still = down.add_until_known({.limit = 50ms, .id = id});
  REQUIRE(still.unknown());
  CHECK(still.id() == id);

  unsure_counter late;
  late.script = {unsure_counter::lost_after, unsure_counter::gone};
  CHECK(late.add_until_known().unknown());

  unsure_counter other;
  other.script = {unsure_counter::lost_before, unsure_counter::conflict};
  CHECK(other.add_until_known({.limit = 50ms}).unknown());
  other.calls = 0;
  CHECK(other.add_until_known({.conflict_is_final = true}).conflicted());
}
