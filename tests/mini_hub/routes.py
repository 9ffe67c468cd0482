"""The table of all requests that clients make, and the search in it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from tests.mini_hub import accounts, lfs, reading, writing
from tests.mini_hub.messages import Access, HubError, Request, Response

# Names in a pattern become arguments of the handler. Clients quote the "/" in revisions, so one segment holds them.
# The addresses of files and of LFS leave "models" out.
PLACEHOLDERS = {
    "{repo}": "(?P<repo_types>models|datasets|spaces)/(?P<repo_id>[^/]+/[^/]+)",
    "{site}": "(?:(?P<repo_types>datasets|spaces)/)?(?P<repo_id>[^/]+/[^/]+?)",
    "{rev}": "(?P<rev>[^/]+)",
    "{name}": "(?P<name>.+)",
    "{sha256}": "(?P<sha256>[0-9a-f]{64})",
    "{path}": "(?P<path>.+)",
}


@dataclass(frozen=True)
class Route:
    """One row: requests of this form go to this handler, with the repository if `access` says what they may do."""

    method: str
    pattern: str
    handler: Callable[..., Response]
    access: Access | None = None

    def match(self, request: Request) -> dict[str, str] | None:
        """Values of the names in the pattern, None if the request is another. HEAD is GET without the content."""
        if self.method != ("GET" if request.method == "HEAD" else request.method):
            return None
        regex = re.sub(r"\{\w+\}", lambda name: PLACEHOLDERS[name[0]], self.pattern)
        found = re.fullmatch(regex, request.path)
        return found and {name: unquote(value) for name, value in found.groupdict(default="models").items()}

    def answer(self, request: Request, arguments: dict[str, str]) -> Response:
        """Call the handler."""
        if self.access is None:
            return self.handler(request, **arguments)
        repo_type = arguments.pop("repo_types").removesuffix("s")
        repo = request.require_repo(repo_type, arguments.pop("repo_id"), self.access)
        return self.handler(request, repo, **arguments)


SEE, DOWNLOAD, WRITE, PROPOSE = Access.SEE, Access.DOWNLOAD, Access.WRITE, Access.PROPOSE
API_ROUTES = (
    Route("GET", "/api/whoami-v2", accounts.whoami),
    Route("POST", "/api/validate-yaml", accounts.validate_card),
    Route("POST", "/api/repos/create", accounts.create_repo),
    Route("DELETE", "/api/repos/delete", accounts.delete_repo),
    Route("PUT", "/api/{repo}/settings", accounts.change_settings, WRITE),
    Route("GET", "/api/{repo}/refs", accounts.list_refs, SEE),
    Route("POST", "/api/{repo}/branch/{name}", accounts.create_branch, WRITE),
    Route("DELETE", "/api/{repo}/branch/{name}", accounts.delete_branch, WRITE),
    Route("POST", "/api/{repo}/tag/{rev}", accounts.create_tag, WRITE),
    Route("DELETE", "/api/{repo}/tag/{name}", accounts.delete_tag, WRITE),
    Route("GET", "/api/{repo}/discussions", accounts.list_discussions, SEE),
    Route("GET", "/api/{repo}", reading.repo_info, SEE),
    Route("GET", "/api/{repo}/revision/{rev}", reading.repo_info, SEE),
    Route("GET", "/api/{repo}/commits/{rev}", reading.list_commits, SEE),
    Route("GET", "/api/{repo}/tree/{rev}", reading.list_tree, SEE),
    Route("GET", "/api/{repo}/tree/{rev}/{path}", reading.list_tree, SEE),
    Route("POST", "/api/{repo}/paths-info/{rev}", reading.paths_info, SEE),
    Route("GET", "/api/{repo}/auth-check", reading.check_access, DOWNLOAD),
    Route("GET", "/api/{repo}/auth-check/write", reading.check_access, WRITE),
    Route("GET", "/{site}/resolve/{rev}/{path}", reading.resolve_file, DOWNLOAD),
    Route("GET", "/api/resolve-cache/{repo}/{rev}/{path}", reading.resolved_file, DOWNLOAD),
    Route("POST", "/api/{repo}/preupload/{rev}", writing.preupload, PROPOSE),
    Route("POST", "/api/{repo}/commit/{rev}", writing.commit, PROPOSE),
    Route("POST", r"/{site}\.git/info/lfs/objects/batch", lfs.batch, WRITE),
    Route("POST", "/api/{repo}/lfs-verify", lfs.verify_upload, WRITE),
    Route("GET", "/api/{repo}/xet-write-token/{rev}", lfs.xet_token, WRITE),
    Route("GET", "/api/{repo}/xet-read-token/{rev}", lfs.xet_token, DOWNLOAD),
)
CDN_ROUTES = (
    Route("GET", "/get/{sha256}", lfs.get_object),
    Route("PUT", "/put/{sha256}", lfs.put_object),
    Route("POST", "/complete/{sha256}", lfs.complete_object),
)
REPO_PATHS = re.compile("/api/(models|datasets|spaces)/|.*/resolve/")


def answer_api(request: Request) -> Response:
    """Answer a request to the Hub itself."""
    request.check_token()
    for route in API_ROUTES:
        arguments = route.match(request)
        if arguments is not None:
            return route.answer(request, arguments)
    # Ids without a namespace match no row: such repositories do not exist here.
    raise HubError(404, "Not found", "RepoNotFound" if REPO_PATHS.match(request.path) else None)


def answer_cdn(request: Request) -> Response:
    """Answer a request to the storage origin."""
    if "Authorization" in request.headers:
        raise HubError(400, "Only one auth mechanism allowed")
    for route in CDN_ROUTES:
        arguments = route.match(request)
        if arguments is not None:
            return route.answer(request, arguments)
    raise HubError(404, "Not found")
