"""Every signal against every outcome."""

from tells.agreement.cells import InferenceSettings
from tells.agreement.results import analyse
from tells.agreement.steering_changes import SteeredQuestions
from tells.jobs import job
from tells.tables import make_metadata, read_json, read_metadata, read_table, write_json, write_table

settings = snakemake.params.settings
drawn = ("bootstrap", "permutations", "level", "folds", "seed")

with job(snakemake.log[0], snakemake.output) as report:
    steered = [
        SteeredQuestions(facts["collection"], read_table(path, "outcomes"), facts)
        for path in snakemake.input.steered
        for facts in [read_metadata(path)]
    ]
    found = analyse(
        read_table(snakemake.input.signals, "signals"),
        read_json(snakemake.input.facts),
        confidence_trait=settings["confidence_trait"],
        settings=InferenceSettings(**{key: settings[key] for key in drawn}),
        steered=steered,
    )
    measured = read_metadata(snakemake.input.signals)
    metadata = make_metadata(
        "analyse_agreement",
        params=settings,
        inputs=snakemake.input,
        experiment=snakemake.wildcards.experiment,
        model=measured["model"],
        seed=measured["seed"],
    )
    write_json(snakemake.output.results, found.content, metadata=metadata)
    write_table(snakemake.output.table, found.table, "agreement", metadata)
    report.add(tests=found.content["tests"]["n_tests"], notes=len(found.content["notes"]))
