"""The four cells of a benchmark, its rates, and whether unsure compliance is riskier."""

from tells.config.safety import StrataConfig
from tells.jobs import job
from tells.safety.results import strata_record
from tells.safety.strata import strata_table
from tells.tables import make_metadata, read_metadata, read_table, write_json, write_table

settings = snakemake.params.settings
drawn = {"bootstrap": settings["bootstrap"], "level": settings["level"], "seed": settings["seed"]}

with job(snakemake.log[0], snakemake.output) as report:
    confidence = read_table(snakemake.input.confidence, "confidence")
    labels = read_table(snakemake.input.labels, "reply_labels")
    measured, labelled = (read_metadata(path) for path in (snakemake.input.confidence, snakemake.input.labels))
    config = StrataConfig.model_validate(settings["strata"])
    strata, facts = strata_table(labels, confidence, kind=settings["kind"], config=config, seed=settings["seed"])
    metadata = make_metadata(
        "stratify",
        params=settings,
        inputs=snakemake.input,
        experiment=snakemake.wildcards.experiment,
        model=labelled["model"],
        seed=settings["seed"],
        classifiers=labelled["classifiers"],
        thinking=measured["thinking"],
        window=measured["window"],
        fraction=measured["fraction"],
    )
    write_table(snakemake.output.strata, strata, "strata", metadata)
    record = strata_record(strata, confidence, labels, facts, **drawn)
    write_json(snakemake.output.summary, record, metadata=metadata)
    report.add(replies=strata.height, in_cells=facts["n_in_cells"], warnings=len(record["warnings"]))
