// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/shared_bytes.hpp - a value whose bytes one thread stores while others load them.
//
// A copy may be torn, and is no T before its owner has found that it is not: load() gives bytes,
// fill() makes a T of them. What holds all this together is the owner's version word:
//   store()  comes after the word said so, and before the word says that it is over
//   load()   comes after one look at the word and before the next: a reader that got a byte of a
//            store is bound to see in its second look that there was one
//
// Two forms with one layout. Here, words: no data race for the language, so a sanitizer and the
// explorer can watch. In shared_bytes_x86.hpp, the widest moves of the processor: up to five times
// as fast, and what the word form proves holds there because the processor keeps loads in order
// and stores in order. tests/detail/shared_bytes.test.cpp compares them.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>

#if defined(__x86_64__) && defined(__GNUC__)
#include "shared_bytes_x86.hpp"
#endif

namespace interlock::detail {

// True where a tool watches memory accesses, to whom assembly says nothing.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool memory_is_watched = true;
#elif defined(__has_feature)
inline constexpr bool memory_is_watched =
    __has_feature(thread_sanitizer) || __has_feature(address_sanitizer) ||
    __has_feature(memory_sanitizer) || __has_feature(hwaddress_sanitizer);
#else
inline constexpr bool memory_is_watched = false;
#endif

// That loads come in order needs no fence with these orders, unlike relaxed words: a load of a word
// that is newer than the owner's first look takes with it, by release and acquire, that the owner
// had announced the store. The tempting form, relaxed words between acquire loads of the version,
// is wrong: an acquire load keeps back what follows it, not the payload loads before it; and a
// store of the busy mark, release or not, does not keep back the payload stores after it.
// H.-J. Boehm, "Can Seqlocks Get Along with Programming Language Memory Models?", MSPC 2012.
template <class T>
class word_bytes {
  static constexpr std::size_t count = (sizeof(T) + 7) / 8;
  using words = std::array<std::uint64_t, count>;

public:
  class copy {
  public:
    // Effects: makes a T in the room for one.
    // Preconditions: the copy is whole.
    void fill(T* room) const noexcept {
      std::memcpy(static_cast<void*>(room), words_.data(), sizeof(T));
    }

  private:
    friend word_bytes;
    words words_;  // not initialised: load() does that
  };

  void load(copy& seen) const noexcept {
    load_words(seen.words_, std::make_index_sequence<count>{});
  }

  void store(const T& value) noexcept {
    words next{};
    std::memcpy(next.data(), std::addressof(value), sizeof(T));
    for (std::size_t i = 0; i < count; ++i) {
      // order: release [shared_bytes.store] pairs with [shared_bytes.load]: whoever reads this word will find the version moved
      words_[i].store(next[i], std::memory_order_release);
    }
  }

private:
  // Unrolled: twice as fast as a loop.
  template <std::size_t... I>
  void load_words(words& seen, std::index_sequence<I...>) const noexcept {
    // order: acquire [shared_bytes.load] pairs with [shared_bytes.store]: the second look at the version comes after every word
    ((seen[I] = words_[I].load(std::memory_order_acquire)), ...);
  }

  alignas(count > 1 ? 16 : 8) std::array<std::atomic<std::uint64_t>, count> words_;
};

#if defined(__x86_64__) && defined(__GNUC__)
template <class T>
using shared_bytes = std::conditional_t<memory_is_watched, word_bytes<T>, vector_bytes<T>>;
#else
template <class T>
using shared_bytes = word_bytes<T>;
#endif

}  // namespace interlock::detail
