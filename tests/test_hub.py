"""Resolving records with the real Hub client, in processes of its own, against a server that can fail."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import Client, Fault, LocalHub, local_hub, outcome, wait_until

CONTENT = random.Random(3987831).randbytes(2_000_000)
REPO = "owner/weights"
FILE = "nested/tiny.pth"
PINNED = "89abcdef0123456789abcdef0123456789abcdef"

# A disk that takes no file above a megabyte; Python turns the signal into an error of its own.
FULL_DISK = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
# A process in which the Hub's client cannot be imported.
WITHOUT_THE_CLIENT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == "huggingface_hub":
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
"""
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX's")


@pytest.fixture
def server() -> Iterator[LocalHub]:
    with local_hub() as hub:
        yield hub


@pytest.fixture
def client(server: LocalHub, tmp_path: Path) -> Client:
    return Client(server, tmp_path / "home")


def hub_source(revision: str | None = None, repo_type: str = "model", repo: str = REPO) -> dict[str, Any]:
    return {
        "type": "hub",
        "repo_id": repo,
        "repo_type": repo_type,
        "filename": FILE,
        "revision": revision,
        "digest_seen": False,
        "licence": None,
    }


def write_record(folder: Path, sources: list[dict[str, Any]], *, digest: bool = True) -> Path:
    """The record of a checkpoint whose file is not beside it, but at its sources."""
    path = folder / "tiny.json"
    entry = {
        "name": "tiny",
        "architecture": "LeeNet11",
        "sample_rate": 32000,
        "frontend": None,
        "labels": "audioset",
        "n_classes": 527,
        "filename": "tiny.pth",
        "sources": sources,
    }
    if digest:
        entry |= {"size_bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    path.write_text(json.dumps(entry), encoding="utf-8")
    return path


def files_under(folder: Path) -> list[Path]:
    """Files that hold bytes of a checkpoint: no locks, no notes."""
    found = folder.rglob("*") if folder.exists() else ()
    return [path for path in found if path.is_file() and path.stat().st_size > 10_000]


@pytest.mark.parametrize(
    ("source", "put_repo", "revision"),
    [
        (hub_source(), REPO, "main"),
        (hub_source(revision=PINNED), REPO, PINNED),
        (hub_source(repo_type="dataset"), f"datasets/{REPO}", "main"),
    ],
    ids=["model", "pinned", "dataset"],
)
def test_hub_file_is_fetched_once(
    server: LocalHub, client: Client, tmp_path: Path, source: dict[str, Any], put_repo: str, revision: str
) -> None:
    served = server.put_hub_file(put_repo, FILE, CONTENT, revision)
    served.commit = revision if revision == PINNED else served.commit
    record = write_record(tmp_path, [source])
    first = Path(client.resolve(record)["path"])
    assert first.read_bytes() == CONTENT
    assert first.is_relative_to(tmp_path / "home" / "hf"), "the client's own cache is used"
    assert server.count("GET") == 1
    asked = len(server.seen)
    assert client.resolve(record, env={"HF_HUB_OFFLINE": "1"})["path"] == str(first)
    assert client.resolve(record)["path"] == str(first)
    assert client.resolve(record, prelude=WITHOUT_THE_CLIENT)["path"] == str(first)
    assert len(server.seen) == asked, "a right file in the cache needs no network"


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "EntryNotFound", "404"),
        (404, "RepoNotFound", "404"),
        (403, "GatedRepo", "HF_TOKEN"),
        (401, None, "HF_TOKEN"),
        (500, None, "500"),
    ],
)
def test_refusals(
    server: LocalHub, client: Client, tmp_path: Path, status: int, code: str | None, message: str
) -> None:
    server.put_hub_file(REPO, FILE, CONTENT, fault=Fault(status=status, error_code=code, method="HEAD"))
    answer = client.resolve(write_record(tmp_path, [hub_source()]))
    assert "cannot get the weights of tiny (tiny.pth)" in answer["error"]
    assert f"Hub model {REPO}, {FILE} at main" in answer["error"]
    assert message in answer["error"]
    assert files_under(client.home) == []


def test_token_is_sent(server: LocalHub, client: Client, tmp_path: Path) -> None:
    server.put_hub_file(REPO, FILE, CONTENT, token="hf_secret")
    record = write_record(tmp_path, [hub_source()])
    assert "HF_TOKEN" in client.resolve(record)["error"]
    assert "path" in client.resolve(record, env={"HF_TOKEN": "hf_secret"})


def test_altered_bytes_leave_nothing(server: LocalHub, client: Client, tmp_path: Path) -> None:
    server.put_hub_file(REPO, FILE, CONTENT[:-1] + b"x")
    record = write_record(tmp_path, [hub_source()])
    assert "is altered: its digest is" in client.resolve(record)["error"]
    assert files_under(client.home) == []
    server.put_hub_file(REPO, FILE, CONTENT)
    assert "path" in client.resolve(record), "the wrong file does not stand in the way of the right one"


def test_truncated_file(server: LocalHub, client: Client, tmp_path: Path) -> None:
    server.put_hub_file(REPO, FILE, CONTENT[:-1000])
    answer = client.resolve(write_record(tmp_path, [hub_source()]))
    assert "it has 1,999,000 bytes, the record says 2,000,000" in answer["error"]
    assert files_under(client.home) == []


def test_file_altered_in_the_cache_is_fetched_anew(server: LocalHub, client: Client, tmp_path: Path) -> None:
    server.put_hub_file(REPO, FILE, CONTENT)
    record = write_record(tmp_path, [hub_source()])
    path = Path(client.resolve(record)["path"])
    path.resolve().write_bytes(b"x" + CONTENT[1:])
    offline = client.resolve(record, env={"HF_HUB_OFFLINE": "1"})
    assert "is altered" in offline["error"]
    assert Path(client.resolve(record)["path"]).read_bytes() == CONTENT


def test_dropped_transfer(server: LocalHub, client: Client, tmp_path: Path) -> None:
    server.put_hub_file(REPO, FILE, CONTENT, fault=Fault(stop_after=500_000, times=1))
    assert "path" in client.resolve(write_record(tmp_path, [hub_source()]))


def test_silent_server(server: LocalHub, client: Client, tmp_path: Path) -> None:
    server.put_hub_file(REPO, FILE, CONTENT, fault=Fault(delay_s=30, method="HEAD"))
    answer = client.resolve(write_record(tmp_path, [hub_source()]), env={"HF_HUB_ETAG_TIMEOUT": "1"})
    assert "the Hub timed out" in answer["error"]


def test_no_server(server: LocalHub, client: Client, tmp_path: Path) -> None:
    with local_hub() as gone:
        endpoint = gone.url
    answer = client.resolve(write_record(tmp_path, [hub_source()]), env={"HF_ENDPOINT": endpoint})
    assert "no connection to the Hub" in answer["error"]


def test_offline_holds_for_urls_as_well(server: LocalHub, client: Client, tmp_path: Path) -> None:
    server.put("/tiny.pth", CONTENT)
    record = write_record(tmp_path, [hub_source(), {"type": "url", "url": server.url + "/tiny.pth"}])
    answer = client.resolve(record, env={"HF_HUB_OFFLINE": "1"})
    assert answer["error"].count("HF_HUB_OFFLINE forbids the network") == 2
    assert server.seen == []


def test_sources_are_tried_in_order(server: LocalHub, client: Client, tmp_path: Path) -> None:
    server.put_hub_file(REPO, FILE, CONTENT, fault=Fault(status=500, method="HEAD"))
    server.put("/altered.pth", b"x" + CONTENT[1:])
    server.put("/tiny.pth", CONTENT)
    urls = [{"type": "url", "url": server.url + path} for path in ("/altered.pth", "/tiny.pth")]
    answer = client.resolve(write_record(tmp_path, [hub_source(), *urls]))
    assert answer["path"] == str(tmp_path / "home" / "pannsx" / "tiny.pth")
    failed = client.resolve(write_record(tmp_path, [hub_source(), urls[0]]), cache_dir=str(tmp_path / "else"))
    assert "the Hub answered 500" not in failed.get("error", ""), (
        "the file in our cache serves another folder"
    )
    assert failed["path"] == str(tmp_path / "else" / "tiny.pth")


def test_every_failure_is_listed(server: LocalHub, client: Client, tmp_path: Path) -> None:
    server.put("/altered.pth", b"x" + CONTENT[1:])
    urls = [{"type": "url", "url": server.url + path} for path in ("/altered.pth", "/absent.pth")]
    error = client.resolve(write_record(tmp_path, [hub_source(), *urls]))["error"].splitlines()
    assert len(error) == 5
    assert "the Hub does not have it (404)" in error[1]
    assert "/altered.pth" in error[2]
    assert "is altered" in error[2]
    assert "/absent.pth: the server answered 404" in error[3]
    assert "checkpoint=" in error[4]


def test_processes_at_once_fetch_once(server: LocalHub, client: Client, tmp_path: Path) -> None:
    for name, source in (("hub", hub_source()), ("url", {"type": "url", "url": server.url + "/tiny.pth"})):
        server.seen.clear()
        held = Fault(delay_s=1.5)  # long enough for the second process to come to the lock
        server.put_hub_file(REPO, FILE, CONTENT, fault=held)
        server.put("/tiny.pth", CONTENT, fault=held)
        (tmp_path / name).mkdir()
        record = write_record(tmp_path / name, [source])
        own = Client(server, tmp_path / name / "home")
        processes = [own.start(record) for _ in range(2)]
        wait_until(lambda: server.count("GET") >= 1)
        answers = [outcome(process) for process in processes]
        assert answers[0] == answers[1]
        assert Path(answers[0]["path"]).read_bytes() == CONTENT
        assert server.count("GET") == 1, name


@posix_only
@pytest.mark.parametrize("kind", ["hub", "url"])
def test_full_disk(server: LocalHub, client: Client, tmp_path: Path, kind: str) -> None:
    server.put_hub_file(REPO, FILE, CONTENT)
    server.put("/tiny.pth", CONTENT)
    source = hub_source() if kind == "hub" else {"type": "url", "url": server.url + "/tiny.pth"}
    record = write_record(tmp_path, [source])
    assert "File too large" in client.resolve(record, prelude=FULL_DISK)["error"]
    assert files_under(client.home) == []
    assert "path" in client.resolve(record)


@pytest.mark.parametrize("kind", ["hub", "url"])
def test_cache_that_cannot_be_written(server: LocalHub, client: Client, tmp_path: Path, kind: str) -> None:
    """A file stands where the cache's folder should be: that stops even a user who may write anywhere."""
    server.put_hub_file(REPO, FILE, CONTENT)
    server.put("/tiny.pth", CONTENT)
    source = hub_source() if kind == "hub" else {"type": "url", "url": server.url + "/tiny.pth"}
    client.home.write_bytes(b"")
    assert str(client.home) in client.resolve(write_record(tmp_path, [source]))["error"]


def test_a_folder_serves_offline(server: LocalHub, client: Client, tmp_path: Path) -> None:
    server.put_hub_file(REPO, FILE, CONTENT)
    record = write_record(tmp_path, [hub_source()])
    folder = tmp_path / "carried away"
    assert client.resolve(record, cache_dir=str(folder))["path"] == str(folder / "tiny.pth")
    elsewhere = Client(server, tmp_path / "another computer")
    answer = elsewhere.resolve(record, cache_dir=str(folder), env={"HF_HUB_OFFLINE": "1"})
    assert answer["path"] == str(folder / "tiny.pth")
    (folder / "tiny.pth").write_bytes(b"x" + CONTENT[1:])
    assert "is altered" in elsewhere.resolve(record, cache_dir=str(folder))["error"]


@pytest.mark.parametrize("kind", ["hub", "url"])
def test_without_a_digest(server: LocalHub, client: Client, tmp_path: Path, kind: str) -> None:
    server.put_hub_file(REPO, FILE, CONTENT)
    server.put("/tiny.pth", CONTENT)
    source = hub_source() if kind == "hub" else {"type": "url", "url": server.url + "/tiny.pth"}
    record = write_record(tmp_path, [source], digest=False)
    assert "allow_unverified=True" in client.resolve(record)["error"]
    assert server.seen == [], "nothing is fetched that would be refused"

    path = Path(client.resolve(record, allow_unverified=True)["path"])
    sidecar = client.home / "pannsx" / "tiny.pth.sha256"
    assert sidecar.read_text() == f"{hashlib.sha256(CONTENT).hexdigest()}  tiny.pth\n"
    assert client.resolve(record)["path"] == str(path), "the recorded digest now serves"

    path.resolve().unlink()
    altered = b"x" + CONTENT[1:]
    server.put_hub_file(REPO, FILE, altered)
    server.put("/tiny.pth", altered)
    assert "is altered" in client.resolve(record, allow_unverified=True)["error"], "and is held to"
