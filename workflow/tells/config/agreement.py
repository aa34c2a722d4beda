"""Agreement: every signal against every outcome, over all studies of an experiment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from tells.config.base import Definition, Slug
from tells.config.traits import TraitName

AGREEMENT = "agreement"
NORM_ANSWERS = 16
"""Unsteered answers below which the mean norm of a layer's states is not measured."""


class ReplyClusteringConfig(Definition):
    """Which replies to one prompt mean the same, in studies whose answers are free text."""

    method: Literal["cosine", "nli"] = "cosine"
    threshold: float = Field(0.3, gt=0, lt=2, description="cosine: largest mean distance within a cluster")
    strict: bool = Field(True, description="nli: entailment both ways")
    policy: Literal["first", "components", "reference"] = "first"
    embedding_model: Slug = "all-minilm-l6-v2"
    nli_model: Slug = "nli-deberta-v3-small"

    @property
    def model(self) -> str:
        """The model that the method needs."""
        return self.nli_model if self.method == "nli" else self.embedding_model


class QuestionSteeringConfig(Definition):
    """Questions of the uncertainty study asked again while the model is steered along `confidence_trait`."""

    collections: Annotated[tuple[Slug, ...], Field(min_length=1)] | None = Field(
        None, description="data sets of the uncertainty study; by default those in distribution that are sampled here"
    )
    questions: Annotated[int, Field(ge=2)] = Field(
        100, description="of each data set: its test questions first, then others; no question chose the direction"
    )
    samples: Annotated[int, Field(ge=2)] = Field(4, description="answers per question and arm, the study's own seeds")
    ratio: float = Field(
        0.2, gt=0, description="r: the coefficient is r times the mean norm of the layer's states in unsteered answers"
    )
    random_directions: PositiveInt = Field(5, description="random vectors of equal length that are steered with beside")

    @field_validator("collections")
    @classmethod
    def _distinct(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("a data set stands twice")
        return value

    @model_validator(mode="after")
    def _norms_have_answers(self) -> QuestionSteeringConfig:
        if self.questions * self.samples < NORM_ANSWERS:
            raise ValueError(
                f"questions times samples must make up {NORM_ANSWERS}: the norm that scales steering is measured on "
                "these answers"
            )
        return self


class AgreementConfig(Definition):
    """All signals of all studies in one table. An empty mapping takes every default."""

    clustering: ReplyClusteringConfig = ReplyClusteringConfig()
    projections: tuple[TraitName, ...] | None = Field(
        None, description="traits whose directions are signals; by default all of the experiment"
    )
    confidence_trait: TraitName = Field(
        "epistemic/confidence", description="the trait whose direction is asked whether it reads uncertainty"
    )
    steer: QuestionSteeringConfig | None = Field(
        None, description="ask questions again under steering along that direction; `{}` takes every default"
    )
    folds: Annotated[int, Field(ge=2)] = Field(5, description="of the grouped cross-validation of all signals together")
    bootstrap: PositiveInt = Field(1000, description="draws of the intervals")
    permutations: PositiveInt = Field(
        20000, description="of the p-values; T tests need more than 40·T for one to be significant after Holm at 0.05"
    )
    level: float = Field(0.95, gt=0.5, lt=1)

    @field_validator("projections")
    @classmethod
    def _distinct(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("a trait stands twice")
        return value
