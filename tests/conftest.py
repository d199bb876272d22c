"""What several folders of tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bundle_path() -> Path:
    """The bundle that comes with the package; BASIC_TEST_BUNDLE names another."""
    given = os.environ.get("BASIC_TEST_BUNDLE")
    return Path(given) if given else Path(__file__).parent.parent / "runtime" / "default.bundle"


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Three Kodak photographs."""
    return Path(__file__).parent / "data"
