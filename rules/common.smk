"""Definitions that all rules share.

Reads   config/config.yaml, config/models.yaml, experiments/*.yaml
Gives   SITE, MODELS, EXPERIMENTS, what a run makes, and the functions that turn wildcards into parameters
"""

import re
import sys
import time
from pathlib import Path

from tells.config import AGREEMENT, PARTS, STUDIES, ConfigError, load_models, load_workflow, settings
from tells.doctor import examine, format_findings, pool_findings
from tells.examination import read_benchmarks
from tells.heads import forget_head, record_head
from tells.jobs import announce_head
from tells.report.show import study_reports
from tells.report.terminal import console_of
from tells.stages import stage_version
from tells.traits.files import load_traits, rubric_digest, unanswered_runs

STARTED = time.time()

try:
    SITE, EXPERIMENTS = load_workflow(Path.cwd(), config)
    MODELS = load_models(Path.cwd() / SITE.models)
    TRAIT_DEFINITIONS = load_traits(Path.cwd(), [name for one in EXPERIMENTS.values() for name in one.trait_names()])
except ConfigError as error:
    sys.exit(str(error))
BENCHMARKS, broken = read_benchmarks(Path(), EXPERIMENTS)
if broken:
    sys.exit(format_findings(broken))

COLLECTIONS = sorted({name for experiment in EXPERIMENTS.values() for name in experiment.collections()})
# Of all jobs that could start, those for the GPU go first: it is what takes the time, and judges work beside it.
GPU_FIRST = 10
RESULTS = ("results.json", "results.parquet", "figures.html")
ENVIRONMENT = f"../envs/{SITE.environment}.yaml"
FOLDER = "experiments/{experiment}/{study}/{collection}"
COLLECTION = "experiments/{experiment}/uncertainty/{collection}"
STUDY = "experiments/{experiment}/uncertainty"
RIVER_LOGS = "logs/{experiment}/{study}/{collection}"
LOGS = "logs/{experiment}/uncertainty/{collection}"
STUDY_LOGS = "logs/{experiment}/uncertainty"

announce_head()


def one_of(names):
    """A wildcard constraint that allows exactly these names."""
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) or "(?!)"


def study_results(study=None):
    """Results and figures of one study, or of all that the definition asks for, of every experiment that does it."""
    return [
        f"experiments/{name}/{each}/{file}"
        for name, experiment in EXPERIMENTS.items()
        for each in experiment.parts()
        if study in (None, each)
        for file in RESULTS
    ]


def agreements():
    """Results and figures of the agreement of every experiment that asks for it or has two studies to compare."""
    return [
        f"experiments/{name}/{AGREEMENT}/{file}"
        for name, experiment in EXPERIMENTS.items()
        if experiment.agreement or len(experiment.studies()) > 1
        for file in RESULTS
    ]


def preflight():
    """Stop before the first job where something that an experiment needs is missing."""
    deployed = bool(workflow.deployment_settings.deployment_method)
    findings = examine(Path.cwd(), EXPERIMENTS, SITE, elsewhere=not workflow.local_exec, deployed=deployed)
    findings += pool_findings(EXPERIMENTS, workflow.global_resources.get("gpu") if workflow.local_exec else None)
    if findings:
        print(format_findings(findings), file=sys.stderr)
    if any(finding.severity == "error" for finding in findings):
        sys.exit(1)


def show_results():
    """Print the results that this run has made."""
    for _, report in study_reports(Path(), EXPERIMENTS, since=STARTED) if SITE.show else ():
        if report is not None:
            console_of().print(report)


def prompt_settings(wildcards):
    return settings.prompt_settings(EXPERIMENTS[wildcards.experiment], MODELS, wildcards.study, wildcards.collection)


def sample_settings(wildcards):
    return settings.sample_settings(EXPERIMENTS[wildcards.experiment], MODELS, SITE, wildcards.study)


def replay_settings(wildcards):
    return settings.replay_settings(EXPERIMENTS[wildcards.experiment], SITE, wildcards.study)


def online_settings(wildcards):
    return settings.online_settings(EXPERIMENTS[wildcards.experiment], MODELS, SITE)


def classify_settings(wildcards):
    return settings.classify_settings(EXPERIMENTS[wildcards.experiment], SITE, wildcards.classifier)


def question_steering_settings(wildcards):
    return settings.question_steering_settings(EXPERIMENTS[wildcards.experiment], MODELS, SITE)


def p_true_settings(wildcards):
    return settings.p_true_settings(EXPERIMENTS[wildcards.experiment], SITE)


def search_settings(wildcards):
    return settings.search_settings(EXPERIMENTS[wildcards.experiment], MODELS, SITE)


def report_settings(wildcards):
    """With the instruction of plain prompting, so that another rubric in the same file changes nothing here."""
    told = settings.report_settings(EXPERIMENTS[wildcards.experiment], MODELS, SITE)
    return {**told, "instruction": TRAIT_DEFINITIONS[wildcards.collection].instruction.high}


def setting(name):
    """A function from wildcards to one of the settings that depend on the experiment alone."""
    return lambda wildcards: getattr(settings, name)(EXPERIMENTS[wildcards.experiment])


def clustering_calls(wildcards):
    """1 where a judge is asked, so that not too many jobs ask at once."""
    return int(clustering_method(wildcards) == "judge")


def clusters_by_judge():
    """Whether an experiment asks a judge which answers mean the same."""
    studies = [one.uncertainty for one in EXPERIMENTS.values() if one.uncertainty]
    return any("judge" in (study.clustering.math, study.clustering.text) for study in studies)


def told_rubric(wildcards):
    """A hash of what a judge is told of a trait."""
    offline = EXPERIMENTS[wildcards.experiment].judge.provider == "exemplar"
    return rubric_digest(TRAIT_DEFINITIONS[wildcards.collection].as_rubric(), offline=offline)


def unanswered(pattern):
    """A parameter that changes when a service left items unanswered, so that the next run asks for them again."""
    return lambda wildcards: unanswered_runs(Path(pattern.format(**wildcards)))


def steering_limits(experiment):
    """What makes a point of steering valid, which no file of a run holds; None where nothing is steered."""
    traits = EXPERIMENTS[experiment].traits
    return settings.choose_settings(EXPERIMENTS[experiment]) if traits and traits.steer else None


def figure_settings(wildcards):
    return {"limits": steering_limits(wildcards.experiment) if wildcards.study == "traits" else None}


def page_settings(wildcards):
    """The studies that there should be, and the limits of steering."""
    studies = list(EXPERIMENTS[wildcards.experiment].parts())
    return {"studies": studies, "limits": steering_limits(wildcards.experiment)}


def all_traits(name, steered_alone=False):
    """One file of each trait of every experiment; of those that are steered alone, where asked."""
    return [
        f"experiments/{name_of}/traits/{trait}/{name}"
        for name_of, experiment in EXPERIMENTS.items()
        if experiment.traits
        for trait in (experiment.traits.steered() if steered_alone else experiment.traits.collections)
    ]


def all_prompts():
    """The prompts of every collection of every experiment."""
    return [
        f"experiments/{name}/{study}/{collection}/prompts.parquet"
        for name, experiment in EXPERIMENTS.items()
        for study in experiment.studies()
        for collection in getattr(experiment, study).collections
    ]


def growing(amount):
    """Memory or minutes that grow with each attempt."""
    return lambda wildcards, attempt: amount * attempt
