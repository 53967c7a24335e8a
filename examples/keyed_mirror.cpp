// SPDX-License-Identifier: BSL-1.0
// Likes of many posts, kept in a slow table; views that are added up there; a cache in front of it.
// Prints: cat 20000, dog 10000, 30000 views, 0 outdated

#include <interlock/fill_leases.hpp>
#include <interlock/keyed_mirror.hpp>
#include <interlock/merging_mirror.hpp>
#include <interlock/mirror_executor.hpp>
#include <interlock/mirror_version.hpp>
#include <interlock/timer_thread.hpp>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using interlock::fill_leases;
using interlock::keyed_mirror;
using interlock::merging_mirror;
using interlock::mirror_executor;
using interlock::mirror_flush_result;
using interlock::mirror_snapshot;
using interlock::mirror_version;
using interlock::mirror_write_result;
using interlock::timer_thread;

namespace {

// Stands for a database that other processes write to as well.
class database {
public:
  // UPDATE posts SET likes = ?, version = ? WHERE name = ? AND version < ?
  mirror_write_result save(const std::string& name, int likes, std::uint64_t version) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    const std::lock_guard lock(guard_);
    row& of = rows_[name];
    if (version <= of.version) return mirror_write_result::stale;
    of.likes = likes;
    of.version = version;
    return mirror_write_result::applied;
  }
  // UPDATE posts SET views = views + ?, batch = ? WHERE name = ? AND batch < ?
  mirror_write_result add(const std::string& name, int views, const mirror_version& batch) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    const std::lock_guard lock(guard_);
    row& of = rows_[name];
    if (!(of.batch < batch)) return mirror_write_result::stale;
    of.views += views;
    of.batch = batch;
    return ++calls_ == 3 ? mirror_write_result::unknown : mirror_write_result::applied;
  }
  int likes(const std::string& name) { return read(name).likes; }
  int views(const std::string& name) { return read(name).views; }

private:
  struct row {
    int likes = 0;
    std::uint64_t version = 0;
    int views = 0;
    mirror_version batch{};
  };
  row read(const std::string& name) {
    const std::lock_guard lock(guard_);
    return rows_[name];
  }
  std::mutex guard_;
  std::map<std::string, row> rows_;
  int calls_ = 0;
};

// Likes in the table are those of the map, in the end and never fewer than before.
bool likes_follow(database& db) {
  std::map<std::string, std::atomic<int>> likes;
  likes["cat"];
  likes["dog"];
  struct held {
    int value;
    std::uint64_t version;
  };
  const auto read = [&](const std::string& name) {
    const int now = likes.at(name).load();
    return held{now, static_cast<std::uint64_t>(now)};  // only goes up: its own version
  };
  const auto save = [&](const std::string& name, int value, std::uint64_t version) {
    return db.save(name, value, version);
  };
  keyed_mirror<std::string, int> rows(read, save, {.parallel = 4});
  const auto like = [&](const std::string& name) {
    for (int i = 0; i < 10'000; ++i) {
      likes.at(name).fetch_add(1);
      rows.touch(name);
    }
  };
  std::thread one(like, "cat");
  std::thread two(like, "cat");
  likes.at("dog").fetch_add(10'000);
  rows.touch("dog");  // save("dog", value, version) follows
  const auto said = rows.flush("dog");
  one.join();
  two.join();
  const auto lost = rows.close();  // the keys whose last value is not confirmed
  return lost.empty() && said == mirror_flush_result::flushed;
}

// Each view counts once, though a reply is lost.
bool views_add_up(database& db) {
  const auto add = [&](const std::string& name, int views, const mirror_version& batch) {
    return db.add(name, views, batch);
  };
  std::vector<std::thread> users;
  const auto sum_up = [](int& sum, int&& more) { sum += more; };
  merging_mirror<std::string, int> views(add, sum_up);
  for (int i = 0; i < 3; ++i) {
    users.emplace_back([&] {
      for (int n = 0; n < 10'000; ++n) {
        views.touch("cat", 1);  // merged with what waits
      }
    });
  }
  for (auto& user : users) user.join();
  return views.close().empty();
}

// Readers fill a cache, writers remove from it.
int outdated() {
  struct {
    std::atomic<int> value{1};
    int read(const std::string&) const { return value; }
    void write(const std::string&, int v) { value = v; }
  } store;
  std::map<std::string, int> cache;
  fill_leases<std::string> leases;
  const std::string key = "cat";

  const auto lease = leases.take(key);  // before the store is read
  const int read = store.read(key);
  store.write(key, 2);                                // by another thread, meanwhile
  leases.invalidate(key, [&] { cache.erase(key); });  // by the writer, afterwards
  leases.fill(lease, [&] { cache[key] = read; });  // refused: a writer came
  return static_cast<int>(cache.size());
}

// On an event loop or a pool of yours, without a thread of the mirror's own.
bool on_an_executor() {
  std::vector<std::thread> pool;
  std::mutex guard;
  const auto run = [&](std::function<void()> job) {
    const std::lock_guard lock(guard);
    pool.emplace_back(std::move(job));
  };
  bool flushed = false;
  timer_thread timer;
  mirror_executor on(timer, run);  // run(job): a loop's, a pool's
  {
    struct held {
      int value;
      int version;
    };
    const auto read = [](int key) { return held{key, 1}; };
    const auto save = [](int, int, int) { return mirror_write_result::applied; };
    using rows = keyed_mirror<int, int, int>;
    const rows::options how{.schedule = on.schedule(), .now = on.clock()};
    rows copies(read, save, how);
    flushed = copies.flush(7) == mirror_flush_result::flushed;
  }
  for (std::thread& each : pool) each.join();
  return flushed;
}

}  // namespace

int main() {
  database db;
  const bool followed = likes_follow(db);
  const bool added = views_add_up(db);
  const bool scheduled = on_an_executor();
  const int old = outdated();
  std::printf("cat %d, dog %d, %d views, %d outdated\n", db.likes("cat"), db.likes("dog"),
              db.views("cat"), old);
  const bool right = followed && added && scheduled && old == 0 && db.likes("cat") == 20'000 &&
                     db.likes("dog") == 10'000 && db.views("cat") == 30'000;
  return right ? 0 : 1;
}
