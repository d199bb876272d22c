// Integer networks in AVX-512 as processors before VNNI have it.
#include "rans_simd.h"

#if BASIC_X86
#include "integer_vectors512.h"

namespace basic {
namespace {

struct Vectors : Vectors512 {
  static Int dot(Int sum, Int x, Int w) { return _mm512_add_epi32(sum, _mm512_madd_epi16(x, w)); }
};

}  // namespace

const IntegerKernels kAvx512Integers = Product<Vectors, 8, 3>::kernels("avx512");

}  // namespace basic
#endif
