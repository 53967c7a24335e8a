// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/sqlite/detail/database.hpp - what the copies of a client share: its file, one
// connection that writes, some that read.
//
// Writers of one client come one after the other, in the order of asking; only writers of other
// processes are waited for by SQLite's lock. A database in memory has one connection for all.

#include <sqlite3.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "../../store/client_options.hpp"
#include "../../store/detail/connection_pool.hpp"
#include "../../store/detail/offload.hpp"
#include "../settings.hpp"
#include "connection.hpp"
#include "data_file.hpp"
#include "probe.hpp"
#include "request.hpp"
#include "scopes.hpp"
#include "write_turn.hpp"

namespace interlock::sqlite::detail {

class database {
public:
  // Throws: store::failure.
  database(std::string address, store::client_options options, settings how);

  const store::client_options& options() const noexcept { return options_; }
  const store::probed_guarantees& probed() const noexcept { return probed_; }
  std::string incarnation() const {
    const std::lock_guard lock(history_mutex_);
    return incarnation_;
  }
  // Effects: works with whatever data set is there from now on. Throws: store::failure.
  void accept_history();
  // Effects: refuses calls from now on. Inside a transaction of this thread, after that; none in a
  //          child of fork(), where calls are refused anyway.
  void close() noexcept;
  // Effects: runs f on a thread of the client.
  template <class F>
  void offload(F&& f) {
    threads_.execute(std::forward<F>(f));
  }

  // Returns: the engine's time in microseconds since 1970.
  std::int64_t now() const {
    const auto at = file_.how().clock ? file_.how().clock() : std::chrono::system_clock::now();
    return std::chrono::duration_cast<std::chrono::microseconds>(at.time_since_epoch()).count();
  }

  // Returns: body(connection), which reads.
  template <class R, class F>
  R read(const request& by, F body) {
    return guarded<R>(by, [&]() -> R {
      const call_deadline deadline(by.call, options_.timeout);
      if (in_memory_) {
        writing own(*this, by, deadline);
        return body(*own);
      }
      require_parent(by);
      for (;;) {  // twice, if the file is another one than it was
        auto out = readers_.checkout(deadline, by.operation, by.name);
        if (!out) {
          return std::move(out)
              .template without_answer<typename R::value_type, typename R::conflict_type>();
        }
        if (stale(**out, deadline)) {
          out->discard();
          readers_.suspect_idle();
          continue;
        }
        (*out)->give_until(deadline.at());
        return body(**out);
      }
    });
  }

  // Returns: body(connection), where each statement that writes is its own transaction.
  template <class R, class F>
  R alone(const request& by, F body) {
    return guarded<R>(by, [&]() -> R {
      const call_deadline deadline(by.call, options_.timeout);
      writing own(*this, by, deadline);
      return own.watch([&] { return body(*own); });
    });
  }

  // Returns: body(connection, transaction) in one transaction, which is committed if that applied,
  //          or if body said transaction.keep(). One that repeats an answer need not be.
  template <class R, class F>
  R write(const request& by, F body) {
    return guarded<R>(by, [&]() -> R {
      const call_deadline deadline(by.call, options_.timeout);
      writing own(*this, by, deadline);
      std::optional<R> result;
      bool repeats = false;
      try {
        own.watch([&] {
          transaction_scope transaction(*own);
          result.emplace(body(*own, transaction));
          repeats = (*own).repeats;
          if (result->applied() || transaction.kept()) transaction.commit();
        });
      } catch (const fault&) {
        if (!repeats) throw;
      }
      return *std::move(result);
    });
  }

  // The one that writes, in its turn.
  class writing {
  public:
    // Throws: store::refusal, fault.
    writing(database& of, const request& by, const call_deadline& deadline) : of_(&of) {
      of.require_parent(by);
      if (deadline.hopeless()) {
        throw by.refuse(store::errc::timed_out, "there was no time left before anything was done",
                        "give the call a longer timeout");
      }
      const write_turn::answer given = of.turn_.enter(deadline.at());
      if (given == write_turn::answer::yours_already) {
        throw by.refuse(store::errc::bad_argument,
                        "this thread is inside a transaction of the file",
                        "use the transaction itself there");
      }
      if (given == write_turn::answer::late) {
        throw by.refuse(store::errc::overloaded, "others of this client wrote until the deadline",
                        "write less at once, combine, or give the call a longer timeout");
      }
      try {
        of.ready_writer(by, deadline);
      } catch (...) {
        of.turn_.leave();
        throw;
      }
    }
    writing(const writing&) = delete;
    writing& operator=(const writing&) = delete;
    ~writing() {
      const bool unusable = of_->closed_ || (of_->writer_ && of_->writer_->in_transaction());
      if (unusable) of_->writer_.reset();
      if (of_->writer_ != nullptr) of_->writer_->after_write();
      of_->turn_.leave();
    }

    connection& operator*() const noexcept { return *of_->writer_; }

    // Returns: f(). Effects: closes the connection after a fault that may have broken it.
    template <class F>
    auto watch(F f) {
      try {
        return f();
      } catch (const fault& why) {
        const int kind = why.code & 0xff;
        if ((kind == SQLITE_IOERR || kind == SQLITE_CORRUPT || kind == SQLITE_NOTADB) &&
            !of_->in_memory_) {
          of_->writer_.reset();
        }
        throw;
      }
    }

  private:
    database* of_;
  };

private:
  friend writing;

  template <class R, class F>
  static R guarded(const request& by, F f) {
    try {
      return f();
    } catch (const store::refusal& why) {
      return why;
    } catch (const fault& why) {
      store::error said = error_of(why, by.operation, by.name);
      said.object = by.about();
      if (!why.in_doubt) return store::refusal(std::move(said));
      said.remedy = "ask again under the same operation id, or look; ";
      said.remedy += meaning_of(why.code, why.system).remedy;
      return store::doubt(std::move(said), by.call.id);
    }
  }

  void require_parent(const request& by) const {
    if (made_in_ == fork_generation()) return;
    throw by.refuse(store::errc::not_connected, "the client was made before fork()",
                    remedy_after_fork);
  }

  // Returns: whether the file is another one; looks once a second.
  static bool stale(connection& on, const call_deadline& deadline) noexcept {
    if (deadline.begun() - on.looked < std::chrono::seconds(1)) return false;
    on.looked = deadline.begun();
    return on.moved();
  }

  void ready_writer(const request& by, const call_deadline& deadline) {
    if (closed_) throw by.refuse(store::errc::closed, "the client was closed", "make another");
    if (writer_ != nullptr && !in_memory_ && stale(*writer_, deadline)) writer_.reset();
    if (writer_ == nullptr) {
      try {
        writer_ = connect(deadline, in_memory_);
      } catch (store::failure& why) {
        store::error said = why.error();
        said.operation = by.operation;
        said.object = by.about();
        throw store::refusal(std::move(said));
      }
    }
    writer_->give_until(deadline.at());
    writer_->before_write(deadline.begun());
  }

  // Throws: store::failure.
  std::unique_ptr<connection> connect(const call_deadline& deadline, bool create);

  const store::client_options options_;
  const data_file file_;
  const unsigned made_in_ = fork_generation();
  bool in_memory_ = false;  // written by the constructor
  store::probed_guarantees probed_;

  mutable std::mutex history_mutex_;
  std::string incarnation_;  // under history_mutex_; "": the next connection's

  write_turn turn_;
  std::unique_ptr<connection> writer_;  // of who has the turn
  bool closed_ = false;                 // the same
  store::detail::connection_pool<connection> readers_;
  store::detail::offload_threads threads_;  // last: its calls use all of the above
};

inline database::database(std::string address, store::client_options options, settings how)
    : options_(std::move(options)),
      file_(std::move(address), options_.prefix, std::move(how)),
      readers_({.engine = "sqlite", .most = options_.connections},
               [this](const call_deadline& deadline) -> decltype(readers_)::made {
                 try {
                   return connect(deadline, false);
                 } catch (const store::failure& why) {
                   return why.error();
                 }
               }),
      threads_(options_.threads != 0 ? options_.threads : options_.connections) {
  const call_deadline deadline(options_.timeout);
  data_file::opened first = file_.open(deadline, true);
  writer_ = std::move(first.connection);
  incarnation_ = std::move(first.incarnation);
  in_memory_ = first.in_memory;
  probed_ = probe(*writer_, in_memory_);
  if (!options_.require) return;
  if (const auto in_the_way = probed_.in_the_way_of(*options_.require)) {
    std::string detail = in_the_way->name;
    detail += " is ";
    detail += in_the_way->value;
    detail += ": ";
    detail += in_the_way->limits.empty() ? "SQLite promises no more" : in_the_way->limits;
    file_.fail(store::errc::guarantee_not_met, std::move(detail),
               in_the_way->remedy.empty() ? "use an engine that does" : in_the_way->remedy);
  }
}

inline std::unique_ptr<connection> database::connect(const call_deadline& deadline, bool create) {
  data_file::opened found = file_.open(deadline, create);
  const std::lock_guard lock(history_mutex_);
  if (incarnation_.empty()) incarnation_ = found.incarnation;
  if (incarnation_ != found.incarnation) {
    file_.fail(store::errc::history_lost, "the file holds another data set than before",
               "restore the file, or call accept_history()");
  }
  return std::move(found.connection);
}

inline void database::accept_history() {
  using store::errc;
  if (made_in_ != fork_generation()) {
    file_.fail(errc::not_connected, "the client was made before fork()", remedy_after_fork);
  }
  if (turn_.enter(call_deadline::time_point::max()) == write_turn::answer::yours_already) {
    file_.fail(errc::bad_argument, "this thread is inside a transaction of the file",
               "call accept_history() after the transaction");
  }
  const struct leaving {
    write_turn& turn;
    ~leaving() { turn.leave(); }
  } at_end{turn_};
  if (closed_) file_.fail(errc::closed, "the client was closed", "make another");
  if (in_memory_ && writer_ != nullptr) return;  // its connection is the data set
  {
    const std::lock_guard lock(history_mutex_);
    incarnation_.clear();
  }
  writer_.reset();
  readers_.renew();
  writer_ = connect(call_deadline(options_.timeout), true);
}

inline void database::close() noexcept {
  if (made_in_ != fork_generation()) return;
  const write_turn::answer given = turn_.enter(call_deadline::time_point::max());
  closed_ = true;
  if (given == write_turn::answer::given) {  // else `writing` does it
    writer_.reset();
    turn_.leave();
  }
  readers_.close();
}

}  // namespace interlock::sqlite::detail
