// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/wait_list.hpp - who waits until an object has come up to a height (a version, a
// maximum): threads and coroutines alike.
//
// One word in the object. A waiter's node is on its stack or in its frame, so waiting allocates
// nothing, and a change that nobody waits for costs one load. Nodes carry the height that they wait
// for and are listed lowest first, so a change wakes those it reaches and looks at one more.
//
// A waiter
//   add(node, stays)     lists the node if stays() is true: "the object is lower, and not about to
//                        change". Asked with the list locked, so whoever changes the object later
//                        finds the node, and nobody wakes it before: nothing of the object is
//                        touched after that.
//   node.leave()         for a deadline that passed, or a coroutine that is destroyed: true if the
//                        node was still listed, and now nobody will wake it; false if a change has
//                        taken it, and its wake() comes or has come. The lock decides: one of both.
// Whoever changes the object
//   1. marks it as changing (or changed), by a seq_cst operation that stays() looks at;
//   2. asks empty(), and if it is not, take(height): detaches the nodes that are reached. Their
//      waiters cannot leave any more, but do not go on before step 4;
//   3. publishes the change, if step 1 did not: from here on the object may be gone;
//   4. wake(nodes): wakes them, lowest first, then first come first, without the object. Coroutines
//      are resumed on this thread by the trampoline, after the last wake-up.
//
// Why no change is missed. Step 1 and the load in empty() are seq_cst; so are the entry of add()
// into the lock, which makes the word other than 0, and the load in stays(), which must be seq_cst.
// In their total order either step 1 comes before stays(), which then answers false; or the entry
// of add() comes before empty(), which then is false, and take() waits for add() to end.
//
// A thread can wait on several lists until the first of them wakes it: class wait_any, below.
// A coroutine waits in one: class coroutine_place.

#include <atomic>
#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "misuse.hpp"
#include "parking.hpp"
#include "waiter.hpp"

namespace interlock::detail {

template <class Height>
class wait_list {
public:
  class node;

  constexpr wait_list() noexcept = default;
  wait_list(const wait_list&) = delete;
  wait_list& operator=(const wait_list&) = delete;

  // Returns: true if nobody is listed: after step 1, then nobody has to be woken.
  bool empty() const noexcept {
    // order: seq_cst [wait_list.empty] total order with [wait_list.lock], [cell.try_lock], [cell.try_claim], [watermark.raise]: not before the change is marked
    return word_.load(std::memory_order_seq_cst) == 0;
  }

  // Effects: calls misuse(sentence) if somebody is listed. For the destructor of the object.
  void expect_empty(const char* sentence) const noexcept {
    // order: relaxed: the last use happens before the destruction, or there is no order that helps
    if (word_.load(std::memory_order_relaxed) != 0) misuse(sentence);
  }

  // Effects: lists the node behind all that are not higher, if stays(). Asked with the list locked,
  //          so it is a few instructions that wait for nothing. Complexity: the higher ones.
  // Returns: true if listed. Somebody may have woken it already: touch neither it nor the object.
  template <class Stays>
  bool add(node& fresh, Stays stays) noexcept;

  // Effects: detaches the nodes that are not higher. Complexity: these.
  // Returns: them, for wake(); nullptr if there are none.
  [[nodiscard, gnu::noinline]] node* take(const Height& height) noexcept;

  // Effects: wakes detached nodes. Each may be gone when it is woken.
  static void wake(node* detached) noexcept {
    trampoline::together([detached]() mutable noexcept {
      while (detached != nullptr) std::exchange(detached, detached->next_)->who_->wake();
    });
  }

private:
  // word_ is the address of the lowest node, which is linked to the others in a ring, or 0; and
  // whether somebody works on the ring:
  //   0              nobody is listed
  //   first          somebody is
  //   ... | locked   the ring is being changed, by whoever set the bit
  static constexpr std::uintptr_t locked = 1;  // no address: nodes are aligned

  // Returns: the first node.
  node* lock() noexcept {
    for (unsigned round = 0;; ++round) {
      // order: relaxed: only a guess that the exchange verifies
      std::uintptr_t seen = word_.load(std::memory_order_relaxed);
      // order: seq_cst/relaxed [wait_list.lock] total order with [wait_list.empty], [cell.rests], [watermark.load] and pairs with [wait_list.unlock]: not after the look at the object; sees the ring
      if ((seen & locked) == 0 &&
          word_.compare_exchange_strong(seen, seen | locked, std::memory_order_seq_cst,
                                        std::memory_order_relaxed)) {
        return reinterpret_cast<node*>(seen);
      }
      spin_hint(round);
    }
  }

  void unlock(node* first) noexcept {
    // order: release [wait_list.unlock] pairs with [wait_list.lock]: publishes the ring
    word_.store(reinterpret_cast<std::uintptr_t>(first), std::memory_order_release);
  }

  std::atomic<std::uintptr_t> word_{0};
};

// A place in one list at a time, for whoever `who` stands for. Must stay where it is while listed.
template <class Height>
class wait_list<Height>::node {
public:
  node() requires std::default_initializable<Height>
  = default;  // to be listed only once it stands for somebody
  node(waiter& who, const Height& height) noexcept : who_(&who), height_(height) {}
  node(const node&) = delete;
  node& operator=(const node&) = delete;

  void stand_for(waiter& who, const Height& height) noexcept {
    who_ = &who;
    height_ = height;
  }

  // Preconditions: was listed, and the object of that list is alive.
  // Returns: true if it has left; false if it is taken: wake() comes, or has come.
  bool leave() noexcept {
    return leave(*list_, [] {});
  }

  // Effects: the same for a list that it may not be in yet; calls also() with the list locked.
  template <class Also>
  bool leave(wait_list& list, Also also) noexcept {
    node* first = list.lock();
    also();
    const bool listed = previous_ != nullptr;
    if (listed) {
      first = next_ == this ? nullptr : first == this ? next_ : first;
      previous_->next_ = next_;
      next_->previous_ = previous_;
      previous_ = nullptr;
    }
    list.unlock(first);
    return listed;
  }

private:
  friend wait_list;

  waiter* who_ = nullptr;
  Height height_{};
  // The list's, under its lock, while the node is listed; then of whoever has taken it.
  node* next_ = nullptr;
  node* previous_ = nullptr;  // null: not listed
  wait_list* list_ = nullptr;
};

template <class Height>
template <class Stays>
bool wait_list<Height>::add(node& fresh, Stays stays) noexcept {
  node* const first = lock();
  if (!stays()) {
    unlock(first);
    return false;
  }
  fresh.list_ = this;
  if (first == nullptr) {
    fresh.next_ = fresh.previous_ = &fresh;
    unlock(&fresh);
    return true;
  }
  node* before = first->previous_;
  bool leads = false;
  while (!leads && fresh.height_ < before->height_) {
    leads = before == first;
    before = before->previous_;
  }
  fresh.previous_ = before;
  fresh.next_ = before->next_;
  fresh.next_->previous_ = before->next_ = &fresh;
  unlock(leads ? &fresh : first);
  return true;
}

template <class Height>
auto wait_list<Height>::take(const Height& height) noexcept -> node* {
  node* const first = lock();
  node* const last = first == nullptr ? nullptr : first->previous_;
  node* taken = nullptr;  // the last one
  node* rest = first;
  while (rest != nullptr && !(height < rest->height_)) {
    taken = rest;
    rest = rest == last ? nullptr : rest->next_;
    taken->previous_ = nullptr;
  }
  if (taken != nullptr) taken->next_ = nullptr;
  if (rest != nullptr) {
    rest->previous_ = last;
    last->next_ = rest;
  }
  unlock(rest);
  return taken == nullptr ? nullptr : first;
}

enum class wait_ending { changed, reached, too_late };

// Effects: lists this thread, if stays(), and blocks it until the height is reached, or past the
//          deadline, if there is one.
// Returns: what ended it: `changed` if stays() was false, which says nothing of the height.
template <class Height, class Stays>
wait_ending wait_in(wait_list<Height>& list, const Height& height, Stays stays,
                    const std::chrono::steady_clock::time_point* deadline) noexcept {
  thread_waiter self;
  typename wait_list<Height>::node here(self, height);
  if (!list.add(here, stays)) return wait_ending::changed;
  const bool in_time = deadline == nullptr || self.wait_until(*deadline);
  if (!in_time && here.leave()) return wait_ending::too_late;
  self.wait();  // taken: at once, or as soon as the change that took it is published
  return wait_ending::reached;
}

// One thread that waits on several lists until the first of them wakes it.
//
//   std::array<wait_list<H>::node, 16> places;   // one for each list; more on the heap
//   wait_any<H> here(places.data());
//   for (each object i) {                        // stays(i): it is lower, and not about to change
//     if (!here.add(list(i), height(i), stays(i))) return;   // it has changed
//   }
//   here.wait(nullptr);                          // one of them has reached its height
//
// The destructor leaves all lists, so the objects must be alive until then: the one that has
// changed too.
template <class Height>
class wait_any {
public:
  using node = typename wait_list<Height>::node;

  // Preconditions: places has room for as many as will be listed, and outlives this.
  explicit wait_any(node* places) noexcept : places_(places) {}
  wait_any(const wait_any&) = delete;
  wait_any& operator=(const wait_any&) = delete;

  ~wait_any() {
    std::uint32_t taken = 0;
    for (; listed_ != 0; --listed_) taken += places_[listed_ - 1].leave() ? 0U : 1U;
    self_.wait(taken);  // whoever has taken a node still has to read it
  }

  // Effects: as list.add(node, stays), with a node for this thread.
  // Returns: true if listed; false if the object has changed: do not wait then.
  template <class Stays>
  bool add(wait_list<Height>& list, const Height& height, Stays stays) noexcept {
    node& place = places_[listed_];
    place.stand_for(self_, height);
    if (!list.add(place, stays)) return false;
    ++listed_;
    return true;
  }

  // Effects: blocks until one of the lists has woken this thread, or past the deadline, if there
  //          is one.
  // Returns: true if woken.
  bool wait(const std::chrono::steady_clock::time_point* deadline) noexcept {
    if (deadline != nullptr) return self_.wait_until(*deadline);
    self_.wait();
    return true;
  }

private:
  node* const places_;
  std::size_t listed_ = 0;
  thread_waiter self_;
};

// One coroutine that waits in a list: for an awaiter, which owns it.
template <class Height>
class coroutine_place {
public:
  explicit coroutine_place(const Height& height) noexcept : place_(self_, height) {}
  coroutine_place(const coroutine_place&) = delete;
  coroutine_place& operator=(const coroutine_place&) = delete;

  // The coroutine may be destroyed while it is suspended: by whoever keeps all changes away that
  // could resume it, or on the thread that is about to resume it.
  ~coroutine_place() {
    if (!suspended_ || place_.leave() || trampoline::forget(self_)) return;
    misuse(
        "a coroutine was destroyed while another thread was about to resume it; destroy it "
        "where no change that it waits for can happen meanwhile");
  }

  // Effects: for await_suspend: as list.add().
  // Returns: true if the coroutine is suspended. It may have been resumed already: touch nothing.
  template <class Stays>
  bool suspend(std::coroutine_handle<> self, wait_list<Height>& list, Stays stays) noexcept {
    self_.continuation = self;
    return list.add(place_, [&] { return suspended_ = !stopped() && stays(); });
  }

  // Effects: keeps the coroutine out of the list from now on. If it is in, resumes it here: then it
  //          and this place may be gone. Not after resumed(); on any thread.
  void stop(wait_list<Height>& list) noexcept {
    const auto keep_out = [this] {
      // order: relaxed: the list's lock orders it
      stopped_.store(true, std::memory_order_relaxed);
    };
    if (place_.leave(list, keep_out)) trampoline::resume(self_);
  }

  bool stopped() const noexcept {
    // order: relaxed: under the list's lock, which orders it, or a guess
    return stopped_.load(std::memory_order_relaxed);
  }

  // Effects: for await_resume.
  void resumed() noexcept { suspended_ = false; }

private:
  coroutine_waiter self_;
  typename wait_list<Height>::node place_;
  bool suspended_ = false;
  std::atomic<bool> stopped_{false};
};

}  // namespace interlock::detail
