import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import datasets
import httpx2
import pyarrow.parquet
import pytest
from datasets import Dataset, load_dataset
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    DatasetCard,
    HfApi,
    HfFileSystem,
    constants,
    hf_hub_download,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.support.loopback_hub import (
    QUOTA,
    LoopbackHub,
    forget_clients,
    hub_fixture,  # noqa: F401
    lead_clients_to,
    quick_retries_fixture,  # noqa: F401
    xet_fixture,  # noqa: F401
)
from tests.support.versions import HTTP
from tests.support.waiting import wait_until

CARD = b"---\nlicense: mit\n---\n# Rules\n"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
REPO = "me/rules"


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.url, token=hub.write_token, library_name="loopback")


@pytest.fixture
def repo(hub):
    hub.create_repo(REPO)
    return {"repo_id": REPO, "repo_type": "dataset"}


@pytest.fixture
def table():
    return Dataset.from_dict({"question": [f"What is {i}?" for i in range(50)], "number": list(range(50))})


def to_parquet(table):
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table.data.table, buffer)
    return buffer.getvalue()


def additions(table, **more):
    files = {"data/train-00000-of-00001.parquet": to_parquet(table), "README.md": CARD, "plot.png": PNG, **more}
    return [CommitOperationAdd(path, data) for path, data in files.items()]


def add(path="a.txt", data=b"a"):
    return [CommitOperationAdd(path, data)]


def test_repo_and_commit(hub, api, table):
    url = api.create_repo(REPO, repo_type="dataset", exist_ok=True)
    assert (url, url.repo_id) == (f"{hub.url}/datasets/{REPO}", REPO)
    assert api.create_repo(REPO, repo_type="dataset", exist_ok=True) == url
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo(REPO, repo_type="dataset")
    parent = api.dataset_info(REPO).sha

    info = api.create_commit(REPO, additions(table), commit_message="Add", repo_type="dataset", parent_commit=parent)

    newest, initial = hub.commits(REPO)
    assert (newest.oid, newest.parent, newest.summary, newest.author) == (info.oid, initial.oid, "Add", "me")
    assert hub.files(REPO) == [".gitattributes", "README.md", "data/train-00000-of-00001.parquet", "plot.png"]
    assert hub.read(REPO, "README.md") == CARD
    assert newest.files["plot.png"].lfs == hashlib.sha256(PNG).hexdigest() and not newest.files["README.md"].lfs
    assert hub.puts[newest.files["plot.png"].lfs] == [len(PNG)]
    (request,) = hub.received("POST .*/commit/main")
    assert (request.status, request.user) == (200, "me") and "loopback" in request.headers["user-agent"]


def test_unchanged_files_are_not_sent_again(hub, api, repo, table):
    first = api.create_commit(operations=additions(table), commit_message="Add", **repo)
    again = api.create_commit(operations=additions(table), commit_message="Again", **repo)
    assert again.oid == first.oid and len(hub.commits(REPO)) == 2
    api.create_commit(operations=additions(table, **{"README.md": CARD + b"More.\n"}), commit_message="More", **repo)
    assert hub.read(REPO, "README.md") == CARD + b"More.\n"
    assert {len(sizes) for sizes in hub.puts.values()} == {1}


def test_deletes(hub, api, repo, table):
    api.create_commit(operations=additions(table), commit_message="Add", **repo)
    delete = [CommitOperationDelete("data/"), CommitOperationDelete("plot.png")]
    api.create_commit(operations=delete, commit_message="Delete", **repo)
    assert hub.files(REPO) == [".gitattributes", "README.md"]
    with pytest.raises(EntryNotFoundError, match="doesn't exist"):
        api.delete_file("plot.png", **repo)


def test_parent_commit(hub, api, repo):
    parent = api.dataset_info(REPO).sha
    hub.commit(REPO, {"theirs.txt": b"first"})
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as caught:
        api.create_commit(operations=add(), commit_message="Add", parent_commit=parent, **repo)
    assert caught.value.response.status_code == 412
    assert "a.txt" not in hub.files(REPO)


def test_race(hub, api, repo):
    fault = hub.fault(race={"theirs.txt": b"first"})
    parent = api.dataset_info(REPO).sha
    with pytest.raises(HfHubHTTPError, match="412"):
        api.create_commit(operations=add(), commit_message="Add", parent_commit=parent, **repo)
    assert fault.used == 1
    assert hub.files(REPO) == [".gitattributes", "theirs.txt"]
    api.create_commit(operations=add(), commit_message="Add", parent_commit=api.dataset_info(REPO).sha, **repo)
    assert hub.files(REPO) == [".gitattributes", "a.txt", "theirs.txt"]


def test_roles(hub, repo):
    def status(token, repo_id=REPO):
        with pytest.raises(HfHubHTTPError) as caught:
            HfApi(endpoint=hub.url, token=token).create_commit(repo_id, add(), commit_message="A", repo_type="dataset")
        return caught.value.response.status_code

    assert status(hub.read_token) == status(hub.other_token) == status(hub.fine_token) == 403
    assert status(False) == status("hf_unknown") == 401
    with pytest.raises(HfHubHTTPError, match="403"):
        HfApi(endpoint=hub.url, token=hub.other_token).create_repo("me/new", repo_type="dataset")
    HfApi(endpoint=hub.url, token=hub.fine_token).create_repo("me/fine", repo_type="dataset")
    assert hub.files(REPO) == [".gitattributes"]


def test_whoami(hub, api, monkeypatch):
    assert api.whoami()["name"] == "me"
    assert HfApi().whoami()["auth"]["accessToken"]["role"] == "write"  # from HF_TOKEN, at the patched endpoint
    assert api.whoami(token=hub.read_token)["auth"]["accessToken"]["role"] == "read"
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        api.whoami(token="hf_unknown")
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(LocalTokenNotFoundError):
        HfApi().whoami()


def test_what_is_missing(hub, api, repo):
    hub.create_repo("other/secret", private=True)
    for repo_id in ("me/missing", "other/secret"):
        with pytest.raises(RepositoryNotFoundError):
            api.dataset_info(repo_id)
        with pytest.raises(RepositoryNotFoundError):
            HfApi(endpoint=hub.url, token=False).dataset_info(repo_id)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("me/missing")
    with pytest.raises(RevisionNotFoundError):
        api.dataset_info(REPO, revision="missing")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(filename="missing", **repo)
    assert HfApi(endpoint=hub.url, token=hub.other_token).dataset_info("other/secret").private


@pytest.mark.skipif(HTTP is not httpx2, reason="the client asks the public Hub before version 2")
def test_card_is_validated(hub, api, repo):
    with pytest.raises(ValueError, match='"license" must be'):
        api.create_commit(operations=add("README.md", b"---\nlicense: 1\n---\n"), commit_message="Add", **repo)
    DatasetCard(CARD.decode()).push_to_hub(REPO)
    assert hub.read(REPO, "README.md") == CARD


def test_pull_request(hub, api, repo, table):
    info = api.create_commit(operations=additions(table), commit_message="Offer", create_pr=True, **repo)
    assert (info.pr_num, info.pr_revision) == (1, "refs/pr/1")
    assert hub.files(REPO) == [".gitattributes"] and "README.md" in hub.files(REPO, "refs/pr/1")
    api.create_commit(operations=add(), commit_message="More", revision="refs/pr/1", **repo)
    details = api.get_discussion_details(discussion_num=1, **repo)
    assert (details.title, details.status, [event.type for event in details.events]) == (
        "Offer",
        "open",
        ["comment", "commit", "commit"],
    )
    api.merge_pull_request(discussion_num=1, **repo)
    assert "a.txt" in hub.files(REPO) and hub.commits(REPO)[0].summary == "Offer (#1)"
    assert [discussion.status for discussion in api.get_repo_discussions(**repo)] == ["merged"]
    other = HfApi(endpoint=hub.url, token=hub.other_token)
    assert other.create_commit(operations=add("b"), commit_message="B", create_pr=True, **repo).pr_num == 2
    other.create_commit(operations=add("c.png", PNG), commit_message="C", revision="refs/pr/2", **repo)
    assert hub.read(REPO, "c.png", "refs/pr/2") == PNG


def test_branches_tags_and_listings(hub, api, repo, table):
    api.create_branch(branch="draft/one", **repo)
    api.create_commit(operations=additions(table), commit_message="Add", revision="draft/one", **repo)
    api.create_tag(tag="v1", revision="draft/one", **repo)
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_tag(tag="v1", **repo)
    refs = api.list_repo_refs(**repo)
    assert [branch.name for branch in refs.branches] == ["main", "draft/one"] and refs.tags[0].name == "v1"
    hub.page_size = 2
    assert api.list_repo_files(revision="v1", **repo) == hub.files(REPO, "draft/one")
    assert [commit.title for commit in api.list_repo_commits(revision="v1", **repo)] == ["Add", "initial commit"]
    (entry,) = api.list_repo_tree(path_in_repo="data", revision="v1", expand=True, **repo)
    assert entry.last_commit.title == "Add" and entry.lfs.sha256 in hub.puts
    shard, folder = api.get_paths_info(paths=[entry.path, "data", "missing"], revision="v1", **repo)
    assert (shard.path, shard.size, folder.path) == (entry.path, entry.size, "data")
    api.delete_branch(branch="draft/one", **repo)
    assert hub.read(REPO, "README.md", "v1") == CARD


@pytest.mark.parametrize("way", ["lfs", "xet"])
def test_load_dataset(hub, api, repo, table, way, request):
    if way == "xet":
        request.getfixturevalue("xet")
    api.create_commit(operations=additions(table), commit_message="Add", **repo)
    file = hub.commits(REPO)[0].files["data/train-00000-of-00001.parquet"]
    assert (file.xet is not None, file.lfs in hub.puts) == (way == "xet", way == "lfs")
    assert hub.read(REPO, "data/train-00000-of-00001.parquet") == to_parquet(table)
    assert load_dataset(REPO, split="train").to_list() == table.to_list()
    assert list(load_dataset(REPO, split="train", streaming=True)) == table.to_list()
    assert bool(hub.received("GET .*/xet-read-token/")) == (way == "xet")
    with HfFileSystem().open(f"datasets/{REPO}/plot.png") as stream:
        stream.seek(1)
        assert stream.read(3) == b"PNG"


def test_datasets_pushes(hub, table):
    table.push_to_hub("me/pushed", "one", private=True)
    table.push_to_hub("me/pushed", "two")
    assert load_dataset("me/pushed", "two", split="train").to_list() == table.to_list()
    assert hub.files("me/pushed")[2:] == ["one/train-00000-of-00001.parquet", "two/train-00000-of-00001.parquet"]


def commit_what_was_not_uploaded(hub):
    pointer = {"path": "plot.png", "algo": "sha256", "oid": hashlib.sha256(PNG).hexdigest(), "size": len(PNG)}
    lines = [{"key": "header", "value": {"summary": "Add"}}, {"key": "lfsFile", "value": pointer}]
    return httpx2.post(
        f"{hub.url}/api/datasets/{REPO}/commit/main",
        content="\n".join(map(json.dumps, lines)),
        headers={"authorization": f"Bearer {hub.write_token}"},
    )


def test_files_must_be_uploaded_first(hub, repo):
    answer = commit_what_was_not_uploaded(hub)
    assert (answer.status_code, "does not exist" in answer.json()["error"]) == (400, True)
    assert httpx2.put(f"{hub.url}/lfs/{REPO}/{'0' * 64}?size=1", content=b"a").status_code == 400


def test_lost_answer(hub, api, repo):
    hub.fault("POST .*/commit/", cut="after")
    with pytest.raises(HTTP.RemoteProtocolError):
        api.create_commit(operations=add(), commit_message="Add", **repo)
    assert hub.commits(REPO)[0].summary == "Add" and hub.requests[-1].status is None


def test_cut_before(hub, api, repo):
    hub.fault("POST .*/commit/", cut="before")
    with pytest.raises(HTTP.RemoteProtocolError):
        api.create_commit(operations=add(), commit_message="Add", **repo)
    assert len(hub.commits(REPO)) == 1


def test_statuses(hub, api, repo, quick_retries):
    hub.fault("PUT ", status=500, times=2)
    hub.fault("POST .*/preupload/", status=429, retry_after=3)
    hub.fault("POST .*/commit/", status=403)
    with pytest.raises(HfHubHTTPError, match=QUOTA):
        api.create_commit(operations=add("a.png"), commit_message="Add", **repo)
    assert [request.status for request in hub.received("PUT |/preupload/|/commit/")] == [429, 200, 500, 500, 200, 403]
    assert quick_retries == {"times": 3, "seconds": 4 + 1 + 2}


def test_second_request_fails(hub, api, repo):
    hub.fault("POST .*/commit/", nth=2, status=502)
    api.create_commit(operations=add(), commit_message="One", **repo)
    with pytest.raises(HfHubHTTPError, match="502"):
        api.create_commit(operations=add("b"), commit_message="Two", **repo)
    api.create_commit(operations=add("b"), commit_message="Three", **repo)
    assert [commit.summary for commit in hub.commits(REPO)] == ["Three", "One", "initial commit"]


def test_delay(hub, api, repo):
    def commit():
        with contextlib.suppress(HTTP.HTTPError):  # the hub goes down
            api.create_commit(operations=add(), commit_message="Add", **repo)
        ended.append(True)

    hub.fault("POST .*/commit/", delay=1000)
    ended = []
    thread = threading.Thread(target=commit, daemon=True)
    thread.start()
    wait_until(lambda: hub.received("POST .*/commit/"))
    assert not ended and len(hub.commits(REPO)) == 1
    hub.down()
    thread.join()
    assert ended


def test_down(hub, api, repo):
    url, threads = hub.url, threading.active_count()
    api.dataset_info(REPO)
    hub.down()
    assert threading.active_count() < threads
    with pytest.raises(HTTP.ConnectError):
        api.dataset_info(REPO)
    hub.start()
    assert hub.url == url and api.dataset_info(REPO).id == REPO


def test_xet_is_as_strict(hub, xet, api, repo, table):
    assert commit_what_was_not_uploaded(hub).status_code == 400
    api.create_commit(operations=additions(table), commit_message="Add", create_pr=True, **repo)
    path = hf_hub_download(filename="plot.png", revision="refs/pr/1", **repo)
    assert Path(path).read_bytes() == PNG
    assert not hub.puts and hub.received("GET .*/xet-write-token/None")


@pytest.mark.parametrize("status", [403, 500])
def test_xet_gives_up(hub, xet, api, repo, status):
    hub.fault("GET .*/xet-write-token/", status=status, times=9)
    with pytest.raises(ConnectionError, match=str(status)):
        api.create_commit(operations=add("plot.png", PNG), commit_message="Add", **repo)
    assert len(hub.commits(REPO)) == 1


def test_other_processes(hub, repo):
    code = (
        "from huggingface_hub import upload_file as upload\n"
        f"upload(path_or_fileobj=b'a', path_in_repo='a.bin', repo_id={REPO!r}, repo_type='dataset')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert hub.read(REPO, "a.bin") == b"a"


def test_everything_is_put_back(tmp_path):
    def look():
        settings = [constants.ENDPOINT, constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_XET, constants.HF_HUB_CACHE]
        return settings, datasets.config.HF_ENDPOINT, datasets.config.HF_HUB_OFFLINE, dict(os.environ)

    before, threads = look(), threading.active_count()
    with LoopbackHub() as hub, pytest.MonkeyPatch.context() as patch:
        lead_clients_to(hub, patch, tmp_path)
        assert HfApi().whoami()["name"] == "me" and before != look()
        forget_clients()
    assert before == look() and threading.active_count() <= threads
