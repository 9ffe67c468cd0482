"""The page about bags does what it says."""

from tests.pages import blocks_of, play


def test_the_page_says_what_its_code_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = blocks_of("bags.md")
    assert sum(block.startswith(">>>") for block in blocks) == 4
    page = play(blocks, {})
    assert page["plain"].config.units == "bytes" and page["model"].config.units == "tokens"
    assert (tmp_path / "runs" / "bag" / "model.safetensors").is_file()
