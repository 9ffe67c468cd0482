"""The pages of docs/ are run: their code, and what stands behind its prompts."""

import doctest
import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def blocks_of(name):
    """The pieces of Python of a page."""
    return re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(encoding="utf-8"), flags=re.DOTALL)


def play(blocks, scope):
    """Runs blocks of a page one after the other; those with prompts must also print what stands in them."""
    runner = doctest.DocTestRunner(verbose=False)
    for number, block in enumerate(blocks):
        if block.startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(block, scope, f"block {number}", "page", None)
            failures = []
            runner.run(test, out=failures.append, clear_globs=False)
            scope.update(test.globs)  # the parser copies the names it is given
            assert not failures, "".join(failures)
        else:
            exec(block, scope)
    return scope
