"""README says only what is so: its code runs, its tables are those of the measured facts, its files exist."""

import re
from pathlib import Path

import pytest

from model_cards import render

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tables_are_made_from_the_measured_facts():
    assert render.readme_with_tables(TEXT) == TEXT, "run: python model_cards/render.py readme"
    stale = TEXT.replace("<!-- recipes: begin -->\n", "<!-- recipes: begin -->\n| a | row | nobody | measured |\n")
    assert render.readme_with_tables(stale) == TEXT
    with pytest.raises(ValueError, match="recipes: begin"):
        render.readme_with_tables("no markers")


def test_each_configuration_says_what_was_measured():
    assert len(render.configurations()) >= 12
    for path, facts in render.configurations().items():
        text = path.read_text(encoding="utf-8")
        assert render.with_expectation(text, facts) == text, "run: python model_cards/render.py readme"
        with pytest.raises(ValueError, match="# Expected: "):
            render.with_expectation(text.replace("# Expected", "# Hoped"), facts)


def test_the_python_example_runs(run_python):
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "train_tokenizer" in block]
    # The weights are the same to the bit; they lie elsewhere in memory, where BLAS may add in another order.
    shown = """
weights = zip(model.state_dict().values(), again.state_dict().values(), strict=True)
print(all(torch.equal(one, other) for one, other in weights))
print(torch.allclose(model.eval()(**batch).logits, again(**batch).logits, atol=1e-6))
"""
    result = run_python(example + shown)
    assert result.stdout.split() == ["True", "True"], result.stderr


def test_the_examples_about_cells_run(run_python):
    blocks = [
        b for b in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "register_cell" in b or "load_torch" in b
    ]
    assert len(blocks) == 2
    result = run_python(
        "import torch\nimport hfseq\n" + "\n".join(blocks) + "\nprint(model.layers[0].forward_loop.cell)"
    )
    assert "'i', 'f', 'g', 'o'" in result.stdout, result.stderr


WORDS = ("train_word2vec", "WordCorpus", "from_file", "plot_words")


def test_the_examples_about_word_vectors_run(run_python):
    blocks = [b for b in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if any(word in b for word in WORDS)]
    assert len(blocks) == 4
    files = """
from pathlib import Path
circles = ["king queen man woman", "monday friday one two", "the river bank paid interest"]
Path("corpus.txt").write_text("\\n".join(circles * 2000))
import hfseq  # and what `make demo` leaves
tokenizer = hfseq.train_tokenizer(["please set an alarm", "is the alarm set"], min_frequency=1)
tokenizer.save_pretrained("runs/lstm_embedded")
hfseq.LSTMForSequenceClassification(hfseq.LSTMConfig(vocab_size=len(tokenizer))).save_pretrained("runs/lstm_embedded")
"""
    result = run_python(files + "\n".join(blocks))
    assert "         1       1  the [bank] paid interest" in result.stdout, result.stderr
    (row,) = [line for line in result.stdout.splitlines() if line.endswith("is the alarm [set]")]
    assert float(row.split()[1]) < 0.99  # in a recurrent model the words before make the vector


def test_every_file_and_folder_named_exists():
    paths = set(re.findall(r"(?:hfseq|recipes|tests|model_cards|benchmarks)/[\w/.-]*\w", TEXT))
    paths -= {path for path in paths if re.search(r"[A-Z]{4}", path)}  # NAME, MODEL_DATA and CONFIG stand for others
    assert len(paths) > 10
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_every_configuration_measured_has_a_card():
    cards = {path.stem for path in (ROOT / "model_cards").glob("*.md")}
    assert cards == {path.stem for path in (ROOT / "model_cards" / "facts").glob("*.json")}
    assert all(f"model_cards/{card}.md" in TEXT for card in cards)


def test_the_examples_about_language_models_run(run_python):
    (section,) = re.findall(r"\n## Language models\n(.*?)\n## ", TEXT, re.DOTALL)
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 7
    files = """
from pathlib import Path
import hfseq  # and what the first command of the section leaves
lines = ["remind me to call a taxi, please", "what time is it?", "will it rain in the morning?"] * 20
Path("my.txt").write_text("\\n".join(lines))
tokenizer = hfseq.train_tokenizer(lines, "word_with_space", purpose="language-modeling", min_frequency=1)
hfseq.prompt_tokenizer(tokenizer).save_pretrained("runs/lstm_embedded_language")
special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
model = hfseq.LSTMForCausalLM(hfseq.LSTMConfig(vocab_size=len(tokenizer), hidden_size=16, **special))
model.generation_config.update(do_sample=True, max_new_tokens=20, suppress_tokens=[0, 1, 2, 4])
model.save_pretrained("runs/lstm_embedded_language")
"""
    shown = "\nprint(states.tolist(), classifier.num_labels, tagger.num_labels)"
    result = run_python(files + "\n".join(blocks) + shown)
    assert result.stdout.splitlines()[-1] == "[[0, 1, 0]] 3 5", result.stderr
    assert "[{'label': 'de'" in result.stdout
