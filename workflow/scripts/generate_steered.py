"""Answers to a trait's search questions at every point of the steering grid."""

from pathlib import Path

import polars as pl

from tells.config import GenerationConfig
from tells.jobs import job
from tells.startup import starting_up
from tells.tables import make_metadata, read_metadata, write_table
from tells.traits.candidates import read_candidates
from tells.traits.scenarios import load_trait
from tells.traits.steering import generate_rows, grid_rows, measure_norms, name_questions, reference_rows

settings, wildcards = snakemake.params.settings, snakemake.wildcards

with job(snakemake.log[0], snakemake.output, gpus=snakemake.resources.get("gpu", 0)) as report:
    with starting_up():
        from tells.models.loading import load_as

    trait = load_trait(Path(snakemake.input.questions).parent)
    search = name_questions(trait.search, "search", settings["search_questions"])
    asked = search + name_questions(trait.report, "report", settings["report_questions"])
    candidates = read_candidates(
        snakemake.input.vectors, snakemake.input.record, layers=settings["layers"], methods=settings["methods"]
    )
    source = read_metadata(snakemake.input.vectors)
    loaded = load_as(snakemake.input.model, settings, threads=snakemake.threads)
    how = {
        "settings": GenerationConfig.model_validate(settings["generation"]),
        "names": ("traits", wildcards.collection),
        "seed": settings["seed"],
        "prompt": settings["prompt"],
        "positions": settings["positions"],
        "batch_size": settings["batch_size"],
    }
    # Without a vector there is nothing to prove, and nothing for a judge to be asked.
    wanted = reference_rows(asked, settings["reference_samples"]) if candidates else []
    references, _ = generate_rows(wanted, loaded, **how)
    layers = sorted({candidate.layer for candidate in candidates})
    norms = measure_norms(loaded, references, layers, prompt=settings["prompt"], batch_size=settings["batch_size"])
    rows = grid_rows(candidates, settings["ratios"], norms, search, settings["samples"])
    answers, batch_size = generate_rows(rows, loaded, **how)
    metadata = make_metadata(
        "generate_steered",
        params=settings,
        inputs=snakemake.input,
        experiment=wildcards.experiment,
        model={"name": loaded.name, "revision": loaded.manifest["revision"]},
        seed=settings["seed"],
        vectors_model=source["model"],
        norms={str(layer): norm for layer, norm in norms.items()},
        **loaded.facts(),
    )
    table = pl.concat([references, answers])
    write_table(snakemake.output.answers, table, "search", metadata)
    report.add(runs=table.height, tokens=int(table["token_ids"].list.len().sum()), batch_size=batch_size)
