"""Output files, checked before the work: names that collide, places that cannot be written."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pannsx.corpus.inputs import Item

_SHOWN = 3  # collisions named in an error
_TEMPORARY_BYTES = len(".4194304.tmp")  # what an atomic write adds to a name, see `pannsx.atomic`


class OutputError(ValueError):
    """An output cannot be written as asked."""


def output_files(
    items: Sequence[Item],
    folder: Path,
    suffix: str,
    *,
    keep_folders: bool = False,
    keep_extensions: bool = False,
) -> dict[Item, Path]:
    """A file for each item, named after it.

    Args:
        items: the sources.
        folder: folder of the files.
        suffix: their extension, with its dot.
        keep_folders: repeat the folders of the sources, from the folder that is common to all arguments.
        keep_extensions: keep the extension of a source before ``suffix``, so that ``a.wav`` and ``a.mp3``
            have an output each.

    Raises:
        OutputError: two items have the same output; the message names them.
    """
    root = _common_root(items) if keep_folders else None
    files = {item: folder / _relative(item, root, keep_extensions) for item in items}
    files = {item: path.with_name(path.name + suffix) for item, path in files.items()}
    _check_distinct(files, advise_folders=not keep_folders)
    return files


def check_output(output: Path, items: Iterable[Item], *, is_folder: bool = False) -> None:
    """Check that a file, or files in a folder, can be written; nothing is left behind.

    Raises:
        OutputError: the path is one of the sources, a folder in place of a file or the reverse, or lies in a
            folder that cannot be created or written.
    """
    if is_folder and output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file; a folder is needed")
    if not is_folder:
        if output.is_dir():
            raise OutputError(f"{output} is a folder; name a file")
        for item in items:
            if isinstance(item.source, str) and _same_file(output, item.source):
                raise OutputError(f"{output} is one of the sources, and would be overwritten; name another")
    _check_writable(output if is_folder else output.parent, output)


def check_outputs(files: Mapping[Item, Path], folder: Path) -> None:
    """`check_output` for the files of `output_files`."""
    check_output(folder, files, is_folder=True)
    for parent in {path.parent for path in files.values()}:
        _check_writable(parent, parent)
    for item, path in files.items():
        if path.is_dir():
            raise OutputError(f"{path}, the output of {item.name}, is a folder; remove or rename it")
        n_bytes, most = len(os.fsencode(path.name)) + _TEMPORARY_BYTES, _longest_name(path.parent)
        if n_bytes > most:
            raise OutputError(
                f"the output of {item.name} would have a name of {n_bytes} bytes, and {most} are possible "
                "there; shorten the name of the source"
            )


def _common_root(items: Sequence[Item]) -> str:
    roots = [item.root for item in items if item.root]
    try:
        return os.path.commonpath(roots) if roots else ""
    except ValueError as error:  # different drives of Windows
        raise OutputError(
            "the sources lie on different drives, which have no folder in common; run the command for each"
        ) from error


def _relative(item: Item, root: str | None, keep_extension: bool) -> Path:
    """Path of an item's output without its suffix, relative to the folder of outputs."""
    if isinstance(item.source, bytes):
        return Path(item.name)
    # The source, not the name, in which bytes that are not text are escaped.
    path = Path(os.path.abspath(item.source))  # noqa: PTH100 - without "..", and links as they are
    relative = Path(path.name) if root is None else path.relative_to(root)
    return relative if keep_extension else relative.with_suffix("")


def _check_distinct(files: Mapping[Item, Path], *, advise_folders: bool) -> None:
    by_path: dict[str, list[Item]] = {}
    for item, path in files.items():
        by_path.setdefault(_folded(path), []).append(item)
    clashes = [items for items in by_path.values() if len(items) > 1]
    if not clashes:
        return
    shown = "; ".join(
        f"{' and '.join(item.name for item in items)} -> {files[items[0]].name}" for items in clashes[:_SHOWN]
    )
    more = f"; and {len(clashes) - _SHOWN} more" if len(clashes) > _SHOWN else ""
    in_folders = advise_folders and all(
        len({str(Path(item.name).parent) for item in items}) == len(items) for items in clashes
    )
    remedy = (
        "give --keep-folders to repeat the folders of the sources" if in_folders else "rename the sources"
    )
    raise OutputError(f"several sources would be written to the same file: {shown}{more}; {remedy}")


def _folded(path: Path) -> str:
    """A path as the file system compares it: Windows and macOS ignore case."""
    return str(path).casefold() if sys.platform in ("win32", "darwin") else str(path)


def _check_writable(folder: Path, output: Path) -> None:
    """OutputError if a folder, or the nearest one above it that exists, cannot be written."""
    existing = folder.absolute()
    while not existing.exists() and existing.parent != existing:
        existing = existing.parent
    if not existing.is_dir():
        raise OutputError(f"cannot write {output}: {existing} is not a folder")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write {output}: {existing} cannot be written ({error.strerror})"
        ) from error


def _same_file(one: Path, other: str) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def _longest_name(folder: Path) -> int:
    """The longest file name in bytes."""
    while not folder.exists() and folder.parent != folder:
        folder = folder.parent
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows has no pathconf
        return 255
