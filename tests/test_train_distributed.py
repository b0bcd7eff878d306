"""Two ranks on Gloo are one process of the same global batch."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from rank_work import CASES, work
from seeded_models import noise
from torch import nn
from training import REPOSITORY, assert_same, environment, last_state, make_store, overrides

from train.data.store import Store
from train.loop import checkpoints, log
from train.loop.distributed import Ranks, joined
from train.loop.sync_batchnorm import SharedBatchNorm, synchronise
from train.run import main

FLOAT64_TOLERANCE = 1e-9
"""Absolute and relative, of weights after three steps: sums in another order, nothing else."""
GRADIENT_TOLERANCE = 1e-4
"""Relative norm, of first gradients in float32: sums in another order, through some batch norms."""
RUN_TOLERANCE = 1e-3
"""Relative, of the losses of a few float32 steps, in which such differences grow."""


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def two_ranks(arguments: list[str]) -> None:
    """Run a command as two ranks, as torchrun would."""
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    ranks = [
        subprocess.Popen(
            arguments,
            cwd=REPOSITORY,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(RANK=str(rank), LOCAL_RANK=str(rank), **meeting),
        )
        for rank in range(2)
    ]
    for rank in ranks:
        _, said = rank.communicate(timeout=120)
        assert rank.returncode == 0, said


def arguments_of_run(folder: Path, store: Path, *more: str) -> list[str]:
    given = overrides(
        store, model__dropout="none", run__sync_batch_norm="true", run__steps=4, keep__save_every=2,
        data__evaluation=store, data__workers=0, optimiser__kind="sgd",
    )  # fmt: skip
    return ["LeeNet11", *given, *more, "--folder", str(folder), "--device", "cpu"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("packed") / "store")


@pytest.fixture(scope="module")
def folder(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two ranks have left what they got, and resumed a run after its first step."""
    folder = tmp_path_factory.mktemp("ranks")
    # The first rank has a checkpoint of one step, the other none: on two machines, each with its own disk.
    assert main(arguments_of_run(folder / "run-0", store, "run.steps=1")) == 0
    begun = arguments_of_run(folder / "run-RANK", store, "run.steps=2", "data.workers=1")
    two_ranks([sys.executable, "tests/support/rank_work.py", str(folder), str(store), free_port(), *begun])
    return folder


@pytest.fixture(scope="module")
def results(folder: Path, store: Path) -> list[dict[str, Any]]:
    """What a lone process and each of two ranks have got."""
    n_threads = torch.get_num_threads()
    alone = work(Store(store), Ranks(0, 1, torch.device("cpu")))
    torch.set_num_threads(n_threads)
    return [alone, *(torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(2))]


@pytest.mark.parametrize("name", CASES)
def test_float64_steps_agree(results: list[dict[str, Any]], name: str) -> None:
    alone, *ranks = (result[f"{name}/float64"] for result in results)
    for rank in ranks:
        assert rank["losses"] == pytest.approx(alone["losses"], rel=FLOAT64_TOLERANCE)
        assert rank["state"].keys() == alone["state"].keys()
        for key, tensor in alone["state"].items():
            torch.testing.assert_close(
                rank["state"][key], tensor, rtol=FLOAT64_TOLERANCE, atol=FLOAT64_TOLERANCE, msg=key
            )


@pytest.mark.parametrize("name", CASES)
def test_first_float32_gradients_agree(results: list[dict[str, Any]], name: str) -> None:
    alone, *ranks = (result[f"{name}/float32"]["gradients"] for result in results)
    for rank in ranks:
        for key, gradient in alone.items():
            assert float((rank[key] - gradient).norm() / gradient.norm()) < GRADIENT_TOLERANCE, key


def test_evaluation_over_ranks_is_that_of_one(results: list[dict[str, Any]]) -> None:
    for result in results:
        assert result["gathered"] == [0, 1, 2, 3, 4]
        torch.testing.assert_close(result["probabilities"], results[0]["probabilities"], rtol=1e-4, atol=1e-6)


def test_a_run_of_two_ranks_goes_on_as_a_run_of_one(folder: Path, store: Path, tmp_path: Path) -> None:
    runs = (tmp_path / "alone", folder / "run-0")
    for run in runs:
        assert main(arguments_of_run(run, store)) == 0
    alone, begun_by_two = (
        [entry["loss"] for entry in log.read(run) if entry["kind"] == "train"] for run in runs
    )
    assert len(begun_by_two) == 4
    assert begun_by_two == pytest.approx(alone, rel=RUN_TOLERANCE)
    assert last_state(runs[1])["sampler"] == last_state(runs[0])["sampler"]


def test_all_ranks_resume_from_the_first_ranks_checkpoint(folder: Path) -> None:
    one_step = checkpoints.load(checkpoints.path_of(folder / "run-0", 1))
    for rank in range(2):
        newest = torch.load(folder / f"resuming-{rank}.pt", weights_only=True)["newest"]
        assert_same(newest, in_lists(one_step))
    assert not checkpoints.present(folder / "run-1")


def test_a_newer_checkpoint_of_another_rank_is_not_lost(folder: Path) -> None:
    for rank in range(2):
        refused = torch.load(folder / f"resuming-{rank}.pt", weights_only=True)["newer"]
        assert "rank 1 has a checkpoint of step 1" in refused
        assert "the first rank's does not exist" in refused


def test_ranks_of_different_commands_are_refused(folder: Path) -> None:
    for rank in range(2):
        refused = torch.load(folder / f"resuming-{rank}.pt", weights_only=True)["different"]
        assert "rank 1 and the first rank differ in recipe and step" in refused


def in_lists(tree: Any) -> Any:
    """With lists for tuples, as sent between ranks."""
    if isinstance(tree, dict):
        return {key: in_lists(value) for key, value in tree.items()}
    return [in_lists(value) for value in tree] if isinstance(tree, (list, tuple)) else tree


@pytest.fixture
def group_of_one(tmp_path: Path) -> Iterator[None]:
    """A process group that is this process alone."""
    dist.init_process_group("gloo", init_method=(tmp_path / "group").as_uri(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 11), (6, 3, 5, 4)])
def test_alone_it_is_torchs_batch_norm(group_of_one: None, shape: tuple[int, ...]) -> None:
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    plain = kind(3).double()
    with torch.no_grad():
        plain.weight.copy_(torch.tensor([0.5, -1.0, 2.0]))
    shared = synchronise(nn.Sequential(kind(3).double()), torch.device("cpu"))
    shared.load_state_dict({f"0.{key}": value.clone() for key, value in plain.state_dict().items()})
    assert isinstance(shared[0], SharedBatchNorm)  # type: ignore[index]
    x, y = ((100.0 + noise(*shape).double()).requires_grad_() for _ in range(2))
    for norm, into in ((plain, x), (shared, y)):
        (norm(into) ** 3).sum().backward()
    torch.testing.assert_close(y.grad, x.grad, rtol=1e-6, atol=1e-6)
    for (key, value), other in zip(plain.state_dict().items(), shared.state_dict().values(), strict=True):
        torch.testing.assert_close(other, value, msg=key)
    for mine, its in zip(shared.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(shared.eval()(x), plain.eval()(x))


def test_gradients_of_the_shared_norm_are_right(group_of_one: None) -> None:
    norm = SharedBatchNorm(2).double()
    x = noise(4, 2, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(norm, (x,))


def test_synchronising_keeps_the_weights_an_optimiser_holds() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.BatchNorm2d(2)))
    before = dict(model.named_parameters())
    keys = list(model.state_dict())
    synchronise(model, torch.device("cpu"))
    assert all(before[name] is weights for name, weights in model.named_parameters())
    assert list(model.state_dict()) == keys


def test_shares_are_whole_and_even() -> None:
    for world_size in (1, 2, 3, 8):
        parts = [Ranks(rank, world_size, torch.device("cpu")).share(64) for rank in range(world_size)]
        assert [part[0] for part in parts] + [64] == [0] + [part[1] for part in parts]
        assert max(e - b for b, e in parts) - min(e - b for b, e in parts) <= 1


def test_a_device_that_is_not_there_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match="torch finds no GPU"), joined("cuda"):
        pass
