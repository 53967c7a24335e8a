// SPDX-License-Identifier: BSL-1.0
#pragma once

// interlock/detail/asio_operation.hpp - an awaitable of ours as an asynchronous operation of Asio.
//
// The operation holds the awaitable, the handler, and work that keeps the handler's executor
// running. It does what a coroutine would do: it asks whether the wait is over, suspends, and when
// it is woken posts itself to the executor, where it takes the result and calls the handler.
//
// Net is what is needed of Asio, which there is in two namespaces (see asio.hpp and
// standalone_asio.hpp). Make is called with a stop token and gives the awaitable; the stop is
// requested by the handler's cancellation slot and by the end of the executor's context. What a
// result that nobody takes gives back in its destructor is passed on; else Make has pass_on().

#include <coroutine>
#include <memory>
#include <type_traits>
#include <utility>

#include "../inplace_stop_token.hpp"
#include "../wait_status.hpp"
#include "context_waits.hpp"

namespace interlock::detail {

// An executor for a strand that runs nothing.
template <class Net>
struct asio_nowhere {
  typename Net::execution_context* home;

  typename Net::execution_context& query(typename Net::context_property) const noexcept {
    return *home;
  }
  template <class F>
  void execute(F&&) const noexcept {}
  friend bool operator==(const asio_nowhere&, const asio_nowhere&) = default;
};

// The waits of one execution_context. Its services are shut down when it is destroyed, before any
// of them is destroyed, the newest first. The strands' service must be older than this: it drops
// what it has, and must not be posted to meanwhile, as only the shutdown of this one ensures.
template <class Net>
class asio_waits : public Net::execution_context::service {
  using service = typename Net::execution_context::service;

public:
  using key_type = asio_waits;
  inline static typename Net::execution_context::id id;

  explicit asio_waits(typename Net::execution_context& context) : service(context) {
    const asio_nowhere<Net> here{&context};
    const typename Net::template strand<asio_nowhere<Net>> makes_their_service(here);
  }
  // Services that a shutdown brings about, by a handler that it destroys, are not shut down.
  ~asio_waits() { waits.shut_down(); }

  context_waits waits;

private:
  void shutdown() noexcept override { waits.shut_down(); }
};

// A token of a source that is chosen after the awaitable was made.
class late_stop_token {
public:
  template <class F>
  struct callback_type : inplace_stop_callback<F> {
    callback_type(const late_stop_token& token, F f)
        : inplace_stop_callback<F>((*token.source_)->get_token(), std::move(f)) {}
  };

  explicit late_stop_token(inplace_stop_source* const* source) noexcept : source_(source) {}
  bool stop_requested() const noexcept {
    return *source_ != nullptr && (*source_)->stop_requested();
  }

private:
  inplace_stop_source* const* source_;
};

// What a cancellation slot holds. It may be destroyed before the operation or after it.
template <class Net>
struct asio_cancellation {
  void operator()(typename Net::cancellation_type type) const noexcept {
    const std::shared_ptr<inplace_stop_source> kept = source;  // the slot may be reused meanwhile
    if (Net::cancels(type)) kept->request_stop();
  }

  std::shared_ptr<inplace_stop_source> source;
};

template <class Result>
wait_status status_of(const Result& result) noexcept {
  if constexpr (std::is_same_v<Result, wait_status>) {
    return result;
  } else {
    return result.status();
  }
}

template <class Net, class Handler, class Make>
class asio_operation : private context_waits::node {
  // For resume_on(): there is no coroutine, so what it is given is dropped.
  struct to_handler {
    template <class F>
    void execute(const F&) const noexcept {  // an executor that cannot take it ends the program
      self->woken();
    }
    asio_operation* self;
  };

  using awaiter =
      decltype(std::declval<const Make&>()(late_stop_token(nullptr)).resume_on(to_handler()));
  using executor = decltype(Net::executor_of(std::declval<const Handler&>()));
  using allocator = decltype(Net::allocator_of(std::declval<const Handler&>()));
  using own_allocator =
      typename std::allocator_traits<allocator>::template rebind_alloc<asio_operation>;
  struct disposal {
    void operator()(asio_operation* self) const noexcept { self->dispose(); }
  };
  using owner = std::unique_ptr<asio_operation, disposal>;

public:
  // Effects: begins to wait. The handler is posted when the wait is over, at once if need be.
  // Throws: what allocating, the handler's move or post throws; then nothing was taken.
  static void start(Handler&& handler, const Make& make) {
    owner self = create(std::move(handler), make);
    asio_operation& op = *self;
    if (op.awaiter_.await_ready()) return post(std::move(self));
    op.choose_source();
    op.home_ = &Net::template service<asio_waits<Net>>(op.work_.get_executor()).waits;
    if (!op.home_->enter(op)) return;  // the context runs nothing any more
    self.release();
    if (!op.awaiter_.await_suspend(std::noop_coroutine())) op.woken();
  }

private:
  asio_operation(Handler&& handler, const Make& make)
      : node(&end_now, &destroy_now),
        make_(make),
        handler_(std::move(handler)),
        work_(Net::executor_of(handler_)),
        awaiter_(make(late_stop_token(&source_)).resume_on(to_handler{this})) {}
  ~asio_operation() = default;

  static owner create(Handler&& handler, const Make& make) {
    using traits = std::allocator_traits<own_allocator>;
    own_allocator memory(Net::allocator_of(handler));
    struct raw {  // gives the memory back if a constructor throws
      own_allocator& memory;
      asio_operation* at;
      ~raw() {
        if (at != nullptr) traits::deallocate(memory, at, 1);
      }
    } room{memory, traits::allocate(memory, 1)};
    ::new (static_cast<void*>(room.at)) asio_operation(std::move(handler), make);
    return owner(std::exchange(room.at, nullptr));
  }

  // Effects: gives back what was waited for, if it was got, and all memory. The handler goes last:
  //          it may own anything.
  void dispose() noexcept {
    if (ended_) pass_on();
    [[maybe_unused]] const Handler last = take_handler();
  }
  void pass_on() noexcept {
    const auto result = awaiter_.await_resume();
    [[maybe_unused]] const bool acquired = status_of(result) == wait_status::acquired;
    if constexpr (requires { make_.pass_on(); }) {
      if (acquired) make_.pass_on();
    }
  }
  Handler take_handler() {
    Handler handler(std::move(handler_));
    own_allocator memory(Net::allocator_of(handler));
    this->~asio_operation();
    std::allocator_traits<own_allocator>::deallocate(memory, this, 1);
    return handler;
  }

  void choose_source() {
    auto slot = Net::slot_of(handler_);
    if (slot.is_connected()) {
      slots_ = std::make_shared<inplace_stop_source>();
      slot.template emplace<asio_cancellation<Net>>(asio_cancellation<Net>{slots_});
    }
    source_ = slots_ != nullptr ? slots_.get() : &own_source_;
  }

  // Effects: on whichever thread ends the wait. This may be gone behind.
  void woken() noexcept {
    context_waits& home = *home_;
    if (!home.begin_post(*this)) return;
    post(owner(this));
    home.end_post();
  }

  static void post(owner self) {
    self->ended_ = true;
    const executor where = self->work_.get_executor();
    Net::post(where, posted(std::move(self)));
  }

  // Called by the executor, or destroyed with its context.
  class posted {
  public:
    using allocator_type = allocator;
    explicit posted(owner self) noexcept
        : memory_(Net::allocator_of(self->handler_)), self_(std::move(self)) {}
    allocator_type get_allocator() const noexcept { return memory_; }
    void operator()() { complete(std::move(self_)); }

  private:
    allocator memory_;
    owner self_;
  };

  static void complete(owner self) {
    auto result = self->awaiter_.await_resume();
    self->ended_ = false;
    const typename Net::error_code error = Net::error_of(status_of(result));
    Handler handler = self.release()->take_handler();
    if constexpr (std::is_same_v<decltype(result), wait_status>) {
      std::move(handler)(error);
    } else {
      auto given = std::move(result);  // goes before the handler, which may own what it is of
      std::move(handler)(error, std::move(given));
    }
  }

  // For the shutdown of the context.
  static void end_now(node& self) noexcept {
    static_cast<asio_operation&>(self).source_->request_stop();
  }
  static void destroy_now(node& self) noexcept {
    const owner last(&static_cast<asio_operation&>(self));
    last->ended_ = true;
  }

  const Make make_;
  Handler handler_;
  typename Net::template work_guard<executor> work_;
  context_waits* home_ = nullptr;               // of the executor's context, while it waits
  std::shared_ptr<inplace_stop_source> slots_;  // shared with the slot, if there is one
  inplace_stop_source own_source_;
  inplace_stop_source* source_ = nullptr;  // one of both, before it waits
  bool ended_ = false;                     // the awaiter has a result
  awaiter awaiter_;
};

// What Asio calls with the handler that the completion token stands for.
template <class Net, class Make>
struct asio_initiation {
  template <class Handler>
  void operator()(Handler&& handler) const {
    using stored = std::decay_t<Handler>;
    stored own(std::forward<Handler>(handler));
    asio_operation<Net, stored, Make>::start(std::move(own), make);
  }

  Make make;
};

template <class Net, class Result>
struct asio_signature {
  using type = void(typename Net::error_code, Result);
};
template <class Net>
struct asio_signature<Net, wait_status> {
  using type = void(typename Net::error_code);
};

// Effects: starts the wait that make(stop token) gives, as an operation that ends as the completion
//          token says. Returns: what the token stands for.
template <class Net, class Make, class Token>
auto start_asio_wait(Make make, Token&& token) {
  using result = decltype(std::declval<const Make&>()(late_stop_token(nullptr)).await_resume());
  using signature = typename asio_signature<Net, result>::type;
  return Net::template initiate<signature>(asio_initiation<Net, Make>{std::move(make)},
                                           std::forward<Token>(token));
}

}  // namespace interlock::detail
