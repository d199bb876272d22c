"""What the integer entropy path costs against the float networks that it came from: bytes of files, time, pixels.

What a newcomer gets wrong: files of the float networks are no product. They are written by the same codec, coder and
tables with the checkpoint's own hyper and contexts in place of the bundle's, so that bytes compare with bytes; another
machine may fail to decode them, which is why bundles hold integers. Needs the extra `train`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image

from ..export.float_graphs import float_context_graph, float_hyper_graph
from ..export.slim import Cutter, gain_tables
from ..runtime.bitstream import read_header
from ..runtime.bundle import NUM_QUALITIES, Bundle
from ..runtime.codec import Codec
from ..runtime.engine import TRANSFORMS, Session
from ..runtime.engine_onnx import OnnxEngine
from ..runtime.engine_onnx import start as start_onnx
from ..runtime.layers import layers_from_arrays
from ..runtime.profile import Profile
from ..training.checkpoint import SHIPPED, load_checkpoint
from ..training.model import Model
from .images import Photo
from .quality import psnr_db
from .results import BenchError, ExactRateRow, ExactTimeRow, PixelRow

ENGINE = "ort"
WARMUP = 2
ROUNDED = 1.0  # an integer weight from its real one, and a little
SAME_GAIN = 1e-4  # relative; another processor has another last digit, another training run far more

Floats = NDArray[np.float32]
Step = Callable[[str], None]
Synthesis = Callable[[Floats, Floats], Floats]
"""y_hat (1, M, h, w) and inverse gain -> x_hat (1, 3, 16h, 16w) in 0..1."""


class FloatEngine:
    """onnxruntime with a model's float hyper and contexts; analysis and synthesis are the bundle's."""

    name = "ort, float entropy networks"

    def __init__(self, model: Model, engine: OnnxEngine) -> None:
        self._model, self._engine = model, engine

    def open(self, bundle: Bundle, level: int, part: str) -> Session:
        if part in TRANSFORMS:
            return self._engine.open(bundle, level, part)
        entry = bundle.level(level)
        cut = Cutter(self._model, dict(entry.widths))
        group = None if part == "hyper" else int(part.removeprefix("context_g"))
        graph = float_hyper_graph(cut) if group is None else float_context_graph(cut, entry.plan, group)
        return self._engine.open_model(graph.serialize(), f"level {level}, float {part}")

    def close(self) -> None:
        self._engine.close()


@dataclass(frozen=True)
class Pair:
    """The codec of a bundle and its float counterpart, the model that both come from, and its file's name."""

    checkpoint: str
    model: Model
    exact: Codec
    floating: Codec


def open_pair(bundle: Bundle, checkpoint: Path | None, levels: Sequence[int], num_threads: int) -> Pair:
    """Both codecs on the default engine, the float networks in onnxruntime; `checkpoint` None is the shipped one.

    Raises:
        BenchError: the checkpoint cannot be read, or the bundle was not exported from it.
    """
    path = SHIPPED if checkpoint is None else checkpoint
    try:
        model = load_checkpoint(path).model
    except (ValueError, OSError) as error:
        raise BenchError(f"exactness: {error}") from error
    for level in levels:
        _require_same_weights(bundle, level, model, path)
    floating = FloatEngine(model, start_onnx(num_threads))
    return Pair(path.name, model, Codec.open(bundle, ENGINE, num_threads), Codec(bundle, floating))


def _require_same_weights(bundle: Bundle, level: int, model: Model, path: Path) -> None:
    """The bundle's integers and gains must come from this checkpoint, else the comparison means nothing.

    The first integer layer reads z_hat as it is: each of its rows is the float row times one factor, rounded.
    """
    cut = Cutter(model, dict(bundle.level(level).widths))
    own = cut.pointwise("h_s.spread", cut.widths["h_s.inner"], None).weight[:, :, 0, 0].astype(np.float64)
    layers = layers_from_arrays(bundle.entropy_arrays(level), str(bundle.path))
    there = layers["h_s.spread"].weight.astype(np.float64)
    same = own.shape == there.shape and bundle.latent_channels == model.arch.latent_channels
    if same:
        factor = (own * there).sum(1) / (own * own).sum(1)
        same = bool((np.abs(there - own * factor[:, None]) <= ROUNDED).all())
        same &= np.allclose(gain_tables(model)[0][-1], bundle.gain(NUM_QUALITIES - 1).reshape(-1), rtol=SAME_GAIN)
    if not same:
        raise BenchError(
            f"exactness: level {level} of {bundle.path.name} was not exported from {path.name}; name the checkpoint "
            "that it comes from with --checkpoint"
        )


def open_session(data: bytes, num_threads: int, optimised: bool) -> Any:
    """A graph in onnxruntime with all of its optimisations or none."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # many sessions, few processors
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def rate_rows(
    pair: Pair, levels: Sequence[int], qualities: Sequence[int], photos: Sequence[Photo], step: Step
) -> list[ExactRateRow]:
    """Whole files of every photograph at every level and quality, written and read back by both."""
    rows = []
    for level in levels:
        for quality in qualities:
            step(f"exactness, files of level {level}, quality {quality}")
            found = np.mean([_rates(pair, photo, level, quality) for photo in photos], axis=0)
            exact_bpp, float_bpp, exact_psnr, float_psnr = map(float, found)
            rows.append(
                ExactRateRow(
                    engine=ENGINE,
                    level=level,
                    quality=quality,
                    num_images=len(photos),
                    exact_bpp=exact_bpp,
                    float_bpp=float_bpp,
                    cost_percent=100 * (exact_bpp / float_bpp - 1),
                    exact_psnr_db=exact_psnr,
                    float_psnr_db=float_psnr,
                )
            )
    return rows


def _rates(pair: Pair, photo: Photo, level: int, quality: int) -> tuple[float, float, float, float]:
    """bpp of the exact and the float file, PSNR of both."""
    image = Image.fromarray(photo.pixels)
    bpp, psnr = [], []
    for codec in (pair.exact, pair.floating):
        data = codec.encode(image, level=level, quality=quality)
        bpp.append(8 * len(data) / photo.num_pixels)
        psnr.append(psnr_db(photo.pixels, np.asarray(codec.decode(data))))
    return bpp[0], bpp[1], psnr[0], psnr[1]


def time_rows(
    pair: Pair, levels: Sequence[int], photo: Photo, quality: int, repeats: int, step: Step
) -> list[ExactTimeRow]:
    """CPU time of whole decodes and of their entropy parts; exact and float take turns, each with its own file."""
    image = Image.fromarray(photo.pixels)
    rows = []
    for level in levels:
        step(f"exactness, timing level {level}")
        codecs = (pair.exact, pair.floating)
        files = [codec.encode(image, level=level, quality=quality) for codec in codecs]
        found = []
        for _ in range(repeats + WARMUP):
            found.append([_decode_ms(codec, data) for codec, data in zip(codecs, files, strict=True)])
        times = np.array(found[WARMUP:])  # (repeats, exact or float, entropy parts or whole)
        exact, floating = np.median(times, axis=0)
        entropy_ratio, decode_ratio = np.median(times[:, 0] / times[:, 1], axis=0)
        rows.append(
            ExactTimeRow(
                engine=ENGINE,
                level=level,
                num_samples=repeats,
                exact_entropy_cpu_ms=float(exact[0]),
                float_entropy_cpu_ms=float(floating[0]),
                entropy_ratio=float(entropy_ratio),
                exact_decode_cpu_ms=float(exact[1]),
                float_decode_cpu_ms=float(floating[1]),
                decode_ratio=float(decode_ratio),
            )
        )
    return rows


def _decode_ms(codec: Codec, data: bytes) -> tuple[float, float]:
    """CPU milliseconds of hyper and contexts, and of everything."""
    profile = Profile()
    codec.decode(data, profile=profile)
    entropy = sum(seconds for part, seconds in profile.cpu_s.items() if part.startswith(("hyper", "context")))
    return 1e3 * entropy, 1e3 * sum(profile.cpu_s.values())


def pixel_rows(pair: Pair, levels: Sequence[int], photos: Sequence[Photo], quality: int, step: Step) -> list[PixelRow]:
    """The same latents to pixels by onnxruntime and by another: torch, or for a synthesis in int8, which torch has not,
    onnxruntime without its int8 kernels, so that every product is one of floats.
    """
    rows = []
    for level in levels:
        step(f"exactness, pixels of level {level}")
        name, synthesis = _other_synthesis(pair, level)
        largest, total, count = 0, 0, 0
        for photo in photos:
            data = pair.exact.encode(Image.fromarray(photo.pixels), level=level, quality=quality)
            difference = np.asarray(pair.exact.decode(data)).astype(np.int64) - _pixels(pair, data, synthesis)
            largest, count = max(largest, int(np.abs(difference).max())), count + difference.size
            total += int((difference**2).sum())
        psnr = 10 * math.log10(255**2 * count / total) if total else math.inf
        rows.append(PixelRow(ENGINE, name, level, quality, len(photos), largest, psnr))
    return rows


def _other_synthesis(pair: Pair, level: int) -> tuple[str, Synthesis]:
    bundle = pair.exact.bundle
    part = bundle.level(level).parts["synthesis"]
    if part.precision == "int8":
        session = open_session(bundle.read(part.file), 1, optimised=False)
        return "ort, no int8 kernels", lambda y, gain: session.run(["x_hat"], {"y_hat": y, "inverse_gain": gain})[0]
    widths = dict(bundle.level(level).widths)

    @torch.no_grad()
    def by_torch(y_hat: Floats, inverse_gain: Floats) -> Floats:
        x_hat: Floats = pair.model.g_s(torch.from_numpy(y_hat * inverse_gain), widths).clamp(0.0, 1.0).numpy()
        return x_hat

    return "torch", by_torch


def _pixels(pair: Pair, data: bytes, synthesis: Synthesis) -> NDArray[np.int64]:
    """A file's pixels (H, W, 3) by a synthesis, from the latent that every engine decodes."""
    header = read_header(data)
    latent = pair.exact.decode_latents(data)[None].astype(np.float32) / np.float32(8)
    x_hat = synthesis(latent, pair.exact.bundle.inverse_gain(header.quality))[0]  # (3, padded H, padded W)
    pixels = np.floor(x_hat * 255 + np.float32(0.5)).transpose(1, 2, 0)  # rounded as the runtime rounds
    whole: NDArray[np.int64] = pixels.astype(np.int64)
    return whole[: header.height, : header.width]
