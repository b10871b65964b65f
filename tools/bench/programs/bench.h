/* What the benchmark's programs share. Each takes a number of rounds and returns a checksum that says whether it did its work. */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

struct program {
  const char *group;
  const char *name;
  /* Rounds at full length; a tenth of them must be at least one. */
  long rounds;
  uint64_t (*run)(long rounds);
  /* What is to be done before, without the clock. */
  void (*prepare)(long rounds);
};

extern const struct program integer_programs[], float_programs[], x87_programs[], memory_programs[], kernel_programs[], tool_programs[];

/* A generator of numbers that is the same everywhere (xorshift64*). */
struct random {
  uint64_t state;
};
static inline uint64_t next_random(struct random *r) {
  r->state ^= r->state >> 12;
  r->state ^= r->state << 25;
  r->state ^= r->state >> 27;
  return r->state * 0x2545f4914f6cdd1dull;
}

static inline uint64_t mix(uint64_t sum, uint64_t value) {
  sum ^= value + 0x9e3779b97f4a7c15ull + (sum << 6) + (sum >> 2);
  return sum;
}

/* Memory that lives as long as the process; ends the process where there is none. */
void *buffer(size_t size);
void fail(const char *what) __attribute__((noreturn));
/* The path of this program. */
extern const char *own_path;

#endif
