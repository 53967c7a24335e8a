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
// A coroutine waits in one: class coroutine_place, on which a place for waiting<> is built.

#include <atomic>
#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "misuse.hpp"
#include "ring.hpp"
#include "waiter.hpp"

namespace interlock::detail {

// A place in one list at a time, for whoever `who` stands for. Must stay where it is while listed.
template <class Height>
class height_node;

template <class Height>
class wait_list {
public:
  using node = height_node<Height>;

  // Returns: true if nobody is listed: after step 1, then nobody has to be woken.
  bool empty() const noexcept { return nodes_.empty(); }

  // Effects: calls misuse(sentence) if somebody is listed. For the destructor of the object.
  void expect_empty(const char* sentence) const noexcept { nodes_.expect_empty(sentence); }

  // Effects: lists the node behind all that are not higher, if stays(). Asked with the list locked,
  //          so it is a few instructions that wait for nothing. Complexity: the higher ones.
  // Returns: true if listed. Somebody may have woken it already: touch neither it nor the object.
  template <class Stays>
  bool add(node& fresh, Stays stays) noexcept {
    locked listed(nodes_);
    if (!stays()) return false;
    fresh.list_ = this;
    listed.push_by_height(fresh);
    return true;
  }

  // Effects: detaches the nodes that are not higher. Complexity: these.
  // Returns: them, for wake(); nullptr if there are none.
  [[nodiscard, gnu::noinline]] node* take(const Height& height) noexcept {
    locked listed(nodes_);
    node* first = nullptr;
    node** last = &first;
    while (!listed.empty() && !(height < listed.first()->height)) {
      node& reached = listed.pop_front();
      *last = &reached;
      last = &reached.next;
    }
    *last = nullptr;
    return first;
  }

  // Effects: wakes detached nodes. Each may be gone when it is woken.
  static void wake(node* detached) noexcept {
    trampoline::together([detached]() mutable noexcept {
      while (detached != nullptr) std::exchange(detached, detached->next)->who_->wake();
    });
  }

private:
  friend node;
  using locked = typename guarded_ring<node>::locked;

  guarded_ring<node> nodes_;
};

template <class Height>
class height_node {
public:
  height_node() requires std::default_initializable<Height>
  = default;  // to be listed only once it stands for somebody
  height_node(waiter& who, const Height& at) noexcept : height(at), who_(&who) {}
  height_node(const height_node&) = delete;
  height_node& operator=(const height_node&) = delete;

  void stand_for(waiter& who, const Height& at) noexcept {
    who_ = &who;
    height = at;
  }

  // Preconditions: was listed, and the object of that list is alive.
  // Returns: true if it has left; false if it is taken: wake() comes, or has come.
  bool leave() noexcept {
    return leave(*list_, [] {});
  }

  // Effects: the same for a list that it may not be in yet; calls also() with the list locked.
  template <class Also>
  bool leave(wait_list<Height>& list, Also also) noexcept {
    typename wait_list<Height>::locked listed(list.nodes_);
    also();
    return listed.remove(*this);
  }

  // The list's, under its lock, while the node is listed; then of whoever has taken it.
  height_node* next = nullptr;
  height_node* previous = nullptr;
  Height height{};

private:
  friend wait_list<Height>;

  waiter* who_ = nullptr;
  wait_list<Height>* list_ = nullptr;
};

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

// One coroutine that waits in a list: a place for waiting<>, but for what is different in each.
template <class Height>
class coroutine_place : public coroutine_waiter {
public:
  coroutine_place(const Height& height, wake_function function) noexcept
      : coroutine_waiter(function), place_(*this, height) {}
  coroutine_place(const coroutine_place&) = delete;
  coroutine_place& operator=(const coroutine_place&) = delete;

  // The coroutine may be destroyed while it is suspended: by whoever keeps all changes away that
  // could resume it, or on the thread that is about to resume it.
  ~coroutine_place() {
    if (!suspended || trampoline::forget(*this) || place_.leave()) return;
    misuse(
        "a coroutine was destroyed while another thread was about to resume it; destroy it "
        "where no change that it waits for can happen meanwhile");
  }

protected:
  // Effects: as list.add(), unless an end came before.
  // Returns: true if the coroutine is suspended. It may have been resumed already: touch nothing.
  template <class Stays>
  bool suspend_in(wait_list<Height>& list, Stays stays) noexcept {
    return list.add(place_, [&] { return suspended = !stopped() && stays(); });
  }

  // Effects: keeps the coroutine out of the list from now on. If it is in, wakes it: then it and
  //          this place may be gone.
  void end_in(wait_list<Height>& list, wait_status why) noexcept {
    const auto keep_out = [this] {
      // order: relaxed: the list's lock orders it
      stopped_.store(true, std::memory_order_relaxed);
    };
    if (!place_.leave(list, keep_out)) return;
    status = why;
    wake();
  }

  bool stopped() const noexcept {
    // order: relaxed: under the list's lock, which orders it, or a guess
    return stopped_.load(std::memory_order_relaxed);
  }

private:
  height_node<Height> place_;
  std::atomic<bool> stopped_{false};
};

}  // namespace interlock::detail
