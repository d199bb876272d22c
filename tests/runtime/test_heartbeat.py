"""Laws of the heartbeat: lines while it lasts, none afterwards, and an error passes through."""

import threading

import pytest

from basic.runtime.heartbeat import heartbeat


def test_lines_come_while_the_work_lasts_and_end_with_it() -> None:
    lines: list[str] = []
    third = threading.Event()

    def say(text: str) -> None:
        lines.append(text)
        if len(lines) == 3:
            third.set()

    with heartbeat(say, "still building", every_s=1e-3):
        assert third.wait(60)
    assert all(line.startswith("still building: ") and line.endswith(" s") for line in lines)
    assert "basic-heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_short_work_says_nothing_and_errors_pass() -> None:
    lines: list[str] = []
    with pytest.raises(KeyError), heartbeat(lines.append, "x", every_s=3600):
        raise KeyError
    assert lines == []
