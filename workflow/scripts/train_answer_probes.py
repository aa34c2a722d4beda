"""The uncertainty study's probes at the end of the answer."""

from tells.agreement.answer_probes import train_answer_probes
from tells.jobs import job
from tells.tables import make_metadata, read_metadata, read_table
from tells.uncertainty.files import open_states, read_collections
from tells.uncertainty.probe_files import load_probes, save_probes
from tells.uncertainty.probes import ProbeSettings
from tells.uncertainty.runs import join_runs

settings = snakemake.params.settings

with job(snakemake.log[0], snakemake.output) as report:
    runs = join_runs(read_collections(snakemake.input), read_table(snakemake.input.splits, "splits"))
    probes = train_answer_probes(
        runs,
        open_states(runs, snakemake.input.states),
        load_probes(snakemake.input.probes, snakemake.input.record),
        ProbeSettings(
            folds=settings["folds"],
            min_valid=settings["min_valid"],
            seed=settings["seed"],
            workers=snakemake.threads,
        ),
    )
    facts = read_metadata(snakemake.input.record)
    metadata = make_metadata(
        "train_answer_probes",
        params=settings,
        inputs=[snakemake.input.probes, snakemake.input.record, snakemake.input.splits, *snakemake.input.states],
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
    )
    save_probes(snakemake.output.probes, snakemake.output.record, probes, metadata=metadata)
    report.add(probes=len(probes.probes), unfitted=len(probes.unfitted))
