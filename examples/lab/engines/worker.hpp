// SPDX-License-Identifier: BSL-1.0
#pragma once

// Another process of a story: this very program, started once more with the hidden option
// --work-for ENGINE. Both ends talk in lines over a socket, which is the worker's standard input
// and output.

#include <signal.h>
#include <sys/types.h>

#include <string>
#include <string_view>

namespace lab {

// One end of the socket.
class wire {
public:
  explicit wire(int descriptor) noexcept : descriptor_(descriptor) {}
  wire(const wire&) = delete;
  wire& operator=(const wire&) = delete;

  // Effects: sends a line; says nothing if nobody is there any more.
  void say(std::string text);
  // Returns: the next line.
  // Throws: std::runtime_error if the other end has closed, or has said nothing for a minute.
  std::string hear();

protected:
  ~wire() = default;
  int descriptor_;

private:
  std::string read_;  // what has come behind the last line
};

// The lab's end.
class worker : public wire {
public:
  // Effects: starts a process, and tells it the server, the prefix of its objects, its part in the
  //          story and the name of what the story is about.
  // Throws: std::system_error.
  worker(std::string_view engine, const std::string& url, const std::string& prefix,
         const std::string& part, const std::string& object);
  // Effects: kills it.
  ~worker();

  // Effects: SIGSTOP; returns when the process stands still, all its threads.
  void stop();
  void resume() { ::kill(process_, SIGCONT); }

private:
  pid_t process_ = -1;
};

// The process' end.
class employer : public wire {
public:
  // Effects: hears what the lab says first. From now on this process ends with the lab.
  employer();

  std::string url;
  std::string prefix;
  std::string part;
  std::string object;

  // Effects: when the lab says so, value = access(); tells what told(value) says.
  // Returns: value.
  template <class Access, class Say>
  auto step(Access access, Say told) {
    say("ready");
    hear();
    auto value = access();
    const auto said = told(value);
    say((said.harmful ? "!" : " ") + said.text);
    return value;
  }
};

}  // namespace lab
