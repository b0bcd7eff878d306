"""The download of a URL, over real sockets from a server that fails in every way we know of."""

from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import Fault, LocalHub, local_hub

from pannsx.errors import WeightsError
from pannsx.weights.download import RETRIES, download
from pannsx.weights.record import Digest

CONTENT = random.Random(2020).randbytes(3_000_000)
DIGEST = Digest("sha256", hashlib.sha256(CONTENT).hexdigest())
PATH = "/files/weights.pth"
BACKOFF_S = 0.01
TIMEOUT_S = 0.5  # of a silent server; loopback answers in well under a millisecond


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    monkeypatch.setenv("no_proxy", "*")
    with local_hub() as hub:
        yield hub


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "weights.pth"


def fetch(
    server: LocalHub,
    target: Path,
    *,
    digest: Digest | None = DIGEST,
    size: int | None = len(CONTENT),
    retries: int = RETRIES,
) -> None:
    download(
        server.url + PATH,
        target,
        size_bytes=size,
        digest=digest,
        progress=False,
        timeout_s=TIMEOUT_S,
        retries=retries,
        backoff_s=BACKOFF_S,
    )


def left_behind(target: Path) -> set[str]:
    return {path.name for path in target.parent.iterdir() if path.is_file()}


def test_whole_file(server: LocalHub, target: Path) -> None:
    server.put(PATH, CONTENT)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert left_behind(target) == {target.name}
    fetch(server, target)
    assert server.count("GET") == 1, "a right file is not fetched again"


@pytest.mark.parametrize("digest", [Digest("md5", hashlib.md5(CONTENT).hexdigest()), None])
def test_other_digest_or_none(server: LocalHub, target: Path, digest: Digest | None) -> None:
    server.put(PATH, CONTENT)
    fetch(server, target, digest=digest, size=None)
    assert target.read_bytes() == CONTENT


def test_altered_file_at_the_destination_is_replaced(server: LocalHub, target: Path) -> None:
    server.put(PATH, CONTENT)
    target.parent.mkdir()
    target.write_bytes(b"x" + CONTENT[1:])
    fetch(server, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [404, 403, 401, 410])
def test_refusal_is_final(server: LocalHub, target: Path, status: int) -> None:
    server.put(PATH, CONTENT, fault=Fault(status=status))
    with pytest.raises(WeightsError, match=f"the server answered {status}"):
        fetch(server, target)
    assert server.count("GET") == 1
    assert left_behind(target) == set()


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_busy_server_is_asked_again(server: LocalHub, target: Path, status: int) -> None:
    server.put(PATH, CONTENT, fault=Fault(status=status, times=2))
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.count("GET") == 3


def test_a_server_that_stays_broken(server: LocalHub, target: Path) -> None:
    server.put(PATH, CONTENT, fault=Fault(status=500))
    with pytest.raises(WeightsError, match=r"the server answered 500 .*\(4 attempts\)"):
        fetch(server, target)
    assert left_behind(target) == set()


def test_dropped_transfer_resumes_where_it_broke(server: LocalHub, target: Path) -> None:
    server.put(PATH, CONTENT, fault=Fault(stop_after=1_000_000, times=1))
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert [request.headers.get("range") for request in server.seen] == [None, "bytes=1000000-"]
    assert server.seen[1].headers["if-range"] == f'"{DIGEST.hexdigest}"'


def test_a_later_call_resumes(server: LocalHub, target: Path) -> None:
    server.put(PATH, CONTENT, fault=Fault(stop_after=1_000_000, times=1))
    with pytest.raises(WeightsError, match="truncated"):
        fetch(server, target, retries=0)
    assert left_behind(target) == {"weights.pth.part", "weights.pth.part.validator"}
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.count("GET") == 2
    assert server.seen[-1].headers["range"] == "bytes=1000000-"
    assert left_behind(target) == {target.name}


def test_a_changed_file_is_fetched_anew(server: LocalHub, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("weights.pth.part").write_bytes(b"of another version" * 1000)
    target.with_name("weights.pth.part.validator").write_text('"another version"', encoding="latin-1")
    server.put(PATH, CONTENT)
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.count("GET") == 1, "If-Range lets the server send the whole file at once"


def test_a_server_that_ignores_ranges(server: LocalHub, target: Path) -> None:
    server.put(PATH, CONTENT, ranges=False, fault=Fault(stop_after=1_000_000, times=1))
    fetch(server, target)
    assert target.read_bytes() == CONTENT
    assert server.seen[1].headers["range"] == "bytes=1000000-"


def test_a_resumed_mixture_of_versions_is_fetched_anew(server: LocalHub, target: Path) -> None:
    """The server claims that it still has the version of the part, which it has not."""
    target.parent.mkdir()
    target.with_name("weights.pth.part").write_bytes(b"x" * 1000)
    target.with_name("weights.pth.part.validator").write_text(f'"{DIGEST.hexdigest}"', encoding="latin-1")
    server.put(PATH, CONTENT)
    fetch(server, target)
    assert target.read_bytes() == CONTENT


def test_a_part_longer_than_the_file(server: LocalHub, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("weights.pth.part").write_bytes(CONTENT + b"x")
    target.with_name("weights.pth.part.validator").write_text(f'"{DIGEST.hexdigest}"', encoding="latin-1")
    server.put(PATH, CONTENT)
    fetch(server, target, size=None)
    assert target.read_bytes() == CONTENT
    assert server.count("GET") == 2


def test_truncated_answer_of_a_server_without_validators(server: LocalHub, target: Path) -> None:
    server.put(PATH, CONTENT, etag="W/weak", fault=Fault(stop_after=1_000_000))
    with pytest.raises(WeightsError, match="truncated: it ended after 1,000,000 of 3,000,000 bytes"):
        fetch(server, target)
    assert left_behind(target) == set(), "what nobody can resume is not left behind"


def test_altered_bytes(server: LocalHub, target: Path) -> None:
    server.put(PATH, CONTENT[:-1] + b"x")
    with pytest.raises(WeightsError, match="is altered: its digest is"):
        fetch(server, target)
    assert server.count("GET") == 1
    assert left_behind(target) == set()


def test_another_size_is_refused_before_it_is_fetched(server: LocalHub, target: Path) -> None:
    server.put(PATH, CONTENT + b"x")
    with pytest.raises(WeightsError, match="3,000,001 bytes where the record says 3,000,000"):
        fetch(server, target)
    assert left_behind(target) == set()


def test_a_silent_server(server: LocalHub, target: Path) -> None:
    server.put(PATH, CONTENT, fault=Fault(delay_s=30))
    with pytest.raises(WeightsError, match=r"timed out: the server was silent for 0\.5 s"):
        fetch(server, target)


def test_a_trickle_is_a_stall(server: LocalHub, target: Path) -> None:
    server.put(PATH, CONTENT, etag="W/weak", fault=Fault(trickle_s=0.05))
    with pytest.raises(WeightsError, match=r"timed out: the server sent \d+ bytes"):
        fetch(server, target)


def test_no_server(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with local_hub() as gone:
        url = gone.url
    with pytest.raises(WeightsError, match="the connection failed"):
        download(url + PATH, target, retries=1, backoff_s=BACKOFF_S, progress=False)


def test_redirections(server: LocalHub, target: Path) -> None:
    server.put(PATH, b"", redirect=server.url + "/elsewhere")
    server.put("/elsewhere", CONTENT)
    fetch(server, target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/weights.pth", "file:///etc/passwd"])
def test_redirection_to_another_scheme(server: LocalHub, target: Path, location: str) -> None:
    server.put(PATH, b"", redirect=location)
    with pytest.raises(WeightsError, match=r"not an http or https address|the server answered 302"):
        fetch(server, target)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/file", "weights.pth"])
def test_other_schemes(target: Path, url: str) -> None:
    with pytest.raises(WeightsError, match="is not an http or https address"):
        download(url, target, progress=False)


def test_https_must_not_turn_into_http() -> None:
    """No certificate is at hand for a server that redirects so: the handler itself is asked."""
    from urllib.request import Request

    from pannsx.weights.download import _CarefulRedirects

    with pytest.raises(WeightsError, match="which is not encrypted; refused"):
        _CarefulRedirects().redirect_request(
            Request("https://host/file"),
            None,  # type: ignore[arg-type]
            302,
            "Found",
            {},
            "http://host/file",
        )


def test_a_folder_that_cannot_be_made(server: LocalHub, tmp_path: Path) -> None:
    server.put(PATH, CONTENT)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WeightsError, match="cannot write"):
        fetch(server, tmp_path / "file" / "weights.pth")
    assert server.seen == []


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(server: LocalHub, target: Path) -> None:
    server.put(PATH, CONTENT)
    target.parent.mkdir(mode=0o500)
    with pytest.raises(WeightsError, match="cannot write"):
        fetch(server, target)


def test_threads_at_once_fetch_once(server: LocalHub, target: Path) -> None:
    server.put(PATH, CONTENT, fault=Fault(delay_s=0.2))
    threads = [threading.Thread(target=fetch, args=(server, target)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == CONTENT
    assert server.count("GET") == 1
