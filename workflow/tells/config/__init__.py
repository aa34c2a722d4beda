"""Definitions of experiments, models and sites: typed, checked whole, and read from YAML in one place."""

from tells.config.experiment import EngineConfig, Experiment, GenerationConfig, ReplayConfig
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
from tells.config.site import Site
from tells.config.uncertainty import UncertaintyConfig

__all__ = [
    "ConfigError",
    "EngineConfig",
    "Experiment",
    "GenerationConfig",
    "ModelEntry",
    "Problem",
    "ReplayConfig",
    "Site",
    "UncertaintyConfig",
    "load_experiments",
    "load_models",
    "load_site",
    "load_workflow",
    "select_experiments",
]
