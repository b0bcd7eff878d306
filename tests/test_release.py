"""What a release says of itself agrees in all places, and the text speaks of the project alone."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

import pannsx

ROOT = Path(__file__).resolve().parent.parent
MAX_SCENE_BYTES = 300_000
# sin and exp differ in the last bit between C libraries, which can turn a rounding to 16 bit over.
SCENE_TOLERANCE = 1

TEXT = {"", ".cff", ".csv", ".json", ".md", ".py", ".toml", ".txt", ".yml"}
# Written apart, so that this file passes its own check.
MACHINE_PATHS = [
    r"(?<![\w.])/" + f"(?:home|root|work|tmp|{'Users'})/",
    r"[A-Z]:\\" + "Users",
    r"\.\./" + "shared(?!/data)",
]


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def text_files() -> Iterator[Path]:
    """Every text file of the project; folders with a leading dot are tools' caches, two excepted."""
    folders = [ROOT]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            hidden = path.name.startswith(".") and path.name not in {".ci", ".github", ".gitignore"}
            if path.is_dir():
                if (
                    not hidden
                    and path.name not in {"__pycache__", "build", "dist"}
                    and path.suffix != ".egg-info"
                ):
                    folders.append(path)
            elif path.suffix in TEXT and not hidden:
                yield path


def test_bibtex_is_what_the_citation_file_says() -> None:
    citation, readme = read("CITATION.cff"), read("README.md")
    article, software = re.findall(r"^@\w+\{.*?^\}$", readme, re.M | re.S)
    for key in ("title", "journal", "year", "volume", "doi"):
        (value,) = re.findall(rf'^  {key}: "?(.+?)"?$', citation, re.M)
        assert f"{{{value}}}" in article.replace("{{PANNs}", "{PANNs"), key
    pages = [re.search(rf"^  {end}: (\d+)$", citation, re.M)[1] for end in ("start", "end")]
    assert f"{{{pages[0]}--{pages[1]}}}" in article
    families = re.findall(r"family-names: (\w+)\n +given-names: \"?([\w. ]+)", citation)
    assert " and ".join(f"{family}, {given}" for family, given in families) in article
    title = re.search(r'^title: "(.+)"$', citation, re.M)[1]
    assert f"{{{title}}}" in software
    assert f"version = {{{pannsx.__version__}}}" in software


def test_version_is_the_same_everywhere() -> None:
    newest = re.search(r"^## \[(.+?)\]", read("CHANGELOG.md"), re.M)
    cited = re.search(r"^version: (.+)$", read("CITATION.cff"), re.M)
    assert newest is not None
    assert cited is not None
    assert newest[1] == cited[1] == pannsx.__version__


def test_supported_pythons_are_the_same_everywhere() -> None:
    project = read("pyproject.toml")
    pythons = re.findall(r"Python :: (3\.\d+)", project)
    assert pythons == ["3.10", "3.11", "3.12", "3.13", "3.14"]
    assert f'requires-python = ">={pythons[0]}"' in project
    assert f'target-version = "py{pythons[0].replace(".", "")}"' in project
    quoted = ", ".join(f'"{python}"' for python in pythons)
    assert f"python: [{quoted}]" in read(".github/workflows/ci.yml")
    assert f"PYTHONS = ({quoted})" in read("tools/check_wheels.py")


def test_licence_and_typing_are_declared() -> None:
    project = read("pyproject.toml")
    assert 'license = "MIT AND CC-BY-4.0 AND CC-BY-SA-4.0"' in project
    assert 'license-files = ["LICENSE", "NOTICE", "pannsx/data/audioset_tree.LICENSE.txt"]' in project
    assert read("LICENSE").startswith("MIT License")
    assert (ROOT / "pannsx" / "py.typed").read_bytes() == b""


def test_notice_names_every_data_file() -> None:
    notice = read("NOTICE")
    files = [path for path in (ROOT / "pannsx" / "data").iterdir() if path.is_file() and path.suffix != ".py"]
    assert files
    unnamed = [path.name for path in files if f"pannsx/data/{path.name}" not in notice]
    assert not unnamed


def test_release_check_knows_every_data_file() -> None:
    known = runpy.run_path(str(ROOT / "tools" / "check_release.py"))["WHEEL_DATA"]
    data = (ROOT / "pannsx" / "data").iterdir()
    present = {f"pannsx/data/{path.name}" for path in data if path.is_file() and path.suffix != ".py"}
    assert {name for name in known if name.startswith("pannsx/data/")} == present


@pytest.mark.parametrize("name", ["install", "test"])
def test_readme_has_its_commands(name: str) -> None:
    blocks = re.findall(rf"^<!-- command: {name} -->\n```sh\n(.+)\n```$", read("README.md"), re.M)
    assert len(blocks) == 1
    # Whole on a fresh machine: each makes the environment that it uses.
    assert blocks[0].startswith("python -m venv .venv && ")
    assert f"readme_command {name}" in read(".ci/run").replace("run_readme", "readme")


def test_text_speaks_of_the_project_alone() -> None:
    found = [
        f"{path.relative_to(ROOT).as_posix()}: {match[0]}"
        for path in text_files()
        for pattern in MACHINE_PATHS
        for match in re.finditer(pattern, path.read_text("utf-8"))
    ]
    assert not found


def test_links_in_readme_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", read("README.md"))
    assert targets
    assert not [target for target in targets if not (ROOT / target).exists()]


def test_example_scene_is_what_its_script_makes() -> None:
    path = ROOT / "examples" / "scene.flac"
    make_scene = runpy.run_path(str(ROOT / "examples" / "make_scene.py"))["make_scene"]
    stored, sample_rate = soundfile.read(path, dtype="int16")
    made = make_scene()
    assert sample_rate == 32_000
    assert stored.shape == made.shape
    assert np.abs(stored.astype(int) - made).max() <= SCENE_TOLERANCE
    assert path.stat().st_size < MAX_SCENE_BYTES
