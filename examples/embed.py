"""Embedding the codec in a program: python examples/embed.py IMAGE OUTPUT [BUNDLE]"""

import sys

from basic.runtime.codec import Codec


def main(image: str, output: str, bundle: str | None = None) -> None:
    with Codec.open(bundle, num_threads=1) as codec:
        data = codec.encode(image, level=3, quality=40)  # bytes: analysis and entropy at level 3
        decoded = codec.decode(data, level=0)  # a Pillow image, by the lightest synthesis
    decoded.save(output)
    print(f"{len(data)} bytes, {8 * len(data) / (decoded.width * decoded.height):.3f} bit per pixel")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
