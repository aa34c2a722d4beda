"""All studies of an experiment as one page."""

from pathlib import Path

from tells.jobs import job
from tells.report.pages import experiment_page
from tells.tables import make_metadata, read_metadata, write_atomically

settings, experiment = snakemake.params.settings, snakemake.wildcards.experiment

with job(snakemake.log[0], snakemake.output) as report:
    facts = read_metadata(snakemake.input.files[0])
    metadata = make_metadata(
        "write_report",
        params=settings,
        inputs=snakemake.input.files,
        experiment=experiment,
        model=facts["model"],
        seed=facts["seed"],
    )
    page = experiment_page(
        Path(), experiment, metadata=metadata, studies=settings["studies"], limits=settings["limits"]
    )
    with write_atomically(snakemake.output.page) as temporary:
        temporary.write_text(page, encoding="utf-8")
    report.add(bytes=len(page.encode()))
