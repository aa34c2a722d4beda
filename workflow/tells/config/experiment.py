"""An experiment: one model, one seed, and the studies to do with them."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, PositiveInt, model_validator

from tells.config.agreement import AGREEMENT, AgreementConfig
from tells.config.base import Definition, Slug
from tells.config.judge import JudgeConfig
from tells.config.safety import SafetyConfig
from tells.config.traits import TraitsConfig
from tells.config.uncertainty import UncertaintyConfig

STUDIES = ("uncertainty", "traits", "safety")
# What has a folder, results and figures of its own below an experiment.
PARTS = (*STUDIES, AGREEMENT)
OFFLINE_REFERENCES = 64
# How a server is reached. Another address, or more requests at a time, changes no token.
CONNECTION = ("base_url", "key_variable", "concurrency", "timeout", "patience")


class EngineConfig(Definition):
    """How tokens are generated. Nothing here may change which tokens, but for floating-point noise."""

    kind: Literal["auto", "hf", "vllm", "served"] = Field(
        "auto",
        description="auto: vllm where it is installed with a fitting GPU, else hf; the choice is recorded. served: a "
        "vLLM server of your own, at base_url",
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    batch_size: PositiveInt = Field(64, description="rows per batch of the hf engine")
    top_logprobs: int = Field(20, ge=0, le=20, description="most likely tokens stored per step; 0 stores none")
    max_num_seqs: PositiveInt = Field(256, description="vllm: rows in flight")
    gpu_memory_utilization: float | None = Field(
        None, gt=0, le=1, description="vllm: share of the GPU; default from gpu_memory_gb, else 0.9"
    )
    enforce_eager: bool = Field(False, description="vllm: no CUDA graphs")
    max_model_len: PositiveInt | None = Field(None, description="vllm: longest prompt plus answer, in tokens")
    tensor_parallel_size: PositiveInt = Field(1, description="vllm: GPUs per model")
    base_url: str | None = Field(None, description="served: address of the server, as in http://localhost:8000/v1")
    served_model: str | None = Field(
        None, min_length=1, description="served: name of the model on the server, where it has another one there"
    )
    key_variable: str | None = Field(
        None, min_length=1, description="served: environment variable with the server's key, where it asks for one"
    )
    concurrency: PositiveInt = Field(64, description="served: requests in flight, per job")
    timeout: float = Field(600, gt=0, description="served: seconds until a request without an answer is sent again")
    patience: float = Field(
        120, ge=0, description="served: seconds for which a request that fails is tried again before the job fails"
    )

    @model_validator(mode="after")
    def _server_is_meant(self) -> EngineConfig:
        problems = _address_problems(self.base_url) if self.kind == "served" else []
        given = [key for key in ("base_url", "served_model", "key_variable") if getattr(self, key) is not None]
        if self.kind != "served" and given:
            problems = [f"{', '.join(given)}: of a server, but kind is {self.kind}; set kind to served"]
        if problems:
            # Not a problem of the key itself: an address is never repeated, as it may hold a password.
            raise ValueError("; ".join(problems))
        return self


def _address_problems(url: str | None) -> list[str]:
    """What is wrong with a server's address, in words that do not repeat it."""
    if url is None:
        return ["kind served needs base_url, the address of a vLLM server, as in http://localhost:8000/v1"]
    try:
        parts = urlsplit(url)
        complete = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        complete = False
    if not complete or any(character.isspace() for character in url):
        return ["base_url must be a whole address that begins with http:// or https://"]
    if "@" in parts.netloc or parts.query or parts.fragment:
        return ["base_url must hold no user, password or query: name the variable of the key in key_variable"]
    return []


class GenerationConfig(Definition):
    """How one run is drawn."""

    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0, description="0: no limit")
    max_new_tokens: PositiveInt = 256
    stop: tuple[str, ...] = Field((), description="strings that end a run; they are no part of its text")
    thinking: bool = Field(True, description="chat templates with `enable_thinking`")


class ReplayConfig(Definition):
    """The teacher-forced pass over stored tokens."""

    backend: Literal["hf", "nnsight"] = "hf"
    batch_size: PositiveInt = Field(32, description="rows per batch")
    layers: Literal["all"] | tuple[int, ...] = Field("all", description="block indices, from 0; negative from the end")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"


class Experiment(Definition):
    """The whole definition of one run of the workflow, after `extends` and `models` are resolved."""

    name: Slug
    description: str = ""
    model: Slug = Field(description="an entry of config/models.yaml")
    seed: int = Field(0, ge=0)
    gpu_memory_gb: float | None = Field(None, gt=0, description="size of the GPU slice; the site's value if absent")
    engine: EngineConfig = EngineConfig()
    replay: ReplayConfig = ReplayConfig()
    judge: JudgeConfig = JudgeConfig()
    uncertainty: UncertaintyConfig | None = None
    traits: TraitsConfig | None = None
    safety: SafetyConfig | None = None
    agreement: AgreementConfig | None = Field(
        None, description="one table over the signals of all studies; `{}` asks for it with every default"
    )

    @model_validator(mode="after")
    def _references_suffice(self) -> Experiment:
        steer = self.traits.steer if self.traits else None
        if steer and self.judge.provider == "exemplar" and steer.reference_samples < OFFLINE_REFERENCES:
            raise ValueError(
                f"traits.steer.reference_samples must be at least {OFFLINE_REFERENCES} for the offline judge, which "
                "measures coherence by them"
            )
        return self

    @model_validator(mode="after")
    def _harm_has_a_judge(self) -> Experiment:
        labels = self.safety.labels if self.safety else None
        if labels and "judge" in labels.classifiers and self.judge.provider == "exemplar":
            raise ValueError(
                "safety.labels asks the judge, but judge.provider is exemplar, which compares texts with traits: set "
                "it to openai or gemini, or use the classifier embedding"
            )
        return self

    @model_validator(mode="after")
    def _projected_are_extracted(self) -> Experiment:
        unknown = [name for name in self.projected() if name not in self.trait_names()]
        if unknown:
            raise ValueError(f"agreement.projections {', '.join(unknown)} must also stand in traits.collections")
        return self

    @model_validator(mode="after")
    def _questions_can_be_steered(self) -> Experiment:
        steer = self.compared().steer
        if steer is None:
            return self
        problems = []
        if (trait := self.compared().confidence_trait) not in self.trait_names():
            problems.append(f"agreement.steer: the trait {trait} must also stand in traits.collections")
        known = self.uncertainty.collections if self.uncertainty else {}
        if not known:
            problems.append("agreement.steer: asks questions of the uncertainty study, of which there is none")
        if unknown := [name for name in steer.collections or () if known and name not in known]:
            problems.append(
                f"agreement.steer.collections {', '.join(unknown)} must also stand in uncertainty.collections"
            )
        if own := [name for name in steer.collections or () if name in known and known[name].samples]:
            problems.append(
                f"agreement.steer.collections {', '.join(own)}: the user's own samples, which no model here drew"
            )
        if known and steer.collections is None and not self.steered_questions():
            problems.append("agreement.steer: no data set in distribution is sampled here: name some in collections")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _server_can_sample(self) -> Experiment:
        if self.engine.kind == "served" and self.safety and self.safety.stopping.online:
            raise ValueError(
                "safety.stopping.online ends replies while they are drawn, which a server cannot do: set engine.kind "
                "to hf or vllm, or safety.stopping.online to false"
            )
        return self

    def studies(self) -> list[str]:
        """Names of the studies this experiment does."""
        return [study for study in STUDIES if getattr(self, study) is not None]

    def parts(self) -> list[str]:
        """The studies, and the agreement between them where the definition asks for it."""
        return [*self.studies(), *([AGREEMENT] if self.agreement is not None else [])]

    def compared(self) -> AgreementConfig:
        """How the agreement is made, whether or not the definition asks for it."""
        return self.agreement or AgreementConfig()

    def projected(self) -> tuple[str, ...]:
        """Names of the traits whose directions are signals of the agreement."""
        chosen = self.compared().projections
        return self.trait_names() if chosen is None else chosen

    def steered_questions(self) -> tuple[str, ...]:
        """Names of the data sets whose questions are asked again under steering; none where it is not asked for."""
        steer = self.compared().steer
        if steer is None or self.uncertainty is None:
            return ()
        sampled = {name: one for name, one in self.uncertainty.collections.items() if not one.samples}
        inside = tuple(name for name, one in sampled.items() if one.role == "in_distribution")
        return inside if steer.collections is None else steer.collections

    def collections(self) -> list[str]:
        """Names of the collections of all studies."""
        return [name for study in self.studies() for name in getattr(self, study).collections]

    def trait_names(self) -> tuple[str, ...]:
        """Names of the traits, none without a traits study."""
        return self.traits.collections if self.traits else ()
