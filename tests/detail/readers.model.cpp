// SPDX-License-Identifier: BSL-1.0
// What is read without a lock, in every execution: nothing is freed under a reader, and what is
// there all the time is found while the table grows.

#include "testing/front.hpp"

#include <interlock/detail/lookup_chains.hpp>
#include <interlock/detail/pins.hpp>
#include <interlock/detail/readers.hpp>
#include <interlock/detail/unlinked_nodes.hpp>

#include <array>
#include <cstdint>
#include <utility>

using interlock::detail::bucket_array;
using interlock::detail::chains_head;
using interlock::detail::held_node;
using interlock::detail::lookup_chains;
using interlock::detail::reader;
using interlock::detail::readers;
using interlock::detail::reading;
using interlock::detail::unlinked_nodes;
using testing::world;

namespace {

struct box {
  explicit box(int v) noexcept : value(v) {}
  void let_go() noexcept { delete this; }
  int value;  // plain: a race if it is freed while it is read
  box* newer = nullptr;
};

enum class mistake { none, no_reading, no_waiting, freed_after_one_look };

// Readers look at what a cell points to, `looks` times each; a writer replaces it and frees the old
// one when nobody can be at it.
template <mistake M>
void replaced(world& w, std::uint32_t looking, int looks) {
  readers::start_anew(looking + 1);
  auto* const cell = new atomic<box*>(new box(1));
  auto* const gone = new unlinked_nodes<box>;
  for (std::uint32_t number = 1; number <= looking; ++number) {
    w.thread([cell, number, looks] {
      readers::take_place(number);
      for (int i = 0; i < looks; ++i) {
        if constexpr (M == mistake::no_reading) {
          testing::check(cell->load(acq)->value > 0, "whole");
        } else {
          const reading inside(*readers::here());
          testing::check(cell->load(acq)->value > 0, "whole");
        }
      }
    });
  }
  w.thread([cell, gone, looking] {
    readers::take_place(looking + 1);
    static_cast<void>(gone);  // where a mistake does without
    for (int i = 2; i < 4; ++i) {
      box* const old = cell->exchange(new box(i), ar);
      if constexpr (M == mistake::no_waiting) {
        delete old;
      } else if constexpr (M == mistake::freed_after_one_look) {
        const std::uint64_t ended = readers::epoch();  // does not end it
        if (readers::oldest_reader() > ended) delete old;
      } else {
        gone->add(*old);
        gone->free_unread();
      }
    }
  });
  w.finally([cell, gone] {
    delete gone;
    delete cell->load(rlx);
    delete cell;
  });
}

void one_reader(world& w) { replaced<mistake::none>(w, 1, 1); }
void one_reader_twice(world& w) { replaced<mistake::none>(w, 1, 2); }

// A reading within a reading is part of it.
void nested(world& w) {
  readers::start_anew(2);
  auto* const cell = new atomic<box*>(new box(1));
  w.thread([cell] {
    readers::take_place(1);
    const reading outer(*readers::here());
    const box* const held = cell->load(acq);
    const int before = held->value;
    { const reading inner(*readers::here()); }
    testing::check(held->value == before, "the inner one does not end the outer one");
  });
  auto* const gone = new unlinked_nodes<box>;
  w.thread([cell, gone] {
    readers::take_place(2);
    gone->add(*cell->exchange(new box(2), ar));
    gone->free_unread();
  });
  w.finally([cell, gone] {
    delete gone;
    delete cell->load(rlx);
    delete cell;
  });
}

// Who came later holds nothing back.
void frees_in_time(world& w) {
  readers::start_anew(2);
  auto* const gone = new unlinked_nodes<box>;
  w.thread([gone] {
    gone->add(*new box(1));
    {
      const reading early(readers::at(2));
      gone->free_unread();
      testing::check(!gone->empty(), "somebody may read it");
    }
    const reading late(readers::at(2));
    gone->free_unread();
    testing::check(gone->empty(), "it is freed");
  });
  w.finally([gone] { delete gone; });
}

struct node {
  node(std::uint32_t h, int k) noexcept : hash(h), key(k) {}
  std::atomic<node*> next{nullptr};
  std::uint32_t hash;
  int key;
};

// One key is there all the time while others come in, and the table grows twice.
void grows(world& w) {
  readers::start_anew(2);
  struct shared {
    chains_head head;
    lookup_chains<node> chains;
    node nodes[4] = {{0, 0}, {1U << 30U, 1}, {2U << 30U, 2}, {3U << 30U, 3}};
    bucket_array* done = nullptr;
  };
  auto* const table = new shared;
  table->chains.start(table->head, *lookup_chains<node>::make_array(0));
  table->chains.insert(table->nodes[1]);
  w.thread([table] {
    const auto is = [](int key) { return [key](int other) { return key == other; }; };
    const auto [there, sure] = table->chains.find_for_sure(1U << 30U, is(1));
    testing::check(there == &table->nodes[1] || !sure, "never missed for sure");
    const auto none = table->chains.find_for_sure(5U << 29U, is(5));
    testing::check(none.node == nullptr, "nothing that is not there");
  });
  w.thread([table] {
    for (const int i : {2, 3}) {
      if (bucket_array* const old = table->chains.insert(table->nodes[i])) table->done = old;
      if (!table->chains.wants_to_grow()) continue;
      table->chains.grow(*lookup_chains<node>::make_array(table->chains.next_log2()));
    }
  });
  w.finally([table] {
    const auto any = [](int key) { return key == 1; };
    testing::check(table->chains.find(1U << 30U, any) == &table->nodes[1], "it is still there");
    if (table->done != nullptr) bucket_array::free(table->done);
    delete table;
  });
}

// Another one is taken out meanwhile.
void erased(world& w) {
  struct shared {
    chains_head head;
    lookup_chains<node> chains;
    node nodes[3] = {{0, 0}, {0, 9}, {0, 2}};
  };
  auto* const table = new shared;
  table->chains.start(table->head, *lookup_chains<node>::make_array(2));
  table->chains.insert(table->nodes[0]);
  w.thread([table] {
    const auto found = table->chains.find_for_sure(0, [](int key) { return key == 0; });
    testing::check(found.node == &table->nodes[0], "found behind what leaves");
  });
  w.thread([table] {
    table->nodes[1].key = 1;  // made by this thread
    table->chains.insert(table->nodes[1]);
    table->chains.insert(table->nodes[2]);
    table->chains.erase(table->nodes[2]);
  });
  w.finally([table] { delete table; });
}

// A node on which a reader may stand is moved in front of one that has just come in.
void moved_onto(world& w) {
  static constexpr std::uint32_t late_half = 3U << 30U;
  struct shared {
    chains_head head;
    lookup_chains<node> chains;
    node stands{late_half, 1};
    node fresh{late_half, 0};
    node last{1, 3};
    bucket_array* done = nullptr;
  };
  auto* const table = new shared;
  table->chains.start(table->head, *lookup_chains<node>::make_array(6));
  table->chains.insert(table->stands);
  table->chains.grow(*lookup_chains<node>::make_array(7));
  w.thread([table] {
    const auto none = table->chains.find_for_sure(late_half, [](int key) { return key == 5; });
    testing::check(none.node == nullptr, "nothing that is not there");
  });
  w.thread([table] {
    table->fresh.key = 2;  // made by this thread, for readers that come to it
    testing::check(table->chains.insert(table->fresh) == nullptr, "half of the buckets are moved");
    table->done = table->chains.insert(table->last);
  });
  w.finally([table] {
    testing::check(table->done != nullptr, "all of them are");
    bucket_array::free(table->done);
    delete table;
  });
}

// Taken out while a part of the buckets is moved: it is in neither array.
void erased_while_moved(world& w) {
  struct shared {
    chains_head head;
    lookup_chains<node> chains;
    node moved{0, 0}, stays{3U << 30U, 1}, fresh{3U << 30U, 2};
  };
  auto* const table = new shared;
  table->chains.start(table->head, *lookup_chains<node>::make_array(6));
  table->chains.insert(table->moved);
  table->chains.insert(table->stays);
  table->chains.grow(*lookup_chains<node>::make_array(7));
  w.thread([table] {
    table->chains.insert(table->fresh);
    for (node* const each : {&table->moved, &table->stays}) {
      table->chains.erase(*each);
      const auto found = table->chains.find_for_sure(
          each->hash, [each](int key) { return key == each->key; });
      testing::check(found.node == nullptr, "it has left");
    }
    testing::check(table->chains.size() == 1, "the third is in");
  });
  w.finally([table] { delete table; });
}

// Two who write in turn, and the first looks for what the second has taken out.
void erased_in_turn(world& w) {
  struct shared {
    chains_head head;
    lookup_chains<node> chains;
    node nodes[3] = {{0, 0}, {0, 1}, {0, 2}};
    atomic<int> turn{0};
  };
  auto* const table = new shared;
  table->chains.start(table->head, *lookup_chains<node>::make_array(2));
  for (node& each : table->nodes) table->chains.insert(each);  // 2, 1, 0
  w.thread([table] {
    table->chains.erase(table->nodes[0]);
    table->turn.store(1, rel);
    if (table->turn.load(acq) < 2) return;
    const auto found = table->chains.find_for_sure(0, [](int key) { return key == 1; });
    testing::check(found.node == nullptr && found.for_sure, "it has left");
    if (table->turn.load(acq) != 3) return;
    const auto first = table->chains.find_for_sure(0, [](int key) { return key == 2; });
    testing::check(first.node == nullptr && first.for_sure, "it has left");
  });
  w.thread([table] {
    if (table->turn.load(acq) != 1) return;
    table->chains.erase(table->nodes[1]);
    table->turn.store(2, rel);
    table->chains.erase(table->nodes[2]);
    table->turn.store(3, rel);
  });
  w.finally([table] { delete table; });
}

// Two write in turn, as under a lock. What the first knows of the chains from a look is old when
// its turn comes again.
struct table_of_two {
  chains_head head;
  lookup_chains<node> chains;
  node nodes[4] = {{0, 0}, {0, 1}, {0, 2}, {3U << 30U, 3}};
  bucket_array* done = nullptr;
  atomic<int> turn{0};

  explicit table_of_two(unsigned log2, int there) {
    chains.start(head, *lookup_chains<node>::make_array(log2));
    for (int i = 0; i < there; ++i) chains.insert(nodes[i]);  // the last one stands first
  }
  bool knows(int key) const {
    return chains.find_for_sure(0, [key](int other) { return key == other; }).node != nullptr;
  }
};

void in_turn(world& w, table_of_two* table, void (*second)(table_of_two&),
             void (*first)(table_of_two&)) {
  w.thread([table, first] {
    testing::check(!table->knows(7), "nothing that is not there");
    table->turn.store(1, rel);
    if (table->turn.load(acq) == 2) first(*table);
  });
  w.thread([table, second] {
    if (table->turn.load(acq) != 1) return;
    second(*table);
    table->turn.store(2, rel);
  });
  w.finally([table] {
    if (table->done != nullptr) bucket_array::free(table->done);
    delete table;
  });
}

void inserts_in_turn(world& w) {
  in_turn(w, new table_of_two(2, 0), [](table_of_two& t) { t.chains.insert(t.nodes[0]); },
          [](table_of_two& t) {
            t.chains.insert(t.nodes[1]);
            testing::check(t.knows(0) && t.knows(1), "both are in");
          });
}
void erases_behind_insertion(world& w) {
  in_turn(w, new table_of_two(2, 1), [](table_of_two& t) { t.chains.insert(t.nodes[1]); },
          [](table_of_two& t) {
            t.chains.erase(t.nodes[0]);
            testing::check(!t.knows(0) && t.knows(1), "the other one is in");
          });
}
void erases_in_turn(world& w) {
  in_turn(w, new table_of_two(2, 3), [](table_of_two& t) { t.chains.erase(t.nodes[1]); },
          [](table_of_two& t) {
            t.chains.erase(t.nodes[0]);
            testing::check(!t.knows(0) && !t.knows(1) && t.knows(2), "both have left");
          });
}
template <int Gone>
void moves_in_turn(world& w) {
  auto* const table = new table_of_two(5, 3);
  table->chains.grow(*lookup_chains<node>::make_array(6));
  in_turn(w, table, [](table_of_two& t) { t.chains.erase(t.nodes[Gone]); },
          [](table_of_two& t) {
            t.done = t.chains.insert(t.nodes[3]);
            testing::check(!t.knows(Gone), "what has left is not moved");
            for (int i = 0; i < 3; ++i) testing::check(i == Gone || t.knows(i), "all else is");
          });
}
void clears_in_turn(world& w) {
  in_turn(w, new table_of_two(2, 2), [](table_of_two& t) { t.chains.erase(t.nodes[0]); },
          [](table_of_two& t) {
            int cleared = 0;
            t.chains.clear([&cleared](node&) { ++cleared; });
            testing::check(cleared == 1, "what has left is not let go again");
            testing::check(!t.knows(1), "nothing is left");
          });
}

// Two end an epoch at once. What one of them has taken out a reader may still look at.
void two_end_an_epoch(world& w) {
  readers::start_anew(3);
  auto* const cell = new atomic<box*>(new box(1));
  auto* const gone = new unlinked_nodes<box>;
  w.thread([cell] {
    readers::take_place(1);
    const reading inside(*readers::here());
    testing::check(cell->load(acq)->value > 0, "whole");
  });
  w.thread([] { static_cast<void>(readers::end_epoch()); });
  w.thread([cell, gone] {
    readers::take_place(3);
    gone->add(*cell->exchange(new box(2), ar));
    gone->free_unread();
  });
  w.finally([cell, gone] {
    delete gone;
    delete cell->load(rlx);
    delete cell;
  });
}

// What is kept by a pin, or a reference.
struct kept_box {
  explicit kept_box(int v) noexcept : value(v) {}
  void hold() noexcept { holders.fetch_add(1, rlx); }
  void let_go() noexcept {
    if (holders.fetch_sub(1, ar) == 1) delete this;
  }
  ~kept_box() {
    if (tells != nullptr) *tells = true;
  }
  int value;  // plain
  bool* tells = nullptr;
  atomic<int> holders{1};
  kept_box* newer = nullptr;
};
using kept = held_node<kept_box>;

kept* pin(reader& self, kept_box& found) {
  const reading inside(self);
  return new kept(found, &self);
}
void use(kept* held) {
  testing::check((*held)->value > 0, "whole");
  delete held;
}
void free_unlinked(unlinked_nodes<kept_box>* gone, kept_box* box) {
  gone->add(*box);
  gone->free_unread();
}

// A reader keeps what it finds beyond its reading.
enum class keeping { right, late, unasked };
template <keeping How, bool Again = false>
void kept_beyond(world& w) {
  readers::start_anew(2);
  auto* const cell = new atomic<kept_box*>(new kept_box(1));
  auto* const gone = new unlinked_nodes<kept_box>;
  w.thread([cell] {
    readers::take_place(1);
    kept_box* late = nullptr;
    if constexpr (How == keeping::late) {
      const reading inside(*readers::here());
      late = cell->load(acq);
    }
    const reading* const inside = new reading(*readers::here());
    auto* const held = new kept(late != nullptr ? *late : *cell->load(acq), readers::here());
    delete inside;
    use(held);
  });
  w.thread([cell, gone] {
    readers::take_place(2);
    if (Again) free_unlinked(gone, new kept_box(3));  // what it saw then is old
    kept_box* const old = cell->exchange(new kept_box(2), ar);
    if constexpr (How == keeping::unasked) {
      const std::uint64_t ended = readers::end_epoch();
      if (readers::oldest_reader() > ended) old->let_go();
    } else {
      free_unlinked(gone, old);
    }
  });
  w.finally([cell, gone] {
    delete gone;
    cell->load(rlx)->let_go();
    delete cell;
  });
}

// Pins that are there when what they keep is unlinked end meanwhile: on their own thread, or on
// another one. `copied`: leaves a reference behind.
void ends_beside(world& w, std::uint32_t ends_on, bool copied) {
  readers::start_anew(2);
  auto* const box = new kept_box(1);
  auto* const gone = new unlinked_nodes<kept_box>;
  auto* const held = pin(readers::at(1), *box);
  w.thread([held, ends_on, copied] {
    readers::take_place(ends_on);
    kept* const more = copied ? new kept(*held) : nullptr;
    use(held);
    if (more != nullptr) use(more);
  });
  w.thread([gone, box] { free_unlinked(gone, box); });
  w.finally([gone] {
    testing::check(gone->empty(), "nothing waits for a pin");
    delete gone;
  });
}
void ends_here(world& w) { ends_beside(w, 1, false); }
void ends_elsewhere(world& w) { ends_beside(w, 2, false); }
void ends_and_stays(world& w) { ends_beside(w, 1, true); }

// The slot of a pin that has ended keeps another node, which is unlinked as well, if `both`.
void pins_again(world& w, bool elsewhere, bool both) {
  readers::start_anew(2);
  struct shared {
    kept_box* const first = new kept_box(1);
    kept_box* const second = new kept_box(2);
    atomic<kept_box*> cell{second};
    unlinked_nodes<kept_box> gone;
    kept* const held = pin(readers::at(1), *first);
  };
  auto* const in = new shared;
  const auto again = [in] {
    readers::take_place(1);
    const reading* const inside = new reading(*readers::here());
    kept_box* const there = in->cell.load(acq);
    kept* const held = there != nullptr ? new kept(*there, readers::here()) : nullptr;
    delete inside;
    if (held != nullptr) use(held);
  };
  if (elsewhere) {
    w.thread([in] {
      readers::take_place(2);
      use(in->held);
    });
    w.thread(again);
  } else {
    w.thread([in, again] {
      readers::take_place(1);
      use(in->held);
      again();
    });
  }
  w.thread([in, both] {
    free_unlinked(&in->gone, in->first);
    if (both) free_unlinked(&in->gone, in->cell.exchange(nullptr, ar));
  });
  w.finally([in, both] {
    if (!both) in->second->let_go();
    delete in;
  });
}
void pins_another(world& w) { pins_again(w, false, false); }
void pins_two_that_leave(world& w) { pins_again(w, false, true); }
void pins_what_ends_elsewhere(world& w) { pins_again(w, true, false); }

// Two take out what one slot keeps, one after the other.
void two_take_out(world& w) {
  readers::start_anew(3);
  struct shared {
    kept_box* const first = new kept_box(1);
    kept_box* const second = new kept_box(2);
    kept* const held = pin(readers::at(1), *first);
    unlinked_nodes<kept_box> gone[2];
  };
  auto* const in = new shared;
  in->second->hold();
  w.thread([in] {
    readers::take_place(1);
    use(in->held);
    kept* const held = pin(*readers::here(), *in->second);
    free_unlinked(&in->gone[1], in->second);
    use(held);
  });
  w.thread([in] { free_unlinked(&in->gone[0], in->first); });
  w.finally([in] {
    testing::check(in->second->holders.load(rlx) == 1, "its pin was a reference, and is none");
    in->second->let_go();
    delete in;
  });
}

// A reader's two pins in one slot are counted, in turn; nobody goes by what was there before.
void counted_in_turn(world& w) {
  readers::start_anew(2);
  struct shared {
    kept_box* const first = new kept_box(1);
    kept_box* second = new kept_box(2);
    bool is_gone = false;
    kept* held = pin(readers::at(1), *first);
    unlinked_nodes<kept_box> gone;
    atomic<int> turn{0};
  };
  auto* const in = new shared;
  in->second->tells = &in->is_gone;
  w.thread([in] {
    readers::take_place(1);
    if (in->turn.load(acq) != 1) return;
    use(std::exchange(in->held, nullptr));
    kept* const more = pin(*readers::here(), *in->second);
    in->turn.store(2, rel);
    use(more);
  });
  w.thread([in] {
    free_unlinked(&in->gone, in->first);
    in->turn.store(1, rel);
    if (in->turn.load(acq) == 2) free_unlinked(&in->gone, std::exchange(in->second, nullptr));
  });
  w.finally([in] {
    if (in->held != nullptr) use(in->held);
    if (in->second != nullptr) in->second->let_go();
    testing::check(in->is_gone, "the last one frees it");
    delete in;
  });
}

// A pin becomes a reference once, and its slot forgets that.
void counted_once(world& w) {
  readers::start_anew(1);
  w.thread([] {
    readers::take_place(1);
    reader& self = *readers::here();
    auto* const box = new kept_box(1);
    box->hold();
    unlinked_nodes<kept_box> gone;
    use(pin(self, *box));
    testing::check(box->holders.load(rlx) == 2, "a pin is no reference");
    kept* const held = pin(self, *box);
    free_unlinked(&gone, box);
    testing::check(box->holders.load(rlx) == 2, "it is, from now on");
    use(held);
    testing::check(box->holders.load(rlx) == 1, "and is let go");
    use(pin(self, *box));
    testing::check(box->holders.load(rlx) == 1, "the next one is none");
    box->let_go();
  });
  w.finally([] {});
}

// Two threads keep one node; a third pin has no slot left.
void kept_by_two(world& w) {
  readers::start_anew(3);
  auto* const box = new kept_box(1);
  auto* const gone = new unlinked_nodes<kept_box>;
  for (std::uint32_t number = 1; number <= 2; ++number) {
    auto* const held = pin(readers::at(number), *box);
    w.thread([held, number] {
      readers::take_place(number);
      use(held);
    });
  }
  w.thread([gone, box] { free_unlinked(gone, box); });
  w.finally([gone] { delete gone; });
}
void no_slot_left(world& w) {
  readers::start_anew(2);
  auto* const box = new kept_box(1);
  auto* const gone = new unlinked_nodes<kept_box>;
  auto* const held = new std::array<kept*, 3>;
  for (kept*& each : *held) each = pin(readers::at(1), *box);
  testing::check(box->holders.load(rlx) == 2, "the third one is a reference");
  w.thread([held] {
    readers::take_place(1);
    use((*held)[2]);
    use((*held)[0]);
  });
  w.thread([gone, box] { free_unlinked(gone, box); });
  w.finally([gone, held] {
    use((*held)[1]);
    delete held;
    delete gone;
  });
}

}  // namespace

TEST_CASE("pins: what is kept is not freed, by whatever thread its pin ends") {
  for (const auto body : {kept_beyond<keeping::right>, kept_beyond<keeping::right, true>, ends_here,
                          ends_elsewhere, ends_and_stays, pins_another, counted_once,
                          counted_in_turn}) {
    proved(body);
  }
}

TEST_CASE("pins: two pins of one node, two nodes in one slot", "[.deep]") {
  for (const auto body : {kept_by_two, no_slot_left, two_take_out, pins_two_that_leave,
                          pins_what_ends_elsewhere}) {
    proved(body);
  }
}

TEST_CASE("pins: what is pinned behind its reading, or freed without a look, is found") {
  failing(kept_beyond<keeping::late>);
  failing(kept_beyond<keeping::unasked>);
}

TEST_CASE("readers: nothing is freed under a reader") {
  proved(one_reader);
  proved(nested);
  proved(frees_in_time);
}

TEST_CASE("readers: one who reads again and again, and two", "[.deep]") {
  proved(one_reader_twice);
  proved([](world& w) { replaced<mistake::none>(w, 2, 1); });
}

TEST_CASE("readers: who frees at once, or reads without saying so, is found") {
  failing([](world& w) { replaced<mistake::no_waiting>(w, 1, 1); });
  failing([](world& w) { replaced<mistake::no_reading>(w, 1, 1); });
}

TEST_CASE("readers: an epoch that is looked at and not ended is found") {
  failing([](world& w) { replaced<mistake::freed_after_one_look>(w, 1, 2); });
}

TEST_CASE("lookup_chains: what is there all the time is found, or is not called missing") {
  proved(grows);
  proved(erased);
  proved(moved_onto);
}

TEST_CASE("lookup_chains: what was taken out is not found again") {
  proved(erased_while_moved);
  proved(erased_in_turn);
}

TEST_CASE("lookup_chains: who writes sees what was written before") {
  for (const auto body : {inserts_in_turn, erases_behind_insertion, erases_in_turn,
                          moves_in_turn<1>, moves_in_turn<2>, clears_in_turn}) {
    proved(body);
  }
}

TEST_CASE("readers: two end an epoch at once") { proved(two_end_an_epoch); }

TEST_CASE("readers: mutants", "[.mutants]") {
  mutants({frees_in_time, one_reader, one_reader_twice, nested, grows, erased, moved_onto,
           erased_while_moved, erased_in_turn, inserts_in_turn, erases_behind_insertion,
           erases_in_turn, moves_in_turn<1>, moves_in_turn<2>, clears_in_turn, two_end_an_epoch,
           kept_beyond<keeping::right>, ends_here, ends_elsewhere, ends_and_stays, pins_another,
           counted_once, counted_in_turn, pins_what_ends_elsewhere, two_take_out});
}
