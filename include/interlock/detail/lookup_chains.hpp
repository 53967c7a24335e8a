// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/lookup_chains.hpp - a hash table that is read without a lock and grows a little
// at a time.
//
// Buckets are chains of nodes that somebody else owns. Writers take turns, under a lock of theirs;
// readers walk the chains meanwhile, inside a `reading` (readers.hpp). A node that was taken out
// keeps its `next`, so a reader that stands on it finds its way on.
//
// Growth: an array of twice the size takes the place of the old one, and each insertion moves the
// nodes of 32 old buckets. A reader that stands on a node while it is moved goes on in its new
// chain, and may miss the one that it looks for. So what a reader finds is there, and what it does
// not find may be there, unless no move was in progress; find_for_sure() tells the one from the
// other. Arrays are freed like nodes.
//
// Node has std::atomic<Node*> next; key. HashOf tells the hash of a node, and does not throw.

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

#include "processor.hpp"

namespace interlock::detail {

// The buckets follow it. Known by one word: its address, and in the low bits by how much a hash is
// shifted to give its bucket, 32 less log2 of the buckets.
struct alignas(64) bucket_array {
  bucket_array* more = nullptr;  // among what is to be freed
  unsigned log2;

  explicit bucket_array(unsigned log2_of_buckets) noexcept : log2(log2_of_buckets) {}
  std::size_t bytes() const noexcept {
    return sizeof(bucket_array) + (std::size_t{1} << log2) * sizeof(std::atomic<void*>);
  }
  static void free(bucket_array* gone) noexcept {
    ::operator delete(gone, gone->bytes(), std::align_val_t{alignof(bucket_array)});
  }
};

// Where readers begin; many of them stand together, apart from what writers change.
struct chains_head {
  std::atomic<std::uintptr_t> current{0};
  std::atomic<std::uintptr_t> older{0};  // whose nodes are being moved; 0: none
};

struct stored_hash {
  template <class Node>
  std::uint32_t operator()(const Node& node) const noexcept {
    return node.hash;
  }
};

template <class Node, class HashOf = stored_hash>
class lookup_chains {
  using bucket = std::atomic<Node*>;
  static constexpr std::uintptr_t shift_bits = 63;
  static_assert(alignof(bucket_array) > shift_bits && sizeof(bucket_array) == 64);

public:
  struct found {
    Node* node;
    bool for_sure;  // that there is none, if there is none
  };

  lookup_chains() = default;
  lookup_chains(const lookup_chains&) = delete;
  lookup_chains& operator=(const lookup_chains&) = delete;
  ~lookup_chains() {
    if (head_ == nullptr) return;
    if (older() != 0) bucket_array::free(array_of(older()));
    bucket_array::free(array_of(current()));
  }

  // Returns: an array of empty buckets; nullptr if there is no memory.
  static bucket_array* make_array(unsigned log2) noexcept {
    const std::size_t count = std::size_t{1} << log2;
    const std::size_t bytes = sizeof(bucket_array) + count * sizeof(bucket);
    void* const memory =
        ::operator new(bytes, std::align_val_t{alignof(bucket_array)}, std::nothrow);
    if (memory == nullptr) return nullptr;
    auto* const made = ::new (memory) bucket_array(log2);
    auto* const first = reinterpret_cast<bucket*>(made + 1);
    for (std::size_t i = 0; i < count; ++i) ::new (static_cast<void*>(first + i)) bucket(nullptr);
    return made;
  }

  // ---- readers

  struct looked {
    Node* node;
    std::uintptr_t where, old;  // 0: all are in `where`, unless another one came before it
  };
  // Returns: the node whose key is equal, if it is where most are; else for find_for_sure().
  template <class IsIt>
  static looked find_soon(const chains_head& head, std::uint32_t hash, const IsIt& is_it) noexcept {
    const std::uintptr_t where = current(head);
    const std::uintptr_t old = older(head);
    return {look(where, hash, is_it), where, old};
  }
  // Returns: the node whose key is equal, or nullptr, and whether that says that there is none.
  template <class IsIt>
  static found find_for_sure(const chains_head& head, const looked& so_far, std::uint32_t hash,
                             const IsIt& is_it) noexcept {
    Node* there = so_far.node;
    if (there == nullptr && so_far.old != 0) there = look(so_far.old, hash, is_it);
    return {there, so_far.old == 0 && current(head) == so_far.where};
  }
  template <class IsIt>
  found find_for_sure(std::uint32_t hash, const IsIt& is_it) const noexcept {
    return find_for_sure(*head_, find_soon(*head_, hash, is_it), hash, is_it);
  }

  // ---- writers, under their lock

  // Returns: the node whose key is equal, or nullptr.
  template <class IsIt>
  Node* find(std::uint32_t hash, const IsIt& is_it) const noexcept {
    Node* const there = look(current(), hash, is_it);
    return there == nullptr && older() != 0 ? look(older(), hash, is_it) : there;
  }

  // Preconditions: nobody knows these chains yet, and nothing is in the head.
  void start(chains_head& head, bucket_array& empty, HashOf hash_of = {}) noexcept {
    hash_of_ = hash_of;
    head_ = ::new (static_cast<void*>(&head)) chains_head{word_of(empty), 0};
  }

  bool wants_to_grow() const noexcept {
    return older() == 0 && 4 * size_ > 3 * buckets(current()) && log2_of(current()) < 31;
  }
  unsigned next_log2() const noexcept { return log2_of(current()) + 1; }
  // Preconditions: wants_to_grow(); the array has next_log2().
  void grow(bucket_array& empty) noexcept {
    // order: release [chains.grow] pairs with [chains.older]: with the array to come
    head_->older.store(current(), std::memory_order_release);
    moved_ = 0;
    publish(empty);
  }
  std::size_t size() const noexcept { return size_; }

  // Effects: asks for the bucket of a node, for a change of it soon.
  void expect(const Node& node) const noexcept {
    about_to_write(&bucket_of(current(), hash_of_(node)));
  }

  // Effects: puts the node in front. Returns: an array that nobody needs now, or nullptr.
  bucket_array* insert(Node& fresh) noexcept {
    bucket_array* const done = older() != 0 ? move_some() : nullptr;
    push(bucket_of(current(), hash_of_(fresh)), fresh);
    ++size_;
    return done;
  }
  // Preconditions: it is in.
  void erase(Node& gone) noexcept {
    if (!unlink(current(), gone)) unlink(older(), gone);
    --size_;
  }
  // Effects: takes all out and calls f(node) for each. Preconditions: nobody reads.
  template <class F>
  void clear(F f) noexcept {
    for (const std::uintptr_t where : {current(), older()}) {
      for (std::size_t i = 0; where != 0 && i < buckets(where); ++i) {
        // order: relaxed: nobody reads
        Node* each = first_of(where)[i].exchange(nullptr, std::memory_order_relaxed);
        while (each != nullptr) {
          // order: relaxed: as above
          Node* const next = each->next.load(std::memory_order_relaxed);
          f(*each);
          each = next;
        }
      }
    }
    size_ = 0;
  }

private:
  static constexpr std::size_t moved_at_once = 32;

  static std::uintptr_t word_of(const bucket_array& of) noexcept {
    return reinterpret_cast<std::uintptr_t>(&of) | (32 - of.log2);
  }
  static bucket_array* array_of(std::uintptr_t where) noexcept {
    return reinterpret_cast<bucket_array*>(where & ~shift_bits);
  }
  static unsigned log2_of(std::uintptr_t where) noexcept {
    return 32 - static_cast<unsigned>(where & shift_bits);
  }
  static std::size_t buckets(std::uintptr_t where) noexcept {
    return std::size_t{1} << log2_of(where);
  }
  static bucket* first_of(std::uintptr_t where) noexcept {
    return reinterpret_cast<bucket*>((where & ~shift_bits) + sizeof(bucket_array));
  }
  static bucket& bucket_of(std::uintptr_t where, std::uint32_t hash) noexcept {
    return first_of(where)[std::uint64_t{hash} >> (where & shift_bits)];
  }

  static std::uintptr_t current(const chains_head& head) noexcept {
    // order: acquire [chains.current] pairs with [chains.publish]: the buckets are made, and `older` says where the nodes come from
    return head.current.load(std::memory_order_acquire);
  }
  static std::uintptr_t older(const chains_head& head) noexcept {
    // order: acquire [chains.older] pairs with [chains.grow], [chains.moved]: 0 is read when all nodes are in their new chains
    return head.older.load(std::memory_order_acquire);
  }
  std::uintptr_t current() const noexcept { return current(*head_); }
  std::uintptr_t older() const noexcept { return older(*head_); }
  void publish(bucket_array& empty) noexcept {
    // order: release [chains.publish] pairs with [chains.current]: the buckets are made
    head_->current.store(word_of(empty), std::memory_order_release);
  }

  // Numbers are compared as soon as their hashes.
  template <class IsIt>
  static bool is_found(const Node& each, std::uint32_t hash, const IsIt& is_it) noexcept {
    if constexpr (std::is_scalar_v<std::remove_cvref_t<decltype(each.key)>>) {
      return is_it(each.key);
    } else {
      return each.hash == hash && is_it(each.key);
    }
  }
  template <class IsIt>
  static Node* look(std::uintptr_t where, std::uint32_t hash, const IsIt& is_it) noexcept {
    // order: acquire [chains.look] pairs with [chains.push], [chains.unlink], [chains.detach]: the node is whole
    Node* each = bucket_of(where, hash).load(std::memory_order_acquire);
    while (each != nullptr && !is_found(*each, hash, is_it)) {
      // order: acquire [chains.walk] pairs with [chains.link], [chains.unlink]: the node is whole
      each = each->next.load(std::memory_order_acquire);
    }
    return each;
  }

  static void push(bucket& home, Node& node) noexcept {
    // order: relaxed: writers take turns
    Node* const first = home.load(std::memory_order_relaxed);
    // order: release [chains.link] pairs with [chains.walk]: a reader may stand on a node that is moved
    node.next.store(first, std::memory_order_release);
    // order: release [chains.push] pairs with [chains.look]: the node is whole
    home.store(&node, std::memory_order_release);
  }

  bool unlink(std::uintptr_t where, Node& gone) const noexcept {
    if (where == 0) return false;
    bucket* at = &bucket_of(where, hash_of_(gone));
    // order: relaxed: writers take turns
    for (Node* each = at->load(std::memory_order_relaxed); each != nullptr;) {
      // order: relaxed: as above
      Node* const next = each->next.load(std::memory_order_relaxed);
      if (each == &gone) {
        // order: release [chains.unlink] pairs with [chains.look], [chains.walk]: hands on what made the next node whole
        at->store(next, std::memory_order_release);
        return true;
      }
      at = &each->next;
      each = next;
    }
    return false;
  }

  bucket_array* move_some() noexcept {
    const std::uintptr_t old = older();
    for (std::size_t n = 0; n < moved_at_once && moved_ < buckets(old); ++n, ++moved_) {
      bucket& from = first_of(old)[moved_];
      // order: relaxed: writers take turns
      for (Node* each = from.load(std::memory_order_relaxed); each != nullptr;) {
        // order: relaxed: as above
        Node* const next = each->next.load(std::memory_order_relaxed);
        // order: release [chains.detach] pairs with [chains.look]: hands on what made the next node whole
        from.store(next, std::memory_order_release);
        push(bucket_of(current(), hash_of_(*each)), *each);
        each = next;
      }
    }
    if (moved_ < buckets(old)) return nullptr;
    // order: release [chains.moved] pairs with [chains.older]: all nodes are in their new chains
    head_->older.store(0, std::memory_order_release);
    return array_of(old);
  }

  chains_head* head_ = nullptr;
  std::size_t moved_ = 0;  // of the older buckets
  std::size_t size_ = 0;
  HashOf hash_of_{};
};

}  // namespace interlock::detail
