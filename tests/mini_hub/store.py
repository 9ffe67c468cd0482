"""What the Hub remembers: users, repositories, their commits and the files in them."""

import hashlib
import threading
from dataclasses import dataclass, field
from datetime import datetime, timezone

from tests.mini_hub.messages import HubError
from tests.mini_hub.xet import XetStore

LFS_SUFFIXES = frozenset(
    ("safetensors", "bin", "pt", "pth", "ckpt", "h5", "msgpack", "onnx", "npz", "npy", "arrow", "parquet")
    + ("gz", "zip", "tar", "model", "pkl", "pickle", "ot")
)
GITATTRIBUTES = "".join(f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in sorted(LFS_SUFFIXES))


def git_oid(data: bytes) -> str:
    """Name git gives to a file with this content; clients compare it with their own to skip unchanged files."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    """Text that git stores in place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


@dataclass(frozen=True)
class User:
    """Owner of a token; owns the namespaces of its name and of its organisations."""

    name: str
    role: str = "write"
    orgs: tuple[str, ...] = ()

    def owns(self, namespace: str) -> bool:
        """Whether repositories in this namespace belong to the user."""
        return namespace == self.name or namespace in self.orgs


@dataclass(frozen=True)
class Blob:
    """One version of one file. A large one has `sha256` and no `data`: its bytes lie in the LFS or the xet store."""

    oid: str
    size: int
    data: bytes | None = None
    sha256: str | None = None
    xet_hash: str | None = None

    @classmethod
    def regular(cls, data: bytes) -> "Blob":
        """A small file, kept in the commit itself."""
        return cls(git_oid(data), len(data), data)

    @classmethod
    def large(cls, sha256: str, size: int, xet_hash: str | None) -> "Blob":
        """A file of which the commit keeps the pointer only."""
        return cls(git_oid(lfs_pointer(sha256, size)), size, sha256=sha256, xet_hash=xet_hash)

    @property
    def etag(self) -> str:
        """Hash by which clients name the file in their cache and detect that nothing changed."""
        return self.sha256 or self.oid


@dataclass(frozen=True)
class Commit:
    """A state of a repository: all files by their path."""

    id: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    files: dict[str, Blob]


@dataclass
class Repo:
    """A repository. `refs` maps full names (`refs/heads/main`, `refs/tags/v1`, `refs/pr/1`) to commit ids."""

    type: str
    id: str
    private: bool = False
    gated: str | bool = False
    allowed: set[str] = field(default_factory=set)
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """User or organisation that owns the repository."""
        return self.id.split("/")[0]

    @property
    def path(self) -> str:
        """Place of the repository on the site: models are at the root."""
        return self.id if self.type == "model" else f"{self.type}s/{self.id}"

    def resolve(self, revision: str) -> Commit:
        """Commit that a branch, tag, pull request or full commit id stands for."""
        for ref in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if ref in self.refs:
                return self.commits[self.refs[ref]]
        if revision in self.commits:
            return self.commits[revision]
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def history(self, revision: str) -> list[Commit]:
        """Commits from this revision back to the first."""
        commits = [self.resolve(revision)]
        while commits[-1].parent is not None:
            commits.append(self.commits[commits[-1].parent])
        return commits

    def named_refs(self, prefix: str) -> dict[str, str]:
        """Short names and commits of the refs below `refs/heads/`, `refs/tags/` or `refs/pr/`."""
        return {ref.removeprefix(prefix): commit for ref, commit in self.refs.items() if ref.startswith(prefix)}

    def commit(self, branch: str, files: dict[str, Blob], title: str, message: str = "", author: str = "hub") -> str:
        """Make `files` the new state of a branch (or of `refs/pr/N`) and return the commit id.

        Tests call it too, to play another writer.
        """
        ref = branch if branch.startswith("refs/") else f"refs/heads/{branch}"
        parent, now = self.refs.get(ref), datetime.now(timezone.utc)
        oids = sorted((path, blob.oid) for path, blob in files.items())
        sha = hashlib.sha1(repr((self.id, parent, now, len(self.commits), oids)).encode()).hexdigest()
        # The client parses dates with this one format; an ISO offset such as +00:00 raises ValueError there.
        date = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.commits[sha] = Commit(sha, parent, title, message, author, date, files)
        self.refs[ref] = sha  # the only step that readers can see: a commit is atomic
        return sha

    def size_of(self, sha256: str) -> int:
        """Size of a large file that some commit of this repository has."""
        blobs = (blob for commit in self.commits.values() for blob in commit.files.values())
        return next(blob.size for blob in blobs if blob.sha256 == sha256)


DEFAULT_USERS = {
    "hf_write": User("user", orgs=("acme",)),
    "hf_read": User("user", role="read", orgs=("acme",)),
    "hf_other": User("other"),
}


class Store:
    """Everything the Hub knows. Handlers run under `lock`, one at a time."""

    def __init__(self, users: dict[str, User] | None, multipart_chunk: int | None, xet: bool, page_size: int) -> None:
        self.users = DEFAULT_USERS if users is None else users
        self.multipart_chunk = multipart_chunk
        self.page_size = page_size
        self.xet = XetStore() if xet else None
        self.repos: dict[tuple[str, str], Repo] = {}
        self.lfs_objects: dict[str, bytes] = {}
        self.lfs_parts: dict[str, dict[int, bytes]] = {}
        self.lock = threading.RLock()
        self.url = ""
        self.cdn_url = ""

    def repo_url(self, repo: Repo) -> str:
        """Page of the repository, as the client prints it."""
        return f"{self.url}/{repo.path}"

    def content(self, blob: Blob) -> bytes:
        """Bytes of a file, wherever they lie."""
        if blob.data is not None:
            return blob.data
        if blob.sha256 in self.lfs_objects:
            return self.lfs_objects[blob.sha256]
        if self.xet is None or blob.xet_hash is None:
            raise HubError(404, "The content of this file was never uploaded", "EntryNotFound")
        return self.xet.read(blob.xet_hash, blob.size)
