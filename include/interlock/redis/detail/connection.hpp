// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/redis/detail/connection.hpp - one connection, made and read by hiredis: deadlines that
// hold, no signal when the server is gone, and which commands left as a whole.

#include <hiredis/hiredis.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "../../store/detail/deadline.hpp"
#include "errors.hpp"
#include "reply.hpp"
#include "request.hpp"

namespace interlock::redis::detail {

using store::detail::call_deadline;

inline timeval time_of(std::chrono::microseconds time) noexcept {
  const auto count = std::max<std::chrono::microseconds::rep>(time.count(), 1);
  timeval out{};
  out.tv_sec = static_cast<decltype(out.tv_sec)>(count / 1'000'000);
  out.tv_usec = static_cast<decltype(out.tv_usec)>(count % 1'000'000);
  return out;
}

// While it lives, a write to a closed socket is an error only. For TLS, where the library writes.
class no_sigpipe {
public:
  no_sigpipe() noexcept {
    sigset_t pending;
    sigpending(&pending);
    if (sigismember(&pending, SIGPIPE) == 1) return;
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    armed_ = pthread_sigmask(SIG_BLOCK, &pipe_, &before_) == 0;
  }
  no_sigpipe(const no_sigpipe&) = delete;
  no_sigpipe& operator=(const no_sigpipe&) = delete;
  ~no_sigpipe() {
    if (!armed_) return;
    const timespec at_once{};
    while (sigtimedwait(&pipe_, nullptr, &at_once) == -1 && errno == EINTR) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

private:
  sigset_t pipe_{};
  sigset_t before_{};
  bool armed_ = false;
};

class connection {
public:
  // Preconditions: connected, blocking. `library`: hiredis writes and reads, as with TLS.
  connection(redisContext* context, bool library) noexcept : context_(context), library_(library) {}
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  // Returns: false if the server has closed it, or said something that nobody asked for.
  [[nodiscard]] bool healthy(const call_deadline& deadline) noexcept {
    if (!library_) {
      pollfd one{context_->fd, POLLIN, 0};
      return poll(&one, 1, 0) == 0;
    }
    try {
      const std::string_view ping = "PING";
      return execute({&ping, 1}, deadline).kind() == value_kind::bytes;
    } catch (const std::bad_alloc&) {
      return false;
    }
  }

  // Returns: the answer to one command; with none, broken().
  [[nodiscard]] reply execute(std::span<const std::string_view> command,
                              const call_deadline& deadline) {
    request_.clear();
    append_command(request_, command);
    if (send(request_, 1, deadline) < request_.size()) {
      return reply(value::not_sent(why_, code_));
    }
    return read(deadline);
  }

  // Returns: how many bytes of that many commands left. With fewer than all, broken().
  [[nodiscard]] std::size_t send(std::string_view bytes, std::size_t commands,
                                 const call_deadline& deadline);
  // Returns: the next answer; with none, broken().
  [[nodiscard]] reply read(const call_deadline& deadline);

  // Returns: whether it is of no use any more.
  [[nodiscard]] bool broken() const noexcept { return broken_; }
  // Returns: whether it is of use to others: not broken, and all answers were read.
  [[nodiscard]] bool settled() const noexcept { return !broken_ && owed_ == 0; }
  // Returns: why it is.
  [[nodiscard]] const std::string& why() const noexcept { return why_; }
  [[nodiscard]] errc code() const noexcept { return code_; }

  // Bytes for the next command; its memory is used again.
  [[nodiscard]] std::string& request() noexcept {
    request_.clear();
    return request_;
  }

private:
  struct closed {
    void operator()(redisContext* context) const noexcept { redisFree(context); }
  };

  // The kernel wakes a blocked call this often at least; then it looks at the clock.
  static constexpr std::chrono::microseconds longest_block{50'000};
  // The kernel may block once for each packet of what it was given; so it is not given all.
  static constexpr std::size_t most_at_once = 64 * 1024;

  void block_for(std::chrono::microseconds time) noexcept {
    if (time == block_) return;
    block_ = time;
    const timeval limit = time_of(time);
    setsockopt(context_->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(context_->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  void begin(const call_deadline& deadline) noexcept {
    using std::chrono::microseconds;
    const auto whole = std::chrono::ceil<microseconds>(deadline.at() - deadline.begun());
    block_for(std::min<microseconds>(whole, longest_block));
  }
  // Returns: whether there is time for another try.
  [[nodiscard]] bool more_time(const call_deadline& deadline) {
    using std::chrono::microseconds;
    const auto left = std::chrono::ceil<microseconds>(deadline.at() - call_deadline::clock::now());
    if (left.count() <= 0) {
      fail("no answer until the deadline", errc::timed_out);
      return false;
    }
    if (left < block_) block_for(left);
    return true;
  }
  void fail(const char* why, errc code = errc::connection_lost) {
    broken_ = true;
    code_ = code;
    why_ = why;  // what throws comes last
  }
  void fail_as_hiredis(errc code = errc::connection_lost) { fail(context_->errstr, code); }

  // Effects: hiredis writes what it was given. Returns: whether all of it left.
  [[nodiscard]] bool flush(const call_deadline& deadline);
  // Returns: whether something came.
  [[nodiscard]] bool receive(const call_deadline& deadline);

  std::unique_ptr<redisContext, closed> context_;
  const bool library_;
  bool broken_ = false;
  std::size_t owed_ = 0;  // answers to what was sent
  errc code_ = errc::connection_lost;
  std::chrono::microseconds block_{0};
  std::string why_;
  std::string request_;
};

inline std::size_t connection::send(std::string_view bytes, std::size_t commands,
                                    const call_deadline& deadline) {
  begin(deadline);
  owed_ += commands;
  std::size_t gone = 0;
  while (gone < bytes.size()) {
    const std::string_view part = bytes.substr(gone, most_at_once);
    if (library_) {
      if (redisAppendFormattedCommand(context_.get(), part.data(), part.size()) != REDIS_OK) {
        fail_as_hiredis();
        return gone;
      }
      gone += part.size();  // if it fails, how much of it has left is not known
      if (!flush(deadline)) return gone;
    } else {
      const ssize_t n = ::send(context_->fd, part.data(), part.size(), MSG_NOSIGNAL);
      if (n > 0) {
        gone += static_cast<std::size_t>(n);
      } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        fail(std::strerror(errno));
        return gone;
      }
    }
    if (gone < bytes.size() && !more_time(deadline)) return gone;
  }
  return gone;
}

inline bool connection::flush(const call_deadline& deadline) {
  const no_sigpipe quiet;
  for (int done = 0;;) {
    errno = 0;
    if (redisBufferWrite(context_.get(), &done) != REDIS_OK) {
      if (errno != EAGAIN || context_->err != REDIS_ERR_IO) {
        fail_as_hiredis();
        return false;
      }
      context_->err = 0;  // it was a look at the clock
    }
    if (done != 0) return true;
    if (!more_time(deadline)) return false;
  }
}

inline bool connection::receive(const call_deadline& deadline) {
  for (;;) {
    if (library_) {
      const no_sigpipe quiet;
      errno = 0;  // TLS leaves it as it was
      if (redisBufferRead(context_.get()) == REDIS_OK) return true;
      if (errno != EAGAIN || context_->err != REDIS_ERR_IO) {
        fail_as_hiredis();
        return false;
      }
      context_->err = 0;  // it was a look at the clock
    } else {
      char bytes[16 * 1024];
      const ssize_t n = ::recv(context_->fd, bytes, sizeof bytes, 0);
      if (n > 0) {
        redisReaderFeed(context_->reader, bytes, static_cast<std::size_t>(n));
        return true;
      }
      if (n == 0) {
        fail("the server closed the connection");
        return false;
      }
      if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        fail(std::strerror(errno));
        return false;
      }
    }
    if (!more_time(deadline)) return false;
  }
}

inline reply connection::read(const call_deadline& deadline) {
  bool again = false;
  while (!broken_) {
    void* raw = nullptr;
    if (redisGetReplyFromReader(context_.get(), &raw) != REDIS_OK) {
      fail_as_hiredis();
    } else if (raw != nullptr) {
      --owed_;
      return reply(static_cast<redisReply*>(raw));
    } else if (!again || more_time(deadline)) {
      again = receive(deadline);
    }
  }
  return reply(value::unanswered(why_, code_));
}

}  // namespace interlock::redis::detail
