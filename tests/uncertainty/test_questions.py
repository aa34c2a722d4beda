import hashlib
import importlib.util
import json
import re
import string
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tells.config import ConfigError
from tells.tables import SCHEMAS, write_table
from tells.uncertainty.questions import (
    Question,
    QuestionFileError,
    QuestionSet,
    build_prompts,
    few_shot_prefix,
    find_question_file,
    load_question_set,
    question_group,
    read_question_file,
    read_questions,
    read_samples,
)

ROOT = Path(__file__).resolve().parents[2]
SETS = ROOT / "config/questions"
SHARED = ROOT.parent / "shared/data"
NAMES = sorted(path.stem for path in SETS.glob("*.yaml"))
REAL = {
    "gsm8k": ("gsm8k/test.jsonl", 1319),
    "math500": ("math500/test.jsonl", 500),
    "svamp": ("svamp/SVAMP.json", 1000),
    "multiarith": ("multiarith/multiarith.jsonl", 600),
    "nq_open": ("nq_open/NQ-open.dev.jsonl", 3610),
}
EXAMPLE = {"question": "What is 12 + 5?", "think": "12 plus 5 makes 17.", "answer": "17"}
DESCRIPTION = {
    "description": "Sums.",
    "file": "data.jsonl",
    "format": "jsonl",
    "grader": "math",
    "instruction": "Put the final answer in \\boxed{}.",
    "examples": [EXAMPLE],
}


def question_set(**changes):
    return QuestionSet.model_validate({**DESCRIPTION, **changes})


def write_lines(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def real_questions(name):
    file, _ = REAL[name]
    if not (SHARED / file).is_file():
        pytest.skip(f"the real data set is not there: {SHARED / file}")
    return read_questions(load_question_set(SETS / f"{name}.yaml"), path=SHARED / file)


# --- the sets that come with the project


def test_sums_jsonl_is_what_its_script_writes(tmp_path):
    spec = importlib.util.spec_from_file_location("make_sums", SETS / "make_sums.py")
    make_sums = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_sums)
    make_sums.main([str(tmp_path / "sums.jsonl")])
    assert (tmp_path / "sums.jsonl").read_bytes() == (SETS / "sums.jsonl").read_bytes()
    assert make_sums.sums(seed=1) != make_sums.sums(seed=0)
    shown = [example.question for example in load_question_set(SETS / "sums.yaml").examples]
    assert shown == [f"What is {first} + {second}?" for first, second in make_sums.EXAMPLES]


def test_sums_are_192_right_additions_none_of_which_is_the_mirror_of_another():
    questions = read_questions(load_question_set(SETS / "sums.yaml"))
    pairs = [tuple(map(int, re.fullmatch(r"What is (\d+) \+ (\d+)\?", q.question).groups())) for q in questions]
    assert len(pairs) == 192
    assert len({frozenset(pair) for pair in pairs}) == 192
    assert all(1 <= first <= 30 and 1 <= second <= 12 for first, second in pairs)
    assert [q.gold for q in questions] == [(str(sum(pair)),) for pair in pairs]
    assert pairs != sorted(pairs)


def test_capitals_are_96_countries_with_their_other_names():
    questions = read_questions(load_question_set(SETS / "capitals.yaml"))
    golds = {question.id: question.gold for question in questions}
    assert len(golds) == 96
    assert golds["france"] == ("Paris",)
    assert golds["kazakhstan"] == ("Astana", "Nur-Sultan")
    assert len({question_group(question.question) for question in questions}) == 96


@pytest.mark.parametrize("name", NAMES)
def test_every_set_is_complete_and_has_six_to_eight_examples(name):
    found = load_question_set(SETS / f"{name}.yaml")
    assert found.name == name
    assert 6 <= len(found.examples) <= 8
    assert "\\boxed{}" in found.instruction
    assert found.hub is None or found.hub.revision == "main"


@pytest.mark.parametrize("name", NAMES)
def test_no_example_of_a_set_is_among_its_questions(name):
    found = load_question_set(SETS / f"{name}.yaml")
    questions = real_questions(name) if found.hub else read_questions(found)
    asked = {question_group(question.question) for question in questions}
    shown = {question_group(example.question) for example in found.examples}
    assert len(shown) == len(found.examples)
    assert not shown & asked


@pytest.mark.parametrize("name", ["gsm8k", "svamp", "multiarith"])
def test_the_arithmetic_in_the_examples_is_right_and_ends_in_the_answer(name):
    for example in load_question_set(SETS / f"{name}.yaml").examples:
        steps = re.findall(r"(\d[\d.]*) ([-+*/]) (\d[\d.]*) = (\d[\d.]*\d|\d)", example.think)
        assert steps
        for left, sign, right, result in steps:
            left, right = float(left), float(right)
            values = {
                "+": left + right,
                "-": left - right,
                "*": left * right,
                "/": left / right if right else None,
            }
            assert values[sign] == pytest.approx(float(result))
        assert steps[-1][-1] == example.answer


# --- the real data


@pytest.mark.parametrize("name", sorted(REAL))
def test_a_real_data_set_is_read_whole_and_makes_prompts(name, tmp_path):
    questions = real_questions(name)
    assert len(questions) == REAL[name][1]
    assert all(answer.strip() for question in questions for answer in question.gold)
    assert questions.file_digest == hashlib.sha256((SHARED / REAL[name][0]).read_bytes()).hexdigest()
    prompts = build_prompts(questions, load_question_set(SETS / f"{name}.yaml"), prompt="completion")
    assert prompts["prompt_id"].n_unique() == len(prompts) == REAL[name][1]
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]*", prompt_id) for prompt_id in prompts["prompt_id"])
    write_table(tmp_path / "prompts.parquet", prompts, "prompts", {})


@pytest.mark.parametrize(
    ("name", "prompt_id", "gold"),
    [
        ("gsm8k", "gsm8k-0001", ("18",)),
        ("math500", "test-precalculus-807.json", (r"\left( 3, \frac{\pi}{2} \right)",)),
        ("svamp", "chal-1", ("51",)),
        ("multiarith", "multiarith-0001", ("39",)),
        ("nq_open", "nq_open-0001", ("14 December 1972 UTC", "December 1972")),
    ],
)
def test_the_first_question_of_a_real_data_set_has_its_gold(name, prompt_id, gold):
    question = real_questions(name)[0]
    assert (question.id, question.gold) == (prompt_id, gold)


def test_gold_answers_of_gsm8k_have_no_commas():
    answers = [question.gold[0] for question in real_questions("gsm8k")]
    assert all(re.fullmatch(r"-?\d+(\.\d+)?", answer) for answer in answers)
    assert "1450000" in answers


def test_equal_questions_of_multiarith_share_a_group():
    questions = real_questions("multiarith")
    assert len({question_group(question.question) for question in questions}) == 580


def test_addsub_and_singleeq_read_in_the_form_of_multiarith():
    for file, count, fraction in (("addsub", 395, "9.43"), ("singleeq", 508, "11.5")):
        path = SHARED / f"multiarith/{file}.jsonl"
        if not path.is_file():
            pytest.skip(f"the real data set is not there: {path}")
        questions = read_question_file(path, "multiarith")
        assert len(questions) == count
        assert (fraction,) in [question.gold for question in questions]


# --- formats


def test_an_answer_may_be_a_text_a_number_or_a_list(tmp_path):
    answers = [" Paris ", 22, 145.0, 0.001, ["Kyiv", "Kiev"], [4, "four"]]
    path = write_lines(
        tmp_path / "a.jsonl", *({"id": f"q{i}", "question": "?", "answer": a} for i, a in enumerate(answers))
    )
    golds = [question.gold for question in read_question_file(path, "jsonl")]
    assert golds == [("Paris",), ("22",), ("145",), ("0.001",), ("Kyiv", "Kiev"), ("4", "four")]


def test_svamp_joins_body_and_question_and_writes_whole_numbers_without_a_point(tmp_path):
    path = tmp_path / "svamp.json"
    rows = [
        {"ID": "chal-1", "Body": "Dan had $ 3 left", "Question": "How much?", "Answer": 145.0},
        {"ID": "chal-2", "Body": "Dan had $ 3 left", "Question": "How many?", "Answer": "4.50"},
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
    first, second = read_question_file(path, "svamp")
    assert first == Question("chal-1", "Dan had $ 3 left How much?", ("145",), 1)
    assert second.gold == ("4.50",)


def test_multiarith_reads_the_columns_of_the_hub_too(tmp_path):
    path = tmp_path / "test.json"
    path.write_text(json.dumps([{"question": " How many? ", "final_ans": "10"}]), encoding="utf-8")
    assert read_question_file(path, "multiarith")[0] == Question("multiarith-0001", "How many?", ("10",), 1)


def test_parquet_files_read_like_json_lines(tmp_path):
    rows = {"question": ["who?", "when?"], "answer": [["A", "B"], ["C"]]}
    pl.DataFrame(rows).write_parquet(tmp_path / "nq.parquet")
    assert [q.gold for q in read_question_file(tmp_path / "nq.parquet", "nq_open")] == [("A", "B"), ("C",)]


def test_gsm8k_takes_what_follows_the_last_hashes(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", {"question": "?", "answer": "#### 3 no\n#### -1,234,567"})
    assert read_question_file(path, "gsm8k")[0].gold == ("-1234567",)


def test_ids_become_slugs_and_blank_lines_and_a_byte_order_mark_are_passed_over(tmp_path):
    path = tmp_path / "a.jsonl"
    line = '{"id": "Test/Über Zahl.json", "question": "?", "answer": "1"}\r\n\r\n'
    path.write_bytes(b"\xef\xbb\xbf" + line.encode() + b'{"id": 7, "question": "?", "answer": "1"}')
    assert [(q.id, q.row) for q in read_question_file(path, "jsonl")] == [("test-ber-zahl.json", 1), ("7", 3)]


# --- faults of files


def test_all_faults_of_a_file_are_reported_at_once_with_their_rows(tmp_path):
    path = tmp_path / "bad.jsonl"
    lines = [
        b'{"id": "a", "question": "What?", "answer": "1"}',
        b'{"id": "b", "question": "What?"}',
        b'{"id": "c", "question": "  ", "answer": ""}',
        b'{"id": "A", "question": "What?", "answer": "1"}',
        b'{"id": "d", "question": "caf\xe9", "answer": "1"}',
        b'{"id": "e", "question": ',
        b"[1, 2]",
        b'{"id": "f", "question": "What?", "answer": []}',
        b'{"id": "g", "question": "What?", "answer": NaN}',
        b'{"id": "?", "question": "What?", "answer": {"is": 1}}',
        b'{"id": "h", "question": "What?", "answer": ["1", " "]}',
        b'{"id": "i", "question": 3, "answer": true}',
    ]
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(QuestionFileError) as caught:
        read_question_file(path, "jsonl")
    assert str(path) in str(caught.value)
    for problem in (
        "row 2: column 'answer' is missing",
        "row 3: the question is empty",
        "row 3: no answer (empty)",
        "row 4: id 'a' stands in row 1 already",
        "row 5: not UTF-8 (byte 29)",
        "row 6: not JSON",
        "row 7: not a JSON object",
        "row 8: no answer (an empty list)",
        "row 9: not JSON (NaN",
        "row 10: id '?' has no letter",
        "row 10: answer {'is': 1} is neither",
        "row 11: no answer (empty)",
        "row 12: the question is empty or not a text",
        "row 12: answer True is neither",
    ):
        assert any(problem in found for found in caught.value.problems), problem
    assert len(caught.value.problems) == 14
    rows = [int(found.split()[1].rstrip(":")) for found in caught.value.problems]
    assert rows == sorted(rows)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.jsonl", b""), ("a.jsonl", b"\n \n"), ("a.json", b""), ("a.json", b"[]"), ("a.parquet", b"")],
)
def test_an_empty_file_is_an_error(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(QuestionFileError, match="empty"):
        read_question_file(tmp_path / name, "jsonl")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"id,question", "ending '.csv' is unknown"),
        ("a.json", b'{"id": 1}', "one array"),
        ("a.json", b'[\n{"id": }]', "line 2"),
        ("a.parquet", b"PAR1 not really", "not a Parquet file"),
    ],
)
def test_a_file_that_cannot_be_taken_apart_says_why(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(QuestionFileError, match=re.escape(message)):
        read_question_file(tmp_path / name, "jsonl")


def test_gsm8k_without_hashes_and_svamp_without_a_number_are_errors(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", {"question": "?", "answer": "18"}, {"question": "?", "answer": "#### "})
    with pytest.raises(QuestionFileError, match=r"row 1: no answer \('#### ' is missing\)\n  row 2: no answer"):
        read_question_file(path, "gsm8k")
    row = {"ID": "1", "Body": "b", "Question": "q", "Answer": "many"}
    with pytest.raises(QuestionFileError, match="'many' is not a number"):
        read_question_file(write_lines(tmp_path / "b.jsonl", row), "svamp")


def test_a_missing_column_is_named_in_every_row_that_lacks_it(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", {"problem": "?", "answer": "1"}, {"problem": "?", "unique_id": "x"})
    with pytest.raises(QuestionFileError) as caught:
        read_question_file(path, "math500")
    assert caught.value.problems == (
        "row 1: column 'unique_id' is missing",
        "row 2: column 'answer' is missing",
    )


def test_a_long_list_of_faults_is_cut_in_the_message_but_kept_whole(tmp_path):
    with pytest.raises(QuestionFileError, match="70 problems") as caught:
        read_question_file(write_lines(tmp_path / "a.jsonl", *[{"question": "?"}] * 70), "gsm8k")
    assert "and 20 more" in str(caught.value)
    assert len(caught.value.problems) == 70


# --- descriptions


def write_description(folder, text):
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_description_names_its_set_and_finds_the_data_beside_it(tmp_path):
    path = write_description(tmp_path, json.dumps(DESCRIPTION))
    write_lines(tmp_path / "data.jsonl", {"id": "a", "question": "What?", "answer": "1"})
    found = load_question_set(path)
    assert (found.name, found.data_file) == ("mine", tmp_path / "data.jsonl")
    questions = read_questions(found)
    assert questions.file_digest == hashlib.sha256((tmp_path / "data.jsonl").read_bytes()).hexdigest()
    assert questions.revision is None


def test_all_faults_of_a_description_are_reported_at_once_with_their_keys(tmp_path):
    faulty = {**DESCRIPTION, "grader": "exact", "shuffle": True, "examples": [{**EXAMPLE, "think": " "}]}
    path = write_description(tmp_path, json.dumps(faulty))
    with pytest.raises(ConfigError) as caught:
        load_question_set(path)
    assert {problem.key for problem in caught.value.problems} == {"grader", "shuffle", "examples.0.think"}
    assert {problem.file for problem in caught.value.problems} == {str(path)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file": None}, "either `file` or `hub`"),
        ({"hub": {"id": "a/b", "files": {"test": "t.jsonl"}}, "split": "test"}, "either `file` or `hub`"),
        (
            {"file": None, "hub": {"id": "a/b", "files": {"test": "t.jsonl"}}},
            "must be one of hub.files: test",
        ),
        ({"split": "test"}, "a `file` has no splits"),
        ({"examples": [{**EXAMPLE, "answer": "\\boxed{17}"}]}, "they are added"),
        ({"examples": [{**EXAMPLE, "think": "<think>17"}]}, "they are added"),
        ({"instruction": ""}, "instruction"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(tmp_path, changes, message):
    path = write_description(tmp_path, json.dumps({**DESCRIPTION, **changes}))
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_question_set(path)


@pytest.mark.parametrize("text", ["file: [", "file: a\nfile: b", "", "- a"])
def test_a_description_that_is_no_mapping_of_single_keys_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load_question_set(write_description(tmp_path, text))


def test_an_absent_description_names_those_that_are_there():
    with pytest.raises(ConfigError, match=r"capitals, .*sums"):
        load_question_set(SETS / "none.yaml")


def test_a_number_in_an_example_may_stand_without_quotes():
    assert question_set(examples=[{**EXAMPLE, "answer": 17}]).examples[0].answer == "17"


# --- where the data lie


def test_a_path_of_the_user_stands_before_the_set_and_must_exist(tmp_path):
    found = load_question_set(SETS / "gsm8k.yaml")
    path = write_lines(tmp_path / "own.jsonl", {"question": "?", "answer": "#### 1"})
    assert find_question_file(found, path=path) == path
    with pytest.raises(FileNotFoundError, match=r"gsm8k: .*absent\.jsonl does not exist; correct `path`"):
        find_question_file(found, path=tmp_path / "absent.jsonl")
    with pytest.raises(ValueError, match="no meaning for the local file"):
        find_question_file(found, path=path, split="test")


def test_a_set_on_the_hub_is_taken_from_the_cache_with_its_commit(tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    snapshot = tmp_path / "datasets--openai--gsm8k/snapshots/abc123"
    snapshot.mkdir(parents=True)
    asked = []

    def download(repository, file, *, repo_type, revision):
        asked.append((repository, file, repo_type, revision))
        frame = pl.DataFrame({"question": ["?"], "answer": ["so #### 4"]})
        frame.write_parquet(snapshot / "test.parquet")
        return str(snapshot / "test.parquet")

    monkeypatch.setattr(hub, "hf_hub_download", download)
    questions = read_questions(load_question_set(SETS / "gsm8k.yaml"), split="train")
    assert asked == [("openai/gsm8k", "main/train-00000-of-00001.parquet", "dataset", "main")]
    assert (questions[0].gold, questions.revision) == (("4",), "abc123")


def test_without_the_hub_the_error_says_what_to_do(tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        find_question_file(load_question_set(SETS / "svamp.yaml"))
    message = str(caught.value)
    assert "hf download ChilleD/SVAMP test.json --repo-type dataset --revision main" in message
    assert "`path: FILE`" in message


def test_a_split_that_is_not_there_is_refused_before_any_download():
    with pytest.raises(ValueError, match=r"math500: no split 'train' in hub.files; there are: test"):
        find_question_file(load_question_set(SETS / "math500.yaml"), split="train")


# --- prompts


QUESTIONS = [Question(f"q{i}", f"What is {i} + 8?", (str(i + 8),), i + 1) for i in range(5)]


def test_the_few_shot_form_is_exactly_this():
    prompts = build_prompts(QUESTIONS[:1], question_set(), prompt="completion")
    assert prompts["shared_prefix"][0] == (
        "Question: What is 12 + 5?\n<think>12 plus 5 makes 17.</think>\n\\boxed{17}\n\n"
    )
    assert prompts["text"][0] == "Question: What is 0 + 8?\n<think>"
    assert prompts["system_prompt"][0] is None
    twice = few_shot_prefix([*question_set().examples, *question_set().examples])
    assert twice == prompts["shared_prefix"][0] * 2


def test_a_chat_prompt_is_the_question_and_the_instruction_without_examples():
    prompts = build_prompts(QUESTIONS, question_set(), prompt="chat", system_prompt="Be brief.")
    row = prompts.row(1, named=True)
    assert row == {
        "prompt_id": "q1",
        "group": question_group("What is 1 + 8?"),
        "question": "What is 1 + 8?",
        "text": "What is 1 + 8?\n\nPut the final answer in \\boxed{}.",
        "shared_prefix": "",
        "system_prompt": "Be brief.",
        "gold": ["9"],
        "grader": "math",
    }


def test_prompts_fit_the_schema_of_the_table_even_where_a_column_is_null():
    prompts = build_prompts(QUESTIONS, question_set(), prompt="chat")
    assert {name: prompts.schema[name] for name in SCHEMAS["prompts"].columns} == SCHEMAS["prompts"].columns
    assert prompts.schema["gold"] == pl.List(pl.String)


def test_a_limit_takes_the_first_rows_whatever_the_seed():
    whole = build_prompts(QUESTIONS, question_set(), prompt="chat")
    for seed in (0, 1):
        limited = build_prompts(QUESTIONS, question_set(), prompt="chat", limit=2, seed=seed)
        assert limited.equals(whole.head(2))
    assert build_prompts(QUESTIONS, question_set(), prompt="chat", limit=99).equals(whole)


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({}, {"prompt": "few-shot"}, "'few-shot' is unknown"),
        ({}, {"prompt": "chat", "limit": 0}, "must be at least 1"),
        ({}, {"prompt": "completion", "system_prompt": "Be brief."}, "no system turn"),
        ({"examples": []}, {"prompt": "completion"}, "needs `examples`"),
        (
            {"examples": [{**EXAMPLE, "question": " what is  3 + 8?"}]},
            {"prompt": "completion"},
            r"rows \[4\] ask what an example answers",
        ),
    ],
)
def test_prompts_that_make_no_sense_are_refused(changes, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_prompts(QUESTIONS, question_set(**changes), **arguments)


def test_no_question_makes_no_prompts():
    with pytest.raises(ValueError, match="no question"):
        build_prompts([], question_set(), prompt="chat")


# --- groups


def test_a_group_is_the_hash_of_the_normalised_text():
    expected = hashlib.sha256(b"what is 1 + 2?").hexdigest()[:16]
    assert question_group("What  is\n1 + ２? ") == expected
    assert question_group("What is 1 + 3?") != expected


@given(
    st.lists(st.text(string.ascii_letters + "éßЖ京?+1", min_size=1), min_size=1),
    st.sampled_from([" ", "\n", "\t ", "\u00a0"]),
)
def test_white_space_and_case_never_change_a_group(words, space):
    plain = " ".join(words)
    assert question_group(space + space.join(words).upper() + space) == question_group(plain)


@given(st.lists(st.text("ab 1", min_size=1).filter(str.strip), min_size=2, max_size=2))
def test_questions_of_different_words_have_different_groups(texts):
    first, second = texts
    assert (question_group(first) == question_group(second)) == (first.split() == second.split())


# --- samples of the user's own


def test_own_samples_become_runs_with_nothing_known_but_their_text(tmp_path):
    path = write_lines(
        tmp_path / "own.jsonl",
        {
            "id": "Nile",
            "question": "Where?",
            "answer": ["Egypt"],
            "samples": ["in Egypt", ""],
            "greedy": "Sudan",
        },
        {"id": "danube", "question": "Where to?", "answer": 3, "samples": ["3"]},
    )
    questions, samples = read_samples(path)
    assert [(q.id, q.gold) for q in questions] == [("nile", ("Egypt",)), ("danube", ("3",))]
    assert questions.file_digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert dict(samples.schema) == SCHEMAS["samples"].columns
    assert samples.select("prompt_id", "sample", "greedy", "text").rows() == [
        ("nile", -1, True, "Sudan"),
        ("nile", 0, False, "in Egypt"),
        ("nile", 1, False, ""),
        ("danube", 0, False, "3"),
    ]
    assert samples["group"].to_list() == [question_group("Where?")] * 3 + [question_group("Where to?")]
    for unknown in (
        "seed",
        "prompt_token_ids",
        "token_ids",
        "finish_reason",
        "token_logprobs",
        "topk_logprobs",
    ):
        assert samples[unknown].null_count() == 4


def test_all_faults_of_own_samples_are_reported_at_once(tmp_path):
    good = {"id": "a", "question": "?", "answer": "1", "samples": ["1"]}
    path = write_lines(
        tmp_path / "own.jsonl",
        good,
        good,
        {**good, "id": "b", "samples": []},
        {**good, "id": "c", "samples": ["1", None]},
        {"id": "d", "question": "?", "answer": "1"},
        {**good, "id": "e", "greedy": None},
        {**good, "id": "f", "question": "", "samples": "1"},
    )
    with pytest.raises(QuestionFileError) as caught:
        read_samples(path)
    assert caught.value.problems == (
        "row 2: id 'a' stands in row 1 already",
        "row 3: 'samples' is not a list of at least one text",
        "row 4: sample 1 is not a text",
        "row 5: column 'samples' is missing",
        "row 6: 'greedy' is not a text; leave it out where there is none",
        "row 7: the question is empty or not a text",
        "row 7: 'samples' is not a list of at least one text",
    )
