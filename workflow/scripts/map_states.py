"""UMAP of the hidden states that the accuracy probe reads."""

import polars as pl

from tells.jobs import job
from tells.tables import SCHEMAS, make_metadata, read_json, read_metadata, read_table, write_table
from tells.uncertainty.files import open_states, read_collections
from tells.uncertainty.projection import ProjectionSettings, project_states
from tells.uncertainty.runs import join_runs

settings = snakemake.params.settings

with job(snakemake.log[0], snakemake.output) as report:
    runs = join_runs(read_collections(snakemake.input), read_table(snakemake.input.splits, "splits"))
    source = open_states(runs, snakemake.input.states)
    fitted = {probe["name"]: probe for probe in read_json(snakemake.input.record)["probes"]}
    chosen = fitted.get("accuracy") or {
        "layer": source.layers[-1] if source.layers else None,
        "position": source.positions[-1] if source.positions else None,
    }
    if source.layers:
        points = project_states(
            runs,
            source,
            layer=chosen["layer"],
            position=chosen["position"],
            settings=ProjectionSettings.from_mapping(settings),
        )
    else:
        points = pl.DataFrame(schema=SCHEMAS["map"].columns)
    metadata = make_metadata(
        "map_states",
        params=settings,
        inputs=[snakemake.input.record, snakemake.input.splits, *snakemake.input.states],
        experiment=snakemake.wildcards.experiment,
        model=read_metadata(snakemake.input.record)["model"],
        seed=settings["seed"],
        layer=chosen["layer"],
        position=chosen["position"],
    )
    write_table(snakemake.output.map, points, "map", metadata)
    report.add(points=points.height)
