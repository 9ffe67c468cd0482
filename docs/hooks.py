"""What mkdocs does not do by itself: pages that lie outside docs/, and links that leave docs/.

Links are written as they are right in the repository, where most people read these pages. On the site, the model
cards, CONTRIBUTING.md and CHANGELOG.md are pages too; a link to any other file of the repository becomes plain text.
A link to a file that does not exist stays as it is, so that a strict build fails.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
OUTSIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "model_cards/*.md")

_LINK = re.compile(r"\[(?P<text>[^\]\n]*)\]\((?P<path>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie outside docs/."""
    for path in sorted(path for pattern in OUTSIDE for path in ROOT.glob(pattern)):
        uri = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links that hold in the repository into links that hold on the site."""
    pages = {Path(file.abs_src_path).resolve(): file.src_uri for file in files if file.abs_src_path}
    here = Path(page.file.abs_src_path).resolve().parent

    def on_site(link: re.Match[str]) -> str:
        target = (here / link["path"]).resolve()
        if target in pages:
            path = os.path.relpath(pages[target], os.path.dirname(page.file.src_uri) or ".")
            return f"[{link['text']}]({Path(path).as_posix()}{link['anchor'] or ''})"
        return link["text"] if target.exists() and ROOT in target.parents else link[0]

    pieces, end = [], 0
    for fence in _FENCE.finditer(markdown):  # code is no link
        pieces += [_LINK.sub(on_site, markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*pieces, _LINK.sub(on_site, markdown[end:])])
