"""What every model promises, as plain functions over one case; `test_contract.py` runs each over each registry row.

A check takes a `Case` (`cases.py`) and raises AssertionError when the promise is broken. A new family adds a row to
the registry and is checked; a new promise adds a function here, and a planted fault in `test_contract.py` which shows
that it bites.
"""

import copy
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    GenerationMixin,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
    pipeline,
)
from transformers.models.auto.auto_factory import add_generation_mixin_to_remote_model
from transformers.utils import TransformersKwargs
from typing_extensions import Unpack

from hfseq.models import configs
from tests.closeness import assert_same
from tests.contract.cases import Case
from tests.devices import DEVICE


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    """Whether two models hold bit-equal parameters and buffers under the same names, on whatever devices."""
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name].cpu(), right[name].cpu()) for name in left)


# Promise 1: an ordinary Hugging Face model


def auto_classes_load_it(case: Case) -> None:
    folder = case.saved()
    assert type(AutoConfig.from_pretrained(folder)) is case.family.config
    assert type(case.auto_class.from_pretrained(folder)) is case.model_class
    if case.family.backbone is not None:
        assert type(AutoModel.from_pretrained(folder)) is case.family.backbone
    assert AutoTokenizer.from_pretrained(folder)("the film")["input_ids"] == case.tokenizer()("the film")["input_ids"]


SENTENCES = ["the film was good", "", "   ", "日本語 😀", "the plot was not very good and the film was bad"]


def feature_pipeline_answers_any_text(case: Case) -> None:
    folder = str(case.saved())
    for side in ("right", "left"):
        pipe = pipeline(
            "feature-extraction", model=folder, tokenizer=case.tokenizer(side), return_tensors=True, device=DEVICE
        )
        # transformers cannot pad a text of no tokens on the left: its slice [-0:] is the whole row.
        sentences = [text for text in SENTENCES if side == "right" or case.tokenizer()(text)["input_ids"]]
        for sentence, vectors in zip(sentences, pipe(sentences, batch_size=5), strict=True):
            alone = pipe(sentence)[0]
            real = vectors[0, : len(alone)] if side == "right" else vectors[0, -len(alone) :]
            assert_same(real, alone, what=(side, sentence))


def pipeline_answers_any_text(case: Case) -> None:
    pipe = pipeline(case.task, model=str(case.saved()), device=DEVICE)
    together = pipe(SENTENCES, batch_size=5)
    alone = [pipe(sentence)[0] for sentence in SENTENCES]
    assert [a["label"] for a in together] == [a["label"] for a in alone]
    for a, b in zip(together, alone, strict=True):
        assert_same(a["score"], b["score"])


def tagging_pipeline_answers_any_text(case: Case) -> None:
    pipe = pipeline(case.task, model=str(case.saved()), device=DEVICE)
    sentences = [sentence for sentence in SENTENCES if sentence.strip()]
    for together, sentence in zip(pipe(sentences, batch_size=3), sentences, strict=True):
        alone = pipe(sentence)
        assert [(a["word"], a["entity"]) for a in together] == [(a["word"], a["entity"]) for a in alone]
        assert len(alone) == len(case.tokenizer()(sentence)["input_ids"]) - 1  # without </s>
        for a, b in zip(together, alone, strict=True):
            assert_same(a["score"], b["score"])


def fill_mask_pipeline_answers_any_text(case: Case) -> None:
    words = case.tokenizer()
    pipe = pipeline(case.task, model=str(case.saved()), tokenizer=words, device=DEVICE)
    texts = [
        f"the film was {words.mask_token}",
        words.mask_token,
        f"the {words.mask_token} was not very good film",
    ]
    for text, together in zip(texts, pipe(texts, batch_size=3), strict=True):
        inputs = words(text, return_tensors="pt").to(DEVICE)
        position = inputs["input_ids"][0].tolist().index(words.mask_token_id)
        shares = pipe.model(**inputs).logits[0, position].softmax(-1).detach()
        assert [answer["token"] for answer in together] == shares.topk(5).indices.tolist()
        assert_same(together[0]["score"], float(shares.max()))


def generation_pipeline_answers_any_text(case: Case) -> None:
    pipe = pipeline(case.task, model=str(case.saved()), tokenizer=case.tokenizer("left"), device=DEVICE)
    options = {"max_new_tokens": 6, "do_sample": False, "return_full_text": False}
    together = [answer[0] for answer in pipe(SENTENCES, batch_size=5, **options)]
    assert together == [pipe(sentence, **options)[0] for sentence in SENTENCES]


def saving_writes_weights_and_no_code(case: Case) -> None:
    model = case.model()
    model.config.auto_map = {"AutoConfig": "elsewhere.Config"}  # as in a checkpoint that came with its code
    folder = case.saved(model)
    assert not [path.name for path in folder.iterdir() if path.suffix in (".py", ".bin", ".pkl")]
    assert "auto_map" not in json.loads((folder / "config.json").read_text(encoding="utf-8"))


def stock_trainer_changes_every_parameter(case: Case) -> None:
    model = case.model().train()
    before = {name: value.cpu().clone() for name, value in model.state_dict().items()}
    losses = train(case, model, steps=30, rows=8)
    unchanged = [name for name, value in model.named_parameters() if torch.equal(value.cpu(), before[name])]
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
            use_cpu=DEVICE.type != "cuda",
            disable_tqdm=True,
            train_sampling_strategy="sequential",
            **arguments,
        ),
        train_dataset=case.rows() if dataset is None else dataset,
        data_collator=case.collator(),
    )
    trainer.train()
    assert trainer.evaluate(trainer.train_dataset)["eval_loss"] > 0
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


# Promise 2: save -> load is bit-equal, and nothing is left to chance


def save_and_load_are_bit_equal(case: Case) -> None:
    model = case.model()
    for name, parameter in model.named_parameters():  # values no initialisation gives
        values = torch.arange(parameter.numel(), dtype=torch.float32, device=parameter.device) * 0.01 + len(name)
        parameter.data = values.reshape(parameter.shape)
    loaded = case.auto_class.from_pretrained(case.saved(model))
    assert same_weights(model, loaded)
    assert torch.equal(case.reply(model), case.reply(loaded))
    assert not [name for name, parameter in loaded.named_parameters() if not parameter.requires_grad]


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change the tensors of a saved checkpoint in place."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder: Path, **values: Any) -> None:
    """Change config.json without asking the config class."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | values), encoding="utf-8")


def damaged_checkpoints_are_refused(case: Case) -> None:
    model = case.model()
    body = {tensor.data_ptr() for tensor in model.base_model.state_dict().values()}
    first = next(
        name for name, tensor in model.state_dict().items() if tensor.is_floating_point() and tensor.data_ptr() in body
    )
    damages: list[tuple[str, Callable[[dict[str, torch.Tensor]], Any]]] = [
        ("unexpected", lambda tensors: tensors.update({f"{first}.99": torch.zeros(2)})),
        ("NaN|damaged", lambda tensors: tensors[first].fill_(float("nan"))),
        *[("lacks", lambda tensors, name=name: tensors.pop(name)) for name in (first, *dict(model.named_buffers()))],
    ]
    for word, damage in damages:
        folder = case.saved()
        edit_weights(folder, damage)
        with pytest.raises(ValueError, match=word):
            case.auto_class.from_pretrained(folder)
        case.auto_class.from_pretrained(folder, strict=False)


def checkpoints_of_another_size_are_refused(case: Case) -> None:
    folder = case.saved()
    for kind in (ValueError, RuntimeError):  # as all that does not fit, and as transformers
        with pytest.raises(kind, match="another shape"):
            case.auto_class.from_pretrained(folder, **case.misfit)
    grown = case.auto_class.from_pretrained(folder, **case.misfit, ignore_mismatched_sizes=True, strict=False)
    assert case.reply(grown).shape[-1] == next(iter(case.misfit.values()))


def misfits_are_refused_before_memory_is_asked_for(case: Case) -> None:
    """By the headers of the weights: another shape, a tensor that is missing, and numbers of another kind."""
    folder = case.saved()
    name = next(name for name, tensor in load_file(folder / "model.safetensors").items() if tensor.is_floating_point())
    damages: list[tuple[str, Callable[[dict[str, torch.Tensor]], Any]]] = [
        (f"lacks .*{name}", lambda tensors: tensors.pop(name)),
        *[
            (f"{name} as {code}", lambda tensors, kind=kind: tensors.update({name: tensors[name].to(kind)}))
            for code, kind in (("BOOL", torch.bool), ("I64", torch.int64), ("C64", torch.complex64))
        ],
    ]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PreTrainedModel, "_load_pretrained_model", lambda *args: pytest.fail("memory is asked for"))
        edit_config(folder, **case.oversize)
        with pytest.raises(ValueError, match="another shape.* for .*10000000"):
            case.auto_class.from_pretrained(folder)
        for message, damage in damages:
            edit_weights(case.saved(), damage)
            with pytest.raises(ValueError, match=message):
                case.auto_class.from_pretrained(folder)


def missing_weights_are_initialised_by_our_rules(case: Case) -> None:
    folder = case.saved()
    edit_weights(folder, lambda tensors: tensors.clear())
    loaded = case.auto_class.from_pretrained(folder, strict=False)
    for name, tensor in loaded.state_dict().items():
        assert torch.isfinite(tensor).all(), name
        assert case.starts_well(name, tensor), (name, tensor)


def an_empty_state_dict_initialises_everything(case: Case) -> None:
    """As transformers' own tests ask for it; the same values as those of a new model, whatever order they come in."""
    original = PreTrainedModel._initialize_weights

    def initialise_by_seed(model: PreTrainedModel, module: nn.Module, *options: Any) -> None:
        torch.manual_seed(0)
        original(model, module, *options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreTrainedModel, "_initialize_weights", initialise_by_seed)
        fresh = case.model_class(case.config())
        loaded, info = case.model_class.from_pretrained(
            None, config=case.config(), state_dict={}, output_loading_info=True
        )
    assert info["missing_keys"] == set(fresh.state_dict()) and not loaded.training
    assert same_weights(fresh, loaded)
    assert not [name for name, tensor in loaded.state_dict().items() if tensor.is_meta]
    model = case.model()
    weights = model.state_dict()
    assert same_weights(case.model_class.from_pretrained(None, config=model.config, state_dict=weights), model)
    some = dict([next(item for item in weights.items() if item[1].is_floating_point())])
    with pytest.raises(ValueError, match="'state_dict' .* lacks"):  # that the rest is made anew was not asked for
        case.model_class.from_pretrained(None, config=model.config, state_dict=some)
    with pytest.raises(ValueError, match="needs a folder, a Hub id, or config= and state_dict="):
        case.model_class.from_pretrained(None, config=case.config())


def a_new_head_on_an_old_body_keeps_the_body(case: Case) -> None:
    backbone = case.model().model
    backbone.save_pretrained(case.folder)
    transferred, info = case.auto_class.from_pretrained(case.folder, num_labels=4, output_loading_info=True)
    assert same_weights(transferred.model, backbone)
    head = {name: tensor for name, tensor in transferred.state_dict().items() if not name.startswith("model.")}
    assert head and info["missing_keys"] <= set(head)
    assert all(case.starts_well(name, tensor) for name, tensor in head.items())
    edit_weights(case.folder, lambda tensors: tensors.pop(next(iter(tensors))))
    with pytest.raises(ValueError, match="lacks"):  # a new head was asked for, half a body was not
        case.auto_class.from_pretrained(case.folder)


# Promise 3: padding never changes an answer


def padding_and_batch_size_change_no_vector(case: Case) -> None:
    body = case.model().base_model
    ids, mask = case.batch()
    hidden = body(ids, mask).last_hidden_state
    for row in range(len(ids)):
        real = mask[row].bool()
        own = body(ids[row : row + 1, real]).last_hidden_state[0]
        if real.any():
            assert_same(hidden[row, real], own, what=row)
        assert not hidden[row, ~real].any(), row


def padding_and_batch_size_change_no_answer(case: Case) -> None:
    ids, mask = case.batch()
    wider = nn.functional.pad(ids, (3, 4)), nn.functional.pad(mask, (3, 4))
    for pooling in ("last", "mean", "max", "mean_max", "attention"):
        model = case.model(pooling=pooling)
        alone = torch.cat([model(ids[row : row + 1, mask[row].bool()]).logits for row in range(len(ids))])
        assert_same(model(ids, mask).logits, alone, what=pooling)
        assert_same(model(*wider).logits, alone, what=pooling)


def padding_and_batch_size_change_no_token(case: Case) -> None:
    model = case.model()
    ids, mask = case.batch()
    targets = case.targets(ids)
    for left, right in ((0, 0), (3, 4)):
        wider, wide_mask = (nn.functional.pad(tensor, (left, right)) for tensor in (ids, mask))
        wide_targets = nn.functional.pad(targets, (left, right))
        together = case.answers(model(wider, wide_mask))
        for row in (0, 1, 2):  # without holes: a hole ends what is told of the next token
            real = wide_mask[row].bool()
            alone = model(wider[row : row + 1, real], labels=wide_targets[row : row + 1, real])
            assert_same(together[row, real], case.answers(alone)[0], what=row)
            labels = wide_targets[row : row + 1].masked_fill(~real, -100)
            padded = model(wider[row : row + 1], wide_mask[row : row + 1], labels=labels)
            assert_same(padded.loss, alone.loss, what=row)


def transformers_sees_whether_it_generates(case: Case) -> None:
    """From its bases: code of the Hub that names no `GenerationMixin` there is given another class than its own."""
    generates = case.task in ("text-generation", "text2text-generation")
    assert case.model_class.can_generate() == generates
    assert (GenerationMixin in case.model_class.__bases__) == generates
    assert add_generation_mixin_to_remote_model(case.model_class) is case.model_class


def generation_equals_reading_again(case: Case) -> None:
    """With a state, from left-padded prompts, in beams: as a loop that reads the whole text each time."""
    model = case.model()
    ids = case.batch()[0][:3]
    mask = torch.tensor([[1] * 7, [0, 0, 0, 0, 1, 1, 1], [0] * 6 + [1]], device=DEVICE)
    options = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    together = model.generate(ids, attention_mask=mask, **options)
    assert torch.equal(together[:, :7], ids)
    for row in range(3):
        text = ids[row : row + 1, mask[row].bool()]
        for _ in range(8):
            logits = case.answers(model(text, use_cache=False))[:, -1].clone()
            logits[:, model.config.eos_token_id] = -torch.inf
            text = torch.cat((text, logits.argmax(-1, keepdim=True)), dim=1)
        assert torch.equal(together[row, 7:], text[0, -8:]), row
    beams = [
        model.generate(ids, attention_mask=mask, num_beams=4, use_cache=cached, **options) for cached in (True, False)
    ]
    assert torch.equal(*beams)
    sampled = model.generate(ids, attention_mask=mask, num_return_sequences=3, **{**options, "do_sample": True})
    assert sampled.shape == (9, 15)


def prompts_padded_on_the_right_go_on_as_on_the_left(case: Case) -> None:
    """Behind the padding stands what follows the last real token; no row continues `<pad>`."""
    model = case.model()
    ids = case.batch()[0][:3]
    left = torch.tensor([[1] * 7, [0, 0, 0, 0, 1, 1, 1], [0] * 6 + [1]], device=DEVICE)
    right = left.flip(1)
    behind = torch.stack([ids[row].roll(int(left[row].sum())) for row in range(3)])
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    ways: list[dict[str, Any]] = [{}, {"use_cache": False}, {"num_beams": 3}]
    if "state" in case.traits:
        ways.append({"cache_implementation": "static", "disable_compile": True})
    for way in ways:
        expected = model.generate(ids, attention_mask=left, **way, **options)[:, 7:]
        assert torch.equal(model.generate(behind, attention_mask=right, **way, **options)[:, 7:], expected), way


@torch.no_grad()
def the_cache_has_both_names(case: Case) -> None:
    """`past_key_values`, and `cache` as transformers calls it from 5.24 on: in, out and in `generate`."""
    model = case.model()
    ids, mask = case.batch()
    ids, mask = ids[:1], mask[:1]
    first = model(ids[:, :4], use_cache=True)
    assert first.cache is first.past_key_values is first["cache" if "cache" in first else "past_key_values"]
    options = {"do_sample": False, "suppress_tokens": [0, 3]}  # padding, which would be taken for such, and the end
    begun = model.generate(ids, max_new_tokens=3, return_dict_in_generate=True, **options)
    whole = model.generate(ids, max_new_tokens=6, **options)
    for name in ("cache", "past_key_values"):
        rest = model(ids[:, 4:], **{name: copy.deepcopy(first.cache)})
        assert_same(rest.logits, model(ids).logits[:, 4:], what=name)
        past = {name: copy.deepcopy(begun.past_key_values)}
        assert torch.equal(model.generate(begun.sequences, max_new_tokens=3, **past, **options), whole), name
    with pytest.raises(TypeError, match="two names of one argument"):
        model(ids, cache=first.cache, past_key_values=first.cache)
    with pytest.raises(TypeError, match="two names of one argument"):  # from 5.24 on transformers drops one before
        model._prepare_generation_config(None, cache=first.cache, past_key_values=first.cache)


def the_config_says_whether_a_cache_is_returned(case: Case) -> None:
    ids, mask = case.batch()
    for wanted in (True, False):
        model = case.model(use_cache=wanted)
        if "language model" in case.traits:
            assert (model(ids, mask).cache is not None) == wanted
        body = model.base_model  # of an HMM it is the model itself
        assert (body(ids, mask).cache is not None) == (wanted and not getattr(model.config, "bidirectional", False))
        model.config.use_cache = True  # as Trainer writes it, into every model
        assert torch.equal(case.reply(model), case.reply(case.model()))


def wrong_guesses_are_taken_back(case: Case) -> None:
    """Assisted decoding: the state returns to where it was before the tokens that were guessed wrong."""
    model, assistant = case.model(), case.model(seed=1)
    ids = case.batch()[0][:1]
    options = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    alone = model.generate(ids, **options)
    assert torch.equal(model.generate(ids, prompt_lookup_num_tokens=2, **options), alone)
    assert torch.equal(model.generate(ids, assistant_model=assistant, **options), alone)
    assert torch.equal(model.generate(ids, cache_implementation="static", **options), alone)


def given_tokens_have_the_probability_of_the_logits(case: Case) -> None:
    model = case.model()
    ids, mask = case.batch()
    targets = ids.roll(-1, 1).masked_fill(mask == 0, -100)
    expected = model(ids, mask).logits.log_softmax(-1).gather(2, targets.clamp(min=0)[..., None])[..., 0]
    found = model.token_log_probs(ids, targets, mask)
    assert_same(found, expected * (targets != -100))
    loss = model(ids, mask, shift_labels=targets).loss
    assert_same(loss, -found.sum() / (targets != -100).sum())


def padded_sources_change_no_target(case: Case) -> None:
    """Padding of sources on either side, and of targets on the right, beside a row of its own."""
    model = case.model()
    ids, mask = case.batch()
    targets = ids.flip(1)[:, :5]
    for left, right in ((0, 0), (3, 4)):
        wider, wide_mask = (nn.functional.pad(tensor, (left, right)) for tensor in (ids, mask))
        padded = nn.functional.pad(targets, (0, right), value=-100)
        together = model(wider, wide_mask, labels=padded)
        options = {"max_new_tokens": 5, "num_beams": 3, "do_sample": False, "pad_token_id": 0, "min_new_tokens": 5}
        written = model.generate(wider, attention_mask=wide_mask, **options)
        losses = []
        for row in range(len(ids)):
            source = wider[row : row + 1, wide_mask[row].bool()]
            alone = model(source, labels=targets[row : row + 1])
            assert_same(together.logits[row, :5], alone.logits[0], what=row)
            losses.append(alone.loss)
            if source.shape[1]:
                assert torch.equal(model.generate(source, use_cache=False, **options)[0], written[row]), row
        assert_same(together.loss, sum(losses) / len(losses))


def padded_content_gets_no_gradient(case: Case) -> None:
    model = case.model()
    ids, mask = case.batch()
    embeds = model.get_input_embeddings()(ids).detach().requires_grad_()
    model(inputs_embeds=embeds, attention_mask=mask, labels=case.targets(ids)).loss.backward()
    assert not embeds.grad[~mask.bool()].any()
    assert embeds.grad[:4].any(-1).any(-1).all()


def state_split_equals_whole(case: Case) -> None:
    model = case.model().model
    ids, mask = case.batch()
    if model.config.bidirectional:
        with pytest.raises(ValueError, match="bidirectional"):
            model(ids, use_cache=True)
        return
    whole = model(ids, mask, use_cache=True)
    for cuts in ((3, 7), (1, 2, 3, 4, 5, 6, 7)):  # in two pieces, and token by token
        state, outputs, start = None, [], 0
        for end in cuts:
            piece = model(ids[:, start:end], mask[:, :end], past_key_values=state, use_cache=True)
            state, start = piece.past_key_values, end
            outputs.append(piece.last_hidden_state)
        assert_same(torch.cat(outputs, 1), whole.last_hidden_state)
        assert state.get_seq_length() == 7
        if "recurrence" not in case.traits:
            model(ids[:, :0], past_key_values=state)  # nothing more to read: no key of it is kept
            assert state.get_seq_length() == 7
            continue
        for ours, theirs in zip(state.layers, whole.past_key_values.layers, strict=True):
            assert_same(ours.states, theirs.states)
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
    labels = [{0: "a", 7: "b"}, {0: "a", 1: "a"}, {}]
    everywhere = {"eos_token_id": [case.vocab_size, -1], "id2label": labels, "dtype": ["int32", "save"]}
    for name, values in (case.wrong_values | everywhere).items():
        for value in values:
            with pytest.raises(Exception, match=name):
                case.config(**{name: value})


def keywords_that_are_no_field_are_refused(case: Case) -> None:
    """By code; with the field that was meant, where others call it so, or it is misspelt."""
    folder = case.saved()
    for keyword, meant in (case.typo, case.foreign_name):
        for make in (case.config, lambda **options: case.auto_class.from_pretrained(folder, **options)):
            with pytest.raises(ValueError, match=f"no field '{keyword}'. Did you mean '{meant}'"):
                make(**{keyword: 3})
    with pytest.raises(ValueError, match="no field 'no_such_thing'. It has vocab_size, "):
        case.config(no_such_thing=3)
    config = case.config()
    assert type(config)(**config.to_dict()).to_dict() == config.to_dict()  # what transformers adds is known


def keys_of_a_newer_config_are_named(case: Case) -> None:
    """In a config.json: with a warning, in the place of nothing that this class has, and they are saved again."""
    folder = case.saved()
    model = case.auto_class.from_pretrained(folder)
    edit_config(folder, highway=True, hidden_sizes=[3], validate=1, temperature=0.5)
    with capture_warnings() as lines:
        loaded = case.auto_class.from_pretrained(folder)
    assert all(f"'{name}'" in "".join(lines) for name in ("highway", "hidden_sizes", "validate", "temperature"))
    assert same_weights(loaded, model) and torch.equal(case.reply(loaded), case.reply(model))
    loaded.save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert saved["highway"] is True and saved["hidden_sizes"] == [3] and not {"validate", "temperature"} & set(saved)


@contextmanager
def capture_warnings() -> Iterator[list[str]]:
    """The lines that the configs log."""
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(configs.logger, "warning", lines.append)
        yield lines


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
    for options, dataset in case.trainings():
        results = []
        for rows, steps in ((8, 1), (2, 4)):
            model = case.model(**options).train()
            losses = train(
                case, model, steps=3, rows=rows, dataset=dataset, gradient_accumulation_steps=steps, optim="sgd"
            )
            results.append((losses, model))
        (losses, model), (split_losses, split_model) = results
        assert_same(losses, split_losses, 2e-4, scale=1, what=options)  # logged with four digits
        assert_same(model.parameters(), split_model.parameters(), scale=0.1, what=options)


# And what any model does


def every_parameter_gets_a_gradient(case: Case) -> None:
    model = case.model().train()
    ids, mask = case.batch()
    model(ids, mask, labels=case.targets(ids)).loss.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def checkpointing_gives_the_same_gradients(case: Case) -> None:
    ids, mask = case.batch()
    gradients = []
    for checkpointing in (False, True):
        model = case.model(**case.no_dropout).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model(ids, mask, labels=case.targets(ids)).loss.backward()
        gradients.append([p.grad for p in model.parameters()])
    assert_same(*gradients, scale=0.01)  # a bias of keys has none but what is left where terms cancel


def hidden_states_are_returned_on_request(case: Case) -> None:
    model = case.model()
    ids, mask = case.batch()
    outputs = model(ids, mask, output_hidden_states=True)
    assert len(outputs.hidden_states) == 1 + model.config.num_hidden_layers
    assert torch.equal(outputs.hidden_states[-1], model.model(ids, mask).last_hidden_state)
    assert model(ids, mask).hidden_states is None
    assert torch.equal(model(ids, mask, return_dict=False)[0], outputs.logits)


def copies_and_half_precision_work(case: Case) -> None:
    model = case.model()
    assert torch.equal(case.reply(copy.deepcopy(model)), case.reply(model))
    folder = case.saved(model.to(torch.bfloat16))
    loaded = case.auto_class.from_pretrained(folder)
    assert loaded.dtype == torch.bfloat16
    expected = case.reply(case.model())
    assert_same(case.reply(loaded), expected, 0.1, scale=1)  # bfloat16 has three digits


def keywords_that_nobody_reads_are_refused(case: Case) -> None:
    """What is swallowed in silence is how a renamed argument becomes wrong text."""
    model = case.model()
    ids, mask = case.batch()
    for part in {model, model.base_model}:
        with pytest.raises(TypeError, match=f"{type(part).__name__} does not read 'colour'"):
            part(ids, mask, colour="red")
        with pytest.raises(TypeError, match="Did you mean 'attention_mask'"):
            part(ids, attention_masks=mask)
    given = {"decoder_input_ids": ids} if "encoder and decoder" in case.traits else {}
    more = {"colour": None, "token_type_ids": torch.zeros_like(ids), "output_attentions": False, "use_cache": False}
    assert torch.equal(case.answers(model(ids, mask, **given, **more)), case.reply(model))


def keywords_of_forward_are_declared(case: Case) -> None:
    """What transformers passes to any model, for those who read signatures and for type checkers."""
    for model_class in {case.model_class, case.family.backbone} - {None}:
        parameters = inspect.signature(model_class.forward).parameters.values()
        annotation = next(each.annotation for each in parameters if each.kind is each.VAR_KEYWORD)
        assert get_origin(annotation) is Unpack, annotation
        assert TransformersKwargs.__optional_keys__ <= get_args(annotation)[0].__optional_keys__


def embeddings_are_exchanged_or_refused(case: Case) -> None:
    """By the methods of transformers; where there are none to exchange, in words of ours."""
    model, before = case.model(), case.reply(case.model())
    model.resize_token_embeddings(case.vocab_size)
    assert torch.equal(case.reply(model), before)
    try:
        present = model.get_input_embeddings()
    except NotImplementedError as error:
        assert "has no embeddings: it knows words by their ids" in str(error)
        with pytest.raises(NotImplementedError, match="has no embeddings: it knows words by their ids"):
            model.set_input_embeddings(nn.Embedding(case.vocab_size, 5))
        with pytest.raises(NotImplementedError, match="has no output embeddings"):
            model.set_output_embeddings(nn.Linear(5, case.vocab_size))
        with pytest.raises(ValueError, match=f"has {case.vocab_size} tokens and cannot become {case.vocab_size + 1}"):
            model.resize_token_embeddings(case.vocab_size + 1)
        return
    other = copy.deepcopy(present)
    nn.init.normal_(other.weight)
    model.set_input_embeddings(other)
    assert model.get_input_embeddings() is other
    assert not torch.equal(case.reply(model), before)


def foreign_ids_are_named(case: Case) -> None:
    model = case.model()
    ids, mask = case.batch()
    with pytest.raises(ValueError, match=f"input id {case.vocab_size} is outside 0 to"):
        model(ids.clamp(min=case.vocab_size), mask)
    with pytest.raises(ValueError, match="integers"):
        model(ids.float(), mask)
    with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds|give it input_ids"):
        model()
    with pytest.raises(ValueError, match=r"attention_mask of shape \(5, 6\) does not fit 5 texts of 7 tokens"):
        model(ids, mask[:, 1:])
    with pytest.raises(ValueError, match="no rows"):
        model(ids[:0], mask[:0])


def inputs_that_are_no_batch_are_named(case: Case) -> None:
    model = case.model()
    ids, _ = case.batch()
    with pytest.raises(ValueError, match=r"shape \(texts, tokens\), got \(7,\). One text is a batch of one"):
        model(ids[0])
    with pytest.raises(ValueError, match=r"shape \(texts, tokens\), got \(1, 5, 7\)"):
        model(ids[None])
    if "embeddings" in case.traits:
        with pytest.raises(ValueError, match=r"inputs_embeds must be of shape \(texts, tokens, width\), got \(7, 6\)"):
            model(inputs_embeds=torch.zeros(7, 6))
    if "encoder and decoder" in case.traits:
        with pytest.raises(ValueError, match=r"decoder_input_ids must be of shape \(texts, tokens\), got \(7,\)"):
            model(ids, decoder_input_ids=ids[0])


def foreign_labels_are_named(case: Case) -> None:
    model = case.model()
    ids, mask = case.batch()
    with pytest.raises(ValueError, match=case.foreign_label[1]):
        model(ids, mask, labels=case.foreign_targets(ids))


def labels_of_several_classes_are_checked(case: Case) -> None:
    model = case.model(problem_type="multi_label_classification")
    ids, mask = case.batch()
    with pytest.raises(ValueError, match="from 0 to 1, got -100"):
        model(ids, mask, labels=torch.full((5, 3), -100.0))


CHECKS: dict[Callable[[Case], None], str | None] = {
    auto_classes_load_it: None,
    feature_pipeline_answers_any_text: "body",
    pipeline_answers_any_text: "classifier",
    tagging_pipeline_answers_any_text: "tagger",
    generation_pipeline_answers_any_text: "language model",
    fill_mask_pipeline_answers_any_text: "masked language model",
    saving_writes_weights_and_no_code: None,
    stock_trainer_changes_every_parameter: "loss",
    save_and_load_are_bit_equal: None,
    damaged_checkpoints_are_refused: None,
    checkpoints_of_another_size_are_refused: "weights",
    misfits_are_refused_before_memory_is_asked_for: None,
    missing_weights_are_initialised_by_our_rules: None,
    an_empty_state_dict_initialises_everything: None,
    a_new_head_on_an_old_body_keeps_the_body: "head",
    padding_and_batch_size_change_no_vector: "body",
    padding_and_batch_size_change_no_answer: "classifier",
    padding_and_batch_size_change_no_token: "tokens",
    transformers_sees_whether_it_generates: None,
    generation_equals_reading_again: "language model",
    prompts_padded_on_the_right_go_on_as_on_the_left: "language model",
    wrong_guesses_are_taken_back: "state",
    the_cache_has_both_names: "state",
    the_config_says_whether_a_cache_is_returned: "cache",
    given_tokens_have_the_probability_of_the_logits: "language model",
    padded_content_gets_no_gradient: "embeddings",
    padded_sources_change_no_target: "encoder and decoder",
    state_split_equals_whole: "layers",
    wrong_config_values_are_refused: None,
    keywords_that_are_no_field_are_refused: None,
    keys_of_a_newer_config_are_named: None,
    pickles_and_torn_files_are_refused: None,
    the_same_seed_gives_the_same_run: "loss",
    accumulation_is_exact: "loss",
    every_parameter_gets_a_gradient: "loss",
    checkpointing_gives_the_same_gradients: "layers",
    hidden_states_are_returned_on_request: "layers",
    copies_and_half_precision_work: "weights",
    keywords_that_nobody_reads_are_refused: None,
    keywords_of_forward_are_declared: None,
    embeddings_are_exchanged_or_refused: None,
    foreign_ids_are_named: None,
    inputs_that_are_no_batch_are_named: None,
    foreign_labels_are_named: "loss",
    labels_of_several_classes_are_checked: "classifier",
}
"""Each promise, and the trait that a model must have for it to mean something (`Case.traits`); None: every model."""

ON_CPU_ALONE = {foreign_ids_are_named, foreign_labels_are_named, labels_of_several_classes_are_checked}
"""On a GPU to look at the values would wait for it at every step; a foreign one ends the whole process there."""
