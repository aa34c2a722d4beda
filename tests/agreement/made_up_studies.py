"""Three small studies on disk, as far as the agreement reads them: states of two blocks, probes, vectors, labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from tells.agreement.inputs import StudyInputs
from tells.tables import SCHEMAS, make_metadata, write_json, write_table, write_tensors
from tells.traits.extraction import extract, read_activations, write_vectors
from tells.uncertainty.probe_files import Probe, ProbeSet, save_probes

MADE = {"params": {}, "experiment": "tiny", "model": {"name": "small", "revision": "1"}, "seed": 3}
WIDTH, LAYERS = 6, [0, 1]
UNCERTAINTY = ("prompt_end", "think_end", "answer_end", "answer_mean", "think_mean")
SAFETY = ("prompt_end", "answer_end", "answer_mean")
TRAITS = ("response[:4]", "prompt_last")
TRAIT = "epistemic/confidence"
QUESTIONS, RUNS = 20, 3


def plant_studies(
    root: Path, *, pairs: int = 12, studies: tuple[str, ...] = ("uncertainty", "traits", "safety")
) -> Path:
    """Write the studies below experiments/tiny; gives that folder."""
    folder = root / "experiments/tiny"
    if "uncertainty" in studies:
        _plant_uncertainty(folder / "uncertainty")
    if "traits" in studies:
        plant_trait(folder / "traits" / TRAIT, 12)
    if "safety" in studies:
        _plant_safety(folder / "safety/builtin")
    return folder


def inputs_of(folder: Path) -> StudyInputs:
    """Everything below an experiment's folder, as a job is given it."""
    return StudyInputs(path for path in folder.rglob("*") if path.is_file())


def write(path: Path, kind: str, rows: pl.DataFrame, **facts: object) -> None:
    """Write a table whose missing columns are null."""
    types = SCHEMAS[kind].columns
    missing = [pl.lit(None, kind_of).alias(name) for name, kind_of in types.items() if name not in rows.columns]
    known = [pl.col(name).cast(types[name]) if name in types else pl.col(name) for name in rows.columns]
    write_table(path, rows.select(*known, *missing), kind, make_metadata("merge", **MADE, **facts))


def replay(folder: Path, keys: pl.DataFrame, positions: tuple[str, ...], *, thoughts: bool, shards: int = 2) -> None:
    """Replay of runs of twelve tokens, four of them the answer where there is a thought, in several shards."""
    generator = np.random.default_rng(len(keys))
    for shard, part in enumerate(np.array_split(np.arange(keys.height), shards)):
        rows = len(part)
        tokens = generator.gamma(2.0, 0.4, (rows, 12))
        table = keys[part].with_columns(
            shard=pl.lit(shard),
            tensor_row=pl.int_range(pl.len()),
            entropy=pl.Series(tokens.tolist()),
            token_logprobs=pl.Series((-tokens).tolist()),
            confidence=pl.Series((9 - tokens).tolist()),
            think_start=pl.lit(0 if thoughts else None, pl.Int32),
            think_stop=pl.lit(8 if thoughts else None, pl.Int32),
            answer_start=pl.lit(8 if thoughts else 0),
            answer_stop=pl.lit(12),
            n_think=pl.lit(8 if thoughts else 0),
            entropy_think_mean=pl.Series(tokens[:, :8].astype(np.float32).astype(float).mean(axis=1)),
            answer_log_likelihood=pl.Series((-tokens[:, -4:]).sum(axis=1)),
            mean_log_likelihood=pl.Series((-tokens[:, -4:]).mean(axis=1)),
        )
        place = folder / f"shards/replay-{shard:04d}.parquet"
        facts = {"layers": LAYERS, "positions": list(positions)}
        write(place, "replay", table, **facts)
        hidden = generator.normal(size=(rows, len(LAYERS), len(positions), WIDTH)).astype(np.float32)
        valid = np.ones((rows, len(positions)), dtype=np.uint8)
        write_tensors(
            place.with_suffix(".safetensors"),
            {"hidden": hidden, "valid": valid},
            make_metadata("replay", **MADE, **facts),
        )


def _plant_uncertainty(folder: Path) -> None:
    generator = np.random.default_rng(0)
    questions = [f"q{number:02d}" for number in range(QUESTIONS)]
    split = ["train"] * 10 + ["validation"] * 4 + ["test"] * 6
    keys = pl.DataFrame(
        {
            "prompt_id": np.repeat(questions, RUNS + 1),
            "sample": np.tile(np.arange(-1, RUNS), QUESTIONS),
        }
    )
    labels = keys.with_columns(
        group="g" + pl.col("prompt_id"),
        greedy=pl.col("sample") < 0,
        truncated=pl.lit(False),
        correct=pl.Series(generator.random(keys.height) < 0.5),
        grader=pl.lit("text 1"),
    )
    # The last question stands in the training split of another data set, too.
    labels = labels.with_columns(group=pl.when(pl.col("prompt_id") == "q19").then(pl.lit("gq00")).otherwise("group"))
    write(folder / "sums/labels.parquet", "labels", labels)
    groups = labels.unique("prompt_id", keep="first", maintain_order=True)["group"]
    entropy = pl.DataFrame({"prompt_id": questions, "group": groups}).with_columns(
        discrete=pl.Series(generator.random(QUESTIONS)), majority_share=pl.lit(0.5), n_valid=pl.lit(RUNS)
    )
    write(folder / "sums/entropy.parquet", "entropy", entropy)
    splits = pl.DataFrame({"prompt_id": questions, "group": groups, "split": split, "dataset": "sums"})
    write(folder / "splits.parquet", "splits", splits)
    replay(folder / "sums", keys, UNCERTAINTY, thoughts=True)
    scores = keys.with_columns(
        pl.Series("accuracy.score", generator.normal(size=keys.height)),
        pl.Series("accuracy.prompt_end.score", generator.normal(size=keys.height)),
        pl.Series("semantic_entropy.score", generator.normal(size=keys.height)),
        dataset=pl.lit("sums"),
    ).join(splits.select("prompt_id", "split"), on="prompt_id")
    write(folder / "scores.parquet", "scores", scores)
    probes = ProbeSet(
        (
            probe("accuracy", "answer_mean"),
            probe("accuracy.prompt_end", "prompt_end"),
            probe("semantic_entropy", "think_end"),
        ),
        {"semantic_entropy.prompt_end": "degenerate: one class"},
    )
    save_probes(
        folder / "probes.safetensors", folder / "probes.json", probes, metadata=make_metadata("train_probes", **MADE)
    )


def probe(name: str, position: str, layer: int = 1) -> Probe:
    """A probe that reads one position; its weights are those of its name."""
    weights = np.random.default_rng(len(name)).normal(size=WIDTH)
    return Probe(
        name=name,
        target=name.partition(".")[0],
        kind="logistic",
        layer=layer,
        position=position,
        strength=1.0,
        mean=np.zeros(WIDTH),
        scale=np.ones(WIDTH),
        weights=weights,
        intercept=0.25,
        slope=None,
        offset=None,
        tau=None,
        trained_on=("sums",),
        selection="cross_validation",
        selection_value=0.7,
        table=(),
        n_train_rows=30,
        n_train_questions=10,
        n_validation_rows=12,
        n_validation_questions=4,
        seed=3,
    )


def plant_trait(folder: Path, pairs: int, *, kept: int | None = None) -> None:
    """A trait of so many pairs, of which the first so many are kept, with vectors made by the study's own code."""
    kept = pairs if kept is None else kept
    poles = ["positive", "negative"]
    keys = pl.DataFrame(
        {"prompt_id": [f"{pole}-{pair:03d}" for pole in poles for pair in range(pairs)], "sample": [0] * (2 * pairs)}
    )
    vetting = keys.with_columns(
        group="pair-" + pl.col("prompt_id").str.slice(-3),
        polarity=pl.col("prompt_id").str.slice(0, 8),
        response_score=pl.when(pl.col("prompt_id").str.starts_with("positive")).then(75.0).otherwise(25.0),
        kept=pl.col("prompt_id").str.slice(-3).cast(pl.Int32) < kept,
        outcome=pl.lit("pass"),
    )
    write(folder / "vetting.parquet", "vetting", vetting)
    record = {"thresholds": {"positive_min": 60.0, "negative_max": 40.0}, "status": "ok", "reason": None}
    write_json(folder / "vetting.json", record, metadata=make_metadata("vet", **MADE))
    replay(folder, keys, TRAITS, thoughts=False)
    shards = [
        [folder / f"shards/replay-{number:04d}.{ending}" for number in (0, 1)] for ending in ("parquet", "safetensors")
    ]
    prompts = keys.select("prompt_id", text=pl.lit("I think that"))
    activations = read_activations(vetting, prompts, *shards, window="response[:4]", layers="all")
    quality, reason = extract(activations, methods=["mean_difference"], seed=MADE["seed"], bootstrap=20)
    facts = {"status": "ok" if reason is None else "insufficient", "reason": reason, "n_rows": 2 * kept, "n_empty": 0}
    metadata = make_metadata("extract_vectors", **MADE, window="response[:4]")
    write_vectors(folder / "vectors.safetensors", folder / "vectors.json", quality, facts, metadata)


def _plant_safety(folder: Path) -> None:
    generator = np.random.default_rng(1)
    prompts, traces = 10, 4
    keys = pl.DataFrame(
        {
            "prompt_id": np.repeat([f"p{number}" for number in range(prompts)], traces),
            "sample": np.tile(np.arange(traces), prompts),
        }
    )
    labels = keys.with_columns(
        group="twins-" + (pl.col("prompt_id").str.slice(1).cast(pl.Int32) // 2).cast(pl.String),
        label=pl.when(pl.col("prompt_id") == "p9").then(None).otherwise(pl.lit("harmful")),
        refusal=pl.Series(generator.choice(["refusal", "partial", "compliance", "compliance", "unclear"], keys.height)),
    )
    harm = generator.choice(["harmful", "unharmful", "unscored"], keys.height)
    labels = labels.with_columns(harm=pl.when(pl.col("refusal") == "compliance").then(pl.Series(harm)))
    write(
        folder / "reply_labels.parquet",
        "reply_labels",
        labels,
        classifiers={"refusal": "patterns", "harm": "embedding"},
    )
    confidence = labels.select("prompt_id", "group", "sample").with_columns(
        pl.Series(kind, generator.normal(5, 1, keys.height)) for kind in ("mean", "lowest", "bottom", "tail")
    )
    write(folder / "confidence.parquet", "confidence", confidence)
    clusters = keys.with_columns(cluster=pl.col("sample") % 2, method=pl.lit("cosine"))
    write(folder / "clusters.parquet", "clusters", clusters)
    replay(folder, keys, SAFETY, thoughts=False)
