// Rows of latents in AVX2, 8 at a time, where every second element of a row is meant.
#include "latents.h"
#include "rans_simd.h"

#if BASIC_X86
#include <immintrin.h>

namespace basic {
namespace {

// By a mask of eight lanes: which lanes it has, in order (compress), and how many it has below a lane (expand); a byte each.
struct Orders {
  uint64_t compress[256] = {}, expand[256] = {};
  constexpr Orders() {
    for (uint32_t mask = 0; mask < 256; ++mask) {
      uint64_t num_lanes = 0;
      for (uint64_t lane = 0; lane < 8; ++lane) {
        expand[mask] |= num_lanes << (8 * lane);
        if (mask >> lane & 1) compress[mask] |= lane << (8 * num_lanes), ++num_lanes;
      }
    }
  }
};
constexpr Orders kOrders;

inline __m128i order(uint64_t bytes) { return _mm_cvtsi64_si128(static_cast<long long>(bytes)); }

inline __m128i load_bytes(const uint8_t* indexes) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(indexes));
}
inline __m256i load_indexes(const uint8_t* indexes) { return _mm256_cvtepu8_epi32(load_bytes(indexes)); }
inline __m256i load_indexes(const uint16_t* indexes) {
  return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(indexes)));
}

// All bits of the lanes that are not silent.
template <class Index>
inline __m256i loud_lanes(const Index* indexes, uint32_t num_silent) {
  return _mm256_cmpgt_epi32(load_indexes(indexes), _mm256_set1_epi32(static_cast<int32_t>(num_silent) - 1));
}

inline uint32_t mask_of(__m256i lanes) { return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(lanes))); }

inline __m256 load_means(const int16_t* means) {
  const __m128i eight = _mm_loadu_si128(reinterpret_cast<const __m128i*>(means));
  return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(eight)), _mm256_set1_ps(0.125f));
}

// Elements 0, 2 .. 14: nothing beyond them is read.
inline __m256 load_even(const float* row) {
  const __m256i all_but_last = _mm256_setr_epi32(-1, -1, -1, -1, -1, -1, -1, 0);
  const __m256 low = _mm256_loadu_ps(row), high = _mm256_maskload_ps(row + 8, all_but_last);
  const __m256 mixed = _mm256_shuffle_ps(low, high, 0x88);
  return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0xd8));
}

// To elements 0, 2 .. 14: nothing between or beyond them is written. One by one: masked stores of AVX2 take microcode
// on some processors.
inline void store_even(float* row, __m256 values) {
  const auto store = [](float* to, __m128 four) {
    _mm_store_ss(to, four);
    _mm_store_ss(to + 2, _mm_movehdup_ps(four));
    _mm_store_ss(to + 4, _mm_movehl_ps(four, four));
    _mm_store_ss(to + 6, _mm_shuffle_ps(four, four, 0xff));
  };
  store(row, _mm256_castps256_ps128(values));
  store(row + 8, _mm256_extractf128_ps(values, 1));
}

}  // namespace

size_t quantise_even_avx2(const float* row, const Run<uint8_t>& run, uint32_t num_silent, Coded& coded) {
  const __m256 round = _mm256_set1_ps(kRound), largest = _mm256_set1_ps(kMaxSymbol);
  const __m256 sign = _mm256_set1_ps(-0.0f);
  __m256 bad = _mm256_setzero_ps();
  size_t k = 0;
  for (; k + 8 <= run.size; k += 8) {
    const __m256i loud = loud_lanes(run.indexes + k, num_silent);
    const uint32_t mask = mask_of(loud);
    if (!mask && !run.y_hat) continue;
    const __m256 mean = load_means(run.means + k);
    __m256 value = mean;
    if (mask) {
      const __m256 lanes = _mm256_castsi256_ps(loud), residual = _mm256_sub_ps(load_even(row + 2 * k), mean);
      const __m256 too_far = _mm256_cmp_ps(_mm256_andnot_ps(sign, residual), largest, _CMP_NLE_UQ);  // NaN too
      bad = _mm256_or_ps(bad, _mm256_and_ps(lanes, too_far));
      const __m256 rounded = _mm256_add_ps(residual, round);
      const __m256i symbol = _mm256_sub_epi32(_mm256_castps_si256(rounded), _mm256_castps_si256(round));
      // Eight places are written whatever the mask: there are as many, since no more were coded than were seen.
      const __m128i chosen = order(kOrders.compress[mask]);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(coded.symbols + coded.size),
                          _mm256_permutevar8x32_epi32(symbol, _mm256_cvtepu8_epi32(chosen)));
      _mm_storel_epi64(reinterpret_cast<__m128i*>(coded.indexes + coded.size),
                       _mm_shuffle_epi8(load_bytes(run.indexes + k), chosen));
      coded.size += static_cast<size_t>(_mm_popcnt_u32(mask));
      value = _mm256_add_ps(_mm256_and_ps(lanes, _mm256_sub_ps(rounded, round)), mean);
    }
    if (run.y_hat) _mm256_storeu_ps(run.y_hat + k, value);
  }
  coded.in_range &= _mm256_testz_ps(bad, bad) != 0;
  return k;
}

template <class Index>
size_t add_means_even_avx2(const int32_t*& symbols, const Run<Index>& run, uint32_t num_silent, float* row,
                           bool& in_range) {
  const __m256i most = _mm256_set1_epi32(kMaxSymbol), least = _mm256_set1_epi32(-kMaxSymbol);
  __m256i bad = _mm256_setzero_si256();
  size_t k = 0;
  for (; k + 8 <= run.size; k += 8) {
    const __m256i loud = loud_lanes(run.indexes + k, num_silent);
    const uint32_t mask = mask_of(loud);
    __m256 value = load_means(run.means + k);
    if (mask) {
      const __m256i next = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(symbols));
      const __m256i place = _mm256_cvtepu8_epi32(order(kOrders.expand[mask]));
      const __m256i symbol = _mm256_and_si256(loud, _mm256_permutevar8x32_epi32(next, place));
      symbols += _mm_popcnt_u32(mask);
      bad = _mm256_or_si256(bad, _mm256_or_si256(_mm256_cmpgt_epi32(symbol, most), _mm256_cmpgt_epi32(least, symbol)));
      value = _mm256_add_ps(_mm256_cvtepi32_ps(symbol), value);
    }
    if (run.y_hat) _mm256_storeu_ps(run.y_hat + k, value);
    store_even(row + 2 * k, value);
  }
  in_range &= _mm256_testz_si256(bad, bad) != 0;
  return k;
}

size_t without_silent_avx2(const uint8_t* indexes, size_t size, uint32_t num_silent, uint8_t* coded, size_t& num_coded) {
  const __m128i least = _mm_set1_epi8(static_cast<char>(num_silent));
  size_t k = 0, kept = 0;
  for (; k + 16 <= size; k += 16) {
    const __m128i some = _mm_loadu_si128(reinterpret_cast<const __m128i*>(indexes + k));
    const __m128i loud = _mm_cmpeq_epi8(_mm_max_epu8(some, least), some);
    const uint32_t mask = static_cast<uint32_t>(_mm_movemask_epi8(loud));
    if (!mask) continue;
    for (uint32_t part = 0; part < 16; part += 8) {
      const uint32_t mine = mask >> part & 255;
      auto* to = reinterpret_cast<__m128i*>(coded + kept);  // kept <= k + part: eight places are there
      _mm_storel_epi64(to, _mm_shuffle_epi8(load_bytes(indexes + k + part), order(kOrders.compress[mine])));
      kept += static_cast<size_t>(_mm_popcnt_u32(mine));
    }
  }
  num_coded = kept;
  return k;
}

template size_t add_means_even_avx2(const int32_t*&, const Run<uint8_t>&, uint32_t, float*, bool&);
template size_t add_means_even_avx2(const int32_t*&, const Run<uint16_t>&, uint32_t, float*, bool&);

}  // namespace basic
#endif
