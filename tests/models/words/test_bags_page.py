"""The page about bags does what it says."""

from pathlib import Path

import pytest

from tests.pages import blocks_of, play

ROOT = Path(__file__).parents[3]


@pytest.mark.slow  # `make docs` runs the page, too
def test_the_page_says_what_its_code_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [f"__label__{'ab'[number % 2]} {'xy'[number % 2]} text {number}" for number in range(40)]
    Path("train.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    Path("lid.176.ftz").write_bytes((ROOT / "tests" / "golden" / "fasttext" / "pruned.ftz").read_bytes())
    short, *blocks = blocks_of("bags.md")
    scope = play([short], {})
    assert scope["report"].mb < 1 and scope["model"].config.model_type == "hfseq_bag"
    assert sum(block.startswith(">>>") for block in blocks) == 4
    page = play(blocks, {})
    assert page["plain"].config.units == "bytes" and page["model"].config.units == "tokens"
    assert (tmp_path / "runs" / "bag" / "model.safetensors").is_file()
