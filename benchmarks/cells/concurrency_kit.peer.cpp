// SPDX-License-Identifier: BSL-1.0
// Concurrency Kit's sequence lock: one writer at a time, so its spin lock is part of an update. The
// bytes are copied without protection, as its own examples do: a data race by the language's rules.

#include <ck_sequence.h>
#include <spinlock/fas.h>

#include "cells/jobs.hpp"

namespace cells {
namespace {

template <class T>
struct sequence {
  ck_sequence_t mark CK_SEQUENCE_INITIALIZER;
  ck_spinlock_fas_t lock CK_SPINLOCK_FAS_INITIALIZER;
  T value{};
  void read() {
    T copy;
    unsigned version = 0;
    do {
      version = ck_sequence_read_begin(&mark);
      copy = value;
    } while (ck_sequence_read_retry(&mark, version));
    use(copy);
  }
  void write(unsigned) {
    ck_spinlock_fas_lock(&lock);
    ck_sequence_write_begin(&mark);
    change(value);
    ck_sequence_write_end(&mark);
    ck_spinlock_fas_unlock(&lock);
  }
};

const bench::contenders here([] {
  add<sequence, block<8>>("Concurrency Kit ck_sequence");
  add<sequence, block<64>>("Concurrency Kit ck_sequence");
  add<sequence, block<256>>("Concurrency Kit ck_sequence");
});

}  // namespace
}  // namespace cells
