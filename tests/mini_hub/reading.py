"""Metadata, file lists and downloads."""

import re
from typing import Any
from urllib.parse import parse_qs, quote

import yaml

from tests.mini_hub.messages import HubError, Request, Response
from tests.mini_hub.store import Blob, Commit, Repo, git_oid

FRONT_MATTER = re.compile(r"---\r?\n(.*?)\r?\n---", re.DOTALL)


def parse_card(text: str) -> dict[str, Any]:
    """Metadata at the head of a README.md."""
    head = FRONT_MATTER.match(text)
    try:
        card = yaml.safe_load(head[1]) if head else None
    except yaml.YAMLError as error:
        raise HubError(400, f"Invalid metadata in README.md: {error}") from error
    if not isinstance(card, dict | None):
        raise HubError(400, f"Invalid metadata in README.md: a mapping is expected, not {type(card).__name__}")
    return card or {}


def file_entry(path: str, blob: Blob) -> dict[str, Any]:
    """A file as file lists show it."""
    entry: dict[str, Any] = {"type": "file", "oid": blob.oid, "size": blob.size, "path": path}
    if blob.sha256 is not None:
        entry["lfs"] = {"oid": blob.sha256, "sha256": blob.sha256, "size": blob.size, "pointerSize": 134}
    if blob.xet_hash is not None:
        entry["xetHash"] = blob.xet_hash
    return entry


def folder_entry(path: str) -> dict[str, Any]:
    """A folder as file lists show it."""
    return {"type": "directory", "oid": git_oid(path.encode()), "size": 0, "path": path}


def sibling(path: str, blob: Blob, with_blob: bool) -> dict[str, Any]:
    """A file as the repository's metadata show it: a third form, with the details only on `?blobs=true`."""
    entry = file_entry(path, blob)
    details = {"size": blob.size, "blobId": blob.oid, "lfs": entry.get("lfs")} if with_blob else {}
    return {"rfilename": path} | details


def repo_info(request: Request, repo: Repo, rev: str = "main") -> Response:
    """`model_info`: one request resolves a branch to the commit from which all files are then loaded.

    `pipeline(model=id)` without a task takes it from `pipeline_tag`, which the Hub reads off the card.
    """
    commit = repo.resolve(rev)
    readme = commit.files.get("README.md")
    card = parse_card(request.store.content(readme).decode()) if readme else {}
    tags = [card.get("library_name"), card.get("pipeline_tag"), *card.get("tags", [])]
    siblings = [sibling(path, blob, "blobs" in request.query) for path, blob in sorted(commit.files.items())]
    identity = {"_id": repo.id, "id": repo.id, "modelId": repo.id, "author": repo.namespace, "sha": commit.id}
    dates = {"lastModified": commit.date, "createdAt": repo.history(rev)[-1].date}
    state = {"private": repo.private, "gated": repo.gated, "disabled": False, "downloads": 0, "likes": 0}
    described = {"pipeline_tag": card.get("pipeline_tag"), "library_name": card.get("library_name"), "cardData": card}
    content = {"tags": [tag for tag in tags if tag], "siblings": siblings, "spaces": []}
    return Response(identity | dates | state | described | content)


def list_commits(request: Request, repo: Repo, rev: str) -> Response:
    """`list_repo_commits`, newest first."""
    return Response(
        [
            {"id": c.id, "title": c.title, "message": c.message, "date": c.date, "authors": [{"user": c.author}]}
            for c in repo.history(rev)
        ]
    )


def entries_below(commit: Commit, folder: str) -> list[dict[str, Any]]:
    """All files and folders below a folder, "" for the root."""
    prefix = f"{folder}/" if folder else ""
    files = {path: blob for path, blob in commit.files.items() if path.startswith(prefix)}
    folders = {path.rsplit("/", level)[0] for path in files for level in range(1, path.count("/") + 1)}
    entries = [file_entry(path, blob) for path, blob in files.items()]
    entries += [folder_entry(path) for path in folders if path.startswith(prefix)]
    return sorted(entries, key=lambda entry: entry["path"])


def list_tree(request: Request, repo: Repo, rev: str, path: str = "") -> Response:
    """`list_repo_tree`, page by page.

    transformers asks for folders that most repositories lack (`additional_chat_templates`), datasets for `data`: they
    expect 404 with EntryNotFound.
    """
    entries = entries_below(repo.resolve(rev), path)
    if path and not entries:
        raise HubError(404, f"{path} does not exist on {rev}", "EntryNotFound")
    recursive = request.query.get("recursive", ["false"])[0]
    if recursive.lower() not in ("true", "1"):
        depth = path.count("/") + 1 if path else 0
        entries = [entry for entry in entries if entry["path"].count("/") == depth]
    start = int(request.query.get("cursor", ["0"])[0])
    end = start + request.store.page_size
    url = f"{request.store.url}{request.path}?recursive={recursive}&cursor={end}"
    return Response(entries[start:end], headers={"Link": f'<{url}>; rel="next"'} if end < len(entries) else {})


def paths_info(request: Request, repo: Repo, rev: str) -> Response:
    """`get_paths_info`: the body is form-encoded, unknown paths are left out of the answer."""
    commit, entries = repo.resolve(rev), []
    for path in parse_qs(request.body.decode()).get("paths", []):
        if path in commit.files:
            entries.append(file_entry(path, commit.files[path]))
        elif entries_below(commit, path):
            entries.append(folder_entry(path))
    return Response(entries)


def check_access(request: Request, repo: Repo) -> Response:
    """`auth_check`: all the work was done by the route's access."""
    return Response({"id": repo.id})


def find_file(repo: Repo, rev: str, path: str) -> tuple[Commit, Blob]:
    """Commit and file. The error names the commit, else the client cannot cache that the file does not exist."""
    commit = repo.resolve(rev)
    if path not in commit.files:
        error = HubError(404, "Entry not found", "EntryNotFound")
        error.response.headers["X-Repo-Commit"] = commit.id
        raise error
    return commit, commit.files[path]


def resolve_file(request: Request, repo: Repo, rev: str, path: str) -> Response:
    """Every download starts here; the client reads commit, hash and size off the headers of a redirect.

    A small file is redirected to a relative address, which the client follows. A large one is redirected to another
    origin (and there the client must not send its token), or, with xet, fetched from the chunk store instead.
    """
    commit, blob = find_file(repo, rev, path)
    headers = {"X-Repo-Commit": commit.id, "ETag": f'"{blob.etag}"', "X-Linked-Size": str(blob.size)}
    if blob.sha256 is None:
        location = f"/api/resolve-cache/{repo.type}s/{repo.id}/{commit.id}/{quote(path)}"
        return Response(b"", 307, headers | {"Location": location})
    headers["X-Linked-Etag"] = headers["ETag"]
    headers["Location"] = f"{request.store.cdn_url}/get/{blob.sha256}?signature={blob.oid}"
    if blob.xet_hash is not None:
        token_url = f"{request.store.url}/api/{repo.type}s/{repo.id}/xet-read-token/{commit.id}"
        headers |= {"X-Xet-Hash": blob.xet_hash, "Link": f'<{token_url}>; rel="xet-auth"'}
    return Response(b"", 302, headers)


def resolved_file(request: Request, repo: Repo, rev: str, path: str) -> Response:
    """Content of a small file."""
    commit, blob = find_file(repo, rev, path)
    headers = {"X-Repo-Commit": commit.id, "ETag": f'"{blob.etag}"', "Content-Type": "application/octet-stream"}
    return Response(request.store.content(blob), headers=headers)
