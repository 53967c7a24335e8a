// SPDX-License-Identifier: BSL-1.0
// A hundred thousand likes from four threads, kept in a database row that takes a while to write.
// Prints (the number of writes varies): 100000 likes, row at 100000, 37 writes

#include <interlock/mirror.hpp>
#include <interlock/versioned.hpp>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <thread>
#include <vector>

using interlock::mirror;
using interlock::mirror_failure;
using interlock::mirror_flush_result;
using interlock::mirror_options;
using interlock::mirror_write_result;
using interlock::versioned;

namespace {

// Stands for a table that other processes write to as well.
struct database {
  int likes = 0;
  std::uint64_t version = 0;
  int calls = 0;

  // UPDATE posts SET likes = ?, version = ? WHERE id = 1 AND version < ?
  mirror_write_result save(int value, std::uint64_t of) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    if (++calls == 5) return mirror_write_result::failed;  // a time-out: tried again
    if (of <= version) return mirror_write_result::stale;
    likes = value;
    version = of;
    return mirror_write_result::applied;
  }
};

}  // namespace

int main() {
  database db;
  const auto save = [&](int value, std::uint64_t version) { return db.save(value, version); };
  mirror_options options;
  options.attempts = 3;  // then on_failure is told, and a flush answers `failed`
  options.on_failure = [](const mirror_failure& failure) {
    std::printf("%zu writes failed in a row\n", failure.failures);
  };

  versioned<int> likes(0);
  mirror row(likes, save, options);
  const auto like = [&] {
    likes.update([](int& n) { ++n; });
    row.touch();  // a write will follow; most of the time one is due already
  };

  std::vector<std::thread> users;
  for (int i = 0; i < 4; ++i) {
    users.emplace_back([&] {
      for (int n = 0; n < 25'000; ++n) like();
    });
  }
  for (auto& user : users) user.join();

  const bool saved = row.flush() == mirror_flush_result::flushed;
  const auto counted = row.statistics();
  std::printf("%d likes, row at %d, %llu writes\n", likes.load().value, db.likes,
              static_cast<unsigned long long>(counted.writes));
  const bool right = saved && db.likes == 100'000 && counted.writes < 50'000;
  return right ? 0 : 1;
}
