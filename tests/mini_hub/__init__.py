"""A Hub of our own, for tests: the real huggingface_hub, transformers and datasets push to it and pull from it.

It runs in threads of the test process, on the loopback interface, with its state in memory:

- `store`: users, repositories, commits and files; `xet`: the content-addressed store behind xet uploads;
- `messages`: request, answer, error, and who may do what;
- `accounts`, `reading`, `writing`, `lfs`: the handlers, grouped as a client would use them;
- `routes`: the one table which says what request goes to what handler;
- `server`: sockets, the request log and the faults that a test injects.

Commits are atomic and a stale parent is refused *by construction*: a test against this Hub shows what the client
sends and how it takes the answers, never how the real Hub behaves under load.
"""

from tests.mini_hub.server import Fault, LogEntry, MiniHub
from tests.mini_hub.store import Blob, Commit, Repo, User

__all__ = ["Blob", "Commit", "Fault", "LogEntry", "MiniHub", "Repo", "User"]
