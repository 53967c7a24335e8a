// SPDX-License-Identifier: BSL-1.0
// Two doctors are on call, and each may leave if the other stays: a store whose transactions see
// one moment each does not prevent that both leave. Prints, where numbers may vary:
//   as isolated as a snapshot: correct
//   serializable: G2: T0 read nothing of key 1 before T1 wrote 5; T1 read nothing of key 2 before
//   T0 wrote 4 (and which transactions T0 and T1 are) by hand: G2: T0 read nothing of key 1 before
//   T1 wrote 11; T1 read nothing of key 2 before T0 wrote 20

#include <interlock/testing/dependency_graph.hpp>
#include <interlock/testing/list_append.hpp>

#include <barrier>
#include <cstdint>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

using interlock::testing::append_report;
using interlock::testing::dependency;
using interlock::testing::dependency_graph;
using interlock::testing::isolation;
using interlock::testing::list_append;
using interlock::testing::verdict;

namespace {

using lists = std::map<std::uint64_t, std::vector<std::uint64_t>>;

// A store of lists. A transaction sees the moment of its begin, and loses if somebody else has
// written since what it writes; what it only read is not looked at.
class store {
public:
  class transaction {
  public:
    explicit transaction(store& in) : in_(&in) {
      const std::lock_guard lock(in.guard_);
      seen_ = in.now_;
    }
    const std::vector<std::uint64_t>& read(std::uint64_t key) { return seen_[key]; }
    void append(std::uint64_t key, std::uint64_t value) { own_[key].push_back(value); }
    bool commit() {
      const std::lock_guard lock(in_->guard_);
      for (const auto& [key, values] : own_) {
        if (in_->now_[key] != seen_[key]) return false;
      }
      for (const auto& [key, values] : own_) {
        for (const std::uint64_t value : values) in_->now_[key].push_back(value);
      }
      return true;
    }

  private:
    store* in_;
    lists seen_, own_;
  };

private:
  std::mutex guard_;
  lists now_;
};

}  // namespace

int main() {
  constexpr std::size_t workers = 2;
  store all;
  list_append log(workers);
  std::barrier both(workers);
  const auto leave = [&](std::size_t me, std::uint64_t x, std::uint64_t y) {
    auto t = log.begin(me);
    store::transaction rows(all);
    const auto list = rows.read(x);
    t.read(x, list);
    both.arrive_and_wait();  // each has looked whether the other has left
    rows.append(y, t.append(y));
    rows.commit() ? t.applied() : t.aborted();
  };
  std::thread other([&] { leave(1, 2, 1); });
  leave(0, 1, 2);
  other.join();

  const append_report found = log.check();
  const verdict weaker = found.at(isolation::snapshot_isolation);
  std::printf("as isolated as a snapshot: %s\n", weaker.text().c_str());
  const verdict answer = found.at(isolation::serializable);
  std::printf("serializable: %s\n", answer.text().c_str());

  // What the check looks for, by hand.
  dependency_graph graph(2);
  graph.add({.from = 0, .to = 1, .kind = dependency::rw, .key = 1, .after = 11});
  graph.add({.from = 1, .to = 0, .kind = dependency::rw, .key = 2, .after = 20});
  const std::string skew = graph.cycles().front().text();
  std::printf("by hand: %s\n", skew.c_str());
  return weaker && !answer && found.has("G2") ? 0 : 1;
}
