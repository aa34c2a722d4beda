"""The safety study's results: every benchmark in one file, every trace in one table."""

from pathlib import Path

from tells.jobs import job
from tells.safety.results import safety_results, traces_table
from tells.tables import make_metadata, read_json, read_table, write_json, write_table

with job(snakemake.log[0], snakemake.output) as report:
    names = [Path(path).parent.name for path in snakemake.input.strata]
    strata, arms = ([read_json(path) for path in paths] for paths in (snakemake.input.strata, snakemake.input.arms))
    facts = strata[0]["metadata"]
    metadata = make_metadata(
        "analyse_safety",
        params={},
        inputs=snakemake.input,
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
        classifiers=facts["classifiers"],
        thinking=facts["thinking"],
        window=facts["window"],
        fraction=facts["fraction"],
    )
    write_json(snakemake.output.results, safety_results(names, strata, arms), metadata=metadata)
    traces = traces_table(
        names,
        [read_table(path, "strata") for path in snakemake.input.traces],
        [read_table(path, "confidence") for path in snakemake.input.confidence],
    )
    write_table(snakemake.output.table, traces, "traces", metadata)
    report.add(benchmarks=len(names), replies=traces.height)
