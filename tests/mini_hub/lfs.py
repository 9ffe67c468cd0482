"""Large files: git-LFS uploads and downloads through a second origin (the "CDN"), and the tokens that xet needs.

The CDN stands for cloud storage behind signed addresses: it has no users and refuses every request that shows a token.
"""

import hashlib
import time
from typing import Any

from tests.mini_hub.messages import HubError, Request, Response
from tests.mini_hub.store import Repo, Store


def batch(request: Request, repo: Repo) -> Response:
    """Tell for each object where to send it; one that is there already gets no address (deduplication)."""
    body = request.json()
    repo.resolve(body.get("ref", {}).get("name", "main"))
    verify = {"href": f"{request.store.url}/api/{repo.type}s/{repo.id}/lfs-verify"}
    answers = []
    for wanted in body["objects"]:
        answer = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in request.store.lfs_objects:
            answer["actions"] = {"upload": upload_action(request.store, wanted), "verify": verify}
        answers.append(answer)
    headers = {"Content-Type": "application/vnd.git-lfs+json"}
    return Response({"transfer": "basic", "objects": answers}, headers=headers)


def upload_action(store: Store, wanted: dict[str, Any]) -> dict[str, Any]:
    """Address for one PUT or, above `multipart_chunk` bytes, one per part plus one to put the parts together."""
    href, chunk = f"{store.cdn_url}/put/{wanted['oid']}", store.multipart_chunk
    if not chunk or wanted["size"] <= chunk:
        return {"href": href}
    count = -(-wanted["size"] // chunk)
    parts = {str(number): f"{href}?part={number}" for number in range(1, count + 1)}
    return {"href": f"{store.cdn_url}/complete/{wanted['oid']}", "header": {"chunk_size": str(chunk)} | parts}


def verify_upload(request: Request, repo: Repo) -> Response:
    """The client asks after each upload whether the object arrived."""
    body = request.json()
    if len(request.store.lfs_objects.get(body["oid"], b"")) != body["size"]:
        raise HubError(404, "LFS object was not uploaded")
    return Response()


def put_object(request: Request, sha256: str) -> Response:
    """Receive a whole file, or one part; the client needs each part's ETag."""
    if "part" not in request.query:
        return keep_object(request.store, sha256, request.body)
    request.store.lfs_parts.setdefault(sha256, {})[int(request.query["part"][0])] = request.body
    return Response(b"", headers={"ETag": f'"{hashlib.md5(request.body).hexdigest()}"'})


def complete_object(request: Request, sha256: str) -> Response:
    """Put the parts of a file together."""
    parts = request.store.lfs_parts.pop(sha256, {})
    return keep_object(request.store, sha256, b"".join(parts[part["partNumber"]] for part in request.json()["parts"]))


def keep_object(store: Store, sha256: str, content: bytes) -> Response:
    """Store an object whose content is what its name says."""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise HubError(400, "content does not match its sha256")
    store.lfs_objects[sha256] = content
    return Response()


def get_object(request: Request, sha256: str) -> Response:
    """Download a large file, with the signature that `resolve_file` put into the address."""
    commits = (commit for repo in request.store.repos.values() for commit in repo.commits.values())
    for blob in (blob for commit in commits for blob in commit.files.values()):
        if blob.sha256 == sha256 and request.query.get("signature") == [blob.oid]:
            return Response(request.store.content(blob), headers={"ETag": f'"{sha256}"'})
    raise HubError(403, "bad signature")


def xet_token(request: Request, repo: Repo, rev: str) -> Response:
    """Address of the chunk store: hf-xet's Rust code reads the JSON, huggingface_hub's Python the headers."""
    if request.store.xet is None:
        raise HubError(404, "xet is off on this Hub")
    url, expiry = request.store.xet.url, int(time.time()) + 3600
    headers = {"X-Xet-Cas-Url": url, "X-Xet-Access-Token": "xet", "X-Xet-Token-Expiration": str(expiry)}
    return Response({"casUrl": url, "accessToken": "xet", "exp": expiry}, headers=headers)
