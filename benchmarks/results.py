"""What a run measured: flat rows, one class per table, the same in memory, JSON and CSV.

What a newcomer gets wrong: `latency_*` is wall time and feels every other process of the machine, `cpu_*` is the
time that this process' threads were computing. On a shared machine compare `cpu_*`; with more than one thread it adds
up all of them. A row names its engine, so that rows of several engines live in one table.
"""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..runtime.errors import BasicError

REPORT_FORMAT = "basic-bench"
REPORT_VERSION = 1


class BenchError(BasicError):
    """A benchmark was asked for something it cannot measure."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Rate in bits per pixel (ascending), PSNR in dB; `source` says whose numbers these are."""

    name: str
    source: str
    bpp: tuple[float, ...]
    psnr_db: tuple[float, ...]
    ms_ssim: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles over `num_samples` calls after warm-up: p50, p90, p99 of wall time, p50 of CPU time, mean wall."""

    num_samples: int
    latency_p50_ms: float
    latency_p90_ms: float
    latency_p99_ms: float
    latency_mean_ms: float
    cpu_p50_ms: float


@dataclass(frozen=True, slots=True)
class PartRow:
    """One network part of one level, per image; `traffic_bytes` is None where the onnx package is not installed."""

    engine: str
    level: int
    part: str
    kmacs_per_pixel: float
    num_macs: int
    num_parameters: int
    traffic_bytes: int | None
    num_samples: int
    latency_p50_ms: float
    latency_p90_ms: float
    latency_p99_ms: float
    cpu_p50_ms: float
    peak_memory_mib: float | None
    precision: str = ""  # float, int8 or exact, as the bundle says; int16 where loops of our own ran it


@dataclass(frozen=True, slots=True)
class LevelRow:
    """A whole `encode` (image to file) or `decode` (file to image) of one level.

    network_ms, coder_ms and glue_ms are medians of wall time; glue is what is neither: padding, rounding, packing,
    header, checksums, conversion from and to Pillow. images_per_s is 1 / mean latency, one image at a time.
    """

    engine: str
    level: int
    task: str
    kmacs_per_pixel: float
    num_parameters: int
    num_groups: int
    bpp: float
    num_samples: int
    latency_p50_ms: float
    latency_p90_ms: float
    latency_p99_ms: float
    cpu_p50_ms: float
    network_ms: float
    coder_ms: float
    glue_ms: float
    images_per_s: float
    peak_memory_mib: float | None


@dataclass(frozen=True, slots=True)
class QualityRow:
    """Means over images: bpp of whole files, PSNR over RGB, MS-SSIM (None: an image is too small for it)."""

    engine: str
    level: int
    quality: int
    num_images: int
    bpp: float
    psnr_db: float
    ms_ssim: float | None


@dataclass(frozen=True, slots=True)
class PeerRow:
    """Another codec at one setting; rates are None where its weights are random."""

    peer: str
    setting: str
    num_images: int
    bpp: float | None
    psnr_db: float | None
    ms_ssim: float | None
    encode_p50_ms: float
    decode_p50_ms: float
    encode_cpu_p50_ms: float
    decode_cpu_p50_ms: float


@dataclass(frozen=True, slots=True)
class BdRow:
    """BD-rate of a level against a reference: negative is smaller files; None with a reason in `note`."""

    engine: str
    level: int
    reference: str
    bd_rate_percent: float | None
    note: str


@dataclass(frozen=True, slots=True)
class FitRow:
    """latency = call + macs * MACs + bytes * traffic over all parts of an engine, with one standard error each; MACs of
    parts in int8 and in int16 have coefficients of their own, and parts in int16 no traffic.

    `clock` says which time was fitted: "wall", or "cpu", which other processes disturb less.
    Least squares on relative errors, no negative coefficient. The errors of the prediction are for single parts and
    for the whole network of a level (encode and decode), where errors of the parts partly cancel.
    """

    engine: str
    clock: str
    model: str
    num_points: int
    call_ms: float
    call_error_ms: float
    macs_ms_per_gmac: float
    macs_error_ms_per_gmac: float
    bytes_ms_per_mib: float | None
    bytes_error_ms_per_mib: float | None
    part_mean_error_percent: float
    part_max_error_percent: float
    level_mean_error_percent: float
    level_max_error_percent: float
    int8_ms_per_gmac: float | None = None  # of parts in int8, where there are any and bytes are fitted too
    int8_error_ms_per_gmac: float | None = None
    int16_ms_per_gmac: float | None = None  # of integer networks by loops of our own, likewise
    int16_error_ms_per_gmac: float | None = None

    def rates(self) -> str:
        """Milliseconds per GMAC of every kind of part, in words."""
        rates = {"": self.macs_ms_per_gmac, " in int8": self.int8_ms_per_gmac, " in int16": self.int16_ms_per_gmac}
        found = [f"{value:.3g} ms/GMAC{kind}" for kind, value in rates.items() if value]
        return f"{found[0]} ({', '.join(found[1:])})" if found[1:] else "".join(found)


@dataclass(frozen=True, slots=True)
class ShareRow:
    """Where the time of one task goes by the fit: MACs, memory traffic, calls, what the fit misses, coder, glue."""

    engine: str
    level: int
    task: str
    macs_ms: float
    bytes_ms: float
    calls_ms: float
    unexplained_ms: float
    coder_ms: float
    glue_ms: float


@dataclass(frozen=True, slots=True)
class SpeedupRow:
    """How many times less time than a peer, in the same run."""

    engine: str
    level: int
    task: str
    peer: str
    cpu_times_faster: float
    wall_times_faster: float


@dataclass(frozen=True, slots=True)
class DevicePartRow:
    """One part for a batch of images of one size (as "1920x1080", padded to multiples of 64).

    `clock`: "device" is time between events of the GPU, copies to and from the host excluded; "wall" is the whole call.
    floor_ms: the larger of bytes over copy bandwidth and MACs over matrix rate (floor.py); times_floor: how far above.
    """

    engine: str
    level: int
    part: str
    size: str
    batch: int
    clock: str
    num_samples: int
    latency_p50_ms: float
    latency_p90_ms: float
    num_macs: int
    num_bytes: int
    floor_ms: float | None
    times_floor: float | None


@dataclass(frozen=True, slots=True)
class ThroughputRow:
    """Whole images from host memory to host memory, coder included: `batch` images in one call.

    latency_p50_ms is of a call; images_per_s from its median. joules_per_image is the GPU's alone.
    """

    engine: str
    level: int
    task: str
    size: str
    batch: int
    num_samples: int
    latency_p50_ms: float
    latency_p90_ms: float
    images_per_s: float
    bpp: float
    gpu_memory_mib: float | None
    joules_per_image: float | None


@dataclass(frozen=True, slots=True)
class ExactRateRow:
    """Whole files by the integer entropy networks against files by the float networks that they came from.

    Means over images of bpp and of PSNR over RGB; cost_percent: how many bytes more the exact files have.
    """

    engine: str
    level: int
    quality: int
    num_images: int
    exact_bpp: float
    float_bpp: float
    cost_percent: float
    exact_psnr_db: float
    float_psnr_db: float


@dataclass(frozen=True, slots=True)
class ExactTimeRow:
    """p50 of CPU time with integer and with float entropy networks: hyper and contexts alone, and a whole decode.

    The ratios are medians over pairs of neighbouring runs, integer over float.
    """

    engine: str
    level: int
    num_samples: int
    exact_entropy_cpu_ms: float
    float_entropy_cpu_ms: float
    entropy_ratio: float
    exact_decode_cpu_ms: float
    float_decode_cpu_ms: float
    decode_ratio: float


@dataclass(frozen=True, slots=True)
class PixelRow:
    """Pixels of equal latents by two engines: the largest difference in 8-bit steps, the PSNR of one to the other."""

    engine: str
    other: str
    level: int
    quality: int
    num_images: int
    max_difference: int
    psnr_db: float


Row = (
    PartRow
    | LevelRow
    | QualityRow
    | PeerRow
    | BdRow
    | FitRow
    | ShareRow
    | SpeedupRow
    | DevicePartRow
    | ThroughputRow
    | ExactRateRow
    | ExactTimeRow
    | PixelRow
)


@dataclass(slots=True)
class Report:
    """Everything one run measured, with its circumstances; `references` are curves to draw beside, not results."""

    circumstances: dict[str, Any]
    references: list[Curve] = field(default_factory=list)
    parts: list[PartRow] = field(default_factory=list)
    levels: list[LevelRow] = field(default_factory=list)
    qualities: list[QualityRow] = field(default_factory=list)
    bd_rates: list[BdRow] = field(default_factory=list)
    peers: list[PeerRow] = field(default_factory=list)
    fits: list[FitRow] = field(default_factory=list)
    shares: list[ShareRow] = field(default_factory=list)
    speedups: list[SpeedupRow] = field(default_factory=list)
    device_parts: list[DevicePartRow] = field(default_factory=list)
    throughputs: list[ThroughputRow] = field(default_factory=list)
    exact_rates: list[ExactRateRow] = field(default_factory=list)
    exact_times: list[ExactTimeRow] = field(default_factory=list)
    pixel_differences: list[PixelRow] = field(default_factory=list)

    def tables(self) -> dict[str, Sequence[Row]]:
        """Table name -> its rows, empty tables left out."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("circumstances", "references")}
        return {name: rows for name, rows in named.items() if rows}

    def to_json(self) -> str:
        """One JSON object: format, version, circumstances and a list of flat objects per table."""
        head = {"format": REPORT_FORMAT, "format_version": REPORT_VERSION, "circumstances": self.circumstances}
        rows = {name: [flat(row) for row in rows] for name, rows in self.tables().items()}
        return json.dumps(head | rows, indent=1, allow_nan=False) + "\n"

    def write_csv(self, folder: Path) -> list[Path]:
        """One `<table>.csv` per table that has rows; returns the paths."""
        paths = []
        for name, rows in self.tables().items():
            path = folder / f"{name}.csv"
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, [f.name for f in fields(rows[0])])
                writer.writeheader()
                writer.writerows(flat(row) for row in rows)
            paths.append(path)
        return paths


def flat(row: Row) -> dict[str, Any]:
    """A row as JSON holds it: six significant digits, more than any clock here resolves; infinity is null."""
    return {key: _round(value) if isinstance(value, float) else value for key, value in asdict(row).items()}


def _round(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def make_folder(path: Path) -> Path:
    """The folder to write to, made where it is not there. Raises BenchError where a file is in its place."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise BenchError(f"{path}: expected a folder to write to, found a file; choose another name") from None
    return path
