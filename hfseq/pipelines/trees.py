"""The pipeline of trees with a label at each node, for which transformers has none; `import hfseq` registers it.

pipe = pipeline("tree-sentiment", model="user/trees")
pipe("(3 (2 It) (4 works))")        # {"label": "positive", "score": 0.9, "brackets": ..., "tree": ...}
pipe("It works")                    # words without a tree are joined to one
"""

from typing import Any, Final

import torch
from transformers import Pipeline, PreTrainedModel

from ..tokenization.brackets import write_brackets
from ..tokenization.tree import Tree
from ..tokenization.trees import tree_in

SHAPES: Final = ("given", "right", "left", "balanced")
_UNWRITABLE: Final = set(" \t\r\n\f\v()")


class TreeSentimentPipeline(Pipeline):
    """Gives the label of a text, and that of each phrase in it.

    A text is a tree in brackets, `(3 (2 It) (4 works))`, whose labels do not count, or plain; a sentence of CoNLL-U, a
    `Tree`, or a dict with `words` and `parents`. The answer is a dict:

    - `label` and `score`: those of the whole text, with its probability;
    - `tree`: a dict for each node of the tree that was read: `text`, `start` and `end` (characters in the text; in a
      tree, in its words joined by blanks), `word` (its own; None where it has none), `label`, `score`, `parent` and
      `children` (places in this list; None: the root). Children stand before their parent, but in dependency trees;
    - `brackets`: the tree in brackets with these labels; with their numbers, where a name has blanks. None where
      brackets cannot hold the tree, as that of dependencies;
    - `classes`: all labels, in the order of their numbers.

    Parameters, here or in a call: `tree`, the shape of the tree that is read ("given": as it is, and plain text
    branches to the right; "right", "left" and "balanced": always this one over the words; by default what the config
    of the model says), `top_k` (adds `labels` to each node, so many with their scores), `batch_size`.
    """

    _load_processor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = True
    model: Any
    tokenizer: Any

    def __init__(self, model: PreTrainedModel, tokenizer: Any = None, *, task: str = "", **kwargs: Any) -> None:
        if getattr(model.config, "composition", None) is None:
            raise ValueError(
                f"The task tree-sentiment needs a model of trees, such as RecursiveForSequenceClassification; got "
                f"{type(model).__name__}. pipeline('text-classification') reads texts without trees."
            )
        if "parents" not in getattr(tokenizer, "model_input_names", ()):
            raise ValueError(
                f"The task tree-sentiment needs a tokenizer of trees, which {type(tokenizer).__name__} is not: make "
                "one with hfseq.TreeTokenizer.from_tokenizer."
            )
        super().__init__(model, tokenizer, task=task, **kwargs)

    def _sanitize_parameters(
        self, tree: str | None = None, top_k: int | None = None, **pipeline_parameters: Any
    ) -> Any:
        if pipeline_parameters:
            named = ", ".join(pipeline_parameters)
            raise TypeError(f"tree-sentiment has the parameters tree and top_k, and none named {named}.")
        if tree is not None and tree not in SHAPES:
            raise ValueError(f"tree must be one of {', '.join(SHAPES)}, got {tree!r}.")
        if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
            raise ValueError(f"top_k must be a number from 1 up, got {top_k!r}.")
        forward = {} if tree is None else {"tree": tree}
        return {}, forward, {} if top_k is None else {"top_k": top_k}

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Answer a text or tree, or a list of them."""
        if isinstance(inputs, list | tuple) and not inputs:  # of which transformers would look at the first
            return []
        return super().__call__(inputs, **kwargs)

    def preprocess(self, input_: Any, **preprocess_parameters: Any) -> Any:
        """Make a text or tree the model's input, and tell where its words are."""
        if not isinstance(input_, str | Tree | dict):
            raise TypeError(
                f"tree-sentiment takes a text, a tree in brackets, a Tree, or a dict with words and parents; got "
                f"{input_!r:.80}. A list is one of several texts."
            )
        read = self.tokenizer.read(input_)
        if isinstance(input_, str) and tree_in(input_) is None:
            text, places = input_, self._places(input_, read)
        else:
            text, places = _joined(read)
        # transformers cannot pad a text of no node on the left: it is one node that is masked.
        encoded = self.tokenizer(read) if len(read) else {"input_ids": [self.tokenizer.pad_token_id], "parents": [0]}
        tensors = {name: torch.tensor([encoded[name]], dtype=torch.long) for name in ("input_ids", "parents")}
        mask = torch.full_like(tensors["input_ids"], len(read) > 0)
        return {**tensors, "attention_mask": mask, "words": list(read.words), "places": places, "text": text}

    def _places(self, text: str, read: Tree) -> list[tuple[int, int]]:
        """Return where each word of a plain text stands in it, as it was given."""
        offsets: list[tuple[int, int]] = self.tokenizer.backend_tokenizer.encode(
            text, add_special_tokens=False
        ).offsets
        if len(offsets) == len(read.words):
            return offsets
        # A word that is spelled like a special token: the library takes it for one.
        found, end = [], 0
        for word in read.sentence:
            start = max(text.find(word, end), end)
            end = min(start + len(word), len(text))
            found.append((start, end))
        return found

    def _forward(self, input_tensors: Any, tree: str | None = None) -> Any:  # type: ignore[override]
        names = ("input_ids", "parents", "attention_mask")
        outputs = self.model(**{name: input_tensors[name] for name in names}, tree=tree)
        told = {name: input_tensors[name] for name in ("words", "places", "text", "attention_mask")}
        return {
            "logits": outputs.logits,
            "node_logits": outputs.node_logits,
            "tree_parents": outputs.parents,
            "node_mask": outputs.node_mask,
            **told,
        }

    def postprocess(self, model_outputs: Any, top_k: int | None = None) -> Any:  # type: ignore[override]
        """Name the labels of the root and of all nodes."""
        config = self.model.config
        names = [config.id2label[number] for number in range(config.num_labels)]
        tree, columns = _tree_read(model_outputs)
        shares = model_outputs["node_logits"][0][columns].float().softmax(-1)
        whole = model_outputs["logits"][0].float().softmax(-1)
        best = int(whole.argmax())
        labels = shares.argmax(-1).tolist() if columns else []
        written = [str(label) for label in labels] if any(map(_is_unwritable, names)) else [names[x] for x in labels]
        return {
            "label": names[best],
            "score": float(whole[best]),
            "brackets": _brackets(tree, written),
            "tree": _nodes(tree, model_outputs, shares, names, top_k),
            "classes": names,
        }


def _is_unwritable(name: str) -> bool:
    return not name or bool(_UNWRITABLE & set(name))


def _joined(read: Tree) -> tuple[str, list[tuple[int, int]]]:
    """Join the words of a tree by blanks, and tell the place of each."""
    places, end = [], 0
    for word in read.sentence:
        places.append((end, end + len(word)))
        end += len(word) + 1
    return " ".join(read.sentence), places


def _tree_read(outputs: Any) -> tuple[Tree, list[int]]:
    """Return the tree that the model has read, and the column of each of its nodes."""
    given, parents = outputs["attention_mask"][0].tolist(), outputs["tree_parents"][0]
    words = iter(outputs["words"])  # as many as the mask has ones: padding has none
    word_of = [next(words) if is_given else None for is_given in given]
    columns = outputs["node_mask"][0].nonzero().flatten().tolist()
    own = tuple(word_of[column] if column < len(given) else None for column in columns)
    tree = Tree(own, tuple(parents[columns].tolist()))
    if not columns or columns[-1] < len(given) or tree.has_inner_words:
        return tree, columns
    order = _post_order(tree)
    number = {node: place for place, node in enumerate(order, start=1)}
    above = tuple(number[tree.parents[node] - 1] if tree.parents[node] else 0 for node in order)
    return Tree(tuple(own[node] for node in order), above), [columns[node] for node in order]


def _post_order(tree: Tree) -> list[int]:
    """Return the nodes from left to right, children before their parent: those that were built come last in a row."""
    spans, children = tree.spans(), tree.children()
    order, waiting = [], list(tree.roots)
    while waiting:
        node = waiting.pop()
        order.append(node)
        waiting += sorted(children[node], key=spans.__getitem__)
    return order[::-1]


def _nodes(
    tree: Tree, outputs: Any, shares: torch.Tensor, names: list[str], top_k: int | None
) -> list[dict[str, Any]]:
    """Tell of each node its place in the text, its label, and its neighbours in the tree."""
    text, places, children = outputs["text"], outputs["places"], tree.children()
    scores, labels = (each.tolist() for each in shares.topk(min(top_k or 1, len(names)), -1))
    found = []
    for node, (first, after) in enumerate(tree.spans()):
        start, end = places[first][0], places[after - 1][1]
        told = {
            "text": text[start:end],
            "start": start,
            "end": end,
            "word": tree.words[node],
            "label": names[labels[node][0]],
            "score": scores[node][0],
            "parent": tree.parents[node] - 1 if tree.parents[node] else None,
            "children": children[node],
        }
        if top_k is not None:
            told["labels"] = [
                {"label": names[label], "score": score}
                for label, score in zip(labels[node], scores[node], strict=True)
            ]
        found.append(told)
    return found


def _brackets(tree: Tree, labels: list[str]) -> str | None:
    """Write the tree with these labels; None where brackets cannot hold it."""
    try:
        return write_brackets(Tree(tree.words, tree.parents, tuple(labels)))
    except ValueError:  # a node with a word and children, or a word with blanks in it
        return None
