"""Definitions of experiments, models and sites: typed, checked whole, and read from YAML in one place."""

from tells.config.agreement import AGREEMENT, AgreementConfig
from tells.config.experiment import PARTS, STUDIES, EngineConfig, Experiment, GenerationConfig, ReplayConfig
from tells.config.judge import JudgeConfig
from tells.config.load import (
    ConfigError,
    Problem,
    load_experiments,
    load_models,
    load_site,
    load_workflow,
    select_experiments,
)
from tells.config.models import ModelEntry
from tells.config.safety import BENCHMARKS_FOLDER, SafetyConfig
from tells.config.site import Site
from tells.config.traits import TRAITS_FOLDER, TraitsConfig
from tells.config.uncertainty import UncertaintyConfig

__all__ = [
    "AGREEMENT",
    "BENCHMARKS_FOLDER",
    "PARTS",
    "STUDIES",
    "TRAITS_FOLDER",
    "AgreementConfig",
    "ConfigError",
    "EngineConfig",
    "Experiment",
    "GenerationConfig",
    "JudgeConfig",
    "ModelEntry",
    "Problem",
    "ReplayConfig",
    "SafetyConfig",
    "Site",
    "TraitsConfig",
    "UncertaintyConfig",
    "load_experiments",
    "load_models",
    "load_site",
    "load_workflow",
    "select_experiments",
]
