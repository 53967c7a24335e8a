// SPDX-License-Identifier: BSL-1.0
#pragma once

// A file that is written whole or not at all.

#include <string>
#include <string_view>

namespace lab {

class output_file {
public:
  // Effects: finds out whether the file can be written, and leaves no trace of having tried.
  // Throws: usage_error, naming the file, the reason and what to do.
  explicit output_file(const std::string& name);

  // Effects: replaces the file's content in one step (a new file beside it, renamed over it);
  //          a device or a pipe is written directly.
  // Throws: usage_error; the file is then as it was.
  void write(std::string_view content) const;

  // Returns: the file's absolute name.
  [[nodiscard]] const std::string& path() const { return path_; }

private:
  std::string name_;       // as the user gave it, for messages
  std::string path_;       // absolute, links followed
  std::string temporary_;  // beside path_
  bool direct_ = false;    // not a regular file
};

}  // namespace lab
