"""What several folders of tests share."""

import os
from pathlib import Path

import pytest

from basic.export.cli import main as export_main
from basic.runtime.bundle import Bundle


@pytest.fixture(scope="session")
def bundle_path() -> Path:
    """The bundle that comes with the package; BASIC_TEST_BUNDLE names another."""
    given = os.environ.get("BASIC_TEST_BUNDLE")
    return Path(given) if given else Path(__file__).parent.parent / "runtime" / "default.bundle"


@pytest.fixture(scope="session")
def float_bundle_path(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with transforms in float, which GPU engines and PyTorch take: itself, or two levels exported again."""
    levels = Bundle.open(bundle_path).levels.values()
    if not any(part.precision == "int8" for level in levels for part in level.parts.values()):
        return bundle_path
    path = tmp_path_factory.mktemp("float") / "float.bundle"
    assert export_main(["-o", str(path), "--only", "0,3", "--int8", "none"]) == 0
    return path


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Three Kodak photographs."""
    return Path(__file__).parent / "data"
