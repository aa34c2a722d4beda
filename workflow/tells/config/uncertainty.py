"""The uncertainty study: what to ask, how answers are grouped, which probes are trained."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from tells.config.base import Definition, Slug, refuse_reserved


class UncertaintyCollection(Definition):
    """One data set of questions."""

    questions: str = Field(description="a question set: config/questions/NAME.yaml")
    path: str | None = Field(None, description="the user's own copy of the data, in the set's format")
    samples: str | None = Field(None, description="the user's own samples (JSONL); nothing is sampled or replayed")
    role: Literal["in_distribution", "out_of_distribution"] = "in_distribution"
    limit: PositiveInt | None = Field(None, description="the first N questions alone: a trial run")
    system_prompt: str | None = None


class ClusteringConfig(Definition):
    """Which answers mean the same, by kind of question."""

    math: Literal["math", "text"] = "math"
    text: Literal["text", "nli", "cosine", "judge"] = "text"
    strict: bool = Field(True, description="nli: entailment both ways")
    policy: Literal["first", "components", "reference"] = "first"
    threshold: float = Field(0.15, gt=0, lt=2, description="cosine: largest distance within a cluster")
    nli_model: Slug = "nli-deberta-v3-small"
    embedding_model: Slug = "all-minilm-l6-v2"


class SplitConfig(Definition):
    """Shares of the questions; out-of-distribution sets are test only."""

    train: float = Field(0.6, gt=0, lt=1)
    validation: float = Field(0.2, gt=0, lt=1)
    test: float = Field(0.2, gt=0, lt=1)

    @model_validator(mode="after")
    def _sums_to_one(self) -> SplitConfig:
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError("train, validation and test must add up to 1")
        return self


class ProbeConfig(Definition):
    """The search space of the probes. Changing it re-runs nothing that needs a GPU."""

    positions: tuple[str, ...] = Field(("prompt_end", "think_end", "answer_end", "answer_mean"), min_length=1)
    regularisation: tuple[float, ...] = Field((0.001, 0.01, 0.1, 1.0), min_length=1, description="values of C")
    folds: int = Field(5, ge=2, description="of the grouped cross-validation under 100 validation questions")
    shuffles: int = Field(
        100, ge=2, description="the control: each probe's fit is repeated on so many shuffles of its labels"
    )
    split: SplitConfig = SplitConfig()


class InferenceConfig(Definition):
    """Grouped intervals and p-values."""

    bootstrap: PositiveInt = 1000
    permutations: PositiveInt = 1000
    level: float = Field(0.95, gt=0.5, lt=1)


class MapConfig(Definition):
    """UMAP of hidden states, for pictures only."""

    neighbours: PositiveInt = 15
    min_dist: float = Field(0.1, ge=0)
    sample: PositiveInt = Field(2000, description="at most so many runs are drawn")
    seed: int = 0


class UncertaintyConfig(Definition):
    """Study 1: sample, measure semantic entropy, probe hidden states."""

    greedy: ClassVar[bool] = True

    collections: dict[Slug, UncertaintyCollection] = Field(min_length=1)
    samples: PositiveInt = Field(10, description="K, the sampled runs per question; one greedy run is added")
    temperature: float = Field(1.0, gt=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    max_new_tokens: PositiveInt = 512
    stop: tuple[str, ...] = ()
    thinking: bool = True
    shard_size: PositiveInt = Field(200, description="questions per GPU job")
    prompt: Literal["model", "chat", "completion"] = Field(
        "model", description="model: chat for kind chat, completion for kind base"
    )
    p_true: bool = Field(True, description="ask the model whether its own answer is true")
    min_valid: PositiveInt = Field(4, description="complete runs a question needs to have a trusted entropy")
    replay_positions: tuple[str, ...] = ("prompt_end", "think_end", "answer_end", "answer_mean", "think_mean")
    clustering: ClusteringConfig = ClusteringConfig()
    probes: ProbeConfig = ProbeConfig()
    inference: InferenceConfig = InferenceConfig()
    map: MapConfig = MapConfig()

    @field_validator("collections")
    @classmethod
    def _names_are_free(cls, value: dict[str, UncertaintyCollection]) -> dict[str, UncertaintyCollection]:
        refuse_reserved(value)
        if all(collection.role != "in_distribution" for collection in value.values()):
            raise ValueError("at least one collection must have the role in_distribution")
        return value

    @model_validator(mode="after")
    def _positions_are_replayed(self) -> UncertaintyConfig:
        unknown = [name for name in self.probes.positions if name not in self.replay_positions]
        if unknown:
            raise ValueError(f"probes.positions {', '.join(unknown)} must also stand in replay_positions")
        return self
