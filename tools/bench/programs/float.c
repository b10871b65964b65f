/* Floating point and SIMD, as SSE2 has them. */
#include <emmintrin.h>
#include <math.h>
#include <string.h>
#include "bench.h"

static uint64_t bits(double v) {
  uint64_t b;
  memcpy(&b, &v, 8);
  return b;
}

static uint64_t nbody(long rounds) {
  enum { N = 5 };
  static double p[N][3], v[N][3], m[N];
  for (int i = 0; i < N; i++) {
    m[i] = 1.0 / (i + 1);
    for (int k = 0; k < 3; k++) {
      p[i][k] = (i * 3 + k) * 0.7 - i * i * 0.3 + k;
      v[i][k] = (k - 1) * 0.1 + i * 0.02;
    }
  }
  for (long r = 0; r < rounds; r++) {
    for (int i = 0; i < N; i++)
      for (int j = i + 1; j < N; j++) {
        double d[3], square = 0.01;
        for (int k = 0; k < 3; k++) {
          d[k] = p[i][k] - p[j][k];
          square += d[k] * d[k];
        }
        double f = 0.001 / (square * __builtin_sqrt(square));
        for (int k = 0; k < 3; k++) {
          v[i][k] -= d[k] * m[j] * f;
          v[j][k] += d[k] * m[i] * f;
        }
      }
    for (int i = 0; i < N; i++)
      for (int k = 0; k < 3; k++) p[i][k] += 0.001 * v[i][k];
  }
  return mix(bits(p[0][0]), bits(v[4][2]));
}

static uint64_t fft(long rounds) {
  enum { LOG = 11, N = 1 << LOG };
  static double re[N], im[N], wr[N / 2], wi[N / 2];
  /* Twiddle factors by repeated rotation, so that no library is needed that might differ. */
  double cr = 1, ci = 0, sr = 1, si = 0;
  (void)si;
  double step_r = 0.99999529380957617, step_i = -0.0030679567629659761;
  for (int i = 0; i < N / 2; i++) {
    wr[i] = cr;
    wi[i] = ci;
    double t = cr * step_r - ci * step_i;
    ci = cr * step_i + ci * step_r;
    cr = t;
  }
  (void)sr;
  for (int i = 0; i < N; i++) {
    re[i] = (i * 37 % 101) * 0.01;
    im[i] = 0;
  }
  for (long r = 0; r < rounds; r++) {
    for (unsigned i = 0, j = 0; i < N; i++) {
      if (i < j) {
        double t = re[i];
        re[i] = re[j];
        re[j] = t;
        t = im[i];
        im[i] = im[j];
        im[j] = t;
      }
      unsigned bit = N >> 1;
      while (j & bit) {
        j ^= bit;
        bit >>= 1;
      }
      j |= bit;
    }
    for (int half = 1, stride = N / 2; half < N; half *= 2, stride /= 2)
      for (int base = 0; base < N; base += 2 * half)
        for (int k = 0; k < half; k++) {
          double tr = re[base + k + half] * wr[k * stride] - im[base + k + half] * wi[k * stride];
          double ti = re[base + k + half] * wi[k * stride] + im[base + k + half] * wr[k * stride];
          re[base + k + half] = re[base + k] - tr;
          im[base + k + half] = im[base + k] - ti;
          re[base + k] += tr;
          im[base + k] += ti;
        }
    for (int i = 0; i < N; i++) {
      re[i] *= 1.0 / 64;
      im[i] *= 1.0 / 64;
    }
  }
  uint64_t sum = 0;
  for (int i = 0; i < N; i += 17) sum = mix(sum, bits(re[i]) ^ bits(im[i]));
  return sum;
}

static uint64_t vector_float(long rounds) {
  enum { N = 4096 };
  static float a[N] __attribute__((aligned(16))), b[N] __attribute__((aligned(16)));
  for (int i = 0; i < N; i++) {
    a[i] = (float)i * 0.25f;
    b[i] = (float)(N - i) * 0.125f;
  }
  __m128 total = _mm_setzero_ps(), factor = _mm_set1_ps(0.9995f), low = _mm_set1_ps(-100), high = _mm_set1_ps(1000);
  for (long r = 0; r < rounds; r++) {
    for (int i = 0; i < N; i += 4) {
      __m128 x = _mm_load_ps(a + i), y = _mm_loadu_ps(b + (i + 3 <= N - 4 ? i + 3 : i));
      x = _mm_add_ps(_mm_mul_ps(x, factor), _mm_mul_ps(y, _mm_set1_ps(0.0004f)));
      x = _mm_min_ps(_mm_max_ps(x, low), high);
      total = _mm_add_ps(total, _mm_and_ps(x, _mm_cmplt_ps(x, y)));
      _mm_store_ps(a + i, x);
    }
    total = _mm_mul_ps(total, _mm_set1_ps(0.5f));
  }
  float out[4];
  _mm_storeu_ps(out, total);
  uint64_t sum;
  memcpy(&sum, out, 8);
  uint64_t more;
  memcpy(&more, out + 2, 8);
  return mix(sum, more);
}

static uint64_t vector_double(long rounds) {
  enum { N = 2048 };
  static double a[N] __attribute__((aligned(16))), b[N] __attribute__((aligned(16)));
  for (int i = 0; i < N; i++) {
    a[i] = 1.0 + i * 1e-3;
    b[i] = 2.0 - i * 1e-4;
  }
  for (long r = 0; r < rounds; r++)
    for (int i = 0; i < N; i += 2) {
      __m128d x = _mm_load_pd(a + i), y = _mm_load_pd(b + i);
      __m128d s = _mm_sqrt_pd(_mm_add_pd(_mm_mul_pd(x, x), _mm_mul_pd(y, y)));
      x = _mm_div_pd(x, s);
      _mm_store_pd(a + i, _mm_add_pd(x, _mm_shuffle_pd(y, y, 1)));
    }
  uint64_t sum = 0;
  for (int i = 0; i < N; i += 31) sum = mix(sum, bits(a[i]));
  return sum;
}

/* ChaCha20 blocks, four lanes of 32 bits. */
#define ROTATE4(x, n) _mm_or_si128(_mm_slli_epi32(x, n), _mm_srli_epi32(x, 32 - (n)))
static uint64_t vector_integer(long rounds) {
  __m128i state[4] = {_mm_set_epi32(0x6b206574, 0x79622d32, 0x3320646e, 0x61707865), _mm_set1_epi32(0x01020304), _mm_set1_epi32(0x1a2b3c4d), _mm_setzero_si128()};
  __m128i sum = _mm_setzero_si128();
  for (long r = 0; r < rounds; r++) {
    __m128i a = state[0], b = state[1], c = state[2], d = state[3];
    for (int i = 0; i < 10; i++) {
      for (int half = 0; half < 2; half++) {
        a = _mm_add_epi32(a, b), d = _mm_xor_si128(d, a), d = ROTATE4(d, 16);
        c = _mm_add_epi32(c, d), b = _mm_xor_si128(b, c), b = ROTATE4(b, 12);
        a = _mm_add_epi32(a, b), d = _mm_xor_si128(d, a), d = ROTATE4(d, 8);
        c = _mm_add_epi32(c, d), b = _mm_xor_si128(b, c), b = ROTATE4(b, 7);
        if (half == 0) b = _mm_shuffle_epi32(b, 0x39), c = _mm_shuffle_epi32(c, 0x4e), d = _mm_shuffle_epi32(d, 0x93);
        else b = _mm_shuffle_epi32(b, 0x93), c = _mm_shuffle_epi32(c, 0x4e), d = _mm_shuffle_epi32(d, 0x39);
      }
    }
    sum = _mm_xor_si128(sum, _mm_add_epi32(_mm_add_epi32(a, b), _mm_add_epi32(c, d)));
    state[3] = _mm_add_epi32(state[3], _mm_set_epi32(0, 0, 0, 1));
  }
  uint64_t out[2];
  _mm_storeu_si128((__m128i *)out, sum);
  return mix(out[0], out[1]);
}

/* Sums of absolute differences and saturating bytes, as video codecs have them. */
static uint64_t vector_bytes(long rounds) {
  enum { N = 16384 };
  static uint8_t a[N + 16] __attribute__((aligned(16))), b[N + 16] __attribute__((aligned(16)));
  for (int i = 0; i < N; i++) {
    a[i] = (uint8_t)(i * 7);
    b[i] = (uint8_t)(i * 13 + 5);
  }
  __m128i total = _mm_setzero_si128();
  for (long r = 0; r < rounds; r++)
    for (int i = 0; i < N; i += 16) {
      __m128i x = _mm_load_si128((const __m128i *)(a + i)), y = _mm_loadu_si128((const __m128i *)(b + i + 1));
      total = _mm_add_epi64(total, _mm_sad_epu8(x, y));
      __m128i z = _mm_avg_epu8(_mm_adds_epu8(x, _mm_set1_epi8(1)), y);
      __m128i lo = _mm_unpacklo_epi8(z, _mm_setzero_si128()), hi = _mm_unpackhi_epi8(z, _mm_setzero_si128());
      lo = _mm_srli_epi16(_mm_mullo_epi16(lo, _mm_set1_epi16(5)), 2);
      hi = _mm_srli_epi16(_mm_mullo_epi16(hi, _mm_set1_epi16(3)), 2);
      _mm_store_si128((__m128i *)(a + i), _mm_packus_epi16(lo, hi));
    }
  uint64_t out[2];
  _mm_storeu_si128((__m128i *)out, total);
  return mix(out[0], out[1]);
}

static uint64_t mandelbrot(long rounds) {
  uint64_t sum = 0;
  for (long r = 0; r < rounds; r++)
    for (int x = 0; x < 200; x++) {
      double cr = -2.0 + x * 0.015, ci = -1.2 + (double)(r % 160) * 0.015, zr = 0, zi = 0;
      int n = 0;
      while (n < 200 && zr * zr + zi * zi < 4.0) {
        double t = zr * zr - zi * zi + cr;
        zi = 2 * zr * zi + ci;
        zr = t;
        n++;
      }
      sum += (uint64_t)n;
    }
  return sum;
}

static uint64_t convert(long rounds) {
  double d = 0.5;
  float f = 0.25f;
  int64_t n = 3;
  for (long r = 0; r < rounds * 1000; r++) {
    n += (int64_t)(d * 1000.0) - (int32_t)f;
    d = (double)(n & 0xffff) * 0.001 + (double)f;
    f = (float)d * 0.5f + (float)(int32_t)(n & 255);
    if (d > 50.0) d -= 25.5;
    if (f < 1.0f) f += 2.0f;
  }
  return mix(bits(d), (uint64_t)n);
}

const struct program float_programs[] = {
    {"float", "nbody", 300000, nbody},           {"float", "fft", 4500, fft},
    {"float", "vector-float", 18000, vector_float}, {"float", "vector-double", 6000, vector_double},
    {"float", "vector-integer", 300000, vector_integer}, {"float", "vector-bytes", 27000, vector_bytes},
    {"float", "mandelbrot", 600, mandelbrot},     {"float", "convert", 3000, convert}, {0},
};
