// SPDX-License-Identifier: BSL-1.0
// The number of executions of small programs, each graph once. Where the figures come from:
//   genmc   GenMC counts as many for the same program under RC11
//   axioms  oracle.hpp, which tries every rf and every co; compared here again
//   formula a closed form: the orders of updates are a multinomial

#include "litmus.hpp"

using testing::world;

namespace {

void add(world& w, int threads, int rounds) {
  atomic<int> x{0};
  for (int t = 0; t < threads; ++t) {
    w.thread([&x, rounds] {
      for (int i = 0; i < rounds; ++i) x.fetch_add(1, rlx);
    });
  }
  w.finally([&] { testing::check(x.load(rlx) == threads * rounds, "none is lost"); });
}

// Vyukov's queue of many producers and one consumer.
class mpsc {
public:
  struct node {
    atomic<node*> next{nullptr};
    plain<int> item{0};
  };
  void push(node* n) {
    n->next.store(nullptr, rlx);
    node* const before = back_.exchange(n, ar);
    before->next.store(n, rel);
  }
  bool try_pop() {
    node* const next = front_->next.load(acq);
    if (next != nullptr) front_ = next;
    return next != nullptr;
  }
  // Spins until there is one.
  int pop() {
    while (!try_pop()) testing::spin_hint();
    return front_->item;
  }

private:
  node stub_;
  node* front_ = &stub_;
  atomic<node*> back_{&stub_};
};

void queue(world& w, int producers, int items) {
  mpsc q;
  mpsc::node nodes[4][4];
  int last[4] = {-1, -1, -1, -1};
  for (int p = 0; p < producers; ++p) {
    w.thread([&, p] {
      for (int i = 0; i < items; ++i) {
        nodes[p][i].item = p * 10 + i;
        q.push(&nodes[p][i]);
      }
    });
  }
  w.thread([&] {
    for (int i = 0; i < producers * items; ++i) {
      const int got = q.pop();
      testing::check(last[got / 10] < got % 10, "each producer's items come in order");
      last[got / 10] = got % 10;
    }
  });
  w.finally([] {});
}

class treiber {
public:
  struct node {
    plain<node*> next{nullptr};
  };
  void push(node* n) {
    node* old = head_.load(rlx);
    do {
      n->next = old;
    } while (!head_.compare_exchange_strong(old, n, rel, rlx));
  }
  node* pop() {
    node* old = head_.load(acq);
    while (old != nullptr) {
      node* const next = old->next;
      if (head_.compare_exchange_strong(old, next, acq, acq)) return old;
    }
    return nullptr;
  }

private:
  atomic<node*> head_{nullptr};
};

void stack(world& w, int threads) {
  treiber s;
  treiber::node nodes[3];
  for (int t = 0; t < threads; ++t) {
    w.thread([&, t] {
      s.push(&nodes[t]);
      testing::check(s.pop() != nullptr, "there is one for each");
    });
  }
  w.finally([&] { testing::check(s.pop() == nullptr, "and no more"); });
}


// One attempt for each item: an empty queue is an answer.
void queue_of_attempts(world& w, int producers, int items) {
  mpsc q;
  mpsc::node nodes[2][2];
  for (int p = 0; p < producers; ++p) {
    w.thread([&, p] {
      for (int i = 0; i < items; ++i) q.push(&nodes[p][i]);
    });
  }
  w.thread([&] {
    for (int i = 0; i < producers * items; ++i) (void)q.try_pop();
  });
  w.finally([] {});
}

// One place in the code: a compiler that peels the first round off a loop would make two.
[[gnu::noinline]] bool try_lock(atomic<int>& lock) {
  int expected = 0;
  return lock.compare_exchange_strong(expected, 1, acq, rlx);
}

void spin_lock(world& w, int threads, int rounds) {
  atomic<int> lock{0};
  plain<int> inside{0};
  for (int t = 0; t < threads; ++t) {
    w.thread([&, rounds] {
      for (int i = 0; i < rounds; ++i) {
        while (!try_lock(lock)) testing::spin_hint();
        inside = inside + 1;
        lock.store(0, rel);
      }
    });
  }
  w.finally([&] { testing::check(inside == threads * rounds, "one at a time"); });
}

void ticket_lock(world& w, int threads) {
  atomic<int> next{0}, serving{0};
  plain<int> inside{0};
  for (int t = 0; t < threads; ++t) {
    w.thread([&] {
      const int mine = next.fetch_add(1, rlx);
      while (serving.load(acq) != mine) testing::spin_hint();
      inside = inside + 1;
      serving.store(mine + 1, rel);
    });
  }
  w.finally([&] { testing::check(inside == threads, "one at a time"); });
}

void barrier(world& w, int threads) {
  atomic<int> arrived{0};
  for (int t = 0; t < threads; ++t) {
    w.thread([&, threads] {
      arrived.fetch_add(1, ar);
      while (arrived.load(acq) != threads) testing::spin_hint();
    });
  }
  w.finally([] {});
}

void reference_count(world& w, int owners) {
  struct counted {
    plain<int> value{1};
    atomic<int> owners;
    explicit counted(int n) : owners(n) {}
  };
  auto* const object = new counted(owners);
  for (int t = 0; t < owners; ++t) {
    w.thread([object] {
      testing::check(object->value == 1, "alive");
      if (object->owners.fetch_sub(1, ar) == 1) delete object;
    });
  }
  w.finally([] {});
}

// Two updates of two words; the reader leaves at once if one is under way.
void seqlock(world& w) {
  atomic<int> version{0}, x{0}, y{0};
  w.thread([&] {
    for (int i = 1; i <= 2; ++i) {
      version.store(2 * i - 1, rlx);
      fence(rel);
      x.store(i, rlx);
      y.store(i, rlx);
      version.store(2 * i, rel);
    }
  });
  w.thread([&] {
    const int before = version.load(acq);
    if (before % 2 != 0) return;
    const int a = x.load(rlx);
    const int b = y.load(rlx);
    fence(acq);
    if (version.load(rlx) == before) testing::check(a == b && 2 * a == before, "one version");
  });
  w.finally([] {});
}

// A producer's stores, seen by a reader in the same order: non-decreasing sequences.
void history(world& w, int stores, int reads) {
  atomic<int> x{0};
  w.thread([&, stores] {
    for (int i = 1; i <= stores; ++i) x.store(i, rlx);
  });
  w.thread([&, reads] {
    for (int i = 0; i < reads; ++i) (void)x.load(rlx);
  });
  w.finally([] {});
}

struct native {
  const char* name;
  std::uint64_t executions;
  std::function<void(world&)> body;
};

const std::vector<native> genmc = {
    {"MPSC queue, 1 producer of 2, attempts", 4, [](world& w) { queue_of_attempts(w, 1, 2); }},
    {"MPSC queue, 2 producers of 1, attempts", 8, [](world& w) { queue_of_attempts(w, 2, 1); }},
    {"MPSC queue, 2 producers of 1", 2, [](world& w) { queue(w, 2, 1); }},
    {"MPSC queue, 2 producers of 2", 6, [](world& w) { queue(w, 2, 2); }},
    {"MPSC queue, 2 producers of 4", 70, [](world& w) { queue(w, 2, 4); }},
    {"MPSC queue, 3 producers of 2", 90, [](world& w) { queue(w, 3, 2); }},
    {"spin lock, 2 threads", 2, [](world& w) { spin_lock(w, 2, 1); }},
    {"spin lock, 3 threads", 6, [](world& w) { spin_lock(w, 3, 1); }},
    {"3 threads add 3 times", 1680, [](world& w) { add(w, 3, 3); }},
    {"3 threads add 4 times", 34650, [](world& w) { add(w, 3, 4); }},
    {"Treiber stack, 2 threads", 40, [](world& w) { stack(w, 2); }},
    {"Treiber stack, 3 threads", 25680, [](world& w) { stack(w, 3); }},
    {"seqlock", 39, &seqlock},
    {"reference count of 3", 6, [](world& w) { reference_count(w, 3); }},
};

const std::vector<native> formulas = {
    {"2 threads add once: 2!", 2, [](world& w) { add(w, 2, 1); }},
    {"2 threads add twice: 4! / 2!2!", 6, [](world& w) { add(w, 2, 2); }},
    {"2 threads add 3 times: 6! / 3!3!", 20, [](world& w) { add(w, 2, 3); }},
    {"2 threads add 4 times: 8! / 4!4!", 70, [](world& w) { add(w, 2, 4); }},
    {"2 threads add 6 times: 12! / 6!6!", 924, [](world& w) { add(w, 2, 6); }},
    {"3 threads add once: 3!", 6, [](world& w) { add(w, 3, 1); }},
    {"3 threads add twice: 6! / 2!2!2!", 90, [](world& w) { add(w, 3, 2); }},
    {"4 threads add once: 4!", 24, [](world& w) { add(w, 4, 1); }},
    {"4 threads add twice: 8! / 2!2!2!2!", 2520, [](world& w) { add(w, 4, 2); }},
    {"5 threads add once: 5!", 120, [](world& w) { add(w, 5, 1); }},
    {"6 threads add once: 6!", 720, [](world& w) { add(w, 6, 1); }},
    {"7 threads add once: 7!", 5040, [](world& w) { add(w, 7, 1); }},
    {"MPSC queue, 3 producers of 1: 3!", 6, [](world& w) { queue(w, 3, 1); }},
    {"MPSC queue, 4 producers of 1: 4!", 24, [](world& w) { queue(w, 4, 1); }},
    {"spin lock, 4 threads: 4!", 24, [](world& w) { spin_lock(w, 4, 1); }},
    {"spin lock, 2 threads twice: 4! / 2!2!", 6, [](world& w) { spin_lock(w, 2, 2); }},
    {"spin lock, 3 threads twice: 6! / 2!2!2!", 90, [](world& w) { spin_lock(w, 3, 2); }},
    {"ticket lock, 4 threads: 4!", 24, [](world& w) { ticket_lock(w, 4); }},
    {"barrier of 4: 4!", 24, [](world& w) { barrier(w, 4); }},
    {"reference count of 5: 5!", 120, [](world& w) { reference_count(w, 5); }},
    {"4 stores and 3 reads: 7! / 4!3!", 35, [](world& w) { history(w, 4, 3); }},
    {"3 stores and 7 reads: 10! / 3!7!", 120, [](world& w) { history(w, 3, 7); }},
    {"20 stores and a read: 21", 21, [](world& w) { history(w, 20, 1); }},
};

struct counted {
  const char* code;
  std::uint64_t executions;
};

// These are GenMC's as well, but for the axioms to count.
const std::vector<counted> genmc_litmus = {
    {"x.rlx=1; a=y.rlx | y.rlx=1; b=x.rlx", 4},
    {"x.sc=1; a=y.sc | y.sc=1; b=x.sc", 3},
    {"x.rlx=1; F.sc; a=y.rlx | y.rlx=1; F.sc; b=x.rlx", 3},
    {"x.rlx=1; y.rlx=2 | y.rlx=1; x.rlx=2", 4},
    {"x.rel=1 | y.rel=1 | a=x.acq; b=y.acq | c=y.acq; d=x.acq", 16},
    {"x.sc=1 | y.sc=1 | a=x.sc; b=y.sc | c=y.sc; d=x.sc", 15},
    {"x.rlx=1 | y.rlx=1 | a=x.rlx; F.sc; b=y.rlx | c=y.rlx; F.sc; d=x.rlx", 15},
    {"a=y.rlx; x.rlx=1 | b=x.rlx; y.rlx=1", 3},
    {"x.rlx=1; x.rlx=2 | a=x.rlx; b=x.rlx", 6},
    {"x.rlx=1; x.rlx=2; x.rlx=3; x.rlx=4; x.rlx=5 | a=x.rlx", 6},
    {"x.rel=1; a=y.acq/acq ? 5 : 6 | y.rel=1; b=x.acq/acq ? 5 : 6", 4},
    {"p=1; x.rel=1 | x.rlx ? 1 : 2 | a=x.acq; if a==2: b=p", 5},
    {"x.rel=1; a=y.sc | y.sc += 1; b=x.sc", 4},
    {"x.rel=1; F.sc; a=y.sc | y.sc += 1; b=x.sc", 3},
};

const std::vector<counted> axioms = {
    {"x.rlx=1 | x.rlx=2 | x.rlx=3", 6},
    {"x.rlx=1 | x.rlx=2 | x.rlx=3 | x.rlx=4", 24},
    {"x.rlx=1 | x.rlx=2 | x.rlx=3 | a=x.rlx", 24},
    {"x.rlx=1 | x.rlx=2 | a=x.rlx; b=x.rlx | c=x.rlx; d=x.rlx", 72},
    {"x.rlx=1; x.rlx=2 | x.rlx=3; x.rlx=4", 6},
    {"x.rlx=1; x.rlx=2 | x.rlx=3; x.rlx=4 | a=x.rlx", 30},
    {"x.rlx=1; x.rlx=2; x.rlx=3 | a=x.rlx; b=x.rlx; c=x.rlx", 20},
    {"x.rlx=1; a=x.rlx | x.rlx=2; b=x.rlx", 4},
    {"x.rlx=1; y.rlx=1; z.rlx=1 | a=z.rlx; b=y.rlx; c=x.rlx", 8},
    {"x.rlx=1; y.rel=1; z.rel=1 | a=z.acq; b=y.acq; c=x.rlx", 4},
    {"x.rlx=1; a=y.rlx | y.rlx=1; b=z.rlx | z.rlx=1; c=x.rlx", 8},
    {"x.sc=1; a=y.sc | y.sc=1; b=z.sc | z.sc=1; c=x.sc", 7},
    {"a=y.rlx; x.rlx=1 | b=z.rlx; y.rlx=1 | c=x.rlx; z.rlx=1", 7},
    {"x.rlx=1; y.rlx=2 | y.rlx=1; z.rlx=2 | z.rlx=1; x.rlx=2", 8},
    {"x.sc=1; y.sc=2 | y.sc=1; z.sc=2 | z.sc=1; x.sc=2", 7},
    {"x.rlx=1; F.sc; y.rlx=2 | y.rlx=1; F.sc; z.rlx=2 | z.rlx=1; F.sc; x.rlx=2", 7},
    {"x.sc=1; y.rel=1 | a=y.sc += 1; b=y.rlx | y.sc=3; c=x.sc", 24},
    {"x.rlx=1 | a=x.rlx; y.rel=1 | b=y.acq; c=x.rlx", 7},
    {"x.rlx=1; z.rel=1 | a=z.acq; F.sc; b=y.rlx | y.rlx=1; F.sc; c=x.rlx", 7},
    {"a=x.rlx += 1; b=y.rlx += 1 | c=x.rlx += 1; d=y.rlx += 1", 4},
    {"a=x.rlx += 1; b=y.rlx += 1 | c=y.rlx += 1; d=x.rlx += 1", 3},
    {"a=x.ar += 1; b=y.ar += 1 | c=y.ar += 1; d=x.ar += 1", 3},
    {"a=x.rlx := 1; b=x.rlx := 2 | c=x.rlx := 3; d=x.rlx := 4", 6},
    {"a=x.rlx += 1 | b=x.rlx += 1 | c=x.rlx", 6},
    {"a=x.rlx += 1 | x.rlx=5 | c=x.rlx", 6},
    {"a=x.rlx ? 0 : 1 | b=x.rlx ? 0 : 2 | c=x.rlx ? 0 : 3", 3},
    {"a=x.rlx ? 0 : 1 | b=x.rlx ? 1 : 2 | c=x.rlx ? 2 : 3", 5},
    {"a=x.rlx ? 0 : 1; if a!=0: b=x.rlx ? a : a+1 | "
     "c=x.rlx ? 0 : 1; if c!=0: d=x.rlx ? c : c+1", 2},
    {"a=x.rlx ? 0 : 1; if a!=0: b=x.rlx ? a : 3 | x.rlx=2 | c=x.rlx", 6},
    {"a=choose 3 | b=choose 2", 6},
    {"a=choose 2; if a==0: x.rlx=1; if a==1: x.rlx=2 | b=x.rlx", 4},
    {"a=choose 2; x.rlx=a | b=choose 2; x.rlx=b | c=x.rlx", 24},
    {"a=x.rlx; if a==0: y.rlx=1; if a==1: z.rlx=1 | x.rlx=1; b=y.rlx; c=z.rlx", 4},
    {"x.rlx=1; y.rel=1 | wait y.acq == 1; a=x.rlx", 1},
    {"x.rlx=1; y.rlx=1 | wait y.rlx == 1; a=x.rlx", 2},
    {"x.rel=1; wait y.acq == 1; a=z.rlx | wait x.acq == 1; z.rlx=1; y.rel=1", 1},
    {"x.ar += 1; wait x.acq == 2 | x.ar += 1; wait x.acq == 2", 2},
    {"x.ar += 1; wait x.acq == 3 | x.ar += 1; wait x.acq == 3 | x.ar += 1; wait x.acq == 3", 6},
    {"a=x.rlx += 1; wait y.acq == a; b=z.rlx; z.rlx=b+1; y.rel=a+1 | "
     "c=x.rlx += 1; wait y.acq == c; d=z.rlx; z.rlx=d+1; y.rel=c+1", 2},
    {"a=x.rlx += 1; wait y.acq == a; b=z.rlx; z.rlx=b+1; y.rel=a+1 | "
     "c=x.rlx += 1; wait y.acq == c; d=z.rlx; z.rlx=d+1; y.rel=c+1 | e=x.rlx += 1; "
     "wait y.acq == e; f=z.rlx; z.rlx=f+1; y.rel=e+1", 6},
    {"x.sc=1; z.sc=2; a=y.sc; b=z.sc | y.sc=1; z.sc=1; c=x.sc; d=z.sc", 8},
    {"x.sc=1; a=y.sc; if a==0: p=1; if a==0: z.rlx=1 | "
     "y.sc=1; b=x.sc; if b==0: p=2; if b==0: z.rlx=2", 3},
    {"p=1; x.rel=1 | a=x.acq; if a==1: b=p | c=x.acq; if c==1: d=p", 4},
    {"x.rlx=1; F.rel; y.rlx=1; z.rlx=1 | a=z.rlx; b=y.rlx; F.acq; c=x.rlx", 5},
    {"x.rlx=1; F.sc; F.sc; a=y.rlx | y.rlx=1; F.sc; F.sc; b=x.rlx", 3},
};

void check_all(const std::vector<native>& programs) {
  for (const native& one : programs) {
    INFO(one.name);
    CHECK(proved(one.body).executions == one.executions);
  }
}

void check_all(const std::vector<counted>& programs) {
  for (const counted& one : programs) {
    litmus::reader source(one.code);
    INFO(one.code);
    const testing::report report = litmus::explored<int>(source.code, {});
    CHECK(report.proved());
    CHECK(report.executions == one.executions);
    CHECK(report.distinct == one.executions);
    CHECK(oracle::enumeration(source.code).executions == one.executions);
  }
}

}  // namespace

TEST_CASE("counts: structures, as GenMC") { check_all(genmc); }
TEST_CASE("counts: litmus tests, as GenMC and the axioms") { check_all(genmc_litmus); }
TEST_CASE("counts: programs, as the axioms") { check_all(axioms); }
TEST_CASE("counts: closed forms") { check_all(formulas); }

TEST_CASE("counts: more than sixty programs") {
  const std::size_t count =
      genmc.size() + genmc_litmus.size() + axioms.size() + formulas.size();
  std::printf("programs counted: %zu\n", count);
  CHECK(count >= 60);
}
