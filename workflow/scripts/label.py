"""The labels that the analyses read: the refusal of one classifier, the harm of another."""

from pathlib import Path

from tells.jobs import job
from tells.safety.labelling import merge_labels
from tells.tables import make_metadata, read_metadata, read_table, write_table

settings = snakemake.params.settings

with job(snakemake.log[0], snakemake.output) as report:
    facts = read_metadata(snakemake.input.confidence)
    kinds = [Path(path).stem for path in snakemake.input.labels]
    labels = merge_labels(
        read_table(snakemake.input.prompts, "prompts"),
        read_table(snakemake.input.confidence, "confidence"),
        {
            kind.removesuffix("_labels"): read_table(path, kind)
            for kind, path in zip(kinds, snakemake.input.labels, strict=True)
        },
        refusal=settings["refusal"],
        harm=settings["harm"],
    )
    metadata = make_metadata(
        "label",
        params=settings,
        inputs=snakemake.input,
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
        classifiers={"refusal": settings["refusal"], "harm": settings["harm"]},
    )
    write_table(snakemake.output.labels, labels, "reply_labels", metadata)
    report.add(
        replies=labels.height,
        truncated=int(labels["truncated"].sum()),
        empty=int(labels["empty"].sum()),
        unscored=int((labels["harm"] == "unscored").sum()),
        harmful=int((labels["harm"] == "harmful").sum()),
    )
