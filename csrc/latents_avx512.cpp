// Rows of latents in AVX-512 (F, BW, DQ, VL), 16 at a time, where every second element of a row is meant. Symbols are
// compressed and expanded in registers: to and from memory these instructions take microcode on some processors.
#include "latents.h"
#include "rans_simd.h"

#if BASIC_X86
#include <immintrin.h>

namespace basic {
namespace {

// So many of the lowest bits, up to 16.
inline __mmask16 first_lanes(size_t count) { return static_cast<__mmask16>((1u << count) - 1); }

inline __m512i load_indexes(const uint8_t* indexes, __mmask16 lanes) {
  return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, indexes));
}
inline __m512i load_indexes(const uint16_t* indexes, __mmask16 lanes) {
  return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, indexes));
}

inline __m512 load_means(const int16_t* means, __mmask16 lanes) {
  const __m512i wide = _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(lanes, means));
  return _mm512_mul_ps(_mm512_cvtepi32_ps(wide), _mm512_set1_ps(0.125f));
}

// `count` elements 0, 2, ...: nothing beyond the last is touched.
inline __m512 load_even(const float* row, size_t count) {
  const uint32_t lanes = static_cast<uint32_t>((1ull << (2 * count - 1)) - 1);
  const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(lanes), row);
  const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(lanes >> 16), row + 16);
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return _mm512_permutex2var_ps(low, even, high);
}

inline void store_even(float* row, __m512 values, size_t count) {
  const uint32_t lanes = static_cast<uint32_t>((1ull << (2 * count - 1)) - 1) & 0x55555555u;
  const __m512i low = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
  _mm512_mask_storeu_ps(row, static_cast<__mmask16>(lanes), _mm512_permutexvar_ps(low, values));
  _mm512_mask_storeu_ps(row + 16, static_cast<__mmask16>(lanes >> 16),
                        _mm512_permutexvar_ps(_mm512_add_epi32(low, _mm512_set1_epi32(8)), values));
}

struct Sixteen {
  constexpr operator size_t() const { return 16; }
};

// step(k, count) for every 16 places and for the rest: with a constant count the masks vanish.
template <class Step>
inline void for_vectors(size_t size, Step step) {
  size_t k = 0;
  for (; k + 16 <= size; k += 16) step(k, Sixteen());
  if (k < size) step(k, size - k);
}

}  // namespace

void quantise_even_avx512(const float* row, ptrdiff_t step, size_t num_rows, Run<uint8_t> run, uint32_t num_silent,
                          Coded& coded) {
  const __m512 round = _mm512_set1_ps(kRound), largest = _mm512_set1_ps(kMaxSymbol);
  const __m512i least = _mm512_set1_epi32(static_cast<int32_t>(num_silent));
  __mmask16 bad = 0;
  size_t num_coded = coded.size;
  const auto step_at = [&](size_t k, auto count) {
    const __mmask16 lanes = first_lanes(count);
    const __m512i index = load_indexes(run.indexes + k, lanes);
    const __mmask16 loud = _mm512_mask_cmpge_epi32_mask(lanes, index, least);
    if (!loud && !run.y_hat) return;
    const __m512 mean = load_means(run.means + k, lanes);
    __m512 value = mean;
    if (loud) {
      const __m512 residual = _mm512_sub_ps(load_even(row + 2 * k, count), mean);
      bad |= _mm512_mask_cmp_ps_mask(loud, _mm512_abs_ps(residual), largest, _CMP_NLE_UQ);  // NaN too
      const __m512 rounded = _mm512_add_ps(residual, round);
      const __m512i symbol = _mm512_sub_epi32(_mm512_castps_si512(rounded), _mm512_castps_si512(round));
      const auto num_loud = static_cast<unsigned>(__builtin_popcount(loud));
      const __mmask16 kept = first_lanes(num_loud);
      _mm512_mask_storeu_epi32(coded.symbols + num_coded, kept, _mm512_maskz_compress_epi32(loud, symbol));
      _mm_mask_storeu_epi8(coded.indexes + num_coded, kept,
                           _mm512_cvtepi32_epi8(_mm512_maskz_compress_epi32(loud, index)));
      num_coded += num_loud;
      value = _mm512_add_ps(_mm512_maskz_sub_ps(loud, rounded, round), mean);
    }
    if (run.y_hat) _mm512_mask_storeu_ps(run.y_hat + k, lanes, value);
  };
  const size_t size = run.size;
  for (size_t i = 0; i < num_rows; ++i, row += step, run = run_from(run, size, size)) for_vectors(size, step_at);
  coded.size = num_coded;
  coded.in_range &= bad == 0;
}

template <class Index>
void add_means_even_avx512(const int32_t*& symbols, Run<Index> run, uint32_t num_silent, float* row, ptrdiff_t step,
                           size_t num_rows, bool& in_range) {
  const __m512i least = _mm512_set1_epi32(static_cast<int32_t>(num_silent)), most = _mm512_set1_epi32(kMaxSymbol);
  __mmask16 bad = 0;
  const int32_t* next = symbols;
  const auto step_at = [&](size_t k, auto count) {
    const __mmask16 lanes = first_lanes(count);
    const __mmask16 loud = _mm512_mask_cmpge_epi32_mask(lanes, load_indexes(run.indexes + k, lanes), least);
    __m512 value = load_means(run.means + k, lanes);
    if (loud) {
      const __m512i symbol = _mm512_maskz_expand_epi32(loud, _mm512_loadu_si512(next));
      next += __builtin_popcount(loud);
      bad |= _mm512_cmp_epu32_mask(_mm512_abs_epi32(symbol), most, _MM_CMPINT_NLE);  // |-2^31| is 2^31, unsigned
      value = _mm512_add_ps(_mm512_cvtepi32_ps(symbol), value);
    }
    if (run.y_hat) _mm512_mask_storeu_ps(run.y_hat + k, lanes, value);
    store_even(row + 2 * k, value, count);
  };
  const size_t size = run.size;
  for (size_t i = 0; i < num_rows; ++i, row += step, run = run_from(run, size, size)) for_vectors(size, step_at);
  symbols = next;
  in_range &= bad == 0;
}

size_t without_silent_avx512(const uint8_t* indexes, size_t size, uint32_t num_silent, uint8_t* coded,
                             size_t& num_coded) {
  const __m512i least = _mm512_set1_epi8(static_cast<char>(num_silent));
  size_t k = 0, kept = 0;
  for (; k + 64 <= size; k += 64) {
    const uint64_t loud = _mm512_cmpge_epu8_mask(_mm512_loadu_si512(indexes + k), least);
    if (!loud) continue;
    for (size_t part = 0; part < 64; part += 16) {
      const auto mine = static_cast<__mmask16>(loud >> part);
      const __m512i index = _mm512_maskz_compress_epi32(mine, load_indexes(indexes + k + part, 0xffff));
      const unsigned count = static_cast<unsigned>(__builtin_popcount(mine));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(coded + kept), _mm512_cvtepi32_epi8(index));  // kept <= k + part
      kept += count;
    }
  }
  num_coded = kept;
  return k;
}

template void add_means_even_avx512(const int32_t*&, Run<uint8_t>, uint32_t, float*, ptrdiff_t, size_t, bool&);
template void add_means_even_avx512(const int32_t*&, Run<uint16_t>, uint32_t, float*, ptrdiff_t, size_t, bool&);

}  // namespace basic
#endif
