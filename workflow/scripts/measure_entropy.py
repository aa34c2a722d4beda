"""Entropies of every question of a collection."""

import numpy as np

from tells.jobs import job
from tells.tables import make_metadata, read_json, read_metadata, read_table, write_table
from tells.uncertainty.entropy import question_entropies

with job(snakemake.log[0], snakemake.output) as report:
    facts = read_metadata(snakemake.input.labels)
    relations = read_json(snakemake.input.relations)["relations"]
    entropy = question_entropies(
        read_table(snakemake.input.clusters, "clusters"),
        read_table(snakemake.input.labels, "labels"),
        read_table(snakemake.input.replay, "replay") if snakemake.input.replay else None,
        {prompt_id: np.array(relation) for prompt_id, relation in relations.items()},
        min_valid=snakemake.params.min_valid,
    )
    metadata = make_metadata(
        "entropy",
        params={"min_valid": snakemake.params.min_valid},
        inputs=snakemake.input,
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
    )
    write_table(snakemake.output.entropy, entropy, "entropy", metadata)
    report.add(questions=entropy.height)
