"""Input functions that rules share: which files a job reads, by what the experiment asks for.

Gives   functions from wildcards to files, and functions that make such functions
"""

import os

from tells.config import TRAITS_FOLDER
from tells.config.references import several_replies
from tells.safety.benchmarks import AbsentDataError, local_files
from tells.tables import read_metadata
from tells.uncertainty.questions import load_question_set


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


def reply_models(wildcards):
    """Manifest of the model by which free replies are grouped."""
    return [f"resources/models/{EXPERIMENTS[wildcards.experiment].compared().clustering.model}/model.json"]


def signal_collections(experiment):
    """Study and name of every collection of an experiment, with the files of it that signals are read from."""
    own = {
        "uncertainty": ("labels.parquet", "entropy.parquet"),
        "traits": ("vetting.parquet", "vetting.json"),
        "safety": ("reply_labels.parquet", "confidence.parquet"),
    }
    for study in experiment.studies():
        grouped = ("clusters.parquet",) if several_replies(experiment, study) else ()
        for name in getattr(experiment, study).collections:
            projected = ("vectors.json", "vectors.safetensors") if name in experiment.projected() else ()
            yield study, name, (*own[study], *grouped, *(projected if study == "traits" else ()))


def files_of_signals(wildcards):
    """The tables, probes and vectors that signals are read from."""
    experiment, folder = EXPERIMENTS[wildcards.experiment], f"experiments/{wildcards.experiment}"
    files = [f"{folder}/{study}/{one}/{file}" for study, one, names in signal_collections(experiment) for file in names]
    if experiment.uncertainty:
        shown = ("splits.parquet", "scores.parquet", "probes.safetensors", "probes.json")
        files += [f"{folder}/uncertainty/{file}" for file in shown]
    return files


def replayed_shards(wildcards):
    """Replay of every shard of every study; a user's own samples have none."""
    experiment, files = EXPERIMENTS[wildcards.experiment], []
    for study, name, _ in signal_collections(experiment):
        if study == "uncertainty" and experiment.uncertainty.collections[name].samples:
            continue
        for ending in ("parquet", "safetensors"):
            pattern = f"{FOLDER}/shards/replay-{{shard}}.{ending}"
            files += shards_of(pattern, study=study, collection=name)(wildcards)
    return files


def answer_probes(wildcards):
    """The probes at the end of the answer, where there is an uncertainty study to train them on."""
    if EXPERIMENTS[wildcards.experiment].uncertainty is None:
        return []
    return [f"{COMPARED}/probes.{ending}".format(**wildcards) for ending in ("safetensors", "json")]


def confidence_vectors(ending):
    """An input function: the vectors of the trait whose direction is asked whether it reads uncertainty."""
    return lambda wildcards: (
        f"{TRAITS}/{EXPERIMENTS[wildcards.experiment].compared().confidence_trait}/vectors.{ending}".format(**wildcards)
    )


def steered_outcomes(wildcards):
    """What came of asking questions under steering, where the agreement asks for it."""
    collections = EXPERIMENTS[wildcards.experiment].steered_questions()
    return [f"{STEERED}/outcomes.parquet".format(**wildcards, collection=name) for name in collections]


def files_of_figures(experiment, study):
    """Everything below a study's folder that its figures and tables show."""
    folder, definition = f"experiments/{experiment}/{study}", getattr(EXPERIMENTS[experiment], study)
    names = ["results.json"]
    if study == AGREEMENT:
        names += ["signals.parquet"]
    elif study == "uncertainty":
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
    parts = EXPERIMENTS[wildcards.experiment].parts()
    return [file for part in parts for file in files_of_figures(wildcards.experiment, part)]
