"""The stages of the workflow: a results version each, and the modules whose code decides their results.

Script mtimes change at every clone and imported modules are not seen by Snakemake at all, so a rule carries its
stage's version as a parameter: raise it when a stage's results change. The modules only serve to flag results that
are older than the code that makes them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """`version` of a stage's results; `modules`, as patterns below the package, that decide them."""

    version: int
    modules: tuple[str, ...]


def _modules(package: str, names: str) -> tuple[str, ...]:
    """Patterns of modules of one package, whose names stand side by side."""
    return tuple(f"{package}/{name}.py" for name in names.split())


_MODEL = ("models/loading.py", "models/attention.py", "models/cache.py", "models/forward.py")
_JUDGE = ("judge/*.py", "judge/providers/*.py", "traits/judging.py")
_STEERING = (
    "models/prompts.py",
    "models/sampling.py",
    "models/engines/hf.py",
    "models/steering.py",
    "models/hooks.py",
    "models/measures.py",
    "models/replay.py",
    "models/runs.py",
    "models/spans.py",
    "traits/steering.py",
    "traits/vectors.py",
    "traits/candidates.py",
)
_PAGES = ("report/*.py", "report/figures/*.py", "report/assets/report.*")
_VECTORS = "vectors metrics quality quality_records extraction row_space pair_design pair_bootstrap"

STAGES: dict[str, Stage] = {
    "fetch_model": Stage(1, ("models/materialise.py",)),
    "prompts": Stage(
        1, ("uncertainty/question*.py", "traits/scenarios.py", "safety/benchmark*.py", "tables/records.py")
    ),
    "merge": Stage(1, ("models/runs.py",)),
    "sample": Stage(1, (*_MODEL, "models/prompts.py", "models/sampling.py", "models/engines/*.py")),
    "replay": Stage(2, (*_MODEL, "models/replay.py", "models/spans.py", "models/hooks.py")),
    "p_true": Stage(1, (*_MODEL, "models/prompts.py", "uncertainty/p_true.py")),
    "grade": Stage(1, ("uncertainty/answers.py",)),
    "cluster": Stage(1, _modules("uncertainty", "answers clustering entailment")),
    "entropy": Stage(1, ("uncertainty/entropy.py",)),
    "train_probes": Stage(
        2, ("uncertainty/probe*.py", "uncertainty/runs.py", "uncertainty/splits.py", "uncertainty/threshold.py")
    ),
    "evaluate_probes": Stage(
        2, ("uncertainty/evaluation*.py", "uncertainty/curves.py", "uncertainty/baselines.py", "stats/*.py")
    ),
    "map_states": Stage(1, ("uncertainty/projection.py",)),
    "analyse_uncertainty": Stage(1, ("uncertainty/results.py", "uncertainty/runs.py")),
    "judge_scenarios": Stage(1, _JUDGE),
    "judge_responses": Stage(1, _JUDGE),
    "vet": Stage(1, ("traits/vetting.py", "traits/cautions.py")),
    "explain_failures": Stage(1, (*_JUDGE, "traits/vetting.py")),
    "extract_vectors": Stage(1, _modules("traits", _VECTORS)),
    "generate_steered": Stage(1, (*_MODEL, *_STEERING)),
    "judge_steered": Stage(1, _JUDGE),
    "choose": Stage(1, ("traits/search.py", "traits/choice.py")),
    "report_steered": Stage(1, (*_MODEL, *_STEERING)),
    "summarise_trait": Stage(1, ("traits/summary.py", "traits/choice.py", "stats/bootstrap.py")),
    "analyse_traits": Stage(1, ("traits/summary.py", "traits/cosines.py")),
    "sample_adaptively": Stage(
        1,
        (
            *_MODEL,
            *_modules("models", "prompts sampling confidence runs spans engines/*"),
            *_modules("safety", "sampling adaptive voting confidence refusal*"),
        ),
    ),
    "measure_confidence": Stage(2, ("models/spans.py", *_modules("safety", "traces confidence"))),
    "classify": Stage(
        2,
        (
            *_modules("safety", "refusal* classifiers guard_models harm_* labelling labels"),
            "safety/harm_exemplars.yaml",
            *_modules("judge", "* providers/*"),
        ),
    ),
    "label": Stage(1, ("safety/labelling.py",)),
    "compare_arms": Stage(
        2,
        (
            *_modules("safety", "adaptive arms* confidence online_arm outcomes pools rates reply_events sweep voting"),
            "stats/*.py",
        ),
    ),
    "stratify": Stage(
        2,
        (
            *_modules("safety", "strata hypothesis rates reply_events constant_classifier results voting"),
            "stats/*.py",
        ),
    ),
    "analyse_safety": Stage(1, ("safety/results.py",)),
    "cluster_replies": Stage(
        1,
        (
            "agreement/reply_clusters.py",
            *_modules("uncertainty", "answers clustering entailment"),
            *_modules("judge", "embedding bert"),
        ),
    ),
    "train_answer_probes": Stage(
        1,
        (
            *_modules("agreement", "answer_probes signals"),
            *_modules("uncertainty", "probe* runs splits threshold"),
        ),
    ),
    "measure_signals": Stage(
        1,
        (
            *_modules("agreement", "study_rows *_signals inputs signals measure reply_clusters"),
            *_modules("uncertainty", "probe_files probe_targets entropy"),
            *_modules("traits", "pair_design candidates"),
            *_modules("safety", "confidence labelling"),
            "models/spans.py",
        ),
    ),
    "analyse_agreement": Stage(
        1,
        (
            *_modules("agreement", "signals cells resampling block_permutation records combined correlations"),
            *_modules("agreement", "confidence_direction steering_changes results notes"),
            "uncertainty/probe_targets.py",
            "stats/*.py",
        ),
    ),
    "steer_questions": Stage(
        1,
        (
            *_MODEL,
            *_STEERING,
            *_modules("agreement", "steered_runs projection_signals"),
            "models/confidence.py",
            "uncertainty/probe_targets.py",
        ),
    ),
    "measure_steered": Stage(1, _modules("agreement", "steered_outcomes")),
    "draw_figures": Stage(1, _PAGES),
    "write_report": Stage(1, _PAGES),
    "project": Stage(2, (*_MODEL, "models/measures.py", "traits/projection.py", "traits/candidates.py")),
}


def stage_version(stage: str) -> int:
    """The results version of a stage, for a rule's `params`.

    Raises:
        KeyError: no such stage.
    """
    return STAGES[stage].version
