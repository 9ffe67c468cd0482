"""The recurrent backbone: embeddings, then a stack of layers of any cell, any depth, one or both directions.

The time loop of one direction, with masks and state, is in `loop.py`; the cells are in `cells.py`. A family's config
says which cell it means.

Shapes: B batch, T time, E embedding, H hidden of one direction, D = H or 2H.
"""

from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias, cast

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import TransformersKwargs
from transformers.utils.output_capturing import capture_outputs
from typing_extensions import Unpack

from ..base import SequencePreTrainedModel
from ..calls import CACHE_NAMES, BaseModelOutputWithPast, model_call, with_cache
from ..configs import SequenceConfig, bounded, probability
from ..features import MOST_BUCKETS
from ..heads.causal_lm import check_output_weights
from ..heads.pairs import check_pairs
from ..inputs import at_least_one_token, embed_with_word_dropout, mask_if_padded, none_if_all
from ..shared_checkpoint import check_slots
from ..token_order import TokenOrder
from ..token_words import CheckedWordsMixin, TokenWords, Words
from ..values import ValueEmbedding, ValuesConfig, as_vectors
from .cells import Cell
from .characters import CharacterReader, check_characters, width_of_characters
from .gate_values import GateValues
from .loop import RecurrentLoop
from .state import RECURRENT_LAYER_TYPE, RecurrentStateLayer, States


@strict
class RecurrentConfig(ValuesConfig, SequenceConfig):
    """Fields that RNN, LSTM and GRU share.

    Args:
        vocab_size: Number of token ids.
        embedding_size: Width of a token's vector.
        hidden_size: Width of ONE direction, as in `torch.nn.LSTM`; a bidirectional layer gives twice as much. What
            comes out is `output_size` wide; `hfseq.export_text_encoder` tells that to sentence-transformers.
        last_hidden_size: Width of one direction of the last layer; None: `hidden_size`. Tied weights need that of the
            embeddings (Merity et al. 2017).
        num_hidden_layers: Depth.
        bidirectional: Read from both ends.
        embedding_dropout: Part of the vocabulary that is blanked per batch (all occurrences of a word at once).
        hidden_dropout: Dropout on the embeddings, between the layers and on the last output.
        input_dropout: Dropout on the embeddings; None: `hidden_dropout`.
        output_dropout: Dropout on the last output; None: `hidden_dropout`.
        weight_drop: Part of each layer's recurrent weights that is dropped per batch.
        dropout_kind: "element" draws anew at every step; "locked" keeps one mask for a whole text.
        pooling: How a text's outputs become one vector, see `SequencePooling`.
        pairs: How a classifier reads two texts: "joined" as one, or "siamese", each alone (`heads/pairs.py`).
        classifier_dropout: Dropout before the classifier.
        crf: Whether a tagger chooses the labels of a text together (`heads/crf.py`).
        decoding: What such a tagger answers: "viterbi", the likeliest row of labels, or "marginal", of each word the
            likeliest label.
        feature_buckets: Rows of the features of words that a tagger has beside the network (`features.py`); 0: none.
            It needs a model that reads characters, which knows how words are spelled.
        wide_ngrams: Tokens of the longest run with a weight of its own beside the network (`WideNgrams`); 0: none.
        wide_buckets: Rows that these runs share by a hash.
        slot_labels: Names of the tags of a model of intents and slots, in the order of their ids; its other labels
            are the intents. None in all other models. See `heads/joint.py`.
        intent_weight: How much the intent counts in the loss of such a model.
        slot_weight: How much the slots do.
        temperature: What a classifier's logits are divided by in evaluation (Guo et al. 2017); None: by nothing.
        unknown_threshold: Below this probability of the best intent, `pipeline("intent-slots")` answers None.
        freeze_embeddings: Keep the embedding matrix as it is (pretrained vectors).
        initializer_range: Standard deviation of the embeddings.
        tie_word_embeddings: A language model's output weights are its embeddings (Press and Wolf 2017).
        adaptive_softmax_cutoffs: Ids at which a language model's adaptive softmax cuts the vocabulary, which must be
            in order of frequency; None: the full softmax.
        activation_regularization: Weight of the squared outputs in a language model's training loss (AR).
        temporal_activation_regularization: Weight of the squared change of the outputs from step to step (TAR).
        use_cache: Whether a model that reads forward returns its state where a call does not say.
        output_gates: Whether the outputs show the gates and states at each token where a call does not say.
        characters: Whether words are read by their characters too, and how; the tokens of a word are then one step
            (`characters.py`). Not for language models.
        character_embedding_size: Width of a character's vector.
        character_hidden_size: Width of what is read from a word's characters.
        character_kernel_size: Characters that a convolution sees at once.
        case_features: Tell the layers what case and kind a word's characters have.
        num_characters: Number of different characters, with one for none; as the next two it follows from the
            tokenizer (`word_tables(tokenizer).sizes()`).
        spelling_size: Characters of all tokens together.
        word_rows: Rows of the word embedding.
        feature_size: Numbers of a step, of a model that reads `input_values` (`values.py`); None: it reads token ids.
        prediction_length: How many steps ahead a forecast says at once (`heads/series.py`).
        num_targets: How many numbers of each of them; None: `feature_size`.
        distribution: What it says of each number: "point", "quantile", "gaussian" or "mixture" (`heads/densities.py`).
        quantiles: Which shares are learnt with "quantile"; None: 0.1, 0.5 and 0.9.
        num_mixtures: How many Gaussians a "mixture" has.
    """

    # Trainer would collect these over all texts of an evaluation.
    keys_to_ignore_at_inference = [*CACHE_NAMES, "gates"]

    vocab_size: int = bounded(10_000, 1, 10_000_000)
    embedding_size: int = bounded(128, 1, 65_536)
    hidden_size: int = bounded(128, 1, 65_536)
    last_hidden_size: int | None = bounded(None, 1, 65_536)
    num_hidden_layers: int = bounded(1, 1, 64)
    bidirectional: bool = False
    embedding_dropout: float | int = probability(0.0)
    hidden_dropout: float | int = probability(0.1)
    input_dropout: float | int | None = probability(None)
    output_dropout: float | int | None = probability(None)
    weight_drop: float | int = probability(0.0)
    dropout_kind: Literal["element", "locked"] = "element"
    pooling: Literal["last", "mean", "max", "attention", "mean_max"] = "last"
    pairs: Literal["joined", "siamese"] = "joined"
    classifier_dropout: float | int = probability(0.1)
    crf: bool = False
    decoding: Literal["marginal", "viterbi"] = "viterbi"
    feature_buckets: int = bounded(0, 0, MOST_BUCKETS)
    wide_ngrams: int = bounded(0, 0, 10)
    wide_buckets: int = bounded(100_000, 1, 10_000_000)
    slot_labels: list[str] | None = None
    intent_weight: float | int = bounded(1.0, 0.0, 1_000.0)
    slot_weight: float | int = bounded(1.0, 0.0, 1_000.0)
    temperature: float | int | None = bounded(None, 0.01, 100.0)
    unknown_threshold: float | int | None = bounded(None, 0.0, 1.0)
    freeze_embeddings: bool = False
    # 0.1, not the 0.02 of deep transformers: one shallow layer must notice its input from the first step on.
    initializer_range: float | int = bounded(0.1, 0.0, 10.0)
    tie_word_embeddings: bool = False
    adaptive_softmax_cutoffs: list[int] | None = None
    activation_regularization: float | int = bounded(0.0, 0.0, 1_000.0)
    temporal_activation_regularization: float | int = bounded(0.0, 0.0, 1_000.0)
    use_cache: bool = True
    output_gates: bool = False
    characters: Literal["none", "cnn", "lstm"] = "none"
    character_embedding_size: int = bounded(30, 1, 65_536)
    character_hidden_size: int = bounded(64, 1, 65_536)
    character_kernel_size: int = bounded(3, 1, 101)
    case_features: bool = False
    num_characters: int = bounded(0, 0, 32_767)
    spelling_size: int = bounded(0, 0, 2**31 - 1)
    word_rows: int = bounded(0, 0, 10_000_000)
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    @property
    def layer_types(self) -> list[str]:
        """Which cache layer transformers builds for each layer (`state.py`)."""
        return [RECURRENT_LAYER_TYPE] * self.num_hidden_layers

    def validate_layer_type(self) -> None:
        """Replace transformers' check, which knows only its own layer types."""

    def validate_output_weights(self) -> None:
        """Check that tied weights fit, and the cuts of an adaptive softmax."""
        check_output_weights(self)

    def validate_pairs(self) -> None:
        """Check that the end of a first text can be told."""
        check_pairs(self)

    def validate_slots(self) -> None:
        """Check the names of the slots."""
        check_slots(self)

    def validate_characters(self) -> None:
        """Check that there is room for the spellings of a tokenizer, and that what reads them has them."""
        check_characters(self)
        if self.feature_buckets and self.characters == "none":
            raise ValueError(
                f"feature_buckets={self.feature_buckets} is about how words are spelled: set characters to 'cnn' or "
                "'lstm', or leave it at 0."
            )

    def make_cell(self) -> Cell:
        """Return the cell that these fields describe."""
        raise NotImplementedError(f"{type(self).__name__} must say which cell it means")

    @property
    def has_backward_half(self) -> bool:
        """Whether the second half of an output was read backward."""
        return self.bidirectional

    @property
    def input_size(self) -> int:
        """Width of what the first layer reads."""
        return self.embedding_size + width_of_characters(self)

    @property
    def output_size(self) -> int:
        """D, the width of `last_hidden_state`."""
        return (self.last_hidden_size or self.hidden_size) * (2 if self.bidirectional else 1)

    def hidden_size_of(self, layer_idx: int) -> int:
        """Return H, the width of one direction of a layer."""
        is_last = layer_idx == self.num_hidden_layers - 1
        return self.last_hidden_size or self.hidden_size if is_last else self.hidden_size


class LockedDropout(nn.Module):
    """Dropout with one mask for all steps of a text (variational dropout, Gal and Ghahramani 2016)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Drop the same features of values (B, T, D) at all steps of a text."""
        if not self.training or self.p == 0:
            return values
        # The paper also keeps one mask inside the recurrence; here that is `weight_drop`, as in Merity et al.
        return values * nn.functional.dropout(values.new_ones(values.shape[0], 1, values.shape[2]), self.p)


Read: TypeAlias = torch.Tensor | tuple[torch.Tensor, tuple[GateValues, ...]]
"""What a layer returns: its outputs (B, T, D); and the gates and states of each direction, where asked for."""


class RecurrentLayer(GradientCheckpointingLayer):
    """One layer: a loop per direction, with outputs side by side.

    Args:
        cell: What is computed at each step.
        input_size: Width of the inputs.
        hidden_size: H, of one direction.
        bidirectional: Whether there is a second direction.
        weight_drop: Share of the recurrent weights that are dropped in training.
        layer_idx: Place in the cache.
    """

    def __init__(
        self,
        cell: Cell,
        *,
        input_size: int,
        hidden_size: int,
        bidirectional: bool = False,
        weight_drop: float = 0.0,
        layer_idx: int = 0,
    ) -> None:
        super().__init__()
        self.layer_idx = layer_idx
        make_loop = partial(
            RecurrentLoop, cell, input_size=input_size, hidden_size=hidden_size, weight_drop=weight_drop
        )
        self.forward_loop = make_loop()
        self.backward_loop = make_loop(backward=True) if bidirectional else None

    def forward(
        self, hidden_states: torch.Tensor, order: TokenOrder, cache: Cache | None = None, output_gates: bool = False
    ) -> Read:
        """Map (B, T, input) to (B, T, D), zero where there is padding."""
        asked = {"output_gates": True} if output_gates else {}
        if cache is not None:
            return self._with_state(hidden_states, order, cache, asked)
        loops = (self.forward_loop, self.backward_loop)
        # Without a cache nobody asks for the states, which allows faster routes.
        read = [loop(hidden_states, order, with_state=False, **asked) for loop in loops if loop is not None]
        output = order.spread(torch.cat([each[0] for each in read], dim=-1))
        if not output_gates:
            return output
        return output, tuple({name: order.spread(value) for name, value in each[2].items()} for each in read)

    def _with_state(
        self, hidden_states: torch.Tensor, order: TokenOrder, cache: Cache, asked: dict[str, bool]
    ) -> Read:
        """Continue from the cached state and leave the new one there."""
        # A DynamicCache() made without a config has no layers yet.
        while len(cache.layers) <= self.layer_idx:
            cache.layers.append(RecurrentStateLayer())
        layer = cache.layers[self.layer_idx]
        if not isinstance(layer, RecurrentStateLayer):
            raise ValueError(f"The cache holds {type(layer).__name__}: it comes from another kind of model.")
        states = layer.states or self.forward_loop.start(hidden_states)
        if layer.record_past:
            return self._step_by_step(hidden_states, order, layer, states, asked)
        output, states, *gates = self.forward_loop(hidden_states, order, states, **asked)
        layer.keep(states, num_new_tokens=order.steps)
        # The state may lie in the outputs' memory; a user may change those, the cache must not. One step is a copy.
        output = output if order.steps == 1 else output.clone()
        return (output, tuple(gates)) if asked else output

    def _step_by_step(
        self,
        hidden_states: torch.Tensor,
        order: TokenOrder,
        layer: RecurrentStateLayer,
        states: States,
        asked: dict[str, bool],
    ) -> Read:
        """Do as the loop does, and keep the states before each token: assisted decoding may reject tokens."""
        outputs, before = [hidden_states.new_empty(len(hidden_states), 0, self.forward_loop.hidden_size)], []
        gates: list[GateValues] = []
        for t in range(order.steps):
            before.append(states)
            real = None if order.real is None else order.real[:, t : t + 1]
            one = TokenOrder(order.batch, 1, real)
            output, states, *values = self.forward_loop(hidden_states[:, t : t + 1], one, states, **asked)
            outputs.append(output)
            gates += values
        layer.keep(states, num_new_tokens=order.steps, before=before)
        read = torch.cat(outputs, dim=1)
        if not asked:
            return read
        return read, ({name: torch.cat([each[name] for each in gates], dim=1) for name in gates[0]},)


class RecurrentPreTrainedModel(CheckedWordsMixin, SequencePreTrainedModel):
    """Initialisation of recurrent weights; what transformers needs to know of recurrent models."""

    supports_gradient_checkpointing = True
    _no_split_modules = ["RecurrentLayer"]
    _skip_keys_device_placement = list(CACHE_NAMES)
    _can_record_outputs = {"hidden_states": RecurrentLayer}
    # Heads pass it on, so that heads without a recurrent backbone refuse it.
    read_by_layers: ClassVar[frozenset[str]] = frozenset(("output_gates",))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise recurrent weights by the rules of `RecurrentLoop`, which leave loaded ones alone."""
        if isinstance(module, RecurrentLoop):
            module.reset_parameters()
        elif isinstance(module, TokenWords):
            module.reset()
        else:
            super()._init_weights(module)

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args: Any, **kwargs: Any) -> Any:
        """Resize as transformers does; refuse it where tables tell how each token is spelled."""
        if getattr(self.config, "characters", "none") == "none":
            return super().resize_token_embeddings(new_num_tokens, *args, **kwargs)
        if new_num_tokens in (None, self.config.vocab_size):
            return self.get_input_embeddings()
        raise ValueError(
            f"This model knows how each of its {self.config.vocab_size} tokens is spelled, and cannot have "
            f"{new_num_tokens}: make a new one for that tokenizer, or train one with characters='none'."
        )


class RecurrentModel(RecurrentPreTrainedModel):
    """Embeddings, then a stack of recurrent layers of the config's cell."""

    config: RecurrentConfig

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config)
        directions = 2 if config.bidirectional else 1
        # Any: of a model of numbers it is None, and what looks at it asks for models of tokens alone.
        self.embed_tokens: Any = None
        self.embed_values: ValueEmbedding | None = None
        if config.feature_size is None:
            self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size, config.pad_token_id)
        else:
            self.embed_values = ValueEmbedding(config.feature_size, config.embedding_size)
        self.token_words = self.character_reader = None
        if config.characters != "none":
            sizes = {"num_characters": config.num_characters, "spelling_size": config.spelling_size}
            self.token_words = TokenWords(config.vocab_size, **sizes)
            self.character_reader = CharacterReader(config)
            # A row for each word, not for each token; row 0 is that of padding.
            self.embed_tokens = nn.Embedding(config.word_rows, config.embedding_size, 0)
        self.layers = nn.ModuleList(
            RecurrentLayer(
                config.make_cell(),
                input_size=input_size,
                hidden_size=config.hidden_size_of(layer_idx),
                bidirectional=config.bidirectional,
                weight_drop=config.weight_drop,
                layer_idx=layer_idx,
            )
            for layer_idx, input_size in enumerate(
                [config.input_size, *[config.hidden_size * directions] * (config.num_hidden_layers - 1)]
            )
        )
        make_dropout = LockedDropout if config.dropout_kind == "locked" else nn.Dropout
        own = [config.input_dropout, *[None] * (config.num_hidden_layers - 1), config.output_dropout]
        self.dropouts = nn.ModuleList(make_dropout(config.hidden_dropout if p is None else p) for p in own)
        self.gradient_checkpointing = False
        self.post_init()
        self.freeze_parameters()

    def freeze_parameters(self) -> None:
        """Freeze the embeddings if the config says so."""
        if self.embed_tokens is not None:
            self.embed_tokens.weight.requires_grad_(not self.config.freeze_embeddings)

    def _inputs(
        self,
        input_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        inputs_embeds: torch.Tensor | None,
        words: Words | None,
    ) -> tuple[torch.Tensor, TokenOrder]:
        """Return what the first layer reads, (B, T, I), and where its steps are."""
        if self.token_words is not None:
            return self._words(input_ids, attention_mask, words)
        vectors = self._embed(input_ids) if inputs_embeds is None else inputs_embeds
        # Not `len`: an exported program works for any number of texts.
        return vectors, TokenOrder(vectors.shape[0], vectors.shape[1], attention_mask)

    def _embed(self, ids: torch.Tensor | None) -> torch.Tensor:
        """Map ids, or rows of words, to their vectors."""
        assert ids is not None
        return embed_with_word_dropout(self.embed_tokens, ids, self.config.embedding_dropout if self.training else 0.0)

    def _words(
        self, input_ids: torch.Tensor | None, attention_mask: torch.Tensor | None, words: Words | None
    ) -> tuple[torch.Tensor, TokenOrder]:
        """Read each distinct word once; the tokens of a word are one step."""
        assert self.token_words is not None and self.character_reader is not None
        if input_ids is None:
            raise ValueError(
                f"characters={self.config.characters!r}: this model looks up how tokens are spelled, which vectors do "
                "not tell. Give input_ids, or take a model with characters='none'."
            )
        if words is None:
            words = self.token_words(input_ids, attention_mask)
        vectors = torch.cat((self._embed(words.rows), self.character_reader(words)), dim=-1)  # (N, I)
        steps = none_if_all(words.steps)
        step_of = None if steps is None else words.step_of
        order = TokenOrder(input_ids.shape[0], input_ids.shape[1], steps, step_of=step_of)
        return nn.functional.embedding(words.word_of, vectors), order

    def _cache(self, cache: Cache | None, use_cache: bool | None) -> Cache | None:
        """Return the cache to fill: the given one, a new one, or None."""
        if self.token_words is not None:
            if cache is not None or use_cache:
                raise ValueError(
                    f"characters={self.config.characters!r}: a word may go on behind what was read, so that no later "
                    "call can continue from here. Leave use_cache and cache (past_key_values) out."
                )
            return None
        if not self._wants_cache(cache, use_cache):
            return None
        return DynamicCache(config=self.config) if cache is None else cache

    # The last hidden state is the layer's own output, before dropout, which TAR is about.
    @model_call()
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        words: Words | None = None,
        output_gates: bool | None = None,
        input_values: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPast:
        """Run the texts through the layers.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, T), 1 for real tokens; all real without it. With a state, the last T columns count.
            cache: The state to continue from, as an earlier call returned it.
            inputs_embeds: (B, T, E) vectors instead of `input_ids`: numbers, or words embedded elsewhere.
            use_cache: Return the state reached.
            words: Those of these texts, where a head has found them for itself (`Read` of `token_words.py`).
            output_gates: Also return the gates and states; None: as the config says. It takes the slower reference.
            input_values: (B, T, F) numbers instead of `input_ids`, of a model with `feature_size`.
            **kwargs: `output_hidden_states`, `return_dict`.

        Returns:
            `last_hidden_state` (B, T, D), zero at padding; `cache` and `gates` when asked for. `gates` has a dict for
            each layer and direction, in the order of `torch.nn.LSTM`'s h_n: layer 0 forward, layer 0 backward, layer 1
            forward ... A dict maps the name of each gate and state to (B, T, H), zero at padding; gates come before
            states, and gates that a block shares are repeated for each of its cells.
        """
        # 1. Take the inputs as they are. A text without tokens becomes one masked column.
        inputs_embeds = as_vectors(self, input_ids, inputs_embeds, input_values, attention_mask)
        input_ids, attention_mask, inputs_embeds = at_least_one_token(input_ids, attention_mask, inputs_embeds)
        # 2. Find the state to continue from.
        cache = self._cache(cache, use_cache)
        if attention_mask is not None:
            seen = 0 if cache is None else cache.get_seq_length()
            batch, steps = cast(torch.Tensor, inputs_embeds if input_ids is None else input_ids).shape[:2]
            attention_mask = mask_if_padded(attention_mask, batch, steps, seen=seen)
        # 3. Embed the words, (B, T, I), and find the real ones, once for all layers.
        hidden_states, order = self._inputs(input_ids, attention_mask, inputs_embeds, words)
        # 4. Run the layers, with dropout before, between and after them.
        shows_gates = self.config.output_gates if output_gates is None else output_gates
        gates: tuple[GateValues, ...] = ()
        for layer, dropout in zip((None, *self.layers), self.dropouts, strict=True):
            if layer is not None and shows_gates:
                hidden_states, values = layer(hidden_states, order=order, cache=cache, output_gates=True)
                gates += values
            elif layer is not None:
                hidden_states = layer(hidden_states, order=order, cache=cache)
            # A call that does nothing would still slow down each step of generation.
            if dropout.training:
                hidden_states = dropout(hidden_states)
        return BaseModelOutputWithPast(
            last_hidden_state=hidden_states, **with_cache(cache), gates=gates if shows_gates else None
        )
