"""Repositories, revisions and permissions, seen through huggingface_hub."""

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.mini_hub import MiniHub, User


def status_of(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code


def write(api: HfApi, repo_id: str, text: str, **arguments) -> str:
    operation = CommitOperationAdd("text.txt", text.encode())
    return api.create_commit(repo_id, [operation], commit_message=f"write {text}", **arguments).oid


def read(repo_id: str, revision: str | None = None) -> str:
    with open(hf_hub_download(repo_id, "text.txt", revision=revision), encoding="utf-8") as file:
        return file.read()


def test_a_new_repository_has_one_commit_and_its_address_is_on_this_hub(hub, api, repo_id):
    assert api.create_repo(repo_id) == f"{hub.url}/{repo_id}"
    assert [commit.title for commit in api.list_repo_commits(repo_id)] == ["initial commit"]
    assert api.list_repo_files(repo_id) == [".gitattributes"]


def test_creating_a_repository_twice_is_a_conflict_unless_exist_ok(hub, api, repo_id):
    api.create_repo(repo_id)
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo(repo_id)
    assert status_of(error) == 409
    assert api.create_repo(repo_id, exist_ok=True).repo_id == repo_id


def test_a_name_without_namespace_is_in_the_namespace_of_the_user(hub, api, repo_id):
    name = "plain-" + repo_id.split("/")[1]
    assert api.create_repo(name).repo_id == f"user/{name}"
    assert api.create_repo(f"acme/{name}").repo_id == f"acme/{name}"


def test_repositories_of_different_types_may_share_an_id(hub, api, repo_id):
    api.create_repo(repo_id)
    url = api.create_repo(repo_id, repo_type="dataset")
    assert url == f"{hub.url}/datasets/{repo_id}"
    assert {("model", repo_id), ("dataset", repo_id)} <= hub.repos.keys()


def test_a_deleted_repository_is_gone(hub, api, repo_id):
    api.create_repo(repo_id)
    api.delete_repo(repo_id)
    assert not api.repo_exists(repo_id)
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo(repo_id)


@pytest.mark.parametrize("token, target", [("hf_write", "other/x"), ("hf_read", "user/x"), ("hf_other", "acme/x")])
def test_nobody_creates_repositories_where_they_may_not_write(hub, token, target):
    with pytest.raises(HfHubHTTPError) as error:
        HfApi(token=token).create_repo(target)
    assert status_of(error) == 403


def test_whoami_names_the_owner_and_the_role_of_a_token(hub, api):
    reader = api.whoami("hf_read")
    assert (reader["name"], reader["auth"]["accessToken"]["role"]) == ("user", "read")
    assert [org["name"] for org in api.whoami()["orgs"]] == ["acme"]


def test_an_unknown_token_is_not_taken_for_a_missing_repository(hub, api, repo_id):
    api.create_repo(repo_id)
    for call in (lambda: api.whoami("hf_bogus"), lambda: api.model_info(repo_id, token="hf_bogus")):
        with pytest.raises(HfHubHTTPError) as error:
            call()
        assert status_of(error) == 401
        assert not isinstance(error.value, RepositoryNotFoundError)


def test_a_hub_may_have_other_users():
    own_hub = MiniHub(users={"secret": User("ada", orgs=("royal",))})
    try:
        assert HfApi(endpoint=own_hub.url, token="secret").create_repo("royal/engine").repo_id == "royal/engine"
    finally:
        own_hub.close()


@pytest.mark.parametrize("token, status", [(False, 401), ("hf_other", 404)])
def test_a_private_repository_looks_missing_to_others(hub, api, repo_id, tmp_path, token, status):
    api.create_repo(repo_id, private=True)
    write(api, repo_id, "secret")
    for wanted in (repo_id, "user/missing"):
        with pytest.raises(RepositoryNotFoundError) as error:
            hf_hub_download(wanted, "text.txt", token=token, cache_dir=tmp_path)
        assert status_of(error) == status
    assert api.model_info(repo_id).private


def test_a_read_token_reads_but_does_not_write(hub, api, repo_id, tmp_path):
    api.create_repo(repo_id, private=True)
    write(api, repo_id, "secret")
    assert hf_hub_download(repo_id, "text.txt", token="hf_read", cache_dir=tmp_path)
    with pytest.raises(HfHubHTTPError) as error:
        write(HfApi(token="hf_read"), repo_id, "changed")
    assert status_of(error) == 403


@pytest.mark.parametrize("token, status", [(False, 401), ("hf_other", 403)])
def test_a_gate_hides_the_content_but_not_the_metadata(hub, api, repo_id, tmp_path, token, status):
    api.create_repo(repo_id)
    write(api, repo_id, "gated")
    api.update_repo_settings(repo_id, gated="manual")
    assert api.model_info(repo_id, token=token).gated == "manual"
    for call in (
        lambda: hf_hub_download(repo_id, "text.txt", token=token, cache_dir=tmp_path),
        lambda: snapshot_download(repo_id, token=token, cache_dir=tmp_path),
        lambda: api.auth_check(repo_id, token=token),
    ):
        with pytest.raises(GatedRepoError) as error:
            call()
        assert status_of(error) == status


def test_a_gate_opens_for_whoever_was_let_in(hub, api, repo_id, tmp_path):
    api.create_repo(repo_id)
    write(api, repo_id, "gated")
    api.update_repo_settings(repo_id, gated="auto")
    hub.repos["model", repo_id].allowed.add("other")
    assert hf_hub_download(repo_id, "text.txt", token="hf_other", cache_dir=tmp_path)


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, api, repo_id):
    api.create_repo(repo_id)
    first = write(api, repo_id, "1")
    api.create_tag(repo_id, tag="v1", revision=first)
    write(api, repo_id, "2")
    api.create_branch(repo_id, branch="dev/x", revision=first)
    write(api, repo_id, "3", revision="dev/x")
    revisions = {None: "2", "main": "2", "v1": "1", first: "1", "dev/x": "3", "refs/heads/dev/x": "3"}
    assert {revision: read(repo_id, revision) for revision in revisions} == revisions


def test_refs_are_listed_and_deleted(hub, api, repo_id):
    api.create_repo(repo_id)
    api.create_branch(repo_id, branch="dev")
    api.create_tag(repo_id, tag="v1")
    refs = api.list_repo_refs(repo_id)
    assert {branch.name for branch in refs.branches} == {"main", "dev"}
    assert [tag.name for tag in refs.tags] == ["v1"]
    api.delete_branch(repo_id, branch="dev")
    api.delete_tag(repo_id, tag="v1")
    refs = api.list_repo_refs(repo_id)
    assert ([branch.name for branch in refs.branches], refs.tags) == (["main"], [])


def test_a_commit_is_still_there_when_its_tag_is_deleted(hub, api, repo_id, tmp_path):
    api.create_repo(repo_id)
    first = write(api, repo_id, "1")
    api.create_tag(repo_id, tag="v1")
    write(api, repo_id, "2")
    api.delete_tag(repo_id, tag="v1")
    assert read(repo_id, first) == "1"
    with pytest.raises(RevisionNotFoundError):
        hf_hub_download(repo_id, "text.txt", revision="v1", cache_dir=tmp_path)


def test_a_branch_that_exists_is_a_conflict(hub, api, repo_id):
    api.create_repo(repo_id)
    with pytest.raises(HfHubHTTPError) as error:
        api.create_branch(repo_id, branch="main")
    assert status_of(error) == 409


def test_a_missing_revision_and_a_missing_file_are_told_apart(hub, api, repo_id):
    api.create_repo(repo_id)
    with pytest.raises(RevisionNotFoundError):
        api.model_info(repo_id, revision="v9")
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download(repo_id, "text.txt")


def test_anybody_may_propose_a_change_to_a_public_repository(hub, api, repo_id):
    api.create_repo(repo_id)
    write(api, repo_id, "ours")
    proposal = api.create_commit(
        repo_id,
        [CommitOperationAdd("text.txt", b"theirs")],
        commit_message="proposal",
        create_pr=True,
        token="hf_other",
    )
    assert proposal.pr_num == 1
    assert (read(repo_id), read(repo_id, "refs/pr/1")) == ("ours", "theirs")
