"""The user's private folder for machine code: one that another user could have prepared is never used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pannsx.jit import private_folder as module
from pannsx.jit.private_folder import private_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has no such folder")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """TMPDIR, the only temporary folder."""
    monkeypatch.setattr(module, "_TEMPORARY", ())
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return Path(os.path.realpath(tmp_path))


@pytest.fixture
def own(temporary: Path) -> Path:
    """The folder as it is called, not created."""
    return temporary / f"pannsx-{os.getuid()}"


def test_it_is_created_for_its_owner_alone_and_found_again(own: Path) -> None:
    assert private_folder() == own
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    (own / "kept").touch()
    assert private_folder() == own
    assert (own / "kept").exists()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o707, 0o777 | stat.S_ISVTX])
def test_one_that_others_may_enter_is_refused(mode: int, own: Path) -> None:
    own.mkdir()
    own.chmod(mode)
    assert private_folder() is None
    assert stat.S_IMODE(own.stat().st_mode) == mode


def test_a_link_is_refused(own: Path, temporary: Path) -> None:
    (temporary / "elsewhere").mkdir(mode=0o700)
    own.symlink_to(temporary / "elsewhere")
    assert private_folder() is None


def test_a_file_is_refused(own: Path) -> None:
    own.touch(mode=0o700)
    assert private_folder() is None


def test_another_users_is_refused(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own.mkdir(mode=0o700)
    assert module._is_made_private(own)
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    assert not module._is_made_private(own)


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_in_which_others_may_rename_is_refused(mode: int, own: Path, temporary: Path) -> None:
    temporary.chmod(mode)
    assert private_folder() is None
    assert not own.exists()
    temporary.chmod(mode | stat.S_ISVTX)  # as /tmp has it: only owners rename
    assert private_folder() == own


def test_so_is_one_below_such_a_folder(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = temporary / "open" / "below"
    below.mkdir(parents=True, mode=0o700)
    (temporary / "open").chmod(0o777)
    monkeypatch.setenv("TMPDIR", str(below))
    assert private_folder() is None


def test_a_link_to_the_temporary_folder_is_followed_before_it_is_judged(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary / "open").mkdir()
    (temporary / "open").chmod(0o777)
    (temporary / "closed").symlink_to(temporary / "open")
    monkeypatch.setenv("TMPDIR", str(temporary / "closed"))
    assert private_folder() is None


@pytest.mark.parametrize("given", ["", "here", "./tmp"])
def test_the_current_folder_is_never_taken(
    given: str, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary / (given or "here")).mkdir()
    monkeypatch.chdir(temporary)
    monkeypatch.setenv("TMPDIR", given)
    assert private_folder() is None


def test_the_next_one_is_tried(own: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TEMPORARY", (str(temporary),))
    monkeypatch.setenv("TMPDIR", str(temporary / "missing"))
    assert private_folder() == own
