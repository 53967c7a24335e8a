// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/store/detail/cell_log.hpp - what an optimistic transaction has read and will write.
//
// Each load asks for all cells that are held, in one request of one moment. Those that were read
// before must be at the version that was seen, or the attempt is lost; the others are as they are
// now. So what was read is at each time one moment's state.
//
// The engine keeps the id of a commit with the first cell that is written. A body that runs again
// may write other cells, so with an id the first one is always a cell for ids: one of 64, by the
// session, so that they do not grow in number.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../outcome.hpp"
#include "../protocol.hpp"
#include "bound_object.hpp"
#include "deadline.hpp"

namespace interlock::store::detail {

template <class E>
class cell_log {
public:
  struct entry {
    explicit entry(bound_object<E> of) : cell(std::move(of)) {}
    bound_object<E> cell;
    cell_state state{};
    bool loaded = false;
    bool read = false;  // by this attempt
    bool written = false;
    std::optional<std::string> bytes{};  // that are written; none: erased
  };

  explicit cell_log(E client) : client_(std::move(client)) {}

  // Returns: what is held of the cell; good until the log's end.
  [[nodiscard]] entry& of(const bound_object<E>& cell) {
    for (entry& each : entries_) {
      if (&each.cell.object() == &cell.object() || each.cell.name() == cell.name()) return each;
    }
    return entries_.emplace_back(cell);
  }

  // Effects: forgets what was read and written, but not which cells were.
  void begin_again() noexcept {
    for (entry& each : entries_) each.loaded = each.read = each.written = false;
  }

  // Effects: loads all cells that are held and not only written.
  // Returns: whether what was read before is still so.
  [[nodiscard]] outcome<bool> load(const call_deadline& limit) {
    std::vector<const typename E::object*> objects;
    std::vector<entry*> asked;
    for (entry& each : entries_) {
      if (each.written && !each.read) continue;
      objects.push_back(&each.cell.object());
      asked.push_back(&each);
    }
    outcome<std::vector<cell_state>> found = client_.cells_load(objects, limit.rest());
    if (!found) return std::move(found).template without_answer<bool>();
    for (std::size_t i = 0; i < asked.size(); ++i) {
      entry& each = *asked[i];
      if (each.read && each.state.version != (*found)[i].version) return false;
      each.state = std::move((*found)[i]);
      each.loaded = true;
    }
    return true;
  }

  // Effects: all that was written, if all that was read is still so.
  [[nodiscard]] outcome<std::uint64_t, cell_conflict> commit(operation_id id,
                                                             const call_deadline& limit) {
    std::vector<cell_check<typename E::object>> checks;
    std::vector<cell_write<typename E::object>> writes;
    std::optional<typename E::object> for_ids;
    if (id) {
      for_ids.emplace(client_.object_named(object_kind::cell, name_for_ids(id)));
      writes.push_back({&*for_ids, std::string_view()});
    }
    const std::size_t none = writes.size();
    for (const entry& each : entries_) {
      if (each.read) checks.push_back({&each.cell.object(), each.state.version});
      if (each.written) writes.push_back({&each.cell.object(), each.bytes});
    }
    if (writes.size() == none) return std::uint64_t{0};  // the last load was of one moment
    if (limit.passed()) {
      return refusal({errc::timed_out, E::engine_name, "transaction.commit", "",
                      "the time of the transaction passed before its commit was sent",
                      "give it a longer timeout, or its body less to do"});
    }
    return client_.cells_commit(checks, writes, limit.rest(id));
  }

private:
  static std::string name_for_ids(const operation_id& id) {
    std::string name("\0transactions/", 14);
    name += static_cast<char>('0' + (id.session.low & 63U));
    return name;
  }

  E client_;
  std::deque<entry> entries_;
};

}  // namespace interlock::store::detail
