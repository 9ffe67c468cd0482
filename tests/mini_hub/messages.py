"""Request, answer and error, and who may do what."""

import json
from dataclasses import dataclass, field
from email.message import Message
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.mini_hub.store import Repo, Store, User


class Access(Enum):
    """What a request wants of a repository."""

    SEE = "see"  # that it exists, its metadata and file list; a gate does not hide them
    DOWNLOAD = "download"  # its content
    WRITE = "write"
    PROPOSE = "propose"  # write, or open a pull request with `?create_pr=1`, which whoever sees it may do


@dataclass
class Response:
    """An answer: JSON, or bytes as they are."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def encode(self) -> None:
        """Turn a JSON body into bytes."""
        if not isinstance(self.body, bytes):
            self.body = json.dumps(self.body).encode()
            self.headers = {"Content-Type": "application/json"} | self.headers


class HubError(Exception):
    """A refusal. The client chooses its exception by the header `X-Error-Code`, and by the status without one."""

    def __init__(self, status: int, message: str, code: str | None = None, **body: str) -> None:
        super().__init__(message)
        header = " ".join(message.encode("ascii", "replace").decode().split())
        self.response = Response({"error": message} | body, status, {"X-Error-Message": header})
        if code is not None:
            self.response.headers["X-Error-Code"] = code


@dataclass
class Request:
    """A request with the Hub it was sent to. `path` is as it came, without the query."""

    store: "Store"
    method: str
    path: str
    query: dict[str, list[str]]
    headers: Message
    body: bytes

    def json(self) -> Any:
        """Parsed body; no body is an empty object."""
        return json.loads(self.body or b"{}")

    @property
    def token(self) -> str:
        """Token that the client shows, "" for none."""
        return self.headers.get("Authorization", "").removeprefix("Bearer ").strip()

    def check_token(self) -> None:
        """An unknown token is refused even where none is needed."""
        if self.token and self.token not in self.store.users:
            raise HubError(401, "Invalid credentials in Authorization header")

    @property
    def user(self) -> "User | None":
        """Owner of the token, None without one."""
        return self.store.users.get(self.token)

    def require_user(self) -> "User":
        """Owner of the token; a request without one is refused."""
        user = self.user
        if user is None:
            raise HubError(401, "Invalid username or password.")
        return user

    def require_writer(self, namespace: str) -> "User":
        """Owner of the token, which must be allowed to write to the namespace."""
        user = self.require_user()
        if user.role == "read" or not user.owns(namespace):
            raise HubError(403, f'You don\'t have the rights to write under the namespace "{namespace}"')
        return user

    def require_repo(self, repo_type: str, repo_id: str, access: Access) -> "Repo":
        """The repository, if the user may do this with it."""
        repo = self.store.repos.get((repo_type, repo_id))
        if repo is None or (repo.private and not self.owns(repo)):
            raise self.not_found()  # never tell a private repository from a missing one
        if access is Access.DOWNLOAD:
            self.pass_gate(repo)
        if access is Access.WRITE or (access is Access.PROPOSE and "create_pr" not in self.query):
            if self.user is None:
                raise self.not_found()
            self.require_writer(repo.namespace)
        return repo

    def owns(self, repo: "Repo") -> bool:
        """Whether the repository belongs to the user."""
        user = self.user
        return user is not None and user.owns(repo.namespace)

    def not_found(self) -> HubError:
        """Answer for a repository that is not there, or not for this user.

        The real Hub sends a bare 401 to the anonymous; the client reads that as "repository not found" for https
        addresses only, so this Hub, which speaks http, names the error.
        """
        if self.user is None:
            return HubError(401, "Invalid username or password.", "RepoNotFound")
        return HubError(404, "Repository not found", "RepoNotFound")

    def pass_gate(self, repo: "Repo") -> None:
        """Refuse the content of a gated repository to those who were not let in."""
        user = self.user
        if not repo.gated or self.owns(repo) or (user is not None and user.name in repo.allowed):
            return
        message = f"Access to {repo.type} {repo.id} is restricted. You must have access to it and be authenticated."
        raise HubError(401 if user is None else 403, message, "GatedRepo")
