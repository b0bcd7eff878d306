"""A file from the Hugging Face Hub through the official client: its cache, endpoint, tokens, offline mode."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pannsx.errors import WeightsError
from pannsx.types import PathLike
from pannsx.version import __version__
from pannsx.weights.record import HubSource

Token = str | bool | None
"""A token of the Hub; True or None: the client's own (`hf auth login`, or ``HF_TOKEN``); False: none."""

_TRUE = frozenset({"1", "ON", "YES", "TRUE"})  # values that the client itself accepts as true


def offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` forbids the network, also for URLs."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE


def cached(source: HubSource, *, cache_dir: PathLike | None = None) -> Path | None:
    """The file in the client's cache, or in another cache of its form, without network access, or None.

    A file in its usual place is found without importing the client, which takes a fifth of a second.
    """
    usual = None if "huggingface_hub" in sys.modules else _usual_place(source, cache_dir)
    if usual is not None:
        return usual
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(
        source.repo_id,
        source.filename,
        repo_type=source.repo_type,
        revision=source.revision,
        cache_dir=_as_path(cache_dir),
    )
    return Path(path) if isinstance(path, str) and Path(path).is_file() else None


def _usual_place(source: HubSource, cache_dir: PathLike | None) -> Path | None:
    """The file where the client's documentation says that it keeps it, or None if it is not there."""
    home = _folder("HF_HOME") or (_folder("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    cache = Path(cache_dir) if cache_dir is not None else _folder("HF_HUB_CACHE") or home / "hub"
    repository = cache / "--".join([f"{source.repo_type}s", *source.repo_id.split("/")])
    revision = source.revision or "main"
    try:
        commit = (repository / "refs" / revision).read_text("utf-8").strip()
    except OSError:
        commit = revision
    path = repository / "snapshots" / commit / source.filename
    return path if path.is_file() else None


def _folder(variable: str) -> Path | None:
    """The folder that a variable of the environment names, if it is set."""
    value = os.environ.get(variable)
    return Path(os.path.expandvars(value)).expanduser() if value else None


def download(
    source: HubSource, *, cache_dir: PathLike | None = None, progress: bool = True, token: Token = None
) -> Path:
    """Download the file to the client's cache and return its path; the caller checks its digest.

    Args:
        source: the file.
        cache_dir: another place of the client's cache.
        progress: show a progress bar.
        token: for a private repository.

    Raises:
        WeightsError: not found, refused, no connection, no room; says which.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    try:
        # Asked once: the download's own question is repeated for half a minute where nobody answers,
        # while the record's next source may be at hand.
        url = hf_hub_url(
            source.repo_id, source.filename, repo_type=source.repo_type, revision=source.revision
        )
        get_hf_file_metadata(url, token=token)
        with _progress_bars(progress):
            path = hf_hub_download(
                source.repo_id,
                source.filename,
                repo_type=source.repo_type,
                revision=source.revision,
                cache_dir=_as_path(cache_dir),
                library_name="pannsx",
                library_version=__version__,
                token=token,
            )
    except Exception as error:  # the client's errors share no base class across its versions and transports
        raise WeightsError(_explain(error)) from error
    return Path(path)


def small_files(
    repo_id: str,
    revision: str | None,
    patterns: Sequence[str],
    *,
    cache_dir: PathLike | None = None,
    token: Token = None,
    fetch: bool = True,
) -> Path:
    """Download the files of a model repository that match a pattern -> the folder of that commit.

    Without a network, or without ``fetch``, it is the folder of the last download.

    Raises:
        WeightsError: as :func:`download`.
    """
    from huggingface_hub import snapshot_download

    try:
        with _progress_bars(False):
            folder = snapshot_download(
                repo_id,
                revision=revision,
                allow_patterns=list(patterns),
                ignore_patterns="*/*",
                cache_dir=_as_path(cache_dir),
                library_name="pannsx",
                library_version=__version__,
                token=token,
                local_files_only=not fetch,
            )
    except Exception as error:
        raise WeightsError(_explain(error)) from error
    return Path(folder)


def names_of_files(repo_id: str, revision: str | None, *, token: Token = None) -> list[str]:
    """Names of the files of a model repository.

    Raises:
        WeightsError: as :func:`download`.
    """
    from huggingface_hub import HfApi

    try:
        return HfApi(library_name="pannsx", token=token).list_repo_files(repo_id, revision=revision)
    except Exception as error:
        raise WeightsError(_explain(error)) from error


def discard(path: Path) -> None:
    """Remove a wrong file from the client's cache, so that it is downloaded again."""
    for file in (path.resolve(), path):  # the blob, and the link to it in the snapshot
        # In a cache that may not be written the file stays, and fails its check again next time.
        with suppress(OSError):
            file.unlink()


def _as_path(folder: PathLike | None) -> Path | None:
    return None if folder is None else Path(folder)


@contextmanager
def _progress_bars(wanted: bool) -> Iterator[None]:
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    # Where the variable is set the user has decided, and the client warns of any other wish.
    if wanted or are_progress_bars_disabled() or "HF_HUB_DISABLE_PROGRESS_BARS" in os.environ:
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _explain(error: BaseException) -> str:
    """One line for the user: status or root cause, and what may help."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    for link in chain:
        status = getattr(getattr(link, "response", None), "status_code", None)
        if status in (401, 403):
            return (
                f"the Hub refused access ({status}): the repository is private, gated or gone; "
                "accept its terms and log in with `hf auth login` or set HF_TOKEN"
            )
        if status == 404:
            return "the Hub does not have it (404): no such repository, revision or file"
        if status is not None and status >= 400:
            return f"the Hub answered {status}"
    root = chain[-1]
    if any("Timeout" in type(link).__name__ or isinstance(link, TimeoutError) for link in chain):
        return f"the Hub timed out: {root}"
    if any(type(link).__name__ == "OfflineModeIsEnabled" for link in chain):
        return "not in the Hub cache, and HF_HUB_OFFLINE forbids the network"
    if any(isinstance(link, ConnectionError) or "Connect" in type(link).__name__ for link in chain):
        return f"no connection to the Hub: {root}"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"
