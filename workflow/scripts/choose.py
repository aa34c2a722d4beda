"""The best valid point of a trait's steering grid, or that there is none."""

from tells.jobs import job
from tells.tables import make_metadata, read_metadata, read_table, write_json
from tells.traits.choice import choose_point

settings = snakemake.params.settings

with job(snakemake.log[0], snakemake.output) as report:
    facts = read_metadata(snakemake.input.answers)
    choice = choose_point(
        read_table(snakemake.input.answers, "search"), read_table(snakemake.input.scores, "search_scores"), **settings
    )
    metadata = make_metadata(
        "choose",
        params=settings,
        inputs=[snakemake.input.answers, snakemake.input.scores],
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
        vectors_model=facts["vectors_model"],
        norms=facts["norms"],
        judge=read_metadata(snakemake.input.scores)["judge"],
    )
    write_json(snakemake.output.choice, choice, metadata=metadata)
    report.add(points=len(choice["points"]), status=choice["status"])
