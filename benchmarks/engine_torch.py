"""The parts of a bundle in PyTorch, eager or compiled: what a user without these engines would run.

What a newcomer gets wrong: this is a yardstick, not an engine of the runtime. It runs the bundle's own graphs, node by
node, on the GPU where PyTorch has one (transforms in float16) and on the CPU otherwise (all in float32).
"""

from collections.abc import Mapping
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..runtime.bundle import Bundle
from ..runtime.engine import Array, Traits, refuse_int8
from ..runtime.errors import EngineError
from ..runtime.onnx_file import Node, ints, read
from ..runtime.trt_graph import FLOAT16, FLOAT32, Form, rewrite

TYPES = {FLOAT32: torch.float32, FLOAT16: torch.float16}
ON_DEVICE = ("state", "state_out")


class GraphModule(nn.Module):
    """A rewritten graph; initialisers are buffers, `forward` takes and gives tensors in the graph's order."""

    def __init__(self, model: bytes) -> None:
        super().__init__()
        graph = read(model)
        self.nodes = graph.nodes
        self.inputs = [port.name for port in graph.inputs]
        self.outputs = [port.name for port in graph.outputs]
        self._buffer_of = {name: f"b{i}" for i, name in enumerate(graph.initializers)}
        for name, array in graph.initializers.items():
            self.register_buffer(self._buffer_of[name], torch.from_numpy(np.array(array)))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        values = dict(zip(self.inputs, inputs, strict=True))
        for name, buffer in self._buffer_of.items():
            values[name] = getattr(self, buffer)
        for node in self.nodes:
            values[node.outputs[0]] = _compute(node, [values[name] for name in node.inputs])
        return tuple(values[name] for name in self.outputs)


def _compute(node: Node, x: list[Tensor]) -> Tensor:
    match node.op:
        case "Conv":
            (stride, *_), (pad, *_) = ints(node, "strides"), ints(node, "pads")
            (groups,) = ints(node, "group")
            return F.conv2d(x[0], x[1], x[2] if len(x) > 2 else None, stride, pad, groups=groups)
        case "Add":
            return x[0] + x[1]
        case "Sub":
            return x[0] - x[1]
        case "Mul":
            return x[0] * x[1]
        case "Max":
            return torch.maximum(x[0], x[1])
        case "Min":
            return torch.minimum(x[0], x[1])
        case "Clip":
            return torch.minimum(torch.maximum(x[0], x[1]), x[2])
        case "Floor":
            return torch.floor(x[0])
        case "LeakyRelu":
            slope = node.attributes["alpha"]
            return F.leaky_relu(x[0], float(slope) if isinstance(slope, int | float) else 0.0)
        case "DepthToSpace":
            return F.pixel_shuffle(x[0], ints(node, "blocksize")[0])
        case "Cast":
            return x[0].to(TYPES[ints(node, "to")[0]])
        case "Identity":
            return x[0]
    raise EngineError(f"engine torch: operator {node.op} is not known")


def _alone(module: GraphModule, name: str) -> GraphModule:
    """The module with a `forward` of its own: PyTorch counts compilations by code, and what it learned of shapes by
    the code's name; shared by all parts of a level, that count ends compiling in the middle of it."""
    code = GraphModule.forward.__code__.replace(co_name=name)
    module.forward = MethodType(FunctionType(code, GraphModule.forward.__globals__), module)  # type: ignore[method-assign]
    return module


class TorchState:
    """A tensor that stays where the network runs."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        found: Array = self.tensor.cpu().numpy()
        return found if dtype is None else found.astype(dtype)


class TorchSession:
    """One part."""

    def __init__(self, module: Any, names: GraphModule, dtypes: Mapping[str, np.dtype[Any]], device: str) -> None:
        self._module, self._names, self._dtypes, self._device = module, names, dtypes, device

    def run(self, inputs: Mapping[str, Array | TorchState]) -> dict[str, Any]:
        try:
            with torch.inference_mode():
                found = self._module(*(self._tensor(inputs[name]) for name in self._names.inputs))
        except Exception as error:  # those of the compiler share no base
            raise EngineError(f"engine torch: {error}") from error
        return {name: self._result(name, tensor) for name, tensor in zip(self._names.outputs, found, strict=True)}

    def _tensor(self, value: Array | TorchState) -> Tensor:
        return value.tensor if isinstance(value, TorchState) else torch.from_numpy(np.array(value)).to(self._device)

    def _result(self, name: str, tensor: Tensor) -> Array | TorchState:
        if name in ON_DEVICE:
            return TorchState(tensor.clone())  # a compiled graph writes its outputs again
        return tensor.cpu().numpy().astype(self._dtypes[name])


class TorchEngine:
    """PyTorch, as the name says: "torch" eager, "torch-compiled" through torch.compile."""

    def __init__(self, compiled: bool, num_threads: int | None = None, backend: Any = "inductor") -> None:
        self.name = "torch-compiled" if compiled else "torch"
        self._compiled, self._backend = compiled, backend
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.is_half = self.device == "cuda"
        self.traits = Traits(window_pixels=1 << 24, batch_pixels=1 << 24) if self.is_half else Traits()
        if num_threads is not None:
            torch.set_num_threads(num_threads)
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False

    @property
    def detail(self) -> str:
        device = torch.cuda.get_device_name() if self.device == "cuda" else self.device
        return f"PyTorch {torch.__version__} on {device}, {'compiled' if self._compiled else 'eager'}"

    def open(self, bundle: Bundle, level: int, part: str) -> TorchSession:
        refuse_int8(bundle, level, part, "PyTorch")
        entry = bundle.level(level).parts[part]
        module = GraphModule(rewrite(bundle.read(entry.file), part, Form(self.is_half, as_bytes=False)))
        module = module.to(self.device).eval()
        return TorchSession(
            self._compile(module, f"level_{level}_{part}"),
            module,
            {name: np.dtype(dtype) for name, dtype, _ in entry.outputs},
            self.device,
        )

    def _compile(self, module: GraphModule, name: str) -> Any:
        """For every shape anew; where compiling ends early it is an error, not a silent fall back to eager."""
        if not self._compiled:
            return module
        return torch.compile(_alone(module, name), backend=self._backend, fullgraph=True, dynamic=False)

    def close(self) -> None:
        """Nothing is held here."""
