"""Data sets that people describe in a YAML file: reading the description, and fetching what lies on the hub.

Question sets and benchmarks share this; what their keys mean is said by the studies that read them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import yaml
from pydantic import Field, PrivateAttr, ValidationError

from tells.config.base import Definition
from tells.config.load import ConfigError, Problem, UniqueKeyLoader

Text = Annotated[str, Field(min_length=1, pattern=r"\S")]


class HubFiles(Definition):
    """A data set on the Hugging Face hub.

    Attributes:
        id: repository of the data set, `owner/name`.
        revision: branch, tag or commit.
        files: for each split, the file in the repository that holds it.
    """

    id: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Text = "main"
    files: Annotated[dict[str, Text], Field(min_length=1)]


class DataSet(Definition):
    """What every description of a data set has.

    Attributes:
        description: what the rows are, for people.
        file: the data file, relative to the folder of the YAML file.
        hub: the data set on the hub.
    """

    description: Text
    file: Text | None = None
    hub: HubFiles | None = None
    _source: Path | None = PrivateAttr(default=None)

    @property
    def name(self) -> str:
        """That of its YAML file; empty for one made in memory."""
        return self._source.stem if self._source else ""

    @property
    def data_file(self) -> Path | None:
        """Path of the data beside the YAML file; None where they come from elsewhere."""
        if self.file is None:
            return None
        return self._source.parent / self.file if self._source else Path(self.file)


Described = TypeVar("Described", bound=DataSet)


def load_description(path: Path, kind: type[Described], what: str) -> Described:
    """Read a description; its `name` is that of the file, and `data_file` lies beside it.

    Args:
        path: a YAML file.
        kind: the definition it must fit.
        what: what it describes, for the error where there is no such file: "question set".

    Raises:
        ConfigError: with every fault: no such file, not UTF-8, not YAML, unknown or missing keys, wrong
            values.
    """
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in path.parent.glob("*.yaml"))) or "none"
        raise ConfigError([Problem(str(path), "", f"no such {what}; its folder holds: {known}")])
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), UniqueKeyLoader)
        described = kind.model_validate(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(str(path), "", f"not YAML in UTF-8: {error}")]) from error
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise ConfigError(
            Problem(str(path), ".".join(map(str, fault["loc"])), fault["msg"].removeprefix("Value error, "))
            for fault in faults
        ) from error
    described._source = path
    return described


def fetch_hub_file(name: str, hub: HubFiles, file: str, *, note: str = "") -> Path:
    """Return the local path of a hub's file, downloading it if it is not cached.

    Args:
        name: of the data set, for the error.
        hub: the data set on the hub.
        file: the file in its repository.
        note: what the error says last: a licence, terms to accept.

    Raises:
        FileNotFoundError: the file is neither cached nor reachable; the message says what to do.
    """
    import httpx
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    try:
        return Path(hf_hub_download(hub.id, file, repo_type="dataset", revision=hub.revision))
    except (EntryNotFoundError, HfHubHTTPError, HFValidationError, httpx.HTTPError, OSError) as error:
        raise FileNotFoundError(
            f"{name}: {file} of the hub's data set {hub.id} (revision {hub.revision}) is not in the local "
            f"cache and could not be fetched ({type(error).__name__}: {error}).\n"
            f"Where the hub can be reached, fetch it once into the cache this machine reads (HF_HOME):\n"
            f"  hf download {hub.id} {file} --repo-type dataset --revision {hub.revision}\n"
            f"or name a copy of your own in the experiment: `path: FILE`." + (f"\n{note}" if note else "")
        ) from error


def commit_of(path: Path) -> str | None:
    """The commit that a file in the hub's cache belongs to; None for a file elsewhere."""
    # The hub's cache keeps each file under snapshots/COMMIT/.
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else None
