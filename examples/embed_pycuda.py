"""Images that stay in PyCUDA's GPU memory: python examples/embed_pycuda.py IMAGE BUNDLE

BUNDLE has float transforms, as GPUs take them: basic-export --int8 none -o gpu.bundle
The codec is opened while PyCUDA's context is current, and works in that context.
"""

import sys

import numpy as np
import pycuda.autoinit  # noqa: F401  # makes a context
from PIL import Image
from pycuda import driver, gpuarray

from basic.runtime.codec import Codec


def main(image: str, bundle: str) -> None:
    stream = driver.Stream()
    x = gpuarray.to_gpu_async(np.array(Image.open(image).convert("RGB")), stream=stream)  # uint8 (H, W, 3)
    with Codec.open(bundle, engine="trt") as codec:
        data = codec.encode(x, level=7, quality=40, stream=stream.handle)
        x_hat = codec.decode(data, out=gpuarray.empty_like(x), stream=stream.handle)
    found = x_hat.get_async(stream=stream)
    stream.synchronize()
    error = np.mean((found.astype(float) - np.array(Image.open(image).convert("RGB"))) ** 2)
    print(f"{len(data)} bytes, {10 * np.log10(255**2 / error):.2f} dB")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
