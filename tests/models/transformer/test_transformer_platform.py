"""What people do to any model of transformers works on these: compilers, devices, caches, ways to generate."""

import copy
import pickle

import pytest
import torch
import torch.distributed as dist
from accelerate import infer_auto_device_map
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers.generation.streamers import BaseStreamer

from hfseq import (
    TransformerForCausalLM,
    TransformerForConditionalGeneration,
    TransformerForMaskedLM,
    TransformerForSequenceClassification,
    TransformerForTokenClassification,
    TransformerModel,
)
from hfseq.models.transformer.layers import TransformerLayer
from tests.closeness import assert_same
from tests.models.transformer.small_transformers import IDS, POSITIONS, SIDES, trained

LANGUAGE = [TransformerForCausalLM, TransformerForMaskedLM, TransformerForConditionalGeneration]
HEADS = [*LANGUAGE, TransformerForSequenceClassification, TransformerForTokenClassification]
BATCH = {"input_ids": IDS, "attention_mask": SIDES}
LABELLED = {**BATCH, "labels": IDS}
PROMPTS, PROMPT_MASK = IDS[[0, 2]], SIDES[[0, 2]]  # the second is padded on the left
GREEDY = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
PADDED = {"attention_mask": PROMPT_MASK, **GREEDY}
MIXED = {"tie_word_embeddings": False}  # else what has learnt nothing repeats itself

CANCELLED = 0.1  # the least size of a gradient: a bias of the keys moves every score alike, so that its terms cancel

every_head = pytest.mark.parametrize("model_class", LANGUAGE)


def gradients(model, call=None):
    """Of one step, by name; and the logits."""
    model.zero_grad()
    outputs = (model if call is None else call)(**LABELLED)
    outputs.loss.backward()
    return outputs.logits, {name: parameter.grad for name, parameter in model.named_parameters()}


# Compilers and memory


def check_compiled(model_class, backend, **options):
    torch.compiler.reset()
    model = trained(model_class, num_hidden_layers=1, **options)
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    if model_class is TransformerModel:
        with torch.no_grad():
            assert_same(compiled(**BATCH).last_hidden_state, model(**BATCH).last_hidden_state)
    else:
        assert_same(gradients(model, compiled), gradients(model), scale=CANCELLED)


@pytest.mark.parametrize(
    ("model_class", "backend", "options"),
    [
        (TransformerModel, "eager", {"position_embedding_type": "learned"}),
        (TransformerForMaskedLM, "eager", {"position_embedding_type": "rotary", "attn_implementation": "eager"}),
        (TransformerForCausalLM, "aot_eager", {}),
        (TransformerForConditionalGeneration, "eager", {}),
    ],
)
def test_a_model_compiles_as_one_graph(model_class, backend, options):
    check_compiled(model_class, backend, **options)


@pytest.mark.slow
@every_head
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_a_model_compiles_as_one_graph_for_the_processor(model_class, backend):
    check_compiled(model_class, backend)


@every_head
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_gives_the_same_gradients(model_class, reentrant):
    expected = gradients(trained(model_class).train())
    model, calls = trained(model_class).train(), []
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    for layer in model.modules():
        if isinstance(layer, TransformerLayer):
            layer.self_attention_norm.register_forward_hook(lambda *_: calls.append(1))
    assert_same(gradients(model), expected, scale=CANCELLED)
    layers = 4 if model_class is TransformerForConditionalGeneration else 2
    assert len(calls) == 2 * layers  # forward, and again for the gradient


@pytest.mark.parametrize("model_class", HEADS)
def test_copies_and_tuples(model_class):
    model = trained(model_class)
    given = {**BATCH, "decoder_input_ids": IDS} if model_class is TransformerForConditionalGeneration else BATCH
    logits = model(**given).logits
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert torch.equal(twin(**given).logits, logits)
    assert torch.equal(model(**given, return_dict=False)[0], logits)
    model.config.return_dict = False
    assert torch.equal(model(**given)[0], logits)


@pytest.mark.parametrize("model_class", HEADS)
def test_a_config_may_ask_for_states_and_attentions(model_class, tmp_path):
    """As in `from_pretrained(folder, output_attentions=True)`."""
    trained(model_class).save_pretrained(tmp_path)
    model = model_class.from_pretrained(tmp_path, output_attentions=True, output_hidden_states=True)
    is_seq2seq = model_class is TransformerForConditionalGeneration
    outputs = model(**BATCH, decoder_input_ids=IDS) if is_seq2seq else model(**BATCH)
    for side in ("encoder_", "decoder_") if is_seq2seq else ("",):
        assert len(outputs[f"{side}attentions"]) == 2 and len(outputs[f"{side}hidden_states"]) == 3


@pytest.mark.parametrize("model_class", [TransformerForCausalLM, TransformerForConditionalGeneration])
def test_layers_stay_whole_on_each_device(model_class, tmp_path):
    model = trained(model_class)
    sizes = {"cpu": 30_000, "disk": 10**9}
    placed = infer_auto_device_map(model, max_memory=sizes, no_split_module_classes=model._no_split_modules)
    layers = {name for name, module in model.named_modules() if isinstance(module, TransformerLayer)}
    assert layers and not [name for name in placed if any(name.startswith(f"{layer}.") for layer in layers)]
    model.save_pretrained(tmp_path / "model")
    leaves = [name for name, module in model.named_modules() if not list(module.children()) and "layers" not in name]
    placed = dict.fromkeys(leaves, "cpu") | {name: "disk" if name.endswith("1") else "cpu" for name in layers}
    loaded = model_class.from_pretrained(tmp_path / "model", device_map=placed, offload_folder=tmp_path / "offloaded")
    assert set(loaded.hf_device_map.values()) == {"cpu", "disk"}
    assert torch.equal(loaded(**LABELLED).logits, model(**LABELLED).logits)
    assert torch.equal(loaded.generate(PROMPTS, **PADDED), model.generate(PROMPTS, **PADDED))


@pytest.fixture
def one_process():
    """A process group of this process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@every_head
def test_sharded_layers_train_as_whole_ones(model_class, one_process):
    plain, sharded = trained(model_class), trained(model_class)
    for module in list(sharded.modules()):
        if type(module).__name__ in sharded._no_split_modules:
            fully_shard(module, mesh=one_process)
    fully_shard(sharded, mesh=one_process)
    for model in (plain, sharded):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            model(**LABELLED).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    for (name, whole), shard in zip(plain.named_parameters(), sharded.parameters(), strict=True):
        assert_same(whole, shard.full_tensor(), what=name)


# Implementations of attention


@every_head
def test_implementations_are_chosen_when_loading_and_later(model_class, tmp_path):
    model = trained(model_class)
    model.save_pretrained(tmp_path)
    loaded = model_class.from_pretrained(tmp_path, attn_implementation="eager")
    later = model_class.from_pretrained(tmp_path)
    later.set_attn_implementation("eager")
    made = trained(model_class, attn_implementation="eager")
    for other, implementation in ((model, "sdpa"), (loaded, "eager"), (later, "eager"), (made, "eager")):
        used = {module.config._attn_implementation for module in other.modules() if hasattr(module, "config")}
        assert used == {implementation}
        assert_same(other(**LABELLED).logits, model(**LABELLED).logits)
    with pytest.raises((ImportError, ValueError), match=r"doesn't seem to be installed|does not support Flash"):
        loaded.set_attn_implementation("flash_attention_2")
    with pytest.raises(ValueError, match="linear"):
        model_class.from_pretrained(tmp_path, attn_implementation="linear")


@every_head
@torch.no_grad()
def test_flex_attention_gives_the_same(model_class):
    """Not compiled: a processor's compiler takes a minute, and torch has no gradient for it there."""
    model, expected = trained(model_class), trained(model_class)
    model.set_attn_implementation("flex_attention")
    with torch.compiler.set_stance("force_eager"):
        assert_same(model(**LABELLED).logits, expected(**LABELLED).logits)
        if model.can_generate():
            assert torch.equal(model.generate(PROMPTS, **PADDED), expected.generate(PROMPTS, **PADDED))


@pytest.mark.parametrize("position_embedding_type", POSITIONS)
@torch.no_grad()
def test_half_precision_is_near_the_full_one(position_embedding_type):
    model = trained(TransformerForCausalLM, position_embedding_type=position_embedding_type)
    expected = model(**BATCH).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(**BATCH).logits
    half = model.to(torch.bfloat16)(**BATCH).logits
    assert half.dtype == torch.bfloat16
    for logits in (found, half):
        assert_same(logits.float(), expected, 0.1)


# Ways to generate


@pytest.fixture(params=POSITIONS)
def model(request):
    """A language model."""
    return trained(TransformerForCausalLM, position_embedding_type=request.param, **MIXED)


@torch.no_grad()
def by_hand(model, prompt, steps=6):
    """The likeliest token, again and again, without a cache."""
    for _ in range(steps):
        prompt = torch.cat((prompt, model(prompt, use_cache=False).logits[:, -1:].argmax(-1)), dim=1)
    return prompt


def test_padded_prompts_generate_what_each_does_alone(model):
    together = model.generate(PROMPTS, **PADDED)
    for row in range(2):
        prompt = PROMPTS[row, PROMPT_MASK[row].bool()][None]
        assert torch.equal(together[row, 7:], by_hand(model, prompt)[0, -6:])
    assert not torch.equal(together[0, 7:], together[1, 7:])


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize(
    "options",
    [
        {"use_cache": False},
        {"cache_implementation": "static", "disable_compile": True},
        {"prefill_chunk_size": 3},
        {"output_attentions": True, "output_hidden_states": True},
    ],
    ids=["no_cache", "static", "chunks", "shown"],
)
def test_each_cache_gives_the_same(model, options, num_beams):
    given = {**PADDED, "num_beams": num_beams, "return_dict_in_generate": True}
    expected = model.generate(PROMPTS, **given).sequences
    assert torch.equal(model.generate(PROMPTS, **given, **options).sequences, expected)


@pytest.mark.parametrize("help_", ["assistant", "lookup"])
def test_help_changes_nothing_of_a_text(model, help_):
    expected = model.generate(PROMPTS[:1], **GREEDY)
    assistant = trained(TransformerForCausalLM, num_hidden_layers=1, **MIXED)
    options = {"assistant_model": assistant} if help_ == "assistant" else {"prompt_lookup_num_tokens": 3}
    assert torch.equal(model.generate(PROMPTS[:1], **GREEDY, **options), expected)


def test_a_text_goes_on_from_its_cache(model):
    expected = model.generate(PROMPTS, **PADDED)
    begun = model.generate(PROMPTS, **{**PADDED, "max_new_tokens": 2}, return_dict_in_generate=True)
    mask = torch.cat((PROMPT_MASK, torch.ones(2, 2).long()), dim=1)
    options = {**PADDED, "attention_mask": mask, "max_new_tokens": 4}
    assert torch.equal(model.generate(begun.sequences, past_key_values=begun.past_key_values, **options), expected)
    embeds = model.get_input_embeddings()(PROMPTS)
    assert torch.equal(model.generate(inputs_embeds=embeds, **PADDED), expected[:, 7:])


@torch.no_grad()
def test_several_tokens_go_on_from_a_cache_of_padded_texts(model):
    whole = model(IDS, SIDES, use_cache=True).logits
    begun = model(IDS[:, :3], SIDES[:, :3], use_cache=True)
    rest = model(IDS[:, 3:], SIDES, past_key_values=begun.past_key_values)
    found = torch.cat((begun.logits, rest.logits), dim=1)
    assert_same(found[SIDES.bool()], whole[SIDES.bool()])


def test_draws_repeat_with_their_seed(model):
    options = {**PADDED, "do_sample": True, "top_k": 0, "num_return_sequences": 3}
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(model.generate(PROMPTS, **options))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    likeliest = model.generate(PROMPTS, **{**options, "top_k": 1})
    assert torch.equal(likeliest, model.generate(PROMPTS, **PADDED).repeat_interleave(3, dim=0))


def test_a_text_ends_at_its_end(model):
    free = model.generate(PROMPTS, **PADDED)
    end = int(free[0, 8])
    ended = model.generate(PROMPTS, **PADDED, eos_token_id=end)
    for row in range(2):
        tokens = free[row, 7:].tolist()
        length = tokens.index(end) + 1 if end in tokens else 6
        found = ended[row, 7:].tolist()
        assert found[:length] == tokens[:length] and not any(found[length:])
    assert int(ended[0, 7:].bool().sum()) <= 2


def test_tokens_are_streamed(model):
    class Recorder(BaseStreamer):
        tokens, ended = [], False

        def put(self, value):
            self.tokens = [*self.tokens, *value.flatten().tolist()]

        def end(self):
            self.ended = True

    streamer = Recorder()
    found = model.generate(PROMPTS[:1], streamer=streamer, **GREEDY)
    assert streamer.tokens == found[0].tolist() and streamer.ended
