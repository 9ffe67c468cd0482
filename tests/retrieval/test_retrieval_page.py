"""The page about retrieval does what it says."""

import pytest

from tests.pages import blocks_of, play


@pytest.mark.slow  # `make docs` runs the page, too
def test_the_page_says_what_its_code_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = blocks_of("retrieval.md")
    assert sum(block.startswith(">>>") for block in blocks) == 5
    page = play(blocks, {})
    assert {path.name for path in (tmp_path / "runs" / "questions").iterdir()} == {"index.safetensors", "index.json"}
    assert len(page["index"]) == len(page["questions"]) + 1
    with pytest.raises(ValueError, match="1 of 1 texts has a vector"):  # as the page says of a single text
        page["hfseq"].encode(page["model"], "will it rain?", weighting="sif")
