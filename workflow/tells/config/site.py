"""config/config.yaml: what belongs to the place where the workflow runs, not to the science."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tells.config.base import Definition


class Site(Definition):
    """The site: which experiments to do, and what this machine or cluster offers."""

    experiments: tuple[str, ...] | str = Field(("demo",), description="names of files in experiments/, or a comma list")
    models: str = Field("config/models.yaml", description="the catalogue of models")
    gpu_memory_gb: float | None = Field(None, gt=0, description="size of the GPU slice, where it is less than the GPU")
    environment: Literal["cpu", "gpu"] = Field("cpu", description="which of envs/*.yaml `--sdm conda` takes")
    threads: int = Field(2, ge=1, description="CPU threads of a job that computes")
    show: bool = Field(True, description="print the results that a run has made")
    judge_cache: str = Field(
        "resources/judge", description="folder of every judge's answers; deleted, they are asked anew"
    )
    judge_concurrency: int = Field(50, ge=1, description="requests to a judge under way at once, per job")
    judge_on_head: bool = Field(
        False, description="ask judges from where snakemake runs, for clusters whose nodes reach no network"
    )
    judge_timeout: float = Field(60, gt=0, description="seconds until a request to a judge is tried again")

    def experiment_names(self) -> list[str]:
        """The names as a list; `--config experiments=a,b` gives a text."""
        names = self.experiments.split(",") if isinstance(self.experiments, str) else self.experiments
        return [name.strip() for name in names if name.strip()]
