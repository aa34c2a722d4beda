"""The traits study: which traits, how responses are drawn and vetted, which vectors are extracted and steered."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, StringConstraints, field_validator, model_validator

from tells.config.base import SLUG, Definition, Slug, refuse_reserved

TraitName = Annotated[str, StringConstraints(pattern=rf"^{SLUG}/{SLUG}$")]
Method = Literal["mean_difference", "probe", "fisher", "pairwise_pca"]
TRAITS_FOLDER = "config/traits"
NORM_QUESTIONS = 16
_WINDOW = re.compile(r"response(\[:[1-9]\d*\])?|prompt_last")
# Replayed for the agreement alone, whose probes read it; no window, for the states of one token carry no vector.
ANSWER_END = "answer_end"


class VetConfig(Definition):
    """Which texts are judged, and what passes. Changing it re-runs neither sampling nor replay."""

    scenarios: bool = Field(True, description="judge what each scenario will draw out")
    responses: bool = Field(True, description="judge the window of each response that is extracted")
    gate: Literal["responses", "both"] = Field("responses", description="responses: scenario scores only inform")
    positive_min: float = Field(60, ge=0, le=100, description="a positive passes at or above this score")
    negative_max: float = Field(40, ge=0, le=100, description="a negative passes at or below this score")
    paired: bool = Field(True, description="keep both of a pair or none")
    minimum: PositiveInt = Field(30, description="fewer survivors per class: the trait is insufficient")

    @model_validator(mode="after")
    def _poles_are_apart(self) -> VetConfig:
        if self.negative_max >= self.positive_min:
            raise ValueError("negative_max must be below positive_min")
        if self.gate == "both" and not (self.scenarios and self.responses):
            raise ValueError("gate: both needs scenarios and responses to be judged")
        return self


def _distinct(value: Any) -> Any:
    """A list without repetition, and not empty; anything else as it is."""
    if isinstance(value, tuple) and len(set(value)) < max(len(value), 1):
        raise ValueError("must name at least one, and none twice")
    return value


class SteerConfig(Definition):
    """Proving the vectors: a grid on the search questions, the choice and its controls on the report questions."""

    model: Slug | None = Field(None, description="the model that is steered; by default the experiment's own")
    collections: tuple[TraitName, ...] | None = Field(None, description="the traits that are steered; by default all")
    layers: PositiveInt | tuple[NonNegativeInt, ...] = Field(
        2, description="a number: so many layers, the best on validation; a list: these blocks"
    )
    methods: Literal["best"] | tuple[Method, ...] = Field("best", description="best: the best method on validation")
    ratios: tuple[float, ...] = Field(
        (0.15, 0.22, 0.33, 0.5, 0.75, 1.1),
        min_length=1,
        description="r: the coefficient is r times the mean norm of the layer's states; tried with both signs",
    )
    positions: Literal["response", "all", "prompt"] = "response"
    search_questions: PositiveInt = 10
    report_questions: PositiveInt = 16
    samples: PositiveInt = Field(1, description="answers per search question and point")
    report_samples: PositiveInt = Field(1, description="answers per report question and kind")
    random_samples: PositiveInt | None = Field(
        None,
        description="answers per report question and random vector, by default as report_samples; fewer spread the "
        "random deltas wider, which makes them harder to exceed",
    )
    reference_samples: PositiveInt = Field(
        64, ge=16, description="unsteered answers, over all questions: norms, and what coherence is measured by"
    )
    random_draws: int = Field(20, ge=20, description="random vectors of equal norm beside the chosen one")
    temperature: float = Field(0.7, ge=0)
    max_new_tokens: PositiveInt = 64
    stop: tuple[str, ...] = ()
    prompt: Literal["model", "chat", "completion"] = Field(
        "model", description="how questions are put: model: chat for kind chat, completion for kind base"
    )
    min_coherence: float = Field(70, ge=0, le=100)
    max_drop: float = Field(15, ge=0, le=100, description="largest loss of coherence against unsteered answers")

    @field_validator("ratios")
    @classmethod
    def _ratios_rise(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(ratio <= 0 for ratio in value) or list(value) != sorted(set(value)):
            raise ValueError("must be positive and rising; both signs are tried")
        return value

    _lists_are_distinct = field_validator("collections", "layers", "methods")(_distinct)

    @model_validator(mode="after")
    def _random_answers_have_partners(self) -> SteerConfig:
        if (self.random_samples or 1) > self.report_samples:
            raise ValueError("random_samples must not exceed report_samples: each is compared with an unsteered answer")
        return self

    @model_validator(mode="after")
    def _norms_have_questions(self) -> SteerConfig:
        if self.search_questions + self.report_questions < NORM_QUESTIONS:
            raise ValueError(
                f"search_questions and report_questions must make up {NORM_QUESTIONS}: norms are measured on them"
            )
        return self


class TraitsConfig(Definition):
    """Study 2: vet scenarios, generate, extract trait directions, prove them by steering."""

    greedy: ClassVar[bool] = False
    thinking: ClassVar[bool] = False

    collections: tuple[TraitName, ...] = Field(min_length=1, description="folders below config/traits: category/name")
    limit: PositiveInt | None = Field(None, description="the first N pairs of scenarios alone: a trial run")
    rollouts: PositiveInt = Field(1, description="responses per scenario")
    temperature: float = Field(0.7, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    max_new_tokens: PositiveInt = 48
    stop: tuple[str, ...] = ()
    shard_size: PositiveInt = Field(400, description="scenarios per GPU job")
    prompt: Literal["model", "chat", "completion"] = Field(
        "completion", description="scenarios are the beginnings of sentences, to be continued"
    )
    window: str = Field(
        "response[:16]", description="what is vetted and extracted: response[:N], response, prompt_last"
    )
    replay_positions: tuple[str, ...] = Field(
        ("response[:16]", "response", "prompt_last"),
        min_length=1,
        description="windows whose means replay stores; answer_end too, for the agreement",
    )
    layers: Literal["all"] | tuple[int, ...] = Field("all", description="blocks that vectors are extracted from")
    methods: tuple[Method, ...] = Field(("mean_difference", "probe", "fisher"), min_length=1)
    bootstrap: PositiveInt = Field(1000, description="draws of the intervals of steering")
    vet: VetConfig = VetConfig()
    steer: SteerConfig | None = SteerConfig()

    @field_validator("collections")
    @classmethod
    def _names_are_free(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        refuse_reserved(value)
        if len(set(value)) < len(value):
            raise ValueError("a trait stands twice")
        return value

    _lists_are_distinct = field_validator("layers", "methods")(_distinct)

    @model_validator(mode="after")
    def _windows_are_replayed(self) -> TraitsConfig:
        replayed = [name for name in self.replay_positions if name != ANSWER_END]
        wrong = [name for name in (self.window, *replayed) if not _WINDOW.fullmatch(name)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: a window is response[:N], response or prompt_last")
        if self.window not in self.replay_positions:
            raise ValueError(f"window {self.window} must also stand in replay_positions")
        return self

    @model_validator(mode="after")
    def _enough_can_survive(self) -> TraitsConfig:
        if self.limit is not None and self.limit < self.vet.minimum:
            raise ValueError(
                f"limit {self.limit} is below vet.minimum {self.vet.minimum}: every trait would be insufficient"
            )
        return self

    @model_validator(mode="after")
    def _steered_are_extracted(self) -> TraitsConfig:
        if self.steer is None:
            return self
        unknown = [name for name in self.steer.collections or () if name not in self.collections]
        if unknown:
            raise ValueError(f"steer.collections {', '.join(unknown)} must also stand in collections")
        if self.steer.methods != "best" and (more := [name for name in self.steer.methods if name not in self.methods]):
            raise ValueError(f"steer.methods {', '.join(more)} must also stand in methods")
        return self

    @property
    def samples(self) -> int:
        """Runs per prompt, by the name that all studies share."""
        return self.rollouts

    def steered(self) -> tuple[str, ...]:
        """Names of the traits that are steered."""
        return () if self.steer is None else self.steer.collections or self.collections
