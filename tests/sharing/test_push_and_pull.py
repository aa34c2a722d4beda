"""A run goes to a folder and comes back: what travels, and what the commands say."""

from __future__ import annotations

import os

from sharing_helpers import (
    DEFINITIONS,
    LEFT_OUT,
    MODEL,
    NAME,
    RESULTS,
    RUN,
    SUMS,
    lying,
    objects_of,
    read_record,
    run_files,
    write,
)

from tells import cli
from tells.sharing.manifest import MANIFEST
from tells.sharing.pull import pull
from tells.sharing.push import push


def test_a_pulled_run_is_the_pushed_one(here, there, shared):
    done = pull(there, str(shared))
    assert run_files(there) == run_files(here) == RUN
    assert {name for name in lying(there) if not name.startswith((".snakemake", "logs"))} == {
        *DEFINITIONS,
        *(name for name in RUN if name.startswith("experiments")),
    }
    assert set(done.placed) == {*RUN, *DEFINITIONS}
    assert not list(there.glob("*/.tells-pull*"))


def test_logs_and_models_stay_where_they_are(there, shared):
    pull(there, str(shared))
    assert not list(there.rglob("*.log"))
    assert not (there / MODEL).exists()


def test_times_keep_their_order_to_the_nanosecond(here, there, shared):
    pull(there, str(shared))
    for name in (*RUN, *DEFINITIONS):
        assert (there / name).stat().st_mtime_ns == (here / name).stat().st_mtime_ns


def test_a_file_address_and_a_folder_are_the_same_place(here, there, tmp_path):
    done = push(here, NAME, f"file://{tmp_path}/shared")
    assert (tmp_path / "shared" / NAME / MANIFEST).exists()
    pull(there, f"file://{done.url}")
    assert run_files(there) == RUN


def test_without_shards_and_tensors_the_tables_travel_and_what_prompts_are_cut_by(here, there, tmp_path):
    done = push(here, NAME, str(tmp_path / "shared"), tables_only=True)
    assert {file.path for file in done.manifest.files} == {*RUN, *DEFINITIONS} - LEFT_OUT
    pull(there, done.url)
    assert set(run_files(there)) == {*RUN} - LEFT_OUT
    assert read_record(there, f"{SUMS}/shards/samples-0000.parquet")["rule"] == "made_up"


def test_of_a_whole_run_the_tables_alone_can_be_fetched(there, shared):
    done = pull(there, str(shared), tables_only=True)
    assert set(run_files(there)) == {*RUN} - LEFT_OUT
    assert not LEFT_OUT & {*done.fetched}


def test_a_second_push_sends_nothing(here, shared, tmp_path):
    before = lying(shared)
    done = push(here, NAME, str(tmp_path / "shared"))
    assert (done.sent, done.changed) == ({}, False)
    assert lying(shared) == before


def test_only_what_changed_is_sent_and_the_old_content_goes(here, shared, tmp_path):
    write(here / RESULTS, b'{"metadata": {"new": 1}}')
    done = push(here, NAME, str(tmp_path / "shared"))
    assert list(done.sent.values()) == [len(b'{"metadata": {"new": 1}}')]
    contents = [path.read_bytes() for path in objects_of(shared)]
    assert RUN[RESULTS] not in contents
    assert {path.name for path in objects_of(shared)} == {*done.manifest.objects()}


def test_only_what_changed_is_fetched(here, there, shared, tmp_path):
    pull(there, str(shared))
    write(here / RESULTS, b'{"metadata": {"new": 1}}')
    push(here, NAME, str(tmp_path / "shared"))
    done = pull(there, str(shared), force=True)
    assert done.placed == (RESULTS,)
    assert set(done.fetched) == {RESULTS}
    assert (there / RESULTS).read_bytes() == b'{"metadata": {"new": 1}}'


def test_a_second_pull_fetches_nothing_and_puts_times_right(there, shared):
    pull(there, str(shared))
    os.utime(there / RESULTS)
    done = pull(there, str(shared))
    assert (done.placed, done.fetched) == ((), {})
    assert (there / RESULTS).stat().st_mtime_ns < (
        there / f"logs/{NAME}/uncertainty/sums/merge_samples.tsv"
    ).stat().st_mtime_ns


def test_a_definition_brings_what_it_extends(here, there, tmp_path):
    (here / "experiments/child.yaml").write_text(f"extends: {NAME}\nseed: 4\n")
    write(here / "experiments/child/uncertainty/results.json", b"{}")
    done = push(here, "child", str(tmp_path / "shared"))
    pull(there, done.url)
    assert (there / "experiments/child.yaml").exists()
    assert (there / f"experiments/{NAME}.yaml").exists()
    assert not (there / f"experiments/{NAME}").exists()


def test_a_variant_brings_the_file_that_defines_it(here, there, tmp_path):
    definition = f"extends: {NAME}\nmodels: [one, two]\n"
    (here / "experiments/pair.yaml").write_text(definition)
    write(here / "experiments/pair-two/uncertainty/results.json", b"{}")
    pull(there, push(here, "pair-two", str(tmp_path / "shared")).url)
    assert (there / "experiments/pair.yaml").read_text() == definition


def test_half_written_and_hidden_files_stay_behind(here, there, tmp_path):
    write(here / f"{SUMS}/.samples.parquet.12.part", b"half")
    pull(there, push(here, NAME, str(tmp_path / "shared")).url)
    assert not list(there.rglob("*.part"))


# The commands


def test_the_commands_say_what_they_did(here, there, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(here)
    assert cli.main(["push", NAME, str(tmp_path / "shared")]) == 0
    told = capsys.readouterr().out
    assert f"{NAME}: 12 files" in told
    assert f"to fetch it: tells pull {tmp_path}/shared/{NAME}" in told
    assert cli.main(["push", NAME, str(tmp_path / "shared")]) == 0
    assert "what lies there is this run already" in capsys.readouterr().out
    monkeypatch.chdir(there)
    assert cli.main(["pull", f"{tmp_path}/shared/{NAME}"]) == 0
    told = capsys.readouterr().out
    assert "12 of 12 files are new here" in told
    assert f"snakemake --profile cpu -n --config experiments={NAME}" in told


def test_the_commands_fail_in_one_line(there, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(there)
    assert cli.main(["pull", str(tmp_path / "nowhere")]) == 1
    assert capsys.readouterr().err.startswith(f"{tmp_path}/nowhere holds no run")
    assert cli.main(["push", "absent", str(tmp_path / "shared")]) == 1
    assert "no such experiment" in capsys.readouterr().err
