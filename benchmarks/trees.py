"""Training steps of a binary Tree-LSTM with a label at every node, against the two ways in which people write one.

    python benchmarks/trees.py
    python benchmarks/trees.py --data data/sst/trees/train.txt    # trees in brackets instead of random ones

Peers, with the same weights, checked to give the same loss and gradients before the clock starts:

    naive       a function that calls itself for the children of a node, one tree at a time
    by level    all nodes of a level at once, over padded arrays, each level written with `index_put`

DGL is no peer here: it has no release for this torch.
Random trees have the sizes of SST's: 20 words on average and about 10 levels a tree, words by Zipf's law.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from measure import median_ratio, take_turns, write_result
from torch import nn
from torch.nn.functional import cross_entropy, linear

from hfseq import RecursiveConfig, RecursiveForSequenceClassification

BATCH, WIDTH, LABELS, VOCABULARY = 64, 150, 5, 17_000
NODE = 1  # the token of nodes without a word
OURS, NAIVE, BY_LEVEL = "hfseq", "naive recursion", "by level, index_put"
GOALS = {NAIVE: 20.0, BY_LEVEL: 2.0}


class Tree(NamedTuple):
    """A tree in post-order.

    Attributes:
        words: (nodes) ids, NODE at inner nodes.
        children: (nodes, 2) places of both children, -1 at leaves.
        labels: (nodes).
    """

    words: list[int]
    children: list[tuple[int, int]]
    labels: list[int]


def random_tree(generator: np.random.Generator) -> Tree:
    """Draw a tree that leans to the right, as those of English sentences do."""
    length = int(np.clip(generator.gamma(4.0, 5.0), 2, 50))
    tree = Tree([], [], [])

    def grow(count: int) -> int:
        children = (-1, -1)
        if count > 1:
            left = int(generator.integers(1, count, size=2).min())
            children = grow(left), grow(count - left)
        rank = int(VOCABULARY ** generator.random())  # log-uniform: Zipf's law
        tree.words.append(NODE if count > 1 else min(1 + rank, VOCABULARY - 1))
        tree.children.append(children)
        tree.labels.append(int(generator.integers(LABELS)))
        return len(tree.words) - 1

    grow(length)
    return tree


def read_tree(line: str, ids: dict[str, int]) -> Tree:
    """Read "(3 (2 It) (4 works))"; words get ids in the order in which they come."""
    tree, open_nodes = Tree([], [], []), list[list[Any]]()
    for token in line.replace("(", " ( ").replace(")", " ) ").split():
        if token == "(":
            open_nodes.append([])
        elif token != ")":
            open_nodes[-1].append(token)
        else:
            label, *parts = open_nodes.pop()
            is_leaf = isinstance(parts[0], str)
            tree.words.append(ids.setdefault(parts[0].lower(), len(ids) + 2) if is_leaf else NODE)
            tree.children.append((-1, -1) if is_leaf else (parts[0], parts[1]))
            tree.labels.append(int(label))
            if open_nodes:
                open_nodes[-1].append(len(tree.words) - 1)
    return tree


class Weights(NamedTuple):
    """Ours, as the peers take them."""

    embeddings: torch.Tensor
    weight_ih: torch.Tensor
    weight_hh: torch.Tensor
    bias: torch.Tensor
    classifier: torch.Tensor
    classifier_bias: torch.Tensor


def weights_of(model: RecursiveForSequenceClassification) -> Weights:
    """Take the weights of our model."""
    loop = model.model.tree_loop
    return Weights(
        model.model.embed_tokens.weight,
        loop.weight_ih,
        loop.weight_hh,
        loop.bias,
        model.classifier.weight,
        model.classifier.bias,
    )


def leaf(words: torch.Tensor, weights: Weights) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute h and c of leaves from their vectors."""
    rows = 3 * WIDTH  # a leaf has nothing to forget
    i, g, o = linear(words, weights.weight_ih[:rows], weights.bias[:rows]).chunk(3, -1)
    c = i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def inner(
    h: torch.Tensor, c_left: torch.Tensor, c_right: torch.Tensor, weights: Weights
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute h and c of inner nodes from [h_left ; h_right] and both c."""
    b_i, b_g, b_o, b_f = weights.bias.chunk(4)
    i, f_left, f_right, g, o = linear(h, weights.weight_hh, torch.cat((b_i, b_f, b_f, b_g, b_o))).chunk(5, -1)
    c = i.sigmoid() * g.tanh() + f_left.sigmoid() * c_left + f_right.sigmoid() * c_right
    return o.sigmoid() * c.tanh(), c


def naive(trees: list[Tree], weights: Weights) -> torch.Tensor:
    """Return the loss of all nodes, tree by tree and node by node."""
    vectors = weights.embeddings[torch.tensor([word for tree in trees for word in tree.words])]
    states, start = [], 0
    for tree in trees:
        mine = vectors[start : start + len(tree.words)]
        start += len(tree.words)
        found: dict[int, torch.Tensor] = {}

        def visit(node: int) -> tuple[torch.Tensor, torch.Tensor]:
            left, right = tree.children[node]  # noqa: B023
            if left < 0:
                h, c = leaf(mine[node], weights)  # noqa: B023
            else:
                (h_left, c_left), (h_right, c_right) = visit(left), visit(right)
                h, c = inner(torch.cat((h_left, h_right)), c_left, c_right, weights)
            found[node] = h  # noqa: B023
            return h, c

        visit(len(tree.words) - 1)
        states += [found[node] for node in range(len(tree.words))]
    labels = torch.tensor([label for tree in trees for label in tree.labels])
    return cross_entropy(linear(torch.stack(states), weights.classifier, weights.classifier_bias), labels)


class Padded(NamedTuple):
    """A batch as arrays."""

    words: torch.Tensor
    mask: torch.Tensor
    parents: torch.Tensor
    children: torch.Tensor
    labels: torch.Tensor


def pad(trees: list[Tree]) -> Padded:
    """Make arrays of trees, padded on the right; places in a tree are counted from 1."""
    shape = len(trees), max(len(tree.words) for tree in trees)
    words, mask, parents = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
    children, labels = torch.zeros(*shape, 2, dtype=torch.long), torch.full(shape, -100)
    for row, tree in enumerate(trees):
        count = len(tree.words)
        words[row, :count], mask[row, :count] = torch.tensor(tree.words), 1
        labels[row, :count], children[row, :count] = torch.tensor(tree.labels), torch.tensor(tree.children) + 1
        for node, (left, right) in enumerate(tree.children):
            if left >= 0:
                parents[row, left] = parents[row, right] = node + 1
    return Padded(words, mask, parents, children, labels)


def by_level(batch: Padded, weights: Weights) -> torch.Tensor:
    """Return the loss of all nodes, one batched step a level."""
    heights = torch.zeros(len(batch.words), batch.words.shape[1] + 1, dtype=torch.long)
    heights[:, 0] = -1
    for node in range(batch.words.shape[1]):  # in post-order, so that children come first
        heights[:, node + 1] = heights.gather(1, batch.children[:, node]).max(1).values + 1
    heights = heights[:, 1:].masked_fill(batch.mask == 0, -1)
    h, c = leaf(weights.embeddings[batch.words], weights)
    h, c = (nn.functional.pad(states, (0, 0, 1, 0)) for states in (h, c))
    for level in range(1, int(heights.max()) + 1):
        rows, columns = (heights == level).nonzero(as_tuple=True)
        left, right = batch.children[rows, columns].unbind(-1)
        new_h, new_c = inner(torch.cat([h[rows, left], h[rows, right]], -1), c[rows, left], c[rows, right], weights)
        h, c = h.index_put((rows, columns + 1), new_h), c.index_put((rows, columns + 1), new_c)
    logits = linear(h[:, 1:], weights.classifier, weights.classifier_bias)
    return cross_entropy(logits.flatten(0, 1), batch.labels.flatten())


def rivals_of(
    model: RecursiveForSequenceClassification, batches: list[list[Tree]]
) -> dict[str, Callable[[], list[torch.Tensor]]]:
    """Return one training step of each rival, on the next batch at each call."""
    weights, padded = weights_of(model), [pad(trees) for trees in batches]

    def ours(batch: Padded) -> torch.Tensor:
        return model(input_ids=batch.words, attention_mask=batch.mask, parents=batch.parents, labels=batch.labels).loss

    def step(loss: Callable[[Any], torch.Tensor], inputs: list[Any]) -> Callable[[], list[torch.Tensor]]:
        turns = iter(inputs * 10_000)

        def run() -> list[torch.Tensor]:
            found = loss(next(turns))
            return [found.detach(), *torch.autograd.grad(found, list(weights))]

        return run

    return {
        OURS: step(ours, padded),
        NAIVE: step(lambda trees: naive(trees, weights), batches),
        BY_LEVEL: step(lambda batch: by_level(batch, weights), padded),
    }


def check_equal(rivals: dict[str, Callable[[], list[torch.Tensor]]]) -> None:
    """Refuse to time rivals that compute something else."""
    found = {name: rival() for name, rival in rivals.items()}
    for name, results in found.items():
        for one, other in zip(results, found[OURS], strict=True):
            difference, size = float((one - other).abs().max()), float(other.abs().max())
            if difference > 1e-4 * size:
                raise SystemExit(f"{name} and {OURS} differ by {difference:g} of {size:g}.")


def measure(batches: list[list[Tree]], rounds: int) -> list[dict[str, Any]]:
    """Time all rivals, and return the rows of the result."""
    torch.manual_seed(0)
    labels: dict[str, Any] = {"num_labels": LABELS}
    config = RecursiveConfig(
        vocab_size=VOCABULARY + 2, embedding_size=WIDTH, hidden_size=WIDTH, node_token_id=NODE, **labels
    )
    model = RecursiveForSequenceClassification(config).eval()  # no dropout: rivals are compared number by number
    rivals = rivals_of(model, batches)
    check_equal(rivals)
    taken = take_turns(rivals, rounds)
    speeds = {name: round(BATCH / float(np.median(times)), 1) for name, times in taken.items()}
    print("trees per CPU second:", speeds)
    text = f"binary Tree-LSTM-{WIDTH}, a label at every node, batch {BATCH}: forward + backward"
    return [
        {
            "claim": f"{text} (peer: {peer})",
            "goal": goal,
            "ratio": round(median_ratio(taken[peer], taken[OURS]), 2),
            "trees_per_cpu_second": speeds[OURS],
            "peer_trees_per_cpu_second": speeds[peer],
        }
        for peer, goal in GOALS.items()
    ]


def load_batches(data: Path | None, count: int) -> list[list[Tree]]:
    """Read trees of a file, or draw them."""
    generator = np.random.default_rng(0)
    if data is None:
        trees = [random_tree(generator) for _ in range(count * BATCH)]
    else:
        ids: dict[str, int] = {}
        lines = [line for line in data.read_text(encoding="utf-8").splitlines() if line.strip()]
        trees = [read_tree(lines[place], ids) for place in generator.permutation(len(lines))[: count * BATCH]]
    return [trees[start : start + BATCH] for start in range(0, len(trees), BATCH)]


def main() -> None:
    """Measure it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a file of trees in brackets, one a line")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(load_batches(options.data, 10), options.rounds)
    command = "python benchmarks/trees.py" + ("" if options.data is None else f" --data {options.data}")
    write_result("trees", command=command, peer="torch", rows=rows)


if __name__ == "__main__":
    main()
