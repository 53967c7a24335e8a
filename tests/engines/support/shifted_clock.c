/* SPDX-License-Identifier: BSL-1.0
 * Loaded into a server by LD_PRELOAD, shifts the date that it sees. The file that
 * INTERLOCK_CLOCK_SHIFT names holds the shift, 8 bytes of nanoseconds, mapped into memory: a test
 * writes another and it counts at once. The clocks that run since boot stay as they are.
 * System calls only: an allocation, or dlsym, would call back into allocators that ask for the
 * time, which do not exist yet when the first of them asks. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t second = 1000000000;
static int64_t none;
static int64_t* shift = &none;

__attribute__((constructor)) static void begin(void) {
  const char* path = getenv("INTERLOCK_CLOCK_SHIFT");
  const int file = path == NULL ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  void* mapped = mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, file, 0);
  if (mapped != MAP_FAILED) shift = mapped;
  syscall(SYS_close, file);
}

int clock_gettime(clockid_t clock, struct timespec* to) {
  const long result = syscall(SYS_clock_gettime, clock, to);
  if (result != 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return (int)result;
  const int64_t time = to->tv_sec * second + to->tv_nsec + __atomic_load_n(shift, __ATOMIC_RELAXED);
  to->tv_sec = time / second;
  to->tv_nsec = time % second;
  return 0;
}

int gettimeofday(struct timeval* restrict to, void* restrict zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  to->tv_sec = now.tv_sec;
  to->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* to) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (to != NULL) *to = now.tv_sec;
  return now.tv_sec;
}
