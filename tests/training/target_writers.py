"""A small encoder-decoder, pairs of ids, and a trainer over them."""

import torch
from datasets import Dataset

from hfseq import TransformerForConditionalGeneration, TransformerSeq2SeqConfig
from hfseq.training.seq2seq import EncoderDecoderTrainer, EncoderDecoderTrainingArguments
from tests.contract.cases import VOCABULARY, tokenizer


def pairs(rows=52):
    """Ragged sources, each with its target: the source backwards, without every third token."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 9, (rows,), generator=generator).tolist()
    ids = [torch.randint(4, len(VOCABULARY), (length,), generator=generator).tolist() for length in lengths]
    targets = [[token for token in row[::-1] if token % 3 or len(row) < 3] + [3] for row in ids]
    return Dataset.from_dict({"input_ids": [[*row, 3] for row in ids], "labels": targets})


def small_model(**options):
    """A small transformer, the same one every time."""
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
    }
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    config = TransformerSeq2SeqConfig(vocab_size=len(VOCABULARY), **{**sizes, **special, **options})
    model = TransformerForConditionalGeneration(config)
    model.generation_config.update(max_new_tokens=10, num_beams=2, suppress_tokens=[0, 1, 2])
    return model


def make_trainer(parent, *, model=None, rows=None, folder="run", **options):
    own = {name: options.pop(name) for name in ("eval_dataset", "callbacks") if name in options}
    defaults = {
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "learning_rate": 0.01,
        "lr_scheduler_type": "constant",
        "per_device_eval_batch_size": 8,
        "total_train_batch_size": 32,
        "label_smoothing_factor": 0.1,
    }
    return EncoderDecoderTrainer(
        model=small_model() if model is None else model,
        args=EncoderDecoderTrainingArguments(str(parent / folder), **{**defaults, **options}),
        train_dataset=pairs() if rows is None else rows,
        processing_class=tokenizer(),
        **own,
    )
