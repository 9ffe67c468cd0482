"""Build docs/explorer/index.html: two small models that run in the browser and show their gates while one types.

    python docs/explorer/build.py            # from the models in docs/explorer/models
    python docs/explorer/build.py --train    # first train them anew, on the embedded data with seed 0

`intents` is an LSTM that reads words and tells which of 24 things somebody asks an assistant for; `letters` is a GRU
of two layers that reads letters of such requests and proposes the next one.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    set_seed,
)

import hfseq
from hfseq.insight.explorer.exported import exported
from hfseq.insight.explorer.page import page_of

HERE = Path(__file__).parent
TITLE = "What a recurrent network does while you type"
MODELS = {  # what the page calls each, and the text that it begins with
    "intents": (
        AutoModelForSequenceClassification,
        "What is asked, word by word (LSTM)",
        "will it rain in Oslo tomorrow?",
    ),
    "letters": (AutoModelForCausalLM, "The next letter (GRU, two layers)", "what time is it in "),
}
ARGUMENTS: dict[str, Any] = {
    "per_device_train_batch_size": 32,
    "learning_rate": 8e-3,
    "lr_scheduler_type": "cosine",
    "max_grad_norm": 1.0,
    "seed": 0,
    "save_strategy": "no",
    "report_to": "none",
    "train_sampling_strategy": "group_by_length",
}


def train_intents() -> None:
    """Train the classifier on words."""
    data = hfseq.load_embedded()
    labels = data["train"].features["label"].names
    tokenizer = hfseq.train_tokenizer(data["train"], lowercase=True, min_frequency=3)
    set_seed(0)
    config = hfseq.LSTMConfig(
        vocab_size=len(tokenizer),
        embedding_size=24,
        hidden_size=32,
        hidden_dropout=0.2,
        embedding_dropout=0.1,
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    model = hfseq.LSTMForSequenceClassification(config)
    rows = {name: _rows(part, tokenizer) for name, part in data.items()}
    trainer = _train(model, tokenizer, rows["train"], epochs=10)
    answers: Any = trainer.predict(rows["test"])
    accuracy = (answers.predictions.argmax(-1) == answers.label_ids).mean()
    print(f"intents: {model.num_parameters():,} weights, accuracy {accuracy:.3f} on test")
    _save(model, tokenizer, "intents")


def train_letters() -> None:
    """Train the language model on letters."""
    data = hfseq.load_embedded()
    tokenizer = hfseq.train_tokenizer(data["train"], kind="char", purpose="language-modeling")
    set_seed(0)
    config = hfseq.GRUConfig(
        vocab_size=len(tokenizer),
        embedding_size=32,
        hidden_size=64,
        num_hidden_layers=2,
        hidden_dropout=0.0,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = hfseq.GRUForCausalLM(config)
    rows = {name: _rows(part.remove_columns("label"), tokenizer) for name, part in data.items()}
    trainer = _train(model, tokenizer, rows["train"], epochs=6)
    nats = trainer.evaluate(rows["test"])["eval_loss"]
    print(f"letters: {model.num_parameters():,} weights, {nats:.3f} nats a letter on test")
    _save(model, hfseq.prompt_tokenizer(tokenizer), "letters")


def _rows(part: Dataset, tokenizer: PreTrainedTokenizerFast) -> Dataset:
    kept = {"text", "label"} & set(part.column_names)
    return part.select_columns(sorted(kept)).map(lambda row: tokenizer(row["text"]), remove_columns="text")


def _train(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, rows: Dataset, *, epochs: int
) -> hfseq.SequenceTrainer:
    arguments = hfseq.SequenceTrainingArguments(
        "runs/explorer", num_train_epochs=epochs, disable_tqdm=True, **ARGUMENTS
    )
    # A language model's labels are its own texts.
    collate = None if "label" in rows.column_names else DataCollatorForLanguageModeling(tokenizer, mlm=False)
    trainer = hfseq.SequenceTrainer(
        model=model, args=arguments, train_dataset=rows, processing_class=tokenizer, data_collator=collate
    )
    trainer.train()
    return trainer


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    """Save in float16, as the page holds the weights."""
    model.to(torch.float16).save_pretrained(HERE / "models" / name)  # type: ignore[arg-type]
    tokenizer.save_pretrained(HERE / "models" / name)


def load(name: str) -> tuple[Any, Any]:
    """Return a model of the page, and its tokenizer."""
    folder = HERE / "models" / name
    return MODELS[name][0].from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)


def page() -> str:
    """Return the page of the models that are there."""
    models = [exported(*load(name), name=title, example=example) for name, (_, title, example) in MODELS.items()]
    return page_of(models, TITLE)


def main() -> None:
    """Train the models if asked to, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="train the models anew")
    if parser.parse_args().train:
        train_intents()
        train_letters()
    text = page()
    (HERE / "index.html").write_text(text, encoding="utf-8")
    print(f"docs/explorer/index.html: {len(text.encode()) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
