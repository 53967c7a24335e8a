// SPDX-License-Identifier: BSL-1.0
// Programs beside a test: their folders, their ends.

#include <interlock/testing/server_process.hpp>
#include <interlock/testing/temporary_folder.hpp>

#include <pwd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using namespace std::chrono_literals;
using interlock::testing::server_process;
using interlock::testing::temporary_folder;

namespace {

using interlock::testing::server_detail::entry_of;
using interlock::testing::server_detail::until;

bool gone(pid_t id) {
  return entry_of(id).gone();
}

// Two below the shell; one of them in a group of its own.
constexpr const char* family = "setsid sh -c 'echo ready; exec sleep 1000' & sleep 1000 & wait";

void start_family(server_process& program) {
  program.start("sh", {"-c", family});
  REQUIRE(
      until(10s, [&] { return program.log() == "ready\n" && program.processes().size() == 3; }));
}

std::string what_of(server_process& program, const std::string& name) {
  try {
    program.start(name, {});
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("Each temporary folder is new and empty and its owner alone may read it") {
  const temporary_folder one, two;
  CHECK(one.path() != two.path());
  CHECK(std::filesystem::is_empty(one.path()));
  struct stat is {};
  REQUIRE(::stat(one.path().c_str(), &is) == 0);
  CHECK((is.st_mode & 07777) == 0700);
  CHECK(one.path().size() < 80);  // with the name of a socket, below 107
}

TEST_CASE("A temporary folder is removed with all that is in it") {
  std::string path;
  {
    const temporary_folder place;
    path = place.path();
    std::filesystem::create_directories(path + "/a/b");
    std::ofstream(path + "/a/b/c") << "text";
    CHECK(std::filesystem::exists(path + "/a/b/c"));
  }
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("A program and all that it started are gone when its server_process is") {
  std::vector<pid_t> all;
  std::string folder;
  {
    server_process program;
    start_family(program);
    all = program.processes();
    folder = program.folder();
  }
  REQUIRE(all.size() == 3);
  for (const pid_t one : all) CHECK(gone(one));
  CHECK_FALSE(std::filesystem::exists(folder));
}

TEST_CASE("a kill of the program alone leaves what it started outside of its group") {
  server_process program;
  start_family(program);
  const auto all = program.processes();
  program.signal(SIGKILL);
  REQUIRE(program.wait(10s) == 137);
  const auto left = [&] { return 3 - std::count_if(all.begin(), all.end(), gone); };
  CHECK(until(10s, [&] { return left() == 1; }));
  CHECK_FALSE(until(20ms, [&] { return left() == 0; }));
  for (const pid_t one : all) {
    if (!gone(one)) ::kill(one, SIGKILL);
  }
}

// Started by the next test, which kills it.
TEST_CASE("a test that starts a program and is killed", "[.victim]") {
  server_process program;
  std::thread([&] { program.start("sleep", {"1000"}); }).join();
  std::printf("%d\n", static_cast<int>(program.pid()));
  std::fflush(stdout);
  (void)program.wait(1000s);
}

TEST_CASE("A program dies with the test that started it") {
  server_process test;
  test.set_environment("TMPDIR", test.folder());  // nobody is left to remove the victim's own
  test.start("/proc/self/exe", {"a test that starts a program and is killed"});
  pid_t started = 0;
  REQUIRE(until(60s, [&] {
    const std::string log = test.log();
    if (log.find('\n') == std::string::npos) return false;
    started = std::stoi(log.substr(log.rfind('\n', log.size() - 2) + 1));
    return started > 0;
  }));
  CHECK_FALSE(gone(started));  // although the thread that started it has ended
  test.signal(SIGKILL);
  REQUIRE(test.wait(10s) == 137);
  CHECK(until(10s, [&] { return gone(started); }));
}

TEST_CASE("A paused program does nothing until it is resumed") {
  server_process program;
  program.start("sh", {"-c", "while :; do echo x; sleep 0.001; done"});
  const auto grows = [&](std::size_t from) {
    return until(10s, [&] { return program.log().size() > from; });
  };
  CHECK(grows(program.log().size()));
  program.pause();
  const auto size = program.log().size();
  CHECK_FALSE(until(50ms, [&] { return program.log().size() != size; }));
  program.resume();
  CHECK(grows(size));
}

TEST_CASE("A program that is killed and started again finds the files that it left") {
  server_process program;
  program.start("sh", {"-c", "echo x >> notes; echo written; exec sleep 1000"});
  const std::string notes = program.folder() + "/notes";
  REQUIRE(until(10s, [&] { return program.log() == "written\n"; }));
  program.kill();
  CHECK_FALSE(program.running());
  CHECK(program.wait(0ms) == 137);
  program.restart();
  REQUIRE(until(10s, [&] { return program.log() == "written\nwritten\n"; }));
  CHECK(interlock::testing::server_detail::contents_of(notes) == "x\nx\n");
  CHECK(program.terminate() == 128 + SIGTERM);
}

TEST_CASE("A program that cannot be started is an error that names it and its package") {
  server_process program({.package = "no-such-package"});
  const std::string missing = what_of(program, "no-such-program");
  CHECK(missing.find("no-such-program") != std::string::npos);
  CHECK(missing.find("install the Debian package no-such-package") != std::string::npos);
  CHECK_FALSE(server_process::available("no-such-program"));

  const std::string path = program.folder() + "/not-a-program";
  std::ofstream(path) << "\x7f"
                         "ELF, but no more of it";
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  CHECK(what_of(program, path).find(path) != std::string::npos);
  program.start("true", {});  // and it can be used
  CHECK(program.wait(10s) == 0);
}

TEST_CASE("A file that ends while it is read, as that of a process does, ends no test") {
  // A folder can be opened, and fails at the first read as the file of a process that has ended.
  CHECK(interlock::testing::server_detail::contents_of("/").empty());
}

TEST_CASE("a program gets variables, and none of the test's open files") {
  server_process program({.environment = {{"INTERLOCK_WORD", "one"}}});
  const int open = ::dup(0);
  program.start("sh", {"-c", "echo $INTERLOCK_WORD; ls /proc/self/fd; pwd; exit 3"});
  CHECK(program.wait(10s) == 3);
  CHECK(program.log() == "one\n0\n1\n2\n3\n" + program.folder() + "\n");  // 3: of ls itself
  program.set_environment("INTERLOCK_WORD", "two");
  program.restart();
  CHECK(program.wait(10s) == 3);
  CHECK(program.log().find("two\n") != std::string::npos);
  ::close(open);
}

TEST_CASE("a program of root runs as another user if asked") {
  server_process program({.user = "nobody"});
  program.start("sh", {"-c", "id -u; touch mine && echo written"});
  CHECK(program.wait(10s) == 0);
  const passwd* const nobody = ::getpwnam("nobody");
  REQUIRE(nobody != nullptr);
  const auto user = ::geteuid() == 0 ? nobody->pw_uid : ::geteuid();
  CHECK(program.log() == std::to_string(user) + "\nwritten\n");
}

TEST_CASE("a child of fork leaves the program to its parent") {
  auto copy = std::make_unique<server_process>();
  copy->start("sleep", {"1000"});
  const pid_t child = ::fork();
  if (child == 0) {
    copy.reset();
    ::_exit(0);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(copy->running());
  CHECK(std::filesystem::exists(copy->folder()));
}
