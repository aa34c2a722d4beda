"""What the doctor finds out about the servers that experiments sample through: do they answer, do they serve the model?

The job that samples looks once more, and at the tokenizer as well; here it is told before the first job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from tells.config import EngineConfig, Experiment, ModelEntry
from tells.examination import Finding
from tells.services import shown_url
from tells.tables import TableError, read_json

if TYPE_CHECKING:
    from tells.models.engines.served_model import Server

Severity = Literal["error", "warning"]
_PATIENCE_SECONDS = 10.0


def server_findings(
    root: Path, experiments: Mapping[str, Experiment], models: Mapping[str, ModelEntry], *, elsewhere: bool | None
) -> Iterator[Finding]:
    """Findings on the servers of experiments whose engine is served; each server is asked once.

    Args:
        root: the folder that holds experiments/ and resources/.
        experiments: by name.
        models: the catalogue.
        elsewhere: jobs run on other machines, which may reach what this one does not.
    """
    asked: dict[tuple[EngineConfig, str], list[str]] = {}
    for name, one in experiments.items():
        if one.engine.kind == "served" and one.studies():
            asked.setdefault((one.engine, one.model), []).append(name)
    for (engine, model), names in asked.items():
        used = f"(experiment {', '.join(names)})"
        finished = all(_is_sampled(root, name, experiments[name]) for name in names)
        if elsewhere and _is_loopback(engine):
            what = f"engine.base_url is of this machine, but jobs run on others {used}"
            yield Finding("warning", what, "name the machine that the server runs on, in the place of localhost")
        # What is sampled needs no server any more, and a node may reach one that this machine does not.
        severity: Severity = "warning" if finished or elsewhere else "error"
        definitions = [experiments[name] for name in names]
        for found in _look(root, engine, models.get(model), model, definitions, severity):
            yield replace(found, what=f"{found.what} {used}")


def _look(
    root: Path,
    engine: EngineConfig,
    entry: ModelEntry | None,
    model: str,
    experiments: Sequence[Experiment],
    severity: Severity,
) -> Iterator[Finding]:
    """Findings on one server."""
    from tells.models.engines.served_client import ServerClient, ServerError
    from tells.models.engines.served_model import look_at_server, model_names, start_command

    manifest = _manifest(root, model, entry)
    by_id = manifest["source"] == "hub" and manifest["path"] == manifest["origin"]
    revision, trusted = manifest["revision"] if by_id else None, bool(entry and entry.trust_remote_code)
    start = start_command(engine, manifest["path"], model, revision=revision, trust_remote_code=trusted)

    async def look() -> Server:
        async with ServerClient(engine, start, hurried=_PATIENCE_SECONDS) as client:
            return await look_at_server(client, engine, model_names(manifest), start)

    url = shown_url(str(engine.base_url)).removesuffix("/").removesuffix("/v1")
    try:
        server = asyncio.run(look())
    except (ServerError, ValueError) as error:
        reason, cure = (error.reason, error.cure) if isinstance(error, ServerError) else (str(error), "correct it")
        yield Finding(severity, reason if url in reason else f"{url}: {reason}", cure)
        return
    if not server.names_agree:
        what = f"the server at {url} serves {server.model}, and no name shows that it is {model}"
        cure = f"where it is, say engine.served_model: {server.model}; else start the server with `{start}`"
        yield Finding("warning", what, cure)
    longest = max(getattr(one, study).max_new_tokens for one in experiments for study in one.studies())
    if server.max_model_len is not None and longest >= server.max_model_len:
        limit = f"the server at {url} takes {server.max_model_len} tokens, prompt included"
        cure = "start it with a larger --max-model-len, or lower max_new_tokens"
        yield Finding(severity, f"max_new_tokens is {longest}, but {limit}", cure)


def _manifest(root: Path, model: str, entry: ModelEntry | None) -> dict[str, str | None]:
    """The model's manifest, or what its entry says already where it is not fetched yet."""
    try:
        return read_json(root / f"resources/models/{model}/model.json")
    except TableError:
        place = (entry and (entry.id or entry.path)) or f"resources/models/{model}/files"
        source, revision = (entry.source, entry.revision) if entry else (None, None)
        return {"name": model, "source": source, "origin": place, "path": place, "revision": revision}


def _is_sampled(root: Path, name: str, experiment: Experiment) -> bool:
    """Whether every collection that is sampled has its samples."""
    for study in experiment.studies():
        collections = getattr(experiment, study).collections
        for collection in collections:
            own = study == "uncertainty" and collections[collection].samples is not None
            if not own and not (root / f"experiments/{name}/{study}/{collection}/samples.parquet").exists():
                return False
    return True


def _is_loopback(engine: EngineConfig) -> bool:
    host = urlsplit(str(engine.base_url)).hostname or ""
    return host == "localhost" or host.startswith("127.") or host == "::1"
