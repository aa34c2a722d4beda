"""What a classifier says of one exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Refusal = Literal["refusal", "compliance"]
Harm = Literal["harmful", "unharmful"]


@dataclass(frozen=True)
class Labels:
    """What a classifier says of one exchange; None where it says nothing of it.

    Attributes:
        refusal: whether the reply refuses.
        harm: whether the reply harms.
        prompt_harm: whether the prompt asks for harm.
    """

    refusal: Refusal | None
    harm: Harm | None
    prompt_harm: Harm | None
