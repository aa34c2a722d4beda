"""One table of all shards; where the user brings samples, their table in the shards' place."""

from pathlib import Path

import polars as pl

from tells.jobs import job
from tells.shards import merge_shards
from tells.tables import make_metadata, read_table, write_table
from tells.uncertainty.questions import read_samples

with job(snakemake.log[0], snakemake.output) as report:
    kind = Path(snakemake.output.table).stem
    sources = list(snakemake.input.shards)
    if sources[0].endswith(".parquet"):
        table, metadata = merge_shards(sources, kind)
    else:
        _, table = read_samples(sources[0])
        asked = read_table(snakemake.input.prompts, "prompts")["prompt_id"]
        table = table.filter(pl.col("prompt_id").is_in(asked.implode()))
        metadata = make_metadata(
            "merge",
            params={},
            inputs=sources,
            experiment=snakemake.wildcards.experiment,
            engine={"engine": "the user's own samples"},
            opened=False,
            think_end="</think>",
        )
    write_table(snakemake.output.table, table, kind, metadata)
    report.add(rows=table.height)
