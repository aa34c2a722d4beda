"""What every definition shares: no unknown keys, no change after reading, names that are slugs."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

SLUG = r"[a-z0-9][a-z0-9._-]*"
RESERVED = frozenset({"shards", "steering", "models", "agreement"})

Slug = Annotated[str, StringConstraints(pattern=rf"^{SLUG}$")]


class Definition(BaseModel):
    """Base of every definition: unknown keys are an error, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())
