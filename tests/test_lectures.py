"""The pages on the lectures: every row of the inventory says where its item is, and every page shows it in code.

The blocks themselves are run by docs/run.py; that links lead to a file and a heading is checked in test_readme.py.
"""

import re
from pathlib import Path

import pytest

from docs.run import blocks_of

DOCS = Path(__file__).parents[1] / "docs"
LECTURES = DOCS / "lectures"
DECKS = (
    *("word2vec_rnn_lstm", "rnn_and_lstm", "trees_attention_transformer"),
    *("skoltech_lecture_9", "recurrent_networks"),
)
CODE = [LECTURES / f"{deck}.md" for deck in DECKS] + [DOCS / "errata.md"]

# Series, strokes, captions and speech are to come; films and scenes are not.
NOT_COVERED = {96}
PARTLY = {29, 30, 84, 85, 88, 102}


def rows():
    """number, item, decks, where, state of each row of the inventory."""
    text = (LECTURES / "inventory.md").read_text(encoding="utf-8")
    cells = (line.strip("| ").split(" | ") for line in text.splitlines() if re.match(r"\| \d", line))
    return [(int(number), *rest) for number, *rest in cells]


def test_the_inventory_has_its_105_rows_in_order():
    table = rows()
    assert [row[0] for row in table] == list(range(1, 106)) and {len(row) for row in table} == {5}
    assert all(re.fullmatch(r"[0-4]( [0-4])*", decks) for _, _, decks, _, _ in table)
    assert len({item for _, item, *_ in table}) == 105


def test_every_row_says_what_is_there_and_where():
    states = {number: state for number, *_, state in rows()}
    assert {number for number, state in states.items() if state == "not covered"} == NOT_COVERED
    assert {number for number, state in states.items() if state.startswith("partly: ")} == PARTLY
    done = {number for number, state in states.items() if state == "done"}
    assert len(done | NOT_COVERED | PARTLY) == 105
    linked = {number for number, _, _, where, _ in rows() if re.search(r"\]\([^)]+\)", where)}
    assert linked == done | PARTLY


def test_the_index_names_every_page():
    text = (LECTURES / "index.md").read_text(encoding="utf-8")
    pages = {page.name for page in LECTURES.glob("*.md")} - {"index.md"}
    assert pages == {f"{deck}.md" for deck in DECKS} | {"inventory.md"}
    assert all(f"]({page})" in text for page in pages) and "](../errata.md)" in text


@pytest.mark.parametrize("page", CODE, ids=lambda page: page.stem)
def test_every_section_with_an_equation_proves_it(page):
    text = page.read_text(encoding="utf-8")
    blocks = [block for block in blocks_of(text) if block.language == "python"]
    assert len(blocks) >= 8 and all(block.skipped() is None for block in blocks)
    assert sum("assert " in block.code for block in blocks) >= len(blocks) - 2  # two prepare what the next one shows
    for section in re.split(r"^## ", text, flags=re.M)[1:]:
        if re.search(r"^    \S", re.sub(r"^```.*?^```", "", section, flags=re.S | re.M), re.M):
            assert "```python" in section and "assert " in section, section.splitlines()[0]


def test_the_errata_are_seven_and_each_is_shown():
    text = (DOCS / "errata.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.M)[1:]
    assert len(sections) == 7
    assert all("Right: " in section or "Both " in section for section in sections)
    assert all("\nassert " in section for section in sections)
