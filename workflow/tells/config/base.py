"""What every definition shares: no unknown keys, no change after reading, names that are slugs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

SLUG = r"[a-z0-9][a-z0-9._-]*"
RESERVED = frozenset({"shards", "steering", "models", "agreement"})

Slug = Annotated[str, StringConstraints(pattern=rf"^{SLUG}$")]


def refuse_reserved(names: Iterable[str]) -> None:
    """Raise ValueError where a collection, or a part of its name, is called like a folder of the workflow's own."""
    taken = sorted(name for name in names if RESERVED & set(name.split("/")))
    if taken:
        raise ValueError(f"reserved name(s) {', '.join(taken)}: call the collection something else")


class Definition(BaseModel):
    """Base of every definition: unknown keys are an error, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())
