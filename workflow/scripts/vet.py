"""Which responses enter a trait's vectors, and the rates."""

from tells.jobs import job
from tells.tables import make_metadata, read_metadata, read_table, write_json, write_table
from tells.traits.vetting import Thresholds, vet

settings, inputs = snakemake.params.settings, snakemake.input

with job(snakemake.log[0], snakemake.output) as report:
    facts = read_metadata(inputs.samples)
    judged = [inputs.scenario_scores, inputs.response_scores]
    table, vetting = vet(
        read_table(inputs.prompts, "prompts"),
        read_table(inputs.scenario_scores, "scenario_scores") if inputs.scenario_scores else None,
        read_table(inputs.response_scores, "response_scores") if inputs.response_scores else None,
        gate=settings["gate"] if settings["responses"] else "none",
        paired=settings["paired"],
        thresholds=Thresholds(settings["positive_min"], settings["negative_max"]),
        minimum=settings["minimum"],
        samples=read_table(inputs.samples, "samples"),
    )
    metadata = make_metadata(
        "vet",
        params=settings,
        inputs=[inputs.prompts, *filter(None, judged)],
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
        judge=next((read_metadata(path)["judge"] for path in judged if path), None),
    )
    write_table(snakemake.output.table, table, "vetting", metadata)
    write_json(snakemake.output.record, vetting.to_dict(), metadata=metadata)
    report.add(responses=table.height, kept=int(table["kept"].sum()), status=vetting.status)
