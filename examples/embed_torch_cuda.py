"""Images that stay in PyTorch's GPU memory: python examples/embed_torch_cuda.py IMAGE BUNDLE

BUNDLE has float transforms, as GPUs take them: basic-export --int8 none -o gpu.bundle
"""

import sys

import numpy as np
import torch
from PIL import Image

from basic.runtime.codec import Codec


def main(image: str, bundle: str) -> None:
    pixels = np.array(Image.open(image).convert("RGB"))
    x = torch.from_numpy(pixels).permute(2, 0, 1).contiguous().cuda()  # uint8 (3, H, W)
    stream = torch.cuda.current_stream().cuda_stream
    with Codec.open(bundle, engine="trt") as codec:
        data = codec.encode(x, level=7, quality=40, stream=stream)
        x_hat = codec.decode(data, out=torch.empty_like(x), stream=stream)  # in order with what torch does next
        error = torch.mean((x_hat.float() - x.float()) ** 2)
    print(f"{len(data)} bytes, {float(10 * torch.log10(255**2 / error)):.2f} dB")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
