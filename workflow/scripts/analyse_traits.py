"""The traits study's results: every trait in one table, and the cosines between their vectors."""

from tells.jobs import job
from tells.tables import make_metadata, read_json, write_json, write_table
from tells.traits.cosines import trait_cosines
from tells.traits.summary import traits_table

with job(snakemake.log[0], snakemake.output) as report:
    summaries = [read_json(path) for path in snakemake.input.summaries]
    facts = summaries[0]["metadata"]
    metadata = make_metadata(
        "analyse_traits",
        params={},
        inputs=[*snakemake.input.summaries, *snakemake.input.vectors],
        experiment=snakemake.wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
        steered_model=next(filter(None, (one["metadata"]["steered_model"] for one in summaries)), None),
        judge=facts["judge"],
        window=facts["window"],
    )
    own = [{key: value for key, value in one.items() if key != "metadata"} for one in summaries]
    names = [one["trait"] for one in own]
    content = {"traits": own, "cosines": trait_cosines(dict(zip(names, snakemake.input.vectors, strict=True)))}
    write_json(snakemake.output.results, content, metadata=metadata)
    write_table(snakemake.output.table, traits_table(own), "traits", metadata)
    report.add(traits=len(own))
