/* The hot loops of the forward pass: products of 4 or 8 bit weights with 8 bit activations, and e^x.
 *
 * The order of every sum is independent of the number of tokens in a call.
 *
 * Source: weights w = d * q + m in groups of 32 inputs, activations quantised by the same groups, as in ggml's Q4_1
 * times Q8_1. Layout of the weights: see packed_weights.py.
 */
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { ROWS = 16, GROUP = 32, TILE = 8 };

typedef struct {
    const uint8_t *packed; /* [outputs / ROWS][inputs / GROUP] blocks */
    const float *low, *high; /* LoRA A [rank][inputs] and scaled B, transposed, [rank][outputs]; or NULL */
    int outputs, inputs, bits, rank;
} Matrix;

/* Activations of some tokens: in float, in 8 bits, and their scales. */
typedef struct {
    float *plain, *scale, *sum, *narrow; /* sum: of each group's values; narrow: A x of the adapter */
    int8_t *quantised;
} Input;

static inline float dot(const float *a, const float *b, int size) {
    __m512 sum = _mm512_setzero_ps();
    for (int i = 0; i < size; i += 16) sum = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), sum);
    return _mm512_reduce_add_ps(sum);
}

/* e^x for x <= 0: 2^n * e^r with |r| <= ln 2 / 2, and a polynomial for e^r (Cephes, expf). */
static inline __m512 exponential(__m512 x) {
    x = _mm512_max_ps(x, _mm512_set1_ps(-87.0f));
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.9875691500e-4f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
    return _mm512_scalef_ps(p, n);
}

/* Quantise one token's activations group by group; the largest value becomes 127. */
static void quantise(const Input *input, int token, int size) {
    const float *from = input->plain + (size_t)token * size;
    int8_t *to = input->quantised + (size_t)token * size;
    for (int g = 0; g < size / GROUP; g++, from += GROUP, to += GROUP) {
        __m512 a = _mm512_loadu_ps(from), b = _mm512_loadu_ps(from + 16);
        float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
        float inverse = largest > 0 ? 127.0f / largest : 0, scale = largest / 127.0f;
        __m512i qa = _mm512_cvtps_epi32(_mm512_mul_ps(a, _mm512_set1_ps(inverse)));
        __m512i qb = _mm512_cvtps_epi32(_mm512_mul_ps(b, _mm512_set1_ps(inverse)));
        _mm_storeu_si128((__m128i *)to, _mm512_cvtsepi32_epi8(qa));
        _mm_storeu_si128((__m128i *)(to + 16), _mm512_cvtsepi32_epi8(qb));
        size_t at = (size_t)token * (size / GROUP) + g;
        input->scale[at] = scale;
        input->sum[at] = scale * (float)_mm512_reduce_add_epi32(_mm512_add_epi32(qa, qb));
    }
}

/* Unpack a group's eight times four columns, sixteen rows each, to unsigned bytes. */
static inline __attribute__((always_inline)) void unpack(const uint8_t *block, int bits, __m512i *columns) {
    const __m512i nibble = _mm512_set1_epi8(15);
    for (int i = 0; i < 8; i++) {
        if (bits == 8) columns[i] = _mm512_loadu_si512(block + 64 * i);
        else {
            __m512i two = _mm512_loadu_si512(block + 64 * (i / 2));
            columns[i] = _mm512_and_si512(i % 2 ? _mm512_srli_epi16(two, 4) : two, nibble);
        }
    }
}

/* Compute sixteen outputs of ``tokens`` tokens from ``first`` on: to[token][sixteen], optionally accumulated. */
static inline __attribute__((always_inline)) void tile(
    const Matrix *m, const Input *input, int rows, int first, const int tokens, const int bits, int add, float *to) {
    const int groups = m->inputs / GROUP, size = bits * 64 + 64;
    const uint8_t *block = m->packed + (size_t)rows * groups * size;
    __m512 sums[TILE];
    for (int t = 0; t < tokens; t++) sums[t] = _mm512_setzero_ps();
    for (int g = 0; g < groups; g++, block += size) {
        __m512i columns[8];
        unpack(block, bits, columns);
        __m512 d = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(block + bits * 64)));
        __m512 least = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(block + bits * 64 + 32)));
        for (int t = 0; t < tokens; t++) {
            const int8_t *x = input->quantised + (size_t)(first + t) * m->inputs + g * GROUP;
            size_t at = (size_t)(first + t) * groups + g;
            __m512i even = _mm512_setzero_si512(), odd = _mm512_setzero_si512();
            for (int i = 0; i < 8; i += 2) {
                int32_t four, next;
                memcpy(&four, x + 4 * i, 4);
                memcpy(&next, x + 4 * i + 4, 4);
                even = _mm512_dpbusd_epi32(even, columns[i], _mm512_set1_epi32(four));
                odd = _mm512_dpbusd_epi32(odd, columns[i + 1], _mm512_set1_epi32(next));
            }
            __m512 whole = _mm512_cvtepi32_ps(_mm512_add_epi32(even, odd));
            sums[t] = _mm512_fmadd_ps(whole, _mm512_mul_ps(d, _mm512_set1_ps(input->scale[at])), sums[t]);
            sums[t] = _mm512_fmadd_ps(least, _mm512_set1_ps(input->sum[at]), sums[t]);
        }
    }
    for (int t = 0; t < tokens; t++) {
        float *out = to + (size_t)(first + t) * m->outputs + rows * ROWS;
        for (int r = 0; r < m->rank; r++)
            sums[t] = _mm512_fmadd_ps(_mm512_loadu_ps(m->high + (size_t)r * m->outputs + rows * ROWS),
                                      _mm512_set1_ps(input->narrow[(size_t)(first + t) * m->rank + r]), sums[t]);
        _mm512_storeu_ps(out, add ? _mm512_add_ps(_mm512_loadu_ps(out), sums[t]) : sums[t]);
    }
}

static void some_rows(const Matrix *m, const Input *input, int rows, int tokens, int add, float *to) {
    int t = 0;
    for (; t + TILE <= tokens; t += TILE)
        if (m->bits == 4) tile(m, input, rows, t, TILE, 4, add, to);
        else tile(m, input, rows, t, TILE, 8, add, to);
    for (; t + 2 <= tokens; t += 2)
        if (m->bits == 4) tile(m, input, rows, t, 2, 4, add, to);
        else tile(m, input, rows, t, 2, 8, add, to);
    if (t < tokens) {
        if (m->bits == 4) tile(m, input, rows, t, 1, 4, add, to);
        else tile(m, input, rows, t, 1, 8, add, to);
    }
}
