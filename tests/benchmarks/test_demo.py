"""The demo's own few functions; `make demo` runs all of it."""

import importlib.util
import io
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image
from rich.console import Console
from sample_report import full_report

SCRIPT = Path(__file__).parents[2] / "examples" / "demo.py"


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(table: object) -> str:
    text = io.StringIO()
    Console(file=text, width=160).print(table)
    return text.getvalue()


def test_photographs_become_files_and_come_back(
    demo: ModuleType, bundle_path: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not bundle_path.exists():
        pytest.skip("no bundle")
    monkeypatch.setattr(demo, "SHOWN_LEVELS", (0,))
    text = shown(demo.code_photos(bundle_path, data_folder / "kodim03.png", tmp_path))
    coded = tmp_path / "kodim03_level0.bsc"
    assert f"{coded.stat().st_size:,}" in text
    with Image.open(coded.with_suffix(".png")) as decoded:
        assert decoded.size == (768, 512)


def test_summary_has_a_line_per_level(demo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SHOWN_QUALITY", 40)
    report = full_report()
    report.circumstances.update(cpu_model="a processor", images={"timed_sizes": ["768x512"]})
    text = shown(demo.summary(report))
    assert "a processor" in text and "768x512" in text
    assert "34.00" in text and "35.00" in text
    heading = " ".join(text.split())
    assert "CPU time on one thread" in heading and heading.count("kMAC/px") == 2 == heading.count("CPU ms")
    row = next(row for row in report.levels if (row.level, row.task) == (1, "decode"))
    cells = [f"{row.kmacs_per_pixel:.2f}"] * 2 + [f"{row.cpu_p50_ms:.1f}"] * 2  # of both tasks
    (line,) = [line for line in text.splitlines() if "35.00" in line]
    assert [cell.strip() for cell in line.split("│")][2:6] == cells
    narrow = io.StringIO()
    Console(file=narrow, width=80).print(demo.summary(report))
    assert "…" not in narrow.getvalue() and all(name in narrow.getvalue() for name in ("kMAC/px", "MS-SSIM", "groups"))


def test_the_report_says_how_it_was_made(demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["examples/demo.py", "--output", "here"])
    assert demo.settings(tmp_path, tmp_path).command == "python examples/demo.py --output here"


def test_a_missing_checkpoint_fails(demo: ModuleType, tmp_path: Path) -> None:
    assert demo.main(["--checkpoint", str(tmp_path / "none.safetensors"), "--output", str(tmp_path / "out")]) == 1
