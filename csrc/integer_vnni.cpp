// Integer networks in AVX-512 with VNNI: products of pairs and their sum in one instruction.
#include "rans_simd.h"

#if BASIC_X86
#include "integer_vectors512.h"

namespace basic {
namespace {

struct Vectors : Vectors512 {
  static Int dot(Int sum, Int x, Int w) { return _mm512_dpwssd_epi32(sum, x, w); }
};

}  // namespace

const IntegerKernels kVnniIntegers = Product<Vectors, 8, 3>::kernels("avx512_vnni");

}  // namespace basic
#endif
