"""Every signal of every sample of every study."""

from tells.agreement.inputs import StudyInputs, facts_of
from tells.agreement.measure import SignalSettings, measure_signals
from tells.jobs import job
from tells.tables import make_metadata, write_json, write_table

settings = snakemake.params.settings

with job(snakemake.log[0], snakemake.output) as report:
    files = [*snakemake.input.studies, *snakemake.input.shards]
    trained = tuple(snakemake.input.trained) or None
    measured = measure_signals(StudyInputs(files), SignalSettings(**settings), trained)
    facts = facts_of(files)
    metadata = make_metadata(
        "measure_signals",
        params=settings,
        inputs=list(snakemake.input),
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
    )
    write_table(snakemake.output.signals, measured.table, "signals", metadata)
    write_json(snakemake.output.facts, measured.facts, metadata=metadata)
    report.add(samples=measured.table.height, absent=len(measured.facts["absent"]))
