"""The settings of the recipe of trees."""

from dataclasses import dataclass, field
from typing import Any, Literal

from ...data.treebanks import TreebankSettings
from ...models.recurrent.recursive import RecursiveConfig
from ...recipe.budget import BudgetSettings
from ...recipe.defaults.trees import tree_model, tree_training
from ...recipe.sections import config_section
from ...recipe.texts import UNCUT, TextSettings, TextTokenizerSettings, check_own_loss
from ...settings import option
from ...tokenization.trees import TreeTokenizer

FAMILY = "recursive"


@dataclass
class TreeTokenizerSettings(TextTokenizerSettings):
    """How the words of trees become tokens: each word that is known is one."""

    kind: Literal["word"] = option("word", "what a token is: a word of a tree, or of a text without a tree")
    lowercase: bool = option(True, "lower-case the words")
    max_length: int | None = option(None, "training trees with more nodes are left out; null: none is")

    def train_on_trees(self, trees: list[str]) -> TreeTokenizer:
        """Learn the words of trees and of texts without a tree."""
        options: dict[str, Any] = {} if self.min_count is None else {"min_frequency": self.min_count}
        return TreeTokenizer.train(trees, vocab_size=self.vocab_size, lowercase=self.lowercase, **options)


@dataclass
class TreesSettings(TextSettings):
    """All settings of the recipe, a section each."""

    data: TreebankSettings
    tokenizer: TreeTokenizerSettings = field(default_factory=TreeTokenizerSettings)
    model: dict[str, Any] = config_section({FAMILY: RecursiveConfig}, "tie_word_embeddings", "node_token_id")
    budget: BudgetSettings = field(default_factory=BudgetSettings)

    def __post_init__(self) -> None:
        if self.data.labels == "nodes":
            check_own_loss(self.training, "whole texts")
        if self.tokenizer.max_length is None:
            self.tokenizer.max_length = UNCUT
        super().__post_init__()
        shape = self.model.get("tree", "given")
        if shape != "given" and self.data.labels == "nodes":
            raise ValueError(
                f"model.tree={shape!r} builds trees of its own, whose nodes have no labels: set data.labels=root, or "
                "model.tree=given."
            )

    def follow(self, rows: int) -> None:
        """Fill in what nobody said and the number of training texts decides, where there is a budget."""
        if self.budget.minutes is None:
            return
        composition = self.model.get("composition", RecursiveConfig.composition)
        self.model = {"composition": composition, **tree_model(rows, composition), **self.model}
        self.training = {**tree_training(self.budget.minutes, rows, self.training), **self.training}
