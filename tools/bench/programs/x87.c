/* The x87: long double has its 80 bits. */
#include <string.h>
#include "bench.h"

static uint64_t bits(long double v) {
  struct {
    uint64_t significand;
    uint16_t high;
  } parts = {0, 0};
  memcpy(&parts, &v, 10);
  return mix(parts.significand, parts.high);
}

static uint64_t series(long rounds) {
  long double sum = 0;
  for (long r = 1; r <= rounds; r++) {
    long double x = (long double)(r % 100) / 50, term = x, total = x;
    for (int n = 1; n < 12; n++) {
      term *= -x * x / ((2 * n) * (2 * n + 1));
      total += term;
    }
    sum += total;
  }
  return bits(sum);
}

static uint64_t horner(long rounds) {
  static const double c[] = {1.5, -2.25, 0.125, 3.75, -0.5, 0.0625, -1.125, 2.0};
  long double y = 0.3L;
  for (long r = 0; r < rounds; r++) {
    long double v = 0;
    for (int i = 0; i < 8; i++) v = v * y + c[i];
    y = v * 0.03L;
    if (y > 1 || y < -1) y = 0.25L / y;
  }
  return bits(y);
}

static uint64_t functions(long rounds) {
  long double sum = 0;
  for (long r = 1; r <= rounds; r++) {
    long double x = (long double)(r % 1000) * 0.001L, s, c, root, l;
    __asm__("fsincos" : "=t"(c), "=u"(s) : "0"(x));
    __asm__("fsqrt" : "=t"(root) : "0"(x));
    __asm__("fyl2x" : "=t"(l) : "0"(x + 1), "u"(1.0L) : "st(1)");
    sum += s * c + root - l;
  }
  /* The last places of transcendental functions are the processor's own. */
  return (uint64_t)(int64_t)(sum * 1000 + 0.5L);
}

static uint64_t mandelbrot(long rounds) {
  uint64_t sum = 0;
  for (long r = 0; r < rounds; r++)
    for (int x = 0; x < 40; x++) {
      long double cr = -2.0L + x * 0.075L, ci = -1.2L + (long double)(r % 40) * 0.06L, zr = 0, zi = 0;
      int n = 0;
      while (n < 100 && zr * zr + zi * zi < 4.0L) {
        long double t = zr * zr - zi * zi + cr;
        zi = 2 * zr * zi + ci;
        zr = t;
        n++;
      }
      sum += (uint64_t)n;
    }
  return sum;
}

static uint64_t integers(long rounds) {
  int64_t n = 1;
  for (long r = 0; r < rounds; r++) {
    long double v = (long double)n * 1.0000001L + (long double)(int16_t)r;
    n = (int64_t)v;
    if (n > 0x3fffffffffffffll) n >>= 20;
  }
  return (uint64_t)n;
}

const struct program x87_programs[] = {
    {"x87", "x87-series", 1500000, series}, {"x87", "x87-horner", 900000, horner},         {"x87", "x87-functions", 1200000, functions},
    {"x87", "x87-mandelbrot", 9000, mandelbrot}, {"x87", "x87-integers", 6000000, integers}, {0},
};
