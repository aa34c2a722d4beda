"""Split the questions and train every probe of the study."""

from tells.jobs import job
from tells.tables import make_metadata, read_metadata, write_table
from tells.uncertainty.files import open_states, read_collections
from tells.uncertainty.probe_files import save_probes
from tells.uncertainty.probes import ProbeSettings, fit_probes
from tells.uncertainty.runs import join_runs, split_questions

settings = snakemake.params.settings

with job(snakemake.log[0], snakemake.output) as report:
    tables = read_collections(snakemake.input)
    splits = split_questions(tables, settings["roles"], settings["split"], seed=settings["seed"])
    runs = join_runs(tables, splits)
    probes = fit_probes(
        runs,
        open_states(runs, snakemake.input.states),
        ProbeSettings(
            positions=tuple(settings["positions"]),
            regularisation=tuple(settings["regularisation"]),
            folds=settings["folds"],
            min_valid=settings["min_valid"],
            shuffles=settings["shuffles"],
            seed=settings["seed"],
            workers=snakemake.threads,
        ),
    )
    facts = read_metadata(snakemake.input.labels[0])
    metadata = make_metadata(
        "train_probes",
        params=settings,
        inputs=[
            path
            for paths in (snakemake.input.labels, snakemake.input.entropy, snakemake.input.states)
            for path in paths
        ],
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=settings["seed"],
    )
    save_probes(snakemake.output.probes, snakemake.output.record, probes, metadata=metadata)
    write_table(snakemake.output.splits, splits, "splits", metadata)
    report.add(probes=len(probes.probes), controls=len(probes.controls), unfitted=len(probes.unfitted))
