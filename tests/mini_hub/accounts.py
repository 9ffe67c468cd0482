"""Users, repositories as a whole, branches and tags."""

from tests.mini_hub.messages import HubError, Request, Response
from tests.mini_hub.reading import parse_card
from tests.mini_hub.store import GITATTRIBUTES, Blob, Repo


def whoami(request: Request) -> Response:
    """`HfApi.whoami`."""
    user = request.require_user()
    token = {"type": "access_token", "accessToken": {"displayName": "test", "role": user.role}}
    orgs = [{"name": org} for org in user.orgs]
    return Response({"type": "user", "name": user.name, "fullname": user.name, "orgs": orgs, "auth": token})


def validate_card(request: Request) -> Response:
    """Every client asks before it commits a README.md; a 400 stops it before anything is uploaded."""
    card = parse_card(request.json()["content"])
    warning = {"message": "empty or missing yaml metadata in repo card"}
    return Response({"errors": [], "warnings": [] if card else [warning]})


def named_repo(request: Request) -> tuple[str, str]:
    """Type and id of the repository in the body; without an organisation it is in the user's own namespace."""
    body = request.json()
    namespace = body.get("organization") or request.require_user().name
    return body.get("type", "model"), f"{namespace}/{body['name']}"


def create_repo(request: Request) -> Response:
    """`create_repo`. The client sends `visibility`, not `private`."""
    repo_type, repo_id = named_repo(request)
    repo = Repo(repo_type, repo_id, private=request.json().get("visibility") == "private")
    user, url = request.require_writer(repo.namespace), request.store.repo_url(repo)
    if (repo_type, repo_id) in request.store.repos:
        # With exist_ok=True the client takes the url from the body of this very error.
        raise HubError(409, f"You already created this {repo_type} repo", url=url)
    request.store.repos[repo_type, repo_id] = repo
    repo.commit("main", {".gitattributes": Blob.regular(GITATTRIBUTES.encode())}, "initial commit", author=user.name)
    return Response({"url": url, "name": repo_id, "id": repo_id})


def delete_repo(request: Request) -> Response:
    """`delete_repo`; its type and name are in the body, so the table cannot check the access."""
    repo_type, repo_id = named_repo(request)
    request.require_writer(repo_id.split("/")[0])
    if request.store.repos.pop((repo_type, repo_id), None) is None:
        raise request.not_found()
    return Response()


def change_settings(request: Request, repo: Repo) -> Response:
    """`update_repo_settings`: the body holds what changes."""
    body = request.json()
    if "visibility" in body:
        repo.private = body["visibility"] == "private"
    repo.gated = body.get("gated", repo.gated)
    return Response()


def list_refs(request: Request, repo: Repo) -> Response:
    """`list_repo_refs`."""

    def described(prefix: str) -> list[dict[str, str]]:
        refs = repo.named_refs(prefix)
        return [{"name": name, "ref": prefix + name, "targetCommit": commit} for name, commit in refs.items()]

    branches, tags = described("refs/heads/"), described("refs/tags/")
    return Response({"branches": branches, "tags": tags, "converts": [], "pullRequests": described("refs/pr/")})


def create_ref(repo: Repo, ref: str, revision: str) -> Response:
    """Point a new ref to a revision."""
    if ref in repo.refs:
        raise HubError(409, "Reference already exists")
    repo.refs[ref] = repo.resolve(revision).id
    return Response()


def delete_ref(repo: Repo, ref: str) -> Response:
    """Forget a ref; its commits stay reachable by their id."""
    if repo.refs.pop(ref, None) is None:
        raise HubError(404, f"Reference {ref} does not exist", "RevisionNotFound")
    return Response()


def create_branch(request: Request, repo: Repo, name: str) -> Response:
    """`create_branch`."""
    return create_ref(repo, f"refs/heads/{name}", request.json().get("startingPoint", "main"))


def delete_branch(request: Request, repo: Repo, name: str) -> Response:
    """`delete_branch`."""
    return delete_ref(repo, f"refs/heads/{name}")


def create_tag(request: Request, repo: Repo, rev: str) -> Response:
    """`create_tag`: the path has the revision, the body the name."""
    return create_ref(repo, f"refs/tags/{request.json()['tag']}", rev)


def delete_tag(request: Request, repo: Repo, name: str) -> Response:
    """`delete_tag`."""
    return delete_ref(repo, f"refs/tags/{name}")


def list_discussions(request: Request, repo: Repo) -> Response:
    """transformers looks for a pull request with converted weights when a repository has none in safetensors."""
    return Response({"discussions": [], "count": 0, "start": 0})
