"""Recipes: what they may say, and that each makes the checkpoint the manifest describes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from packing import LABELS
from seeded_models import narrow_row

from pannsx.models.cost import n_parameters
from pannsx.models.zoo import ARCHITECTURES, build_empty
from pannsx.weights import manifest
from train.data.store_writer import write_store
from train.loop import log
from train.loop.schedule import learning_rate
from train.recipe import (
    LATER,
    RECIPES,
    Recipe,
    differences,
    parse_recipe,
    read_recipe,
    saved_recipe,
    to_tables,
)
from train.run import main

NAMES = list(manifest.load_manifest())
BUDGETS = ["Cnn14_eight_gpus", "Cnn14_one_gpu", "Cnn14_balanced", "Cnn14_plus"]
"""Recipes for a budget rather than for a published checkpoint."""


@pytest.mark.parametrize("name", NAMES)
def test_recipe_makes_what_the_manifest_says(name: str) -> None:
    record, recipe = manifest.find(name), read_recipe(name)
    assert record.recipe == f"train/recipes/{name}.toml"
    assert recipe.name == name
    assert recipe.model.architecture == record.architecture
    assert recipe.model.sample_rate == record.sample_rate
    assert recipe.frontend == record.frontend
    assert recipe.model.labels == record.labels
    model = build_empty(
        recipe.model.architecture, recipe.model.sample_rate, recipe.frontend, record.n_classes
    )
    assert record.parameters is not None
    assert n_parameters(model) == record.parameters - (record.unused_parameters or 0)


@pytest.mark.parametrize("name", NAMES)
def test_header_says_command_data_cost_and_score(name: str) -> None:
    record = manifest.find(name)
    header = re.match(r"(#.*\n)+", (RECIPES / f"{name}.toml").read_text("utf-8"))
    assert header is not None
    for heading in (f"# Command: python -m train.run {name}", "# Data: ", "# Cost: ", "# Score: "):
        assert heading in header[0]
    score = header[0].split("# Score: ")[1]
    assert record.scores is not None
    for label, value in (
        ("mAP", record.scores.mAP),
        ("AUC", record.scores.auc),
        ("d-prime", record.scores.d_prime),
    ):
        if value is not None:
            assert f"{label} {value:.3f}" in score
    if record.scores.mAP is None:
        assert "none known" in score


def test_every_recipe_file_belongs_to_a_checkpoint_or_is_a_base() -> None:
    bases = {"published", "published_logmel"}
    assert {path.stem for path in RECIPES.glob("*.toml")} == set(NAMES) | bases | set(BUDGETS)


@pytest.mark.parametrize("name", BUDGETS)
def test_recipes_of_a_budget_say_what_they_cost(name: str) -> None:
    header = re.match(r"(#.*\n)+", (RECIPES / f"{name}.toml").read_text("utf-8"))
    assert header is not None
    recipe = read_recipe(name)
    assert recipe.name == name
    for heading in (f"# Command: python -m train.run {name}", "# Data: ", "# Score:   not run"):
        assert heading in header[0]
    per_step = {64: 1.2e11, 128: 2.4e11}[recipe.frontend.n_mels if recipe.frontend else 0]
    assert f"# Cost:    {recipe.run.steps:,} steps, " in header[0]
    stated = re.search(r"([\d.]+e\d+) operations", header[0])
    assert stated is not None
    assert float(stated[1]) == pytest.approx(recipe.run.steps * recipe.run.batch_size * per_step, rel=0.05)


def test_the_rate_of_eight_gpus_grows_with_the_batch() -> None:
    published, eight = read_recipe("Cnn14"), read_recipe("Cnn14_eight_gpus")
    factor = eight.run.batch_size / published.run.batch_size
    assert factor == 8
    assert eight.optimiser.learning_rate == published.optimiser.learning_rate * factor
    assert eight.run.steps == published.run.steps / factor
    assert learning_rate(eight, 0) < 1e-5 < learning_rate(eight, 2_000) == 8e-3


@pytest.mark.parametrize("name", BUDGETS)
def test_recipes_of_a_budget_train(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some steps of everything but the size: a narrow Cnn6 for Cnn14, and clips of a quarter of a second."""
    monkeypatch.setitem(ARCHITECTURES, "Cnn6", narrow_row(ARCHITECTURES["Cnn6"]))
    rng = np.random.default_rng(0)
    sounds = rng.integers(-8000, 8000, (16, 8000)).astype(np.int16)
    clips = [(f"clip{i}", [i % len(LABELS)], pcm) for i, pcm in enumerate(sounds)]
    write_store(
        tmp_path / "store", clips, labels=LABELS, sample_rate=32000, n_samples=8000, variant="rice",
        clips_per_part=4,
    )  # fmt: skip
    given = [
        f"data.train={tmp_path / 'store'}", "data.evaluation=", "data.workers=1", "model.architecture=Cnn6",
        "model.labels=data", "augment.time_width=8", "run.steps=2", "run.batch_size=4", "keep.log_every=1",
    ]  # fmt: skip
    recipe = read_recipe(name)
    if recipe.distil.teacher:
        logits = rng.normal(size=(16, len(LABELS))).astype(np.float16)
        np.savez(tmp_path / "teacher.npz", ids=np.array([clip[0] for clip in clips]), logits=logits)
        given.append(f"distil.teacher={tmp_path / 'teacher.npz'} + {tmp_path / 'teacher.npz'}")
    assert main([name, *given, "--folder", str(tmp_path / "run"), "--device", "cpu"]) == 0
    losses = [entry["loss"] for entry in log.read(tmp_path / "run") if entry["kind"] == "train"]
    assert len(losses) == 2
    assert all(0.1 < loss < 2.0 for loss in losses)


def test_the_published_settings() -> None:
    recipe = read_recipe("Cnn14")
    assert recipe.sampler == "balanced"
    assert (recipe.run.steps, recipe.run.batch_size) == (600_000, 32)
    assert (recipe.augment.mixup, recipe.augment.mixup_alpha) == ("representation", 1.0)
    assert (recipe.augment.time_stripes, recipe.augment.time_width) == (2, 64)
    assert (recipe.augment.band_stripes, recipe.augment.band_width) == (2, 8)
    optimiser = recipe.optimiser
    assert (optimiser.kind, optimiser.learning_rate, optimiser.amsgrad) == ("adam", 1e-3, True)
    assert (optimiser.betas, optimiser.eps, optimiser.weight_decay) == ((0.9, 0.999), 1e-8, 0.0)


def test_variants_differ_in_what_their_name_says() -> None:
    def changed(name: str) -> set[str]:
        lines = differences(read_recipe("Cnn14"), read_recipe(name))
        return {line.split(":")[0] for line in lines} - {"name"}

    assert changed("Cnn14_no_specaug") == {"augment.time_stripes", "augment.band_stripes"}
    assert changed("Cnn14_no_dropout") == {"model.dropout"}
    assert changed("Cnn14_mixup_time_domain") == {"augment.mixup"}
    assert changed("Cnn14_mel128") == {"frontend.n_mels", "augment.band_width"}
    assert changed("Cnn14_mel32") == {"frontend.n_mels", "augment.band_width"}


def test_overrides_are_typed_by_their_field() -> None:
    recipe = read_recipe(
        "Cnn6",
        ["run.steps=1_000", "optimiser.betas=0.8,0.9", "optimiser.amsgrad=false", "frontend.n_mels=128",
         "optimiser.learning_rate=1", "data.train=my data.npz", "sampler=none"],
    )  # fmt: skip
    assert recipe.run.steps == 1000
    assert recipe.optimiser.betas == (0.8, 0.9)
    assert recipe.optimiser.amsgrad is False
    assert recipe.frontend is not None
    assert recipe.frontend.n_mels == 128
    assert recipe.optimiser.learning_rate == 1.0
    assert recipe.data.train == "my data.npz"
    assert recipe.sampler == "none"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("run.stpes=3", r"does not match a key of a recipe; did you mean 'run\.steps'"),
        ("run=3", "an override has the form table.key=value"),
        ("run.steps", "an override has the form table.key=value"),
        ("run.steps=many", "run.steps=many: whole number is needed"),
        ("optimiser.amsgrad=yes", "true or false is needed"),
        ("sampler=balance", "did you mean 'balanced'"),
        ("run.steps=0", "run.steps is 0; it must be positive"),
        ("distil.weight=0.5", "need each other"),
        ("augment.mixup_alpha=0", "must be positive"),
        ("average.decay=1.5", "between 0 and 1"),
        ("frontend.n_fft=1000", "power of two"),
        ("optimiser.betas=0.9", "list of 2 numbers"),
    ],
)
def test_bad_overrides_are_refused(override: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_recipe("Cnn6", [override])


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[model]\narchitecure = 'Cnn6'", "unknown key model.architecure; did you mean 'architecture'"),
        ("[modle]\n", "unknown key modle; did you mean 'model'"),
        ("run = 3", r"a table \[run\] is needed"),
        ("[run]\nsteps = 1.5", "run.steps is 1.5; a whole number is needed"),
        ("[model]\ndropout = 1", "model.dropout is 1; one of 'all', 'head', 'none' is needed"),
        ("extends =", "cannot read the recipe"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    base = (RECIPES / "Cnn6.toml").as_posix()
    start = "" if text.startswith("extends") else f'extends = "{base}"\n'
    with pytest.raises(ValueError, match=said):
        read_recipe(write(tmp_path / "own.toml", start + text))


def test_missing_keys_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="missing name, sampler, model"):
        read_recipe(write(tmp_path / "own.toml", ""))


def test_circles_and_absent_recipes_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "b.toml", 'extends = "a.toml"')
    with pytest.raises(ValueError, match=r"extends itself: a.toml -> b.toml -> a.toml"):
        read_recipe(write(tmp_path / "a.toml", 'extends = "b.toml"'))
    with pytest.raises(ValueError, match="no recipe 'Cnn_14'; did you mean 'Cnn14'"):
        read_recipe("Cnn_14")


@pytest.mark.parametrize("name", ["Cnn14", "LeeNet11"])
def test_tables_lead_back_to_the_recipe(name: str) -> None:
    recipe: Recipe = read_recipe(name)
    assert parse_recipe(to_tables(recipe), "again") == recipe


def test_recipes_of_older_checkpoints_are_completed() -> None:
    recipe = read_recipe("Cnn14")
    older = to_tables(recipe)
    for table, keys in LATER.items():
        for key in keys:
            del older[table][key]
    with pytest.raises(ValueError, match="missing"):
        parse_recipe(older, "checkpoint")
    assert saved_recipe(older, "checkpoint") == recipe
