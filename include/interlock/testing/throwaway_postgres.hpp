// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/throwaway_postgres.hpp - a PostgreSQL cluster for one test, on a socket in a
// folder.
//
// Problem     A test against a database that others use cannot kill it, pause it or change its
//             settings; and PostgreSQL does not run as root, as which tests in containers run.
// Guarantee   A throwaway PostgreSQL answers when its constructor returns and is gone with it.
//             What a PostgreSQL committed survives its crash.
//             The crash of one backend ends all connections and the server recovers by itself.
//             A paused PostgreSQL answers nobody until it is resumed.
//             A PostgreSQL with a password refuses who has none.
// Progress    blocking: processes and time.
// Cost        About 1 s for the first of a program, which runs initdb; 0.2 s for others, which copy
//             what it made. 40 MB of disk each.
// Lifetime    The server ends with the object, and with the test if that is killed.
// Not for     Production. Systems other than Linux.
//
// Example     // examples/testing/throwaway_postgres.cpp
//             throwaway_postgres server({.settings = {{"synchronous_commit", "on"}}});
//             std::printf("%s\n", server.url().c_str());
//             server.crash();
//             server.restart();

#include <signal.h>
#include <sys/shm.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "detail/postgres_words.hpp"
#include "detail/processes.hpp"
#include "detail/sockets.hpp"
#include "endpoint.hpp"
#include "server_process.hpp"

namespace interlock::testing {

struct postgres_options {
  std::map<std::string, std::string> settings{};  // of postgresql.conf
  bool fsync = true;       // false: faster, and still safe against crash(), not against power loss
  std::string password{};  // of the user postgres, asked for by SCRAM everywhere; empty: none
  bool tcp = false;        // listen at a free port of 127.0.0.1 as well; url() names that
  std::map<std::string, std::string> environment{};
};

class throwaway_postgres {
public:
  using milliseconds = std::chrono::milliseconds;

  // Effects: makes a cluster (C locale, UTF-8), starts it and waits until it answers. The test of
  //          root runs it as the user postgres.
  // Throws: std::runtime_error, with the end of the server's log, if it does not.
  explicit throwaway_postgres(postgres_options how = {});
  throwaway_postgres(const throwaway_postgres&) = delete;
  throwaway_postgres& operator=(const throwaway_postgres&) = delete;
  ~throwaway_postgres();

  [[nodiscard]] static bool available() { return !programs().empty(); }
  // Returns: the folder of initdb and postgres, of the newest version that Debian's packages have
  //          here, else of those in $PATH; empty if there is none.
  [[nodiscard]] static std::string programs();

  // Returns: "postgresql:///postgres?host=/folder&port=5432&user=postgres" or
  //          "postgresql://postgres@127.0.0.1:5432/postgres".
  [[nodiscard]] std::string url() const { return url(where_); }
  // Returns: "host=/folder port=5432 user=postgres dbname=postgres".
  [[nodiscard]] std::string conninfo() const { return conninfo(where_); }
  // The same for another place that leads here, such as a lossy_proxy.
  [[nodiscard]] std::string url(const endpoint& through) const;
  [[nodiscard]] std::string conninfo(const endpoint& through) const;
  [[nodiscard]] const endpoint& where() const noexcept { return where_; }

  // Effects: kill -9 of the server and all its backends. What was not written to a file is gone.
  void crash() { process_.kill(); }
  // Effects: kill -9 of one backend: that with this number, or that of some client. Waits until the
  //          server has recovered.
  // Returns: false if there is no such backend.
  bool crash_backend(pid_t which = 0);
  // Effects: starts it again with the files that it left; first ends it properly if it runs.
  void restart();
  // Effects: stops it as SIGSTOP does: connections stay, nothing is answered.
  void pause() { process_.pause(); }
  void resume() { process_.resume(); }

  // Effects: sends statements on a connection of its own, waits for the answer. Without a password.
  // Returns: the rows as psql -At has them, "1|one\n"; "ERROR ..." in the server's words; nothing
  // if
  //          no answer came.
  std::string query(const std::string& sql, milliseconds most = milliseconds(10'000)) const;

  [[nodiscard]] double cpu_seconds() const { return process_.cpu_seconds(); }
  [[nodiscard]] server_process& process() noexcept { return process_; }

private:
  [[nodiscard]] static std::string user() { return ::geteuid() == 0 ? "postgres" : ""; }
  [[nodiscard]] std::string data() const { return process_.folder() + "/data"; }
  static void run(server_process& by, const std::string& program,
                  const std::vector<std::string>& arguments);
  static void make_cluster(server_process& by, const std::string& password);
  [[nodiscard]] static const std::string& first_cluster();
  void configure() const;
  void start();
  void await() const;
  [[nodiscard]] bool ready() const;

  postgres_options how_;
  server_process process_;
  endpoint where_;
};

inline std::string throwaway_postgres::programs() {
  std::string newest;
  int highest = 0;
  std::error_code ignored;
  for (const auto& one : std::filesystem::directory_iterator("/usr/lib/postgresql", ignored)) {
    const std::string name = one.path().filename().string(), folder = one.path().string() + "/bin";
    int version = 0;
    std::from_chars(name.data(), name.data() + name.size(), version);
    if (version <= highest || !server_process::available(folder + "/postgres")) continue;
    if (!server_process::available(folder + "/initdb")) continue;
    highest = version;
    newest = folder;
  }
  if (!newest.empty()) return newest;
  const std::string found = server_process::find("postgres");
  const std::string folder = found.substr(0, found.rfind('/'));
  return server_process::available(folder + "/initdb") ? folder : std::string();
}

inline throwaway_postgres::throwaway_postgres(postgres_options how)
    : how_(std::move(how)), process_({"postgresql", how_.environment, user()}) {
  if (how_.password.empty()) {
    const std::string& first = first_cluster();
    run(process_, "cp", {"-a", "--reflink=auto", first, data()});
  } else {
    make_cluster(process_, how_.password);
  }
  for (int attempt = 1;; ++attempt) {
    if (how_.tcp) where_.port = server_detail::free_port();
    if (!how_.tcp) where_.path = process_.folder() + "/.s.PGSQL.5432";
    configure();
    try {
      start();
      return;
    } catch (const std::runtime_error& error) {
      const bool taken = std::string_view(error.what()).find("in use") != std::string_view::npos;
      if (!how_.tcp || !taken || attempt == 5) throw;  // somebody took the free port in between
    }
  }
}

inline throwaway_postgres::~throwaway_postgres() {
  if (!process_.is_ours()) return;
  process_.terminate(SIGQUIT);  // at once, without a checkpoint
  // After a crash: the block of shared memory that says "in use", which outlives its processes.
  std::ifstream left(data() + "/postmaster.pid");
  std::string line;
  for (int i = 0; i < 7; ++i) std::getline(left, line);
  std::istringstream fields(line);
  unsigned long key = 0;
  int id = -1;
  if (fields >> key >> id) ::shmctl(id, IPC_RMID, nullptr);
}

inline void throwaway_postgres::run(server_process& by, const std::string& program,
                                    const std::vector<std::string>& arguments) {
  by.start(program, arguments);
  if (by.wait(milliseconds(120'000)) != 0) {
    throw std::runtime_error(program + " failed: " + by.end_of_log());
  }
}

inline void throwaway_postgres::make_cluster(server_process& by, const std::string& password) {
  const std::string folder = programs(), secret = by.folder() + "/password";
  std::vector<std::string> arguments{"-D",       by.folder() + "/data", "-U",
                                     "postgres", "--no-locale",         "-E",
                                     "UTF8",     "--no-sync",           "-A"};
  arguments.emplace_back(password.empty() ? "trust" : "scram-sha-256");
  if (!password.empty()) {
    std::ofstream(secret) << password << '\n';
    arguments.push_back("--pwfile=" + secret);
  }
  run(by, folder.empty() ? "initdb" : folder + "/initdb", arguments);
  ::unlink(secret.c_str());
}

// The data of an empty cluster, made once in a program and copied for each server.
inline const std::string& throwaway_postgres::first_cluster() {
  static std::mutex one_at_a_time;
  static server_process maker({"postgresql", {}, user()});
  static std::string path;
  const std::lock_guard hold(one_at_a_time);
  if (path.empty()) {
    make_cluster(maker, {});
    path = maker.folder() + "/data";
  }
  return path;
}

inline void throwaway_postgres::configure() const {
  std::ofstream out(data() + "/postgresql.conf", std::ios::app);  // the last of a name counts
  out << "\nlisten_addresses = '" << (how_.tcp ? "127.0.0.1" : "") << "'\n"
      << "port = " << (how_.tcp ? where_.port : 5432) << "\n"
      << "unix_socket_directories = '" << process_.folder() << "'\n"
      << "fsync = " << (how_.fsync ? "on" : "off") << "\n"
      << "shared_buffers = 16MB\n"
      << "dynamic_shared_memory_type = mmap\n";  // files in its folder, which go with it
  // After a crash the server syncs a thousand files, which takes seconds one by one.
  int version = 0;
  std::ifstream(data() + "/PG_VERSION") >> version;
  if (version >= 14) out << "recovery_init_sync_method = syncfs\n";
  for (const auto& [name, value] : how_.settings) {
    out << name << " = " << server_detail::quoted(value, '\'') << "\n";
  }
}

inline void throwaway_postgres::start() {
  process_.start(programs() + "/postgres", {"-D", data()});
  await();
}

inline void throwaway_postgres::restart() {
  process_.terminate(SIGINT);
  start();
}

inline bool throwaway_postgres::ready() const {
  const std::string answer = server_detail::ask(
      where_, server_detail::postgres_startup(), milliseconds(1'000),
      [](const std::string& text) { return server_detail::count_messages(text, 0) >= 1; });
  const bool refused = !answer.empty() && answer.front() == 'E';
  return !answer.empty() && !(refused && answer.find("57P03") != std::string::npos);
}

inline void throwaway_postgres::await() const {
  bool answers = false;
  const bool decided = server_detail::until(milliseconds(60'000), [&] {
    answers = ready();
    return answers || !process_.running();
  });
  if (answers) return;
  const std::string text = decided ? "postgres ended: " : "postgres does not answer: ";
  throw std::runtime_error(text + process_.end_of_log());
}

inline bool throwaway_postgres::crash_backend(pid_t which) {
  // A process's title is what it does: "postgres: user database [local] idle" is a client's.
  const std::vector<pid_t> all = process_.processes();
  pid_t victim = 0;
  for (const pid_t one : all) {
    if (one == all.front()) continue;
    const std::string path = "/proc/" + std::to_string(one) + "/cmdline";
    const bool client = server_detail::is_postgres_client(server_detail::contents_of(path));
    if (which == 0 ? client : one == which) victim = one;
  }
  if (victim == 0) return false;
  ::kill(victim, SIGKILL);
  // The server ends all others too, and begins anew.
  const bool ended = server_detail::until(milliseconds(60'000), [&] {
    return std::all_of(all.begin() + 1, all.end(),
                       [](pid_t one) { return server_detail::entry_of(one).gone(); });
  });
  if (!ended) throw std::runtime_error("postgres does not notice the end of a backend");
  await();
  return true;
}

inline std::string throwaway_postgres::conninfo(const endpoint& through) const {
  std::string text = "host=";
  if (through.path.empty()) {
    text += "127.0.0.1 port=" + std::to_string(through.port);
  } else {
    text += through.folder() + " port=" + server_detail::postgres_port(through.path);
  }
  text += " user=postgres dbname=postgres";
  if (how_.password.empty()) return text;
  return text + " password=" + server_detail::quoted(how_.password, '\'');
}

inline std::string throwaway_postgres::url(const endpoint& through) const {
  const std::string secret = server_detail::percent_encoded(how_.password);
  if (through.path.empty()) {
    std::string text = "postgresql://postgres";
    if (!secret.empty()) text += ":" + secret;
    return text + "@" + through.text() + "/postgres";
  }
  std::string text = "postgresql:///postgres?host=" + through.folder();
  text += "&port=" + server_detail::postgres_port(through.path) + "&user=postgres";
  if (!secret.empty()) text += "&password=" + secret;
  return text;
}

inline std::string throwaway_postgres::query(const std::string& sql, milliseconds most) const {
  const std::string request =
      server_detail::postgres_startup() + server_detail::postgres_query(sql);
  const std::string answer = server_detail::ask(where_, request, most, [](const std::string& text) {
    return server_detail::count_messages(text, 'Z') == 2;
  });
  return server_detail::postgres_rows(answer);
}

}  // namespace interlock::testing
