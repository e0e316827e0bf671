/* A decoder-only Llama's forward pass on a CPU with AVX-512 VNNI, one call for all of its layers.
 *
 * It takes hidden states, appends keys and values to the cache, and writes logits. The order of every sum is independent
 * of the number of tokens in a call, so a token's keys, values and logits do not depend on how a text is split.
 *
 * Sources: Llama (Touvron et al. 2023, arXiv 2302.13971), section 2.2; RoPE (Su et al. 2021, arXiv 2104.09864);
 * grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245).
 */
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "products.h"

enum { SPINS = 2000 }; /* iterations that a thread busy-waits before it yields: most waits are short */

typedef struct {
    const float *attention_norm, *mlp_norm;
    Matrix query, key, value, output, gate, up, down;
} Layer;

typedef struct {
    const Layer *layers;
    const float *norm;
    Matrix head;
    int depth, hidden, intermediate, heads, kv_heads, head_dim;
    float eps;
} Model;

typedef struct {
    const Model *model;
    float *x; /* [tokens][hidden], the residual stream */
    const float *cosine, *sine; /* [tokens][head_dim / 2] */
    float **keys, **values; /* per layer [kv_heads][capacity][head_dim] */
    float *logits; /* [logit_rows][vocabulary], for the last tokens */
    int tokens, start, capacity, logit_rows;
    Input input;
    float *query, *key, *value, *gate, *up, *weights; /* weights: attention weights, [threads][start + tokens] */
    atomic_int threads, arrived, phase; /* threads: 0 until all have been created */
} Call;

typedef struct {
    Call *call;
    int thread;
} Worker;

/* Barrier: all threads reach this point before any continues. */
static void barrier(Call *call) {
    int phase = atomic_load(&call->phase);
    if (atomic_fetch_add(&call->arrived, 1) == call->threads - 1) {
        atomic_store(&call->arrived, 0);
        atomic_store(&call->phase, phase + 1);
        return;
    }
    for (int spins = 0; atomic_load(&call->phase) == phase; spins++)
        if (spins < SPINS) _mm_pause();
        else sched_yield();
}

/* A token's root mean square norm (Zhang and Sennrich 2019), quantised for the next product. */
static void norm(const Call *call, const float *weight, int token) {
    int size = call->model->hidden;
    const float *x = call->x + (size_t)token * size;
    float *to = call->input.plain + (size_t)token * size;
    __m512 factor = _mm512_set1_ps(1.0f / sqrtf(dot(x, x, size) / size + call->model->eps));
    for (int i = 0; i < size; i += 16)
        _mm512_storeu_ps(to + i, _mm512_mul_ps(_mm512_mul_ps(_mm512_loadu_ps(x + i), factor), _mm512_loadu_ps(weight + i)));
    quantise(&call->input, token, size);
}

/* Compute this thread's share of a product [tokens][outputs]; a barrier must follow the writing of the input. */
static void multiply(Call *call, int thread, const Matrix *m, int add, float *to) {
    if (m->rank) {
        for (int t = thread; t < call->tokens; t += call->threads)
            for (int r = 0; r < m->rank; r++)
                call->input.narrow[(size_t)t * m->rank + r] =
                    dot(call->input.plain + (size_t)t * m->inputs, m->low + (size_t)r * m->inputs, m->inputs);
        barrier(call);
    }
    int blocks = m->outputs / ROWS;
    for (int rows = blocks * thread / call->threads; rows < blocks * (thread + 1) / call->threads; rows++)
        some_rows(m, &call->input, rows, call->tokens, add, to);
    if (m->rank) barrier(call); /* before the next adapter product overwrites ``narrow`` */
}

/* Rotary embedding (Su et al. 2021) of one head, halves split, times ``factor``. */
static void rotate(const Call *call, int token, const float *from, float factor, float *to) {
    int half = call->model->head_dim / 2;
    const float *c = call->cosine + (size_t)token * half, *s = call->sine + (size_t)token * half;
    for (int i = 0; i < half; i++) {
        float a = from[i], b = from[half + i];
        to[i] = (a * c[i] - b * s[i]) * factor;
        to[half + i] = (b * c[i] + a * s[i]) * factor;
    }
}

/* Rotate a token's queries in place; write its rotated keys and its values to the cache. */
static void rotate_and_cache(const Call *call, int layer, int token) {
    const Model *m = call->model;
    int dim = m->head_dim;
    for (int h = 0; h < m->heads; h++) {
        float *q = call->query + ((size_t)token * m->heads + h) * dim;
        rotate(call, token, q, 1.0f / sqrtf((float)dim), q);
    }
    for (int h = 0; h < m->kv_heads; h++) {
        size_t from = ((size_t)token * m->kv_heads + h) * dim;
        size_t to = ((size_t)h * call->capacity + call->start + token) * dim;
        rotate(call, token, call->key + from, 1.0f, call->keys[layer] + to);
        memcpy(call->values[layer] + to, call->value + from, dim * sizeof(float));
    }
}

/* Causal attention of one head of one token. ``vectors``: head_dim / 16. */
static inline __attribute__((always_inline)) void look(
    const float *q, const float *keys, const float *values, int seen, const int vectors, float *weights, float *to) {
    __m512 query[8], mixed[8], total = _mm512_setzero_ps();
    float largest = -FLT_MAX;
    for (int i = 0; i < vectors; i++) query[i] = _mm512_loadu_ps(q + 16 * i), mixed[i] = _mm512_setzero_ps();
    for (int k = 0; k < seen; k++) {
        __m512 sum = _mm512_mul_ps(query[0], _mm512_loadu_ps(keys + (size_t)k * 16 * vectors));
        for (int i = 1; i < vectors; i++)
            sum = _mm512_fmadd_ps(query[i], _mm512_loadu_ps(keys + ((size_t)k * vectors + i) * 16), sum);
        weights[k] = _mm512_reduce_add_ps(sum);
        if (weights[k] > largest) largest = weights[k];
    }
    for (int k = 0; k < seen; k += 16) {
        __mmask16 there = seen - k >= 16 ? 0xffff : (__mmask16)((1u << (seen - k)) - 1);
        __m512 e = exponential(_mm512_sub_ps(_mm512_maskz_loadu_ps(there, weights + k), _mm512_set1_ps(largest)));
        total = _mm512_mask_add_ps(total, there, total, e);
        _mm512_mask_storeu_ps(weights + k, there, e);
    }
    __m512 inverse = _mm512_set1_ps(1.0f / _mm512_reduce_add_ps(total));
    for (int k = 0; k < seen; k++)
        for (int i = 0; i < vectors; i++)
            mixed[i] = _mm512_fmadd_ps(_mm512_set1_ps(weights[k]),
                                       _mm512_loadu_ps(values + ((size_t)k * vectors + i) * 16), mixed[i]);
    for (int i = 0; i < vectors; i++) _mm512_storeu_ps(to + 16 * i, _mm512_mul_ps(mixed[i], inverse));
}

static void attend(Call *call, int layer, int token, int head, float *weights) {
    const Model *m = call->model;
    int seen = call->start + token + 1, dim = m->head_dim;
    size_t cache = (size_t)(head / (m->heads / m->kv_heads)) * call->capacity * dim;
    size_t at = ((size_t)token * m->heads + head) * dim;
    const float *keys = call->keys[layer] + cache, *values = call->values[layer] + cache;
    float *to = call->input.plain + at;
    if (dim == 128) look(call->query + at, keys, values, seen, 8, weights, to);
    else if (dim == 64) look(call->query + at, keys, values, seen, 4, weights, to);
    else look(call->query + at, keys, values, seen, dim / 16, weights, to);
}

/* silu(gate) * up of one token, quantised for the next product. */
static void activate(const Call *call, int token) {
    int size = call->model->intermediate;
    const float *gate = call->gate + (size_t)token * size, *up = call->up + (size_t)token * size;
    float *to = call->input.plain + (size_t)token * size;
    const __m512 one = _mm512_set1_ps(1.0f), zero = _mm512_setzero_ps();
    for (int i = 0; i < size; i += 16) {
        __m512 x = _mm512_loadu_ps(gate + i), e = exponential(_mm512_sub_ps(zero, _mm512_abs_ps(x)));
        __mmask16 negative = _mm512_cmp_ps_mask(x, zero, _CMP_LT_OQ);
        __m512 sigmoid = _mm512_div_ps(_mm512_mask_blend_ps(negative, one, e), _mm512_add_ps(one, e));
        _mm512_storeu_ps(to + i, _mm512_mul_ps(_mm512_mul_ps(x, sigmoid), _mm512_loadu_ps(up + i)));
    }
    quantise(&call->input, token, size);
}

static void attention(Call *call, int thread, int n) {
    const Layer *layer = &call->model->layers[n];
    int heads = call->model->heads, first = thread, step = call->threads;
    for (int t = first; t < call->tokens; t += step) norm(call, layer->attention_norm, t);
    barrier(call);
    multiply(call, thread, &layer->query, 0, call->query);
    multiply(call, thread, &layer->key, 0, call->key);
    multiply(call, thread, &layer->value, 0, call->value);
    barrier(call);
    for (int t = first; t < call->tokens; t += step) rotate_and_cache(call, n, t);
    barrier(call);
    float *weights = call->weights + (size_t)thread * (call->start + call->tokens);
    for (int u = first; u < call->tokens * heads; u += step) attend(call, n, u / heads, u % heads, weights);
    barrier(call);
    for (int t = first; t < call->tokens; t += step) quantise(&call->input, t, layer->output.inputs);
    barrier(call);
    multiply(call, thread, &layer->output, 1, call->x);
    barrier(call);
}

static void feed_forward(Call *call, int thread, const Layer *layer) {
    for (int t = thread; t < call->tokens; t += call->threads) norm(call, layer->mlp_norm, t);
    barrier(call);
    multiply(call, thread, &layer->gate, 0, call->gate);
    multiply(call, thread, &layer->up, 0, call->up);
    barrier(call);
    for (int t = thread; t < call->tokens; t += call->threads) activate(call, t);
    barrier(call);
    multiply(call, thread, &layer->down, 1, call->x);
    barrier(call);
}

/* Logits of the last tokens, whose hidden states move to the front, over those that are no longer needed. */
static void finish(Call *call, int thread) {
    int skipped = call->tokens - call->logit_rows, hidden = call->model->hidden;
    if (thread == 0) memmove(call->x, call->x + (size_t)skipped * hidden, (size_t)call->logit_rows * hidden * sizeof(float));
    barrier(call);
    if (thread == 0) call->tokens = call->logit_rows;
    barrier(call);
    for (int t = thread; t < call->tokens; t += call->threads) norm(call, call->model->norm, t);
    barrier(call);
    multiply(call, thread, &call->model->head, 0, call->logits);
}

static void *work(void *given) {
    Worker *worker = given;
    while (!atomic_load(&worker->call->threads)) sched_yield();
    for (int n = 0; n < worker->call->model->depth; n++) {
        attention(worker->call, worker->thread, n);
        feed_forward(worker->call, worker->thread, &worker->call->model->layers[n]);
    }
    finish(worker->call, worker->thread);
    return NULL;
}

/* Return the start of a buffer of ``count`` floats in cache lines of its own; without memory, only count them. */
static float *take(char *memory, size_t *used, size_t count) {
    float *taken = memory ? (float *)(memory + *used) : NULL;
    *used += (count * sizeof(float) + 63) / 64 * 64;
    return taken;
}

/* Lay out a call's buffers in ``memory``, unless it is NULL; return their bytes. */
static size_t lay_out(Call *call, char *memory, int threads) {
    const Model *m = call->model;
    size_t tokens = call->tokens, query = (size_t)m->heads * m->head_dim, kv = (size_t)m->kv_heads * m->head_dim;
    size_t widest = m->hidden > m->intermediate ? m->hidden : m->intermediate, rank = 0;
    if (query > widest) widest = query;
    for (int n = 0; n < m->depth; n++)
        for (const Matrix *one = &m->layers[n].query; one <= &m->layers[n].down; one++)
            if ((size_t)one->rank > rank) rank = one->rank;
    size_t used = 0;
    call->input.plain = take(memory, &used, tokens * widest);
    call->input.scale = take(memory, &used, tokens * (widest / GROUP));
    call->input.sum = take(memory, &used, tokens * (widest / GROUP));
    call->input.narrow = take(memory, &used, tokens * rank);
    call->input.quantised = (int8_t *)take(memory, &used, tokens * widest / 4 + 1);
    call->query = take(memory, &used, tokens * query);
    call->key = take(memory, &used, tokens * kv);
    call->value = take(memory, &used, tokens * kv);
    call->gate = take(memory, &used, tokens * m->intermediate);
    call->up = take(memory, &used, tokens * m->intermediate);
    call->weights = take(memory, &used, (size_t)threads * (call->start + call->tokens));
    return used;
}

/* Append ``tokens`` hidden states to the caches. Return 0, or -1 if memory can't be allocated. */
int llama_forward(const Model *model, float *x, const float *cosine, const float *sine, float **keys, float **values,
                  float *logits, int tokens, int start, int capacity, int logit_rows, int threads) {
    Call call = {.model = model, .x = x, .cosine = cosine, .sine = sine, .keys = keys, .values = values,
                 .logits = logits, .tokens = tokens, .start = start, .capacity = capacity, .logit_rows = logit_rows};
    char *memory = aligned_alloc(64, lay_out(&call, NULL, threads));
    Worker *workers = calloc(threads, sizeof(Worker));
    pthread_t *others = calloc(threads, sizeof(pthread_t));
    int made = 1, status = -1;
    if (memory && workers && others) {
        lay_out(&call, memory, threads);
        for (int n = 0; n < threads; n++) workers[n] = (Worker){&call, n};
        while (made < threads && !pthread_create(&others[made], NULL, work, &workers[made])) made++;
        atomic_store(&call.threads, made);
        work(&workers[0]);
        for (int n = 1; n < made; n++) pthread_join(others[n], NULL);
        status = 0;
    }
    free(memory), free(workers), free(others);
    return status;
}
