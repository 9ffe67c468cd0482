"""The words behind tokens: which tokens begin a word, how each word is spelled, and the row of its embedding.

A tokenizer of words that spells unknown ones gives several tokens for one word:

    text     Oslo   zyx            </s>
    tokens   Oslo   z  ##y  ##x    </s>
    starts   yes    yes            no        the first token of each word
    steps    yes    yes            yes       words and special tokens: what a network that reads words has a step for

How a token is spelled is a fixed function of its id, so that a table in the checkpoint replaces the tokenizer: a
model reads characters from `input_ids` alone. A word's spelling is that of all its tokens, and the row of its
embedding is that of its last one: a token that continues a word has the row of unknown words.

Shapes: B batch, T time, V vocabulary, N distinct words of a batch, C characters of the longest one.
"""

import json
import unicodedata
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

from .base import is_loaded
from .inputs import can_be_checked, check_input_ids, mask_of_inputs

BEGINS, CONTINUES, SPECIAL = range(3)
"""What a token is to words. `<unk>` stands for a word, so it begins one."""
NOTHING, UPPER, LOWER, DIGIT, LETTER, OTHER = range(6)
"""Classes of characters: none, upper and lower case, digits, letters and marks without case, all else."""
_CLASS_OF_CATEGORY = {"Lu": UPPER, "Lt": UPPER, "Ll": LOWER, "N": DIGIT, "L": LETTER, "M": LETTER}
_SPELLED_BY = ("WordPiece", "WordLevel")  # models of the library whose tokens are spelled as the text is
_MOST_CHARACTERS = 32_767  # num_characters of a config


class Words(NamedTuple):
    """The distinct words of a batch. Word 0 is no word: it stands at padding, has no character, and its row is 0.

    Attributes:
        starts: (B, T) bool, the first token of each word.
        word_of: (B, T), which of the N words a token belongs to; a special token is an entry of its own.
        characters: (N, C) ids of characters, 0 after a word's end. `<unk>` and special tokens have none.
        classes: (N, C) their classes, such as `UPPER`.
        rows: (N) rows of the word embedding.
        steps: (B, T) bool, `starts` and the special tokens.
        step_of: (B, T), the place of the step that a token belongs to; padding's own.
    """

    starts: torch.Tensor
    word_of: torch.Tensor
    characters: torch.Tensor
    classes: torch.Tensor
    rows: torch.Tensor
    steps: torch.Tensor
    step_of: torch.Tensor


class WordTables(NamedTuple):
    """What a model keeps of a tokenizer, see `CheckedWordsMixin.fill_words`.

    Attributes:
        kinds: (V) uint8, `BEGINS`, `CONTINUES` or `SPECIAL`.
        rows: (V) int32, the row of the word that a token is or ends; 0 is padding's.
        offsets: (V + 1) int32, where a token's spelling begins.
        spelling: (S) int32, the characters of all tokens, one after the other.
        classes: (K) uint8, the class of each character; 0 is none.
        lower: (K) int32, the lower case of each character; one that no token has in lower case stays as it is.
    """

    kinds: torch.Tensor
    rows: torch.Tensor
    offsets: torch.Tensor
    spelling: torch.Tensor
    classes: torch.Tensor
    lower: torch.Tensor

    def sizes(self) -> dict[str, int]:
        """Return the fields of a config that follow: how many characters and rows there are, and all spellings."""
        rows = int(self.rows.max()) + 1
        return {"num_characters": len(self.classes), "spelling_size": len(self.spelling), "word_rows": rows}


def word_tables(tokenizer: Any, *, lowercase: bool = False) -> WordTables:
    """Read from a tokenizer how its tokens make words, and how they are spelled.

    Args:
        tokenizer: One of the kinds `word_or_characters`, `word`, `whitespace` or `wordpiece`.
        lowercase: Whether spellings of a word that differ in case share a row; the characters keep their case.
    """
    kinds, spelled = _spellings(tokenizer)
    rows = _rows(kinds, spelled, tokenizer, lowercase)
    characters = sorted({character for token in spelled for character in token})
    if len(characters) >= _MOST_CHARACTERS:
        raise ValueError(f"the tokens are made of {len(characters)} characters; at most {_MOST_CHARACTERS - 1} fit.")
    ids = {character: index for index, character in enumerate(characters, start=1)}
    lengths = torch.tensor([0, *map(len, spelled)])
    return WordTables(
        kinds=torch.tensor(kinds, dtype=torch.uint8),
        rows=torch.tensor(rows, dtype=torch.int32),
        offsets=lengths.cumsum(0).to(torch.int32),
        spelling=torch.tensor([ids[character] for token in spelled for character in token], dtype=torch.int32),
        classes=torch.tensor([NOTHING, *map(_class_of, characters)], dtype=torch.uint8),
        lower=torch.tensor([0, *(ids.get(each.lower(), ids[each]) for each in characters)], dtype=torch.int32),
    )


def _spellings(tokenizer: Any) -> tuple[list[int], list[str]]:
    """Return what each token is to words, and how it is spelled."""
    prefix = _continuing_prefix(tokenizer)
    tokens: dict[int, str] = {index: token for token, index in tokenizer.get_vocab().items()}
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    kinds: list[int] = []
    spelled: list[str] = []
    for index in range(len(tokenizer)):
        token = tokens.get(index, "")
        is_word = index in tokens and index not in special
        continues = is_word and prefix is not None and token.startswith(prefix) and token != prefix
        kinds.append(CONTINUES if continues else BEGINS if is_word else SPECIAL)
        without = not is_word or index == tokenizer.unk_token_id
        spelled.append("" if without else token.removeprefix(prefix or "") if continues else token)
    return kinds, spelled


def _continuing_prefix(tokenizer: Any) -> str | None:
    """Return what marks a token that continues a word; None where no token does."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    model = {} if backend is None else json.loads(backend.to_str())["model"]
    kind = model.get("type", type(tokenizer).__name__)
    if kind not in _SPELLED_BY or tokenizer.unk_token_id is None:
        raise ValueError(
            f"A tokenizer of type {kind} does not tell how words are spelled: take one with `<unk>` of the kind "
            "word_or_characters, word, whitespace or wordpiece (tokenizer.kind), or a model with characters='none'."
        )
    return model.get("continuing_subword_prefix")


def _rows(kinds: list[int], spelled: list[str], tokenizer: Any, lowercase: bool) -> list[int]:
    """Give each word a row, in the order of the ids: 0 is that of padding, 1 of unknown words."""
    unknown = 1
    # Characters that are no word of the vocabulary stand behind the last piece, see the kind `word_or_characters`.
    last_piece = max((index for index, kind in enumerate(kinds) if kind == CONTINUES), default=len(kinds))
    numbers: dict[Any, int] = {}
    rows = []
    for index, (kind, token) in enumerate(zip(kinds, spelled, strict=True)):
        is_spare = index > last_piece and len(token) == 1
        if index == tokenizer.pad_token_id:
            rows.append(0)
        elif kind == CONTINUES or is_spare or index == tokenizer.unk_token_id:
            rows.append(unknown)
        else:
            key = index if kind == SPECIAL else token.lower() if lowercase else token
            rows.append(numbers.setdefault(key, unknown + 1 + len(numbers)))
    return rows


def _class_of(character: str) -> int:
    category = unicodedata.category(character)
    return _CLASS_OF_CATEGORY.get(category, _CLASS_OF_CATEGORY.get(category[0], OTHER))


class WordsPart(nn.Module):
    """A part of a model that keeps tables of words."""

    def fill(self, tables: WordTables) -> None:
        """Copy what this part keeps of the tables."""
        raise NotImplementedError


class TokenWords(WordsPart):
    """Tables that tell the words behind token ids; a checkpoint keeps them. `fill_words` of the model fills them.

    Args:
        vocab_size: V, number of token ids.
        num_characters: Number of different characters, with 0 for none.
        spelling_size: Length of all tokens' spellings together.
    """

    kinds: torch.Tensor
    rows: torch.Tensor
    offsets: torch.Tensor
    spelling: torch.Tensor
    classes: torch.Tensor

    def __init__(self, vocab_size: int, *, num_characters: int, spelling_size: int) -> None:
        super().__init__()
        # Small integers, and one list of spellings instead of a padded matrix: the tables stay below the embeddings.
        # None is int16, which neither gloo nor NCCL sends to the other processes of a training.
        self.register_buffer("kinds", torch.zeros(vocab_size, dtype=torch.uint8))
        self.register_buffer("rows", torch.zeros(vocab_size, dtype=torch.int32))
        self.register_buffer("offsets", torch.zeros(vocab_size + 1, dtype=torch.int32))
        self.register_buffer("spelling", torch.zeros(spelling_size, dtype=torch.int32))
        self.register_buffer("classes", torch.zeros(num_characters, dtype=torch.uint8))

    @torch.no_grad()
    def reset(self) -> None:
        """Empty the tables that no checkpoint has filled: every token is an unknown word without characters."""
        for table in self.buffers():
            if not is_loaded(table):
                init.zeros_(table)

    def check_tables(self, num_rows: int) -> None:
        """Refuse tables of a checkpoint that would lead out of others, or of the `num_rows` of the embedding."""
        if self.kinds.is_meta:
            return
        lengths = self.offsets.diff()
        limits = {"kinds": SPECIAL + 1, "rows": num_rows, "spelling": len(self.classes), "classes": OTHER + 1}
        wrong = [name for name, size in limits.items() if not _is_below(self.get_buffer(name), size)]
        if self.offsets[0] != 0 or self.offsets[-1] > len(self.spelling) or bool((lengths < 0).any()):
            wrong.append("offsets")
        if wrong:
            raise ValueError(f"The checkpoint's tables of words, {', '.join(wrong)}, hold numbers out of range.")

    @torch.no_grad()
    def fill(self, tables: WordTables) -> None:
        """Copy tables that fit the sizes of the config, see `check_fit`."""
        for name, own in self.named_buffers():
            check_fit(name, own, getattr(tables, name))
        for name, own in self.named_buffers():
            own.copy_(getattr(tables, name))

    def _starts(self, kinds: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Return (B, T) bool: the first token of each word."""
        # The real token before each one, where there is one: a mask may have holes.
        before = nn.functional.pad(_last_of(real), (1, 0), value=-1)[:, :-1]
        follows = (before >= 0) & (kinds.gather(1, before.clamp(min=0)) != SPECIAL)
        # A text that was cut may begin inside a word: what continues nothing begins one.
        return real & ((kinds == BEGINS) | ((kinds == CONTINUES) & ~follows))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> Words:
        """Find the distinct words of (B, T) token ids; `attention_mask` (B, T) is 1 for real tokens."""
        self._check()
        return self._read(input_ids, attention_mask)

    # How many words there are, and how long, are numbers that no graph can hold.
    @torch.compiler.disable
    def _read(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> Words:
        # 1. Find where words begin, and the special tokens, which are steps of their own.
        kinds, real = self._kinds(input_ids), _real(input_ids, attention_mask)
        starts = self._starts(kinds, real)
        steps = starts | (real & (kinds == SPECIAL))
        # 2. Give equal words one number: (N, P) tokens of each word, -1 after its last one.
        pieces, number = _distinct(input_ids[real], steps[real])
        word_of = torch.zeros_like(input_ids, dtype=torch.long).masked_scatter_(real, number)
        # 3. Spell them.
        characters = self._spell(pieces)
        last = pieces.gather(1, ((pieces >= 0).sum(1, keepdim=True) - 1).clamp(min=0)).squeeze(1)
        rows = torch.where(last >= 0, self.rows[last.clamp(min=0)], 0)
        step_of = torch.where(real, _last_of(steps), torch.arange(input_ids.shape[1], device=input_ids.device))
        return Words(starts, word_of, characters, self.classes[characters], rows.long(), steps, step_of)

    def _spell(self, pieces: torch.Tensor) -> torch.Tensor:
        """Return (N, C) characters of words that are given as (N, P) tokens, -1 for none."""
        count, most = pieces.shape
        tokens = pieces.flatten()
        begin = self.offsets[tokens.clamp(min=0)].long()
        lengths = torch.where(tokens >= 0, self.offsets[tokens.clamp(min=0) + 1] - begin, 0)
        ends = lengths.cumsum(0)
        # For each character of all words in a row: its token, its place in the table, its place in the word.
        token = torch.arange(len(tokens), device=tokens.device).repeat_interleave(lengths)
        index = torch.arange(len(token), device=tokens.device)
        source = begin[token] + index - (ends - lengths)[token]
        of_word = lengths.view(count, most).sum(1)
        word = token // most
        column = index - (of_word.cumsum(0) - of_word)[word]
        longest = max(1, int(of_word.max()))
        characters = torch.zeros(count, longest, dtype=torch.long, device=tokens.device)
        return characters.index_put_((word, column), self.spelling[source].long())

    def _kinds(self, input_ids: torch.Tensor) -> torch.Tensor:
        # As with embeddings: look at all ids only when torch complains. To it a batch without rows is no error.
        if input_ids.shape[0] == 0:
            check_input_ids(input_ids, len(self.kinds))
        try:
            return self.kinds.index_select(0, input_ids.flatten()).view(input_ids.shape)
        except (IndexError, RuntimeError):
            check_input_ids(input_ids, len(self.kinds))
            raise

    def _check(self) -> None:
        if torch.compiler.is_exporting() or torch.jit.is_tracing():
            raise NotImplementedError(
                "A model that reads characters cannot be traced or exported: a graph has no place for the words of a "
                "batch, whose number and lengths differ from text to text. Export one with characters='none'."
            )
        if can_be_checked(self.offsets) and not self.offsets[-1]:
            raise ValueError(
                "This model knows no characters yet: call model.fill_words(word_tables(tokenizer)) with the tokenizer "
                "that its config was made for, or load a trained model."
            )


def check_fit(name: str, own: torch.Tensor, table: torch.Tensor) -> None:
    """Refuse a table of another tokenizer than that of the config."""
    if own.shape != table.shape:
        raise ValueError(
            f"The tokenizer's table {name!r} has {len(table)} entries, the model has room for {len(own)}: "
            "make the config with **word_tables(tokenizer).sizes() and vocab_size=len(tokenizer)."
        )


class CheckedWordsMixin(PreTrainedModel):
    """Tables of words: all parts of a model get them at once, and loading refuses those that lead out of others."""

    def fill_words(self, tables: WordTables) -> None:
        """Tell every part of the model that knows words how the tokens of its tokenizer are spelled.

        Raises:
            ValueError: If the tables belong to another tokenizer than the sizes of the config do, or no part of the
                model knows words.
        """
        parts = [part for part in self.modules() if isinstance(part, WordsPart)]
        if not parts:
            raise ValueError(f"This {type(self).__name__} does not read words by their characters: characters='none'.")
        for part in parts:
            part.fill(tables)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint as every model does, and look at its tables of words, if it has any."""
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        words = getattr(model.base_model, "token_words", None)
        if words is not None:
            # A linear CRF has no embedding: no row is higher than the ids, padding and unknown words.
            words.check_tables(getattr(model.config, "word_rows", model.config.vocab_size + 2))
        return loaded


class Read(NamedTuple):
    """What was read, as a head needs it beside what the backbone says.

    Attributes:
        input_ids: (B, T), with one column at least; None: vectors were given.
        attention_mask: (B, T).
        words: Those of the texts; None of a backbone that knows tokens alone.
    """

    input_ids: torch.Tensor | None
    attention_mask: torch.Tensor | None
    words: Words | None

    @classmethod
    def by(cls, backbone: Any, input_ids: torch.Tensor | None, attention_mask: torch.Tensor | None) -> "Read":
        """Find the words, once for a backbone and for the head above it."""
        tables, mask = getattr(backbone, "token_words", None), attention_mask
        if tables is None or input_ids is None:
            return cls(input_ids, attention_mask, None)
        if mask is not None:
            mask = mask_of_inputs(mask, *input_ids.shape)
        return cls(input_ids, attention_mask, tables(input_ids, mask))

    @property
    def found(self) -> dict[str, Any]:
        """The words as an argument of the backbone, which need not find them again."""
        return {} if self.words is None else {"words": self.words}


def _is_below(table: torch.Tensor, size: int) -> bool:
    return not len(table) or (int(table.min()) >= 0 and int(table.max()) < size)


def _real(input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
    return torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()


def _last_of(chosen: torch.Tensor) -> torch.Tensor:
    """Return for each place of (B, T) the last chosen one up to it, -1 where there is none."""
    place = torch.arange(chosen.shape[1], device=chosen.device)
    return torch.where(chosen, place, -1).cummax(1).values


def _distinct(tokens: torch.Tensor, steps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the distinct words of n real tokens.

    Args:
        tokens: (n) ids.
        steps: (n) bool, the first token of each word.

    Returns:
        (N, P) tokens of each distinct word, the first of which has none, -1 after the last token; (n) the word of
        each token, from 1.
    """
    first = steps.nonzero().squeeze(1)
    unit = steps.cumsum(0) - 1
    sizes = torch.bincount(unit, minlength=len(first))
    most = int(sizes.max()) if len(sizes) else 1
    alone = sizes == 1
    # Most words are one token, whose id tells them: only the others are compared token by token.
    single, number_single = tokens[first[alone]].unique(return_inverse=True)
    runs = tokens.new_full((len(first), most), -1)
    runs[unit, torch.arange(len(tokens), device=tokens.device) - first[unit]] = tokens
    several, number_several = _distinct_rows(runs[~alone])
    pieces = tokens.new_full((1 + len(single) + len(several), most), -1)
    pieces[1 : 1 + len(single), 0] = single
    pieces[1 + len(single) :] = several
    number = torch.empty_like(sizes)
    number[alone] = 1 + number_single
    number[~alone] = 1 + len(single) + number_several
    return pieces, number[unit]


def _distinct_rows(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the distinct rows of (n, P), and which of them each row is."""
    if len(rows) == 0:  # torch has no answer for it
        return rows, rows.new_empty(0, dtype=torch.long)
    found: tuple[torch.Tensor, torch.Tensor] = rows.unique(dim=0, return_inverse=True)
    return found
