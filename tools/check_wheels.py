"""Check that every dependency has a wheel for each supported Python and system: users need no compiler.

python tools/check_wheels.py        (Python 3.11 or later)

Asks the package index through pip (a dry run: metadata, no installation), one call a combination. It needs
the network and some minutes, so run it before a release, not with every change.  Dependencies of
dependencies are not checked: they are pure Python or torch's own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parent.parent

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
# pip includes older manylinux tags only for manylinux2014, so the newer ones are listed.
PLATFORMS = {
    "Linux": ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64"),
    "macOS": ("macosx_14_0_arm64",),
    "Windows": ("win_amd64",),
}
EXTRAS = ("av", "parquet")


def requirements() -> list[str]:
    """The requirements of pyproject.toml: the dependencies, and those of the extras for users."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(one for extra in EXTRAS for one in extras[extra])]


def resolve(wanted: list[str], python: str, platforms: tuple[str, ...]) -> tuple[dict[str, str], str]:
    """The version of each requirement chosen by pip, and pip's complaint if there is no wheel."""
    with tempfile.TemporaryDirectory() as target:
        command = [
            sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet",
            "--only-binary=:all:", "--python-version", python, "--target", target, "--report", "-",
            *(part for platform in platforms for part in ("--platform", platform)),
            *wanted,
        ]  # fmt: skip
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        return {}, run.stderr.strip()
    installs = json.loads(run.stdout)["install"]
    return {one["metadata"]["name"]: one["metadata"]["version"] for one in installs}, ""


def main() -> int:
    wanted = requirements()
    n_failed = 0
    for system, platforms in PLATFORMS.items():
        for python in PYTHONS:
            versions, complaint = resolve(wanted, python, platforms)
            n_failed += bool(complaint)
            text = complaint or ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
            print(f"{system}, Python {python}: {'MISSING: ' if complaint else ''}{text}", flush=True)
    print(f"{n_failed} of {len(PLATFORMS) * len(PYTHONS)} combinations lack a wheel")
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
