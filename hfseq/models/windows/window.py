"""The window network (Bengio et al. 2003; Collobert et al. 2011): each word, seen with its neighbours.

    h_t = act(W [x_{t-left} ; ... ; x_t ; ... ; x_{t+right}] + b)        x: the words' vectors, 0 outside the text

The simplest network that knows the order of words, as far as the window reaches: "not good" and "good, not" differ. It
has no state, so all words are computed at once; what stands outside the window does not exist for it. A tagger reads
h_t (what is this word, between its neighbours?), a classifier the maximum over the text (Collobert et al.: is it said
anywhere?). With more layers, each sees windows over the outputs of the one below: n layers see n times as far.

`left` = 4 and `right` = 0 is the window of Bengio et al., who predict the next word from those before it; this file
has no language model. Where we differ: both papers pad texts with a vector that is learnt, and ours is 0; Bengio et
al. add a direct connection from words to outputs, which they found to help little.

A layer is a convolution over time: it equals `torch.nn.Conv1d` on a text without padding.

Shapes: B batch, T time, E embedding, H hidden, K = left + 1 + right.
"""

from typing import Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import TransformersKwargs
from transformers.utils.output_capturing import capture_outputs
from typing_extensions import Unpack

from ..base import SequencePreTrainedModel
from ..calls import model_call
from ..configs import SequenceConfig, bounded, probability
from ..heads.classification import SequenceClassificationMixin
from ..heads.joint import IntentAndSlotsMixin
from ..heads.pairs import check_pairs
from ..heads.tagging import TokenClassificationMixin
from ..inputs import at_least_one_token, embed_with_word_dropout, mask_of_inputs
from ..shared_checkpoint import check_slots
from ..token_order import TokenOrder

_ACTIVATIONS = {"tanh": nn.Tanh, "hardtanh": nn.Hardtanh, "relu": nn.ReLU}


@strict
class WindowConfig(SequenceConfig):
    """Configuration of the window network.

    Args:
        vocab_size: Number of token ids.
        embedding_size: E, the width of a token's vector.
        hidden_size: H, the width of every layer's output.
        left: Tokens before a token that it is seen with.
        right: Tokens after it.
        num_hidden_layers: Depth; each layer sees windows over the one below.
        hidden_act: "tanh" (Bengio et al.), "hardtanh" (Collobert et al.) or "relu".
        embedding_dropout: Part of the vocabulary that is blanked per batch (all occurrences of a word at once).
        hidden_dropout: Dropout on the embeddings and on every layer's output.
        pooling: How a text's outputs become one vector, see `SequencePooling`.
        pairs: How a classifier reads two texts: "joined" as one, or "siamese", each alone (`heads/pairs.py`).
        classifier_dropout: Dropout before the classifier.
        crf: Whether a tagger chooses the labels of a text together (`heads/crf.py`).
        decoding: What such a tagger answers: "viterbi", the likeliest row of labels, or "marginal", of each word the
            likeliest label.
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
    """

    model_type = "hfseq_window"

    vocab_size: int = bounded(10_000, 1, 10_000_000)
    embedding_size: int = bounded(128, 1, 65_536)
    hidden_size: int = bounded(128, 1, 65_536)
    left: int = bounded(2, 0, 1_000)
    right: int = bounded(2, 0, 1_000)
    num_hidden_layers: int = bounded(1, 1, 64)
    hidden_act: Literal["tanh", "hardtanh", "relu"] = "tanh"
    embedding_dropout: float | int = probability(0.0)
    hidden_dropout: float | int = probability(0.1)
    # Not "last", which would be the last window alone.
    pooling: Literal["last", "mean", "max", "attention", "mean_max"] = "max"
    pairs: Literal["joined", "siamese"] = "joined"
    classifier_dropout: float | int = probability(0.1)
    crf: bool = False
    decoding: Literal["marginal", "viterbi"] = "viterbi"
    wide_ngrams: int = bounded(0, 0, 10)
    wide_buckets: int = bounded(100_000, 1, 10_000_000)
    slot_labels: list[str] | None = None
    intent_weight: float | int = bounded(1.0, 0.0, 1_000.0)
    slot_weight: float | int = bounded(1.0, 0.0, 1_000.0)
    temperature: float | int | None = bounded(None, 0.01, 100.0)
    unknown_threshold: float | int | None = bounded(None, 0.0, 1.0)
    freeze_embeddings: bool = False
    initializer_range: float | int = bounded(0.1, 0.0, 10.0)
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def validate_pairs(self) -> None:
        """Check that the end of a first text can be told."""
        check_pairs(self)

    def validate_slots(self) -> None:
        """Check the names of the slots."""
        check_slots(self)

    @property
    def bidirectional(self) -> bool:
        """Whether a token is seen with tokens that follow it."""
        return self.right > 0

    @property
    def has_backward_half(self) -> bool:
        """No half of an output was read backward: each part of it has seen the whole window."""
        return False

    @property
    def output_size(self) -> int:
        """H, the width of `last_hidden_state`."""
        return self.hidden_size


class WindowLayer(GradientCheckpointingLayer):
    """One layer: the same product for the window around each token.

    Args:
        input_size: Width of the inputs.
        hidden_size: H.
        left: Tokens before a token.
        right: Tokens after it.
        hidden_act: Name of the activation.
    """

    def __init__(self, *, input_size: int, hidden_size: int, left: int, right: int, hidden_act: str) -> None:
        super().__init__()
        self.left, self.right = left, right
        self.linear = nn.Linear((left + 1 + right) * input_size, hidden_size)
        self.activation = _ACTIVATIONS[hidden_act]()

    def forward(self, hidden_states: torch.Tensor, order: TokenOrder) -> torch.Tensor:
        """Map (B, T, input), zero at padding, to (B, T, H), zero at padding."""
        # 1. Bring the real tokens to the front: padding between two words must not part them.
        front = order.to_front(hidden_states)
        # 2. Put zeros around the text, and K copies side by side, each one step further: (B, T, K input).
        around = nn.functional.pad(front, (0, 0, self.left, self.right))
        windows = torch.cat(
            [around[:, start : start + front.shape[1]] for start in range(self.left + 1 + self.right)], dim=-1
        )
        # 3. Compute all windows at once, and put each where its token was.
        return order.put_back(self.activation(self.linear(windows)))


class WindowPreTrainedModel(SequencePreTrainedModel):
    """What transformers needs to know of window networks."""

    config: WindowConfig
    supports_gradient_checkpointing = True
    _no_split_modules = ["WindowLayer"]
    _can_record_outputs = {"hidden_states": WindowLayer}


class WindowModel(WindowPreTrainedModel):
    """Embeddings, then layers of windows, no head."""

    def __init__(self, config: WindowConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size, config.pad_token_id)
        widths = [config.embedding_size, *[config.hidden_size] * (config.num_hidden_layers - 1)]
        self.layers = nn.ModuleList(
            WindowLayer(
                input_size=width,
                hidden_size=config.hidden_size,
                left=config.left,
                right=config.right,
                hidden_act=config.hidden_act,
            )
            for width in widths
        )
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.gradient_checkpointing = False
        self.post_init()
        self.freeze_parameters()

    def freeze_parameters(self) -> None:
        """Freeze the embeddings if the config says so."""
        self.embed_tokens.weight.requires_grad_(not self.config.freeze_embeddings)

    def _embed(self, input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor | None) -> torch.Tensor:
        """Return the words' vectors, (B, T, E)."""
        if inputs_embeds is None:
            assert input_ids is not None
            dropout = self.config.embedding_dropout if self.training else 0.0
            return embed_with_word_dropout(self.embed_tokens, input_ids, dropout)
        if inputs_embeds.shape[-1] != self.config.embedding_size:
            raise ValueError(
                f"inputs_embeds of shape {tuple(inputs_embeds.shape)} must be {self.config.embedding_size} wide "
                "(config.embedding_size)."
            )
        return inputs_embeds

    @model_call()
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutput:
        """Run the texts through the layers.

        Args:
            input_ids: (B, T) token ids.
            attention_mask: (B, T), 1 for real tokens; all real without it.
            inputs_embeds: (B, T, E) vectors instead of `input_ids`.
            **kwargs: `output_hidden_states`, `return_dict`.

        Returns:
            `last_hidden_state` (B, T, H), zero at padding.
        """
        # 1. Embed the words, (B, T, E). A text without tokens becomes one masked column.
        input_ids, attention_mask, inputs_embeds = at_least_one_token(input_ids, attention_mask, inputs_embeds)
        hidden_states = self._embed(input_ids, inputs_embeds)
        batch, steps = hidden_states.shape[:2]
        # 2. Find the real tokens, once for all layers; the first windows must meet zeros behind the text.
        if attention_mask is not None:
            attention_mask = mask_of_inputs(attention_mask, batch, steps)
            hidden_states = hidden_states.masked_fill(attention_mask[..., None] == 0, 0.0)
        order = TokenOrder(batch, steps, attention_mask)
        # 3. Run the layers, with dropout before, between and after them.
        hidden_states = self.dropout(hidden_states)
        for layer in self.layers:
            hidden_states = self.dropout(layer(hidden_states, order=order))
        return BaseModelOutput(last_hidden_state=hidden_states)


class WindowForSequenceClassification(SequenceClassificationMixin, WindowPreTrainedModel):
    """A window network with a classifier on its pooled outputs."""

    config: WindowConfig
    backbone_class = WindowModel


class WindowForTokenClassification(TokenClassificationMixin, WindowPreTrainedModel):
    """A window network that says of each word what it is, from the words around it."""

    config: WindowConfig
    backbone_class = WindowModel


class WindowForIntentAndSlots(IntentAndSlotsMixin, WindowPreTrainedModel):
    """A window network with two heads: the intent of a text, and the slot of each token."""

    config: WindowConfig
    backbone_class = WindowModel


__all__ = [
    "WindowConfig",
    "WindowForIntentAndSlots",
    "WindowForSequenceClassification",
    "WindowForTokenClassification",
    "WindowModel",
]
