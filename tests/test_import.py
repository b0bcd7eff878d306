"""``import pannsx`` is light and silent, and what needs no torch loads none: seen in fresh interpreters."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys
import sysconfig
import wave
from pathlib import Path

import numpy as np
import pytest

import pannsx

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(pannsx.__file__).resolve().parent

WATCHED_IMPORT = """
import json, sys
opened, connected = [], []
before = set(sys.modules)

def watch(event, arguments):
    if event == "open":
        opened.append(str(arguments[0]))
    elif event.startswith("socket."):
        connected.append(event)

sys.addaudithook(watch)
import pannsx
seen = {"modules": sorted(set(sys.modules) - before), "opened": list(opened), "connected": list(connected)}
print("MARK" + json.dumps(seen))
"""


def python(program: str) -> str:
    """Standard output of a fresh interpreter; what it writes to standard error fails the test."""
    run = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stderr == ""
    assert run.returncode == 0
    return run.stdout


def test_import_is_light_and_silent() -> None:
    said, _, seen_json = python(WATCHED_IMPORT).partition("MARK")
    seen = json.loads(seen_json)
    assert said == ""
    assert {name.partition(".")[0] for name in seen["modules"]} <= sys.stdlib_module_names | {"pannsx"}
    assert not seen["connected"]
    libraries = {Path(path).resolve() for path in sysconfig.get_paths().values()}
    homes = {PACKAGE, Path(sys.base_prefix).resolve(), *libraries}
    for name in seen["opened"]:
        path = Path(name).resolve()
        assert any(home in path.parents for home in homes), f"the import opened {name}"


@pytest.mark.parametrize(
    "module",
    [
        "audio", "audio.resample", "cli", "errors", "frontend.settings", "inference.windows", "labels",
        "metrics", "results", "types", "weights", "weights.manifest",
    ],
)  # fmt: skip
def test_loads_without_torch(module: str) -> None:
    program = f"import sys, pannsx.{module}; print('torch' in sys.modules)"
    assert python(program).strip() == "False"


WITHOUT_TORCH = [
    "list_models()", "TaggingResult", "BatchResult", "AudioError", "WeightsError", "audio.load",
    "errors.AudioError", "events.detect", "events.formats.write_events", "frontend.FrontEnd",
    "inference.fine_frames.FrameReader", "labels.audioset()", "metrics.tagging_scores",
    "models.ARCHITECTURES", "results.Tag", "streaming.StreamTagger", "types.Source",
    "weights.manifest.find('Cnn14')",
]  # fmt: skip
WITH_TORCH = ["models.convert.to_published", "weights.load()"]

EVALUATED = """
import json, sys, pannsx
seen = {}
for expression in EXPRESSIONS:
    assert eval("pannsx." + expression) is not None
    seen[expression] = "torch" in sys.modules
print(json.dumps(seen))
"""


def test_import_pannsx_is_enough_and_few_names_take_torch() -> None:
    """Submodules come by themselves, and no network's library with those that do without."""
    expressions = [*WITHOUT_TORCH, *WITH_TORCH]
    seen = json.loads(python(EVALUATED.replace("EXPRESSIONS", repr(expressions))))
    assert [expression for expression, torch_loaded in seen.items() if not torch_loaded] == WITHOUT_TORCH


EACH_KIND = """
import logging, sys
logging.getLogger("pannsx").setLevel(logging.ERROR)  # whether it compiles depends on the cache
import numpy as np
from pannsx.frontend import FrontEnd
from pannsx.inference.engine import Engine
from pannsx.models.raw_settings import DaiNet19Settings, LeeNetSettings, Res1dNetSettings
from pannsx.models.settings import CnnSettings
from pannsx.models.structure import Architecture, ArrayModel
from pannsx.models.zoo import ARCHITECTURES, structure_of

front_end = FrontEnd(sample_rate=32000, n_fft=1024, hop_length=320, n_mels=16, fmin=50, fmax=14000)
for trunk, stem, front in (
    (LeeNetSettings((16, 32), (False, True), n_convs=1, dropout=0.0), "raw", None),
    (DaiNet19Settings((16, 32)), "raw", None),
    (Res1dNetSettings((1, 1), (16, 32)), "raw", None),
    (CnnSettings((32,), (2,), in_channels=64, first_block=2), "wavegram", None),
    (CnnSettings((16, 32), (2, 2), joined_channels=64), "wavegram_log_mel", front_end),
    (CnnSettings((16, 32), (2, 2), kernel=5), "log_mel", front_end),
):
    ARCHITECTURES["small"] = Architecture(trunk=trunk, embedding=8, stem=stem)
    structure = structure_of("small", 32000, front, 5)
    arrays = {key: np.ones(shape, np.float32) for key, shape in structure.shapes().items()}
    model = ArrayModel(structure, arrays)
    (answer,) = Engine(model, device="cpu").run([np.zeros(9000, np.float32)])
    n_frames = len(answer.framewise)
    print(answer.clipwise.shape, n_frames == structure.n_frames(9000), "torch" in sys.modules)
"""


def test_networks_of_each_kind_run_without_torch() -> None:
    assert python(EACH_KIND).splitlines() == ["(5,) True False"] * 6


ON_THE_CPU = """
import io, json, sys
from contextlib import redirect_stderr
import numpy as np
import pannsx
from pannsx.cli import main

seen = []

def look(what):
    seen.append([what, "torch" in sys.modules])

waveform = (0.1 * np.random.default_rng(0).standard_normal(40_000)).astype(np.float32)
with redirect_stderr(io.StringIO()):  # where the commands say what they do
    tagger = pannsx.AudioTagger()
    look(f"{tagger.inference(waveform).top(1)}")
    look(f"{tagger.inference(waveform, hop_s=0.16).events(threshold=0.9)}")
    look(f"{pannsx.FeatureExtractor(tagger).extract(waveform).shape}")
    stream = pannsx.StreamTagger(tagger)
    look(f"{len(stream.push(waveform)), len(stream.close())}")
    for command in COMMANDS:
        assert main(command) == 0, command
        look(" ".join(command))
print("MARK" + json.dumps(seen))
"""


def test_the_cpu_works_without_torch(tmp_path: Path) -> None:
    """Tags, embeddings, events, streams and a report of the bundled network, from arrays and files."""
    with wave.open(str(tmp_path / "noise.wav"), "wb") as file:
        file.setparams((1, 2, 32_000, 0, "NONE", "none"))
        file.writeframes(np.random.default_rng(0).integers(-3000, 3000, 40_000, np.int16).tobytes())
    sound = str(tmp_path / "noise.wav")
    commands = [
        ["tag", sound],
        ["tag", sound, "--precision", "bfloat16"],
        ["embed", sound, "-o", str(tmp_path / "embeddings.npz")],
        ["events", sound],
        ["stream", sound],
        ["report", sound, "-o", str(tmp_path / "page.html")],
    ]
    seen = json.loads(python(ON_THE_CPU.replace("COMMANDS", repr(commands))).partition("MARK")[2])
    assert len(seen) == 4 + len(commands)
    assert [what for what, torch_loaded in seen if torch_loaded] == []


def test_names_of_models_take_no_numpy() -> None:
    program = "import sys, pannsx; assert pannsx.list_models(); print('numpy' in sys.modules)"
    assert python(program).strip() == "False"


LAZY = ["", "corpus", "events", "frontend", "inference", "metrics", "models", "weights"]


def for_type_checkers(package: str) -> dict[str, set[str]]:
    """The names that a lazy package has below ``if TYPE_CHECKING:`` and submodules among them."""
    source = PACKAGE.joinpath(*package.split("."), "__init__.py").read_text("utf-8")
    blocks = [
        n for n in ast.parse(source).body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"
    ]
    statements = [n for block in blocks for n in block.body if isinstance(n, ast.ImportFrom)]
    here = f"pannsx.{package}".rstrip(".")
    return {
        "submodules": {alias.name for n in statements if n.module == here for alias in n.names},
        "names": {alias.name for n in statements if n.module != here for alias in n.names},
    }


@pytest.mark.parametrize("package", LAZY)
def test_type_checkers_see_what_is_there(package: str) -> None:
    """The two tables of a lazy package, for type checkers and for the interpreter, say the same."""
    module = importlib.import_module(f"pannsx.{package}".rstrip("."))
    seen = for_type_checkers(package)
    assert seen["submodules"]
    assert seen["submodules"] | seen["names"] <= set(dir(module))
    assert set(dir(module)) == {*seen["submodules"], *getattr(module, "__all__", ())}
    for name in dir(module):
        assert getattr(module, name) is getattr(module, name)
    for name in seen["submodules"]:
        assert inspect.ismodule(getattr(module, name))


def test_every_public_name_is_there_and_no_other() -> None:
    assert set(pannsx.__all__) < set(dir(pannsx))
    for name in set(dir(pannsx)) - set(pannsx.__all__):
        assert getattr(pannsx, name) is importlib.import_module(f"pannsx.{name}")
    with pytest.raises(AttributeError, match="has no attribute 'audio_tagger'") as caught:
        _ = pannsx.audio_tagger
    assert (caught.value.name, caught.value.obj) == ("audio_tagger", pannsx)  # so that Python suggests a name
    with pytest.raises(ImportError, match="cannot import name 'Tagger'"):
        from pannsx import Tagger  # noqa: F401


def test_import_takes_no_time() -> None:
    """What `import pannsx` executes: its own three files, and little of the standard library."""
    _, _, seen_json = python(WATCHED_IMPORT).partition("MARK")
    modules = set(json.loads(seen_json)["modules"])
    assert {name for name in modules if name.startswith("pannsx")} == {
        "pannsx",
        "pannsx.lazy",
        "pannsx.version",
    }
    assert not modules & {"typing", "re", "inspect", "pathlib", "dataclasses"}
