"""What README and the other pages say is so: links, paths, commands, YAML examples, the notebook, keys and columns."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import polars as pl
import pytest
import yaml
from workflow_helpers import ROOT, SNAKEMAKE, environment, make_clone

from tells.agreement.signals import all_signals
from tells.config import JudgeConfig, Site
from tells.config.agreement import AgreementConfig, QuestionSteeringConfig, ReplyClusteringConfig
from tells.config.safety import (
    ConfidenceConfig,
    Kind,
    LabelConfig,
    SafetyCollection,
    SafetyConfig,
    SafetyInferenceConfig,
    StoppingConfig,
    StrataConfig,
)
from tells.config.traits import SteerConfig, TraitsConfig, VetConfig
from tells.judge.exchange import Reply
from tells.judge.protocol import Judgement, Status
from tells.safety import arms, labelling
from tells.safety.adaptive import CUT
from tells.safety.arms_summary import arms_summary
from tells.safety.benchmarks import PROMPTS_SCHEMA as BENCHMARK_PROMPTS
from tells.safety.constant_classifier import Guard
from tells.safety.hypothesis import ORIENTATIONS, Estimate, Hypothesis, Ranking, RiskDifference
from tells.safety.label_agreement import AGREEMENT_SCHEMA
from tells.safety.label_sheet import CLASSIFIERS
from tells.safety.rates import Rate
from tells.safety.reply_events import VOCABULARY
from tells.safety.results import strata_record
from tells.safety.strata import CELLS, HELD_OUT, QUADRANTS, Cell, strata_table
from tells.tables import SCHEMAS
from tells.traits import steering
from tells.traits.cautions import _DIAGNOSES, Caution
from tells.traits.choice import choose_point, report_effects
from tells.traits.quality_records import Figures, HeldOut, NullBand, Quality, Record
from tells.traits.row_space import METHODS
from tells.traits.scenarios import DefinitionFile, QuestionsFile
from tells.traits.search import COHERENCE_DROP, INCOHERENT, INCOMPLETE_BASELINE, MISSING_SCORE, NO_SCORES, UNSTEERED
from tells.traits.steering import PROMPTING, RANDOM, REFERENCE, STEERED
from tells.traits.summary import _ENDINGS, summarise_trait, traits_table
from tells.traits.vetting import Outcome, StageCount, Survivors, Thresholds, Vetting

PAGES = [
    *("README.md", "CHANGELOG.md", "config/README.md", "config/questions/README.md", "config/benchmarks/README.md"),
    *("docs/outputs.md", "docs/workflow.md", "docs/errors.md", "docs/safety.md", "docs/sharing.md", "docs/served.md"),
    *("docs/dashboard.md", "docs/report.md", "docs/cluster.md", "docs/scale.md", "docs/agreement.md"),
]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
FILE_BLOCK = re.compile(
    r"`([\w./-]+)`[^\n`]*(?:\([^\n]*\))?:\n\n```(?:yaml|json)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"(?<![\w./~{}-])(?:config|docs|envs|experiments|profiles|resources|rules|tests|workflow)/[\w./*-]+")
# Commands that fail where there are no results yet.
READS_RESULTS = (
    *("show", "doctor", "project", "label-sheet", "label-agreement", "figures", "dashboard", "push", "pull"),
)
MODEL = "resources/models/smollm2-135m-instruct/model.json"
EMBEDDING = "resources/models/all-minilm-l6-v2/model.json"


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def code_of(page: str) -> list[str]:
    """Everything that stands in code: fenced blocks but for pictures, and spans between backticks."""
    text = text_of(page)
    blocks = [block for _, kind, block in FENCE.findall(text) if kind != "mermaid"]
    return blocks + re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def files_of_examples() -> list[tuple[str, str]]:
    """Files that README shows, with their content, in order."""
    return FILE_BLOCK.findall(text_of("README.md"))


def commands(program: str) -> list[tuple[str, str]]:
    """(page, line) of every command for a program; comments, and lines that only name a placeholder, are left out.

    A line that several pages name comes once, with the first of them.
    """
    found: dict[str, str] = {}
    for page in PAGES:
        for code in code_of(page):
            for line in code.splitlines():
                line = line.partition("#")[0].strip()
                if re.match(rf"{program} +\S", line) and "…" not in line:
                    found.setdefault(line, page)
    return [(page, line) for line, page in found.items()]


def ids(found: list[tuple[str, str]]) -> list[str]:
    return [f"{page}: {line}" for page, line in found]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )


def dry(words: list[str]) -> list[str]:
    """A snakemake command with the same arguments, as a dry run."""
    return [*SNAKEMAKE, *([] if "-n" in words else ["-n"]), *words[1:]]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which a reader has followed README's examples."""
    folder = make_clone(tmp_path_factory.mktemp("reader"))
    for name, content in files_of_examples():
        path = folder / name
        with open(path, "a", encoding="utf-8") as opened:
            opened.write(f"\n{content}" if path.exists() else content)
    return folder


# Links and paths


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_to_files_that_are_there(page):
    for link in LINK.findall(FENCE.sub("", text_of(page))):
        if not link.startswith(("https://", "#")):
            assert ((ROOT / page).parent / link.partition("#")[0]).exists(), link


def named_paths() -> Iterator[tuple[str, str]]:
    """(page, path) of every path below the top that stands in code; folders and paths with placeholders left out."""
    shown = {name for name, _ in files_of_examples()}
    invented = shown | {"config/questions/rivers.jsonl", "config/questions/rivers.yaml", "config/questions/NAME.yaml"}
    invented |= {"config/traits/behavioral/brevity", "config/benchmarks/NAME.yaml"}
    invented |= {f"config/benchmarks/kitchen.{ending}" for ending in ("csv", "yaml")}
    for page in PAGES:
        for code in code_of(page):
            for path in PATH.findall(code):
                path = path.rstrip(".")
                if path not in {*invented, "experiments/NAME.yaml"} and not path.endswith("/") and "…" not in path:
                    yield page, path


def is_made(path: str) -> bool:
    """Whether a path is an output of the workflow, which git ignores."""
    return path.startswith("resources/") or bool(re.match(r"experiments/[^/]+/", path))


# A message that is about a definition gone wrong may name one that is not there.
MISSPELT = {
    ("docs/errors.md", "experiments/dmeo.yaml"),
    ("docs/errors.md", "config/traits/epistemic/hope"),
    ("docs/errors.md", "config/benchmarks/xsest.yaml"),
}


@pytest.mark.parametrize(
    ("page", "path"), sorted({pair for pair in named_paths() if not is_made(pair[1])} - MISSPELT), ids=str
)
def test_every_path_named_in_code_is_there(page, path):
    assert any(ROOT.glob(path)), f"{page} names {path}"


@pytest.mark.slow
def test_every_output_named_in_code_can_be_asked_for(clone):
    outputs = sorted({path for _, path in named_paths() if is_made(path) and Path(path).suffix})
    assert "experiments/demo/uncertainty/results.parquet" in outputs
    done = run(dry(["snakemake", "--profile", "cpu", *outputs]), clone)
    assert done.returncode == 0, done.stdout


# Commands


def test_the_pages_name_commands_of_all_three_programs():
    for program, least in (("make", 4), ("snakemake", 12), ("tells", 4)):
        assert len(commands(program)) >= least


@pytest.mark.parametrize(("page", "line"), commands("make"), ids=ids(commands("make")))
def test_every_make_target_named_is_one(page, line):
    targets = re.findall(r"^([a-z-]+):", text_of("Makefile"), flags=re.MULTILINE)
    assert set(shlex.split(line)[1:]) <= set(targets), page


@pytest.mark.slow
@pytest.mark.parametrize(("page", "line"), commands("snakemake"), ids=ids(commands("snakemake")))
def test_every_snakemake_line_dry_runs_in_a_fresh_clone(clone, page, line):
    done = run(dry(shlex.split(line)), clone)
    # Snakemake's own report is of files that are there, which those of a fresh clone are not.
    unmade = "--report" in line and "marked for report but does not exist" in done.stdout
    assert done.returncode == 0 or unmade, f"{page}: {line}\n{done.stdout}"


@pytest.mark.slow
@pytest.mark.parametrize(("page", "line"), commands("tells"), ids=ids(commands("tells")))
def test_every_tells_line_is_understood_in_a_fresh_clone(clone, page, line):
    words = shlex.split(line)
    if words[1] == "resume":
        words += ["-n"] if len(words) > 2 else ["--", "--profile", "cpu", "-n"]
    if words[1] == "dashboard":
        # Understood, and then refused, so that nothing is served here.
        words += ["--workers", "0"]
    done = run([sys.executable, "-m", "tells.cli", *words[1:]], clone)
    if len(words) == 2 and "the following arguments are required" in done.stdout:
        return  # The command is only spoken of; it is there.
    # 1 says that something is missing, as it is in a fresh clone; 2 that the line is wrong.
    reads_results = words[1] in READS_RESULTS
    assert done.returncode == 0 or (reads_results and done.returncode == 1), done.stdout
    assert "Traceback" not in done.stdout


def test_examples_are_found_in_readme():
    names = [name for name, _ in files_of_examples()]
    assert {"config/questions/rivers.jsonl", "config/questions/rivers.yaml", "config/models.yaml"} <= set(names)
    assert sum(name.startswith("experiments/") for name in names) == 5
    for name, content in files_of_examples():
        lines = content.splitlines() if name.endswith(".jsonl") else []
        assert all(json.loads(line) for line in lines), name


@pytest.mark.slow
def test_the_examples_of_readme_make_experiments_and_read_their_data(clone):
    names = ["rivers", "answers", "refusals", "pair-smollm2-135m-instruct", "pair-smollm2-360m"]
    done = run([*SNAKEMAKE, "-n", "--profile", "cpu", "--config", f"experiments={','.join(names)}"], clone)
    assert done.returncode == 0, done.stdout
    assert all(f"experiments/{name}/uncertainty/results.json" in done.stdout for name in names)
    assert "experiments/refusals/safety/xstest/strata.json" in done.stdout
    wanted = [f"experiments/{name}/uncertainty/rivers/prompts.parquet" for name in ("rivers", "answers")]
    made = run([*SNAKEMAKE, "--profile", "cpu", *wanted, "--config", "experiments=rivers,answers"], clone)
    assert made.returncode == 0, made.stdout
    clusters = "experiments/answers/uncertainty/rivers/entropy.parquet"
    made = run([*SNAKEMAKE, "--profile", "cpu", clusters, "--config", "experiments=answers"], clone)
    assert made.returncode == 0, made.stdout


@pytest.mark.slow
def test_a_benchmark_that_is_absent_is_told_before_the_first_job_with_its_licence_and_cure(clone, tmp_path):
    wanted = "experiments/refusals/safety/xstest/prompts.parquet"
    command = [*SNAKEMAKE, "--profile", "cpu", wanted, "--config", "experiments=refusals"]
    made = run(["env", "HF_HUB_OFFLINE=1", f"HF_HOME={tmp_path}", *command], clone)
    assert made.returncode != 0
    assert "licence CC BY 4.0" in made.stdout
    assert "hf download Paul/XSTest" in made.stdout
    assert "rule prompts:" not in made.stdout


# The picture, the notebook, the figures


def test_the_graphs_show_every_rule_and_no_other():
    graph = "".join(block for _, kind, block in FENCE.findall(text_of("README.md")) if kind == "mermaid")
    nodes = set(re.findall(r"^ +(\w+) -", graph, flags=re.MULTILINE)) | set(
        re.findall(r"-> (\w+)$", graph, re.MULTILINE)
    )
    rules = {*names_of_rules()}
    targets = {"uncertainty", "traits", "safety", "agreement", "vectors", "steering", "report", "prepare"}
    assert nodes == rules - targets


def names_of_rules() -> list[str]:
    """Names of all rules, those among them that are another rule on other files (`use rule … as`)."""
    named = r"^(?:(?:rule|checkpoint) (\w+):|use rule \w+ as (\w+) with:)"
    files = [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]
    return ["".join(found) for path in files for found in re.findall(named, path.read_text(), flags=re.MULTILINE)]


def rules_of_the_workflow() -> dict[str, str]:
    """Text of every rule that has resources, by its name; of a rule on other files that of the rule it is."""
    texts = [path.read_text() for path in (ROOT / "rules").glob("*.smk")]
    parts = [part for text in texts for part in re.split(r"(?m)^(?=(?:rule|checkpoint|use rule) )", text)[1:]]
    own = {found[1]: part for part in parts if (found := re.match(r"(?:rule|checkpoint) (\w+):", part))}
    used = [found for part in parts if (found := re.match(r"use rule (\w+) as (\w+) with:", part))]
    return {**own, **{found[2]: own[found[1]] for found in used}}


def test_the_table_of_what_rules_need_is_that_of_the_rules():
    rows = re.search(r"\| rules \| GPU \|.*?\n\n", text_of("README.md"), flags=re.DOTALL)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row]
    named = {name: row for row in cells for name in re.findall(r"`(\w+)`", row[0])}
    rules = rules_of_the_workflow()
    assert named.keys() <= rules.keys()
    others = next(row for row in cells if row[0] == "all others")
    for name, text in rules.items():
        row = named.get(name, others)
        assert bool(row[1]) == bool(re.search(r"\n\s+gpu=", text)), f"GPU of {name}"
        assert ("`threads`" in row[2]) == bool(re.search(r"threads: (SITE.threads|sampling_threads)", text)), name
        for column, resource in ((3, "mem_mb"), (4, "runtime")):
            given = re.search(rf"{resource}=growing\((\d+)\)", text)
            numbers = [int(number) for number in re.findall(r"\d+", row[column])]
            if given and numbers:
                assert min(numbers) <= int(given[1]) <= max(numbers), f"{resource} of {name}"


def notebooks() -> list[str]:
    """The Python of README, once the models it loads are there."""
    missing = [model for model in (MODEL, EMBEDDING) if not (ROOT / model).exists()]
    if missing:
        fetched = run([*SNAKEMAKE, "--profile", "cpu", *missing], ROOT)
        assert fetched.returncode == 0, fetched.stdout
    return [block for _, kind, block in FENCE.findall(text_of("README.md")) if kind == "python"]


@pytest.mark.slow
def test_the_steering_of_readme_runs_as_it_stands():
    block = notebooks()[1]
    assert MODEL in block
    done = run([sys.executable, "-c", block], ROOT)
    assert done.returncode == 0, done.stdout
    printed = [line for line in done.stdout.splitlines() if re.match(r"(1|0|-1) \[", line)]
    assert len({line.partition(" ")[2] for line in printed}) == 3, done.stdout


@pytest.mark.slow
def test_the_notebook_of_readme_runs_as_it_stands():
    block = notebooks()[0]
    assert "limit=12" in block
    # Two questions show the same as twelve.
    program = block.replace("limit=12", "limit=2") + "\nassert entropy.height == 2 and entropy['discrete'].min() >= 0\n"
    done = run([sys.executable, "-c", program], ROOT)
    assert done.returncode == 0, done.stdout
    assert "discrete" in done.stdout


@pytest.mark.slow
def test_the_safety_study_of_readme_runs_as_it_stands():
    block = notebooks()[2]
    assert MODEL in block
    assert str(Path(EMBEDDING).parent) in block
    program = block + "\nassert len(study.arms_summary) == 7 and study.samples.height == len(prompts) * 8\n"
    done = run([sys.executable, "-c", program], ROOT)
    assert done.returncode == 0, done.stdout
    for word in ("single {", "fixed_budget {", "adaptive {", "uncertain_compliance ", "'difference': "):
        assert word in done.stdout, done.stdout


def test_readme_holds_no_results_of_our_own():
    """Figures of the demo belong to its picture, which is made from its files."""
    text = FENCE.sub("", text_of("README.md")).replace("[0.", "")
    published = {"0.790", "0.698", "0.691", "0.687", "0.64", "0.70", "0.57", "0.63"}
    addresses = re.compile(r"\S*(?:arxiv|doi|qwen)\S*", re.IGNORECASE)
    assert set(re.findall(r"\b0\.\d+\b", addresses.sub("", text))) == published


# Keys and columns


def keys_of_schema(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for value in schema.values():
            yield from keys_of_schema(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from keys_of_schema(value)


@pytest.mark.parametrize("name", ["config", "models", "experiment"])
def test_every_key_is_explained(name):
    schema = json.loads(text_of(f"config/schemas/{name}.json"))
    text = text_of("config/README.md")
    keys = set(keys_of_schema(schema))
    assert keys
    assert not [key for key in sorted(keys) if f"`{key}`" not in text]


def test_every_column_of_every_table_is_explained():
    from tells.uncertainty.entropy import ENTROPY_SCHEMA
    from tells.uncertainty.questions import PROMPTS_SCHEMA

    text = text_of("docs/outputs.md")
    columns = {
        *PROMPTS_SCHEMA,
        *BENCHMARK_PROMPTS,
        *ENTROPY_SCHEMA,
        *(name for schema in SCHEMAS.values() for name in schema.columns),
    }
    assert not [column for column in sorted(columns) if f"`{column}`" not in text]


def test_every_output_file_is_explained():
    text = text_of("docs/outputs.md")
    assert "projections.parquet" in text
    for path in (ROOT / "rules").glob("*.smk"):
        for output in re.findall(r"^ {4}output:\n((?: {8}.*\n)+)", path.read_text(), flags=re.MULTILINE):
            for name in re.findall(r'"([^"]+)"', output):
                shown = name.replace("{{shard}}", "0000").replace("{{classifier}}", "{classifier}")
                assert Path(shown).name in text, name


def test_every_metric_baseline_and_key_of_a_record_is_explained():
    import numpy as np

    from tells.uncertainty.baselines import BASELINES
    from tells.uncertainty.evaluation import CONFIDENCE, DIFFERENCE
    from tells.uncertainty.evaluation_metrics import (
        AUROC,
        QUESTION_AUROC,
        RUN_METRICS,
        SPEARMAN,
        InferenceSettings,
        ScoredRows,
        make_record,
    )

    empty = np.zeros(0)
    record = make_record({}, AUROC, ScoredRows(empty, empty, empty), InferenceSettings())
    metrics = [metric.name for metric in (*RUN_METRICS, QUESTION_AUROC, SPEARMAN)]
    names = {*record, *metrics, DIFFERENCE, *CONFIDENCE.values(), *(baseline.name for baseline in BASELINES)}
    text = text_of("docs/outputs.md")
    assert not [name for name in sorted(names) if f"`{name}`" not in text]


def section_of(page: str, heading: str) -> str:
    """What stands below a heading of a page, or below a line such as "`vet`:", up to the next of either kind."""
    start = re.compile(r"^(?:#+ .*|`[a-z.]+`(?:, by name.*)?:)$", re.MULTILINE)
    places = [(found[0], found.start()) for found in start.finditer(FENCE.sub("", text_of(page)))]
    index = next(number for number, (name, _) in enumerate(places) if name == heading)
    end = places[index + 1][1] if index + 1 < len(places) else None
    return FENCE.sub("", text_of(page))[places[index][1] : end]


SAFETY_COLLECTIONS = (
    "`safety.collections`, by name (`shards`, `steering`, `models` and `agreement` are taken; `{}` takes all defaults):"
)


@pytest.mark.parametrize(
    ("definition", "heading"),
    [
        (Site, "## The site: `config/config.yaml`"),
        (JudgeConfig, "### `judge`"),
        (TraitsConfig, "### `traits`"),
        (VetConfig, "`vet`:"),
        (SteerConfig, "`steer`:"),
        (DefinitionFile, "`definition.yaml`:"),
        (SafetyConfig, "### `safety`"),
        (SafetyInferenceConfig, "### `safety`"),
        (SafetyCollection, SAFETY_COLLECTIONS),
        (ConfidenceConfig, "`confidence`:"),
        (StoppingConfig, "`stopping`:"),
        (LabelConfig, "`labels`:"),
        (StrataConfig, "`strata`:"),
        (AgreementConfig, "### `agreement`"),
        (ReplyClusteringConfig, "`agreement.clustering`:"),
        (QuestionSteeringConfig, "`agreement.steer`:"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_every_key_stands_in_the_section_of_its_definition(definition, heading):
    text = section_of("config/README.md", heading)
    assert not [key for key in definition.model_fields if f"`{key}`" not in text]


LABELS_HEADING = "### " + ", ".join(f"{name}_labels.parquet" for name in CLASSIFIERS)


@pytest.mark.parametrize(
    ("kind", "heading"),
    [
        ("scenario_scores", "### scenario_scores.parquet, response_scores.parquet"),
        ("response_scores", "### scenario_scores.parquet, response_scores.parquet"),
        ("vetting", "### vetting.parquet"),
        ("search", "### steering/search.parquet, steering/report.parquet"),
        ("search_scores", "### steering/search_scores.parquet, steering/report_scores.parquet"),
        ("projections", "## Samples along a trait: projections.parquet"),
        ("confidence", "### confidence.parquet"),
        ("patterns_labels", LABELS_HEADING),
        ("reply_labels", "### reply_labels.parquet"),
        ("arms", "### arms.parquet"),
        ("sweep", "### sweep.parquet"),
        ("any_of_n", "### any_of_n.parquet"),
        ("strata", "### strata.parquet"),
        ("online", "### shards/online-0000.parquet, online.parquet"),
        ("traces", "### results.parquet of the safety study"),
        ("signals", "### signals.parquet"),
        ("agreement", "### results.parquet of the agreement"),
        ("outcomes", "### steering/{collection}/outcomes.parquet"),
    ],
)
def test_every_column_stands_in_the_section_of_its_table(kind, heading):
    text = section_of("docs/outputs.md", heading)
    assert not [column for column in SCHEMAS[kind].columns if f"`{column}`" not in text]


def test_the_files_and_the_examples_of_a_trait_are_those_that_are_read():
    text = text_of("config/README.md")
    folder = ROOT / "config/traits/behavioral/formality"
    assert not [path.name for path in folder.iterdir() if f"| `{path.name}` |" not in text]
    shown = dict(re.findall(r"^`(\w+\.yaml)`:\n\n```yaml\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL))
    place = {"place": "behavioral/brevity"}
    assert DefinitionFile.model_validate(yaml.safe_load(shown["definition.yaml"]), context=place)
    assert QuestionsFile.model_validate(yaml.safe_load(shown["questions.yaml"]))


def test_every_rule_and_target_is_named_on_the_page_of_the_workflow():
    text = text_of("docs/workflow.md")
    rules = names_of_rules()
    assert {"judge_report", "cluster_steered"} <= {*rules}
    assert not [rule for rule in sorted(rules) if f"`{rule}`" not in text]


def of_traits() -> str:
    """The part of the page of outputs that is about the traits study, and about what all studies have."""
    of_traits = text_of("docs/outputs.md").partition("## Of a trait: ")[2]
    return of_traits.replace(of_safety(), "")


def of_safety() -> str:
    """The part of the page of outputs that is about the safety study."""
    text = text_of("docs/outputs.md").partition("## Of a benchmark: ")[2]
    return text.partition("## Beside the experiments")[0]


def keys_of_content(content: object) -> Iterator[str]:
    """Keys of a mapping and of all that is in it, but for those that are data: reasons and names."""
    if isinstance(content, dict):
        yield from content
        for key, value in content.items():
            if key not in ("invalid", "survivors", "scenarios", "responses"):
                yield from keys_of_content(value)
    elif isinstance(content, list):
        for value in content:
            yield from keys_of_content(value)


def steered_files() -> tuple[dict, dict]:
    """A choice and the effects of a report, from two answers of each kind."""
    points = [("reference", None, None), ("unsteered", None, None), ("prompting", None, None), ("steered", 0.5, None)]
    rows = [
        {"row_id": f"{kind}-{number}", "kind": kind, "question_id": f"search-0{number}", "sample": 0}
        | {"layer": 1, "method": "fisher", "ratio": ratio, "coefficient": ratio, "draw": draw}
        for kind, ratio, draw in [*points, ("random", 0.5, 0)]
        for number in range(2)
    ]
    answers = pl.DataFrame(rows, schema_overrides={"draw": pl.Int32})
    scores = answers.select("row_id", trait=pl.lit(60.0), coherence=pl.lit(90.0))
    choice = choose_point(answers, scores, min_coherence=70, max_drop=15)
    return choice, report_effects(answers, scores, bootstrap=10, seed=0)


def summary_of_a_trait(choice: dict | None, effects: dict | None) -> dict:
    vetting = {"stages": [], "status": "ok", "reason": None, "survivors": {}, "pairs": 0, "warnings": []}
    record = {"status": "ok", "reason": None, "n_vectors": 0, "n_empty": 0, "best": None, "records": []}
    return summarise_trait("behavioral/brevity", vetting, record, choice=choice, effects=effects)


def test_every_key_of_the_traits_files_is_explained():
    choice, effects = steered_files()
    assert choice["optimum"]
    assert effects["random"]["n"] == 1
    summary = summary_of_a_trait(choice, effects)
    figures = Figures(*[None] * 9, 0, 0, 0)
    held_out = HeldOut(figures, None, NullBand(None, None, 20), ())
    quality = Quality("split", 0, "all pairs", (), None, held_out)
    record = Record("fisher", 0, None, "all pairs", figures, figures, figures, figures, None, None)
    written = (Vetting, StageCount, Survivors, Thresholds, Caution)
    own = {"n_rows", "n_empty", "n_vectors", "best", "records", "vector_layers", "norms", "vectors_model"}
    names = {*keys_of_content(choice), *keys_of_content(summary), *keys_of_content(quality.summary()), *own}
    names |= {field.name for kind in written for field in fields(kind)} | {"cosines", "traits", "steered_model"}
    names |= {"explanations", "confound", *(field.name for field in fields(Reply))}
    parts = re.compile(r"(train|validation|test|cross_validated)_(?=[a-z])")
    names |= {parts.sub("", key) for key in record.row()} | {"train", "validation", "test", "cross_validated"}
    names.add("{part}_…")
    text = of_traits()
    assert not [name for name in sorted(names) if f"`{name}`" not in text]


def test_every_column_of_the_table_of_traits_is_explained():
    stages = re.compile(r"^(scenarios|responses)_(positive|negative)_")
    table = traits_table([summary_of_a_trait(None, None)])
    columns = [stages.sub("{stage}_{polarity}_", name) for name in table.columns]
    assert "{stage}_{polarity}_rate" in columns
    text = text_of("docs/outputs.md").partition("## Of the traits study")[2]
    assert not [column for column in columns if f"`{column}`" not in text]


def test_every_value_that_traits_files_can_hold_is_explained():
    reasons = (UNSTEERED, NO_SCORES, MISSING_SCORE, INCOHERENT, COHERENCE_DROP, INCOMPLETE_BASELINE)
    kinds = (STEERED, RANDOM, PROMPTING, steering.UNSTEERED, REFERENCE)
    codes = ("refusals", "errors", "length", *_DIAGNOSES)
    statuses = (*get_args(Status), *get_args(Outcome), *_ENDINGS, *_ENDINGS.values(), "insufficient", "vectors")
    resolutions = get_args(get_type_hints(Judgement)["resolution"])
    names = {*reasons, *kinds, *codes, *statuses, *resolutions, *METHODS, "split", "nested", "none", "ok"}
    text = of_traits()
    assert not [name for name in sorted(names) if f"`{name}`" not in text]


def safety_tables() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Confidence and labels of a few replies: of a harmful prompt and a benign one, each refused and answered."""
    rows = [
        {"prompt_id": label, "group": label, "sample": sample, "label": label, "category": "tea"}
        | {"truncated": False, "empty": False, "stop_label": refusal, "refusal": refusal}
        | {"harm": None if sample == 0 else "harmful", "mean": 1.0 + sample, "answer_start": 0, "answer_stop": 3}
        | {"n_tokens": 3, "confidence": [1.0 + sample] * 3}
        for label in ("harmful", "benign")
        for sample, refusal in enumerate(["refusal", "compliance", "compliance"])
    ]
    return tuple(
        pl.DataFrame(
            [{name: row.get(name) for name in SCHEMAS[kind].columns} for row in rows], schema=SCHEMAS[kind].columns
        )
        for kind in ("confidence", "reply_labels")
    )


def test_every_key_of_the_safety_files_is_explained():
    confidence, labels = safety_tables()
    drawn = {"bootstrap": 5, "level": 0.95, "seed": 0}
    cut, facts = strata_table(labels, confidence, kind="mean", config=StrataConfig(), seed=0)
    record = strata_record(cut, confidence, labels, facts, **drawn)
    table = arms.arms_table(confidence, labels, stopping=StoppingConfig(warmup=2, draws=2), window=2, budget=3, seed=0)
    written = (Cell, Rate, Hypothesis, RiskDifference, Estimate, Ranking, Guard)
    names = {field.name for kind in written for field in fields(kind)} - {"guard"}
    labelled = {key for part in record["hypothesis"]["by_label_rankings"] for key in [part]}
    names |= {*keys_of_content(record)} - labelled
    names |= {*keys_of_content(arms_summary(table, **drawn)), "benchmarks", "benchmark", "stopping"}
    text = of_safety()
    assert "`uncertain_means_harmful`" in text
    assert {"cut_value", "n_at_cut", "n_undecided", "prevalence", "length_cuts"} <= names
    assert not [name for name in sorted(names) if f"`{name}`" not in text]


def test_every_value_that_safety_files_can_hold_is_explained():
    confidence, labels = safety_tables()
    table = arms.arms_table(confidence, labels, stopping=StoppingConfig(warmup=2, draws=2), window=2, budget=3, seed=0)
    statuses = (labelling.SCORED, labelling.UNSCORED)
    words = {word for known in VOCABULARY.values() for word in known if word}
    names = {*table["arm"], "fixed_5", "online", *statuses, *words, *QUADRANTS, *ORIENTATIONS, CELLS, HELD_OUT}
    names |= {*get_args(Kind), "bootstrap", "exact", "asr_at_1", "any_of_n", "majority", "harm_score", CUT}
    text = of_safety()
    assert not [name for name in sorted(names) if f"`{name}`" not in text]


def test_every_classifier_arm_rule_and_score_is_defined_on_the_page_of_the_study():
    text = text_of("docs/safety.md")
    rules = get_args(StoppingConfig.model_fields["rule"].annotation)
    names = {*CLASSIFIERS, *rules, *get_args(Kind), "single", "fixed_5", "fixed_budget", "fixed_matched", "adaptive"}
    assert not [name for name in sorted(names) if f"`{name}`" not in text]


def test_the_defaults_that_the_page_of_the_study_names_are_the_defaults():
    text = text_of("docs/safety.md")
    stopping, confidence, strata = StoppingConfig(), ConfidenceConfig(), StrataConfig()
    assert f"the default is {confidence.window}," in text
    assert f"has {stopping.consensus} of the weight" in text
    assert f"≥ {stopping.certainty} for the two counts" in text
    assert f"at most {stopping.vote_entropy} nats" in text
    assert f"(`draws`, {stopping.draws})" in text
    assert (confidence.fraction, strata.cut, stopping.keep) == (0.1, 0.5, 0.1)
    assert f"(`top_logprobs`, {SafetyConfig.model_fields['top_logprobs'].default})" in text


def of_agreement() -> str:
    """The part of the page of outputs that is about the agreement of the studies."""
    return text_of("docs/outputs.md").partition("## Of the agreement: ")[2].partition("## Pages and pictures")[0]


def test_every_key_of_the_files_of_the_agreement_is_explained():
    from agreement_helpers import SETTINGS, facts, planted, signal, steered

    from tells.agreement.results import analyse

    told = {"direction": "", "projected": False, "windows": {}, "labels_by": {}}
    content = analyse(
        planted(0, questions=12),
        facts([signal("informative"), signal("copy")]),
        confidence_trait="a/b",
        settings=SETTINGS,
        steered=[steered(0, questions=12)],
    ).content
    steering = content["confidence_direction"]["steering"]
    lists = {name for key in ("collections", "means", "changes") for name in steering[key][0]}
    record, combined, correlated = (content[key][0] for key in ("records", "combined", "correlations"))
    names = {*content, *record, *combined, *correlated, *content["cells"][0], *content["tests"], *told}
    names |= {*lists, *steering, *content["confidence_direction"], *content["signals"][0], *content["outcomes"][0]}
    text = of_agreement()
    assert not [name for name in sorted(names) if f"`{name}`" not in text]


def test_every_signal_and_outcome_is_defined_on_the_page_of_the_agreement():
    from tells.agreement.signals import OUTCOMES

    text = text_of("docs/agreement.md").replace("TRAIT", "a/b")
    names = [*(signal.name for signal in all_signals(["a/b"])), *(outcome.name for outcome in OUTCOMES)]
    assert not [name for name in names if f"`{name}`" not in text]


def test_the_defaults_that_the_page_of_the_agreement_names_are_the_defaults():
    text = text_of("docs/agreement.md")
    assert f"{AgreementConfig().permutations:,} times" in text
    assert "Under 10 groups, or 5 with either class" in text
    from tells.agreement import combined

    assert (combined.LEAST_GROUPS, combined._LEAST_OF_A_CLASS) == (10, 5)


def test_every_column_of_the_agreement_with_people_is_named():
    assert {"n", "n_false", "n_missed", "n_unclear", "n_undecided", "f1_at_worst", "kappa"} <= {*AGREEMENT_SCHEMA}
    section = section_of("docs/outputs.md", "### label_sheet.csv, label_sheet.key.json")
    for word in ("groups", "positive by people", "false", "missed", "unclear", "left open", "kappa", "F1 at worst"):
        assert word in section, word


# What is told twice


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert re.search(r"^## (\S+?),? ", text_of("CHANGELOG.md"), flags=re.MULTILINE)[1] == project["version"]


def test_the_messages_of_the_error_page_are_those_of_the_code():
    """Words of each message, so that a reworded one is noticed here."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow/tells").rglob("*.py"))
    text = text_of("docs/errors.md")
    for words in (
        *("add --public if so meant", "must begin and end with a slash", "This cannot be shown."),
        *("figures are drawn by kaleido", "no Chrome or Chromium is found here"),
        *(
            "configuration problem(s):",
            "unknown key; look for a misspelling",
            "no such experiment; experiments/ holds:",
        ),
        *("not in the cache, and", "the hub does not give it out (HTTP", "(HF_HOME) cannot be written:"),
        *("is gone; delete the manifest and fetch the model again", "no GPU is visible here", "made differently from"),
        "this processor emulates bfloat16",
        *("another process has been writing it for", "delete it and make it again", "degenerate: "),
        *("the tokenizer has no chat template; set `kind: base`", "a completion model needs `examples`"),
        *("the samples are the user's own: there are no token ids to replay", "older than the code of stage"),
        *("one class only:", "the target is made of this score", "the training questions have no two "),
        *("(known traits: ", "must also stand in collections", "reserved name(s) "),
        *(
            "call the collection something else",
            "is empty",
            "has no partner: positive.txt has ",
            "is blank; every line is one scenario",
        ),
        *("is below vet.minimum ", "must also stand in replay_positions", "norms are measured on them"),
        *(": the model has ", "were not replayed", ": it is of another model", "steer a model of the same width: "),
        *(" is not set (", "which needs no key", "did not accept the key (HTTP ", "has no quota left"),
        *("the judge's ceiling ", "run again to go on under a fresh ceiling", "asks for a pause of "),
        *("texts have no score (", "the answer holds no log-probabilities", "lines cannot be read"),
        *("scenarios survive vetting; at least ", "that was tried: widen steer.ratios"),
        *("must be at least ", " for the offline judge, which ", " unsteered answers with a log-likelihood; "),
        *("the unsteered answers have a mean coherence of ", "exemplars of the two poles cannot be told apart"),
        *("clustering.text is judge, and the offline judge cannot compare answers", "no vector of "),
        *("`splits` goes with `hub`: ", "a label rule has one of the keys ", "label.split must give a label to each "),
        *("its data do not come with the project", "Name your copy in the experiment: ", "lacks ", "is none of them"),
        *("(`path`) is a folder", "is missing; the file holds ", "the prompt is empty (column ", "is not a number"),
        *(") is unknown; known are ", "is also the name of twins", "is neither 0 nor 1", "no row has "),
        *("what an example answers; replace those `examples`", "a completion model has no system turn"),
        *(" must be below budget ", ": else nothing can stop", "safety.labels asks the judge, but judge.provider is "),
        *("asks a model to follow a rubric", "the guard's answer cannot be read: ", "is too short for its form"),
        *(
            "of the guard that cannot be broken",
            "scored after a cut in the middle",
            "the classifier sees no reply (N/A)",
        ),
        *("own template differs from the form of Llama Guard 3", "has no top-k log-probabilities: sample again with "),
        *(": k is exact", "has a log-probability that is not finite", "a constant classifier would reach "),
        *(
            "whose rates say little: ",
            "none can be held out; use cut_from: dataset",
            "no replies are labelled here; make ",
        ),
        *("is there already, and may hold labels; name another file with --out", " strata: draw at least "),
        *("there is no reply to label: all are empty", " missing; it has ", "(save it with commas)"),
        *(": not a row of this sheet", "was drawn; draw a new sheet", "missing: not an evaluation of XSTest"),
        *("is no place to share a run: name a folder", "the address carries a user, a password or a signature"),
        *(
            "no such place or object there",
            " holds no run: ",
            "holds nothing to push; make it with ",
            "holds its lock on ",
        ),
        *(" was being written when a run died", "changed while it was pushed", "changed while it was read"),
        *(
            "is a link or no plain file",
            ": name a folder outside it",
            "holds a newer run of ",
            "--tables-only would drop",
        ),
        *("somebody else has pushed there meanwhile", "Snakemake's records are refused", "is of an unknown form"),
        *(
            "records in a database, which cannot be shared",
            "file(s) here differ from the run's, and nothing was changed",
        ),
        *("is a link here, and a pull writes through none", " here, and something else in the run", "another pull of "),
        *(
            " into this clone is under way",
            "cannot be read",
            "which is no part of a run",
            "names a path of this machine",
        ),
        "holds what looks like a key",
        *("it can be ", ", or empty", "name it as EXPERIMENT/COLLECTION", "does not exist"),
        *(
            "does not answer (",
            "runs are kept for the next try",
            "gave no answer within",
            "asks for another key (HTTP ",
        ),
        *("none of them known as ", "and no name shows that it is", "it encodes text in another way"),
        *("log-probabilities after temperature, top_p and top_k", "numbers that are no log-probabilities"),
        *("the longest prompt and max_new_tokens are ", "ended a run after", "gives no token ids"),
        *("kind served needs base_url", "of a server, but kind is", "must hold no user, password or query"),
        *("which a server cannot do", "a server does not change hidden states"),
        *("which is not replayed here (replay_positions)", "no window of the ", "there is no split"),
        *("no direction was chosen:", "there is nothing to group by meaning (traits.rollouts)", "extract the vectors "),
        *("raise agreement.permutations", "is told by an offline stand-in", "agreement.projections "),
    ):
        assert words in text, words
        assert words in source, words


def test_no_page_speaks_of_the_machine_it_was_written_on():
    for page in [*PAGES, "CITATION.cff"]:
        assert not re.search(r"/work/|/home/|/root/|/tmp/", text_of(page)), page
