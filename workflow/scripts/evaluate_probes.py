"""Every probe and baseline on the held-out questions of every data set."""

from tells.jobs import job
from tells.tables import make_metadata, read_metadata, read_table, write_json, write_table
from tells.uncertainty.evaluation import evaluate, transfer_matrix
from tells.uncertainty.evaluation_metrics import InferenceSettings
from tells.uncertainty.files import open_states, read_collections
from tells.uncertainty.probe_files import load_probes
from tells.uncertainty.runs import join_runs

settings = snakemake.params.settings

with job(snakemake.log[0], snakemake.output) as report:
    runs = join_runs(read_collections(snakemake.input), read_table(snakemake.input.splits, "splits"))
    probes = load_probes(snakemake.input.probes, snakemake.input.record)
    evaluation = evaluate(
        runs,
        open_states(runs, snakemake.input.states),
        probes,
        min_valid=settings["min_valid"],
        settings=InferenceSettings(
            settings["bootstrap"], settings["permutations"], settings["level"], settings["seed"]
        ),
    )
    metadata = make_metadata(
        "evaluate_probes",
        params=settings,
        inputs=[snakemake.input.probes, snakemake.input.splits, *snakemake.input.labels, *snakemake.input.entropy],
        experiment=snakemake.wildcards.experiment,
        model=read_metadata(snakemake.input.probes)["model"],
        seed=settings["seed"],
    )
    content = {
        "records": evaluation.records,
        "accuracy": evaluation.accuracy,
        "transfer": transfer_matrix(evaluation.records),
        "n_seen_elsewhere": evaluation.n_seen_elsewhere,
    }
    write_json(snakemake.output.evaluation, content, metadata=metadata)
    write_table(snakemake.output.scores, evaluation.scores, "scores", metadata)
    write_table(snakemake.output.curves, evaluation.curves, "curves", metadata)
    report.add(records=len(evaluation.records))
