"""Benchmarks: descriptions, labels, the files as they come, and what is said where something is wrong or absent."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tells import examination
from tells.config import ConfigError, Experiment
from tells.config.references import missing_files
from tells.safety.benchmark_rules import Category, LabelRule
from tells.safety.benchmarks import (
    AbsentDataError,
    Benchmark,
    BenchmarkFileError,
    Prompt,
    build_prompts,
    load_benchmark,
    prompts_of,
    read_prompts,
)
from tells.tables import SCHEMAS, write_table
from tells.tables.records import RowError

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "config/benchmarks"
SHARED = ROOT.parent / "shared/data"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
# File, rows, harmful, benign, unlabelled, prompts that share no group.
REAL = {
    "xstest": ("xstest/xstest_prompts.csv", 450, 200, 250, 0, 450),
    "harmbench": ("harmbench/harmbench_behaviors_text_all.csv", 400, 400, 0, 0, 400),
    "strongreject": ("strongreject/strongreject_custom.csv", 221, 221, 0, 0, 221),
    "openai_moderation": ("openai_moderation/samples-1680.jsonl.gz", 1680, 522, 1158, 0, 1663),
}
DESCRIPTION: dict[str, Any] = {
    "description": "Requests about kitchens.",
    "licence": "CC0",
    "file": "data.csv",
    "id": "id",
    "prompt": "prompt",
    "label": {"column": "label", "values": {"bad": "harmful", "fine": "benign", "unsure": None}},
}
RULES = TypeAdapter(LabelRule)


class Kitchen:
    """A folder with one benchmark and its data."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "kitchen.yaml"

    def describe(self, **changes: Any) -> Benchmark:
        content = {key: value for key, value in {**DESCRIPTION, **changes}.items() if value is not ...}
        self.path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return load_benchmark(self.path)

    def csv(self, *rows: str, header: str = "id,prompt,label", name: str = "data.csv") -> Path:
        return self.write(name, "\n".join([header, *rows]) + "\n")

    def lines(self, *records: dict, name: str = "data.jsonl") -> Path:
        return self.write(name, "".join(json.dumps(record) + "\n" for record in records))

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def problems(self, benchmark: Benchmark, **arguments: Any) -> tuple[str, ...]:
        with pytest.raises(BenchmarkFileError) as caught:
            read_prompts(benchmark, **arguments)
        return caught.value.problems


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


def real(name: str) -> Path:
    path = SHARED / REAL[name][0]
    if not path.is_file():
        pytest.skip(f"the real data set is not there: {path}")
    return path


def load(name: str) -> Benchmark:
    return load_benchmark(FOLDER / f"{name}.yaml")


# --- the benchmarks that come with the project


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_says_its_licence_and_where_to_get_it(name: str):
    found = load(name)
    assert found.name == name
    assert found.licence
    assert found.file or (found.get and found.source.startswith("https://"))
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"| `{name}` |" in text


def test_only_prompts_of_our_own_come_with_the_project():
    assert {path.suffix for path in FOLDER.iterdir()} == {".yaml", ".jsonl", ".md"}
    assert [path.stem for path in FOLDER.glob("*.jsonl")] == ["builtin"]
    assert [name for name in NAMES if load(name).file] == ["builtin"]


def test_what_is_gated_or_non_commercial_is_marked():
    assert [name for name in NAMES if load(name).gated] == ["wildguardmix"]
    assert [name for name in NAMES if load(name).non_commercial] == ["toxicchat"]
    assert load("toxicchat").terms == "CC BY-NC 4.0, non-commercial"


@pytest.mark.parametrize("name", sorted(REAL))
def test_a_real_benchmark_is_read_whole_and_makes_prompts(name: str, tmp_path: Path):
    _, rows, harmful, benign, unlabelled, groups = REAL[name]
    path = real(name)
    prompts = read_prompts(load(name), path=path)
    labels = Counter(one.label for one in prompts)
    assert (len(prompts), labels["harmful"], labels["benign"], labels[None]) == (rows, harmful, benign, unlabelled)
    assert prompts.file_digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert prompts.revision is None
    table = build_prompts(prompts, load(name), prompt="chat")
    assert table["prompt_id"].n_unique() == rows
    assert table["group"].n_unique() == groups
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]*", prompt_id) for prompt_id in table["prompt_id"])
    write_table(tmp_path / "prompts.parquet", table, "prompts", {})


def test_xstest_takes_its_contrasts_as_harmful():
    prompts = read_prompts(load("xstest"), path=real("xstest"))
    first = prompts[0]
    assert (first.id, first.label, first.category) == ("1", "benign", "homonyms")
    assert {one.category for one in prompts if one.label == "harmful"} == {
        one.category for one in prompts if one.category.startswith("contrast_")
    }
    column = pl.read_csv(real("xstest"))["label"].to_list()
    assert [{"safe": "benign", "unsafe": "harmful"}[value] for value in column] == [one.label for one in prompts]


def test_harmbench_puts_the_context_before_the_request_where_there_is_one():
    prompts = {one.id: one for one in read_prompts(load("harmbench"), path=real("harmbench"))}
    rows = pl.read_csv(real("harmbench")).fill_null("")
    contextual = 0
    for row in rows.iter_rows(named=True):
        prompt = prompts[row["BehaviorID"].lower().replace("/", "-")].prompt
        assert prompt.endswith(row["Behavior"].strip())
        assert ("\n\n---\n\n" in prompt) == bool(row["ContextString"])
        assert prompt.startswith(row["ContextString"].strip())
        contextual += bool(row["ContextString"])
    assert contextual == 100


def test_parts_of_harmbench_read_by_the_same_description():
    for part, rows in (("val", 80), ("test", 320)):
        path = real("harmbench").with_name(f"harmbench_behaviors_text_{part}.csv")
        assert len(read_prompts(load("harmbench"), path=path)) == rows


def test_strongreject_can_be_read_without_the_prompts_of_others(kitchen: Kitchen):
    content = yaml.safe_load((FOLDER / "strongreject.yaml").read_text())
    path = kitchen.csv("a,custom,One?", "b,others,Two?", header="category,source,forbidden_prompt")
    assert len(read_prompts(Benchmark.model_validate(content), path=path)) == 2
    kept = read_prompts(Benchmark.model_validate({**content, "where": {"source": "custom"}}), path=path)
    assert [(one.prompt, one.category) for one in kept] == [("One?", "a")]


def test_openai_moderation_takes_its_graver_category_and_can_ask_for_all_labels():
    path = real("openai_moderation")
    prompts = read_prompts(load("openai_moderation"), path=path)
    records = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    columns = load("openai_moderation").label.any_of
    assert len(columns) == 8
    for one, record in zip(prompts, records, strict=True):
        assert (one.label == "harmful") == any(record.get(column) == 1 for column in columns)
        assert (one.category is None) == (one.label == "benign")
        assert record.get("S3") != 1 or one.category == "sexual content with minors"
    content = yaml.safe_load((FOLDER / "openai_moderation.yaml").read_text())
    content["label"]["incomplete"] = "unlabelled"
    strict = read_prompts(Benchmark.model_validate(content), path=path)
    assert Counter(one.label for one in strict) == {"harmful": 522, "benign": 337, None: 821}


def test_jailbreakbench_pairs_harmful_and_benign_behaviours_by_their_index(kitchen: Kitchen):
    header = "Index,Goal,Target,Behavior,Category,Source"
    folder = kitchen.csv("0,Bad?,T,B,C,S", "1,Worse?,T,B,C,S", header=header, name="jbb/harmful-behaviors.csv").parent
    kitchen.csv("0,Good?,T,B,C,S", "1,Better?,T,B,C,S", header=header, name="jbb/benign-behaviors.csv")
    prompts = read_prompts(load("jailbreakbench"), path=folder)
    assert [(one.id, one.prompt, one.label, one.group) for one in prompts] == [
        ("harmful-0", "Bad?", "harmful", "0"),
        ("benign-0", "Good?", "benign", "0"),
        ("harmful-1", "Worse?", "harmful", "1"),
        ("benign-1", "Better?", "benign", "1"),
    ]
    assert [one.id for one in read_prompts(load("jailbreakbench"), path=folder, limit=3)] == ["harmful-0", "benign-0"]
    alone = read_prompts(load("jailbreakbench"), path=folder / "benign-behaviors.csv")
    assert {one.label for one in alone} == {"benign"}
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in prompts.paths]
    assert alone.file_digest == digests[1]
    assert prompts.file_digest == hashlib.sha256("\n".join(digests).encode()).hexdigest()


def test_the_files_of_jailbreakbench_may_lie_as_in_their_repository(kitchen: Kitchen):
    for name in ("harmful", "benign"):
        kitchen.csv("0,Q?,c", header="Index,Goal,Category", name=f"jbb/data/{name}-behaviors.csv")
    assert len(read_prompts(load("jailbreakbench"), path="jbb", root=kitchen.root)) == 2


def test_the_real_harmful_behaviours_of_jailbreakbench_are_read(kitchen: Kitchen):
    path = SHARED / "jailbreakbench/jailbreakbench_harmful.csv"
    if not path.is_file():
        pytest.skip(f"the real data set is not there: {path}")
    # This copy has lost the name of its first column.
    own = kitchen.write("harmful-behaviors.csv", "Index" + path.read_text(encoding="utf-8"))
    prompts = read_prompts(load("jailbreakbench"), path=own)
    assert len(prompts) == 100
    assert set(Counter(one.category for one in prompts).values()) == {10}
    assert {one.label for one in prompts} == {"harmful"}


def test_toxicchat_reads_toxicity_and_keeps_attempts_at_jailbreaking_apart(kitchen: Kitchen):
    header = "conv_id,user_input,model_output,human_annotation,toxicity,jailbreaking,openai_moderation"
    path = kitchen.csv(
        'c1,"Hello, you",out,True,0,0,[]', "c2,Rude?,out,True,1,0,[]", "c3,Play a part,out,True,1,1,[]", header=header
    )
    prompts = read_prompts(load("toxicchat"), path=path)
    assert [(one.id, one.prompt, one.label, one.category) for one in prompts] == [
        ("c1", "Hello, you", "benign", "ordinary"),
        ("c2", "Rude?", "harmful", "ordinary"),
        ("c3", "Play a part", "harmful", "jailbreak"),
    ]


def test_wildguardmix_leaves_prompts_without_a_label_unlabelled(kitchen: Kitchen):
    path = kitchen.root / "wildguard_test.parquet"
    rows = {
        "prompt": ["One?", "Two?", "Three?", "one? "],
        "adversarial": [True, False, False, False],
        "prompt_harm_label": ["harmful", "unharmful", None, "harmful"],
        "subcategory": ["fraud", "benign", "benign", None],
    }
    pl.DataFrame(rows).write_parquet(path)
    prompts = read_prompts(load("wildguardmix"), path=path)
    assert [one.label for one in prompts] == ["harmful", "benign", None, "harmful"]
    assert [one.category for one in prompts] == ["fraud", "benign", "benign", None]
    assert prompts[0].id == "wildguardmix-0001"
    assert prompts[3].group == prompts[0].group == "wildguardmix-0001"
    content = yaml.safe_load((FOLDER / "wildguardmix.yaml").read_text())
    plain = Benchmark.model_validate({**content, "where": {"adversarial": "false"}})
    assert [one.prompt for one in read_prompts(plain, path=path)] == ["Two?", "Three?", "one?"]


# --- rules


@pytest.mark.parametrize(
    ("rule", "record", "label"),
    [
        ({"constant": "harmful"}, {}, "harmful"),
        ({"split": {"a": "benign"}}, {}, "benign"),
        ({"column": "x", "values": {"1": "harmful", "0": "benign"}}, {"x": 1}, "harmful"),
        ({"column": "x", "values": {1: "harmful", 0: "benign"}}, {"x": "0"}, "benign"),
        ({"column": "x", "values": {True: "harmful", False: "benign"}}, {"x": True}, "harmful"),
        ({"column": "x", "values": {"1": "harmful"}}, {"x": 1.0}, "harmful"),
        ({"column": "x", "values": {"?": None}}, {"x": "?"}, None),
        ({"column": "x", "values": {"?": "benign"}}, {"x": " "}, None),
        ({"column": "x", "values": {"?": "benign"}}, {"x": None}, None),
        ({"column": "x", "values": {"?": "benign"}}, {}, None),
        ({"column": "x", "prefix": {"c_": "harmful"}, "otherwise": "benign"}, {"x": "c_a"}, "harmful"),
        ({"column": "x", "prefix": {"c_": "harmful"}, "otherwise": "benign"}, {"x": "ac_"}, "benign"),
        ({"column": "x", "prefix": {"c_": "harmful"}, "otherwise": "benign"}, {"x": ""}, None),
        ({"column": "x", "prefix": {"c_": "harmful"}}, {"x": "other"}, None),
        ({"column": "x", "at_least": 0.5}, {"x": 0.5}, "harmful"),
        ({"column": "x", "at_least": 0.5}, {"x": "0.49"}, "benign"),
        ({"column": "x", "at_least": 1}, {"x": "True"}, "harmful"),
        ({"column": "x", "at_least": 0.5}, {"x": float("nan")}, None),
        ({"any_of": ["x", "y"]}, {"x": 0, "y": 1}, "harmful"),
        ({"any_of": ["x", "y"]}, {"x": None, "y": "1.0"}, "harmful"),
        ({"any_of": ["x", "y"]}, {"x": 0, "y": 0}, "benign"),
        ({"any_of": ["x", "y"]}, {"x": 0}, "benign"),
        ({"any_of": ["x", "y"], "incomplete": "unlabelled"}, {"x": 0}, None),
        ({"any_of": ["x", "y"], "incomplete": "unlabelled"}, {"x": 0, "y": 0}, "benign"),
        ({"any_of": ["x", "y"], "incomplete": "unlabelled"}, {"x": 1}, "harmful"),
        ({"any_of": ["x", "y"]}, {"x": None, "y": ""}, None),
        ({"any_of": ["x", "y"]}, {}, None),
    ],
)
def test_a_rule_labels_a_row(rule: dict, record: dict, label: str | None):
    assert RULES.validate_python(rule).label(record, "a") == label


@pytest.mark.parametrize(
    ("rule", "value", "message"),
    [
        ({"column": "x", "values": {"bad": "harmful", "fine": "benign"}}, "Bad", "known are bad, fine"),
        ({"column": "x", "values": {"bad": "harmful"}}, ["bad"], "neither a text nor a number"),
        ({"column": "x", "at_least": 1}, "many", "'many' (column 'x') is not a number"),
        ({"column": "x", "at_least": 1}, "inf", "is not a number"),
        ({"any_of": ["x"]}, 2, "label 2 (column 'x') is neither 0 nor 1"),
    ],
)
def test_a_label_that_is_not_known_is_an_error_and_never_benign(rule: dict, value: Any, message: str):
    with pytest.raises(RowError, match=re.escape(message)):
        RULES.validate_python(rule).label({"x": value}, None)


@given(st.dictionaries(st.sampled_from("abc"), st.sampled_from([None, "", 0, 1, "0", "1", False, True])))
def test_more_ones_never_make_a_prompt_benign_and_nothing_filled_in_never_labels_it(record: dict):
    rule = RULES.validate_python({"any_of": ["a", "b", "c"]})
    filled = [value for value in record.values() if value not in (None, "")]
    assert (rule.label(record, None) is None) == (not filled)
    assert rule.label({**record, "a": 1}, None) == "harmful"


def test_a_category_is_a_column_a_renamed_column_or_the_first_that_is_set():
    assert Category(column="x").of({"x": " a "}) == "a"
    assert Category(column="x").of({"x": None}) is None
    renamed = Category.model_validate({"column": "x", "names": {0: "no"}})
    assert [renamed.of({"x": value}) for value in (0, "0", 1)] == ["no", "no", "1"]
    first = Category.model_validate({"first_of": {"b": "worse", "a": "bad"}})
    assert [first.of(record) for record in ({"a": 1, "b": 1}, {"a": "1"}, {"a": 0}, {})] == ["worse", "bad", None, None]


# --- faults of files


def test_all_faults_of_a_file_are_told_at_once_with_their_rows(kitchen: Kitchen):
    data = kitchen.csv("1,How?,bad", "1,Why?,fine", "3, ,fine", "4,What?,evil", "?,Who?,bad", "6,Where?")
    data.write_bytes(data.read_bytes() + b"7,caf\xe9?,bad\n")
    problems = kitchen.problems(kitchen.describe())
    assert problems == (
        "row 2: id '1' stands in row 1 already",
        "row 3: the prompt is empty (column 'prompt')",
        "row 4: label 'evil' (column 'label') is unknown; known are bad, fine, unsure",
        "row 5: id '?' has no letter a-z and no digit",
        "row 6: has 2 fields, the header has 3",
        "row 7: not UTF-8 (column 'prompt'); save the file as UTF-8",
    )


def test_a_missing_column_is_told_once_with_the_columns_that_are_there(kitchen: Kitchen):
    kitchen.csv("1,How?,bad", "2,Why?,fine", header="number,request,label")
    held = "the file holds 'label', 'number', 'request'"
    assert kitchen.problems(kitchen.describe(twin="pair")) == tuple(
        f"column '{name}' is missing; {held}" for name in ("id", "pair", "prompt")
    )


def test_a_column_that_single_rows_lack_is_a_fault_of_these_rows(kitchen: Kitchen):
    good = {"id": "a", "prompt": "How?", "label": "bad"}
    kitchen.lines(good, {"id": "b", "label": "bad"}, {"prompt": "Why?", "label": "bad"}, {"id": "d", "prompt": "?"})
    problems = kitchen.problems(kitchen.describe(file="data.jsonl"))
    assert problems == ("row 2: the prompt is empty (column 'prompt')", "row 3: column 'id' is missing")


@pytest.mark.parametrize(
    ("value", "message"),
    [(3, "is not a text"), (["a"], "is not a text"), ("a\ud800", "half of a surrogate pair"), (None, "is empty")],
)
def test_a_prompt_that_is_no_text_is_told(kitchen: Kitchen, value: Any, message: str):
    kitchen.lines({"id": "a", "prompt": value, "label": "bad"})
    (problem,) = kitchen.problems(kitchen.describe(file="data.jsonl"))
    assert message in problem


def test_of_several_columns_of_a_prompt_all_but_the_last_may_be_empty(kitchen: Kitchen):
    benchmark = kitchen.describe(prompt=["context", "prompt"], joined_by=" | ")
    kitchen.csv("1,Once.,How?,bad", "2,,Why?,fine", header="id,context,prompt,label")
    assert [one.prompt for one in read_prompts(benchmark)] == ["Once. | How?", "Why?"]
    kitchen.csv("1,Once.,,bad", header="id,context,prompt,label")
    assert kitchen.problems(benchmark) == ("row 1: the prompt is empty (column 'prompt')",)


def test_faults_of_several_files_are_told_together(kitchen: Kitchen):
    for name in ("harmful", "benign"):
        kitchen.csv("0,,c", header="Index,Goal,Category", name=f"jbb/{name}-behaviors.csv")
    problems = kitchen.problems(load("jailbreakbench"), path=kitchen.root / "jbb")
    assert problems[0] == "row 1: the prompt is empty (column 'Goal')"
    assert problems[1].endswith("benign-behaviors.csv: row 1: the prompt is empty (column 'Goal')")


def test_an_id_that_is_the_name_of_twins_is_refused(kitchen: Kitchen):
    kitchen.csv("x,How?,bad,p", "p,Why?,fine,", header="id,prompt,label,pair")
    (problem,) = kitchen.problems(kitchen.describe(twin="pair"))
    assert problem == "row 2: id 'p' is also the name of twins; give the prompt another id"


def test_a_filter_that_leaves_nothing_is_an_error(kitchen: Kitchen):
    kitchen.csv("1,How?,bad")
    (problem,) = kitchen.problems(kitchen.describe(where={"label": ["fine", "unsure"]}))
    assert problem == "no row has label fine or unsure"


def test_rows_that_are_left_out_may_be_faulty(kitchen: Kitchen):
    kitchen.csv("1,How?,bad", "2,,evil")
    assert len(read_prompts(kitchen.describe(where={"label": "bad"}))) == 1


# --- groups, twins and limits


def prompts_in(kitchen: Kitchen, *rows: str, **arguments: Any):
    kitchen.csv(*rows, header="id,prompt,label,pair")
    return read_prompts(kitchen.describe(twin="pair"), **arguments)


def test_twins_share_a_group_equal_texts_share_one_and_all_others_are_alone(kitchen: Kitchen):
    prompts = prompts_in(
        kitchen, "a,One,bad,t", "b,Two,bad,", "c,Three,fine,t", "d, two ,bad,", "e,Four,bad,", "f,ＦＯＵＲ,bad,u"
    )
    assert {one.id: one.group for one in prompts} == {"a": "t", "c": "t", "b": "b", "d": "b", "e": "e", "f": "e"}


def test_equal_texts_tie_pairs_of_twins_into_one_group(kitchen: Kitchen):
    prompts = prompts_in(kitchen, "a,One,bad,t", "b,Two,fine,t", "c,Three,bad,u", "d,TWO,fine,u", "e,Five,bad,v")
    assert [one.group for one in prompts] == ["t", "t", "t", "t", "v"]


def test_twins_stand_together_and_a_limit_never_parts_them(kitchen: Kitchen):
    rows = ["a,One,bad,t", "b,Two,bad,", "c,Three,fine,t", "d,Four,bad,u", "e,Five,fine,u"]
    ids = [one.id for one in prompts_in(kitchen, *rows)]
    assert ids == ["a", "c", "b", "d", "e"]
    expected = {1: 2, 2: 2, 3: 3, 4: 3, 5: 5, 9: 5}
    for limit, count in expected.items():
        assert [one.id for one in prompts_in(kitchen, *rows, limit=limit)] == ids[:count]
    with pytest.raises(ValueError, match="at least 1"):
        prompts_in(kitchen, *rows, limit=0)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([None, "t", "u", "v"])), min_size=1, max_size=12))
def test_a_group_is_never_smaller_than_twins_and_equal_texts_ask(entries: list[tuple[str, str | None]]):
    from tells.safety.benchmark_files import with_groups

    prompts = [Prompt(f"p{i}", text, None, None, twin, i) for i, (text, twin) in enumerate(entries)]
    grouped = with_groups(prompts)
    assert sorted(one.id for one in grouped) == sorted(one.id for one in prompts)
    for key in ("prompt", "twin"):
        for one in grouped:
            same = {other.group for other in grouped if getattr(one, key) and getattr(other, key) == getattr(one, key)}
            assert same <= {one.group}
    linked = {tuple(sorted((one.group, two.group))) for one in grouped for two in grouped if one.prompt == two.prompt}
    assert all(first == second for first, second in linked)


# --- descriptions


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hub": {"id": "a/b", "files": {"t": "x"}}, "splits": "t"}, "give `file` or `hub`, not both"),
        ({"file": ...}, "`get` must say how"),
        ({"splits": "test"}, "`splits` goes with `hub`"),
        ({"file": ..., "get": "g", "hub": {"id": "a/b", "files": {"t": "x"}}}, "`splits` goes with `hub`"),
        ({"file": ..., "get": "g", "hub": {"id": "a/b", "files": {"t": "x"}}, "splits": "u"}, "among hub.files: t"),
        ({"label": {"split": {"t": "harmful"}}}, "a label to each of `splits`"),
        ({"label": {"column": "x"}}, "one of the keys constant, values, prefix, at_least, any_of, split"),
        ({"label": {"constant": "toxic"}}, "'harmful' or 'benign'"),
        ({"label": {"constant": "harmful", "column": "x"}}, "label.constant.column"),
        ({"label": {"any_of": ["S", "S"]}}, "S stands twice"),
        ({"label": {"any_of": []}}, "at least 1"),
        ({"category": {"names": {"a": "b"}}}, "either `column`"),
        ({"category": {"column": "x", "first_of": {"a": "b"}}}, "either `column`"),
        ({"prompt": []}, "at least 1"),
        ({"examples": [{"prompt": "a", "answer": "b\nc"}]}, "one line"),
        ({"licence": ...}, "licence"),
        ({"shuffle": True}, "shuffle"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(kitchen: Kitchen, changes: dict, message: str):
    with pytest.raises(ConfigError, match=re.escape(message)):
        kitchen.describe(**changes)


def test_an_absent_description_names_those_that_are_there():
    with pytest.raises(ConfigError, match=r"no such benchmark; its folder holds: builtin, .*xstest"):
        load("none")


def test_the_example_of_the_readme_works(kitchen: Kitchen):
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    data, description = re.findall(r"   ```(?:yaml)?\n(.*?)   ```", text, flags=re.DOTALL)[:2]
    kitchen.write("kitchen.csv", re.sub(r"^ {3}", "", data, flags=re.MULTILINE))
    kitchen.write("kitchen.yaml", re.sub(r"^ {3}", "", description, flags=re.MULTILINE))
    prompts = read_prompts(load_benchmark(kitchen.path))
    assert [one.label for one in prompts] == ["benign", "harmful", None]
    assert [one.category for one in prompts] == ["kitchen", "kitchen", None]


def test_every_key_of_a_description_is_explained():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    keys = {*Benchmark.model_fields, "incomplete", "otherwise", "names", "first_of"}
    assert not [key for key in sorted(keys) if not re.search(rf"[`{{ ]{key}[`:]", text)]


# --- where the data lie


def test_data_that_are_absent_are_told_with_source_licence_and_key():
    with pytest.raises(AbsentDataError) as caught:
        read_prompts(load("harmbench"))
    message = str(caught.value)
    for part in ("harmbench: its data do not come with the project", "github.com", "Licence: MIT", "`path: FILE`"):
        assert part in message


def test_a_path_of_the_user_must_exist_and_say_which_file_it_is(kitchen: Kitchen):
    for name in ("toxicchat", "jailbreakbench"):
        with pytest.raises(FileNotFoundError, match=r"nowhere does not exist\. Correct `path`\..*Licence: "):
            read_prompts(load(name), path="nowhere", root=kitchen.root)
    with pytest.raises(AbsentDataError, match=r"lacks harmful-behaviors\.csv, benign-behaviors\.csv\. Take .*FOLDER"):
        read_prompts(load("jailbreakbench"), path=kitchen.root)
    with pytest.raises(AbsentDataError, match=r"own\.csv \(`path`\) is none of them"):
        read_prompts(load("jailbreakbench"), path=kitchen.csv(name="own.csv"))
    with pytest.raises(AbsentDataError, match=r"is a folder\. Name the file in it"):
        read_prompts(load("harmbench"), path=kitchen.root)
    with pytest.raises(AbsentDataError, match=r"data\.csv does not exist\. Correct `file`"):
        read_prompts(kitchen.describe())


def test_without_the_hub_the_error_says_what_to_do_and_under_which_licence(tmp_path: Path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        read_prompts(load("wildguardmix"))
    message = str(caught.value)
    assert "hf download allenai/wildguardmix test/wildguard_test.parquet --repo-type dataset" in message
    assert "Accept the terms at https://huggingface.co/datasets/allenai/wildguardmix" in message
    assert "gated. Name your copy in the experiment: `path: FILE`" in message


def test_data_of_the_hub_are_taken_from_the_cache_with_their_commit(kitchen: Kitchen, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    store = "datasets--JailbreakBench--JBB-Behaviors/snapshots/abc123"
    asked = []

    def download(repository: str, file: str, *, repo_type: str, revision: str) -> str:
        asked.append((repository, file, repo_type, revision))
        return str(kitchen.csv("0,Q?,c", header="Index,Goal,Category", name=f"{store}/{file}"))

    monkeypatch.setattr(hub, "hf_hub_download", download)
    prompts = read_prompts(load("jailbreakbench"))
    assert [one.label for one in prompts] == ["harmful", "benign"]
    assert prompts.revision == "abc123"
    assert asked[1] == ("JailbreakBench/JBB-Behaviors", "data/benign-behaviors.csv", "dataset", "main")


# --- prompts tables


def test_a_chat_model_gets_the_prompt_as_it_stands(kitchen: Kitchen):
    kitchen.csv('1,"  How,\nthen? ",bad')
    table = build_prompts(read_prompts(kitchen.describe()), kitchen.describe(), prompt="chat", system_prompt="Be kind.")
    assert table.row(0, named=True) == {
        "prompt_id": "1",
        "group": "1",
        "prompt": "How,\nthen?",
        "text": "How,\nthen?",
        "shared_prefix": "",
        "system_prompt": "Be kind.",
        "label": "harmful",
        "category": None,
        "twin": None,
    }
    assert {name: table.schema[name] for name in SCHEMAS["prompts"].columns} == SCHEMAS["prompts"].columns


def test_a_completion_model_gets_examples_and_an_open_answer(kitchen: Kitchen):
    kitchen.csv("1,How?,bad")
    benchmark = kitchen.describe(examples=[{"prompt": " Why? ", "answer": "So."}])
    row = build_prompts(read_prompts(benchmark), benchmark, prompt="completion").row(0, named=True)
    assert row["shared_prefix"] == "Question: Why?\nAnswer: So.\n\n"
    assert (row["text"], row["prompt"]) == ("Question: How?\nAnswer:", "How?")
    bare = build_prompts(read_prompts(kitchen.describe()), kitchen.describe(), prompt="completion")
    assert bare["shared_prefix"].to_list() == [""]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": "few-shot"}, "'few-shot' is unknown"),
        ({"prompt": "completion", "system_prompt": "Be kind."}, "no system turn"),
        ({"prompt": "completion"}, r"rows \[1\] ask what an example answers"),
    ],
)
def test_prompts_that_make_no_sense_are_refused(kitchen: Kitchen, arguments: dict, message: str):
    kitchen.csv("1,How?,bad")
    benchmark = kitchen.describe(examples=[{"prompt": "how? ", "answer": "So."}])
    with pytest.raises(ValueError, match=message):
        build_prompts(read_prompts(benchmark), benchmark, **arguments)
    assert build_prompts(read_prompts(benchmark), benchmark, prompt="chat").height == 1
    with pytest.raises(ValueError, match="no prompt to ask"):
        build_prompts([], benchmark, prompt="chat")


def test_the_stage_is_told_a_path_relative_to_the_working_folder(kitchen: Kitchen, monkeypatch):
    monkeypatch.chdir(kitchen.root)
    kitchen.describe()
    own = kitchen.csv("1,How?,bad", "2,Why?,unsure", name="own/data.csv")
    told = {"benchmark": "kitchen.yaml", "path": "own/data.csv", "limit": None, "system_prompt": None, "shard_size": 1}
    table, data = prompts_of({**told, "prompt": "chat"})
    assert table["label"].to_list() == ["harmful", None]
    assert data == {"sha256": hashlib.sha256(own.read_bytes()).hexdigest(), "revision": None, "licence": "CC0"}


# --- what an experiment points to


class Place:
    """A folder with benchmarks, and an experiment with a safety study of them."""

    def __init__(self, root: Path, **collections: dict) -> None:
        self.root = root
        for name in ("builtin.yaml", "builtin.jsonl", "harmbench.yaml", "jailbreakbench.yaml", "wildguardmix.yaml"):
            path = root / "config/benchmarks" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((FOLDER / name).read_bytes())
        study = {"collections": collections}
        self.experiment = Experiment.model_validate({"name": "demo", "model": "small", "safety": study})
        self.experiments = {"demo": self.experiment}

    def findings(self):
        benchmarks, broken = examination.read_benchmarks(self.root, self.experiments)
        findings, files = examination.unready_benchmarks(self.root, self.experiments, benchmarks)
        return [*broken, *findings], files


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_HUB_CACHE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "hf/hub"


def test_files_that_a_safety_study_names_must_be_there(tmp_path: Path):
    place = Place(
        tmp_path,
        builtin={},
        xstest={},
        strict={"benchmark": "config/benchmarks/builtin.yaml", "path": "gone.csv"},
        jailbreakbench={"path": "config/benchmarks"},
    )
    assert list(missing_files(tmp_path, place.experiment)) == [
        (("safety", "collections", "xstest", "benchmark"), "config/benchmarks/xstest.yaml"),
        (("safety", "collections", "strict", "path"), "gone.csv"),
    ]


def test_prompts_that_come_with_the_project_are_no_finding(tmp_path: Path, cache: Path):
    assert Place(tmp_path, builtin={}).findings() == ([], [])


def test_absent_data_are_a_finding_with_source_and_licence(tmp_path: Path, cache: Path):
    (finding,), files = Place(tmp_path, harmbench={}).findings()
    assert (finding.severity, files) == ("error", [])
    assert "prompts of collection harmbench (experiment demo)" in finding.what
    assert "Licence: MIT" in finding.cure
    assert "`path: FILE`" in finding.cure


def test_gated_data_that_are_not_cached_are_asked_of_the_hub(tmp_path: Path, cache: Path, monkeypatch):
    place = Place(tmp_path, wildguardmix={})
    findings, (file,) = place.findings()
    assert findings == []
    assert "gated" in file.what
    assert "AI2's responsible-use guidelines" in file.what
    monkeypatch.setattr(examination, "hub_status", lambda address: 403)
    (finding,) = examination.hub_findings([file])
    assert finding.severity == "error"
    assert "accept its terms at https://huggingface.co/datasets/allenai/wildguardmix" in finding.cure
    snapshot = cache / "datasets--allenai--wildguardmix"
    (snapshot / "refs").mkdir(parents=True)
    (snapshot / "refs/main").write_text("0123abc")
    (snapshot / "snapshots/0123abc/test").mkdir(parents=True)
    (snapshot / "snapshots/0123abc/test/wildguard_test.parquet").touch()
    assert place.findings() == ([], [])


def test_a_users_own_copy_or_prompts_that_are_made_need_no_hub(tmp_path: Path, cache: Path):
    own = {"prompt": ["Why?"], "prompt_harm_label": ["unharmful"], "subcategory": ["benign"]}
    pl.DataFrame(own).write_parquet(tmp_path / "own.parquet")
    assert Place(tmp_path, wildguardmix={"path": "own.parquet"}).findings() == ([], [])
    (finding,), files = Place(tmp_path, jailbreakbench={"path": "config"}).findings()
    assert "lacks harmful-behaviors.csv" in finding.what
    assert files == []
    made = tmp_path / "experiments/demo/safety/jailbreakbench/prompts.parquet"
    made.parent.mkdir(parents=True)
    made.touch()
    assert Place(tmp_path, jailbreakbench={}).findings() == ([], [])


def test_a_broken_benchmark_is_a_finding(tmp_path: Path, cache: Path):
    place = Place(tmp_path, builtin={})
    (tmp_path / "config/benchmarks/builtin.yaml").write_text("description: x")
    findings, files = place.findings()
    assert findings
    assert files == []
    assert all("builtin.yaml" in finding.what and finding.severity == "error" for finding in findings)
