// SPDX-License-Identifier: BSL-1.0
// A TCP server on two threads, and 50 clients at once that each deposit 10. A request reads the
// balance, awaits an audit, and writes what it read plus 10: naively, and then behind a mutex. A
// report takes long: one more may wait for it, for a while; whoever comes besides is refused.
// Prints: naive: 50 deposits of 10 made 10, 490 are lost
// Prints: fixed: 50 deposits of 10 made 500, 0 are lost
// Prints: reports: 200 to the first, 504 to the one that waited, 429 to the one too many

#include <boost/asio.hpp>

#include <interlock/asio.hpp>
#include <interlock/async_mutex.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace net = boost::asio;
using interlock::asio_timer;
using interlock::async_lock;
using interlock::async_lock_until;
using interlock::async_mutex;
using interlock::max_waiters;
using interlock::wait_status;
using net::ip::tcp;
using namespace std::chrono_literals;

namespace {

// Somebody else's service. It answers when it has so many questions together, as batches do.
class audits {
public:
  explicit audits(int batch) : missing_(batch), closed_(door_.try_lock()) {}

  net::awaitable<void> ask() {
    if (missing_.fetch_sub(1) == 1) closed_.unlock();
    const auto passed = co_await async_lock(door_, net::use_awaitable);
  }

private:
  std::atomic<int> missing_;
  async_mutex door_;
  async_mutex::guard closed_;
};

struct account {
  explicit account(int batch) : audit(batch) {}

  async_mutex door;
  std::atomic<int> balance{0};  // no data race, and yet updates get lost
  audits audit;
};

net::awaitable<void> add(account& to, int amount) {
  const int before = to.balance.load();
  co_await to.audit.ask();  // others may run here
  to.balance.store(before + amount);
}

net::awaitable<void> deposit(account& to, int amount) {
  const auto held = co_await async_lock(to.door, net::use_awaitable);
  co_await add(to, amount);  // others may run meanwhile, but not inside this account
}

class server {
public:
  explicit server(int audit_batch) : shared(audit_batch), timer_(io_.get_executor()) {
    net::co_spawn(io_, accept(), net::detached);
    for (int i = 0; i < 2; ++i) threads_.emplace_back([this] { io_.run(); });
  }
  ~server() {
    io_.stop();
    for (std::thread& each : threads_) each.join();
  }

  tcp::endpoint address() const { return acceptor_.local_endpoint(); }

  account shared;
  async_mutex reporting{max_waiters{1}};

private:
  net::awaitable<void> accept() {
    for (;;) {
      tcp::socket client = co_await acceptor_.async_accept(net::use_awaitable);
      auto strand = net::make_strand(io_);
      net::co_spawn(strand, serve(std::move(client)), net::detached);
    }
  }

  net::awaitable<void> serve(tcp::socket client) {
    std::string line;
    co_await net::async_read_until(client, net::dynamic_buffer(line), '\n', net::use_awaitable);
    std::string answer = "400\n";
    if (line == "naive\n") {
      co_await add(shared, 10);
      answer = "200\n";
    } else if (line == "deposit\n") {
      co_await deposit(shared, 10);
      answer = "200\n";
    } else if (line == "report\n") {
      answer = co_await report(client);
    }
    co_await net::async_write(client, net::buffer(answer), net::use_awaitable);
  }

  // Says 102 when it has begun, and goes on until the client says so.
  net::awaitable<std::string> report(tcp::socket& client) {
    const auto deadline = std::chrono::steady_clock::now() + 500ms;
    const auto [error, held] =
        co_await async_lock_until(reporting, timer_, deadline, net::as_tuple(net::use_awaitable));
    if (held.status() == wait_status::overloaded) co_return "429\n";  // at once
    if (error == net::error::timed_out) co_return "504\n";
    const std::string begun = "102\n";
    co_await net::async_write(client, net::buffer(begun), net::use_awaitable);
    std::string line;
    co_await net::async_read_until(client, net::dynamic_buffer(line), '\n', net::use_awaitable);
    co_return "200\n";
  }

  net::io_context io_{2};
  asio_timer timer_;
  tcp::acceptor acceptor_{io_, {net::ip::address_v4::loopback(), 0}};
  std::vector<std::thread> threads_;
};

net::awaitable<void> say(tcp::socket& server, std::string what) {
  co_await net::async_write(server, net::buffer(what), net::use_awaitable);
}

net::awaitable<std::string> hear(tcp::socket& server) {
  std::string answer;
  co_await net::async_read_until(server, net::dynamic_buffer(answer), '\n', net::use_awaitable);
  answer.pop_back();
  co_return answer;
}

net::awaitable<void> client(const server& of, std::string request, int& served) {
  tcp::socket socket(co_await net::this_coro::executor);
  co_await socket.async_connect(of.address(), net::use_awaitable);
  co_await say(socket, request);
  const std::string answer = co_await hear(socket);
  served += answer == "200" ? 1 : 0;
}

// Returns: the balance after 50 clients.
int fifty(const char* name, const std::string& request, int audit_batch) {
  server running(audit_batch);
  net::io_context clients;
  int served = 0;
  for (int i = 0; i < 50; ++i) {
    net::co_spawn(clients, client(running, request, served), net::detached);
  }
  clients.run();
  const int balance = running.shared.balance.load();
  std::printf("%s: %d deposits of 10 made %d, %d are lost\n", name, served, balance,
              10 * served - balance);
  return balance;
}

net::awaitable<void> reports(const server& of, std::string& told) {
  const auto executor = co_await net::this_coro::executor;
  tcp::socket first(executor);
  tcp::socket second(executor);
  tcp::socket third(executor);
  co_await first.async_connect(of.address(), net::use_awaitable);
  co_await second.async_connect(of.address(), net::use_awaitable);
  co_await third.async_connect(of.address(), net::use_awaitable);
  co_await say(first, "report\n");
  co_await hear(first);  // 102: it has begun
  co_await say(second, "report\n");
  while (of.reporting.waiters_approx() == 0) {
    co_await net::post(executor, net::use_awaitable);  // until the second one waits
  }
  co_await say(third, "report\n");
  const std::string refused = co_await hear(third);
  const std::string late = co_await hear(second);
  co_await say(first, "done\n");
  const std::string done = co_await hear(first);
  told = done + " to the first, " + late + " to the one that waited, " + refused +
         " to the one too many";
}

}  // namespace

int main() {
  const int naive = fifty("naive", "naive\n", 50);    // each has read before anyone writes
  const int fixed = fifty("fixed", "deposit\n", 1);
  std::string told;
  {
    const server running(1);
    net::io_context clients;
    net::co_spawn(clients, reports(running, told), net::detached);
    clients.run();
  }
  std::printf("reports: %s\n", told.c_str());
  const std::string expected =
      "200 to the first, 504 to the one that waited, 429 to the one too many";
  return naive == 10 && fixed == 500 && told == expected ? 0 : 1;
}
