import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tells.config import ConfigError
from tells.judge import Rubric
from tells.traits.scenarios import PROMPTS_SCHEMA, TraitDefinition, build_prompts, load_trait, normalise

DEFINITION = {
    "name": "mood/calm",
    "definition": "Calm is the absence of agitation.",
    "rubric": "HIGH: serene.\nMID: even.\nLOW: agitated.",
    "exemplars": {"high": ["I breathe slowly.", "All is still."], "low": ["I cannot sit.", "Everything rattles."]},
    "instruction": {"high": "Answer calmly.", "low": "Answer in agitation."},
}
QUESTIONS = {"search": ["What is a lake?", "How was the day?"], "report": ["What is a hill?"]}
POSITIVE = "I sat by the lake and felt\nWe walked home slowly, and I\n"
NEGATIVE = "I ran from the lake and felt\nWe rushed home quickly, and I\n"


def write(folder, *, definition=DEFINITION, questions=QUESTIONS, positive=POSITIVE, negative=NEGATIVE):
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "definition.yaml": definition,
        "questions.yaml": questions,
        "positive.txt": positive,
        "negative.txt": negative,
    }
    for name, content in files.items():
        if content is not None:
            text = content if isinstance(content, str) else yaml.safe_dump(content)
            (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "mood/calm"


def problems(folder):
    with pytest.raises(ConfigError) as caught:
        load_trait(folder)
    return [(problem.file.rpartition("/")[2], problem.key, problem.message) for problem in caught.value.problems]


def trait(pairs):
    return TraitDefinition(
        **DEFINITION,
        positive=[f"I rise {number}" for number in range(pairs)],
        negative=[f"I fall {number}" for number in range(pairs)],
        **QUESTIONS,
    )


# --- reading


def test_a_whole_folder_is_read(folder):
    read = load_trait(write(folder))
    assert read.name == "mood/calm"
    assert read.positive == ("I sat by the lake and felt", "We walked home slowly, and I")
    assert read.negative == ("I ran from the lake and felt", "We rushed home quickly, and I")
    assert (read.search, read.report) == (("What is a lake?", "How was the day?"), ("What is a hill?",))
    assert (read.instruction.high, read.instruction.low) == ("Answer calmly.", "Answer in agitation.")


def test_the_rubric_is_what_a_judge_is_told(folder):
    assert load_trait(write(folder)).as_rubric() == Rubric(
        "mood/calm",
        "Calm is the absence of agitation.",
        "HIGH: serene.\nMID: even.\nLOW: agitated.",
        ("I breathe slowly.", "All is still."),
        ("I cannot sit.", "Everything rattles."),
    )


def test_windows_line_ends_a_byte_order_mark_and_spaces_at_the_ends_of_lines_make_no_difference(folder):
    plain = load_trait(write(folder))
    write(folder, positive="\ufeff" + POSITIVE.replace("\n", "  \r\n"))
    assert load_trait(folder) == plain


def test_a_relative_folder_has_its_name_as_well(folder, monkeypatch):
    write(folder)
    monkeypatch.chdir(folder)
    assert load_trait(".").name == "mood/calm"


def test_a_missing_folder_is_said(folder):
    assert problems(folder) == [("calm", "", "no such folder")]


@pytest.mark.parametrize("name", ["definition.yaml", "questions.yaml", "positive.txt", "negative.txt"])
def test_a_missing_or_an_empty_file_is_said(folder, name):
    (write(folder) / name).write_text(" \n\n")
    assert problems(folder) == [(name, "", "is empty")]
    (folder / name).unlink()
    assert problems(folder) == [(name, "", "no such file")]


def test_all_problems_of_a_folder_are_said_at_once(folder):
    write(
        folder,
        definition={**DEFINITION, "name": "mood/cold", "colour": "blue"},
        questions={"search": ["What is a lake?"], "report": ["what is a LAKE"]},
        positive=None,
        negative="I fell\n\nI rose\n",
    )
    assert [(file, key) for file, key, _ in problems(folder)] == [
        ("definition.yaml", "name"),
        ("definition.yaml", "colour"),
        ("positive.txt", ""),
        ("negative.txt", "line 2"),
        ("questions.yaml", "report.0"),
    ]


def test_the_first_line_without_a_partner_is_named(folder):
    write(folder, negative=NEGATIVE + "I shook the table and\nI rattled\n")
    ((file, key, message),) = problems(folder)
    assert (file, key) == ("negative.txt", "line 3")
    assert "positive.txt has 2 lines, negative.txt 4" in message


def test_a_name_that_is_not_the_folders_is_said(folder):
    write(folder, definition={**DEFINITION, "name": "mood/cold"})
    assert problems(folder) == [("definition.yaml", "name", "is mood/cold, but the folder is mood/calm")]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"colour": "blue"}, "colour"),
        ({"exemplars": {"high": ["One."], "low": ["Two.", "Three."]}}, "exemplars.high"),
        ({"exemplars": {"high": ["One.", "Four."], "low": ["Two.", "four"]}}, "exemplars.low.1"),
        ({"exemplars": {"high": ["One.", "Four."]}}, "exemplars.low"),
        ({"exemplars": {"high": ["One.", "Four.", " "], "low": ["Two.", "Three."]}}, "exemplars.high.2"),
        ({"instruction": {"high": "Go.", "low": "Stop.", "middle": "Wait."}}, "instruction.middle"),
        ({"rubric": ""}, "rubric"),
        ({"name": "calm"}, "name"),
    ],
)
def test_a_wrong_key_of_the_definition_is_named(folder, changes, key):
    write(folder, definition={**DEFINITION, **changes})
    assert [(file, where) for file, where, _ in problems(folder)] == [("definition.yaml", key)]


@pytest.mark.parametrize(
    ("questions", "key"),
    [
        ({"search": [], "report": ["What?"]}, "search"),
        ({"search": ["What?"]}, "report"),
        ({"search": ["What?"], "report": ["Who?"], "spare": ["Why?"]}, "spare"),
        ({"search": ["What is it?"], "report": ["Who?", "What is   it"]}, "report.1"),
        ({"search": ["What is it?", True], "report": ["Who?"]}, "search.1"),
        (["What?"], ""),
        ("search: [a\n", ""),
        ("search: [a]\nsearch: [b]\nreport: [c]\n", ""),
    ],
)
def test_a_wrong_key_of_the_questions_is_named(folder, questions, key):
    write(folder, questions=questions)
    assert [(file, where) for file, where, _ in problems(folder)] == [("questions.yaml", key)]


def test_a_file_in_another_encoding_is_said(folder):
    (write(folder) / "positive.txt").write_bytes("I felt na\xefve and\n".encode("latin-1"))
    ((file, _, message),) = problems(folder)
    assert file == "positive.txt"
    assert "UTF-8" in message


# --- prompts


def test_prompts_come_pair_by_pair_with_text_columns_alone():
    table = build_prompts(trait(2))
    assert table.schema == PROMPTS_SCHEMA
    assert set(table.dtypes) == {pl.String}
    assert table.rows() == [
        ("positive-000", "pair-000", "I rise 0", "", None, "positive"),
        ("negative-000", "pair-000", "I fall 0", "", None, "negative"),
        ("positive-001", "pair-001", "I rise 1", "", None, "positive"),
        ("negative-001", "pair-001", "I fall 1", "", None, "negative"),
    ]


@given(pairs=st.integers(1, 30), limit=st.none() | st.integers(1, 40))
def test_a_limit_takes_the_first_pairs_whole(pairs, limit):
    table = build_prompts(trait(pairs), limit=limit)
    assert table.equals(build_prompts(trait(pairs)).head(2 * (pairs if limit is None else min(pairs, limit))))
    assert table["group"].value_counts()["count"].to_list() == [2] * (table.height // 2)
    assert table["prompt_id"].is_unique().all()


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_under_one_is_refused(limit):
    with pytest.raises(ValueError, match="limit"):
        build_prompts(trait(2), limit=limit)


def test_prompts_are_what_the_table_of_prompts_demands(tmp_path):
    from tells.tables import read_table, write_table

    write_table(tmp_path / "prompts.parquet", build_prompts(trait(3)), "prompts", {})
    assert read_table(tmp_path / "prompts.parquet", "prompts").height == 6


@pytest.mark.parametrize(
    ("one", "other"),
    [("I don’t  know, do I?", "i don't know do i"), ("I dont know", "I don't know!"), ("Straße", "STRASSE")],
)
def test_texts_that_differ_in_case_spaces_or_punctuation_are_the_same(one, other):
    assert normalise(one) == normalise(other)


def test_texts_with_other_words_differ():
    assert normalise("I may go") != normalise("I may not go")
    assert normalise("I am here") != normalise("Iam here")
