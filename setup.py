"""The C++ extension; everything else is in pyproject.toml.

BASIC_WERROR=1 turns warnings into errors, as `make lint` does.
"""

import os
import platform
from glob import glob

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext
from setuptools import setup

WARNINGS = ["-Wall", "-Wextra"] + (["-Werror"] if os.environ.get("BASIC_WERROR") == "1" else [])
# Only these files may use these instructions: dispatch.cpp asks the processor before it calls into them.
AVX512_FLAGS = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mpopcnt"]
SIMD_FLAGS = {
    "blocks_avx2.cpp": ["-mavx2"],
    "integer_avx2.cpp": ["-mavx2"],
    "pixels_avx2.cpp": ["-mavx2"],
    "latents_avx2.cpp": ["-mavx2", "-mpopcnt"],
    "latents_avx512.cpp": [*AVX512_FLAGS, "-Wno-maybe-uninitialized"],
    "rans_avx2.cpp": ["-mavx2", "-mpopcnt"],
    "integer_avx512.cpp": [*AVX512_FLAGS, "-Wno-maybe-uninitialized"],
    "integer_vnni.cpp": [*AVX512_FLAGS, "-mavx512vnni", "-Wno-maybe-uninitialized"],
    # GCC 12 takes the deliberately undefined operands inside its own intrinsics for a mistake.
    "rans_avx512.cpp": [*AVX512_FLAGS, "-Wno-maybe-uninitialized"],
}


class BuildExt(build_ext):
    """build_ext with compiler flags per file."""

    def build_extensions(self) -> None:
        compile_one = self.compiler._compile

        def compile_with_flags(obj, src, ext, cc_args, extra_postargs, pp_opts):
            flags = SIMD_FLAGS.get(os.path.basename(src), []) if platform.machine() in ("x86_64", "AMD64") else []
            compile_one(obj, src, ext, cc_args, [*extra_postargs, *flags], pp_opts)

        self.compiler._compile = compile_with_flags
        super().build_extensions()


ParallelCompile().install()
setup(
    ext_modules=[
        Pybind11Extension(
            "basic.runtime._ans",
            sorted(glob("csrc/*.cpp")),
            depends=sorted(glob("csrc/*.h")),
            cxx_std=17,
            extra_compile_args=["-O3", "-fvisibility=hidden", "-pthread", *WARNINGS],
            extra_link_args=["-pthread"],
        )
    ],
    cmdclass={"build_ext": BuildExt},
)
