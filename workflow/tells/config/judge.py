"""Who judges: an API model, a model served by the user, or the offline judge."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from tells.config.base import Definition, Slug

DEFAULT_MODELS = {"openai": "gpt-4.1-mini-2025-04-14", "gemini": "gemini-2.5-flash"}
KEY_VARIABLES = {"openai": "OPENAI_API_KEY", "gemini": "GEMINI_API_KEY"}


class JudgeConfig(Definition):
    """The judge of traits, coherence, harm and meaning. Its answers are cached; only what is missing is asked."""

    provider: Literal["exemplar", "openai", "gemini"] = Field(
        "exemplar",
        description="openai: any server of its protocol (see base_url); exemplar: offline, sentence embeddings "
        "compared with each trait's exemplar sentences",
    )
    model: str | None = Field(None, description="by default gpt-4.1-mini-2025-04-14 or gemini-2.5-flash")
    base_url: str | None = Field(
        None, description="address of the API, by default the provider's own; needs key_variable"
    )
    key_variable: str | None = Field(
        None, description="environment variable that holds the key; by default OPENAI_API_KEY or GEMINI_API_KEY"
    )
    log_probabilities: bool = Field(
        True,
        description="openai: score by the probabilities of one token; false for models that do not give them, or that "
        "spell numbers in several tokens (80 as 8 and 0)",
    )
    embedding_model: Slug = Field("all-minilm-l6-v2", description="exemplar: the sentence embedding")
    max_calls: PositiveInt | None = Field(None, description="ceiling of requests per job; reached, it stops cleanly")
    max_tokens: PositiveInt | None = Field(None, description="ceiling of tokens, input and output, per job")
    max_cost: float | None = Field(None, gt=0, description="ceiling in USD per job; needs both prices")
    input_price: float | None = Field(None, ge=0, description="USD per million input tokens, for the cost")
    output_price: float | None = Field(None, ge=0, description="USD per million output tokens, for the cost")

    @model_validator(mode="after")
    def _offline_asks_nobody(self) -> JudgeConfig:
        if self.provider == "exemplar" and (self.model or self.base_url):
            raise ValueError("model and base_url are of a judge that is asked: set provider to openai or gemini")
        return self

    @model_validator(mode="after")
    def _key_is_meant(self) -> JudgeConfig:
        if self.base_url is not None and self.key_variable is None:
            raise ValueError("base_url needs key_variable: the key of the provider's own service goes nowhere else")
        return self

    @model_validator(mode="after")
    def _prices_are_known(self) -> JudgeConfig:
        if self.max_cost is not None and (self.input_price is None or self.output_price is None):
            raise ValueError("max_cost needs input_price and output_price")
        return self

    @property
    def resolved_model(self) -> str:
        """The model asked, or the embedding of the offline judge."""
        return self.model or DEFAULT_MODELS.get(self.provider, self.embedding_model)

    @property
    def resolved_key_variable(self) -> str | None:
        """The environment variable with the key; None for the offline judge."""
        return self.key_variable or KEY_VARIABLES.get(self.provider)
