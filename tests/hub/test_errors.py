"""What people are told when a push fails: what failed, what is on the Hub now, what to do. And never a token."""

import errno
import logging
import re
import socket
import ssl
import traceback

import pytest
from datasets import Dataset, Features, Image, load_dataset

from hf_rare import push_to_hub
from hf_rare.errors import ConfigError, HubError
from hf_rare.hub_errors import CLIENT_ERROR, explain
from tests.support.loopback_hub import hub_fixture, quick_retries_fixture  # noqa: F401
from tests.support.pushing import REPO, make_recipe_without_model, no_waiting_fixture, table_fixture  # noqa: F401

NOTHING = "Nothing of this push is visible on the Hub."
UNKNOWN = "hf_" + "Unknown0Token" * 2
FOREIGN_TOKEN = "hf_" + "Echoed0Token" * 2


@pytest.fixture
def fail(hub, quick_retries, table, caplog):
    """Push, expect an error, and give what a person reads of it."""

    def push(repo_id=REPO, **kwargs) -> str:
        with caplog.at_level(logging.DEBUG, "hf_rare"), pytest.raises(HubError) as caught:
            push_to_hub(table.select(range(9)), repo_id, **kwargs)
        read = "".join(traceback.format_exception(caught.value)).split("\n")
        texts = [*read, caplog.text, repr(caught.value.__cause__), repr(caught.value.__context__)]
        for token in (*hub.tokens, UNKNOWN, FOREIGN_TOKEN):
            assert not [text for text in texts if token in text]
        message = str(caught.value)
        assert message.startswith(f"{repo_id}: ")
        return message

    return push


@pytest.fixture
def there(hub, table):
    """Rows that are on the Hub before; give a function that says whether the repository is as it was."""
    oid = push_to_hub(table, REPO).oid

    def is_as_before() -> bool:
        rows = load_dataset(REPO, split="train", download_mode="force_redownload").to_list()
        return hub.commits(REPO)[0].oid == oid and rows == table.to_list()

    return is_as_before


def says(message: str, *parts: str) -> bool:
    """Tell whether a message says these, in this order."""
    return re.search(".*".join(map(re.escape, parts)), message, re.DOTALL) is not None


def test_no_token(hub, fail, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert says(fail(), "the Hub asks for a token", "Run `hf auth login`, or pass token=", NOTHING)
    assert hub.repo_ids() == []


def test_a_token_that_is_unknown_or_has_expired(hub, fail):
    message = fail(token=UNKNOWN)
    assert says(message, "does not accept the token", "revoked or expired", "Run `hf auth login` again", NOTHING)
    assert hub.repo_ids() == []


def test_a_token_that_expires_between_upload_and_commit(hub, fail, there):
    hub.fault("POST .*/commit/", status=401, message="Invalid credentials in Authorization header")
    assert says(fail(), "does not accept the token", "Run `hf auth login` again", NOTHING)
    assert there()


def test_a_token_that_may_only_read(hub, fail, there):
    message = fail(token=hub.read_token)
    assert says(message, "the token may not write there", "Use a token with write access", NOTHING)
    assert there()


def test_somebody_elses_namespace(hub, fail):
    message = fail("other/rare")
    assert says(message, "may not write there", "a name under your own account or an organisation", NOTHING)
    assert hub.repo_ids() == []


def test_a_bad_name(hub, fail):
    message = fail("me/no/name")
    assert says(message, "cannot be the name of a repository", "Pass a name like me/my-dataset", NOTHING)
    assert hub.repo_ids() == []


def test_a_repository_that_is_gone_meanwhile(hub, fail, there):
    hub.fault("POST .*/preupload/", status=404, message="Repository not found")
    assert says(fail(), "there is no such repository", "Check its name", NOTHING)
    assert there()


def test_no_network(hub, fail):
    hub.create_repo(REPO)
    hub.down()
    assert says(fail(), "the Hub cannot be reached", "Check the connection and try again", NOTHING)
    assert len(hub.commits(REPO)) == 1


def test_a_network_that_goes_down_while_the_commit_is_sent(hub, fail, there, table):
    hub.fault("POST .*/commit/", cut="after")
    fault = hub.fault("GET .*/commits/", cut="before", times=99)
    message = fail()
    fault.times = 0
    in_doubt = "Its commit was sent, and whether it arrived is not known; pushing the same again completes it"
    assert says(message, "the Hub cannot be reached", "Check the connection and try again", in_doubt)
    assert not there()  # here it did arrive
    assert not push_to_hub(table.select(range(9)), REPO).has_changed


def test_a_pull_request_of_which_nobody_knows_whether_it_was_opened(hub, fail, there):
    hub.fault("POST .*/commit/", cut="after")
    fault = hub.fault("GET .*/discussions", cut="before", times=99)
    message = fail(create_pr=True)
    fault.times = 0
    assert says(message, "the Hub cannot be reached", "is not known; look at the pull requests before you push again")
    assert len(hub.discussions(REPO)) == 1
    assert there()


def test_too_many_requests(hub, fail, there):
    fault = hub.fault("POST .*/commit/", times=99, status=429, retry_after=0)
    assert says(fail(), "receives too many requests", "Wait some minutes and try again", NOTHING)
    assert fault.used == 5
    assert there()


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_hub_in_trouble(hub, fail, there, status):
    fault = hub.fault("POST .*/commit/", times=99, status=status)
    assert says(fail(), f"in trouble (status {status})", "Try again later", NOTHING)
    assert fault.used == 5
    assert there()


@pytest.mark.parametrize("request_to", ["preupload/", "objects/batch", "commit/"])
def test_no_room(hub, fail, there, request_to):
    hub.fault(f"POST .*/{request_to}", times=99, status=403, message="Storage quota exceeded")
    assert says(fail(), "has no room", "Storage quota exceeded", "Free or buy storage", NOTHING)
    assert there()


def test_a_push_that_is_raced_without_end(hub, fail, there, table):
    hub.fault("POST .*/commit/", times=99, race=True)
    message = fail()
    assert says(message, "committed to by others 5 times", NOTHING, "Push again: no shard is uploaded twice")
    assert not there()  # others have committed, and their commits are kept
    assert len(hub.commits(REPO)) == 7
    assert load_dataset(REPO, split="train", download_mode="force_redownload").to_list() == table.to_list()


def test_a_card_that_the_hub_refuses(hub, fail, there):
    message = fail(license="MIT License")
    assert says(message, "refuses the card", '"license" must be one of', "Mend the header", "license=")
    assert there()


@pytest.mark.parametrize("pattern", ["data/*", "*.json"])
def test_a_gitignore_that_keeps_files_out(hub, fail, there, table, pattern):
    hub.commit(REPO, {".gitignore": pattern.encode()})
    message = fail(recipe=make_recipe_without_model())
    if pattern == "data/*":
        assert says(message, "would leave out data/train-00000", "Nothing of this push is visible", "push again")
        assert load_dataset(REPO, split="train", download_mode="force_redownload").to_list() == table.to_list()
    else:
        assert says(message, "has made the commit", "without recipe.json", ".gitignore", "push again")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_readme_that_is_not_in_utf8(hub, there, table, encoding):
    readme = "Größe und Maß der Reihen\n".encode(encoding)
    hub.commit(REPO, {"README.md": readme})
    with pytest.raises(ConfigError, match=r"README\.md of me/rare is not in UTF-8 .* Save it as UTF-8"):
        push_to_hub(table.select(range(9)), REPO)
    assert hub.read(REPO, "README.md") == readme


def test_what_nobody_foresaw(hub, fail, there):
    hub.fault("POST .*/commit/", status=418, message=f"Short and stout, {FOREIGN_TOKEN}")
    assert says(fail(), "the Hub refused (status 418: ", "Short and stout, hf_...", "try again", NOTHING)
    assert there()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(hub, fail, there, monkeypatch, number):
    def write(*args, **kwargs):
        raise OSError(number, "Error writing bytes to file. Detail: storage")

    monkeypatch.setattr(Dataset, "to_parquet", write)
    message = fail()
    assert says(message, "the disk of this machine is full", f"[Errno {number}]", "Make room", "TMPDIR", NOTHING)
    assert "Check the connection" not in message
    assert "the Hub has no room" not in message
    assert there()


def test_an_image_that_is_missing(hub, there, tmp_path):
    rows = Dataset.from_dict({"image": [str(tmp_path / "storage.png")]}, features=Features({"image": Image()}))
    with pytest.raises(HubError) as caught:
        push_to_hub(rows, REPO, config_name="images")
    message = str(caught.value)
    assert says(message, "a file of this machine cannot be read or written", "storage.png", "Mend that", NOTHING)
    assert there()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/x/token"), "a file of this machine"),
        (OSError(errno.EROFS, "Read-only file system"), "a file of this machine"),
        (ConnectionError("Xet"), "the Hub cannot be reached"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "the Hub cannot be reached"),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "the Hub cannot be reached"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "the Hub cannot be reached"),
        (ssl.SSLError(5, "EOF occurred"), "the Hub cannot be reached"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "the Hub cannot be reached"),
        (OSError("something"), "the Hub cannot be reached"),
        (CLIENT_ERROR("refused"), "the Hub cannot be reached"),
    ],
)
def test_whether_disk_or_network_failed(error, words):
    with pytest.raises(HubError, match=words), explain(REPO, lambda: NOTHING):
        raise error
