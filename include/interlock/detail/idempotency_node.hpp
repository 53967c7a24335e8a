// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/idempotency_node.hpp - all that is known of one key, in one allocation: its
// state, who waits, the key, and the answer.
//
// The word says what is going on and whose turn it is:
//   bits 0..1   running / answered / failed
//   bit 2       was_read: since eviction last came by. Set by readers without a lock
//   bit 3       effect_begun: the owner has told that its run can no longer be repeated safely
//   bit 4       built: there is a response in the storage, perhaps not yet given
//   bit 5       unlinked: no longer in the table
//   bits 6..31  the turn: 1 for the first owner, one more for each that took over
// It is changed under the shard's lock, but for was_read. Whoever reads `answered` or `failed` with
// acquire may read the response, the failure and `at`, which do not change any more.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "../seeded_hash.hpp"
#include "lookup_key.hpp"
#include "readers.hpp"
#include "run_waits.hpp"
#include "waiter.hpp"

namespace interlock::detail {

enum class record_phase : std::uint32_t { running = 0, answered = 1, failed = 2 };

// A word as it was read.
struct record_word {
  static constexpr std::uint32_t phase_bits = 3, was_read = 4, effect_begun = 8, built = 16,
                                 unlinked = 32, one_turn = 64;
  std::uint32_t bits;

  record_phase phase() const noexcept { return static_cast<record_phase>(bits & phase_bits); }
  bool running() const noexcept { return phase() == record_phase::running; }
  bool has(std::uint32_t flag) const noexcept { return (bits & flag) != 0; }
  std::uint32_t turn() const noexcept { return bits / one_turn; }
};

// Behind a node there is room for what it weighs, if that counts.
enum class room_behind : std::size_t { none = 0, a_weight = sizeof(std::uint32_t) };

// A reference to a node.
template <class Node>
class node_ptr {
public:
  node_ptr() = default;
  // Effects: takes over a reference.
  explicit node_ptr(Node* held) noexcept : node_(held) {}
  static node_ptr share(Node& held) noexcept {
    held.hold();
    return node_ptr(&held);
  }
  node_ptr(const node_ptr& other) noexcept : node_(other.node_) {
    if (node_ != nullptr) node_->hold();
  }
  node_ptr(node_ptr&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  node_ptr& operator=(node_ptr other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~node_ptr() {
    if (node_ != nullptr) node_->let_go();
  }

  Node* get() const noexcept { return node_; }
  Node& operator*() const noexcept { return *node_; }
  Node* operator->() const noexcept { return node_; }
  explicit operator bool() const noexcept { return node_ != nullptr; }
  [[nodiscard]] Node* release() noexcept { return std::exchange(node_, nullptr); }

private:
  Node* node_ = nullptr;
};

// Somebody who waits for the answer of a record.
template <class Node, class Outcome>
struct idempotency_joiner {
  explicit idempotency_joiner(waiter& self) noexcept : who(&self) {}

  idempotency_joiner* next = nullptr;      // the ring's
  idempotency_joiner* previous = nullptr;  // null while in none
  idempotency_joiner** before = nullptr;  // what leads to it among those who are woken together
  waiter* const who;
  reader* thread = nullptr;  // that is inside another run meanwhile: see run_waits.hpp
  node_ptr<Node> record;     // what it waits for; another one if that loses its lease
  Outcome told{};         // how that ended, from its wake-up on
};

// The hash of a key is kept where it would take long to compute it again, or might not work: a Hash
// of the user's may throw, or forget.
template <class Key, class Hash>
inline constexpr bool keeps_hash =
    !(std::is_same_v<Hash, seeded_hash<Key>> && (std::is_integral_v<Key> || std::is_enum_v<Key>));

// What a node begins with.
template <class Node, class Joiner, bool KeepsHash>
struct node_links {
  explicit node_links(std::uint32_t) noexcept {}

  std::atomic<Node*> next{nullptr};  // in its chain
  // Under the shard's lock.
  union {
    Joiner* joiners = nullptr;  // running: the first of the ring
    Node* newer;                // settled: in the line for eviction; then among what is to be freed
  };
};
template <class Node, class Joiner>
struct node_links<Node, Joiner, true> : node_links<Node, Joiner, false> {
  explicit node_links(std::uint32_t of) noexcept
      : node_links<Node, Joiner, false>(of), hash(of) {}

  const std::uint32_t hash;
};

template <class Key, class Response, class Outcome, class Hash>
class idempotency_node
    : public node_links<idempotency_node<Key, Response, Outcome, Hash>,
                        idempotency_joiner<idempotency_node<Key, Response, Outcome, Hash>, Outcome>,
                        keeps_hash<Key, Hash>> {
public:
  using joiner = idempotency_joiner<idempotency_node, Outcome>;
  using nanoseconds = std::chrono::nanoseconds;
  using key_type = Key;
  using links = node_links<idempotency_node, joiner, keeps_hash<Key, Hash>>;

  // For lookup_chains.hpp.
  struct hash_of {
    const Hash* hash = nullptr;
    std::uint32_t operator()(const idempotency_node& of) const noexcept {
      if constexpr (keeps_hash<Key, Hash>) {
        return of.hash;
      } else {
        using looked_for = lookup_key<Key, Hash, std::equal_to<>>;
        return static_cast<std::uint32_t>(looked_for::hash(*hash, of.key) >> 32U);
      }
    }
  };

  static void* operator new(std::size_t size, room_behind more) {
    const std::size_t bytes = size + static_cast<std::size_t>(more);
    void* memory;
    if constexpr (is_aligned_more) {
      memory = ::operator new(bytes, std::align_val_t{alignof(idempotency_node)});
    } else {
      memory = ::operator new(bytes);
    }
    if (more == room_behind::a_weight) {
      ::new (static_cast<void*>(static_cast<std::byte*>(memory) + size)) std::uint32_t(0);
    }
    return memory;
  }
  static void operator delete(void* gone, room_behind) noexcept { operator delete(gone); }
  static void operator delete(void* gone) noexcept {
    if constexpr (is_aligned_more) {
      ::operator delete(gone, std::align_val_t{alignof(idempotency_node)});
    } else {
      ::operator delete(gone);
    }
  }

  // Effects: running, in its first turn; the caller has the one reference.
  template <class K>
  idempotency_node(const K& k, std::uint32_t mixed_hash, std::uint64_t fingerprint)
      : links(mixed_hash), payload(fingerprint), key(k) {}
  idempotency_node(const idempotency_node&) = delete;
  idempotency_node& operator=(const idempotency_node&) = delete;

  record_word word() const noexcept {
    // order: acquire [record.word] pairs with [record.settle]: the answer is whole
    return {word_.load(std::memory_order_acquire)};
  }
  // Effects: from now on it is settled; the lock of its shard is held.
  void settle(record_phase how) noexcept {
    // order: release [record.settle] pairs with [record.word]: the answer is whole
    word_.fetch_or(static_cast<std::uint32_t>(how), std::memory_order_release);
  }
  void set(std::uint32_t flag) noexcept {
    // order: relaxed: says nothing of other memory, or is read under the shard's lock alone
    word_.fetch_or(flag, std::memory_order_relaxed);
  }
  void clear(std::uint32_t flag) noexcept {
    // order: relaxed: as above
    word_.fetch_and(~flag, std::memory_order_relaxed);
  }
  void add_turns(std::uint32_t count) noexcept {
    // order: relaxed: under the shard's lock, while it runs
    word_.fetch_add(count * record_word::one_turn, std::memory_order_relaxed);
  }

  // What it weighs, if it was made with room for that; under the shard's lock.
  static constexpr std::uint64_t most_weight = (std::uint64_t{1} << 31U) - 1;
  std::uint32_t& weight() noexcept {
    return *std::launder(reinterpret_cast<std::uint32_t*>(this + 1));
  }

  // Returns: whether this thread is inside its f.
  bool runs_here() const noexcept { return run_waits::is_inside(this); }

  // Effects: builds the response in its place; the owner does, or builds it anew.
  template <class F>
  const Response& build(F&& f) {
    if (word().has(record_word::built)) {
      clear(record_word::built);
      std::destroy_at(response_at());
    }
    ::new (static_cast<void*>(storage_)) Response(std::forward<F>(f)());
    set(record_word::built);
    return response();
  }
  void fail(std::exception_ptr failure) noexcept {
    if (word().has(record_word::built)) {
      clear(record_word::built);
      std::destroy_at(response_at());
    }
    ::new (static_cast<void*>(storage_)) std::exception_ptr(std::move(failure));
  }
  const Response& response() const noexcept {
    return *std::launder(reinterpret_cast<const Response*>(storage_));
  }
  const std::exception_ptr& failure() const noexcept {
    return *std::launder(reinterpret_cast<const std::exception_ptr*>(storage_));
  }

  void hold() noexcept {
    // order: relaxed: whoever holds a reference may add one
    holders_.fetch_add(1, std::memory_order_relaxed);
  }
  // Effects: there are two references. Preconditions: there is one, and nobody knows it yet.
  void hold_first() noexcept {
    // order: relaxed: published with the record
    holders_.store(2, std::memory_order_relaxed);
  }
  // Effects: frees it with the last reference.
  void let_go() noexcept {
    // order: acq_rel [record.let_go] pairs with [record.let_go]: all uses come before the end
    if (holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  // What a hit reads, where keys are numbers in 32 bytes 16 behind the start: as malloc aligns to
  // 16, they are in one cache line in three of four places; the first 48 would be in two of four.
private:
  std::atomic<std::uint32_t> word_{record_word::one_turn};
  std::atomic<std::uint32_t> holders_{1};  // the table, owner, joiners, and who has its answer

public:
  const std::uint64_t payload;
  nanoseconds at{};  // running: when its lease is over, under the lock; else when it was settled
  const Key key;

private:
  ~idempotency_node() {
    const record_word last = word();
    if (last.phase() == record_phase::failed) {
      std::destroy_at(std::launder(reinterpret_cast<std::exception_ptr*>(storage_)));
    } else if (last.has(record_word::built)) {
      std::destroy_at(response_at());
    }
  }
  Response* response_at() noexcept {
    return std::launder(reinterpret_cast<Response*>(storage_));
  }

  static constexpr bool is_aligned_more =
      (alignof(Key) > __STDCPP_DEFAULT_NEW_ALIGNMENT__) ||
      (alignof(Response) > __STDCPP_DEFAULT_NEW_ALIGNMENT__);
  static constexpr std::size_t room =
      sizeof(Response) > sizeof(std::exception_ptr) ? sizeof(Response) : sizeof(std::exception_ptr);
  static constexpr std::size_t alignment = alignof(Response) > alignof(std::exception_ptr)
                                               ? alignof(Response)
                                               : alignof(std::exception_ptr);
  alignas(alignment) std::byte storage_[room];
};

}  // namespace interlock::detail
