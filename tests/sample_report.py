"""A report with every table, made up in a few lines."""

from basic.benchmarks.fit import fit_parts, shares
from basic.benchmarks.results import (
    BdRow,
    Curve,
    ExactRateRow,
    ExactTimeRow,
    LevelRow,
    PartRow,
    PeerRow,
    PixelRow,
    QualityRow,
    Report,
)
from basic.benchmarks.run import speedup

PARTS = {"analysis": 3.0, "hyper": 0.1, "context_g0": 0.2, "synthesis": 4.0}


def part_row(level: int, part: str, gmacs: float) -> PartRow:
    latency = 0.1 + 10 * gmacs
    return PartRow(
        engine="ort", level=level, part=part, kmacs_per_pixel=2.5 * gmacs, num_macs=int(1e9 * gmacs),
        num_parameters=1000, traffic_bytes=int(1e8 * gmacs**0.5), num_samples=5, latency_p50_ms=latency,
        latency_p90_ms=latency, latency_p99_ms=latency, cpu_p50_ms=latency, peak_memory_mib=None,
    )  # fmt: skip


def level_row(level: int, task: str) -> LevelRow:
    return LevelRow(
        engine="ort", level=level, task=task, kmacs_per_pixel=1.0 + level, num_parameters=1000, num_groups=1, bpp=0.5,
        num_samples=5, latency_p50_ms=10.0 * (1 + level), latency_p90_ms=12, latency_p99_ms=13,
        cpu_p50_ms=8.0 * (1 + level), network_ms=8.0, coder_ms=1.5, glue_ms=0.5, images_per_s=90.0,
        peak_memory_mib=40.0,
    )  # fmt: skip


def full_report() -> Report:
    """Two levels, two qualities, one peer, one reference."""
    report = Report({"command": "basic-bench <b> & more [x]", "threads": 1, "images": {"names": ["a.png"]}})
    report.references.append(Curve("JPEG", "made up", (0.2, 0.5, 1.0), (28.0, 32.0, 36.0)))
    report.parts.extend(part_row(level, part, g * (level + 1)) for level in (0, 1) for part, g in PARTS.items())
    report.levels.extend(level_row(level, task) for level in (0, 1) for task in ("encode", "decode"))
    for level in (0, 1):
        for quality, bpp in ((10, 0.3), (40, 0.8)):
            report.qualities.append(QualityRow("ort", level, quality, 1, bpp, 30 + 5 * bpp + level, None))
        report.bd_rates.append(BdRow("ort", level, "JPEG", -20.0 if level else None, "" if level else "no overlap"))
    peer = PeerRow("CompressAI", "random weights", 1, None, None, None, 700.0, 900.0, 650.0, 800.0)
    report.peers.append(peer)
    report.speedups.extend(speedup(row, peer) for row in report.levels)
    for with_bytes in (False, True):
        fit = fit_parts(report.parts, with_bytes=with_bytes)
        assert fit is not None
        report.fits.append(fit)
    report.exact_rates.append(ExactRateRow("ort", 0, 10, 1, 0.3, 0.2995, 0.167, 31.5, 31.5))
    report.exact_times.append(ExactTimeRow("ort", 0, 5, 2.0, 1.8, 1.11, 10.0, 9.8, 1.02))
    report.pixel_differences.append(PixelRow("ort", "torch", 0, 32, 1, 0, float("inf")))
    report.shares.extend(shares(report.fits[-1], report.parts, report.levels))
    return report
