// SPDX-License-Identifier: BSL-1.0
// What all guards have in common: they own one object, or say why they own none.

#include <interlock/detail/ownership.hpp>

#include <string>
#include <utility>

#include "support/catch.hpp"
#include "support/death.hpp"

using interlock::wait_status;

namespace {

struct door {
  int owners = 1;
};

class guard : public interlock::detail::ownership<guard, door> {
public:
  guard() = default;
  explicit guard(door& owned) noexcept : ownership(owned) {}
  explicit guard(wait_status refused) noexcept : ownership(refused) {}
  guard(guard&&) = default;
  guard& operator=(guard&& other) noexcept {
    guard(std::move(other)).swap(*this);
    return *this;
  }
  void swap(guard& other) noexcept { swap_owned(other); }
  void let_go(door& owned) noexcept { --owned.owners; }
};

constexpr const char* nobody_asked = "a guard was refused";

}  // namespace

TEST_CASE("a guard lets go of what it owns when it is destroyed or assigned to") {
  door a;
  door b;
  {
    guard first(a);
    CHECK(first.owns_lock());
    guard second = std::move(first);
    CHECK_FALSE(first.owns_lock());
    CHECK(a.owners == 1);
    second = guard(b);
    CHECK(a.owners == 0);
    CHECK(b.owners == 1);
    CHECK(second.status() == wait_status::acquired);
  }
  CHECK(b.owners == 0);
}

TEST_CASE("a guard that was refused says why, and may go once it was asked") {
  const guard refused(wait_status::timed_out);
  CHECK_FALSE(refused);
  CHECK(refused.status() == wait_status::timed_out);
  const guard asked_by_status(wait_status::closed);
  CHECK(asked_by_status.status() == wait_status::closed);
  const guard none;  // was refused nothing
}

TEST_CASE("a guard that was refused and that nobody asked ends the program") {
  CHECK(support::death_message([] { const guard refused(wait_status::cancelled); })
            .find(nobody_asked) != std::string::npos);
  CHECK(support::death_message([] {
          guard refused(wait_status::cancelled);
          const guard moved = std::move(refused);  // nobody asked this one either
        }).find(nobody_asked) != std::string::npos);
  CHECK(support::death_message([] {
          guard refused(wait_status::cancelled);
          refused = guard();  // an answer that nobody heard
        }).find(nobody_asked) != std::string::npos);
  CHECK(support::death_message([] {
          guard refused(wait_status::cancelled);
          static_cast<void>(refused.owns_lock());
          const guard moved = std::move(refused);
        }) == "(survived)");
}

TEST_CASE("every status has a name") {
  CHECK(to_string(wait_status::acquired) == std::string("acquired"));
  CHECK(to_string(wait_status::cancelled) == std::string("cancelled"));
  CHECK(to_string(wait_status::timed_out) == std::string("timed out"));
  CHECK(to_string(wait_status::closed) == std::string("closed"));
  CHECK(to_string(wait_status::overloaded) == std::string("overloaded"));
}
