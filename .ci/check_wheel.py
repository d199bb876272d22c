"""Check that a wheel holds the extension, the stubs, the package data and every command.

usage: check_wheel.py WHEEL
"""

import sys
import zipfile
from pathlib import Path

COMMANDS = ("basic", "basic-train", "basic-search", "basic-export", "basic-bench")


def missing_from(wheel: Path) -> list[str]:
    """What should be in the wheel and is not."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        commands = archive.read(entry_points).decode()
    wanted = ["basic/__init__.py", "basic/runtime/_ans.pyi"]
    for folder in ("runtime", "training", "export", "benchmarks"):
        wanted += [f"basic/{path}" for path in Path(folder).rglob("*.py")] + [f"basic/{folder}/py.typed"]
        wanted += [f"basic/{path}" for path in Path(folder).rglob("*.md")]
    wanted += ["basic/runtime/default.bundle", "basic/checkpoints/basic-s.safetensors"]
    wanted += ["basic/checkpoints/basic-s.calibration.npz"]
    wanted += ["basic/training/structure/learned.json"]
    data = (*Path("export").rglob("*.png"), *Path("benchmarks/kodak_curves").glob("*.json"))
    wanted += [f"basic/{path}" for path in data]
    missing = [name for name in wanted if name not in names]
    if not any(name.startswith("basic/runtime/_ans.") and name.endswith((".so", ".pyd")) for name in names):
        missing.append("basic/runtime/_ans (the built extension)")
    return missing + [f"command {command}" for command in COMMANDS if f"{command} = basic." not in commands]


def main() -> int:
    """0 when nothing is missing."""
    missing = missing_from(Path(sys.argv[1]))
    for name in missing:
        print(f"missing from {sys.argv[1]}: {name}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
