"""The configuration of encoders and decoders; what each field computes is in `transformer.py`."""

from typing import Literal

from huggingface_hub.dataclasses import strict

from ..calls import CACHE_NAMES
from ..configs import SequenceConfig, bounded, probability
from ..heads.causal_lm import check_output_weights
from ..heads.pairs import check_pairs
from ..shared_checkpoint import check_slots
from ..values import ValuesConfig


@strict
class TransformerConfig(ValuesConfig, SequenceConfig):
    """Configuration of encoder and decoder.

    Args:
        vocab_size: Number of token ids.
        hidden_size: D, of words, positions and every layer's output.
        num_hidden_layers: N.
        num_attention_heads: H, which divides D.
        intermediate_size: Width inside the feed-forward network; None: 4 D, or for "swiglu" as many parameters.
        hidden_act: "relu" (the paper), "gelu", or "swiglu", whose third matrix is a gate (Shazeer 2020).
        norm: "layer_norm", or "rms_norm", which does not subtract the mean (Zhang and Sennrich 2019).
        norm_position: "pre" or "post", see the equations.
        norm_eps: Added to the variance.
        position_embedding_type: "sinusoidal" (the paper), "learned" or "rotary".
        max_position_embeddings: The longest text that learned positions are made for. The other kinds take any
            length; for them, the longest text that the model was trained on.
        rope_theta: Base of rotary positions.
        bias: Whether products and layer norms add a bias.
        scale_embedding: Multiply the words' vectors, and learned positions, by sqrt(D). With tied weights a model then
            begins by expecting each word once more, and unlearns it in its first steps.
        embedding_dropout: Part of the vocabulary that is blanked per batch (all occurrences of a word at once).
        hidden_dropout: Dropout on the sum of words and positions, and on what each sub-layer adds.
        attention_dropout: Dropout on the attention weights.
        activation_dropout: Dropout inside the feed-forward network.
        bidirectional: Whether each token sees the whole text, or only what precedes it; None: what the model class
            needs, the second for `TransformerForCausalLM`, the first for all others.
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
        initializer_range: Standard deviation of the words' vectors, and of learned positions; None: D^-0.5.
        tie_word_embeddings: A language model's output weights are its embeddings, as in the paper.
        adaptive_softmax_cutoffs: Word ids where the clusters of an adaptive softmax begin, see `RecurrentConfig`.
        use_cache: Whether a decoder returns keys and values where a call does not say.
        feature_size: Numbers of a step, of a model that reads `input_values` instead of token ids. This and the next
            five are those of `RecurrentConfig`.
        prediction_length: How many steps ahead a forecast says at once.
        num_targets: How many numbers of each of them; None: `feature_size`.
        distribution: What it says of each number: "point", "quantile", "gaussian" or "mixture".
        quantiles: Which shares are learnt with "quantile"; None: 0.1, 0.5 and 0.9.
        num_mixtures: How many Gaussians a "mixture" has.
    """

    model_type = "hfseq_transformer"
    keys_to_ignore_at_inference = list(CACHE_NAMES)
    attribute_map = {"embedding_size": "hidden_size"}

    vocab_size: int = bounded(10_000, 1, 10_000_000)
    hidden_size: int = bounded(128, 1, 65_536)
    num_hidden_layers: int = bounded(4, 1, 256)
    num_attention_heads: int = bounded(4, 1, 1_024)
    intermediate_size: int | None = bounded(None, 1, 1_000_000)
    hidden_act: Literal["relu", "gelu", "swiglu"] = "gelu"
    norm: Literal["layer_norm", "rms_norm"] = "layer_norm"
    norm_position: Literal["pre", "post"] = "pre"
    norm_eps: float | int = bounded(1e-5, 0.0, 1.0)
    position_embedding_type: Literal["sinusoidal", "learned", "rotary"] = "sinusoidal"
    max_position_embeddings: int = bounded(512, 1, 10_000_000)
    rope_theta: float | int = bounded(10_000.0, 1.0, 1e9)
    bias: bool = True
    scale_embedding: bool = True
    embedding_dropout: float | int = probability(0.0)
    hidden_dropout: float | int = probability(0.1)
    attention_dropout: float | int = probability(0.1)
    activation_dropout: float | int = probability(0.0)
    bidirectional: bool | None = None
    pooling: Literal["last", "mean", "max", "attention", "mean_max"] = "mean"
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
    initializer_range: float | int | None = bounded(None, 0.0, 10.0)
    tie_word_embeddings: bool = True
    adaptive_softmax_cutoffs: list[int] | None = None
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def validate_heads(self) -> None:
        """Check that heads divide the width, and that sines and cosines come in pairs."""
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} does not divide hidden_size={self.hidden_size}"
            )
        width = self.hidden_size // (self.num_attention_heads if self.position_embedding_type == "rotary" else 1)
        if self.position_embedding_type != "learned" and width % 2:
            raise ValueError(
                f"position_embedding_type={self.position_embedding_type!r} needs an even width, but hidden_size="
                f"{self.hidden_size} and num_attention_heads={self.num_attention_heads} make it {width}"
            )

    def validate_output_weights(self) -> None:
        """Check the cuts of an adaptive softmax, which cannot be used with tied weights."""
        check_output_weights(self)

    def validate_pairs(self) -> None:
        """Check that the end of a first text can be told."""
        check_pairs(self)

    def validate_slots(self) -> None:
        """Check the names of the slots."""
        check_slots(self)

    @property
    def output_size(self) -> int:
        """D, the width of `last_hidden_state`."""
        return self.hidden_size

    @property
    def has_backward_half(self) -> bool:
        """No half of an output was read backward: each part of it has seen what the token sees."""
        return False


__all__ = ["TransformerConfig"]
