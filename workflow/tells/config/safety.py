"""The safety study: which benchmarks, how many traces, when to stop, who labels, where the cut between cells lies."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from tells.config.base import Definition, Slug, refuse_reserved

Classifier = Literal["patterns", "embedding", "wildguard", "llama_guard", "judge"]
Kind = Literal["mean", "lowest", "bottom", "tail"]
BENCHMARKS_FOLDER = "config/benchmarks"


class SafetyCollection(Definition):
    """One benchmark of prompts."""

    benchmark: str | None = Field(
        None, description="a benchmark: config/benchmarks/NAME.yaml; by default the one of the collection's name"
    )
    path: str | None = Field(None, description="the user's own copy of the data, in the benchmark's format")
    limit: PositiveInt | None = Field(None, description="the first N prompts alone, twins kept together: a trial run")
    system_prompt: str | None = None


class ConfidenceConfig(Definition):
    """How the confidences of a trace's tokens become one number, and what stops a trace."""

    window: PositiveInt = Field(32, description="tokens per group")
    fraction: float = Field(0.1, gt=0, le=1, description="bottom: share of the groups")
    kind: Kind = Field("mean", description="the number that cells and the hypothesis test read")


class StoppingConfig(Definition):
    """The adaptive arm: warm-up, then one trace after the other until the answer is settled."""

    warmup: int = Field(3, ge=2, description="traces that are never cut and set the threshold")
    keep: float = Field(
        0.1, gt=0, lt=1, description="a trace is cut below percentile 100·(1−keep) of the warm-up; 0.1: DeepConf-low"
    )
    rule: Literal["consensus", "adaptive_consistency", "vote_entropy"] = "consensus"
    consensus: float = Field(0.95, gt=0.5, le=1, description="consensus: share of the weight that settles")
    certainty: float = Field(0.95, gt=0.5, lt=1, description="adaptive_consistency: probability that settles")
    vote_entropy: float = Field(0.2, ge=0, description="vote_entropy: nats that settle")
    draws: PositiveInt = Field(64, description="orders of the pool that every arm is simulated on")
    online: bool = Field(
        False, description="also sample with real early stopping, beside the full-budget pool that it is compared with"
    )


class LabelConfig(Definition):
    """Who says whether a reply refuses and whether it harms. Early stopping always listens to `patterns`."""

    refusal: Literal["patterns", "wildguard", "judge"] = "patterns"
    harm: Literal["embedding", "wildguard", "llama_guard", "judge"] = "embedding"
    also: tuple[Classifier, ...] = Field((), description="further classifiers, for comparison")
    wildguard_model: Slug = "wildguard"
    llama_guard_model: Slug = "llama-guard-3-1b"
    embedding_model: Slug = "all-minilm-l6-v2"
    batch_size: PositiveInt = Field(16, description="replies per batch of a guard model")

    @property
    def classifiers(self) -> tuple[Classifier, ...]:
        """Every classifier that is asked, once."""
        return tuple(dict.fromkeys(("patterns", self.refusal, self.harm, *self.also)))


class StrataConfig(Definition):
    """The cut between confident and uncertain."""

    cut: float = Field(0.5, gt=0, lt=1, description="a quantile, never a value")
    cut_from: Literal["dataset", "held_out"] = Field(
        "dataset", description="held_out: the quantile of a part of the prompts that is then left out"
    )
    held_out: float = Field(0.3, gt=0, lt=1, description="share of the prompts that gives the cut, where held out")


class SafetyInferenceConfig(Definition):
    """Intervals, clustered by prompt."""

    bootstrap: PositiveInt = 1000
    level: float = Field(0.95, gt=0.5, lt=1)


class SafetyConfig(Definition):
    """Study 3: several traces per prompt, confidence, refusal and harm, early stopping, four cells."""

    greedy: ClassVar[bool] = False

    collections: dict[Slug, SafetyCollection] = Field(min_length=1)
    budget: PositiveInt = Field(10, description="traces per prompt")
    temperature: float = Field(0.6, gt=0)
    top_p: float = Field(0.95, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    max_new_tokens: PositiveInt = 256
    stop: tuple[str, ...] = ()
    thinking: bool = False
    top_logprobs: int = Field(20, ge=2, le=20, description="k: the most likely tokens that confidence averages over")
    shard_size: PositiveInt = Field(200, description="prompts per GPU job")
    prompt: Literal["model", "chat", "completion"] = Field(
        "model", description="model: chat for kind chat, completion for kind base"
    )
    replay_positions: tuple[str, ...] = Field(
        ("prompt_end", "answer_end", "answer_mean"), description="only where another study asks for a replay"
    )
    confidence: ConfidenceConfig = ConfidenceConfig()
    stopping: StoppingConfig = StoppingConfig()
    labels: LabelConfig = LabelConfig()
    strata: StrataConfig = StrataConfig()
    inference: SafetyInferenceConfig = SafetyInferenceConfig()

    @field_validator("collections")
    @classmethod
    def _names_are_free(cls, value: dict[str, SafetyCollection]) -> dict[str, SafetyCollection]:
        refuse_reserved(value)
        return value

    @model_validator(mode="after")
    def _warm_up_fits(self) -> SafetyConfig:
        if self.stopping.warmup >= self.budget:
            raise ValueError(
                f"stopping.warmup {self.stopping.warmup} must be below budget {self.budget}: else nothing can stop"
            )
        return self

    @property
    def samples(self) -> int:
        """Runs per prompt, by the name that all studies share."""
        return self.budget

    def benchmark_of(self, collection: str) -> str:
        """File of the benchmark that a collection uses."""
        return self.collections[collection].benchmark or f"{BENCHMARKS_FOLDER}/{collection}.yaml"
