"""The main figures and tables of one study as a page of its own."""

import logging
from pathlib import Path

from tells.jobs import job
from tells.report.html_frame import FRAMED_BYTES
from tells.report.pages import figures_page
from tells.tables import make_metadata, read_metadata, write_atomically

settings, wildcards = snakemake.params.settings, snakemake.wildcards

with job(snakemake.log[0], snakemake.output) as report:
    facts = read_metadata(snakemake.input.files[0])
    metadata = make_metadata(
        "draw_figures",
        params=settings,
        inputs=snakemake.input.files,
        experiment=wildcards.experiment,
        model=facts["model"],
        seed=facts["seed"],
    )
    page = figures_page(Path(), wildcards.experiment, wildcards.study, metadata=metadata, limits=settings["limits"])
    with write_atomically(snakemake.output.page) as temporary:
        temporary.write_text(page, encoding="utf-8")
    if len(page.encode()) > FRAMED_BYTES:
        logging.getLogger(__name__).warning("too long to be shown within report.html: use `--report report.zip`")
    report.add(bytes=len(page.encode()))
