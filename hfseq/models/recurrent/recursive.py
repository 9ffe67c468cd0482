"""Recursive networks: a text is a tree, and each node is made of its children (Socher et al. 2011).

         not very good          h(not (very good)) = f(h(not), h(very good))
           /      |
         not   very good        what f is, is the composition: `compositions.py`
                /    |
             very   good

Every node has a state, and so every phrase a label: "very good" is positive, "not very good" is not. Trees come from a
parser as integers that pad and batch like all others (`tree_shapes.py`); a text without a tree is joined by a shape:
to the right, to the left, or balanced. All trees of a batch are computed together, level by level (`levels.py`).

Padding never changes an answer, on either side, nor does the rest of the batch.

Shapes: B batch, N nodes given, M >= N nodes with those built, E embedding, H hidden, L labels, n nodes of all texts.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple
from typing_extensions import Unpack

from ..base import IGNORED, SequencePreTrainedModel
from ..calls import model_call
from ..configs import SequenceConfig, bounded, probability
from ..heads.classification import check_classes
from ..inputs import at_least_one_token, can_be_checked, check_input_ids, embed_with_word_dropout, mask_of_inputs
from .compositions import COMPOSITIONS
from .levels import TreeLoop
from .tree_graphs import GraphNodes, read_graph_trees
from .tree_shapes import Trees, TreeShape, read_trees

SHAPES = ("given", "right", "left", "balanced")


@strict
class RecursiveConfig(SequenceConfig):
    """Configuration of the recursive network.

    Args:
        vocab_size: Number of token ids.
        embedding_size: E, the width of a token's vector.
        hidden_size: H, the width of a node's state; at most 256 with "tensor", which has 4 H^3 weights, and 64 with
            "matrix_vector", where each node has a matrix.
        composition: How a node is made of its children, see `compositions.py`. "child_sum" takes any number of them,
            in any order, as dependency trees have; the others two at most.
        tree: "given": trees as they come, and what has no parent joined to the right. "right", "left", "balanced":
            always this shape, over the words alone.
        node_token_id: The token of nodes that have no word of their own; None: every node has one.
        embedding_dropout: Part of the vocabulary that is blanked per batch (all occurrences of a word at once).
        hidden_dropout: Dropout on the words' vectors, with one mask for all occurrences of a word in a batch, and on
            the nodes' states when all are computed.
        classifier_dropout: Dropout before the classifier.
        freeze_embeddings: Keep the embedding matrix as it is (pretrained vectors).
        initializer_range: Standard deviation of the embeddings.
    """

    model_type = "hfseq_recursive"
    # What a metric is computed from are the texts' logits; the nodes of another batch have another number of columns.
    keys_to_ignore_at_inference = ["node_logits", "parents", "node_mask", "hidden_states"]

    vocab_size: int = bounded(10_000, 1, 10_000_000)
    embedding_size: int = bounded(128, 1, 65_536)
    hidden_size: int = bounded(128, 1, 65_536)
    composition: Literal["matrix", "matrix_vector", "tensor", "tree_lstm", "child_sum", "tree_gru"] = "tree_lstm"
    tree: Literal["given", "right", "left", "balanced"] = "given"
    node_token_id: int | None = None
    embedding_dropout: float | int = probability(0.0)
    hidden_dropout: float | int = probability(0.1)
    classifier_dropout: float | int = probability(0.1)
    freeze_embeddings: bool = False
    initializer_range: float | int = bounded(0.1, 0.0, 10.0)
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None

    def validate_width(self) -> None:
        """Check that the composition is affordable at this width."""
        widest = COMPOSITIONS[self.composition].widest
        if widest is not None and self.hidden_size > widest:
            raise ValueError(
                f"hidden_size={self.hidden_size} is too wide for composition={self.composition!r}, whose weights or "
                f"states grow with its power: set {widest} or less."
            )

    def validate_node_token(self) -> None:
        """Check that nodes without a word can be told from padding."""
        if self.node_token_id is not None and self.node_token_id == self.pad_token_id:
            raise ValueError(f"node_token_id={self.node_token_id} is pad_token_id too: give it a token of its own.")

    def validate_problem_type(self) -> None:
        """Check that one label is chosen, which is what nodes have."""
        if self.problem_type not in (None, "single_label_classification"):
            raise ValueError(
                f"problem_type={self.problem_type!r}: each node has one label of several. Set it to "
                "'single_label_classification' or None."
            )

    @property
    def output_size(self) -> int:
        """H, the width of `last_hidden_state`."""
        return self.hidden_size


@dataclass
class TreeModelOutput(ModelOutput):
    """What `RecursiveModel` says of texts.

    Attributes:
        last_hidden_state: (B, M, H) the states of the nodes; those that were built stand behind those given.
        pooler_output: (B, H) those of the roots; zeros of a text without a node.
        parents: (B, M) of the tree that was read: the number of a node's parent among the nodes of `node_mask`, 0 of
            the root and elsewhere. Siblings stand in the order of the first nodes below them.
        node_mask: (B, M), 1 for the nodes of that tree.
        hidden_states: `last_hidden_state`, when asked for.
    """

    last_hidden_state: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None
    parents: torch.Tensor | None = None
    node_mask: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None


@dataclass
class TreeClassifierOutput(ModelOutput):
    """What `RecursiveForSequenceClassification` says of texts and of their phrases.

    Attributes:
        loss: When there were labels.
        logits: (B, L) of the roots.
        node_logits: (B, M, L) of the nodes; those that were built stand behind those given.
        parents: (B, M) and
        node_mask: (B, M) of the tree that was read, see `TreeModelOutput`.
        hidden_states: The nodes' states (B, M, H), when asked for.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    node_logits: torch.Tensor | None = None
    parents: torch.Tensor | None = None
    node_mask: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None


class Rows(NamedTuple):
    """What a batch says of its trees.

    Attributes:
        mask: (B, N) bool.
        parents: (B, N) or None.
        shape: That of the trees.
        is_word: (B, N) bool, the nodes with a word of their own.
    """

    mask: torch.Tensor
    parents: torch.Tensor | None
    shape: TreeShape
    is_word: torch.Tensor


class Nodes(NamedTuple):
    """The nodes of all texts.

    Attributes:
        states: (n, H).
        trees: Where they stand.
    """

    states: torch.Tensor
    trees: Trees

    def spread(self, values: torch.Tensor, elsewhere: torch.Tensor | None = None) -> torch.Tensor:
        """Put what was found for the nodes, (n, K), in their columns, (B, M, K); elsewhere zeros, or this (K)."""
        batch, width = self.trees.mask.shape
        places = self.trees.rows * width + self.trees.columns
        return _scatter(values, places, batch * width, elsewhere).view(batch, width, -1)

    def of_roots(self, values: torch.Tensor, elsewhere: torch.Tensor | None = None) -> torch.Tensor:
        """Take what was found for the roots, (B, K); of a text without a node zeros, or this (K)."""
        roots = self.trees.roots
        found = values.index_select(0, torch.from_numpy(roots).to(values.device))
        return _scatter(found, self.trees.rows[roots], len(self.trees.mask), elsewhere)

    def with_labels(self, scores: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scores of the nodes that were given, and their labels out of (B, N)."""
        labels = _of_given(labels, self.trees)
        return scores[: len(labels)], labels

    def read_trees(self) -> dict[str, torch.Tensor]:
        """Return the trees that were read, as outputs show them."""
        device = self.states.device
        return {
            "parents": torch.from_numpy(self.trees.parents).to(device),
            "node_mask": torch.from_numpy(self.trees.mask).to(device).long(),
        }


def _of_given(values: torch.Tensor, trees: Trees) -> torch.Tensor:
    """Take what belongs to the nodes that were given, which come before those built, out of (B, N, ...)."""
    count = values.shape[1]
    is_given = trees.columns < count
    places = trees.rows[is_given] * count + trees.columns[is_given]
    return values.flatten(0, 1).index_select(0, torch.from_numpy(places).to(values.device))


def _scatter(values: torch.Tensor, places: np.ndarray, count: int, elsewhere: torch.Tensor | None) -> torch.Tensor:
    """Return (count, K) with the values at their places."""
    empty = values.new_zeros(values.shape[1]) if elsewhere is None else elsewhere.to(values.dtype)
    return empty.expand(count, -1).index_copy(0, torch.from_numpy(places).to(values.device), values)


class RecursivePreTrainedModel(SequencePreTrainedModel):
    """Initialisation of the compositions' weights; what transformers needs to know of recursive networks."""

    config: RecursiveConfig
    _no_split_modules = ["TreeLoop"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise weights by the rules of `TreeLoop`, which leave loaded ones alone."""
        if isinstance(module, TreeLoop):
            module.reset_parameters()
        else:
            super()._init_weights(module)


class RecursiveModel(RecursivePreTrainedModel):
    """Embeddings, then one state for each node of each tree."""

    def __init__(self, config: RecursiveConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size, config.pad_token_id)
        self.tree_loop = TreeLoop(
            config.composition,
            input_size=config.embedding_size,
            hidden_size=config.hidden_size,
        )
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.post_init()
        self.freeze_parameters()

    def freeze_parameters(self) -> None:
        """Freeze the embeddings if the config says so."""
        self.embed_tokens.weight.requires_grad_(not self.config.freeze_embeddings)

    @model_call()
    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        parents: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        tree: TreeShape | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> TreeModelOutput:
        """Compute the state of each node.

        Args:
            input_ids: (B, N) the token of each node's word; `config.node_token_id` at nodes without one.
            attention_mask: (B, N), 1 for nodes; all without it.
            parents: (B, N) the number of each node's parent among the text's own nodes, from 1, and 0 of a node
                without one and of padding. Without it no node has a parent: plain text.
            inputs_embeds: (B, N, E) vectors instead of `input_ids`; zeros at nodes without a word. Words are then the
                leaves, where the tree's shape asks for words alone.
            tree: The shape of the trees; None: as the config says.
            **kwargs: `output_hidden_states`, `return_dict`.
        """
        nodes = self.read(input_ids, attention_mask, parents, inputs_embeds, tree)
        hidden = nodes.spread(nodes.states)
        wants_states = kwargs.get("output_hidden_states", self.config.output_hidden_states)
        return TreeModelOutput(
            last_hidden_state=hidden,
            pooler_output=nodes.of_roots(nodes.states),
            **nodes.read_trees(),
            hidden_states=(hidden,) if wants_states else None,
        )

    def read(
        self,
        input_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        parents: torch.Tensor | None,
        inputs_embeds: torch.Tensor | None,
        tree: TreeShape | None,
    ) -> Nodes | GraphNodes:
        """Compute the nodes of all texts, one behind the other: a head has no use for padding."""
        # 1. Take the inputs as they are. A text without nodes becomes one masked column.
        input_ids, attention_mask, inputs_embeds = at_least_one_token(input_ids, attention_mask, inputs_embeds)
        given = cast(torch.Tensor, input_ids if inputs_embeds is None else inputs_embeds)
        if input_ids is not None and (input_ids.shape[0] == 0 or input_ids.is_floating_point()):
            check_input_ids(input_ids, self.config.vocab_size)
        if inputs_embeds is not None and inputs_embeds.shape[2] != self.config.embedding_size:
            raise ValueError(
                f"inputs_embeds must be {self.config.embedding_size} wide (config.embedding_size), got "
                f"{inputs_embeds.shape[2]}."
            )
        rows = self._rows(given, attention_mask, parents, self.config.tree if tree is None else tree)
        # 2. Compute the nodes of all trees level by level, (n, H).
        nodes = self._in_graph(given, rows) if _is_graph(given) else self._by_level(given, rows)
        return nodes._replace(states=self.dropout(nodes.states))

    # A graph would hold the levels of one batch; torch.compile leaves them outside.
    @torch.compiler.disable
    def _by_level(self, given: torch.Tensor, rows: Rows) -> Nodes:
        """Look up the distinct words, and go up the levels."""
        parents = None if rows.parents is None else _to_numpy(rows.parents)
        trees = read_trees(_to_numpy(rows.mask), parents, rows.shape, _to_numpy(rows.is_word))
        vectors, word_of = self._words(given, trees)
        return Nodes(self.tree_loop(self.dropout(vectors), _to_numpy(word_of), trees), trees)

    def _in_graph(self, given: torch.Tensor, rows: Rows) -> GraphNodes:
        """Do the same by operations that are there for any batch of this shape."""
        trees = read_graph_trees(rows.mask, rows.parents, rows.shape, rows.is_word)
        dropout = self.config.embedding_dropout if self.training else 0.0
        vectors = given if given.dim() == 3 else embed_with_word_dropout(self.embed_tokens, given, dropout)
        if given.dim() == 2:
            vectors = vectors * (rows.mask & rows.is_word)[..., None]
        return GraphNodes(self.tree_loop.in_graph(self.dropout(vectors), trees), trees)

    def _rows(
        self, given: torch.Tensor, attention_mask: torch.Tensor | None, parents: torch.Tensor | None, shape: TreeShape
    ) -> Rows:
        """Check what a batch says of its trees."""
        if shape not in SHAPES:
            raise ValueError(f"tree={shape!r} is no shape: it may be {', '.join(SHAPES)}.")
        batch, nodes = given.shape[:2]
        if attention_mask is None:
            mask = given.new_ones(batch, nodes, dtype=torch.bool)
        else:
            mask = mask_of_inputs(attention_mask, batch, nodes).bool()
        # What has no nodes was given a masked column, and its parents were not.
        if parents is not None and parents.shape == (batch, 0) and not mask.any():
            parents = None
        if parents is not None and (parents.shape != (batch, nodes) or parents.is_floating_point()):
            raise ValueError(
                f"parents must be integers of shape ({batch}, {nodes}), one a node, got {parents.dtype} of shape "
                f"{tuple(parents.shape)}."
            )
        is_word = mask
        if given.dim() == 2 and self.config.node_token_id is not None:
            is_word = given != self.config.node_token_id
        elif given.dim() == 3 and parents is not None:
            is_word = _is_leaf(mask, parents)
        return Rows(mask, parents, shape, is_word)

    def _words(self, given: torch.Tensor, trees: Trees) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the distinct words' vectors (D, E), and which of them each node has, from 1; 0 for none, (n)."""
        given = _of_given(given, trees)
        if given.dim() == 2:
            word_of, vectors = torch.arange(1, 1 + len(given), device=given.device), given
        else:
            ids, word_of = given.unique(return_inverse=True)
            dropout = self.config.embedding_dropout if self.training else 0.0
            # Nothing to look up is no mistake where there are texts.
            vectors = embed_with_word_dropout(self.embed_tokens, ids, dropout) if len(ids) else self._no_words()
            word_of = word_of + 1
            if self.config.node_token_id is not None:
                word_of = word_of.masked_fill(given == self.config.node_token_id, 0)
        # Nodes that were built have no word.
        return vectors, nn.functional.pad(word_of, (0, len(trees.rows) - len(given)))

    def _no_words(self) -> torch.Tensor:
        return self.embed_tokens.weight[:0]


def _is_graph(given: torch.Tensor) -> bool:
    """Return whether nothing may depend on the numbers in a batch: a graph is recorded, or there are no numbers."""
    is_recorded = torch.compiler.is_exporting() or torch.jit.is_tracing()
    return is_recorded or given.device.type == "meta" or torch._C._len_torch_dispatch_stack() > 0


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return the numbers of a tensor, from any device."""
    # torch.func wraps integers too, in which nothing is differentiated.
    while torch._C._functorch.is_gradtrackingtensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        raise ValueError("vmap cannot map over texts: each has a tree of its own. Give them as one batch.")
    with torch._C._DisableFuncTorch():
        return tensor.numpy(force=True)


def _is_leaf(mask: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
    """Return (B, N) bool: the nodes that no node names as its parent."""
    number = mask.long().cumsum(1)
    named = torch.zeros(len(mask), mask.shape[1] + 1, dtype=torch.bool, device=mask.device)
    named.scatter_(1, (parents * mask).clamp(0, mask.shape[1]).long(), True)
    return mask & ~named.gather(1, number)


class RecursiveForSequenceClassification(RecursivePreTrainedModel):
    """A label for each text, that of its root, and one for each node."""

    def __init__(self, config: RecursiveConfig) -> None:
        super().__init__(config)
        self.num_labels = cast(int, config.num_labels)
        self.model = RecursiveModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()

    @model_call()
    @can_return_tuple
    def forward(  # type: ignore[misc]  # transformers lists parameters too
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        parents: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        tree: TreeShape | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> TreeClassifierOutput:
        """Classify texts and all of their phrases.

        Args:
            input_ids: (B, N), see `RecursiveModel`, as the next three.
            attention_mask: (B, N).
            parents: (B, N).
            inputs_embeds: (B, N, E).
            labels: (B,) one label a text, or (B, N) one a node given, -100 where there is none; adds `loss`.
            tree: The shape of the trees; None: as the config says.
            num_items_in_batch: Labels in the whole update; without it, the loss is the mean over this batch.
            **kwargs: `output_hidden_states`, `return_dict`.
        """
        # 1. Compute the nodes' states, (n, H).
        shape = self.config.tree if tree is None else tree
        nodes = self.model.read(input_ids, attention_mask, parents, inputs_embeds, shape)
        # 2. Score the labels of each node, and put them in their columns.
        scores = self.classifier(self.dropout(nodes.states))
        logits, node_logits = (put(scores, self.classifier.bias) for put in (nodes.of_roots, nodes.spread))
        # 3. Compare with the right ones.
        loss = None
        if labels is not None:
            scored = logits
            if labels.dim() == 2:
                given = cast(torch.Tensor, input_ids if inputs_embeds is None else inputs_embeds)
                _check_node_labels(labels, given, attention_mask, shape)
                scored, labels = nodes.with_labels(scores, labels)
            loss = self._loss(scored, labels, num_items_in_batch)
        wants_states = kwargs.get("output_hidden_states", self.config.output_hidden_states)
        return TreeClassifierOutput(
            loss=loss,
            logits=logits,
            node_logits=node_logits,
            **nodes.read_trees(),
            hidden_states=(nodes.spread(nodes.states),) if wants_states else None,
        )

    def _loss(
        self, logits: torch.Tensor, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None
    ) -> torch.Tensor:
        """Return the cross-entropy of all labels, divided by how many there are in the update."""
        logits, labels = logits.float().flatten(0, -2), labels.flatten()
        check_classes(labels, logits)
        total = nn.functional.cross_entropy(logits, labels, reduction="sum")
        return total / ((labels != IGNORED).sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch)


def _check_node_labels(
    labels: torch.Tensor, given: torch.Tensor, attention_mask: torch.Tensor | None, shape: str
) -> None:
    """Check that (B, N) labels belong to nodes that are read."""
    if shape != "given":
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} are those of the trees given, and tree={shape!r} builds others: "
            "give one label a text, or read the trees as they come (tree='given')."
        )
    if labels.shape != given.shape[:2]:
        raise ValueError(
            f"labels of shape {tuple(labels.shape)} do not fit {given.shape[0]} texts of {given.shape[1]} nodes: give "
            "one label a text, or one a node and -100 where there is none."
        )
    if attention_mask is not None and can_be_checked(labels):
        strays = (labels != IGNORED) & ~attention_mask.bool()
        if strays.any():
            row, column = strays.nonzero()[0].tolist()
            wrong = int(labels[row, column])
            raise ValueError(f"labels[{row}, {column}]={wrong} is the label of padding: give -100 where no node is.")


__all__ = ["RecursiveConfig", "RecursiveForSequenceClassification", "RecursiveModel"]
