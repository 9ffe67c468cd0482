"""No code of a stranger runs, and nobody is asked whether it may."""

import ast
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import hfseq
from tests.rounds import for_each

ROOT = Path(hfseq.__file__).parents[1]
SOURCES = sorted([*ROOT.glob("hfseq/**/*.py"), *ROOT.glob("recipes/**/*.py")])


def loading_calls(tree):
    """The calls that may load a stranger's code; those that hand all that the user gave on to `super()` aside."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", None)
        if name == "pipeline" or (name == "from_pretrained" and "super()" not in ast.unparse(called)):
            yield node


def is_safe(call, tree):
    """Whether it says `trust_remote_code=False`, or hands on an argument that has this default."""
    (given,) = [keyword.value for keyword in call.keywords if keyword.arg == "trust_remote_code"] or [None]
    if isinstance(given, ast.Constant):
        return given.value is False
    return isinstance(given, ast.Name) and any(
        argument.arg == given.id and isinstance(default, ast.Constant) and default.value is False
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and call in ast.walk(function)
        for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    )


def unsafe_calls(source):
    tree = ast.parse(source)
    return [f"{call.lineno}: {ast.unparse(call)}" for call in loading_calls(tree) if not is_safe(call, tree)]


@for_each("file", SOURCES)
def test_every_call_that_loads_says_that_no_code_is_trusted(file):
    assert unsafe_calls(file.read_text(encoding="utf-8")) == []


def test_the_walk_finds_what_it_is_to_find():
    assert sum(len(list(loading_calls(ast.parse(file.read_text(encoding="utf-8"))))) for file in SOURCES) >= 10
    for unsafe in (
        "AutoModel.from_pretrained(x)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "AutoModel.from_pretrained(x, **options)",
        "transformers.pipeline(\n    'fill-mask', model=x)",
        "pipeline(task, trust_remote_code=trust)",
        "def load(x, *, trust=True):\n    AutoModel.from_pretrained(x, trust_remote_code=trust)",
    ):
        assert len(unsafe_calls(unsafe)) == 1, unsafe
    for safe in (
        "AutoModel.from_pretrained(x, trust_remote_code=False)",
        "super().from_pretrained(x, **kwargs)",
        "def load(x, *, trust=False):\n    AutoModel.from_pretrained(x, trust_remote_code=trust)",
    ):
        assert unsafe_calls(safe) == [], safe


LOAD = """
    import sys
    from hfseq import GenerativeClassifier, compare_contexts
    from hfseq.tasks.text_classification.build import _from_language_model, make_tokenizer
    from hfseq.tasks.text_classification.settings import TokenizerSettings, TransferSettings
    from hfseq.data.vectors import embedding_matrix
    from hfseq.tokenization import vocabulary_tokenizer

    source = sys.argv[1]
    transfer = TransferSettings(from_pretrained=source)
    words = vocabulary_tokenizer(["good", "bad"])
    loads = [
        lambda: GenerativeClassifier({"a": source, "b": source}),
        lambda: GenerativeClassifier({"a": source, "b": source}, words),
        lambda: compare_contexts(source, "word", ["a word", "the word"]),
        lambda: compare_contexts(source, "word", ["a word", "the word"], tokenizer=words),
        lambda: make_tokenizer(None, TokenizerSettings(), transfer),
        lambda: _from_language_model({"type": "lstm"}, transfer, words),
        lambda: embedding_matrix(words, source),
    ]
    for number, load in enumerate(loads):
        try:
            load()
        except (ValueError, OSError) as error:
            print(number, str(error).replace(chr(10), " "))
        else:
            print(number, "loaded")
    print("left on stdin:", len(sys.stdin.read().split()))
"""


def test_a_y_on_stdin_runs_nothing(tmp_path):
    """Neither a config nor a tokenizer of a stranger is asked about."""
    (tmp_path / "evil.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Config: pass\nclass Tokenizer: pass\n", encoding="utf-8"
    )
    code = {"AutoConfig": "evil.Config", "AutoModel": "evil.Config", "AutoModelForCausalLM": "evil.Config"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": code}), encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}), encoding="utf-8"
    )
    (tmp_path / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LOAD), str(tmp_path)],
        input="y\n" * 50,
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        timeout=600,
    )
    *loads, left = done.stdout.splitlines()
    assert not (tmp_path / "ran").exists()
    assert left == "left on stdin: 50", done.stderr
    assert len(loads) == 7 and not any("loaded" in line for line in loads), loads
    assert sum("trust_remote_code" in line for line in loads) >= 5, loads
