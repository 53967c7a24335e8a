// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/server_process.hpp - a program that runs beside a test, in a folder of its own,
// and can be stopped, killed and started again.
//
// Problem     Servers that a test starts outlive it when it fails, write into each other's files,
//             and die for reasons that nobody kept.
// Guarantee   A program and all that it started are gone when its server_process is.
//             A program dies with the test that started it.
//             A paused program does nothing until it is resumed.
//             A program that is killed and started again finds the files that it left.
//             A program that cannot be started is an error that names it and its package.
// Progress    blocking: calls of the kernel and time.
// Cost        A process, and a thread of the test that waits for its end.
// Lifetime    A child of fork has a copy that ends nothing.
// Not for     Programs that put themselves in the background. Systems other than Linux.
//
// Example     // examples/testing/server_process.cpp
//             server_process program({.package = "coreutils"});
//             program.start("sleep", {"1000"});
//             program.kill();
//             program.restart();

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "detail/processes.hpp"
#include "detail/sockets.hpp"
#include "temporary_folder.hpp"

namespace interlock::testing {

struct process_options {
  std::string package{};                             // of Debian: named if the program is missing
  std::map<std::string, std::string> environment{};  // on top of the test's own
  std::string user{};  // whom it runs as if the test runs as root; empty: as the test
};

class server_process {
public:
  using milliseconds = std::chrono::milliseconds;

  // Effects: makes its folder. Nothing runs yet.
  explicit server_process(process_options how = {});
  server_process(const server_process&) = delete;
  server_process& operator=(const server_process&) = delete;
  // Effects: kills what runs, removes the folder.
  ~server_process();

  // Returns: the path of a program: of the name itself if it holds a slash, else of the first in
  //          $PATH and the usual folders; empty if there is none.
  [[nodiscard]] static std::string find(const std::string& program);
  [[nodiscard]] static bool available(const std::string& program) { return !find(program).empty(); }

  // Its folder: where it runs, and where `log` takes what it prints.
  [[nodiscard]] const std::string& folder() const noexcept { return folder_.path(); }
  [[nodiscard]] std::string log() const { return server_detail::contents_of(folder() + "/log"); }
  // Returns: at most its last 2000 characters.
  [[nodiscard]] std::string end_of_log() const {
    const std::string all = log();
    return all.size() <= 2000 ? all : all.substr(all.size() - 2000);
  }

  // Effects: runs the program. Its last end has to be over.
  // Throws: std::runtime_error that says why it does not run.
  void start(std::string program, std::vector<std::string> arguments);
  // Effects: the same again, after a terminate() if it runs.
  void restart();
  // Adds to the environment of the next start.
  void set_environment(const std::string& name, std::string value) {
    how_.environment[name] = std::move(value);
  }

  // Returns: false in a child of fork.
  [[nodiscard]] bool is_ours() const noexcept { return ::getpid() == owner_; }
  [[nodiscard]] bool running() const;
  [[nodiscard]] pid_t pid() const;  // 0: it never ran
  // Returns: its status as a shell says it, 128 + n for signal n; none if it still runs then.
  [[nodiscard]] std::optional<int> wait(milliseconds most) const;

  // Effects: sends a signal to the program alone.
  void signal(int number) const;
  // Effects: SIGKILL, to all that it started too. Returns when they are gone.
  void kill();
  // Effects: asks it to end, by SIGTERM or another; after `most`, kills it.
  // Returns: its status.
  int terminate(int number = SIGTERM, milliseconds most = milliseconds(20'000));
  // Effects: SIGSTOP, to all that it started too. Returns when they stand still.
  void pause();
  void resume();

  // Returns: the process and all below it, the process first.
  [[nodiscard]] std::vector<pid_t> processes() const;
  // Returns: processor time of all of them so far.
  [[nodiscard]] double cpu_seconds() const;

private:
  using entry = server_detail::process_entry;

  // All that the child needs: between fork and exec it must not allocate.
  struct plan {
    std::vector<std::string> texts;
    std::vector<char*> arguments, environment;
    std::vector<gid_t> groups;
    bool switches = false;
    uid_t user = 0;
    gid_t group = 0;
    int log = -1, failure = -1;
    pid_t parent = 0;
  };

  [[nodiscard]] std::vector<entry> tree() const;
  [[nodiscard]] plan planned(const std::string& path) const;
  void own(plan& of) const;
  [[noreturn]] void run_child(const plan& what) const noexcept;
  void watch(const plan& what);
  [[noreturn]] void missing(const std::string& program) const;

  process_options how_;
  temporary_folder folder_;
  std::string program_;
  std::vector<std::string> arguments_;
  pid_t owner_ = ::getpid();

  std::thread watcher_;
  mutable std::mutex lock_;  // for what follows
  mutable std::condition_variable changed_;
  pid_t pid_ = 0;
  int fork_error_ = 0;
  std::optional<int> status_;  // none: it runs, or never did
};

inline server_process::server_process(process_options how) : how_(std::move(how)) {}

inline server_process::~server_process() {
  if (!is_ours()) {  // a child of fork: the program is its parent's, and so is the thread,
    alignas(std::thread) std::byte forgotten[sizeof(std::thread)];  // which cannot be detached here
    ::new (forgotten) std::thread(std::move(watcher_));
    return;
  }
  try {
    kill();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::abort();  // the folder would be taken from under a program that runs
  }
  if (watcher_.joinable()) watcher_.join();
}

inline std::string server_process::find(const std::string& program) {
  if (program.find('/') != std::string::npos) {
    return ::access(program.c_str(), X_OK) == 0 ? program : std::string();
  }
  const char* const set = std::getenv("PATH");
  std::string folders = set == nullptr ? "" : set;
  folders += ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:";
  for (std::size_t begin = 0, end; begin < folders.size(); begin = end + 1) {
    end = folders.find(':', begin);
    const std::string path = folders.substr(begin, end - begin) + "/" + program;
    struct stat is {};
    const bool file = ::stat(path.c_str(), &is) == 0 && S_ISREG(is.st_mode);
    if (path.front() == '/' && file && ::access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

inline void server_process::missing(const std::string& program) const {
  std::string text = program + ": no such program in PATH";
  if (!how_.package.empty()) text += "; install the Debian package " + how_.package;
  throw std::runtime_error(text);
}

inline void server_process::own(plan& of) const {
  if (how_.user.empty() || ::geteuid() != 0) return;
  const passwd* const found = ::getpwnam(how_.user.c_str());
  if (found == nullptr) throw std::runtime_error("no user " + how_.user + " on this system");
  of.switches = true;
  of.user = found->pw_uid;
  of.group = found->pw_gid;
  int count = 0;
  ::getgrouplist(how_.user.c_str(), of.group, nullptr, &count);
  of.groups.resize(static_cast<std::size_t>(count));
  ::getgrouplist(how_.user.c_str(), of.group, of.groups.data(), &count);
  if (::chown(folder().c_str(), of.user, of.group) != 0 ||
      ::fchown(of.log, of.user, of.group) != 0) {
    server_detail::fail(errno, "cannot give " + folder() + " to " + how_.user);
  }
}

inline server_process::plan server_process::planned(const std::string& path) const {
  plan made;
  std::map<std::string, std::string> variables = how_.environment;
  for (char** one = environ; *one != nullptr; ++one) {
    const std::string text = *one;
    const auto equals = text.find('=');
    if (equals != std::string::npos)
      variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  made.texts = arguments_;
  made.texts.insert(made.texts.begin(), path);
  const std::size_t count = made.texts.size();
  for (const auto& [name, value] : variables) made.texts.push_back(name + "=" + value);
  for (std::size_t i = 0; i < made.texts.size(); ++i) {
    (i < count ? made.arguments : made.environment).push_back(made.texts[i].data());
  }
  made.arguments.push_back(nullptr);
  made.environment.push_back(nullptr);
  made.parent = ::getpid();
  return made;
}

inline void server_process::start(std::string program, std::vector<std::string> arguments) {
  if (running()) throw std::logic_error(program_ + " runs already");
  if (watcher_.joinable()) watcher_.join();
  const std::string path = find(program);
  program_ = std::move(program);
  arguments_ = std::move(arguments);
  if (path.empty()) missing(program_);
  plan what = planned(path);
  const server_detail::descriptor log(
      ::open((folder() + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  int ends[2];
  if (!log || ::pipe2(ends, O_CLOEXEC) != 0) server_detail::fail(errno, "cannot start " + program_);
  const server_detail::descriptor failures(ends[0]);
  server_detail::descriptor told(ends[1]);
  what.log = log.get();
  what.failure = told.get();
  own(what);
  {
    std::unique_lock hold(lock_);
    pid_ = 0;
    fork_error_ = 0;
    status_.reset();
    watcher_ = std::thread([this, &what] { watch(what); });
    changed_.wait(hold, [&] { return pid_ != 0 || fork_error_ != 0; });
  }
  told.close();
  int error = fork_error_;
  const auto got = error != 0 ? 0 : ::read(failures.get(), &error, sizeof error);
  if (got == 0 && error == 0) return;  // exec has closed the other end
  watcher_.join();
  server_detail::fail(error, "cannot start " + path);
}

inline void server_process::run_child(const plan& what) const noexcept {
  // Between fork and exec of a program with threads: calls that are safe in a signal handler only.
  const auto give_up = [&] {
    const int error = errno;
    [[maybe_unused]] const auto sent = ::write(3, &error, sizeof error);
    ::_exit(127);
  };
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::setpgid(0, 0);
  // Descriptor 3 tells of a failure and closes at exec. No other of the test's may stay open here:
  // a connection that the test closes would live on.
  const int input = ::open("/dev/null", O_RDONLY);
  const int failure = ::fcntl(what.failure, F_DUPFD, 4), log = ::fcntl(what.log, F_DUPFD, 4);
  ::dup2(input, 0);
  ::dup2(log, 1);
  ::dup2(log, 2);
  ::dup2(failure, 3);
  ::fcntl(3, F_SETFD, FD_CLOEXEC);
  if (::syscall(SYS_close_range, 4U, ~0U, 0U) != 0) {
    for (int other = 4; other < 4096; ++other) ::close(other);
  }
  if (::chdir(folder().c_str()) != 0) give_up();
  if (what.switches && (::setgroups(what.groups.size(), what.groups.data()) != 0 ||
                        ::setgid(what.group) != 0 || ::setuid(what.user) != 0)) {
    give_up();
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // after setuid, which would undo it
  if (::getppid() != what.parent) ::_exit(127);
  ::execve(what.arguments[0], what.arguments.data(), what.environment.data());
  give_up();
  ::_exit(127);
}

// What PR_SET_PDEATHSIG calls the parent's death is the end of the thread that forked. So one
// thread forks and stays until the program has ended.
inline void server_process::watch(const plan& what) {
  const pid_t child = ::fork();
  if (child == 0) run_child(what);
  {
    const std::lock_guard hold(lock_);
    pid_ = child < 0 ? 0 : child;
    fork_error_ = child < 0 ? errno : 0;
    changed_.notify_all();
  }
  if (child < 0) return;
  siginfo_t ended{};
  while (::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT) != 0 &&
         errno == EINTR) {
  }
  const std::lock_guard hold(lock_);
  ::kill(-child, SIGKILL);  // who is left of its group; the number is taken until waitpid
  int status = 0;
  ::waitpid(child, &status, 0);
  status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  changed_.notify_all();
}

inline void server_process::restart() {
  if (running()) terminate();
  if (program_.empty()) throw std::logic_error("restart() of what was never started");
  start(program_, arguments_);
}

inline bool server_process::running() const {
  const std::lock_guard hold(lock_);
  return pid_ != 0 && !status_;
}

inline pid_t server_process::pid() const {
  const std::lock_guard hold(lock_);
  return pid_;
}

inline std::optional<int> server_process::wait(milliseconds most) const {
  std::unique_lock hold(lock_);
  if (pid_ == 0) return std::nullopt;
  changed_.wait_for(hold, most, [&] { return status_.has_value(); });
  return status_;
}

inline void server_process::signal(int number) const {
  const std::lock_guard hold(lock_);
  if (pid_ != 0 && !status_) ::kill(pid_, number);
}

inline std::vector<server_process::entry> server_process::tree() const {
  const std::lock_guard hold(lock_);
  return pid_ == 0 || status_ ? std::vector<entry>() : server_detail::tree_of(pid_);
}

inline std::vector<pid_t> server_process::processes() const {
  std::vector<pid_t> all;
  for (const entry& one : tree()) all.push_back(one.id);
  return all;
}

inline double server_process::cpu_seconds() const {
  double ticks = 0;
  for (const entry& one : tree()) ticks += static_cast<double>(one.ticks);
  return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

inline void server_process::pause() {
  // A process that stands still starts no other: parents first, until all stand still.
  const auto pass = [&] {
    bool still = true;
    const std::vector<entry> all = tree();
    for (const entry& one : all) {
      // After vfork a parent waits in the kernel, in the state D, until its child has gone on.
      const bool waits =
          one.state == 'D' && std::any_of(all.begin(), all.end(), [&](const entry& child) {
            return child.parent == one.id && child.state == 'T';
          });
      if (one.stopped() || waits) continue;
      ::kill(one.id, SIGSTOP);
      still = false;
    }
    return still;
  };
  if (!server_detail::until(milliseconds(20'000), pass)) {
    throw std::runtime_error(program_ + " does not stop");
  }
}

inline void server_process::resume() {
  const std::vector<pid_t> all = processes();
  for (auto one = all.rbegin(); one != all.rend(); ++one) ::kill(*one, SIGCONT);
}

inline void server_process::kill() {
  if (!running()) return;
  pause();  // whom it starts while it is being killed would be missed
  const std::vector<pid_t> all = processes();
  for (auto one = all.rbegin(); one != all.rend(); ++one) ::kill(*one, SIGKILL);
  (void)wait(milliseconds(20'000));
  const auto gone = [&] {
    for (const pid_t one : all) {
      if (!server_detail::entry_of(one).gone()) return false;
    }
    return true;
  };
  if (!server_detail::until(milliseconds(20'000), gone)) {
    throw std::runtime_error(program_ + " does not die");
  }
}

inline int server_process::terminate(int number, milliseconds most) {
  if (!running()) return wait(milliseconds(0)).value_or(0);
  resume();
  signal(number);
  if (!wait(most)) kill();
  return wait(milliseconds(0)).value_or(0);
}

}  // namespace interlock::testing
