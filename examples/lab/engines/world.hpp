// SPDX-License-Identifier: BSL-1.0
#pragma once

// What the stories of every engine share: a server, objects of a fresh name, and the words that
// naive code reads and writes there.
//
// They are written once, for an engine E (in sqlite.cpp, redis.cpp, postgres.cpp):
//   client, counter, bounded_counter, versioned<T> ...   see types.hpp
//   name, package, installed()                           of its server: "redis", "redis-server"
//   sql                                                  one transaction for claim and effect
//   renewed                                              a lease, while its holder lives
//   class throwaway { url() }                            a server of the lab's own
//   class guest                                          leaves nothing on one of the user's

#include <interlock/store/client_options.hpp>
#include <interlock/store/error.hpp>
#include <interlock/store/guarantees.hpp>
#include <interlock/store/operation_id.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "../engine.hpp"
#include "../options.hpp"
#include "../support.hpp"
#include "worker.hpp"

namespace lab {

// Returns: the text without its line ends, for an error of one line.
std::string on_one_line(std::string_view text);

// Returns: the scenario of this process with that name, for its story and its numbers; forms empty.
scenario told(std::string_view name);

template <class E>
class world final : public opened_engine {
public:
  using client_type = typename E::client;

  static std::unique_ptr<opened_engine> open(const std::string& url, unsigned threads) {
    try {
      return std::make_unique<world>(url, threads);
    } catch (const interlock::store::failure& failed) {
      throw usage_error(std::string("--engine ") + E::name + ": " + on_one_line(failed.what()));
    }
  }

  world(const std::string& url, unsigned threads) {
    if (url.empty()) {
      start();
      url_ = own_->url();
    } else {
      url_ = url;
      guest_.emplace(url_, prefix_);
    }
    client_.emplace(url_, options(prefix_, threads));
    current_ = this;
  }
  ~world() override { current_ = nullptr; }

  [[nodiscard]] std::string description() const override {
    const interlock::store::probed_guarantees probed = client_->probed();
    std::string text = probed.server;
    text += own_ ? ", a throwaway one" : ", the one of --url";
    text += "; what it acknowledges survives: ";
    return text + interlock::store::to_string(probed.promised.keeps);
  }

  // The open one.
  static world& current() { return *current_; }
  [[nodiscard]] client_type& client() noexcept { return *client_; }
  // Returns: a name that no round had before: "wallet.17".
  [[nodiscard]] std::string fresh(std::string_view what) {
    // order: relaxed: the numbers only have to differ
    const std::uint64_t number = named_.fetch_add(1, std::memory_order_relaxed);
    return std::string(what).append(".").append(std::to_string(number));
  }
  // Returns: another process, which plays that part about that object.
  [[nodiscard]] std::unique_ptr<worker> process(const std::string& part,
                                                const std::string& object) const {
    return std::make_unique<worker>(E::name, url_, prefix_, part, object);
  }

  static interlock::store::client_options options(std::string prefix, unsigned threads) {
    interlock::store::client_options out;
    out.prefix = std::move(prefix);
    out.connections = std::max(16U, threads + 2);
    out.timeout = std::chrono::seconds(20);  // a loaded machine is no news
    return out;
  }

private:
  void start() {
    if (!E::installed()) {
      throw usage_error(std::string("--engine ") + E::name +
                        ": its server is not installed; install " + E::package +
                        ", or name one of yours with --url");
    }
    try {
      own_.emplace();
    } catch (const std::exception& failed) {
      throw usage_error(std::string("--engine ") + E::name +
                        ": no server of its own: " + on_one_line(failed.what()));
    }
  }

  static inline world* current_ = nullptr;

  const std::string prefix_ = "lab-" + interlock::store::unique_id::fresh().text().substr(0, 16);
  std::optional<typename E::throwaway> own_;
  std::optional<typename E::guest> guest_;
  std::string url_;
  std::optional<client_type> client_;
  std::atomic<std::uint64_t> named_{1};
};

// Returns: the open client, and a name on it.
template <class E>
typename E::client& client() {
  return world<E>::current().client();
}
template <class E>
std::string fresh(std::string_view what) {
  return world<E>::current().fresh(what);
}

// A number on the engine as naive code has it: read it, compute, write it back. Each of the two is
// one request, and atomic; what loses is that they are two.
template <class E>
class row {
public:
  using cell = typename E::template versioned<std::int64_t>;

  row(const stage& scene, std::string_view what, std::int64_t value)
      : cell_(client<E>(), fresh<E>(what)), drawn_(scene.drawn()) {
    cell_.store(value).value();
  }

  [[nodiscard]] std::int64_t read() const { return cell_.load().value().value.value_or(0); }
  // Returns: what was there before if the round is drawn, where this is in a step; else value.
  std::int64_t write(std::int64_t value) const {
    const std::int64_t over = drawn_ ? read() : value;
    cell_.store(value).value();
    return over;
  }
  [[nodiscard]] const cell& at() const noexcept { return cell_; }

private:
  cell cell_;
  bool drawn_;
};

// A counter of the engine with a value to begin with.
template <class E>
typename E::counter counter_at(std::int64_t value, std::string_view what) {
  typename E::counter made(client<E>(), fresh<E>(what));
  if (value != 0) made.add(value).value();
  return made;
}

}  // namespace lab
