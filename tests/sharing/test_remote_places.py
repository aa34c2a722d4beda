"""Places that are reached over a network: a local S3 server, a stand-in for the hub, and addresses that are refused."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import CommitOperationDelete
from moto.server import ThreadedMotoServer
from sharing_helpers import LEFT_OUT, NAME, RESULTS, RUN, SUMS, lying, make_empty_clone, make_run, run_files, write

from tells.sharing import address, store
from tells.sharing.address import open_store
from tells.sharing.manifest import SharingError
from tells.sharing.pull import pull
from tells.sharing.push import push
from tells.sharing.remote_store import HubStore, s3_options
from tells.sharing.store import in_parallel, told

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Address of an S3 server on this machine alone."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    yield "http://{}:{}".format(*running.get_host_and_port())
    running.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of a new bucket; credentials and the endpoint stand in the environment alone."""
    import s3fs

    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{abs(hash(request.node.name)):x}"
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(name)
    return f"s3://{name}"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return make_run(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return make_empty_clone(tmp_path / "there")


def names_in(address: str) -> set[str]:
    import s3fs

    files = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    return {path.partition("/")[2] for path in files.find(address.removeprefix("s3://"))}


# S3


def test_a_run_goes_to_s3_and_comes_back(here, there, bucket):
    done = push(here, NAME, f"{bucket}/some/prefix/")
    assert done.url == f"{bucket}/some/prefix/{NAME}"
    assert f"some/prefix/{NAME}/manifest.json" in names_in(bucket)
    pull(there, done.url)
    assert run_files(there) == RUN
    for name in RUN:
        assert (there / name).stat().st_mtime_ns == (here / name).stat().st_mtime_ns


def test_only_what_changed_goes_to_s3_and_the_old_content_goes(here, there, bucket):
    push(here, NAME, bucket)
    assert push(here, NAME, bucket).sent == {}
    write(here / RESULTS, b"other results")
    done = push(here, NAME, bucket)
    assert list(done.sent.values()) == [len(b"other results")]
    assert len(names_in(bucket)) == len(done.manifest.objects()) + 1
    pull(there, done.url)
    assert (there / RESULTS).read_bytes() == b"other results"


def test_tables_alone_go_to_s3(here, there, bucket):
    pull(there, push(here, NAME, bucket, tables_only=True).url)
    assert set(run_files(there)) == {*RUN} - LEFT_OUT


def test_a_large_file_goes_in_parts(here, there, bucket, monkeypatch):
    import s3fs.core

    # S3 takes parts of 5 MB and more.
    monkeypatch.setattr(s3fs.core, "calculate_chunksize", lambda *_, **__: 5 * 2**20)
    parts = []
    send = s3fs.core.S3FileSystem._call_s3

    async def counting(files, method, *arguments, **named):
        parts.append(method)
        return await send(files, method, *arguments, **named)

    monkeypatch.setattr(s3fs.core.S3FileSystem, "_call_s3", counting)
    content = bytes(range(256)) * (16 * 2**12)
    write(here / f"{SUMS}/shards/replay-0001.safetensors", content)
    done = push(here, NAME, bucket)
    assert parts.count("upload_part") >= 3
    pull(there, done.url)
    assert (there / f"{SUMS}/shards/replay-0001.safetensors").read_bytes() == content


@pytest.mark.parametrize("error", [PermissionError("AccessDenied"), ConnectionError("the line is dead")])
def test_a_push_to_s3_that_fails_leaves_the_old_run_whole(here, there, bucket, monkeypatch, error):
    import s3fs.core

    address = push(here, NAME, bucket).url
    for name in RUN:
        if name.endswith(".parquet"):
            write(here / name, b"new " + RUN[name])
    put, calls = s3fs.core.S3FileSystem._put_file, []

    async def dying(*arguments, **named):
        calls.append(1)
        if len(calls) > 2:
            raise error
        await put(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(s3fs.core.S3FileSystem, "_put_file", dying)
        with pytest.raises(SharingError, match=str(error)):
            push(here, NAME, bucket)
    pull(there, address)
    assert run_files(there) == RUN


def test_changed_content_on_s3_is_refused_and_nothing_is_placed(here, there, bucket):
    import s3fs

    done = push(here, NAME, bucket)
    digest = next(file.sha256 for file in done.manifest.files if file.path == RESULTS)
    s3fs.S3FileSystem().pipe_file(f"{done.url}/objects/{digest[:2]}/{digest}", b"x" * len(RUN[RESULTS]))
    before = lying(there)
    with pytest.raises(SharingError, match=r"results\.json came with .* checksum"):
        pull(there, done.url)
    assert lying(there) == before


def test_no_request_carries_a_checksum_that_other_providers_refuse(here, there, bucket, monkeypatch):
    """R2 refuses the trailer that botocore adds to uploads where it is not told otherwise."""
    from aiobotocore.httpsession import AIOHTTPSession

    sent = []
    send = AIOHTTPSession.send

    async def looking(session, request):
        sent.append({name.lower() for name in request.headers})
        return await send(session, request)

    monkeypatch.setattr(AIOHTTPSession, "send", looking)
    push(here, NAME, bucket)
    write(here / RESULTS, b"other results")
    pull(there, push(here, NAME, bucket).url)
    assert len(sent) > 20
    assert not [
        name
        for names in sent
        for name in names
        if "checksum" in name or name in ("x-amz-trailer", "x-amz-sdk-checksum-algorithm")
    ]


def test_what_the_environment_says_of_checksums_goes_first(monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    assert "request_checksum_calculation" not in s3_options()["config_kwargs"]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://example.org")
    assert s3_options()["config_kwargs"]["request_checksum_calculation"] == "when_required"
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    assert "request_checksum_calculation" not in s3_options()["config_kwargs"]


def test_a_place_on_s3_without_a_run_is_told(there, bucket):
    with pytest.raises(SharingError, match="holds no run"):
        pull(there, f"{bucket}/nothing/here")


def test_an_absent_bucket_is_told(here, bucket):
    with pytest.raises(SharingError, match=r"s3://absent-bucket/tiny: .*no such place or object"):
        push(here, NAME, "s3://absent-bucket")


def test_missing_credentials_are_told_by_the_means_of_s3(here, bucket, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(SharingError, match=r"s3://.*[Cc]redentials"):
        push(here, NAME, bucket)


def test_no_secret_of_the_environment_is_stored_or_logged(here, there, bucket, caplog, capsys):
    import s3fs

    caplog.set_level(logging.INFO)
    address = push(here, NAME, bucket).url
    pull(there, address)
    files = s3fs.S3FileSystem(skip_instance_cache=True)
    stored = b"".join(files.cat_file(path) for path in files.find(bucket.removeprefix("s3://")))
    said = "".join(capsys.readouterr()) + caplog.text
    for secret in (SECRET, "AKIAIOSFODNN7EXAMPLE"):
        assert secret.encode() not in stored + b"".join(lying(there).values())
        assert secret not in said


# The hub


@dataclass
class StandIn:
    """A repository as the hub's file system and its API show it; commits are counted."""

    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[int] = field(default_factory=list)

    def invalidate_cache(self) -> None:
        pass

    def resolve_path(self, path: str) -> SimpleNamespace:
        return SimpleNamespace(
            repo_id="me/runs", repo_type="dataset", revision="main", path_in_repo=path.removeprefix("datasets/me/runs/")
        )

    def cat_file(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]

    def find(self, path: str, detail: bool) -> dict[str, dict]:
        return {name: {"size": len(content)} for name, content in self.files.items() if name.startswith(path)}

    def get_file(self, path: str, target: str) -> None:
        Path(target).write_bytes(self.files[path])

    def create_commit(self, *, repo_id, repo_type, revision, operations, commit_message) -> None:
        assert (repo_id, repo_type, revision) == ("me/runs", "dataset", "main")
        assert commit_message.startswith("tells push")
        self.commits.append(len(operations))
        for one in operations:
            if isinstance(one, CommitOperationDelete):
                del self.files[f"datasets/me/runs/{one.path_in_repo}"]
                continue
            with one.as_file() as opened:
                self.files[f"datasets/me/runs/{one.path_in_repo}"] = opened.read()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    import fsspec
    import huggingface_hub

    standing = StandIn()
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url, **_: (standing, url.removeprefix("hf://")))
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: standing)
    return standing


def test_a_run_goes_to_the_hub_in_one_commit_and_its_manifest_in_another(here, there, hub):
    done = push(here, NAME, "hf://datasets/me/runs")
    assert hub.commits == [len(done.manifest.objects()), 1]
    assert json.loads(hub.files[f"datasets/me/runs/{NAME}/manifest.json"])["experiment"] == NAME
    pull(there, done.url)
    assert run_files(there) == RUN


def test_old_content_goes_from_the_hub_in_one_commit(here, there, hub):
    push(here, NAME, "hf://datasets/me/runs")
    for name in (RESULTS, f"{SUMS}/samples.parquet"):
        write(here / name, b"new " + RUN[name])
    hub.commits.clear()
    done = push(here, NAME, "hf://datasets/me/runs")
    assert hub.commits == [2, 1, 2]
    assert len(hub.files) == len(done.manifest.objects()) + 1
    pull(there, done.url)
    assert (there / RESULTS).read_bytes() == b"new " + RUN[RESULTS]


def test_many_files_go_to_the_hub_in_several_commits(here, there, hub, monkeypatch):
    from tells.sharing import remote_store

    monkeypatch.setattr(remote_store, "_COMMIT", 5)
    done = push(here, NAME, "hf://datasets/me/runs")
    count = len(done.manifest.objects())
    assert hub.commits == [5] * (count // 5) + [count % 5, 1]
    pull(there, done.url)
    assert run_files(there) == RUN


def test_the_hub_is_opened_by_its_own_file_system():
    assert isinstance(open_store("hf://datasets/me/runs", NAME), HubStore)


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIAKEY:sosecret@bucket/prefix",
        "s3://user@bucket",
        "https://user:sosecret@example.org/x",
        "s3://bucket/prefix?X-Amz-Signature=sosecret",
        "gs://bucket#sosecret",
    ],
)
def test_an_address_with_credentials_is_refused_and_not_repeated(here, there, url):
    for attempt in (lambda: push(here, NAME, url), lambda: pull(there, url)):
        with pytest.raises(SharingError, match="put credentials into the environment") as caught:
            attempt()
        assert "sosecret" not in str(caught.value)
        assert "AKIAKEY" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://example.org/x", "https://example.org/x", "memory://x", "S4://x"])
def test_an_unknown_scheme_is_refused(there, url):
    with pytest.raises(SharingError, match="is no place to share a run: name a folder, or an address with s3://"):
        pull(there, url)


@pytest.mark.parametrize(
    ("url", "missing", "extra"),
    [("s3://b", "s3fs", "sharing"), ("gs://b", "gcsfs", "sharing-gs"), ("hf://datasets/a/b", "fsspec", "sharing")],
)
def test_a_backend_that_is_not_installed_is_told_with_its_extra(there, monkeypatch, url, missing, extra):
    monkeypatch.setattr(address.importlib.util, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(SharingError, match=rf'needs {missing}: pip install "tells\[{extra}\]"'):
        pull(there, url)


def test_a_folder_needs_no_backend(here, there, tmp_path, monkeypatch):
    monkeypatch.setattr(address.importlib.util, "find_spec", lambda _: None)
    pull(there, push(here, NAME, str(tmp_path / "shared")).url)
    assert run_files(there) == RUN


def test_what_a_backend_says_is_told_in_one_line_without_secrets(monkeypatch):
    monkeypatch.setenv("MY_ACCESS_KEY", "verysecretvalue")
    with pytest.raises(SharingError) as caught, told("s3://bucket"):
        raise RuntimeError("refused:\n verysecretvalue")
    assert str(caught.value) == "s3://bucket: RuntimeError: refused: [MY_ACCESS_KEY]"
    assert caught.value.__suppress_context__


def test_the_first_error_ends_what_goes_side_by_side(monkeypatch):
    begun, ended = [], threading.Event()

    class Telling(ThreadPoolExecutor):
        def shutdown(self, wait=True, *, cancel_futures=False):
            if cancel_futures:
                super().shutdown(wait=False, cancel_futures=True)
            ended.set()
            super().shutdown(wait=wait)

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            raise ValueError("the first")
        ended.wait(60)

    monkeypatch.setattr(store, "ThreadPoolExecutor", Telling)
    with pytest.raises(ValueError, match="the first"):
        list(in_parallel(work, range(1000), workers=1))
    assert len(begun) <= 2
