"""What every model promises, as plain functions over one case; `test_contract.py` runs each over each registry row.

A check takes a `Case` and raises AssertionError when the promise is broken. A new family adds a row to the registry
and is checked; a new promise adds a function here, and a planted fault in `test_contract.py` which shows that it
bites.
"""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    pipeline,
)

from hfseq.registry import AUTO_CLASSES, Family

WORDS = ["the", "film", "was", "good", "bad", "not", "very", "a", "plot", "and"]
VOCABULARY = ["<pad>", "<unk>", "<s>", "</s>", *WORDS]
TOLERANCE = 1e-5


@dataclass
class Case:
    """One family with one head, in one configuration, and an empty folder."""

    family: Family
    task: str
    folder: Path
    options: dict[str, Any] = field(default_factory=dict)

    def model(self, seed: int = 0, **options: Any) -> PreTrainedModel:
        """A small model of this case in evaluation mode."""
        torch.manual_seed(seed)
        return self.family.heads[self.task](self.config(**options)).eval()

    def config(self, **options: Any) -> Any:
        """Its configuration."""
        small = {"vocab_size": len(VOCABULARY), "embedding_size": 6, "hidden_size": 5, "num_labels": 3}
        return self.family.config(**{**small, **self.options, **options})

    def saved(self, model: PreTrainedModel | None = None) -> Path:
        """A checkpoint folder with tokenizer."""
        (self.model() if model is None else model).save_pretrained(self.folder)
        tokenizer().save_pretrained(self.folder)
        return self.folder

    @property
    def auto_class(self) -> Any:
        """The Auto class of the task."""
        return AUTO_CLASSES[self.task]


def tokenizer(padding_side: str = "right") -> PreTrainedTokenizerFast:
    """Words to the ids of VOCABULARY, and </s> after each text."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 3)])
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", eos_token="</s>", padding_side=padding_side
    )


def texts(rows: int = 24) -> Dataset:
    """Ragged rows of ids with labels 0 to 2."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 9, (rows,), generator=generator).tolist()
    ids = [torch.randint(4, len(VOCABULARY), (length,), generator=generator).tolist() for length in lengths]
    return Dataset.from_dict({"input_ids": ids, "labels": [row[0] % 3 for row in ids]})


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (5, 7) and a mask with a full row, right padding, left padding, holes, and a row without any token."""
    ids = torch.randint(4, len(VOCABULARY), (5, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.tensor(
        [[1] * 7, [1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1, 1], [0, 1, 0, 1, 1, 0, 1], [0, 0, 0, 0, 0, 0, 0]]
    )
    return ids, mask


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    """Whether two models hold bit-equal parameters and buffers under the same names."""
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


# Promise 1: an ordinary Hugging Face model


def auto_classes_load_it(case: Case) -> None:
    folder = case.saved()
    assert type(AutoConfig.from_pretrained(folder)) is case.family.config
    assert type(case.auto_class.from_pretrained(folder)) is case.family.heads[case.task]
    assert type(AutoModel.from_pretrained(folder)) is case.family.backbone
    assert AutoTokenizer.from_pretrained(folder)("the film")["input_ids"] == [4, 5, 3]


def pipeline_answers_any_text(case: Case) -> None:
    pipe = pipeline(case.task, model=str(case.saved()))
    sentences = ["the film was good", "", "   ", "日本語 😀", "the plot was not very good and the film was bad"]
    together = pipe(sentences, batch_size=5)
    alone = [pipe(sentence)[0] for sentence in sentences]
    assert [a["label"] for a in together] == [a["label"] for a in alone]
    for a, b in zip(together, alone, strict=True):
        assert abs(a["score"] - b["score"]) < TOLERANCE


def saving_writes_weights_and_no_code(case: Case) -> None:
    model = case.model()
    model.config.auto_map = {"AutoConfig": "elsewhere.Config"}  # as in a checkpoint that came with its code
    folder = case.saved(model)
    assert not [path.name for path in folder.iterdir() if path.suffix in (".py", ".bin", ".pkl")]
    assert "auto_map" not in json.loads((folder / "config.json").read_text(encoding="utf-8"))


def stock_trainer_changes_every_parameter(case: Case) -> None:
    model = case.model().train()
    before = copy.deepcopy(model.state_dict())
    losses = train(case, model, steps=30, rows=8)
    unchanged = [name for name, value in model.state_dict().items() if torch.equal(value, before[name])]
    assert unchanged == []
    assert losses[-1] < 0.9 * losses[0]


def train(case: Case, model: PreTrainedModel, *, steps: int, rows: int, dataset: Any = None, **options: Any) -> list:
    """Train with stock Trainer, in the dataset's order; returns the logged losses."""
    arguments = {"learning_rate": 0.03, "lr_scheduler_type": "constant", "save_strategy": "no", **options}
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            str(case.folder / "run"),
            per_device_train_batch_size=rows,
            max_steps=steps,
            logging_steps=1,
            use_cpu=True,
            disable_tqdm=True,
            train_sampling_strategy="sequential",
            **arguments,
        ),
        train_dataset=texts() if dataset is None else dataset,
        data_collator=DataCollatorWithPadding(tokenizer()),
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


# Promise 2: save -> load is bit-equal, and nothing is left to chance


def save_and_load_are_bit_equal(case: Case) -> None:
    model = case.model()
    for name, parameter in model.named_parameters():  # values no initialisation gives
        parameter.data = torch.arange(parameter.numel(), dtype=torch.float32).reshape(parameter.shape) * 0.01 + len(
            name
        )
    loaded = case.auto_class.from_pretrained(case.saved(model))
    assert same_weights(model, loaded)
    ids, mask = batch()
    assert torch.equal(model(ids, mask).logits, loaded(ids, mask).logits)
    assert not [name for name, parameter in loaded.named_parameters() if not parameter.requires_grad]


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the tensors of a saved checkpoint in place."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def damaged_checkpoints_are_refused(case: Case) -> None:
    body = next(name for name, _ in case.model().named_parameters() if name.startswith("model.layers"))
    damages: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {
        "lacks": lambda tensors: tensors.pop(body),
        "unexpected": lambda tensors: tensors.update({"model.layers.99.weight": torch.zeros(2)}),
        "NaN": lambda tensors: tensors[body].fill_(float("nan")),
    }
    for word, damage in damages.items():
        folder = case.saved()
        edit_weights(folder, damage)
        with pytest.raises(ValueError, match=word):
            case.auto_class.from_pretrained(folder)
        case.auto_class.from_pretrained(folder, strict=False)
    folder = case.saved()
    with pytest.raises(ValueError, match="another shape"):
        case.auto_class.from_pretrained(folder, num_labels=7)
    grown = case.auto_class.from_pretrained(folder, num_labels=7, ignore_mismatched_sizes=True, strict=False)
    assert grown.classifier.out_features == 7


def missing_weights_are_initialised_by_our_rules(case: Case) -> None:
    folder = case.saved()
    edit_weights(folder, lambda tensors: tensors.clear())
    loaded = case.auto_class.from_pretrained(folder, strict=False)
    for name, parameter in loaded.named_parameters():
        assert torch.isfinite(parameter).all(), name
        spread = parameter.std().item() if parameter.numel() > 1 else 0.0
        if "bias" in name or ".param_" in name:
            assert set(parameter.flatten().tolist()) <= {0.0, 1.0}, name
        else:
            assert 0.01 < spread < 2, (name, spread)


def a_new_head_on_an_old_body_keeps_the_body(case: Case) -> None:
    backbone = case.model().model
    backbone.save_pretrained(case.folder)
    transferred = case.auto_class.from_pretrained(case.folder, num_labels=4)
    assert same_weights(transferred.model, backbone)
    assert transferred.classifier.weight.abs().sum() > 0 and not transferred.classifier.bias.any()
    edit_weights(case.folder, lambda tensors: tensors.pop(next(iter(tensors))))
    with pytest.raises(ValueError, match="lacks"):  # a new head was asked for, half a body was not
        case.auto_class.from_pretrained(case.folder)


# Promise 3: padding never changes an answer


def padding_and_batch_size_change_nothing(case: Case) -> None:
    model = case.model()
    ids, mask = batch()
    together = model(ids, mask).logits
    hidden = model.model(ids, mask).last_hidden_state
    for row in range(len(ids)):
        real = mask[row].bool()
        alone = model(ids[row : row + 1, real], None).logits[0]
        assert (together[row] - alone).abs().max() < TOLERANCE, row
        if real.any():
            own = model.model(ids[row : row + 1, real]).last_hidden_state[0]
            assert (hidden[row, real] - own).abs().max() < TOLERANCE, row
        assert not hidden[row, ~real].any(), row
    wider = nn.functional.pad(ids, (3, 4)), nn.functional.pad(mask, (3, 4))
    for pooling in ("last", "mean", "max", "mean_max", "attention"):
        model = case.model(pooling=pooling)
        alone = torch.cat([model(ids[row : row + 1, mask[row].bool()]).logits for row in range(len(ids))])
        assert (model(*wider).logits - alone).abs().max() < TOLERANCE, pooling


def padded_content_gets_no_gradient(case: Case) -> None:
    model = case.model()
    ids, mask = batch()
    embeds = model.get_input_embeddings()(ids).detach().requires_grad_()
    model(inputs_embeds=embeds, attention_mask=mask, labels=torch.tensor([0, 1, 2, 0, 1])).loss.backward()
    assert not embeds.grad[~mask.bool()].any()
    assert embeds.grad[:4].any(-1).any(-1).all()


def state_split_equals_whole(case: Case) -> None:
    if case.config().bidirectional:
        with pytest.raises(ValueError, match="bidirectional"):
            case.model().model(batch()[0], use_cache=True)
        return
    model = case.model().model
    ids, mask = batch()
    whole = model(ids, mask, use_cache=True)
    for cuts in ((3, 7), (1, 2, 3, 4, 5, 6, 7)):  # in two pieces, and token by token
        state, outputs, start = None, [], 0
        for end in cuts:
            piece = model(ids[:, start:end], mask[:, :end], past_key_values=state, use_cache=True)
            state, start = piece.past_key_values, end
            outputs.append(piece.last_hidden_state)
        assert (torch.cat(outputs, 1) - whole.last_hidden_state).abs().max() < TOLERANCE
        for ours, theirs in zip(state.layers, whole.past_key_values.layers, strict=True):
            for a, b in zip(ours.states, theirs.states, strict=True):
                assert (a - b).abs().max() < TOLERANCE
        assert state.get_seq_length() == 7
        before = [layer.states for layer in state.layers]
        model(ids[:, :0], mask, past_key_values=state)  # nothing more to read, nothing more to know
        for layer, states in zip(state.layers, before, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(layer.states, states, strict=True))
    trained = case.model().train().model
    trained.gradient_checkpointing_enable()
    with pytest.raises(ValueError, match="checkpointing"):
        trained(ids, mask, past_key_values=whole.past_key_values)


# Promise 4: config values are checked when the config is made


def wrong_config_values_are_refused(case: Case) -> None:
    wrong = {
        "hidden_size": [0, -1, "64", None, True, 10**12],
        "num_hidden_layers": [0, 10**6],
        "vocab_size": [-1, 10**18],
        "hidden_dropout": [1.5, "0.1"],
        "pooling": ["first"],
        "bidirectional": ["yes"],
        "pad_token_id": [len(VOCABULARY)],
        "problem_type": ["ranking"],
    }
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(Exception, match=name):
                case.config(**{name: value})
    with pytest.raises(ValueError, match="Did you mean 'hidden_size'"):
        case.config(hiden_size=3)


# Promise 5: safetensors only


def pickles_and_torn_files_are_refused(case: Case) -> None:
    folder = case.saved()
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError, match="model.safetensors"):
        case.auto_class.from_pretrained(folder)
    weights.unlink()
    with pytest.raises(OSError, match="neither model.safetensors"):
        case.auto_class.from_pretrained(folder)
    torch.save(case.model().state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(OSError, match="pytorch_model.bin"):
        case.auto_class.from_pretrained(folder)


# Promise 6: the same seed, the same result


def the_same_seed_gives_the_same_run(case: Case) -> None:
    runs = []
    for seed in (0, 0, 1):
        model = case.model(seed).train()
        runs.append((train(case, model, steps=3, rows=4, seed=seed), model))
    assert runs[0][0] == runs[1][0] and same_weights(runs[0][1], runs[1][1])
    assert not same_weights(runs[0][1], runs[2][1])


def accumulation_is_exact(case: Case) -> None:
    for problem_type, labels in LABELS.items():
        dataset = texts().remove_columns("labels").add_column("labels", labels)
        no_dropout = {"embedding_dropout": 0.0, "hidden_dropout": 0.0, "classifier_dropout": 0.0}
        options = {"problem_type": problem_type, **no_dropout}
        if problem_type == "regression":
            options["num_labels"] = 1
        results = []
        for rows, steps in ((8, 1), (2, 4)):
            model = case.model(**options).train()
            losses = train(
                case, model, steps=3, rows=rows, dataset=dataset, gradient_accumulation_steps=steps, optim="sgd"
            )
            results.append((losses, model))
        (losses, model), (split_losses, split_model) = results
        assert max(abs(a - b) for a, b in zip(losses, split_losses, strict=True)) < 2e-4, (
            problem_type
        )  # logged rounded
        for a, b in zip(model.parameters(), split_model.parameters(), strict=True):
            assert (a - b).abs().max() < 1e-6, problem_type


LABELS = {
    "single_label_classification": [i % 3 for i in range(24)],
    "multi_label_classification": [[float(i % 2), float(i % 3 == 0), 1.0] for i in range(24)],
    "regression": [i / 10 for i in range(24)],
}


# And what any model does


def every_parameter_gets_a_gradient(case: Case) -> None:
    model = case.model().train()
    ids, mask = batch()
    model(ids, mask, labels=torch.tensor([0, 1, 2, 0, 1])).loss.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def checkpointing_gives_the_same_gradients(case: Case) -> None:
    ids, mask = batch()
    gradients = []
    for checkpointing in (False, True):
        model = case.model(hidden_dropout=0.0, classifier_dropout=0.0).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model(ids, mask, labels=torch.tensor([0, 1, 2, 0, 1])).loss.backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*gradients, strict=True))


def hidden_states_are_returned_on_request(case: Case) -> None:
    model = case.model()
    ids, mask = batch()
    outputs = model(ids, mask, output_hidden_states=True)
    assert len(outputs.hidden_states) == 1 + model.config.num_hidden_layers
    assert torch.equal(outputs.hidden_states[-1], model.model(ids, mask).last_hidden_state)
    assert model(ids, mask).hidden_states is None
    assert torch.equal(model(ids, mask, return_dict=False)[0], outputs.logits)


def copies_and_half_precision_work(case: Case) -> None:
    ids, mask = batch()
    model = case.model()
    assert torch.equal(copy.deepcopy(model)(ids, mask).logits, model(ids, mask).logits)
    folder = case.saved(model.to(torch.bfloat16))
    loaded = case.auto_class.from_pretrained(folder)
    assert loaded.dtype == torch.bfloat16
    assert (loaded(ids, mask).logits.float() - case.model()(ids, mask).logits).abs().max() < 0.05


def foreign_ids_and_labels_are_named(case: Case) -> None:
    model = case.model()
    ids, mask = batch()
    with pytest.raises(ValueError, match=f"hold {len(VOCABULARY)}, but the model knows"):
        model(ids.clamp(min=len(VOCABULARY)), mask)
    with pytest.raises(ValueError, match="integers"):
        model(ids.float(), mask)
    with pytest.raises(ValueError, match="label 3 is outside 0 to 2"):
        model(ids, mask, labels=torch.tensor([0, 1, 2, 3, 1]))
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
        model()
    with pytest.raises(ValueError, match=r"attention_mask of shape \(5, 6\) does not fit 5 texts of 7 tokens"):
        model(ids, mask[:, 1:])
    with pytest.raises(ValueError, match="no rows"):
        model(ids[:0], mask[:0])
    model.config.problem_type = "multi_label_classification"
    with pytest.raises(ValueError, match="from 0 to 1, got -100"):
        model(ids, mask, labels=torch.full((5, 3), -100.0))


CHECKS = [
    auto_classes_load_it,
    pipeline_answers_any_text,
    saving_writes_weights_and_no_code,
    stock_trainer_changes_every_parameter,
    save_and_load_are_bit_equal,
    damaged_checkpoints_are_refused,
    missing_weights_are_initialised_by_our_rules,
    a_new_head_on_an_old_body_keeps_the_body,
    padding_and_batch_size_change_nothing,
    padded_content_gets_no_gradient,
    state_split_equals_whole,
    wrong_config_values_are_refused,
    pickles_and_torn_files_are_refused,
    the_same_seed_gives_the_same_run,
    accumulation_is_exact,
    every_parameter_gets_a_gradient,
    checkpointing_gives_the_same_gradients,
    hidden_states_are_returned_on_request,
    copies_and_half_precision_work,
    foreign_ids_and_labels_are_named,
]
