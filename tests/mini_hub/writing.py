"""Commits. A client asks how to send each file (preupload), sends the large ones (see `lfs`), then commits once."""

import base64
import json
from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any

from tests.mini_hub.messages import HubError, Request, Response
from tests.mini_hub.store import LFS_SUFFIXES, Blob, Repo, Store

LARGE_FILE = 10 << 20
Files = dict[str, Blob]


def preupload(request: Request, repo: Repo, rev: str) -> Response:
    """Tell for each file: LFS or regular, ignored or not, and the hash of what is there already.

    The client leaves unchanged files out of its commit, and makes no commit at all when nothing is left: a push of
    what is there already succeeds with the id of somebody else's commit, whatever `parent_commit` says.
    """
    body, files = request.json(), repo.resolve(rev).files
    patterns = [line.strip() for line in body.get("gitIgnore", "").splitlines()]
    patterns = [pattern for pattern in patterns if pattern and not pattern.startswith("#")]
    answers = []
    for file in body["files"]:
        path = file["path"]
        mode = "lfs" if is_large(path, file["size"], base64.b64decode(file["sample"])) else "regular"
        answer = {"path": path, "uploadMode": mode, "shouldIgnore": any(fnmatch(path, p) for p in patterns)}
        answers.append(answer | ({"oid": files[path].etag} if path in files else {}))
    return Response({"files": answers})


def is_large(path: str, size: int, sample: bytes) -> bool:
    """Whether a file goes to LFS: by its size, its name, or because it is binary."""
    return size > LARGE_FILE or path.rsplit(".", 1)[-1] in LFS_SUFFIXES or b"\0" in sample


def add_file(store: Store, repo: Repo, files: Files, value: dict[str, Any]) -> None:
    """A regular file comes within the commit."""
    files[value["path"]] = Blob.regular(base64.b64decode(value["content"], validate=True))


def add_large_file(store: Store, repo: Repo, files: Files, value: dict[str, Any]) -> None:
    """A large file was uploaded before; a copy of one within the repository comes without its size."""
    sha256 = value["oid"]
    xet_hash = store.xet.xet_hash(sha256) if store.xet else None
    if sha256 not in store.lfs_objects and xet_hash is None:
        raise HubError(400, f"LFS pointer pointed to a file that does not exist: {value['path']}")
    files[value["path"]] = Blob.large(sha256, value.get("size") or repo.size_of(sha256), xet_hash)


def delete_file(store: Store, repo: Repo, files: Files, value: dict[str, Any]) -> None:
    """The Hub refuses the whole commit when a file to delete is not there."""
    if files.pop(value["path"], None) is None:
        raise HubError(404, "A file with this name doesn't exist", "EntryNotFound")


def delete_folder(store: Store, repo: Repo, files: Files, value: dict[str, Any]) -> None:
    """Delete every file below a folder."""
    prefix = value["path"].rstrip("/") + "/"
    for path in [path for path in files if path.startswith(prefix)]:
        del files[path]


OPERATIONS: dict[str, Callable[[Store, Repo, Files, dict[str, Any]], None]] = {
    "file": add_file,
    "lfsFile": add_large_file,
    "deletedFile": delete_file,
    "deletedFolder": delete_folder,
}


def check_path(path: str) -> None:
    """Refuse names that would leave the folder they are downloaded to, as the Hub does."""
    if {"", "..", ".git"} & set(path.rstrip("/").split("/")):
        raise HubError(400, f"invalid path {path!r}")


def writable_ref(repo: Repo, rev: str) -> str:
    """Full name of a branch or pull request; nobody commits to a tag or a commit id."""
    ref = rev if rev.startswith("refs/") else f"refs/heads/{rev}"
    if ref not in repo.refs:
        raise HubError(404, f"Invalid rev id: {rev}", "RevisionNotFound")
    return ref


def commit(request: Request, repo: Repo, rev: str) -> Response:
    """`create_commit`: newline-separated JSON, the header first. All operations apply, or none."""
    ref = writable_ref(repo, rev)
    head = repo.resolve(ref)
    lines = [json.loads(line) for line in request.body.splitlines()]
    header: dict[str, Any] = next((line["value"] for line in lines if line["key"] == "header"), {})
    if not header.get("summary"):
        raise HubError(400, "commit summary is required")
    opens_pr = "create_pr" in request.query
    if not head.id.startswith(header.get("parentCommit") or head.id) and not opens_pr:
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    files = dict(head.files)
    for line in lines:
        if line["key"] != "header":
            check_path(line["value"]["path"])
            OPERATIONS[line["key"]](request.store, repo, files, line["value"])
    return save_commit(request, repo, open_pull_request(repo, head.id) if opens_pr else ref, files, header)


def open_pull_request(repo: Repo, base: str) -> str:
    """Add the next pull request and return its ref."""
    ref = f"refs/pr/{len(repo.named_refs('refs/pr/')) + 1}"
    repo.refs[ref] = base
    return ref


def save_commit(request: Request, repo: Repo, ref: str, files: Files, header: dict[str, Any]) -> Response:
    """Store the commit and tell the client where it is."""
    author = request.require_user().name
    sha = repo.commit(ref, files, header["summary"], header.get("description", ""), author)
    url = request.store.repo_url(repo)
    answer = {"success": True, "commitOid": sha, "commitUrl": f"{url}/commit/{sha}", "hookOutput": ""}
    if "create_pr" in request.query:
        answer["pullRequestUrl"] = f"{url}/discussions/{ref.removeprefix('refs/pr/')}"
    return Response(answer)
