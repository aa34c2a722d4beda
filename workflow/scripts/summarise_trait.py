"""Everything about one trait."""

from tells.jobs import job
from tells.tables import make_metadata, read_json, read_metadata, read_table, write_json
from tells.traits.choice import report_effects
from tells.traits.summary import summarise_trait

settings, inputs = snakemake.params.settings, snakemake.input

with job(snakemake.log[0], snakemake.output) as report:
    effects = None
    if inputs.answers:
        effects = report_effects(
            read_table(inputs.answers, "report"),
            read_table(inputs.scores, "report_scores"),
            bootstrap=settings["bootstrap"],
            seed=settings["seed"],
        )
    summary = summarise_trait(
        snakemake.wildcards.collection,
        read_json(inputs.vetting),
        read_json(inputs.record),
        choice=read_json(inputs.choice) if inputs.choice else None,
        effects=effects,
        explanations=read_json(inputs.explanations)["explanations"] if inputs.explanations else (),
        min_coherence=settings["min_coherence"],
    )
    facts = read_metadata(inputs.record)
    judged = [path for path in (inputs.vetting, inputs.scores) if path]
    metadata = make_metadata(
        "summarise_trait",
        params=settings,
        inputs=[path for path in (inputs.vetting, inputs.record, inputs.choice, inputs.scores) if path],
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
        steered_model=read_metadata(inputs.choice)["model"] if inputs.choice else None,
        judge=next(filter(None, (read_metadata(path)["judge"] for path in judged)), None),
        window=facts["window"],
    )
    write_json(snakemake.output.summary, summary, metadata=metadata)
    report.add(status=summary["status"])
