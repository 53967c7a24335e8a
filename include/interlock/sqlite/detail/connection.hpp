// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/connection.hpp - one handle of SQLite's, with its statements prepared
// once.
//
// Waiting for a lock of another process: SQLite asks the busy handler, which sleeps a jittered time
// and gives up at the deadline of the call. A connection has one user at a time, in the process
// that opened it.

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "../../store/detail/backoff.hpp"
#include "../../store/detail/deadline.hpp"
#include "../../store/operation_id.hpp"
#include "fault.hpp"
#include "forked.hpp"
#include "schema.hpp"

namespace interlock::sqlite::detail {

using store::detail::call_deadline;

struct file_of_parent {};  // thrown

class connection {
public:
  // Throws: fault; file_of_parent, if it was open in an ancestor of this process at the fork.
  connection(const std::string& address, int flags, const sql_texts& texts,
             const call_deadline& deadline)
      : texts_(&texts) {
    give_until(deadline.at());
    flags |= SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    open(address, flags);
    sqlite3_set_authorizer(db_, &connection::permit, this);
    handle_busy();
  }

  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  // Effects: closes, but not in a child of fork(): that would end the parent's locks.
  ~connection() {
    if (made_in_ != fork_generation()) return;
    for (sqlite3_stmt* const each : prepared_) sqlite3_finalize(each);
    for (const user_statement& each : of_users_) sqlite3_finalize(each.made);
    sqlite3_close(db_);
    remove_open_file(*file_);
  }

  [[nodiscard]] sqlite3* raw() const noexcept { return db_; }

  // Effects: waits for locks end then.
  void give_until(call_deadline::time_point then) noexcept { until_ = then; }
  [[nodiscard]] call_deadline::time_point until() const noexcept { return until_; }
  // Who polls for the file seldom finds it free, if another writes without a pause and flushes the
  // disk each time. So a writer leaves it alone now and then: for 1 ms after 50 ms if its writes
  // are flushed; for 2 ms after 20 ms if another process was met in the last second.
  void before_write(call_deadline::time_point begun) noexcept {
    using std::chrono::milliseconds;
    const bool met = begun < met_others_ + std::chrono::seconds(1);
    polite_ = met || flushes;
    if (!polite_) return;
    if (begun > wrote_ + milliseconds(1)) stretch_ = begun;  // it was left alone
    if (begun < stretch_ + milliseconds(met ? 20 : 50)) return;
    sqlite3_sleep(met ? 2 : 1);
    stretch_ = call_deadline::clock::now();
  }
  void after_write() noexcept {
    if (polite_) wrote_ = call_deadline::clock::now();
  }
  bool flushes = false;  // each commit flushes the disk: written by who sets the connection up

  [[nodiscard]] sqlite3_stmt* prepared(sql which) {
    sqlite3_stmt*& place = prepared_[static_cast<std::size_t>(which)];
    if (place == nullptr) place = prepare((*texts_)[which], SQLITE_PREPARE_PERSISTENT);
    return place;
  }
  // Throws: fault.
  [[nodiscard]] sqlite3_stmt* prepare(std::string_view text, unsigned flags) {
    sqlite3_stmt* made = nullptr;
    const int code =
        sqlite3_prepare_v3(db_, text.data(), static_cast<int>(text.size()), flags, &made, nullptr);
    if (code != SQLITE_OK) throw fault_of(db_, code);
    return made;
  }
  // Effects: prepares one statement of the user's; the last few stay prepared.
  // Throws: fault, with SQLITE_MISUSE if the text is not one statement.
  [[nodiscard]] sqlite3_stmt* prepared_for_user(std::string_view text);

  // Effects: waits for locks as give_until() says; again, after SQL that may have changed that.
  void handle_busy() noexcept { sqlite3_busy_handler(db_, &connection::wait_a_little, this); }
  // Effects: runs statements that give nothing back. Throws: fault.
  void execute(const std::string& text) {
    const int code = sqlite3_exec(db_, text.c_str(), nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) throw fault_of(db_, code);
  }

  bool of_user = false;   // written by as_user: what may not be in a transaction is not prepared
  bool in_scope = false;  // written by transaction_scope
  bool repeats = false;   // the transaction found its answer, and changes nothing: by once()
  call_deadline::time_point looked{};  // when moved() was asked last
  [[nodiscard]] bool in_transaction() const noexcept { return sqlite3_get_autocommit(db_) == 0; }
  [[nodiscard]] std::int64_t changes() const noexcept { return sqlite3_changes(db_); }
  // Returns: whether the file's name leads to another file now, or to none.
  [[nodiscard]] bool moved() const noexcept {
    int is = 0;
    const int code = sqlite3_file_control(db_, "main", SQLITE_FCNTL_HAS_MOVED, &is);
    return code == SQLITE_OK && is != 0;
  }
  // Returns: whether a commit that ended so was surely not done.
  [[nodiscard]] bool surely_undone(int code) const noexcept {
    const bool full = (code & 0xff) == SQLITE_FULL;
    return detail::surely_undone(code) && (!full || undone_if_full());
  }
  // What connection_pool asks of one that was idle, and of one that comes back: ROLLBACK may have
  // failed, and then it would read the past.
  [[nodiscard]] bool healthy(const call_deadline&) const noexcept { return !moved(); }
  [[nodiscard]] bool settled() const noexcept { return !in_transaction(); }

  // Effects: sleeps a little, since another holds the file. Returns: false if the deadline passed.
  bool pause() noexcept {
    using std::chrono::milliseconds;
    const auto now = call_deadline::clock::now();
    met_others_ = now;
    if (now >= until_) return false;
    constexpr std::uint64_t most = 4;
    const auto step = milliseconds(1 + store::detail::splitmix::of_this_thread().next() % most);
    const auto left = std::chrono::ceil<milliseconds>(until_ - now);
    sqlite3_sleep(static_cast<int>(std::min(step, left).count()));
    return true;
  }

private:
  void open(const std::string& address, int flags) {
    const std::lock_guard no_fork(open_files_mutex);
    const int code = sqlite3_open_v2(address.c_str(), &db_, flags, nullptr);
    try {
      if (code != SQLITE_OK) throw fault_of(db_, code);
      if (!add_open_file(file_.emplace(db_))) throw file_of_parent{};
    } catch (...) {
      sqlite3_close(db_);
      throw;
    }
  }

  // Returns: whether a commit that meets a full disk is undone for certain. Not where the write
  // that counts may be done and a later one fails: the header of a journal that stays, a page that
  // is repeated to the end of its sector. And not where nothing is kept to undo it by.
  [[nodiscard]] bool undone_if_full() const noexcept;

  static int wait_a_little(void* self, int) {
    return static_cast<connection*>(self)->pause() ? 1 : 0;
  }

  // Returns: whether SQLite may prepare what does this.
  static int permit(void* self, int action, const char*, const char* value, const char*,
                    const char*) {
    if (!static_cast<connection*>(self)->of_user) return SQLITE_OK;
    switch (action) {
      case SQLITE_TRANSACTION:
      case SQLITE_SAVEPOINT:
      case SQLITE_ATTACH:
      case SQLITE_DETACH:
      case SQLITE_CREATE_TEMP_INDEX:  // these stay, and hide others of their name
      case SQLITE_CREATE_TEMP_TABLE:
      case SQLITE_CREATE_TEMP_TRIGGER:
      case SQLITE_CREATE_TEMP_VIEW:
      case SQLITE_DROP_TEMP_INDEX:
      case SQLITE_DROP_TEMP_TABLE:
      case SQLITE_DROP_TEMP_TRIGGER:
      case SQLITE_DROP_TEMP_VIEW:
        return SQLITE_DENY;
      case SQLITE_PRAGMA:
        return value == nullptr ? SQLITE_OK : SQLITE_DENY;
      default:
        return SQLITE_OK;
    }
  }

  struct user_statement {
    std::string text;
    sqlite3_stmt* made;
  };
  static constexpr std::size_t most_of_users = 16;

  const sql_texts* texts_;
  sqlite3* db_ = nullptr;
  call_deadline::time_point until_{};
  call_deadline::time_point met_others_{};  // when a lock of theirs was waited for last
  call_deadline::time_point stretch_{};     // since when it writes without a pause
  call_deadline::time_point wrote_{};       // when the last write ended
  bool polite_ = false;                     // whether these are kept
  unsigned made_in_ = fork_generation();
  std::optional<open_file> file_;
  std::array<sqlite3_stmt*, static_cast<std::size_t>(sql::count)> prepared_{};
  std::vector<user_statement> of_users_;  // the one that was used last is last
};

inline bool connection::undone_if_full() const noexcept {
  const char* const name = sqlite3_db_filename(db_, "main");
  if (name == nullptr || *name == '\0') return true;  // in memory
  sqlite3_stmt* asks = nullptr;
  std::string_view mode;
  if (sqlite3_prepare_v2(db_, "PRAGMA journal_mode", -1, &asks, nullptr) == SQLITE_OK &&
      sqlite3_step(asks) == SQLITE_ROW && sqlite3_column_text(asks, 0) != nullptr) {
    mode = reinterpret_cast<const char*>(sqlite3_column_text(asks, 0));
  }
  bool certain = mode == "delete" || mode == "truncate";
  sqlite3_file* file = nullptr;
  if (mode == "wal" &&
      sqlite3_file_control(db_, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK &&
      file != nullptr && file->pMethods != nullptr) {
    const int has = file->pMethods->xDeviceCharacteristics(file);
    certain = (has & SQLITE_IOCAP_POWERSAFE_OVERWRITE) != 0;  // else pages are repeated
  }
  sqlite3_finalize(asks);
  return certain;
}

inline sqlite3_stmt* connection::prepared_for_user(std::string_view text) {
  const auto found = std::find_if(of_users_.begin(), of_users_.end(),
                                  [text](const user_statement& s) { return s.text == text; });
  if (found != of_users_.end()) {
    std::rotate(found, found + 1, of_users_.end());
    return of_users_.back().made;
  }
  user_statement one{std::string(text), nullptr};
  const char* rest = nullptr;
  const int code = sqlite3_prepare_v3(db_, one.text.c_str(), static_cast<int>(text.size()),
                                      SQLITE_PREPARE_PERSISTENT, &one.made, &rest);
  if (code != SQLITE_OK) throw fault_of(db_, code);
  sqlite3_stmt* second = nullptr;
  const bool more =
      *rest != '\0' &&
      (sqlite3_prepare_v3(db_, rest, -1, 0, &second, nullptr) != SQLITE_OK || second != nullptr);
  sqlite3_finalize(second);
  if (one.made == nullptr || more) {
    sqlite3_finalize(one.made);
    throw fault{SQLITE_MISUSE, "this is not one statement", 0, false};
  }
  if (of_users_.size() == most_of_users) {
    sqlite3_finalize(of_users_.front().made);
    of_users_.erase(of_users_.begin());
  }
  of_users_.push_back(std::move(one));
  return of_users_.back().made;
}

// The bytes of an id, as they are stored.
class id_bytes {
public:
  explicit id_bytes(const store::unique_id& id) noexcept {
    for (std::size_t i = 0; i < 8; ++i) {
      bytes_[i] = static_cast<char>((id.high >> (56 - 8 * i)) & 0xffU);
      bytes_[8 + i] = static_cast<char>((id.low >> (56 - 8 * i)) & 0xffU);
    }
  }
  operator std::string_view() const noexcept { return {bytes_.data(), bytes_.size()}; }

private:
  std::array<char, 16> bytes_{};
};

// One run of a prepared statement. What is bound outlives it.
class statement {
public:
  template <class... Values>
  statement(connection& on, sql which, const Values&... values)
      : on_(&on), raw_(on.prepared(which)) {
    int place = 0;
    (bind(++place, values), ...);
  }
  statement(const statement&) = delete;
  statement& operator=(const statement&) = delete;
  ~statement() { sqlite3_reset(raw_); }

  // Returns: whether there is a row. Throws: fault.
  bool row() {
    const int code = sqlite3_step(raw_);
    if (code == SQLITE_ROW) return true;
    if (code != SQLITE_DONE) fail(code);
    return false;
  }
  // Effects: runs to the end. Throws: fault.
  void run() {
    while (row()) {
    }
  }
  // Effects: the same. Returns: how many rows were changed.
  std::int64_t changed() {
    run();
    return on_->changes();
  }

  [[nodiscard]] bool null(int column) const noexcept {
    return sqlite3_column_type(raw_, column) == SQLITE_NULL;
  }
  [[nodiscard]] std::int64_t integer(int column) const noexcept {
    return sqlite3_column_int64(raw_, column);
  }
  [[nodiscard]] std::uint64_t number(int column) const noexcept {
    return static_cast<std::uint64_t>(integer(column));
  }
  // Returns: bytes, until the next row.
  [[nodiscard]] std::string_view bytes(int column) const {
    const void* const data = sqlite3_column_blob(raw_, column);
    const int size = sqlite3_column_bytes(raw_, column);
    if (data == nullptr) return {};
    return {static_cast<const char*>(data), static_cast<std::size_t>(size)};
  }
  [[nodiscard]] std::optional<std::string> bytes_if(int column) const {
    if (null(column)) return std::nullopt;
    return std::string(bytes(column));
  }

private:
  template <class Value>
  void bind(int place, const Value& value) {
    int code = SQLITE_OK;
    if constexpr (std::is_integral_v<Value>) {
      code = sqlite3_bind_int64(raw_, place, static_cast<std::int64_t>(value));
    } else if constexpr (std::is_convertible_v<Value, std::string_view>) {
      const std::string_view bytes = value;
      code = sqlite3_bind_blob64(raw_, place, bytes.empty() ? "" : bytes.data(), bytes.size(),
                                 SQLITE_STATIC);
    } else if constexpr (std::is_same_v<Value, std::nullopt_t>) {
      code = sqlite3_bind_null(raw_, place);
    } else {
      if (value) return bind(place, *value);
      code = sqlite3_bind_null(raw_, place);
    }
    if (code != SQLITE_OK) throw fault_of(on_->raw(), code);
  }

  [[noreturn]] [[gnu::cold]] void fail(int code) {
    fault why = fault_of(on_->raw(), code);
    // A statement of its own is its own commit.
    why.in_doubt = !on_->in_scope && sqlite3_stmt_readonly(raw_) == 0 && !on_->surely_undone(code);
    throw why;
  }

  connection* on_;
  sqlite3_stmt* raw_;
};

}  // namespace interlock::sqlite::detail
