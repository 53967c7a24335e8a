// SPDX-License-Identifier: BSL-1.0
#pragma once

// Leases and fenced resources of any engine. Included by conformance.hpp.

#include <interlock/store/basic_fenced.hpp>

#include "engines/conformance/numbers.hpp"
#include "support/eventually.hpp"

TEST_CASE("A lease of an engine is one owner's until it ends") {
  data_set data;
  engine e = data.client();
  const object lock = e.object_named(object_kind::mutex, odd_names()[3]);
  const unique_id one = unique_id::fresh();
  const unique_id two = unique_id::fresh();
  const std::uint64_t fence = e.lease_acquire(lock, one, 60s, {}).value().fence;
  CHECK(fence > 0);
  CHECK(e.lease_acquire(lock, one, 60s, {}).value().fence == fence);
  const auto busy = e.lease_acquire(lock, two, 60s, {});
  REQUIRE(busy.conflicted());
  CHECK((busy.conflict().remaining > 1s && busy.conflict().remaining <= 60s));
  CHECK(e.lease_renew(lock, one, fence, 60s, {}).applied());
  CHECK(e.lease_renew(lock, one, fence + 1, 60s, {}).conflicted());
  CHECK(e.lease_renew(lock, two, fence, 60s, {}).conflicted());
  CHECK(e.lease_release(lock, two, fence, {}).conflicted());
  CHECK(e.lease_release(lock, one, fence, {}).applied());
  CHECK(e.lease_renew(lock, one, fence, 60s, {}).conflicted());
  const std::uint64_t next = e.lease_acquire(lock, two, 60s, {}).value().fence;
  CHECK(next > fence);
  CHECK(e.lease_release(lock, one, fence, {}).conflicted());
  CHECK(e.lease_raise(lock, two, next, next + 100, {}).value().fence > next + 100);
  const std::uint64_t high = e.lease_acquire(lock, two, 60s, {}).value().fence;
  CHECK(high > next + 100);
  CHECK(e.lease_raise(lock, two, high, 1, {}).value().fence == high);
  CHECK(e.lease_raise(lock, one, high, 1, {}).conflicted());
  CHECK(e.lease_release(lock, two, high, {}).applied());
  CHECK(e.lease_acquire(lock, one, 60s, {}).value().fence > high);
}

TEST_CASE("A lease of an engine that has ended goes to another with a larger fence") {
  data_set data;
  engine e = data.client();
  const object lock = e.object_named(object_kind::mutex, "lock");
  const unique_id one = unique_id::fresh();
  const unique_id two = unique_id::fresh();
  const std::uint64_t first = e.lease_acquire(lock, one, 30ms, {}).value().fence;
  std::uint64_t second = 0;
  CHECK(support::eventually([&] {
    const auto got = e.lease_acquire(lock, two, 60s, {});
    if (got) second = got->fence;
    return got.applied();
  }));
  CHECK(second > first);
  CHECK(e.lease_renew(lock, one, first, 60s, {}).conflicted());
  CHECK(e.lease_release(lock, one, first, {}).conflicted());
  CHECK(e.lease_acquire(lock, one, 60s, {}).conflicted());
  // one that nobody took may be renewed by its owner
  const object other = e.object_named(object_kind::mutex, "other");
  const std::uint64_t mine = e.lease_acquire(other, one, 1ms, {}).value().fence;
  std::this_thread::sleep_for(20ms);  // it is time that is tested
  CHECK(e.lease_renew(other, one, mine, 60s, {}).applied());
  CHECK(e.lease_acquire(other, two, 60s, {}).conflicted());
}

TEST_CASE("A fenced resource of an engine takes writes of the one who opened it last") {
  data_set data;
  engine e = data.client();
  const object at = e.object_named(object_kind::fenced, odd_names()[3]);
  const unique_id one = unique_id::fresh();
  const unique_id two = unique_id::fresh();
  CHECK_FALSE(e.fenced_open(at, 5, one, {}).value().bytes);
  CHECK(e.fenced_write(at, 5, one, odd_value(), {}).applied());
  CHECK(e.fenced_write(at, 5, one, odd_value(), {}).applied());
  CHECK(e.fenced_write(at, 4, one, "x", {}).conflicted());
  CHECK(e.fenced_write(at, 6, one, "x", {}).conflicted());
  CHECK(e.fenced_write(at, 5, two, "x", {}).conflicted());
  CHECK(e.fenced_open(at, 5, two, {}).conflicted());
  CHECK(e.fenced_open(at, 5, one, {}).value().bytes == odd_value());
  CHECK(e.fenced_open(at, 9, two, {}).value().bytes == odd_value());
  const auto stale = e.fenced_write(at, 5, one, "late", {});  // it was raised at open
  REQUIRE(stale.conflicted());
  CHECK(stale.conflict().watermark == 9);
  CHECK(e.fenced_open(at, 8, one, {}).conflict().watermark == 9);
  CHECK(e.fenced_write(at, 9, two, "new", {}).applied());
  CHECK(e.fenced_open(at, 9, two, {}).value().bytes == "new");
}

TEST_CASE("A fenced resource is opened each time it is asked under the same id") {
  data_set data;
  engine e = data.client();
  const object at = e.object_named(object_kind::fenced, odd_names()[3]);
  const unique_id one = unique_id::fresh();
  const unique_id two = unique_id::fresh();
  const store::call_options same{.id = store::operation_id::fresh()};
  CHECK(e.fenced_open(at, 10, one, same).applied());
  CHECK(e.fenced_open(at, 20, two, same).applied());
  CHECK(e.fenced_write(at, 10, one, "late", {}).conflicted());
  CHECK(e.fenced_write(at, 20, two, "new", {}).applied());
  CHECK(e.fenced_open(at, 20, two, same).value().bytes == "new");
  CHECK(e.fenced_open(at, 10, one, same).conflicted());
}

TEST_CASE("A modification that was done is no conflict when its id is asked about too late") {
  data_set data;
  engine e = data.client();
  const store::basic_fenced<std::int64_t, engine> at(e, odd_names()[3]);
  const store::fence_and_owner former{10, unique_id::fresh()}, later{20, unique_id::fresh()};
  const store::call_options same{.id = store::operation_id::fresh()};
  const auto add = [](std::int64_t& n) { n += 7; };
  CHECK(at.modify(former, add, same).value() == 7);
  CHECK(at.open(later).value().value == 7);
  const auto again = at.modify(former, add, same);  // as if the answer had been lost
  REQUIRE(again.unknown());
  CHECK(again.id() == same.id);
  const auto never = at.modify(former, add, {.id = store::operation_id::fresh()});  // the control
  REQUIRE(never.conflicted());
  CHECK(never.conflict().watermark == 20);
  CHECK(at.modify(later, add).value() == 14);  // the later holder's writes go on
}
