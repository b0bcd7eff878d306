"""Build the wheel and the sdist and check that their contents are complete, with nothing added.

python tools/check_release.py [--to FOLDER]

Needs the package ``build``.  The expected contents are the tree's modules and the lists below (all other
files), so a file added by accident fails as surely as a missing one.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from email.parser import HeaderParser
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_CHECKPOINT_BYTES = 10_000_000  # the bound on the bundled checkpoint
MAX_SDIST_BYTES = 16_000_000  # checkpoint, golden data and example scene, with room for the text

# Everything in the wheel that is neither a module nor metadata.
WHEEL_DATA = {
    "pannsx/py.typed",
    "pannsx/weights_manifest.json",
    "pannsx/data/audioset_labels.csv",
    "pannsx/data/audioset_labels.NOTICE.txt",
    "pannsx/data/audioset_tree.csv",
    "pannsx/data/audioset_tree.LICENSE.txt",
    "pannsx/data/MobileNetV1_distilled.safetensors",
    "pannsx/data/MobileNetV1_distilled.ATTRIBUTION.txt",
    "pannsx/report/events.js",
    "pannsx/report/formats.js",
    "pannsx/report/index.html",
    "pannsx/report/page.css",
    "pannsx/report/page.html",
    "pannsx/report/page.js",
}
POINTS = "pannsx/data/MobileNetV1_distilled.operating_points.json"
if (ROOT / POINTS).is_file():  # made by train.calibrate
    WHEEL_DATA.add(POINTS)
WHEEL_METADATA = {
    "METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "licenses/NOTICE",
    "licenses/pannsx/data/audioset_tree.LICENSE.txt",
}  # fmt: skip

METADATA = {
    "Name": "pannsx",
    "License-Expression": "MIT AND CC-BY-4.0 AND CC-BY-SA-4.0",
    "Requires-Python": ">=3.10",
}

# The sdist: files at its top, and for each folder the permitted kinds of files.
SDIST_TOP = {
    "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "NOTICE", "PKG-INFO", "README.md",
    "mkdocs.yml", "pyproject.toml", "weights_manifest.json", ".gitignore", ".ci/run",
    ".github/workflows/ci.yml",
}  # fmt: skip
SDIST_FOLDERS = {
    "benchmarks": ("*.py", "*.md", "*.json", "*.txt"),
    "docs": ("*.md", "*.svg", "*.png", "*.css"),
    "examples": ("*.py", "*.md", "*.html", "*.js", "*.json", "scene.flac"),
    "tests": ("*.py", "golden/*.npz", "golden/*.json", "golden/*.md"),
    "tools": ("*.py",),
    "train": ("*.py", "*.md", "*.toml", "pool/*.csv"),
}
SDIST_MUST = {"docs", "examples", "tests", "tools"}  # required folders of a source release


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from the sdist, in isolation; returns (wheel, sdist)."""
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f"{run.stdout}{run.stderr}\nthe build failed")
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return wheel, sdist


def difference(kind: str, found: set[str], expected: set[str]) -> list[str]:
    """One complaint for each missing and each unexpected file."""
    missing = [f"{kind}: {name} is missing" for name in sorted(expected - found)]
    surplus = [f"{kind}: {name} does not belong in it" for name in sorted(found - expected)]
    return missing + surplus


def package_files() -> set[str]:
    """Every module of the package in the tree, and the package's data files."""
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pannsx").rglob("*.py")}
    return modules | WHEEL_DATA


def check_wheel(path: Path, version: str) -> list[str]:
    """Contents, sizes and metadata of the wheel."""
    with zipfile.ZipFile(path) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist() if not entry.is_dir()}
        info = f"pannsx-{version}.dist-info"
        complaints = difference(
            "wheel", set(sizes), package_files() | {f"{info}/{name}" for name in WHEEL_METADATA}
        )
        complaints += [
            f"wheel: {name} has {size} bytes; fewer than {MAX_CHECKPOINT_BYTES} are allowed"
            for name, size in sizes.items()
            if name.endswith(".safetensors") and size >= MAX_CHECKPOINT_BYTES
        ]
        if f"{info}/METADATA" in sizes:
            metadata = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
            wanted = METADATA | {"Version": version}
            complaints += [
                f"wheel: {field} is {metadata[field]!r}; it must be {value!r}"
                for field, value in wanted.items()
                if metadata[field] != value
            ]
    return complaints


def check_sdist(path: Path, version: str) -> list[str]:
    """Contents and size of the source archive."""
    prefix = f"pannsx-{version}/"
    with tarfile.open(path) as archive:
        names = {member.name for member in archive.getmembers() if not member.isdir()}
    outside = [f"sdist: {name} is outside {prefix}" for name in sorted(names) if not name.startswith(prefix)]
    found = {name[len(prefix) :] for name in names if name.startswith(prefix)}
    packaged = package_files() - {"pannsx/weights_manifest.json"} | SDIST_TOP
    others = found - packaged
    complaints = outside + difference("sdist", found - others, packaged)
    for name in sorted(others):
        folder, _, rest = name.partition("/")
        if (
            not any(fnmatch(rest, pattern) for pattern in SDIST_FOLDERS.get(folder, ()))
            or "__pycache__" in name
        ):
            complaints.append(f"sdist: {name} does not belong in it")
    present = {name.partition("/")[0] for name in others}
    complaints += [f"sdist: nothing of {folder}/ is in it" for folder in sorted(SDIST_MUST - present)]
    if path.stat().st_size > MAX_SDIST_BYTES:
        complaints.append(f"sdist: {path.stat().st_size} bytes; at most {MAX_SDIST_BYTES} are allowed")
    return complaints


def check_installed(wheel: Path, version: str, folder: Path) -> list[str]:
    """Install the wheel alone into a folder and import it from there, away from the tree."""
    target = folder / "installed"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(target),
        str(wheel),
    ]
    subprocess.run(install, check=True)
    # Isolated (-I): neither the tree nor PYTHONPATH; only the folder is put in front.
    program = (
        f"import sys; sys.path.insert(0, {str(target)!r})\n"
        "import pannsx, importlib.resources\n"
        "print(pannsx.__version__)\n"
        "print(pannsx.__file__)\n"
        "files = importlib.resources.files('pannsx')\n"
        "print(files.joinpath('weights_manifest.json').is_file())\n"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-c", program], check=True, cwd=folder, capture_output=True, text=True
    )
    wanted = [version, str(target / "pannsx" / "__init__.py"), "True"]
    got = run.stdout.splitlines()
    return (
        [] if got == wanted else [f"installed wheel: version, place, manifest are {got}; expected {wanted}"]
    )


def report(complaints: Iterable[str]) -> int:
    """Print the complaints; returns the exit status."""
    lines = list(complaints)
    for line in lines:
        print(line, file=sys.stderr)
    return 1 if lines else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the release archives and check their contents.")
    parser.add_argument("--to", type=Path, help="keep the archives in this folder (without archives in it)")
    arguments = parser.parse_args()
    found = re.search(r'^__version__ = "(.+)"$', (ROOT / "pannsx" / "version.py").read_text("utf-8"), re.M)
    if found is None:
        return report(["pannsx/version.py has no __version__"])
    version = found[1]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch).resolve()
        wheel, sdist = build(arguments.to.resolve() if arguments.to else folder)
        complaints = check_wheel(wheel, version) + check_sdist(sdist, version)
        complaints += check_installed(wheel, version, folder)
        if not complaints:
            for path in (wheel, sdist):
                print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, complete, nothing else in it")
    return report(complaints)


if __name__ == "__main__":
    sys.exit(main())
