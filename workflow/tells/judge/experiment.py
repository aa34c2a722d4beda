"""The judge of an experiment, for a job: who it is stands in the definition, how it is asked in the site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tells.config import load_experiments, load_site
from tells.judge.protocol import Judge
from tells.judge.select import open_judge
from tells.tables import read_json


def judge_of(
    experiment: str, site: Mapping[str, Any], *, writer: str, embedding: Sequence[str | Path] = (), root: Path = Path()
) -> Judge:
    """Open the judge of an experiment.

    What changes no score (keys, ceilings, prices, how many requests at once) is read here and now, so that it is no
    parameter of a rule and re-runs nothing.

    Args:
        experiment: its name.
        site: the keys of config/config.yaml, with what the command line put before them.
        writer: name of the job; its answers are kept under it.
        embedding: manifest of the offline judge's sentence embedding, if that is the judge.
        root: the folder that holds config/ and experiments/.

    Raises:
        ValueError: the judge's key is not in the environment.
    """
    place = load_site(root, site)
    return open_judge(
        load_experiments(root, [experiment])[experiment].judge,
        writer=writer,
        cache=root / place.judge_cache,
        concurrency=place.judge_concurrency,
        timeout=place.judge_timeout,
        embedding=Path(read_json(embedding[0])["path"]) if embedding else None,
    )


def judge_is_asked(judge: Judge) -> bool:
    """Whether answers come from a service, which may fail now and answer later."""
    return judge.facts()["provider"] != "exemplar"
