"""Fetch one model and write its manifest."""

import os

from tells.config import ModelEntry
from tells.jobs import job

os.environ.pop("HF_HUB_OFFLINE", None)

with job(snakemake.log[0], snakemake.output):
    from tells.models.materialise import materialise

    materialise(snakemake.wildcards.model, ModelEntry.model_validate(snakemake.params.entry), snakemake.output.manifest)
