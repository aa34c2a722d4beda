"""Definitions and input functions that all rules share.

Reads   config/config.yaml, config/models.yaml, experiments/*.yaml
Gives   SITE, MODELS, EXPERIMENTS and the functions that turn wildcards into files and parameters
"""

import os
import re
import sys
import time
from pathlib import Path

from tells.config import STUDIES, TRAITS_FOLDER, ConfigError, load_models, load_workflow, settings
from tells.doctor import examine, format_findings, pool_findings
from tells.examination import read_benchmarks
from tells.heads import forget_head, record_head
from tells.jobs import announce_head
from tells.report.show import study_reports
from tells.report.terminal import console_of
from tells.stages import stage_version
from tells.safety.benchmarks import AbsentDataError, local_files
from tells.tables import read_metadata
from tells.traits.files import load_traits, rubric_digest, unanswered_runs
from tells.uncertainty.questions import load_question_set

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
    """Results and figures of one study, or of all, of every experiment that does it."""
    return [
        f"experiments/{name}/{each}/{file}"
        for name, experiment in EXPERIMENTS.items()
        for each in experiment.studies()
        if study in (None, each)
        for file in ("results.json", "results.parquet", "figures.html")
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


def manifest_of(wildcards):
    """Manifest of the experiment's model."""
    return f"resources/models/{EXPERIMENTS[wildcards.experiment].model}/model.json"


def steered_manifest(wildcards):
    """Manifest of the model that is steered, which may differ from the one the vectors come from."""
    return f"resources/models/{settings.steered_model(EXPERIMENTS[wildcards.experiment])}/model.json"


def collection_of(wildcards):
    """Definition of a collection of questions or of a benchmark."""
    return getattr(EXPERIMENTS[wildcards.experiment], wildcards.get("study", "uncertainty")).collections[
        wildcards.collection
    ]


def prompt_files(wildcards):
    """What a collection's prompts are made from: a question set or a benchmark with its data, or a trait's scenarios."""
    if wildcards.study == "traits":
        return [f"{TRAITS_FOLDER}/{wildcards.collection}/{pole}.txt" for pole in ("positive", "negative")]
    collection = collection_of(wildcards)
    if wildcards.study == "safety":
        return benchmark_files(wildcards.experiment, wildcards.collection)
    question_set = load_question_set(collection.questions)
    data = collection.samples or collection.path or question_set.data_file
    return [collection.questions, *([os.path.relpath(data)] if data else [])]


def benchmark_files(experiment, name):
    """A benchmark and its data, as far as they lie here; what is absent is told with its cure before the first job."""
    safety = EXPERIMENTS[experiment].safety
    try:
        data = local_files(BENCHMARKS[experiment, name], path=safety.collections[name].path) or []
    except AbsentDataError:
        data = []
    return [safety.benchmark_of(name), *(os.path.relpath(file) for _, file in data)]


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


def shards_of(pattern, **known):
    """An input function: one file per shard, counted in the prompts table."""

    def files(wildcards):
        found = {"study": "uncertainty", **dict(wildcards.items()), **known}
        place = {name: found[name] for name in ("experiment", "study", "collection")}
        prompts = checkpoints.prompts.get(**place).output.prompts
        shards = [f"{shard:04d}" for shard in range(read_metadata(prompts)["shards"])]
        return expand(pattern, shard=shards, **place)

    return files


def sampled_shards(wildcards):
    """Sampled shards of a collection, or the user's own samples in their place."""
    samples = collection_of(wildcards).samples if wildcards.study == "uncertainty" else None
    return [samples] if samples else shards_of(f"{FOLDER}/shards/samples-{{shard}}.parquet")(wildcards)


def of_sampled(pattern):
    """An input function: a file that exists only where we sampled; nothing for a user's own samples."""
    return lambda wildcards: [] if collection_of(wildcards).samples else pattern.format(**wildcards)


def in_study(name, replayed=False, asked=False):
    """An input function: one file of each collection of the uncertainty study.

    `replayed` leaves out a user's own samples; `asked` also all where P(True) is not wanted.
    """

    def files(wildcards):
        study = EXPERIMENTS[wildcards.experiment].uncertainty
        return [
            f"experiments/{wildcards.experiment}/uncertainty/{collection}/{name}"
            for collection, definition in study.collections.items()
            if not ((replayed or asked) and definition.samples) and (study.p_true or not asked)
        ]

    return files


def states_of_study(wildcards):
    """Hidden states of all shards of the study."""
    paths = []
    for collection, definition in EXPERIMENTS[wildcards.experiment].uncertainty.collections.items():
        if not definition.samples:
            pattern = f"experiments/{{experiment}}/uncertainty/{collection}/shards/replay-{{shard}}.safetensors"
            paths += shards_of(pattern, study="uncertainty", collection=collection)(wildcards)
    return paths


def clustering_method(wildcards):
    """How answers to this collection's kind of question are grouped."""
    grader = load_question_set(collection_of(wildcards).questions).grader
    return getattr(EXPERIMENTS[wildcards.experiment].uncertainty.clustering, grader)


def clustering_calls(wildcards):
    """1 where a judge is asked, so that not too many jobs ask at once."""
    return int(clustering_method(wildcards) == "judge")


def clusters_by_judge():
    """Whether an experiment asks a judge which answers mean the same."""
    studies = [one.uncertainty for one in EXPERIMENTS.values() if one.uncertainty]
    return any("judge" in (study.clustering.math, study.clustering.text) for study in studies)


def clustering_models(wildcards):
    """Manifests of the models that clustering needs."""
    config = EXPERIMENTS[wildcards.experiment].uncertainty.clustering
    needed = {"nli": config.nli_model, "cosine": config.embedding_model}
    method = clustering_method(wildcards)
    return [f"resources/models/{needed[method]}/model.json"] if method in needed else []


def judge_models(wildcards):
    """Manifest of the offline judge's sentence embedding; nothing for a judge that is asked by an API."""
    judge = EXPERIMENTS[wildcards.experiment].judge
    return [f"resources/models/{judge.embedding_model}/model.json"] if judge.provider == "exemplar" else []


def told_rubric(wildcards):
    """A hash of what a judge is told of a trait."""
    offline = EXPERIMENTS[wildcards.experiment].judge.provider == "exemplar"
    return rubric_digest(TRAIT_DEFINITIONS[wildcards.collection].as_rubric(), offline=offline)


def unanswered(pattern):
    """A parameter that changes when a service left items unanswered, so that the next run asks for them again."""
    return lambda wildcards: unanswered_runs(Path(pattern.format(**wildcards)))


def vetted(what, pattern):
    """An input function: scores of scenarios or responses, where they are judged."""
    return lambda wildcards: (
        pattern.format(**wildcards) if getattr(EXPERIMENTS[wildcards.experiment].traits.vet, what) else []
    )


def explained(pattern):
    """An input function: why texts failed, where responses are judged by a judge that can say it."""

    def files(wildcards):
        experiment = EXPERIMENTS[wildcards.experiment]
        asked = experiment.judge.provider != "exemplar" and experiment.traits.vet.responses
        return pattern.format(**wildcards) if asked else []

    return files


def steered(pattern):
    """An input function: a file that exists only where the trait is steered."""

    def files(wildcards):
        return pattern.format(**wildcards) if wildcards.collection in steered_traits(wildcards.experiment) else []

    return files


def steered_traits(experiment):
    """Names of the traits that an experiment steers."""
    return EXPERIMENTS[experiment].traits.steered()


def of_traits(name):
    """An input function: one file of each trait of an experiment."""

    def files(wildcards):
        return [
            f"{TRAITS}/{trait}/{name}".format(**wildcards)
            for trait in EXPERIMENTS[wildcards.experiment].traits.collections
        ]

    return files


def classifier_models(wildcards):
    """Manifest of the model behind a classifier, where there is one."""
    labels = EXPERIMENTS[wildcards.experiment].safety.labels
    model = getattr(labels, f"{wildcards.classifier}_model", None)
    return [f"resources/models/{model}/model.json"] if model else []


def classified(wildcards):
    """One table for each classifier that is asked."""
    labels = EXPERIMENTS[wildcards.experiment].safety.labels
    return [f"{BENCHMARK}/{name}_labels.parquet".format(**wildcards) for name in labels.classifiers]


def where_online(pattern):
    """An input function: a file that exists only where sampling also stops early."""
    return lambda wildcards: (
        [pattern.format(**wildcards)] if EXPERIMENTS[wildcards.experiment].safety.stopping.online else []
    )


def of_benchmarks(name):
    """An input function: one file of each benchmark of an experiment."""

    def files(wildcards):
        collections = EXPERIMENTS[wildcards.experiment].safety.collections
        return [f"{SAFETY}/{collection}/{name}".format(**wildcards) for collection in collections]

    return files


def files_of_figures(experiment, study):
    """Everything below a study's folder that its figures and tables show."""
    folder, definition = f"experiments/{experiment}/{study}", getattr(EXPERIMENTS[experiment], study)
    names = ["results.json"]
    if study == "uncertainty":
        names += ["results.parquet", "curves.parquet", "probes.json"]
    elif study == "traits":
        names += [f"{trait}/{name}" for trait in definition.collections for name in SHOWN_OF_TRAIT]
        names += [f"{trait}/steering/{name}" for trait in definition.steered() for name in SHOWN_OF_STEERING]
    else:
        names += ["results.parquet"]
        names += [f"{benchmark}/{name}.parquet" for benchmark in definition.collections for name in SHOWN_OF_BENCHMARK]
    return [f"{folder}/{name}" for name in names]


def figure_files(wildcards):
    return files_of_figures(wildcards.experiment, wildcards.study)


def report_files(wildcards):
    """What the figures of all studies of an experiment show."""
    studies = EXPERIMENTS[wildcards.experiment].studies()
    return [file for study in studies for file in files_of_figures(wildcards.experiment, study)]


def steering_limits(experiment):
    """What makes a point of steering valid, which no file of a run holds; None where nothing is steered."""
    traits = EXPERIMENTS[experiment].traits
    return settings.choose_settings(EXPERIMENTS[experiment]) if traits and traits.steer else None


def figure_settings(wildcards):
    return {"limits": steering_limits(wildcards.experiment) if wildcards.study == "traits" else None}


def page_settings(wildcards):
    """The studies that there should be, and the limits of steering."""
    studies = list(EXPERIMENTS[wildcards.experiment].studies())
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
