"""Laws of the conformance vectors: exact engines pass, an engine that errs in one value is named."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from basic.runtime.bundle import Bundle
from basic.runtime.conformance import differing_parts, require_exact
from basic.runtime.engine import Array, Session, open_engine
from basic.runtime.errors import EngineError


@pytest.mark.parametrize("name", ["ort", "oracle"])
def test_the_engines_of_this_machine_are_exact(bundle_path: Path, name: str) -> None:
    bundle = Bundle.open(bundle_path)
    for level in bundle.levels:
        assert differing_parts(open_engine(name, 1), bundle, level) == []


class Off:
    """An engine that is right but for one unit in one output of one part."""

    name = "off"

    def __init__(self, part: str, output: str) -> None:
        self.engine, self.part, self.output = open_engine("ort", 1), part, output

    def open(self, bundle: Bundle, level: int, part: str) -> Session:
        session = self.engine.open(bundle, level, part)
        return Wrong(session, self.output) if part == self.part else session

    def close(self) -> None:
        self.engine.close()


class Wrong:
    def __init__(self, session: Session, output: str) -> None:
        self.session, self.output = session, output

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = {name: np.array(value) for name, value in self.session.run(inputs).items()}
        outputs[self.output].reshape(-1)[-1] += 1
        return outputs


@pytest.mark.parametrize("output", ["means", "indexes"])
def test_one_wrong_value_is_found_and_named(bundle_path: Path, output: str) -> None:
    bundle = Bundle.open(bundle_path)
    last = f"context_g{len(bundle.levels[3].plan) - 1}"
    with pytest.raises(EngineError, match=f"engine off: {last} of level 3"):
        require_exact(Off(last, output), bundle, 3)


def test_a_wrong_state_is_found_in_the_part_that_made_it(bundle_path: Path) -> None:
    assert differing_parts(Off("hyper", "state"), Bundle.open(bundle_path), 0)[0] == "hyper"
