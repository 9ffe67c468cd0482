"""README and docs/ say only what is so: their tables are those of the measured facts, their files and links exist.

Their code and commands are run by `make docs` (docs/run.py), README's example in Python here as well.
"""

import json
import re
from pathlib import Path

import pytest
import yaml

from docs import run as runner
from model_cards import render

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}


def test_the_tables_are_made_from_the_measured_facts():
    assert {page.name for page in render.pages()} == {"README.md", "results.md", "benchmarks.md"}
    for page, tables in render.pages().items():
        text = TEXTS[page]
        assert render.with_tables(page.name, text, tables) == text, "run: python model_cards/render.py tables"
        name = next(iter(tables))
        stale = text.replace(f"<!-- {name}: begin -->\n", f"<!-- {name}: begin -->\n| a | row | nobody | measured |\n")
        assert render.with_tables(page.name, stale, tables) == text
        with pytest.raises(ValueError, match=f"{page.name} needs the line '<!-- {name}: begin"):
            render.with_tables(page.name, "no markers", tables)


def test_the_best_results_have_a_peer_and_say_what_is_behind():
    table = render.best_table(render.published())
    rows = [line for line in table.splitlines() if line.startswith("| ") and "model_cards" in line]
    assert len(rows) >= 8
    behind = [row for row in rows if "**behind**" in row]
    assert len(behind) == 2 and "bag-langid" in behind[0] and "tree-lstm-sst2" in behind[1]
    told = table.splitlines()[-1]
    assert told.startswith("Behind their simple peer") and "transformer-sst2 (81.4 against 81.9)" in told
    assert "transformer-tiny-shakespeare (1.688 against 1.561)" in told and "gru" not in told
    assert "skipgram" not in table  # nothing simpler was measured beside it


def test_the_defaults_stand_beside_the_peer(monkeypatch, tmp_path):
    monkeypatch.setattr(render, "DEFAULTS", tmp_path / "defaults.jsonl")
    monkeypatch.setattr(render, "LANGUAGE_DEFAULTS", tmp_path / "language.jsonl")
    assert render.defaults_table() == render.language_defaults_table() == "The defaults have not been measured yet."
    run = {"data": "sst2", "rows": 2000, "minutes": 2.0, "peers": {"most frequent": 0.5, "TF-IDF": 0.72}}
    gru = [run | {"model": "gru", "seed": seed, "score": score} for seed, score in ((0, 0.71), (1, 0.70))]
    auto = [
        run | {"model": "auto", "seed": seed, "score": score, "kept": kept}
        for seed, score, kept in ((0, 0.73, "bag"), (1, 0.718, "gru"))
    ]
    render.DEFAULTS.write_text("\n".join(map(json.dumps, [*gru, *auto])) + "\n", encoding="utf-8")
    *_, row, _, told = render.defaults_table().splitlines()
    assert row == "| SST-2 | 2,000 | 2 | 0, 1 | 72.0 | 70.5 | 72.4 (bag, gru) |"
    assert told == (
        "Mean difference from TF-IDF: gru -1.50, auto +0.40. Runs of `auto` below it: SST-2 2,000 seed 1 (-0.2)."
    )
    text = {"data": "text8_1", "seed": 0, "bits_per_character": 2.0, "5-gram": 2.1, "network alone": 2.2}
    render.LANGUAGE_DEFAULTS.write_text(json.dumps(text) + "\n", encoding="utf-8")
    assert render.language_defaults_table().splitlines()[-1] == "| text8_1 | 0 | 2.000 | 2.100 | 2.200 |"


def test_each_configuration_says_what_was_measured():
    assert len(render.configurations()) >= 12
    for path, facts in render.configurations().items():
        text = path.read_text(encoding="utf-8")
        assert render.with_expectation(text, facts) == text, "run: python model_cards/render.py tables"
        with pytest.raises(ValueError, match="# Expected: "):
            render.with_expectation(text.replace("# Expected", "# Hoped"), facts)


def test_readme_is_one_page_and_its_python_example_runs(monkeypatch, tmp_path, capsys):
    assert len(TEXTS[README].splitlines()) <= 250
    (example,) = [block.code for block in runner.blocks_of(TEXTS[README]) if "train_tokenizer" in block.code]
    assert len(example.splitlines()) <= 25
    # The weights are the same to the bit; they lie elsewhere in memory, where BLAS may add in another order.
    shown = """
weights = zip(model.state_dict().values(), again.state_dict().values(), strict=True)
print(all(torch.equal(one, other) for one, other in weights))
print(torch.allclose(model.eval()(**batch).logits, again(**batch).logits, atol=1e-6))
"""
    monkeypatch.chdir(tmp_path)
    exec(example + shown, {})
    assert capsys.readouterr().out.split() == ["tensor([1,", "0])", "True", "True"]


def test_the_demo_is_the_quick_start_of_readme():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (demo,) = re.findall(r"^demo:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    typed = demo.replace("\t$(RUN) -m ", "")
    assert f"```bash\n{typed}```" in TEXTS[README] and f"```bash\n{typed}```" in TEXTS[ROOT / "docs" / "index.md"]


def test_every_file_and_folder_named_exists():
    missing = []
    for page, text in TEXTS.items():
        paths = set(re.findall(r"(?<![\w/])(?:hfseq|recipes|tests|model_cards|benchmarks|docs)/[\w/.-]*\w", text))
        paths = {path for path in paths if not re.search(r"[A-Z]{4}", path)}  # NAME, CONFIG stand for others
        missing += [f"{page.name}: {path}" for path in sorted(paths) if not (ROOT / path).exists()]
    assert missing == []


def test_every_name_of_a_file_stands_in_it():
    named = {found for text in TEXTS.values() for found in re.findall(r"`(\w+)` of `(hfseq/[\w/]+\.py)`", text)}
    assert ("MODELS", "hfseq/cli.py") in named
    for name, file in named:
        assert re.search(rf"^(def |class )?{name}\b", (ROOT / file).read_text(encoding="utf-8"), re.M), (name, file)


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.stem)
def test_no_line_begins_with_a_stray_blank(page):
    assert not re.search(r"^ (?! )", TEXTS[page], re.M)


def test_every_link_leads_to_a_file_and_a_heading():
    def anchors(page):
        prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}

    dead, count = [], 0
    for page, text in TEXTS.items():
        prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        for path, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)", prose):
            target, count = (page.parent / path).resolve() if path else page, count + 1
            if not target.exists() or (anchor and anchor not in anchors(target)):
                dead.append(f"{page.name}: {path}#{anchor}")
    assert count > 100 and dead == []


def test_every_configuration_measured_has_a_card_and_every_page_a_place():
    cards = {path.stem for path in (ROOT / "model_cards").glob("*.md")}
    assert cards == {path.stem for path in (ROOT / "model_cards" / "facts").glob("*.json")}
    assert all(f"model_cards/{card}.md" in TEXTS[ROOT / "docs" / "results.md"] for card in cards)
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    named = set(re.findall(r"[\w/]+\.md", str(nav)))
    assert named == {page.relative_to(ROOT / "docs").as_posix() for page in PAGES[2:]} | {
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    }


def test_the_reference_has_every_public_name():
    listed = re.findall(r"^::: hfseq\.(\w+)$", TEXTS[ROOT / "docs" / "api.md"], re.MULTILINE)
    public = (ROOT / "tests" / "golden" / "public_names.txt").read_text(encoding="utf-8").split()
    assert sorted(listed) == sorted(public)


def test_what_is_slow_and_the_notebooks_are_run_by_test_all():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (everything,) = re.findall(r"^test-all:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert "docs/run.py --all\n" in everything
    assert {path.suffix for path in runner.PAGES} == {".md"} and {path.suffix for path in runner.NOTEBOOKS} == {
        ".ipynb"
    }
    assert any(block.note.startswith(runner.SLOW) for page in PAGES for block in runner.blocks_of(TEXTS[page]))


def test_the_site_is_built_strictly():
    (line,) = re.findall(r"mkdocs build.*", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert line == "mkdocs build --strict"  # with --quiet mkdocs counts no warnings, and nothing is strict
    levels = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["validation"]["links"]
    assert set(levels.values()) == {"warn"}


# docs/run.py


PAGE = """
<!-- not run: it needs an account -->
```python
raise SystemExit
```

<!-- slow: it waits -->
```python
assert 1 > 2, "the slow " + "block ran"
```

<!-- run with: --training.max_steps=3 -->
```bash
python recipes/x.py --config y.yaml \\
    "--card.ask=[a; b]"  # a remark & more
hfseq predict runs/x
OMP_NUM_THREADS=1 hfseq info runs/x
```

```python
>>> 1 + 1
3
```
"""


def test_what_the_runner_of_pages_runs():
    left_out, slow, commands, shown = runner.blocks_of(PAGE)
    assert left_out.skipped() == left_out.skipped(run_all=True) == "it needs an account"
    assert slow.skipped() == "slow: it waits" and slow.skipped(run_all=True) is None
    assert commands.skipped() is shown.skipped() is None
    assert list(runner.commands_of(commands)) == [
        ["python", "recipes/x.py", "--config", "y.yaml", "--card.ask=[a; b]", "--training.max_steps=3"],
        ["hfseq", "predict", "runs/x"],
        "OMP_NUM_THREADS=1 hfseq info runs/x",
    ]


def test_the_runner_sees_what_fails_and_what_is_requested(run_python, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text(
        '<a href="https://x.org">a link</a><script src="https://cdn.org/a.js"></script>', encoding="utf-8"
    )
    (found,) = runner.requests_of(site)
    assert found == 'index.html: <script src="https://cdn.org/a.js">'
    code = f"""
from pathlib import Path
from docs import run
run.ROOT = Path({str(tmp_path)!r})
files = run.ROOT / "files"
files.mkdir()
page = run.ROOT / "planted.md"
page.write_text({PAGE.replace("OMP_NUM_THREADS=1 hfseq info", "false")!r})
print(run.report(page, files))
print(run.report(page, files, run_all=True))
page.write_text("```bash\\ntrue\\n```\\n```python\\nx = 1\\n```\\n```python\\nassert x == 1\\n```")
print(run.report(page, files))
"""
    result = run_python(code, PYTHONPATH=str(ROOT))
    first, everything, second = result.stdout.split("False\n")
    assert "2 of 4 blocks run, 2 failed" in first and "raise SystemExit (it needs an account)" in first
    assert "(slow: it waits)" in first and "the slow block ran" not in first
    assert "3 of 4 blocks run, 3 failed" in everything and "the slow block ran" in everything
    assert "Expected:\n    3\nGot:\n    2" in first, result.stderr
    assert "3 of 3 blocks run, 0 failed" in second and second.endswith("True\n"), result.stderr
