"""Laws of the documentation: links lead somewhere, commands parse, shown code is the code, tables equal the model."""

import argparse
import re
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from basic.benchmarks import cli as bench_cli
from basic.benchmarks import readme_table
from basic.export import cli as export_cli
from basic.runtime import cli as runtime_cli
from basic.training import cli as train_cli
from basic.training.complexity import part_macs
from basic.training.model import Model
from basic.training.nodes import Architecture
from basic.training.structure import cli as search_cli
from basic.training.structure.levels import default_levels, load_table

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (".", "docs", "runtime", "csrc", "training", "export", "benchmarks", "checkpoints", "examples")
PAGES = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))
PARSERS = {
    "basic": runtime_cli._parser,
    "basic-train": train_cli.parser,
    "basic-search": search_cli.parser,
    "basic-export": export_cli.parser,
    "basic-bench": bench_cli.parser,
}
ARCH = Architecture()


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands() -> Iterator[tuple[str, list[str]]]:
    """(page, words) of every command line that a page shows in a ```sh block."""
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words:
                    yield page.name, words


def anchors(page: Path) -> set[str]:
    """What headings are called in links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists() and found.is_relative_to(ROOT), f"{page.name} links to {target}, which is not there"
        assert not anchor or anchor in anchors(found), f"{page.name} links to {target}: no such heading"


def test_commands_parse() -> None:
    parsed = set()
    for page, words in commands():
        if words[0] in PARSERS:
            parsed.add(words[0])
            try:
                PARSERS[words[0]]().parse_args(words[1:])
            except (SystemExit, argparse.ArgumentError) as error:
                pytest.fail(f"{page}: {shlex.join(words)} is refused: {error}")
        elif words[:2] == ["python", "-m"]:
            module = ROOT.joinpath(*words[2].split(".")[1:]).with_suffix(".py")
            assert module.exists(), f"{page}: {shlex.join(words)}: no {module.name}"
        elif words[0].endswith(".sh"):
            subprocess.run(["sh", "-n", ROOT / words[0]], check=True)
        else:
            assert words[0] in ("pip", "make"), f"{page}: {shlex.join(words)}: not checked by this test"
    assert parsed == set(PARSERS)


def test_make_targets_exist() -> None:
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    shown = {t for page in PAGES for t in re.findall(r"^    make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE)}
    assert shown and shown <= rules


def test_readme_shows_the_example_as_it_is() -> None:
    assert blocks(ROOT / "README.md", "python") == [(ROOT / "examples" / "embed.py").read_text(encoding="utf-8")]


def test_readme_has_a_place_for_measured_numbers() -> None:
    readme_table.replace_block((ROOT / "README.md").read_text(encoding="utf-8"), "numbers")


def test_level_table_is_the_default_one() -> None:
    rows = []
    for level, entry in enumerate(default_levels(ARCH, 8)):
        rows.append(f"| {level} | {len(entry.plan)} | {costs(entry.widths, entry.plan)} |")
    assert "\n".join(rows) in (ROOT / "docs" / "levels.md").read_text(encoding="utf-8")


def test_level_table_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = blocks(ROOT / "docs" / "levels.md", "python")
    exec(example, {})
    assert [len(entry.plan) for entry in load_table("levels.json", ARCH)] == [4, 8]


def test_architecture_page_has_the_nodes_and_their_costs() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    shown = {}
    for names, part, lightest, full in re.findall(
        r"^\| (`g_.*|`h_.*|`context.*) \| (\w+) \| (\d+) \| (\d+) \|$", text, re.M
    ):
        for name in re.findall(r"`([^`]+)`", names):
            shown |= dict.fromkeys(spread(name), (part, int(lightest), int(full)))
    assert shown == {node.name: (node.part, node.lightest, node.full) for node in ARCH.nodes}
    full, one = default_levels(ARCH, 2)[1], default_levels(ARCH, 2)[0].plan
    for title, widths, plan in (
        ("full level, 8 groups", full.widths, full.plan),
        ("full level, 1 group", full.widths, one),
        ("lightest level, 1 group", ARCH.lightest(), one),
    ):
        assert f"| {title} | {costs(widths, plan)} |" in text
    seen = export_cli.receptive_field(ARCH)
    assert f"{seen['analysis']} pixels for the analysis (y and z), {seen['synthesis']} for the synthesis" in text
    num_parameters = sum(parameter.numel() for parameter in Model().parameters())
    assert f"{num_parameters:,}".replace(",", " ") in text


def spread(name: str) -> list[str]:
    """ "a.{0..2}.b" -> a.0.b, a.1.b, a.2.b; "{0,3}" -> 0 and 3."""
    match = re.search(r"\{(\d)(\.\.|,)(\d)\}", name)
    if not match:
        return [name]
    first, separator, last = int(match[1]), match[2], int(match[3])
    numbers = (first, last) if separator == "," and last - first > 1 else range(first, last + 1)
    return [name.replace(match[0], str(number)) for number in numbers]


def costs(widths: dict[str, int], plan: tuple[tuple[int, ...], ...]) -> str:
    """kMAC/pixel of analysis, hyper, contexts, synthesis and all, as the pages show them."""
    macs = part_macs(ARCH, widths, plan)
    contexts = sum(value for name, value in macs.items() if name.startswith("context"))
    values = (macs["analysis"], macs["hyper"], contexts, macs["synthesis"], sum(macs.values()))
    return " | ".join(f"{value / 1000:.3f}" for value in values)


def test_a_source_archive_holds_every_page_and_what_it_links_to(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    pytest.importorskip("pybind11")
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(tmp_path), "sdist", "-d", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        held = {name.partition("/")[2] for name in tar.getnames()}
    wanted = {page.relative_to(ROOT).as_posix() for page in PAGES}
    for page in PAGES:
        text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s#]+)", text):
            if not re.match(r"[a-z]+:", target):
                wanted.add((page.parent / target).resolve().relative_to(ROOT.resolve()).as_posix())
    assert sorted(wanted - held) == []
