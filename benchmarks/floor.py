"""The least time that a part could take on a device: its bytes over the copy bandwidth, its MACs over the matrix rate.

What a newcomer gets wrong: the bytes here are not those of the graph as written (traffic.py counts these). They are
what an engine has to move that fuses everything else into its convolutions: each convolution reads its input and its
weights once and writes its output once. An engine that fuses several convolutions can go below.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..runtime.onnx_file import fold_constants, infer_shapes, read

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Peaks:
    """What a device reaches: bytes read and written a second by a copy; multiplications a second in big 1x1
    convolutions, in the precision of the transforms and in float32."""

    copy_gb_per_s: float
    transform_tmac_per_s: float
    float32_tmac_per_s: float


@dataclass(frozen=True, slots=True)
class Work:
    """What a part has to do for inputs of a shape."""

    num_bytes: int
    num_macs: int

    def floor_ms(self, peaks: Peaks, in_half: bool) -> float:
        """The larger of both times, in milliseconds; `in_half`: in the precision of TensorRT's transforms."""
        rate = peaks.transform_tmac_per_s if in_half else peaks.float32_tmac_per_s
        return max(1e3 * self.num_bytes / (1e9 * peaks.copy_gb_per_s), 1e3 * self.num_macs / (1e12 * rate))


def part_work(model: bytes, shapes: Shapes, item_bytes: int) -> Work:
    """Bytes and multiplications of a part's ONNX file; `item_bytes` 2 for float16, 4 for float32.

    Raises:
        BundleError: the graph cannot be read.
    """
    graph = fold_constants(read(model))
    found = infer_shapes(graph, dict(shapes))
    num_bytes = num_macs = 0
    for node in graph.nodes:
        if node.op == "Conv":
            x, weight, out = (int(np.prod(found[name])) for name in (*node.inputs[:2], node.outputs[0]))
            num_bytes += item_bytes * (x + weight + out)
            num_macs += int(np.prod((found[node.outputs[0]][0], *found[node.outputs[0]][2:]))) * weight
    return Work(num_bytes, num_macs)
