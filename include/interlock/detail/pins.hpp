// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/pins.hpp - keep alive what was found in a reading, by a store of one's own
// instead of a count that all share.
//
// A thread that found a node puts its address into a slot of its record (readers.hpp) before the
// reading is over: a pin. Who lets go of what was unlinked makes a reference of each pin first:
//   1. count() takes a reference for the pin and says so, in the slot; then a heavy() fence;
//   2. a pin that is gone by now did not see that, perhaps: its reference is given back;
//   3. all others see it when they go, behind a light() fence, and let go of their reference.
// So from then on the node lives as long as its references, and whoever leaves last frees it.
//
// Why that is safe. Nobody pins what no reading can find any more, and a pin is stored before its
// reading ends, so count() knows of all there are. Of 2 and 3 at least one sees the other; if both
// do, the lock of the record decides. A slot is filled by the thread of its record only, and
// emptied without the lock by that thread only: what it reads there afterwards was said of this
// pin, of no later one. Any other thread that ends a pin, which was moved to it, takes the lock.
//
// Source: hazard pointers (M. Michael, 2004); here they are looked at when the epochs have passed,
// so that a pin needs no fence of its own, and turn into counts, so that nothing waits for them.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>

#include "asymmetric_fence.hpp"
#include "futex_mutex.hpp"
#include "processor.hpp"
#include "readers.hpp"

namespace interlock::detail {

class pins {
public:
  // Effects: keeps the node, which a reading of this thread has found that is not over.
  // Returns: nullptr if the thread has no slot left: take a reference.
  [[gnu::always_inline]] static pin_slot* add(reader& self, const void* node) noexcept {
    for (pin_slot& each : self.pins) {
      // order: acquire [pins.free] pairs with [pins.end], [pins.end.locked]: the uses of the last one come first
      if (each.node.load(std::memory_order_acquire) != nullptr) continue;
      // order: release [pins.add] pairs with [pins.look], [pins.scan], [pins.locked], [pins.over]: hands on that those uses are over
      each.node.store(node, std::memory_order_release);
      return &each;
    }
    return nullptr;
  }
  // Effects: ends a pin, on any thread.
  template <class Node>
  [[gnu::always_inline]] static void end(pin_slot& slot, Node& node) noexcept {
    if (!readers::is_here(readers::of(slot))) [[unlikely]] return end_locked(slot, node);
    // order: release [pins.end] pairs with [pins.free], [pins.look], [pins.scan], [pins.locked], [pins.over]: all uses come before the end
    slot.node.store(nullptr, std::memory_order_release);
    asymmetric_fence::available() ? asymmetric_fence::light() : full_fence();
    // order: relaxed: the fence orders it, and it is looked at again under the lock
    if (slot.counted.load(std::memory_order_relaxed) == &node) [[unlikely]] end_locked(slot, node);
  }

  // What is pinned at a time.
  class seen {
  public:
    seen() noexcept {
      readers::for_each([this](const reader& each) {
        for (const pin_slot& slot : each.pins) {
          // order: acquire [pins.look] pairs with [pins.add], [pins.end], [pins.end.locked]: what has ended is used no more
          const void* const node = slot.node.load(std::memory_order_acquire);
          if (node != nullptr && count_++ < all_.size()) all_[count_ - 1] = node;
        }
      });
    }
    // Effects: lets go of what was unlinked before, when no reading can find it any more.
    template <class Node>
    void let_go(Node& unlinked) const noexcept {
      if constexpr (requires { unlinked.hold(); }) {
        if (has(&unlinked)) [[unlikely]] count(unlinked);
      }
      unlinked.let_go();
    }

  private:
    bool has(const void* node) const noexcept {
      if (count_ > all_.size()) return true;
      for (std::size_t i = 0; i < count_; ++i) {
        if (all_[i] == node) return true;
      }
      return false;
    }

    std::array<const void*, 64> all_;
    std::size_t count_ = 0;
  };

private:
  template <class Node>
  [[gnu::noinline]] static void end_locked(pin_slot& slot, Node& node) noexcept {
    {
      const std::lock_guard lock(readers::of(slot).pins_mutex);
      // order: relaxed: under the lock
      const bool counted = slot.counted.load(std::memory_order_relaxed) == &node;
      // order: relaxed: as above
      if (counted) slot.counted.store(nullptr, std::memory_order_relaxed);
      // order: release [pins.end.locked] pairs with [pins.free], [pins.look], [pins.scan], [pins.locked], [pins.over]: all uses come before the end
      slot.node.store(nullptr, std::memory_order_release);
      if (!counted) return;
    }
    node.let_go();
  }

  // Effects: each pin of the node is a reference from now on.
  template <class Node>
  [[gnu::noinline, gnu::cold]] static void count(Node& node) noexcept {
    readers::for_each([&node](reader& each) {
      for (pin_slot& slot : each.pins) {
        // order: acquire [pins.scan] pairs with [pins.add], [pins.end], [pins.end.locked]: what has ended is used no more
        if (slot.node.load(std::memory_order_acquire) == &node) count(each, slot, node);
      }
    });
  }
  template <class Node>
  static void count(reader& home, pin_slot& slot, Node& node) noexcept {
    {
      const std::lock_guard lock(home.pins_mutex);
      // order: acquire [pins.locked] pairs with [pins.add], [pins.end], [pins.end.locked]: what has ended is used no more
      if (slot.node.load(std::memory_order_acquire) != &node) return;
      node.hold();
      // order: relaxed: the fence orders it; else it is read under the lock
      slot.counted.store(&node, std::memory_order_relaxed);
      full_fence();
      if (asymmetric_fence::available()) asymmetric_fence::heavy();
      // order: acquire [pins.over] pairs with [pins.add], [pins.end], [pins.end.locked]: what has ended is used no more
      if (slot.node.load(std::memory_order_acquire) == &node) return;
      // order: relaxed: under the lock
      slot.counted.store(nullptr, std::memory_order_relaxed);
    }
    node.let_go();
  }
};

// Keeps a node: by a pin if there is a slot, else by a reference. A copy is a reference.
template <class Node>
class held_node {
public:
  held_node() = default;
  // Effects: takes over a reference.
  explicit held_node(Node* counted) noexcept : node_(counted) {}
  // Preconditions: a reading of `self` that is not over has found it; null: there is a reference.
  [[gnu::always_inline]] held_node(Node& found, reader* self) noexcept
      : node_(&found), slot_(self != nullptr ? pins::add(*self, &found) : nullptr) {
    if (slot_ == nullptr) [[unlikely]] found.hold();
  }
  held_node(const held_node& other) noexcept : node_(other.node_) {
    if (node_ != nullptr) node_->hold();
  }
  held_node(held_node&& other) noexcept
      : node_(std::exchange(other.node_, nullptr)), slot_(other.slot_) {}
  held_node& operator=(held_node other) noexcept {
    std::swap(node_, other.node_);
    std::swap(slot_, other.slot_);
    return *this;
  }
  [[gnu::always_inline]] ~held_node() {
    if (node_ == nullptr) return;
    slot_ != nullptr ? pins::end(*slot_, *node_) : node_->let_go();
  }

  Node* get() const noexcept { return node_; }
  Node& operator*() const noexcept { return *node_; }
  Node* operator->() const noexcept { return node_; }
  explicit operator bool() const noexcept { return node_ != nullptr; }

private:
  Node* node_ = nullptr;
  pin_slot* slot_ = nullptr;  // null: a reference
};

}  // namespace interlock::detail
