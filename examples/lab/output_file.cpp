// SPDX-License-Identifier: BSL-1.0

#include "output_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "options.hpp"
#include "text.hpp"

namespace lab {

namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& why,
                         const std::string& remedy) {
  throw usage_error("cannot write " + in_quotes(name) + " (" + why + "); " + remedy);
}

[[noreturn]] void refuse(const std::string& name, int error) {
  const bool full = error == ENOSPC || error == EDQUOT || error == EIO;
  refuse(name, std::generic_category().message(error),
         full ? "make room or name a file elsewhere"
              : "name a file in a folder that exists and can be written");
}

// Returns: 0 or an errno.
int write_all(int file, std::string_view content) {
  while (!content.empty()) {
    const ssize_t done = ::write(file, content.data(), content.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return errno;
    content.remove_prefix(static_cast<std::size_t>(done));
  }
  return 0;
}

constexpr mode_t readable_by_all = 0666;  // less the umask

}  // namespace

output_file::output_file(const std::string& name) : name_(name) {
  std::error_code ignored;
  const std::filesystem::path absolute = std::filesystem::absolute(name, ignored);
  const std::filesystem::path real = std::filesystem::weakly_canonical(absolute, ignored);
  path_ = real.empty() ? absolute.string() : real.string();
  if (name.back() == '/') refuse(name_, "it names a folder", "name a file in it");

  struct stat there {};
  if (::stat(path_.c_str(), &there) == 0) {
    if (S_ISDIR(there.st_mode)) refuse(name_, "it is a folder", "name a file in it");
    if (::access(path_.c_str(), W_OK) != 0) refuse(name_, errno);
    direct_ = !S_ISREG(there.st_mode);
  }
  if (direct_) return;

  temporary_ = path_ + "." + std::to_string(::getpid()) + ".part";
  const int file = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) refuse(name_, errno);
  ::close(file);
  ::unlink(temporary_.c_str());
}

void output_file::write(std::string_view content) const {
  const std::string& target = direct_ ? path_ : temporary_;
  const int flags = direct_ ? O_WRONLY | O_CLOEXEC : O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
  const int file = ::open(target.c_str(), flags, readable_by_all);
  if (file < 0) refuse(name_, errno);
  int error = write_all(file, content);
  if (::close(file) != 0 && error == 0) error = errno;
  if (direct_) {
    if (error != 0) refuse(name_, error);
    return;
  }
  if (error == 0 && std::rename(temporary_.c_str(), path_.c_str()) != 0) error = errno;
  if (error == 0) return;
  ::unlink(temporary_.c_str());
  refuse(name_, error);
}

}  // namespace lab
