/* Integer programs: what compilers make of ordinary code. */
#include <stdlib.h>
#include <string.h>
#include "bench.h"

static uint64_t crc(long rounds) {
  enum { SIZE = 65536 };
  static uint8_t data[SIZE];
  static uint32_t table[256];
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
    table[i] = c;
  }
  for (int i = 0; i < SIZE; i++) data[i] = (uint8_t)(i * 31 + (i >> 8));
  uint32_t c = ~0u;
  for (long r = 0; r < rounds; r++)
    for (int i = 0; i < SIZE; i++) c = table[(c ^ data[i]) & 0xff] ^ (c >> 8);
  return ~c;
}

static void quicksort(uint32_t *a, long n) {
  while (n > 16) {
    uint32_t x = a[0], y = a[n / 2], z = a[n - 1];
    uint32_t pivot = x < y ? (y < z ? y : x < z ? z : x) : (x < z ? x : y < z ? z : y);
    long i = 0, j = n - 1;
    for (;;) {
      while (a[i] < pivot) i++;
      while (a[j] > pivot) j--;
      if (i >= j) break;
      uint32_t t = a[i];
      a[i++] = a[j];
      a[j--] = t;
    }
    quicksort(a, i);
    a += i;
    n -= i;
  }
  for (long i = 1; i < n; i++) {
    uint32_t v = a[i];
    long j = i;
    for (; j > 0 && a[j - 1] > v; j--) a[j] = a[j - 1];
    a[j] = v;
  }
}
static uint64_t sort(long rounds) {
  enum { N = 20000 };
  static uint32_t a[N];
  struct random r = {12345};
  uint64_t sum = 0;
  for (long k = 0; k < rounds; k++) {
    for (int i = 0; i < N; i++) a[i] = (uint32_t)next_random(&r);
    quicksort(a, N);
    for (int i = 1; i < N; i++)
      if (a[i - 1] > a[i]) fail("sort");
    sum = mix(sum, a[N / 3]);
  }
  return sum;
}

static int compare_words(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }
static uint64_t qsort_strings(long rounds) {
  enum { N = 4000 };
  static char text[N][16];
  static char *words[N];
  struct random r = {99};
  uint64_t sum = 0;
  for (long k = 0; k < rounds; k++) {
    for (int i = 0; i < N; i++) {
      uint64_t v = next_random(&r);
      int n = 3 + (int)(v & 7);
      for (int j = 0; j < n; j++) text[i][j] = (char)('a' + ((v >> (8 + 5 * j)) & 15));
      text[i][n] = 0;
      words[i] = text[i];
    }
    qsort(words, N, sizeof(*words), compare_words);
    for (int i = 0; i < N; i += 97) sum = mix(sum, (uint64_t)words[i][0] << 8 | (uint8_t)words[i][1]);
  }
  return sum;
}

static uint64_t hash(long rounds) {
  enum { SLOTS = 1 << 15, KEYS = SLOTS * 2 / 3 };
  static uint64_t keys[SLOTS], values[SLOTS];
  uint64_t sum = 0;
  for (long k = 0; k < rounds; k++) {
    memset(keys, 0, sizeof(keys));
    struct random r = {7 + (uint64_t)k};
    for (int i = 0; i < KEYS; i++) {
      uint64_t key = next_random(&r) | 1, h = key * 0x9e3779b97f4a7c15ull >> 49;
      while (keys[h] && keys[h] != key) h = (h + 1) & (SLOTS - 1);
      keys[h] = key;
      values[h] = (uint64_t)i;
    }
    r.state = 7 + (uint64_t)k;
    for (int i = 0; i < KEYS; i++) {
      uint64_t key = next_random(&r) | 1, h = key * 0x9e3779b97f4a7c15ull >> 49;
      while (keys[h] && keys[h] != key) h = (h + 1) & (SLOTS - 1);
      sum += keys[h] ? values[h] : 1;
    }
  }
  return sum;
}

/* LZ77 with hash chains of one, and back. */
static size_t compress(const uint8_t *in, size_t n, uint8_t *out) {
  static int32_t last[4096];
  memset(last, -1, sizeof(last));
  size_t o = 0, literal = SIZE_MAX, i = 0;
  while (i < n) {
    size_t length = 0, distance = 0;
    if (i + 4 <= n) {
      uint32_t v;
      memcpy(&v, in + i, 4);
      uint32_t h = v * 2654435761u >> 20;
      int32_t p = last[h];
      last[h] = (int32_t)i;
      if (p >= 0 && i - (size_t)p < 65536) {
        while (i + length < n && length < 255 && in[(size_t)p + length] == in[i + length]) length++;
        distance = i - (size_t)p;
      }
    }
    if (length < 4) {
      if (literal == SIZE_MAX || out[literal] == 127) {
        literal = o++;
        out[literal] = 0;
      }
      out[literal]++;
      out[o++] = in[i++];
    } else {
      out[o++] = 128;
      out[o++] = (uint8_t)length;
      out[o++] = (uint8_t)distance;
      out[o++] = (uint8_t)(distance >> 8);
      i += length;
      literal = SIZE_MAX;
    }
  }
  return o;
}
static size_t expand(const uint8_t *in, size_t n, uint8_t *out) {
  size_t i = 0, o = 0;
  while (i < n) {
    if (in[i] < 128) {
      size_t count = in[i++];
      while (count--) out[o++] = in[i++];
    } else {
      size_t count = in[i + 1], distance = in[i + 2] | in[i + 3] << 8;
      i += 4;
      while (count--) {
        out[o] = out[o - distance];
        o++;
      }
    }
  }
  return o;
}
static void fill_text(uint8_t *text, size_t n) {
  static const char *const words[] = {"partition ", "of ", "the ", "memory ", "is ", "a ", "processor ", "that ", "runs ", "in ", "its ", "own ", "time, ", "and ", "no ", "other.\n"};
  struct random r = {2024};
  size_t i = 0;
  while (i < n) {
    const char *w = words[next_random(&r) >> 60];
    while (*w && i < n) text[i++] = (uint8_t)*w++;
  }
}
static uint64_t compression(long rounds) {
  enum { N = 65536 };
  static uint8_t text[N], packed[2 * N], back[N];
  fill_text(text, N);
  uint64_t sum = 0;
  for (long k = 0; k < rounds; k++) {
    text[k % N] ^= 1;
    size_t n = compress(text, N, packed);
    if (expand(packed, n, back) != N || memcmp(text, back, N)) fail("compression");
    sum = mix(sum, n);
  }
  return sum;
}

/* Boyer-Moore-Horspool, and a naive search that stops early. */
static uint64_t search(long rounds) {
  enum { N = 1 << 17 };
  static uint8_t text[N];
  static const char *const needles[] = {"processor that is", "time, and no", "zebra", "own own own", "memory"};
  fill_text(text, N);
  uint64_t sum = 0;
  for (long k = 0; k < rounds; k++) {
    for (size_t w = 0; w < sizeof(needles) / sizeof(*needles); w++) {
      const char *needle = needles[w];
      size_t m = strlen(needle), skip[256], found = 0;
      for (int i = 0; i < 256; i++) skip[i] = m;
      for (size_t i = 0; i + 1 < m; i++) skip[(uint8_t)needle[i]] = m - 1 - i;
      for (size_t at = 0; at + m <= N;) {
        size_t i = m;
        while (i > 0 && text[at + i - 1] == (uint8_t)needle[i - 1]) i--;
        found += i == 0;
        at += skip[text[at + m - 1]];
      }
      size_t naive = 0;
      for (size_t at = 0; at + m <= N; at++) {
        size_t i = 0;
        while (i < m && text[at + i] == (uint8_t)needle[i]) i++;
        naive += i == m;
      }
      if (naive != found) fail("search");
      sum = mix(sum, found);
    }
  }
  return sum;
}

static uint64_t sieve(long rounds) {
  enum { N = 200000 };
  static uint8_t composite[N];
  uint64_t primes = 0;
  for (long k = 0; k < rounds; k++) {
    memset(composite, 0, N);
    for (long i = 2; i < N; i++) {
      if (composite[i]) continue;
      primes++;
      for (long j = i <= N / i ? i * i : N; j < N; j += i) composite[j] = 1;
    }
  }
  return primes;
}

static uint64_t matrix(long rounds) {
  enum { N = 96 };
  static int32_t a[N][N], b[N][N], c[N][N];
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      a[i][j] = i * 7 - j * 3;
      b[i][j] = i ^ j;
    }
  for (long r = 0; r < rounds; r++) {
    for (int i = 0; i < N; i++)
      for (int j = 0; j < N; j++) {
        int32_t sum = 0;
        for (int k = 0; k < N; k++) sum += a[i][k] * b[k][j];
        c[i][j] = sum;
      }
    a[r % N][r % 31] += c[1][1] & 15;
  }
  uint64_t sum = 0;
  for (int i = 0; i < N; i++) sum = mix(sum, (uint32_t)c[i][N - 1 - i]);
  return sum;
}

static uint64_t chase(long rounds) {
  enum { N = 1 << 16 };
  struct node {
    struct node *next;
    uint64_t value[3];
  };
  struct node *nodes = buffer(N * sizeof(*nodes));
  static uint32_t order[N];
  for (uint32_t i = 0; i < N; i++) order[i] = i;
  struct random r = {4};
  for (uint32_t i = N - 1; i > 0; i--) {
    uint32_t j = (uint32_t)(next_random(&r) % (i + 1)), t = order[i];
    order[i] = order[j];
    order[j] = t;
  }
  for (uint32_t i = 0; i < N; i++) {
    nodes[order[i]].next = &nodes[order[(i + 1) % N]];
    nodes[order[i]].value[1] = i * 3;
  }
  uint64_t sum = 0;
  struct node *p = nodes;
  for (long k = 0; k < rounds * N; k++) {
    sum += p->value[1];
    p = p->next;
  }
  return sum;
}

/* A recursive-descent calculator over text. */
struct parser {
  const char *at;
};
static int64_t expression(struct parser *p);
static int64_t factor(struct parser *p) {
  while (*p->at == ' ') p->at++;
  switch (*p->at) {
    case '(': {
      p->at++;
      int64_t v = expression(p);
      if (*p->at == ')') p->at++;
      return v;
    }
    case '-':
      p->at++;
      return -factor(p);
    case '!':
      p->at++;
      return !factor(p);
    default: {
      int64_t v = 0;
      while (*p->at >= '0' && *p->at <= '9') v = v * 10 + (*p->at++ - '0');
      while (*p->at == ' ') p->at++;
      return v;
    }
  }
}
static int64_t term(struct parser *p) {
  int64_t v = factor(p);
  for (;;) {
    char c = *p->at;
    if (c != '*' && c != '/' && c != '%') return v;
    p->at++;
    int64_t w = factor(p);
    if (c == '*') v = (int64_t)((uint64_t)v * (uint64_t)w);
    else if (w != 0 && !(w == -1)) v = c == '/' ? v / w : v % w;
  }
}
static int64_t expression(struct parser *p) {
  int64_t v = term(p);
  for (;;) {
    while (*p->at == ' ') p->at++;
    char c = *p->at;
    if (c == '+') {
      p->at++;
      v += term(p);
    } else if (c == '-') {
      p->at++;
      v -= term(p);
    } else if (c == '<') {
      p->at++;
      v = v < term(p);
    } else
      return v;
  }
}
static uint64_t parse(long rounds) {
  static char text[400];
  uint64_t sum = 0;
  struct random r = {31};
  for (long k = 0; k < rounds; k++) {
    char *t = text;
    int depth = 0;
    for (int i = 0; i < 40; i++) {
      uint64_t v = next_random(&r);
      if ((v & 7) == 0 && depth < 8) {
        *t++ = '(';
        depth++;
      }
      if ((v & 0x70) == 0) *t++ = '-';
      for (uint64_t d = (v >> 8) % 4 + 1, w = v >> 16; d > 0; d--, w >>= 4) *t++ = (char)('0' + (w & 15) % 10);
      if ((v & 0x3000000) == 0 && depth > 0) {
        *t++ = ')';
        depth--;
      }
      *t++ = "+-*/%<+ "[v >> 61];
      if (t[-1] == ' ') *t++ = '+';
    }
    *t++ = '1';
    while (depth-- > 0) *t++ = ')';
    *t = 0;
    struct parser p = {text};
    sum = mix(sum, (uint64_t)expression(&p));
  }
  return sum;
}

#define ROTATE(x, n) ((x) >> (n) | (x) << (32 - (n)))
static void sha256_block(uint32_t h[8], const uint32_t in[16]) {
  static const uint32_t k[64] = {
      0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74,
      0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d,
      0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e,
      0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5,
      0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
  uint32_t w[64];
  memcpy(w, in, 64);
  for (int i = 16; i < 64; i++) {
    uint32_t s0 = ROTATE(w[i - 15], 7) ^ ROTATE(w[i - 15], 18) ^ w[i - 15] >> 3;
    uint32_t s1 = ROTATE(w[i - 2], 17) ^ ROTATE(w[i - 2], 19) ^ w[i - 2] >> 10;
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  uint32_t s[8];
  memcpy(s, h, 32);
  for (int i = 0; i < 64; i++) {
    uint32_t t1 = s[7] + (ROTATE(s[4], 6) ^ ROTATE(s[4], 11) ^ ROTATE(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
    uint32_t t2 = (ROTATE(s[0], 2) ^ ROTATE(s[0], 13) ^ ROTATE(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
    memmove(s + 1, s, 28);
    s[4] += t1;
    s[0] = t1 + t2;
  }
  for (int i = 0; i < 8; i++) h[i] += s[i];
}
static uint64_t sha256(long rounds) {
  uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}, block[16];
  for (int i = 0; i < 16; i++) block[i] = (uint32_t)i * 0x01010101;
  for (long r = 0; r < rounds; r++) {
    block[r & 15] ^= h[0];
    sha256_block(h, block);
  }
  return (uint64_t)h[0] << 32 | h[7];
}

/* Modular powers: 64 by 64 multiplication, 128 by 64 division. */
static uint64_t wide(long rounds) {
  uint64_t sum = 1;
  for (long r = 0; r < rounds; r++) {
    uint64_t m = 0xffffffffffffffc5ull - (uint64_t)(r % 1000) * 2, base = sum | 3, e = 0xfedcba9876543211ull, v = 1;
    for (; e; e >>= 1) {
#ifdef __SIZEOF_INT128__
      uint64_t hi, lo;
#define MULTIPLY(x, y)                                                                                                                     \
  __asm__("mulq %3" : "=d"(hi), "=a"(lo) : "a"(x), "rm"(y) : "cc");                                                                         \
  hi %= m;                                                                                                                                 \
  __asm__("divq %4" : "=d"(hi), "=a"(lo) : "d"(hi), "a"(lo), "r"(m) : "cc")
      if (e & 1) {
        MULTIPLY(v, base);
        v = hi;
      }
      MULTIPLY(base, base);
      base = hi;
#else
      v = (v * base) % (m | 1);
      base = base * base % (m | 1);
#endif
    }
    sum = mix(sum, v);
  }
  return sum;
}

static __attribute__((noinline)) uint32_t fibonacci(uint32_t n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
static uint64_t calls(long rounds) {
  uint64_t sum = 0;
  volatile uint32_t n = 20;
  for (long r = 0; r < rounds; r++) sum += fibonacci(n + (uint32_t)(r & 1));
  return sum;
}

/* A machine of bytecodes: an indirect jump each. */
static uint64_t bytecode(long rounds) {
  enum { PUSH, ADD, XOR, DUP, SWAP, SHIFT, DROP, LOOP, STORE, LOAD, END };
  static uint8_t code[256];
  struct random r = {17};
  int n = 0, depth = 0;
  while (n < 240) {
    int op = (int)(next_random(&r) >> 33) % LOOP;
    if ((op == ADD || op == XOR || op == SWAP) && depth < 2) op = PUSH;
    if ((op == DUP || op == SHIFT || op == DROP) && depth < 1) op = PUSH;
    if (depth > 12) op = DROP;
    depth += op == PUSH || op == DUP ? 1 : op == ADD || op == XOR || op == DROP ? -1 : 0;
    code[n++] = (uint8_t)op;
  }
  code[n++] = STORE;
  code[n++] = LOOP;
  code[n] = END;
  uint64_t stack[32] = {1, 2}, memory = 0;
  long count = rounds;
  int pc = 0, sp = 2;
  for (;;) switch (code[pc++]) {
      case PUSH: stack[sp++] = (uint64_t)pc * 77; break;
      case ADD: sp--; stack[sp - 1] += stack[sp]; break;
      case XOR: sp--; stack[sp - 1] ^= stack[sp]; break;
      case DUP: stack[sp] = stack[sp - 1]; sp++; break;
      case SWAP: {
        uint64_t t = stack[sp - 1];
        stack[sp - 1] = stack[sp - 2];
        stack[sp - 2] = t;
        break;
      }
      case SHIFT: stack[sp - 1] = stack[sp - 1] << 5 | stack[sp - 1] >> 59; break;
      case DROP: sp--; break;
      case STORE: memory = mix(memory, stack[sp - 1]); break;
      case LOAD: stack[sp++] = memory; break;
      case LOOP:
        if (--count > 0) pc = 0, sp = 2, stack[0] = memory, stack[1] = memory >> 7;
        break;
      default: return memory;
    }
}

const struct program integer_programs[] = {
    {"integer", "crc", 2100, crc},         {"integer", "sort", 300, sort},     {"integer", "qsort-strings", 180, qsort_strings},
    {"integer", "hash", 420, hash},        {"integer", "compression", 240, compression}, {"integer", "search", 180, search},
    {"integer", "sieve", 720, sieve},      {"integer", "matrix", 900, matrix}, {"integer", "chase", 180, chase},
    {"integer", "parse", 150000, parse},    {"integer", "sha256", 240000, sha256}, {"integer", "wide", 600000, wide},
    {"integer", "calls", 12000, calls},     {"integer", "bytecode", 450000, bytecode}, {0},
};
