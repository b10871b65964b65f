/* Memory and strings: string instructions, the C library's functions, and loops that a compiler makes. */
#include <string.h>
#include "bench.h"

/* The string instructions of a register's size. */
#ifdef __x86_64__
#define MOVS "rep movsq"
#define STOS "rep stosq"
#else
#define MOVS "rep movsl"
#define STOS "rep stosl"
#endif
typedef unsigned long word;

static uint64_t check(const uint8_t *p, size_t n) {
  uint64_t sum = 0;
  for (size_t i = 0; i < n; i += 61) sum = mix(sum, p[i]);
  return sum;
}

static uint64_t rep_movs(long rounds) {
  enum { N = 1 << 20 };
  uint8_t *a = buffer(N + 64), *b = buffer(N + 64);
  for (int i = 0; i < N; i++) a[i] = (uint8_t)(i * 3 + (i >> 10));
  for (long r = 0; r < rounds; r++) {
    void *to = b + (r & 15), *from = a;
    size_t n = N;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
    to = a + 8, from = b + 8, n = N / sizeof(word) - 1;
    __asm__ volatile(MOVS : "+D"(to), "+S"(from), "+c"(n)::"memory");
  }
  return check(b, N);
}

static uint64_t rep_stos(long rounds) {
  enum { N = 1 << 20 };
  uint8_t *a = buffer(N + 64);
  for (long r = 0; r < rounds; r++) {
    void *to = a + (r & 7);
    size_t n = N;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"((uint8_t)r) : "memory");
    to = a, n = N / 2 / sizeof(word);
    __asm__ volatile(STOS : "+D"(to), "+c"(n) : "a"((word)r * (word)0x0101010101010101ull) : "memory");
  }
  return check(a, N);
}

static uint64_t rep_short(long rounds) {
  static uint8_t a[4096], b[4096];
  for (int i = 0; i < 4096; i++) a[i] = (uint8_t)i;
  for (long r = 0; r < rounds; r++) {
    void *to = b + (r * 37 & 2047), *from = a + (r * 11 & 1023);
    size_t n = 1 + (size_t)(r & 63);
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
    to = b + (r * 13 & 2047), n = 1 + (size_t)(r & 7);
    __asm__ volatile(STOS : "+D"(to), "+c"(n) : "a"(r) : "memory");
  }
  return check(b, 4096);
}

static uint64_t library_copy(long rounds) {
  static const size_t sizes[] = {7, 24, 64, 200, 1000, 4096, 65536, 300000};
  uint8_t *a = buffer(1 << 19), *b = buffer(1 << 19);
  for (int i = 0; i < 1 << 19; i++) a[i] = (uint8_t)(i ^ i >> 9);
  for (long r = 0; r < rounds; r++)
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
      size_t n = sizes[s];
      for (int k = 0; k < (n < 5000 ? 20 : 1); k++) memcpy(b + (k * 67 + r) % 4000, a + (k * 131 + r * 3) % 4000, n);
      memmove(b + 5, b, n);
    }
  return check(b, 1 << 19);
}

static uint64_t library_set(long rounds) {
  static const size_t sizes[] = {5, 32, 100, 1000, 4096, 100000, 300000};
  uint8_t *b = buffer(1 << 19);
  for (long r = 0; r < rounds; r++)
    for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++)
      for (int k = 0; k < (sizes[s] < 5000 ? 20 : 1); k++) memset(b + (k * 67 + r * 5) % 4000, (int)(r + k), sizes[s]);
  return check(b, 1 << 19);
}

static uint64_t library_strings(long rounds) {
  enum { N = 20000 };
  char *a = buffer(N + 1), *b = buffer(N + 1);
  for (int i = 0; i < N; i++) a[i] = b[i] = (char)('a' + i % 23);
  uint64_t sum = 0;
  for (long r = 0; r < rounds; r++) {
    size_t at = (size_t)(r * 31 % 1000);
    sum += strlen(a + at);
    a[N - 1 - at] = 'z';
    sum += (uint64_t)(strchr(a, 'z') - a);
    sum += (uint64_t)(memcmp(a, b, N) > 0);
    sum += (uint64_t)((char *)memchr(b + at, 'w', N - at) - b);
    sum += (uint64_t)(strcmp(a + at, b + at) > 0);
    a[N - 1 - at] = b[N - 1 - at];
  }
  return sum;
}

/* Loops over bytes and words that nobody made vectors of. */
static uint64_t plain_loops(long rounds) {
  enum { N = 32768 };
  static uint8_t a[N], b[N];
  uint64_t sum = 0;
  for (int i = 0; i < N; i++) a[i] = (uint8_t)(i * 5);
  for (long r = 0; r < rounds; r++) {
    for (int i = 0; i < N; i++) {
      b[i] = (uint8_t)(a[N - 1 - i] + 1);
      __asm__ volatile("" ::: "memory");
    }
    for (int i = 0; i < N; i += 8) {
      *(volatile uint64_t *)(a + i) = *(volatile uint64_t *)(b + i) ^ 0x55;
    }
    sum = mix(sum, a[r % N]);
  }
  return sum;
}

/* Each access crosses a page or lies askew. */
static uint64_t askew(long rounds) {
  enum { PAGES = 64 };
  uint8_t *p = buffer((PAGES + 1) * 4096);
  uint64_t sum = 0;
  for (long r = 0; r < rounds; r++)
    for (int i = 1; i <= PAGES; i++) {
      volatile uint64_t *crossing = (volatile uint64_t *)(p + i * 4096 - 3);
      *crossing += (uint64_t)r + (uint64_t)i;
      volatile uint32_t *odd = (volatile uint32_t *)(p + i * 4096 - 1027);
      *odd ^= (uint32_t)*crossing;
      sum += *odd;
    }
  return sum;
}

const struct program memory_programs[] = {
    {"memory", "rep-movs", 60, rep_movs},          {"memory", "rep-stos", 900, rep_stos},         {"memory", "rep-short", 3000000, rep_short},
    {"memory", "library-copy", 2400, library_copy},  {"memory", "library-set", 4800, library_set},  {"memory", "library-strings", 30000, library_strings},
    {"memory", "plain-loops", 3000, plain_loops},   {"memory", "askew", 45000, askew},             {0},
};
