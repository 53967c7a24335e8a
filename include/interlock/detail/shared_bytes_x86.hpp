// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/shared_bytes_x86.hpp - shared_bytes by the widest moves of x86-64.
//
// Each move is volatile assembly: the compiler neither sees a data race nor reorders, splits or
// repeats one, and the processor keeps loads in order and stores in order. No two moves of a copy
// overlap: what was stored in pieces and is read back across them costs ten times as much.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

namespace interlock::detail {

#if defined(__AVX__)
inline constexpr std::size_t widest_move = 32;
#else
inline constexpr std::size_t widest_move = 16;
#endif

// What a move of so many bytes needs a register for.
template <std::size_t width>
struct register_of {
  using type = std::conditional_t<
      width == 8, std::uint64_t,
      std::conditional_t<width == 4, std::uint32_t,
                         std::conditional_t<width == 2, std::uint16_t, std::uint8_t>>>;
};
template <>
struct register_of<16> {
  struct type {
    long long vector __attribute__((vector_size(16)));
  };
};
template <>
struct register_of<32> {
  struct type {
    long long vector __attribute__((vector_size(32)));
  };
};

// One move between a register and memory at base + offset.
template <std::size_t width, std::size_t offset>
typename register_of<width>::type move_in(const std::byte* base) noexcept {
  typename register_of<width>::type loaded;
  if constexpr (width < 16) {
    asm volatile("mov {%c2(%1), %0|%0, [%1+%c2]}" : "=q"(loaded) : "r"(base), "i"(offset));
  } else {
#if defined(__AVX__)
    asm volatile("vmovdqu {%c2(%1), %0|%0, [%1+%c2]}"
#else
    asm volatile("movdqu {%c2(%1), %0|%0, [%1+%c2]}"
#endif
                 : "=x"(loaded.vector)
                 : "r"(base), "i"(offset));
  }
  return loaded;
}

template <std::size_t width, std::size_t offset>
void move_out(typename register_of<width>::type value, std::byte* base) noexcept {
  if constexpr (width < 16) {
    asm volatile("mov {%0, %c2(%1)|[%1+%c2], %0}" : : "q"(value), "r"(base), "i"(offset));
  } else {
#if defined(__AVX__)
    asm volatile("vmovdqu {%0, %c2(%1)|[%1+%c2], %0}"
#else
    asm volatile("movdqu {%0, %c2(%1)|[%1+%c2], %0}"
#endif
                 :
                 : "x"(value.vector), "r"(base), "i"(offset));
  }
}

// `size` bytes as moves of falling width.
template <std::size_t size>
struct moves {
  static constexpr std::size_t count = size / widest_move + std::popcount(size % widest_move);
  static constexpr std::array<std::size_t, count + 1> offsets = [] {
    std::array<std::size_t, count + 1> at{};
    for (std::size_t i = 0; i < count; ++i) {
      at[i + 1] = at[i] + std::bit_floor(std::min(size - at[i], widest_move));
    }
    return at;
  }();
  template <std::size_t i>
  static constexpr std::size_t width = offsets[i + 1] - offsets[i];
  using all = std::make_index_sequence<count>;

  template <std::size_t... I>
  static std::tuple<typename register_of<width<I>>::type...> tuple_of(std::index_sequence<I...>);
  using registers = decltype(tuple_of(all{}));

  // With [[maybe_unused]] for size 0.
  template <class Registers, std::size_t... I>
  static void load([[maybe_unused]] const std::byte* base, Registers& to,
                   std::index_sequence<I...>) noexcept {
    ((std::get<I>(to) = move_in<width<I>, offsets[I]>(base)), ...);
  }
  template <class Registers, std::size_t... I>
  static void keep(const Registers& from, [[maybe_unused]] std::byte* bytes,
                   std::index_sequence<I...>) noexcept {
    (std::memcpy(bytes + offsets[I], &std::get<I>(from), width<I>), ...);
  }
  template <std::size_t... I>
  static void store([[maybe_unused]] const std::byte* bytes, [[maybe_unused]] std::byte* base,
                    std::index_sequence<I...>) noexcept {
    (store_one<width<I>, offsets[I]>(bytes, base), ...);
  }

private:
  template <std::size_t wide, std::size_t offset>
  static void store_one(const std::byte* bytes, std::byte* base) noexcept {
    typename register_of<wide>::type value;
    std::memcpy(&value, bytes + offset, wide);
    move_out<wide, offset>(value, base);
  }
};

template <class T>
class vector_bytes {
  static constexpr std::size_t size = sizeof(T);
  static constexpr std::size_t rounded = (size + 7) / 8 * 8;
  using whole = moves<size>;
  // What does not fit in the registers goes through memory, block by block.
  static constexpr bool fits_registers = size <= 256;
  static constexpr std::size_t block = 128;
  using blocks = moves<block>;
  using rest = moves<size % block>;
  static constexpr std::size_t rest_at = size / block * block;
  struct in_memory {
    using registers = std::array<std::byte, size>;
  };

  // Keeps the compiler from moving other accesses past here; the processor does not.
  static void in_order() noexcept { asm volatile("" : : : "memory"); }

public:
  class copy {
  public:
    // Effects: makes a T in the room for one.
    // Preconditions: the copy is whole.
    void fill(T* room) const noexcept {
      auto* const bytes = reinterpret_cast<std::byte*>(room);
      if constexpr (fits_registers) {
        whole::keep(seen_, bytes, typename whole::all{});
      } else {
        std::memcpy(bytes, seen_.data(), size);
      }
    }

  private:
    friend vector_bytes;
    // Not initialised: load() does that.
    typename std::conditional_t<fits_registers, whole, in_memory>::registers seen_;
  };

  void load(copy& seen) const noexcept {
    in_order();
    if constexpr (fits_registers) {
      whole::load(bytes_.data(), seen.seen_, typename whole::all{});
    } else {
      std::byte* const to = seen.seen_.data();
      for (std::size_t i = 0; i < rest_at; i += block) {
        move_block<blocks>(bytes_.data() + i, to + i);
      }
      move_block<rest>(bytes_.data() + rest_at, to + rest_at);
    }
    in_order();
  }

  void store(const T& value) noexcept {
    const auto* const bytes = reinterpret_cast<const std::byte*>(std::addressof(value));
    in_order();
    if constexpr (fits_registers) {
      whole::store(bytes, bytes_.data(), typename whole::all{});
    } else {
      for (std::size_t i = 0; i < rest_at; i += block) {
        blocks::store(bytes + i, bytes_.data() + i, typename blocks::all{});
      }
      rest::store(bytes + rest_at, bytes_.data() + rest_at, typename rest::all{});
    }
    in_order();
  }

private:
  template <class Moves>
  static void move_block(const std::byte* from, std::byte* to) noexcept {
    typename Moves::registers seen;
    Moves::load(from, seen, typename Moves::all{});
    Moves::keep(seen, to, typename Moves::all{});
  }

  alignas(rounded > 8 ? 16 : 8) std::array<std::byte, rounded> bytes_;
};

}  // namespace interlock::detail
