"""Trees by lot, as the models take them: any order of the nodes, padding on any side, words where they are wanted."""

import random

import torch

NODE, WORDS = 1, range(4, 20)


def random_parents(nodes, most_children, rng):
    """Parents of one tree in any order of its nodes, counted from 1."""
    free = {0: most_children}
    parent = [0]
    for node in range(1, nodes):
        above = rng.choice(list(free))
        free[above] -= 1
        if not free[above]:
            del free[above]
        parent.append(above + 1)
        free[node] = most_children
    places = list(range(nodes))
    rng.shuffle(places)
    moved = [0] * nodes
    for node, above in enumerate(parent):
        moved[places[node]] = above and places[above - 1] + 1
    return moved


def random_batch(rows=6, *, most_children=2, most_nodes=12, columns=0, inner_words=False, seed=0):
    """A batch of trees: input_ids, attention_mask and parents; one of the rows has no node, one has one."""
    rng = random.Random(seed)
    sizes = [0, 1, *[rng.randint(2, most_nodes) for _ in range(rows - 2)]]
    width = columns or max(sizes) + 2
    found = {name: torch.zeros(rows, width, dtype=torch.long) for name in ("input_ids", "attention_mask", "parents")}
    for row, size in enumerate(sizes):
        if not size:
            continue
        parents = random_parents(size, most_children, rng)
        start = rng.randint(0, width - size)
        inner = set(parents)
        words = [NODE if node + 1 in inner and not inner_words else rng.choice(WORDS) for node in range(size)]
        for name, values in (("input_ids", words), ("attention_mask", [1] * size), ("parents", parents)):
            found[name][row, start : start + size] = torch.tensor(values)
    return found


def each_text(batch):
    """The rows of a batch one by one, each without its padding, and which they are."""
    for row, mask in enumerate(batch["attention_mask"].bool()):
        if mask.any():
            yield row, {name: values[row : row + 1, mask] for name, values in batch.items()}
