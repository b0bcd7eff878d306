"""The web service of the documentation: good files, bad ones, and its limits."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from docs_pages import ROOT, blocks_of

from pannsx import AudioError

for package in ("fastapi", "multipart", "httpx2"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from fastapi.testclient import TestClient  # noqa: E402

PAGE = ROOT / "docs" / "how-to" / "web-service.md"
SCENE = (ROOT / "examples" / "scene.flac").read_bytes()


@pytest.fixture(scope="module")
def service() -> Iterator[dict[str, Any]]:
    """The names of the page's module."""
    (text,) = (block.text for block in blocks_of(PAGE) if block.file == "service.py")
    names: dict[str, Any] = {"__name__": "service"}
    exec(compile(text, str(PAGE), "exec"), names)
    yield names
    names.clear()  # FastAPI keeps the functions for ever, and with them these names: the network among them


@pytest.fixture
def client(service: dict[str, Any]) -> Iterator[TestClient]:
    with TestClient(service["app"], raise_server_exceptions=False) as client:
        yield client


def post(client: TestClient, content: bytes, **parameters: object) -> Any:
    return client.post("/tags", files={"file": ("sound.flac", content)}, params=parameters)


def test_tags_and_events(client: TestClient) -> None:
    answer = post(client, SCENE, top=3, threshold=0.4)
    assert answer.status_code == 200
    found = answer.json()
    assert found["duration_s"] == pytest.approx(8.6)
    assert len(found["tags"]) == 3
    assert found["tags"][0].keys() == {"label", "probability"}
    assert {"Speech"} <= {event["label"] for event in found["events"]}
    times = [event[name] for event in found["events"] for name in ("onset_s", "offset_s")]
    assert times == [round(time, 6) for time in times]


@pytest.mark.parametrize(
    "content", [b"", b"remember the milk", SCENE[:2000], b"RIFF\xff\xff\xff\xffWAVE"], ids=len
)
def test_a_bad_file_is_the_senders_mistake(client: TestClient, content: bytes) -> None:
    answer = post(client, content)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("sound.flac: ")


@pytest.mark.parametrize("parameters", [{"top": 0}, {"threshold": 2}, {"top": "many"}])
def test_bad_parameters(client: TestClient, parameters: dict[str, object]) -> None:
    assert post(client, SCENE, **parameters).status_code == 422


def test_no_file(client: TestClient) -> None:
    assert client.post("/tags").status_code == 422


def test_too_many_bytes(client: TestClient, service: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(service, "MOST_BYTES", 10_000)
    answer = post(client, SCENE)
    assert answer.status_code == 413
    assert "10,000 bytes" in answer.json()["detail"]

    def in_pieces() -> Iterator[bytes]:  # without a length in the header
        for _ in range(20):
            yield bytes(1000)

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert client.post("/tags", content=in_pieces(), headers=headers).status_code == 413


def test_too_many_seconds_in_few_bytes(
    client: TestClient, service: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(service, "LONGEST_S", 2)
    file = io.BytesIO()
    soundfile.write(file, np.zeros(16_000 * 20), 16_000, format="FLAC")
    answer = post(client, file.getvalue())
    assert answer.status_code == 413
    assert "2 s" in answer.json()["detail"]


def test_requests_at_once_get_their_own_answers(client: TestClient) -> None:
    def noise(seconds: int) -> bytes:
        file = io.BytesIO()
        soundfile.write(
            file, np.random.default_rng(seconds).normal(0, 0.1, 32_000 * seconds), 32_000, format="FLAC"
        )
        return file.getvalue()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda seconds: post(client, noise(seconds)).json(), [1, 2, 1, 3]))
    assert [answer["duration_s"] for answer in answers] == [1, 2, 1, 3]


def test_a_fault_of_the_service_is_no_mistake_of_the_sender(
    client: TestClient, service: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def inference(self, *_: object, **__: object) -> None:
            raise RuntimeError("no memory")

    assert not issubclass(RuntimeError, AudioError)
    monkeypatch.setitem(service, "tagger", Broken())
    assert post(client, SCENE).status_code == 500


def test_no_file_is_left(client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    file = io.BytesIO()  # larger than what is kept in memory
    soundfile.write(file, np.random.default_rng(0).normal(0, 0.1, 32_000 * 20), 32_000, format="WAV")
    assert post(client, file.getvalue()).status_code == 200
    assert not list(tmp_path.iterdir())
