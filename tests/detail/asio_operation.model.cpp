// SPDX-License-Identifier: BSL-1.0
// Operations and alarms of the bridge to Asio in every execution, over an Asio that is only as much
// as the bridge needs: its executor runs at once what it is given, on the thread that posts it.

#include "testing/front.hpp"

#include <interlock/detail/asio_bridge.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "support/permits.hpp"

namespace detail = interlock::detail;
using interlock::wait_status;
using support::permits;
using testing::world;

namespace {

struct small_asio {
  class execution_context {
  public:
    struct id {};
    class service {
    public:
      explicit service(execution_context&) {}
      service(const service&) = delete;
      service& operator=(const service&) = delete;
      virtual ~service() = default;
      virtual void shutdown() noexcept = 0;
    };

    inline execution_context();
    inline ~execution_context();

    std::unique_ptr<service> waits;
    std::atomic<int> posted{0};
  };

  struct executor {
    execution_context* context;
  };
  using any_io_executor = executor;
  struct context_property {};
  template <class Executor>
  struct strand {
    explicit strand(const Executor&) {}
  };
  template <class Executor>
  struct work_guard {
    explicit work_guard(const Executor& of) : of_(of) {}
    Executor get_executor() const { return of_; }
    Executor of_;
  };

  using cancellation_type = int;
  struct slot {
    bool is_connected() const { return handler != nullptr; }
    template <class T>
    void emplace(T value) {
      *handler = std::make_unique<std::function<void(int)>>(std::move(value));
    }
    std::unique_ptr<std::function<void(int)>>* handler;
  };
  struct error_category {};
  using error_code = wait_status;

  static executor executor_of(const auto& handler) { return handler.on; }
  static slot slot_of(const auto& handler) { return slot{handler.cancel}; }
  static std::allocator<void> allocator_of(const auto&) { return {}; }
  static bool cancels(int type) { return type != 0; }
  template <class Service>
  static Service& service(const executor& of) {
    return static_cast<Service&>(*of.context->waits);
  }
  static void post(const executor& to, auto f) {
    f();
    to.context->posted.fetch_add(1, rlx);  // an executor uses its context to the end
  }
  template <class>
  static void initiate(auto initiation, auto&& handler) {
    initiation(std::forward<decltype(handler)>(handler));
  }
  static error_code error_of(wait_status status) { return status; }

  // Calls its handler when told to, after a cancellation too.
  struct steady_timer {
    using shared = std::function<void(error_code)>;
    steady_timer(const executor& on, std::chrono::steady_clock::time_point) : bell(on.context) {}
    void async_wait(shared handler) { *rings = std::move(handler); }
    void cancel() {}
    execution_context* bell;
    inline static shared* rings;
  };
};

small_asio::execution_context::execution_context()
    : waits(std::make_unique<detail::asio_waits<small_asio>>(*this)) {}
small_asio::execution_context::~execution_context() {
  waits->shutdown();
}

struct fixture {
  permits from;
  std::unique_ptr<std::function<void(int)>> cancel;
  int calls = 0;
  int handlers = 0;
  wait_status how = wait_status::closed;
};

// Gives back what it got.
struct handler {
  handler(small_asio::execution_context& context, fixture& told)
      : on{&context}, cancel(&told.cancel), all(&told) {}
  handler(handler&& other) noexcept
      : on(other.on), cancel(other.cancel), all(std::exchange(other.all, nullptr)) {}
  handler& operator=(handler&&) = delete;
  ~handler() {
    if (all != nullptr) ++all->handlers;  // destroyed, called or not
  }
  void operator()(wait_status status) {
    ++all->calls;
    all->how = status;
    if (status == wait_status::acquired) all->from.give();
  }

  small_asio::executor on;
  std::unique_ptr<std::function<void(int)>>* cancel;
  fixture* all;
};

struct take_permit {
  auto operator()(detail::late_stop_token stop) const { return from->take_unless(stop); }
  void pass_on() const noexcept { from->give(); }
  permits* from;
};

void begin(fixture& all, small_asio::execution_context& context) {
  detail::start_asio_wait<small_asio>(take_permit{&all.from}, handler(context, all));
  testing::check(all.calls == 0, "it waits");
}

// One thread lets it in while another emits the signal.
void let_in_or_cancelled(world& w) {
  auto* const all = new fixture;
  auto* const context = new small_asio::execution_context;
  begin(*all, *context);
  w.thread([all] { all->from.give(); });
  w.thread([all] { (*all->cancel)(1); });
  w.finally([=, &w] {
    testing::check(all->calls == 1 && all->handlers == 1, "called once, with one result");
    testing::check(all->from.free() == 1, "the permit is there again");
    w.outcome(static_cast<int>(all->how));
    delete context;
    delete all;
  });
}

// One thread lets it in while another destroys the context.
void let_in_or_destroyed(world& w) {
  auto* const all = new fixture;
  auto* const context = new small_asio::execution_context;
  begin(*all, *context);
  w.thread([all] { all->from.give(); });
  w.thread([context] { delete context; });
  w.finally([=, &w] {
    testing::check(all->handlers == 1, "the handler is destroyed once");
    testing::check(all->from.free() == 1, "the permit is there again");
    w.outcome(all->calls);
    delete all;
  });
}

// A signal is emitted while the context goes, and may outlive it.
void cancelled_or_destroyed(world& w) {
  auto* const all = new fixture;
  auto* const context = new small_asio::execution_context;
  begin(*all, *context);
  w.thread([all] { (*all->cancel)(1); });
  w.thread([context] { delete context; });
  w.finally([=, &w] {
    testing::check(all->handlers == 1, "the handler is destroyed once");
    w.outcome(all->calls);
    delete all;
  });
}

// ---- alarms -------------------------------------------------------------------------------------

struct touches {
  int* goods;
  void operator()() const noexcept { ++*goods; }
};

// Asio calls the handler of a timer while the alarm is destroyed, and what it touches behind it.
template <class Timer>
void rings_or_goes(world& w) {
  using alarm = typename Timer::template alarm<touches>;
  auto* const context = new small_asio::execution_context;
  auto* const rings = new small_asio::steady_timer::shared;
  small_asio::steady_timer::rings = rings;
  auto* const goods = new int(0);
  auto* const timer = new Timer(small_asio::executor{context});
  auto* const bell =
      new alarm(*timer, std::chrono::steady_clock::time_point::max(), touches{goods});
  int saw = 0;
  w.thread([rings] { (*rings)(wait_status::acquired); });
  w.thread([=, &saw] {
    delete bell;
    saw = *goods;
    delete goods;
  });
  w.finally([=, &saw, &w] {
    w.outcome(saw);
    delete rings;
    delete timer;
    delete context;
  });
}

// ---- what others do -----------------------------------------------------------------------------

// Cancels the timer, as if that called off a handler that another thread is at.
struct hasty_timer {
  explicit hasty_timer(small_asio::executor) {}
  template <class F>
  struct alarm {
    alarm(hasty_timer&, std::chrono::steady_clock::time_point, F f)
        : off(std::make_shared<std::atomic<bool>>(false)) {
      *small_asio::steady_timer::rings = [off = off, f](wait_status) {
        if (!off->load(acq)) f();
      };
    }
    ~alarm() { off->store(true, rel); }
    std::shared_ptr<std::atomic<bool>> off;
  };
};

// The slot destroys the operation that it has cancelled, without asking who else ends it.
void cancels_without_asking(world& w) {
  struct operation {
    std::atomic<bool> done{false};
    int calls = 0;
    void end() {
      if (done.load(acq)) return;
      ++calls;
      done.store(true, rel);
    }
  };
  auto* const one = new operation;
  for (int t = 0; t < 2; ++t) {
    w.thread([one] { one->end(); });
  }
  w.finally([one] { delete one; });
}

}  // namespace

TEST_CASE("asio_operation: let in or cancelled, its handler is called once") {
  const auto report = proved(let_in_or_cancelled, whole_waits());
  CHECK(joined(seen(report)) == "0, 1");
}

TEST_CASE("asio_operation: let in while its context goes, it is called once or passed on") {
  const auto report = proved(let_in_or_destroyed, whole_waits());
  CHECK(joined(seen(report)) == "0, 1");
}

TEST_CASE("asio_operation: cancelled while its context goes") {
  const auto report = proved(cancelled_or_destroyed, whole_waits());
  CHECK(joined(seen(report)) == "0, 1");
}

TEST_CASE("asio_timer: a destroyed alarm is not being called") {
  const auto report = proved(rings_or_goes<detail::basic_asio_timer<small_asio>>, whole_waits());
  CHECK(joined(seen(report)) == "0, 1");
}

TEST_CASE("asio_timer: an alarm that does not wait for its call is found") {
  failing(rings_or_goes<hasty_timer>);
}

TEST_CASE("asio_operation: two that end one operation are found") {
  failing(cancels_without_asking);
}

TEST_CASE("asio_operation: mutants", "[.mutants]") {
  mutants({rings_or_goes<detail::basic_asio_timer<small_asio>>, let_in_or_destroyed,
           let_in_or_cancelled});
}
