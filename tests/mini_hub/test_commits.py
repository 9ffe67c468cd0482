"""Commits, file lists and cards, seen through huggingface_hub."""

import json
import threading

import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    file_exists,
    hf_hub_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from huggingface_hub.utils import get_session, hf_raise_for_status

from tests.mini_hub import MiniHub

BINARY = b"\0" * 1000


def commit(api: HfApi, repo_id: str, files: dict[str, bytes], delete: tuple[str, ...] = (), **arguments) -> str:
    operations: list = [CommitOperationAdd(path, content) for path, content in files.items()]
    operations += [CommitOperationDelete(path) for path in delete]
    return api.create_commit(repo_id, operations, commit_message="change", **arguments).oid


def post_commit(hub: MiniHub, repo: str, *lines: dict) -> None:
    """Send what the client itself would refuse to send."""
    body = "\n".join(json.dumps(line) for line in lines).encode()
    headers = {"Authorization": "Bearer hf_write"}
    hf_raise_for_status(get_session().post(f"{hub.url}/api/models/{repo}/commit/main", content=body, headers=headers))


def test_a_commit_adds_and_deletes_in_one_step(hub, api, repo):
    commit(api, repo, {"a/x.txt": b"1", "a/y.txt": b"2", "old.bin": BINARY, "z.txt": b"3"})
    before = len(api.list_repo_commits(repo))
    oid = commit(api, repo, {"new.txt": b"4"}, delete=("a/", "old.bin", "z.txt"))
    assert sorted(api.list_repo_files(repo)) == [".gitattributes", "new.txt"]
    assert len(api.list_repo_commits(repo)) == before + 1
    assert api.model_info(repo).sha == oid


def test_the_client_sends_all_files_in_one_request(hub, api, repo):
    commit(api, repo, {"config.json": b"{}", "model.safetensors": BINARY})
    (request,) = hub.requests("POST", "/commit/main")
    assert request["headers"]["Content-Type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in request["body"].splitlines()]
    assert [line["key"] for line in lines] == ["header", "file", "lfsFile"]


def test_a_commit_applies_in_full_or_not_at_all(hub, api, repo):
    before = api.model_info(repo).sha
    with pytest.raises(EntryNotFoundError):
        commit(api, repo, {"a.txt": b"1"}, delete=("missing.txt",))
    assert api.model_info(repo).sha == before
    assert api.list_repo_files(repo) == [".gitattributes"]


def test_a_failing_hub_leaves_the_branch_alone(hub, api, repo):
    before = api.model_info(repo).sha
    hub.fault("POST", "/commit/", status=500)
    with pytest.raises(HfHubHTTPError):
        commit(api, repo, {"a.txt": b"1", "model.bin": BINARY})
    assert api.model_info(repo).sha == before
    assert len(hub.requests("POST", "/commit/")) == 1  # the client does not repeat a commit by itself


def test_a_large_file_is_copied_without_another_upload(hub, api, repo):
    commit(api, repo, {"model.bin": BINARY})
    api.create_commit(repo, [CommitOperationCopy("model.bin", "copy.bin")], commit_message="copy")
    original, copy = api.get_paths_info(repo, ["model.bin", "copy.bin"])
    assert (original.lfs.sha256, original.size) == (copy.lfs.sha256, copy.size) == (copy.lfs.sha256, 1000)


def test_files_that_gitignore_names_are_left_out(hub, api, repo):
    commit(api, repo, {".gitignore": b"# logs\n*.log\n", "train.log": b"x", "kept.txt": b"x"})
    assert sorted(api.list_repo_files(repo)) == [".gitattributes", ".gitignore", "kept.txt"]


def test_unchanged_content_makes_no_commit(hub, api, repo):
    oid = commit(api, repo, {"a.txt": b"1"})
    assert commit(api, repo, {"a.txt": b"1"}) == oid
    assert len(hub.requests("POST", "/commit/")) == 1


@pytest.mark.parametrize("path", ["a/../../x", ".git/config", "a//b"])
def test_names_that_leave_the_repository_are_refused(hub, api, repo, path):
    line = {"key": "file", "value": {"path": path, "content": "", "encoding": "base64"}}
    header = {"key": "header", "value": {"summary": "hostile"}}
    with pytest.raises(HfHubHTTPError) as error:
        post_commit(hub, repo, header, line)
    assert error.value.response.status_code == 400


def test_a_commit_needs_a_message(hub, api, repo):
    with pytest.raises(HfHubHTTPError, match="summary is required"):
        post_commit(hub, repo, {"key": "header", "value": {"summary": ""}})


@pytest.mark.parametrize("digits", [40, 7])
def test_a_stale_parent_is_refused(hub, api, repo, digits):
    base = api.model_info(repo).sha
    commit(api, repo, {"a.txt": b"1"}, parent_commit=base[:digits])
    with pytest.raises(HfHubHTTPError) as error:
        commit(api, repo, {"b.txt": b"1"}, parent_commit=base[:digits])
    assert error.value.response.status_code == 412
    assert "b.txt" not in api.list_repo_files(repo)


def test_a_writer_who_comes_in_between_wins_over_parent_commit(hub, api, repo):
    def intrude() -> None:
        stored = hub.repos["model", repo]
        stored.commit("main", stored.resolve("main").files, "intruder")

    hub.fault("POST", "/commit/", hook=intrude)
    with pytest.raises(HfHubHTTPError) as error:
        commit(api, repo, {"a.txt": b"1"}, parent_commit=api.model_info(repo).sha)
    assert error.value.response.status_code == 412
    assert [entry.title for entry in api.list_repo_commits(repo)] == ["intruder", "initial commit"]


def test_writers_at_the_same_time_lose_nothing_without_parent_commit(hub, api, repo):
    def work(number: int) -> None:
        commit(HfApi(), repo, {f"{number}.txt": b"x", "same.txt": str(number).encode()})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(api.list_repo_commits(repo)) == 1 + 6
    assert set(api.list_repo_files(repo)) == {".gitattributes", "same.txt", *(f"{number}.txt" for number in range(6))}


def test_a_long_file_list_comes_in_pages(hub, api, repo, monkeypatch):
    monkeypatch.setattr(hub, "page_size", 3)
    commit(api, repo, {f"folder/{number}.txt": b"x" for number in range(7)})
    assert len(api.list_repo_files(repo)) == 8
    hub.log.clear()
    assert len(list(api.list_repo_tree(repo, "folder"))) == 7
    assert len(hub.requests("GET", "/tree/main/folder")) == 3


def test_a_file_list_shows_one_level_unless_recursive(hub, api, repo):
    commit(api, repo, {"a/b/c.txt": b"x", "a/d.txt": b"x"})
    assert [entry.path for entry in api.list_repo_tree(repo)] == [".gitattributes", "a"]
    assert [entry.path for entry in api.list_repo_tree(repo, "a")] == ["a/b", "a/d.txt"]
    everything = [".gitattributes", "a", "a/b", "a/b/c.txt", "a/d.txt"]
    assert [entry.path for entry in api.list_repo_tree(repo, recursive=True)] == everything
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(repo, "missing"))


def test_paths_info_skips_what_is_not_there(hub, api, repo):
    commit(api, repo, {"a/b.txt": b"xyz"})
    file, folder = api.get_paths_info(repo, ["a/b.txt", "missing.txt", "a"])
    assert (file.path, file.size, folder.path) == ("a/b.txt", 3, "a")


def test_the_absence_of_a_file_is_cached_for_the_commit(hub, api, repo):
    oid = commit(api, repo, {"a.txt": b"1"})
    assert file_exists(repo, "a.txt") and not file_exists(repo, "missing.txt")
    with pytest.raises(EntryNotFoundError):
        hf_hub_download(repo, "missing.txt")
    hub.log.clear()
    assert try_to_load_from_cache(repo, "missing.txt", revision=oid) is not None
    assert hub.log == []


def test_the_metadata_show_what_the_card_says(hub, api, repo):
    card = b"---\nlibrary_name: transformers\npipeline_tag: text-classification\ntags: [hfseq]\n---\n# Card\n"
    commit(api, repo, {"README.md": card, "model.bin": BINARY})
    info = api.model_info(repo, files_metadata=True)
    assert (info.library_name, info.pipeline_tag) == ("transformers", "text-classification")
    assert info.tags == ["transformers", "text-classification", "hfseq"]
    assert {file.rfilename: file.size for file in info.siblings}["model.bin"] == len(BINARY)


@pytest.mark.parametrize("metadata", [b"a: [", b"- no\n- mapping"])
def test_a_bad_card_is_refused_before_anything_is_uploaded(hub, api, repo, metadata):
    with pytest.raises(ValueError, match="Invalid metadata in README.md"):
        commit(api, repo, {"README.md": b"---\n" + metadata + b"\n---\n", "model.bin": BINARY})
    assert not hub.requests("PUT") and not hub.requests("POST", "/commit/")
