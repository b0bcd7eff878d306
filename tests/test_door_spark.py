"""Spark runs the stage as the how-to says, on one core of this machine.

Its half a gigabyte, and a Java, are more than the environment of the other doors should hold: pip install
'pannsx[spark]' before this test.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_files import write_wav
from docs_pages import ROOT, file_of

from pannsx.corpus import Stage

for _name in ("pyspark", "pyarrow", "pandas"):
    pytest.importorskip(_name, reason=f"{_name} is not installed; pip install 'pannsx[spark]'")
if shutil.which("java") is None:
    pytest.skip("Spark needs Java, and there is no java on the path", allow_module_level=True)

import pyarrow.dataset  # noqa: E402

PAGE = ROOT / "docs" / "how-to" / "engines.md"
SAME = 2e-6
"""Of an embedding's value: float32 sums of a batch of another size, as in test_corpus_stage."""
SETTINGS = {
    "spark.master": "local[1]", "spark.ui.enabled": "false", "spark.driver.memory": "512m",
    "spark.sql.shuffle.partitions": "1",
}  # fmt: skip


def test_the_programs_of_the_how_to(tmp_path: Path) -> None:
    paths = [write_wav(tmp_path / f"{i}.wav", s, seed=i) for i, s in enumerate((1.0, 0.3, 2.0))]
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    paths.append(str(tmp_path / "bad.wav"))
    lines = [json.dumps({"id": f"r{i}", "audio_filepath": path}) + "\n" for i, path in enumerate(paths)]
    (tmp_path / "manifest.jsonl").write_text("".join(lines), "utf-8")
    # One session runs both programs: it takes longer to start than they do.
    both = "\n".join(file_of(PAGE, name) for name in ("spark_corpus.py", "spark_embeddings.py"))
    (tmp_path / "both.py").write_text(both, "utf-8")
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "spark-defaults.conf").write_text("".join(f"{k} {v}\n" for k, v in SETTINGS.items()), "utf-8")
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1",
        "PYSPARK_PYTHON": sys.executable, "SPARK_CONF_DIR": str(conf), "SPARK_LOCAL_IP": "127.0.0.1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "both.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = {
        row["id"]: row for row in pyarrow.dataset.dataset(tmp_path / "spark-table").to_table().to_pylist()
    }
    expected = Stage(outputs=["tags", "embedding"])({"id": sorted(found), "path": paths})
    assert sorted(found) == ["r0", "r1", "r2", "r3"]
    for i, name in enumerate(expected["id"]):
        row = found[name]
        for column in ("path", "offset_s", "status", "error"):
            assert row[column] == expected[column][i]
        if row["status"] == "ok":
            np.testing.assert_allclose(row["embedding"], expected["embedding"][i], rtol=0, atol=SAME)
            assert row["duration_s"] == expected["duration_s"][i]
            assert [tag["label"] for tag in row["tags"]] == [tag["label"] for tag in expected["tags"][i]]
    assert found["r3"]["tags"] is None
    assert found["r3"]["error"]
    beside = pyarrow.dataset.dataset(tmp_path / "spark-embeddings").to_table().to_pylist()
    assert len(beside) == len(paths)
    for row in beside:
        values = expected["embedding"][int(row["id"][1])]
        np.testing.assert_allclose(row["embedding"], values, rtol=0, atol=SAME)
