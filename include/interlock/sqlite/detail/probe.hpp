// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/probe.hpp - what this file and these settings promise.
//
// Who reads what follows from what: https://www.sqlite.org/pragma.html#pragma_synchronous. In WAL
// mode FULL flushes the log with each commit. With a rollback journal that is deleted, FULL does
// not flush the folder: a power loss may bring the journal back, and with it the state before the
// last commit. EXTRA does.

#include <sqlite3.h>
#include <sys/vfs.h>

#include <array>
#include <string>
#include <utility>

#include "../../store/guarantees.hpp"
#include "connection.hpp"

namespace interlock::sqlite::detail {

inline constexpr store::guarantees best{store::visibility::host,
                                        store::durability::power_loss,
                                        true,
                                        true,
                                        true,
                                        store::fence_kind::monotone_across_data_loss};

// Returns: what the statement's first row says, as text; "" if there is none. Throws: fault.
[[nodiscard]] inline std::string asked(connection& on, std::string_view text) {
  sqlite3_stmt* const made = on.prepare(text, 0);
  const int code = sqlite3_step(made);
  std::string answer;
  if (code == SQLITE_ROW && sqlite3_column_text(made, 0) != nullptr) {
    answer.assign(static_cast<const char*>(sqlite3_column_blob(made, 0)),
                  static_cast<std::size_t>(sqlite3_column_bytes(made, 0)));
  }
  const bool bad = code != SQLITE_ROW && code != SQLITE_DONE;
  const fault why = bad ? fault_of(on.raw(), code) : fault{};
  sqlite3_finalize(made);
  if (bad) throw why;
  return answer;
}

[[nodiscard]] inline store::setting journal_setting(const std::string& mode) {
  store::setting said{"PRAGMA journal_mode", mode, "", "", best};
  if (mode == "off" || mode == "memory") {
    said.with.keeps = store::durability::none;
    said.limits = "a process that is killed while it writes leaves a broken file";
    said.remedy = "set PRAGMA journal_mode to WAL";
  }
  return said;
}

[[nodiscard]] inline store::setting synchronous_setting(const std::string& level,
                                                        const std::string& mode) {
  static constexpr std::array names{"OFF", "NORMAL", "FULL", "EXTRA"};
  const std::size_t at =
      level.size() == 1 ? static_cast<std::size_t>(level[0] - '0') : names.size();
  store::setting said{"PRAGMA synchronous", at < names.size() ? names[at] : level, "", "", best};
  const bool enough = at == 3 || (at == 2 && mode != "delete");
  if (enough) return said;
  said.with.keeps = store::durability::process_crash;
  said.limits =
      at == 0 ? "a power loss may break the file" : "a power loss may take the last commits";
  said.remedy = at == 2 ? "set PRAGMA synchronous to EXTRA, or PRAGMA journal_mode to WAL"
                        : "set PRAGMA synchronous to FULL";
  if (at < 2 && mode == "delete") said.remedy = "set PRAGMA synchronous to EXTRA";
  return said;
}

[[nodiscard]] inline store::setting file_system_setting(long magic) {
  store::setting said{"file system", "local", "", "", best};
  switch (static_cast<unsigned long>(magic) & 0xffffffffU) {
    case 0x01021994U:  // tmpfs
    case 0x858458f6U:  // ramfs
      said.value = "memory";
      said.with.keeps = store::durability::process_crash;
      said.limits = "the file is gone when the machine stops";
      break;
    case 0x00006969U:  // NFS
    case 0x0000517bU:  // SMB
    case 0xff534d42U:  // CIFS
    case 0xfe534d42U:  // SMB 2
    case 0x01021997U:  // 9P
    case 0x65735546U:  // FUSE
    case 0x5346414fU:  // AFS
    case 0x00c36400U:  // Ceph
    case 0x0bd00bd0U:  // Lustre
    case 0x01161970U:  // GFS2
    case 0x7461636fU:  // OCFS2
      said.value = "network or user space";
      said.with.keeps = store::durability::none;
      said.with.linearizable = false;
      said.with.serializable = false;
      said.limits = "its locks and its flushes are not known to hold";
      break;
    default:
      return said;
  }
  said.remedy = "put the file on a local disk";
  return said;
}

// Returns: all of it. Throws: fault.
[[nodiscard]] inline store::probed_guarantees probe(connection& on, bool in_memory) {
  store::probed_guarantees found;
  found.server = "SQLite ";
  found.server += sqlite3_libversion();
  if (in_memory) {
    store::guarantees with = best;
    with.seen_by = store::visibility::process;
    with.keeps = store::durability::none;
    found.settings.push_back({"database", ":memory:", "all is gone with the process",
                              "name a file on a local disk", with});
  } else {
    const std::string mode = asked(on, "PRAGMA journal_mode");
    found.settings.push_back(journal_setting(mode));
    found.settings.push_back(synchronous_setting(asked(on, "PRAGMA synchronous"), mode));
    struct ::statfs about {};
    const char* const name = sqlite3_db_filename(on.raw(), "main");
    const bool known = name != nullptr && ::statfs(name, &about) == 0;
    found.settings.push_back(file_system_setting(known ? static_cast<long>(about.f_type) : 0x6969));
  }
  found.promised = best;
  for (const store::setting& each : found.settings) {
    found.promised = store::weaker(found.promised, each.with);
  }
  return found;
}

}  // namespace interlock::sqlite::detail
