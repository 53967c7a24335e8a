// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/testing/temporary_folder.hpp - a folder of its own that goes away with the test.
//
// Problem     Two tests that share a path disturb each other, and what a test leaves behind
//             changes the next one.
// Guarantee   Each temporary folder is new and empty and its owner alone may read it.
//             A temporary folder is removed with all that is in it.
// Progress    blocking: calls of the file system.
// Cost        One mkdtemp; one walk through the folder at the end.
// Lifetime    The folder lives as long as the object. A child of fork has a copy that removes
//             nothing.
// Not for     Files that are wanted after the test.
//
// Example     temporary_folder place;                      // examples/testing/server_process.cpp
//             const std::string note = place.path() + "/note";

#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace interlock::testing {

class temporary_folder {
public:
  // Effects: makes a folder in $TMPDIR; in /tmp if that is not set, or so long that the path of a
  //          socket in the folder would pass the 107 bytes that a system call takes.
  // Throws: std::system_error, with the path in its text.
  temporary_folder() {
    const char* const asked = std::getenv("TMPDIR");
    path_ = asked == nullptr || *asked != '/' ? "/tmp" : asked;
    if (path_.size() > longest_base) path_ = "/tmp";
    path_ += "/interlock-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) {
      throw std::system_error(errno, std::generic_category(), "no temporary folder " + path_);
    }
  }
  temporary_folder(const temporary_folder&) = delete;
  temporary_folder& operator=(const temporary_folder&) = delete;
  ~temporary_folder() {
    if (::getpid() != owner_) return;
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  // Returns: its absolute path, without a slash at the end.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

private:
  static constexpr std::string::size_type longest_base = 60;

  std::string path_;
  pid_t owner_ = ::getpid();
};

}  // namespace interlock::testing
