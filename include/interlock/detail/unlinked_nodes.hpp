// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/unlinked_nodes.hpp - what was taken out of a shard and waits for its readers.
//
// Things gather until they are a batch, which is then taken out of the shard and looked at without
// its lock: what nobody can be reading any more is let go, the rest put back. The batch before has
// to go first, so that readers who come and go all the time do not hold it back for ever.

#include <cstddef>
#include <cstdint>
#include <utility>

#include "lookup_chains.hpp"
#include "pins.hpp"
#include "readers.hpp"

namespace interlock::detail {

template <class Node>
class unlinked_nodes {
public:
  unlinked_nodes() = default;
  unlinked_nodes(unlinked_nodes&& other) noexcept
      : fresh_(std::exchange(other.fresh_, {})),
        waiting_(std::exchange(other.waiting_, {})),
        look_at_(std::exchange(other.look_at_, 0)) {}
  unlinked_nodes& operator=(unlinked_nodes&&) = delete;
  // Preconditions: nobody reads.
  ~unlinked_nodes() {
    release(fresh_);
    release(waiting_);
  }

  void add(Node& gone) noexcept {
    gone.newer = std::exchange(fresh_.nodes, &gone);
    if (fresh_.last == nullptr) fresh_.last = &gone;
    ++fresh_.count;
  }
  void add(bucket_array& gone) noexcept {
    gone.more = std::exchange(fresh_.arrays, &gone);
    fresh_.count += an_array;
  }

  // Returns: whether it is time to look. Readers that stay long are asked for once in a batch.
  bool due(std::size_t batch) const noexcept { return fresh_.count >= look_at_ + batch; }
  bool empty() const noexcept { return fresh_.count + waiting_.count == 0; }

  // Effects: lets go of what nobody reads; the rest stays. Without the lock: runs destructors.
  void free_unread() noexcept {
    if (waiting_.count == 0) close();
    const bool two = fresh_.count != 0;
    std::uint64_t ended = 0;
    if (two) ended = readers::end_epoch();
    const std::uint64_t oldest = readers::oldest_reader();
    if (oldest <= waiting_.epoch) return;
    release(waiting_);
    if (!two) return;
    waiting_ = std::exchange(fresh_, {});
    waiting_.epoch = ended;
    if (oldest > ended) release(waiting_);
  }

  // Effects: puts back what free_unread() has left. Under the lock.
  void put_back(unlinked_nodes&& rest) noexcept {
    append(fresh_, rest.fresh_);
    if (waiting_.count == 0) {
      waiting_ = std::exchange(rest.waiting_, {});
    } else {
      append(fresh_, rest.waiting_);  // seldom: another batch was put back meanwhile
    }
    look_at_ = fresh_.count;
    rest.look_at_ = 0;
  }

private:
  struct generation {
    Node* nodes = nullptr;
    Node* last = nullptr;  // if there are nodes
    bucket_array* arrays = nullptr;
    std::size_t count = 0;
    std::uint64_t epoch = 0;  // that ended after they were unlinked
  };

  void close() noexcept {
    waiting_ = std::exchange(fresh_, {});
    waiting_.epoch = readers::end_epoch();
  }
  static void append(generation& to, generation& from) noexcept {
    if (from.nodes != nullptr) {
      from.last->newer = to.nodes;
      to.nodes = from.nodes;
      if (to.last == nullptr) to.last = from.last;
    }
    while (from.arrays != nullptr) {
      bucket_array* const each = std::exchange(from.arrays, from.arrays->more);
      each->more = std::exchange(to.arrays, each);
    }
    to.count += from.count;
    from = {};
  }
  static void release(generation& gone) noexcept {
    const generation all = std::exchange(gone, {});
    if (all.nodes != nullptr) {
      const pins::seen kept;
      for (Node* each = all.nodes; each != nullptr;) {
        kept.let_go(*std::exchange(each, each->newer));
      }
    }
    for (bucket_array* each = all.arrays; each != nullptr;) {
      bucket_array::free(std::exchange(each, each->more));
    }
  }

  static constexpr std::size_t an_array = 1'000;  // is large: a batch by itself

  generation fresh_;
  generation waiting_;
  std::size_t look_at_ = 0;  // fresh ones that were looked at before
};

}  // namespace interlock::detail
