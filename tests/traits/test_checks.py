import io
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from tells.traits.checks import check_traits, find_traits, is_first_person, is_prefix

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ["behavioral/formality", "cognitive/retrieval", "epistemic/confidence", "epistemic/optimism"]


def lines(trait, pole, count=100):
    return [f"I think of {trait} {pole} {number} and" for number in range(count)]


def write(root, name, *, positive=None, negative=None, search=None, report=None, title=None):
    folder = root / "config/traits" / name
    folder.mkdir(parents=True, exist_ok=True)
    stem = name.replace("/", " ")
    definition = {
        "name": title or name,
        "definition": "A trait.",
        "rubric": "HIGH: much. LOW: little.",
        "exemplars": {"high": ["One.", "Two."], "low": ["Three.", "Four."]},
        "instruction": {"high": "More.", "low": "Less."},
    }
    questions = {
        "search": [f"What is {number}?" for number in range(10)] if search is None else search,
        "report": [f"Who is {number}?" for number in range(10)] if report is None else report,
    }
    (folder / "definition.yaml").write_text(yaml.safe_dump(definition))
    (folder / "questions.yaml").write_text(yaml.safe_dump(questions))
    for pole, given in (("positive", positive), ("negative", negative)):
        (folder / f"{pole}.txt").write_text("\n".join(lines(stem, pole) if given is None else given) + "\n")


def failures(root, names=None):
    return [(problem.file, problem.key, problem.message) for problem in check_traits(root, names).problems]


def changed(pole="positive", **replaced):
    """Lines of mood/calm with some replaced: line_3="…"."""
    given = lines("mood calm", pole)
    for key, text in replaced.items():
        given[int(key.removeprefix("line_")) - 1] = text
    return given


def test_a_sound_trait_passes_and_is_measured(tmp_path):
    write(tmp_path, "mood/calm")
    report = check_traits(tmp_path)
    (check,) = report.checks
    assert report.passed
    assert report.problems == ()
    assert (check.trait, check.positive, check.negative) == ("mood/calm", 100, 100)
    assert (check.positive_words, check.negative_words, check.gap) == (8.0, 8.0, 0.0)
    assert (check.duplicates, check.questions) == (0, 20)


def test_too_few_scenarios_and_questions_fail(tmp_path):
    positive, negative = lines("calm", "positive", 99), lines("calm", "negative", 99)
    write(tmp_path, "mood/calm", positive=positive, negative=negative, report=["Who is it?"])
    assert [(file, message.partition(";")[0]) for file, _, message in failures(tmp_path)] == [
        ("config/traits/mood/calm/positive.txt", "99 scenarios"),
        ("config/traits/mood/calm/negative.txt", "99 scenarios"),
        ("config/traits/mood/calm/questions.yaml", "11 questions"),
    ]


@pytest.mark.parametrize(("longer", "fails"), [(40, False), (41, True)])
def test_means_over_five_percent_apart_fail(tmp_path, longer, fails):
    # 8 words: 5% are 0.4 words, which 40 lines of one word more come to.
    positive = [line + (" so" if row < longer else "") for row, line in enumerate(lines("mood calm", "positive"))]
    write(tmp_path, "mood/calm", positive=positive)
    found = failures(tmp_path)
    assert bool(found) == fails
    if fails:
        ((file, _, message),) = found
        assert file == "config/traits/mood/calm"
        assert "8.41 words, negative ones 8.00" in message


@pytest.mark.parametrize(("longer", "fails"), [(50, False), (51, True)])
def test_means_over_half_a_word_apart_fail(tmp_path, longer, fails):
    tail = " or it may be so or not and so on"
    positive, negative = ([line + tail for line in lines("mood calm", pole)] for pole in ("positive", "negative"))
    positive[:longer] = [line + " so" for line in positive[:longer]]
    write(tmp_path, "mood/calm", positive=positive, negative=negative)
    assert ["length gap" in message for _, _, message in failures(tmp_path)] == [True] * fails


@pytest.mark.parametrize(("words", "fails"), [(3, False), (4, True)])
def test_a_pair_over_three_words_apart_fails_with_its_line(tmp_path, words, fails):
    write(tmp_path, "mood/calm", positive=changed(line_7=lines("mood calm", "positive")[6] + " so" * words))
    found = failures(tmp_path)
    assert [(file, key) for file, key, _ in found] == [("config/traits/mood/calm/positive.txt", "line 7")] * fails


def test_a_line_twice_in_a_pole_or_in_both_poles_fails_in_each_place(tmp_path):
    same = "I Think of mood calm, POSITIVE 1 — and"
    write(tmp_path, "mood/calm", positive=changed(line_9=same), negative=changed("negative", line_4=same))
    found = failures(tmp_path)
    assert [(file.rpartition("/")[2], key) for file, key, _ in found] == [
        ("positive.txt", "line 2"),
        ("positive.txt", "line 9"),
        ("negative.txt", "line 4"),
    ]
    assert "mood/calm/positive.txt line 9, mood/calm/negative.txt line 4" in found[0][2]
    assert check_traits(tmp_path).checks[0].duplicates == 3


def test_a_line_of_two_traits_fails_even_where_one_of_them_is_asked_for(tmp_path):
    write(tmp_path, "mood/calm")
    write(tmp_path, "mood/warm", negative=[*lines("mood warm", "negative", 99), lines("mood calm", "positive")[4]])
    assert [(file, key) for file, key, _ in failures(tmp_path)] == [
        ("config/traits/mood/calm/positive.txt", "line 5"),
        ("config/traits/mood/warm/negative.txt", "line 100"),
    ]
    ((file, _, message),) = failures(tmp_path, ["mood/calm"])
    assert file == "config/traits/mood/calm/positive.txt"
    assert "mood/warm/negative.txt line 100" in message
    assert [check.trait for check in check_traits(tmp_path, ["mood/calm"]).checks] == ["mood/calm"]


def test_a_finished_sentence_fails(tmp_path):
    write(tmp_path, "mood/calm", positive=changed(line_3="I think of the calm positive sea today."))
    ((_, key, message),) = failures(tmp_path)
    assert key == "line 3"
    assert "finished sentence" in message


def test_a_line_without_the_first_person_fails(tmp_path):
    write(tmp_path, "mood/calm", negative=changed("negative", line_8="They think of it in the old days and"))
    ((file, key, message),) = failures(tmp_path)
    assert (file, key) == ("config/traits/mood/calm/negative.txt", "line 8")
    assert "first person" in message


def test_a_question_twice_fails_in_one_list_and_across_both(tmp_path):
    search = [f"What is {number}?" for number in range(10)]
    write(tmp_path, "mood/calm", search=[*search, "what is 3"])
    assert [(file, key) for file, key, _ in failures(tmp_path)] == [
        ("config/traits/mood/calm/questions.yaml", "search.10")
    ]
    write(tmp_path, "mood/calm", search=search, report=[*search[:1], *(f"Who is {number}?" for number in range(10))])
    assert [(file, key) for file, key, _ in failures(tmp_path)] == [
        ("config/traits/mood/calm/questions.yaml", "report.0")
    ]


def test_a_trait_that_cannot_be_read_is_a_failure_and_the_others_are_still_checked(tmp_path):
    write(tmp_path, "mood/calm")
    write(tmp_path, "mood/odd", title="mood/even")
    report = check_traits(tmp_path)
    assert [(check.trait, check.positive) for check in report.checks] == [("mood/calm", 100), ("mood/odd", None)]
    assert [problem.key for problem in report.problems] == ["name"]
    assert report.checks[1].gap is None


def test_an_unknown_name_and_an_empty_folder_fail(tmp_path):
    assert "holds no trait" in failures(tmp_path)[0][2]
    write(tmp_path, "mood/calm")
    assert failures(tmp_path, ["mood/none"]) == [("config/traits/mood/none", "", "no such folder")]


def test_the_report_prints_a_row_a_trait_and_every_failure(tmp_path):
    write(tmp_path, "mood/calm", positive=changed(line_3="I think of the calm positive sea [today]."))
    write(tmp_path, "mood/odd", title="mood/even")
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(check_traits(tmp_path))
    text = console.export_text()
    assert "mood/calm │      100 │      100" in text
    assert "mood/odd  │        –" in text
    assert "2 failure(s)" in text
    assert "sea [today]." in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yesterday I went", True),
        ("I'm about to", True),
        ("i dunno, maybe", True),
        ("They gave it to me and", True),
        ("My dog is", True),
        ("Ours was the last house, and", True),
        ("Let us go to", True),
        ("She went to the US and", False),
        ("The idea, i.e. the plan, is", False),
        ("It is what it is, and", False),
        ("Mystery and wear", False),
    ],
)
def test_the_first_person_is_a_word_of_its_own(text, expected):
    assert is_first_person(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I went to the", True),
        ("I said:", True),
        ("At 3.5 degrees I", True),
        ("I went.", False),
        ("Did I?", False),
        ("I said “no!”", False),
        ("I wondered…", False),
        ("I went. ", False),
    ],
)
def test_a_prefix_is_left_open(text, expected):
    assert is_prefix(text) == expected


def test_the_shipped_traits_pass():
    assert set(SHIPPED) <= set(find_traits(ROOT))
    report = check_traits(ROOT)
    assert [str(problem) for problem in report.problems] == []
    for check in report.checks:
        assert check.positive >= 100
        assert check.questions >= 20
