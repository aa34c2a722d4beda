"""From an address to the place that keeps shared runs.

Credentials come from the environment, by the means of each backend; an address that carries any is refused.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from urllib.parse import urlsplit

from tells.sharing.folder_store import FolderStore
from tells.sharing.manifest import SharingError
from tells.sharing.remote_store import HubStore, RemoteStore
from tells.sharing.store import Store

# Backend and extra by scheme; a folder needs neither.
_BACKENDS = {
    "s3": ("s3fs", "sharing"),
    "gs": ("gcsfs", "sharing-gs"),
    "hf": ("huggingface_hub", "sharing"),
}


def open_store(url: str, experiment: str | None = None) -> Store:
    """The place at an address.

    Args:
        url: a folder (a path or file://…), s3://…, gs://… or hf://….
        experiment: a run below the address; None takes the address as that of the run.

    Raises:
        SharingError: the address carries credentials, has an unknown scheme, or its backend is not installed.
    """
    refuse_credentials(url)
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        folder = Path(rest if separator else url).expanduser()
        return FolderStore(folder / experiment if experiment else folder)
    if scheme not in _BACKENDS:
        known = ", ".join(f"{name}://" for name in _BACKENDS)
        raise SharingError(f"{scheme}:// is no place to share a run: name a folder, or an address with {known}")
    backend, extra = _BACKENDS[scheme]
    if missing := [name for name in ("fsspec", backend) if importlib.util.find_spec(name) is None]:
        raise SharingError(f'{scheme}:// needs {" and ".join(missing)}: pip install "tells[{extra}]"')
    whole = "/".join([url.rstrip("/"), *([experiment] if experiment else [])])
    return (HubStore if scheme == "hf" else RemoteStore)(whole, scheme)


def refuse_credentials(url: str) -> None:
    """Refuse an address with a user, a password, or a query, which may be a signature; it is not repeated.

    Raises:
        SharingError: it carries any of them.
    """
    parts = urlsplit(url) if "://" in url else None
    if parts and ("@" in parts.netloc or parts.query or parts.fragment) and parts.scheme != "file":
        what = "the address carries a user, a password or a signature, which others could read"
        raise SharingError(f"{what}: leave it out, and put credentials into the environment (docs/sharing.md)")
