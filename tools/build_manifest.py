"""Make ``weights_manifest.json`` from collected facts about the published checkpoints and the bundled one.

    python tools/build_manifest.py published_checkpoints.json

The given file has the collected facts about the published checkpoints (names, digests, scores, sources).
Descriptions, order and the bundled checkpoint's entry are written here.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pannsx.events import read_operating_points
from pannsx.frontend.settings import FrontEnd
from pannsx.strict import parse
from pannsx.weights.digests import file_digest
from pannsx.weights.manifest import parse_manifest
from pannsx.weights.record import BundledSource, Checkpoint, Example, HubSource, Scores, UrlSource
from pannsx.weights.record_json import MANIFEST_FORMAT, record_to_json

ROOT = Path(__file__).parent.parent
BUNDLED = ROOT / "pannsx" / "data" / "MobileNetV1_distilled.safetensors"

ABOUT = (
    "Every checkpoint that pannsx knows: PANNs as published (Kong et al. 2020, "
    "doi:10.1109/TASLP.2020.3030497; weights at doi:10.5281/zenodo.3987831) and the one the package "
    "carries. null: not known. parameters are trainable ones as published, unused_parameters among "
    "them never take part in a result; front-end constants are not counted. paper_operations_per_10s "
    "is the paper's count, about twice the multiply-accumulates, the STFT as a convolution included. "
    "Made by tools/build_manifest.py."
)

# Cnn14 and its variants first, then as in the paper.
DESCRIPTIONS = {
    "Cnn14": "14-layer CNN, the paper's reference model",
    "Cnn14_16k": "Cnn14 at 16 kHz",
    "Cnn14_8k": "Cnn14 at 8 kHz",
    "Cnn14_emb512": "Cnn14 with an embedding of 512",
    "Cnn14_emb128": "Cnn14 with an embedding of 128",
    "Cnn14_emb32": "Cnn14 with an embedding of 32",
    "Cnn14_mel32": "Cnn14 on 32 mel bands",
    "Cnn14_mel128": "Cnn14 on 128 mel bands",
    "Cnn14_no_specaug": "Cnn14 trained without SpecAugment",
    "Cnn14_no_dropout": "Cnn14 trained without dropout",
    "Cnn14_mixup_time_domain": "Cnn14 trained with mixup of waveforms instead of log-mels",
    "Cnn14_DecisionLevelMax": "Cnn14 that decides frame by frame; the clip's probability is the greatest",
    "Cnn14_DecisionLevelAvg": "Cnn14 that decides frame by frame; the clip's probability is the mean",
    "Cnn14_DecisionLevelAtt": "Cnn14 that decides frame by frame; attention weighs them for the clip",
    "Cnn6": "6-layer CNN with 5 x 5 kernels",
    "Cnn10": "10-layer CNN",
    "ResNet22": "22-layer residual network",
    "ResNet38": "38-layer residual network",
    "ResNet54": "54-layer residual network with bottleneck blocks",
    "MobileNetV1": "depthwise separable CNN, for small devices",
    "MobileNetV2": "CNN of inverted residual blocks, for small devices",
    "DaiNet19": "19-layer 1-D CNN on the waveform",
    "LeeNet11": "11-layer 1-D CNN on the waveform, with short kernels",
    "LeeNet24": "24-layer 1-D CNN on the waveform, with short kernels",
    "Res1dNet31": "31-layer 1-D residual network on the waveform",
    "Res1dNet51": "51-layer 1-D residual network on the waveform",
    "Wavegram_Cnn14": "Cnn14 on a time-frequency representation learned from the waveform",
    "Wavegram_Logmel_Cnn14": "Cnn14 on a learned representation and a log-mel together, the paper's best",
    "Wavegram_Logmel128_Cnn14": "Wavegram_Logmel_Cnn14 on 128 mel bands",
}
ARCHITECTURE = {
    **dict.fromkeys(
        (
            "Cnn14_16k", "Cnn14_8k", "Cnn14_mel32", "Cnn14_mel128", "Cnn14_no_specaug",
            "Cnn14_no_dropout", "Cnn14_mixup_time_domain",
        ),
        "Cnn14",
    ),
    "Wavegram_Logmel128_Cnn14": "Wavegram_Logmel_Cnn14",
}  # fmt: skip
UNUSED_PARAMETERS = {"DaiNet19": 4_224, "Cnn14_DecisionLevelAtt": 1_054, "Wavegram_Cnn14": 37_824}
NOTES = {
    "Cnn14_16k": "The file also holds the state of the training sampler, in NumPy arrays.",
    "Cnn14_DecisionLevelMax": (
        "The record's content network was once reported to serve another file under this name: size "
        "and digest tell."
    ),
}
BUNDLED_POINTS = BUNDLED.with_name(f"{BUNDLED.stem}.operating_points.json")
BUNDLED_SCORES = ROOT / "benchmarks" / "bundled_scores" / "MobileNetV1_distilled.json"
BUNDLED_NOTES = (
    "Trained for this project. Scores are of clips that its training left out; "
    "docs/reference/bundled-scores.md has them by kind of sound. On the split valid of the pool: "
    "pool_top1_agreement, the share of clips whose first tag is the teacher's first; "
    "pool_top5_agreement, the share whose teacher's first tag is among its first five; "
    "pool_mean_average_precision, against the teacher's positives (probability above 0.3). On fold 5: "
    "teacher_top1_agreement and teacher_top5_agreement, the same shares of 368 clips of ESC-50 and "
    "ESC-10; esc10_zero_shot_accuracy, the share of ESC-10's 80 clips named right by the best of each "
    "class's AudioSet labels (the teacher: 0.985 over all folds). Stored as float16, without front-end "
    "constants. int8_steps are calibrated on the 80 clips of ESC-10's fold 1, by "
    "pannsx.inference.quantisation. Authors of the audio: MobileNetV1_distilled.ATTRIBUTION.txt."
)
BUNDLED_STEPS = dict(
    zip(
        (f"features.{block}.4" for block in range(1, 14)),
        (
            0.047108,
            0.047285,
            0.045569,
            0.03744,
            0.034582,
            0.038107,
            0.039584,
            0.039307,
            0.049712,
            0.046764,
            0.04759,
            0.038737,
            0.038405,
        ),
        strict=True,
    )
)
"""Of the bundled file, from the record that `pannsx quantise` writes with --calibrate 'esc10/*/1-*.ogg'."""
STEPS_SHA256 = "c730ac2c6969259c8cbf53e59090b017b50911557d9320e2f8b6db46be6f6eec"
"""The file that they were calibrated with."""
BUNDLED_TRAINED_ON = (
    "Scenes of one to three clips, composed as they are read: of 1,324 clips of ESC-50 and ESC-10 "
    "(folds 1 to 4, CC0 and CC BY) and 16,933 clips of train.pool (permissive and share-alike tiers). "
    "Targets are the AudioSet probabilities of EfficientAT mn04_as (MIT, mAP 0.432), of each scene and,"
    " by frame, of each part. Nine runs, each begun with the last one's averaged weights: 3,623 and "
    "3,600 steps of 32 mixtures of ESC clips, 1,449 steps of single clips of the first pool and "
    "mixtures of ESC clips (sha256 af19596695c5e5a291d112ba87762051bd563b6c383111ec70fce73e23166580), "
    "2,180 steps of 32 scenes of ESC and the first pool (10,491 clips, seed 11), 3,000 steps of ESC and"
    " both rounds of the pool (seed 12, decay over the last 1,500, parts 0.55/0.27/0.18; clips and "
    "teacher's logits: sha256 696182c8a08e828d7c5fa54b7dcb20133d24ac549c9d7e73dc82e7b094c5ef69), 6,000 "
    "steps of ESC, twice as often, and the pool's present table (seed 13, loss of frames with weight 1, "
    "decay over the last 1,500; sha256 1870d10189347a1085262b183eafdf315726c273b2fa618efd0ec240c45158d4), "
    "6,500 steps with two further losses, the order of likely classes and cepstral statistics (seed 14, "
    "decay over the last 3,500, parts 0.6/0.25/0.15; "
    "sha256 8608aa949946ea0be1d12aa0b568976f23348e3d42e51077b798743a57830170), 1,200 steps at a rate of "
    "4e-4, averaged with the weights before, and 5,600 steps (seed 6, decay over the last 3,600, parts "
    "0.65/0.22/0.13). Then offsets of the classes were fitted on 5,649 of the clips (train.offsets). "
    "Teacher's weights: sha256 899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c. pannsx"
    " 0.1.0, torch 2.13.0 on a CPU in bfloat16, numpy 2.4.6."
)


def published_record(facts: dict[str, Any], oracle: dict[str, Any]) -> Checkpoint:
    """A published checkpoint's record from its collected facts."""
    name = facts["published_class"]
    hub = [
        HubSource(
            repo_id=source["repo_id"],
            repo_type=source["repo_type"],
            filename=source["filename"],
            revision=source.get("revision"),
            digest_seen=source["digest_seen"],
            licence=source.get("card_licence"),
        )
        for source in facts["hub"]
    ]
    # First the sources with verified bytes, then the authors' own record, then the rest.
    seen = [source for source in hub if source.digest_seen]
    authors = [UrlSource(url=facts["url"])] if facts["url"] else []
    unseen = [source for source in hub if not source.digest_seen]
    return Checkpoint(
        name=name,
        architecture=ARCHITECTURE.get(name, name),
        sample_rate=facts["sample_rate"],
        frontend=_frontend(facts),
        labels="audioset",
        n_classes=527,
        parameters=facts["parameters"],
        unused_parameters=UNUSED_PARAMETERS.get(name, 0),
        filename=facts["file"],
        size_bytes=facts["size_bytes"],
        sha256=facts["sha256"],
        md5=facts["md5"],
        sources=(*seen, *authors, *unseen),
        licence="CC BY 4.0" if facts["file"] else None,
        description=DESCRIPTIONS[name],
        trained_on=None,
        scores=Scores(
            mAP=facts["mAP"],
            auc=facts["auc"],
            d_prime=facts["d_prime"],
            source=facts["mAP_source"],
            other={},
        ),
        paper_operations_per_10s=_whole(facts["paper_operations_per_10s"]),
        recipe=f"train/recipes/{name}.toml",
        example=Example(file=oracle["file"], top=oracle["top"]) if oracle["model"] == name else None,
        notes=NOTES.get(name),
    )


def bundled_record(mobilenet: Checkpoint) -> Checkpoint:
    """The bundled checkpoint's record; a MobileNetV1 with the published one's settings."""
    return Checkpoint(
        name=BUNDLED.stem,
        architecture=mobilenet.architecture,
        sample_rate=mobilenet.sample_rate,
        frontend=mobilenet.frontend,
        labels="audioset",
        n_classes=mobilenet.n_classes,
        parameters=mobilenet.parameters,
        unused_parameters=mobilenet.unused_parameters,
        filename=BUNDLED.name,
        size_bytes=BUNDLED.stat().st_size,
        sha256=file_digest(BUNDLED, "sha256"),
        sources=(BundledSource(filename=BUNDLED.name),),
        licence="MIT",
        description="MobileNetV1 distilled from a larger tagger; small, in the package, for a first try",
        trained_on=BUNDLED_TRAINED_ON,
        scores=Scores(
            mAP=None, auc=None, d_prime=None, source="python -m benchmarks.bundled", other=_bundled_scores()
        ),
        paper_operations_per_10s=mobilenet.paper_operations_per_10s,
        recipe=f"train/recipes/{BUNDLED.stem}.toml",
        notes=BUNDLED_NOTES,
        operating_points_sha256=_points_digest(),
        int8_steps=_bundled_steps(),
    )


def _points_digest() -> str | None:
    """Digest of the operating points of the bundled file, which they must name; None without them."""
    if not BUNDLED_POINTS.is_file():
        return None
    if read_operating_points(BUNDLED_POINTS).weights_sha256 != file_digest(BUNDLED, "sha256"):
        raise SystemExit(f"{BUNDLED_POINTS.name} is of another file; run train.calibrate again")
    return file_digest(BUNDLED_POINTS, "sha256")


def _bundled_steps() -> dict[str, float]:
    """Steps of products in 8 bits; they must have been calibrated with the bundled file."""
    if file_digest(BUNDLED, "sha256") != STEPS_SHA256:
        raise SystemExit("BUNDLED_STEPS are of another file; take those of `pannsx quantise`")
    return BUNDLED_STEPS


def _bundled_scores() -> dict[str, float]:
    """The scores of benchmarks.bundled; they must be those of the bundled file."""
    found = json.loads(BUNDLED_SCORES.read_text(encoding="utf-8"))
    if found["sha256"] != file_digest(BUNDLED, "sha256"):
        raise SystemExit(f"{BUNDLED_SCORES.name} is of another file; run benchmarks.bundled again")
    pool = found["pool"]
    return {
        "esc10_zero_shot_accuracy": found["esc10_zero_shot_accuracy"],
        "teacher_top1_agreement": found["fold5_first"],
        "teacher_top5_agreement": found["fold5_among_five"],
        "pool_top1_agreement": pool["first"],
        "pool_top5_agreement": pool["among_five"],
        "pool_mean_average_precision": pool["mean_average_precision"],
    }


def _frontend(facts: dict[str, Any]) -> Any:
    settings = facts["frontend"]
    if settings is None:
        return None
    rate = settings["sample_rate"]
    if rate != facts["sample_rate"]:
        raise SystemExit(
            f"{facts['published_class']}: front end at {rate} Hz, model at {facts['sample_rate']} Hz"
        )
    return parse(FrontEnd, settings, facts["published_class"])


def _whole(count: float | None) -> int | None:
    return None if count is None else int(count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("published", type=Path, help="published_checkpoints.json")
    known = json.loads(parser.parse_args().published.read_text(encoding="utf-8"))

    facts = {entry["published_class"]: entry for entry in known["checkpoints"]}
    if set(facts) != set(DESCRIPTIONS):
        raise SystemExit(f"names differ: {sorted(set(facts) ^ set(DESCRIPTIONS))}")
    published = {name: published_record(facts[name], known["readme_oracle"]) for name in DESCRIPTIONS}
    records = [bundled_record(published["MobileNetV1"]), *published.values()]
    manifest = {
        "format": MANIFEST_FORMAT,
        "about": ABOUT,
        "checkpoints": [record_to_json(record) for record in records],
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    if list(parse_manifest(text).values()) != records:
        raise SystemExit("the manifest does not read back as it was written")
    target = ROOT / "weights_manifest.json"
    temporary = target.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    temporary.replace(target)
    print(f"{target.name}: {len(records)} checkpoints, {sum(bool(r.sources) for r in records)} with weights")


if __name__ == "__main__":
    main()
