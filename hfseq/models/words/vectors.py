"""Word vectors to ask: neighbours, analogies, distances, agreement with people; with gensim's names and answers.

What gensim's lacks: many queries at once (`most_similar_batch`), words outside the vocabulary (`subwords`), pictures
(`plot`). `restrict_vocab` of `most_similar_cosmul` and `similarity_function` of `evaluate_word_analogies` do what
gensim's documentation says of them.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from .evaluation import Section, evaluate_analogies, evaluate_pairs, log_accuracy, log_word_pairs
from .similarity import best_indices, best_of_many, row_cosines, unit_vector
from .stored_vectors import StoredVectors
from .vector_table import KEY_TYPES, Key

logger = logging.getLogger(__name__)

Weighted: TypeAlias = Key | np.ndarray | tuple[Key | np.ndarray, float]
Query: TypeAlias = Weighted | Iterable[Weighted] | None
Neighbours: TypeAlias = list[tuple[Any, float]]


class KeyedVectors(StoredVectors):
    """The queries on a table of vectors. Adding, lookup and counts are `VectorTable`; files are `StoredVectors`.

    Queries take a key, a vector (D,), or a list of both. Their answers are pairs (key, score), the best first.

    gensim's `save` and `load` are pickles and have no counterpart. Write with `save_word2vec_format` and read with
    `from_file`, or make a checkpoint: `Word2VecModel.from_vectors(vectors).save_pretrained(folder)`, which
    `Word2VecModel.from_pretrained(folder).vectors` gives back.
    """

    def most_similar(
        self,
        positive: Query = None,
        negative: Query = None,
        topn: int | None = 10,
        clip_start: int = 0,
        clip_end: int | None = None,
        restrict_vocab: int | None = None,
        indexer: Any = None,
    ) -> Any:
        """Find the keys whose vectors have the highest cosine with the mean of those given.

        Args:
            positive: what to be near to. A pair (key or vector, weight) counts as much as its weight, others 1.
            negative: what to be far from; a weight here is -1 unless a pair says otherwise.
            topn: how many to give; None for the cosines of all keys, an array.
            clip_start: the first row to look at.
            clip_end: the row to stop before.
            restrict_vocab: look at so many rows from the first on, whatever the clips say.
            indexer: an index with `most_similar(vector, topn)` to ask instead.

        Returns:
            Pairs (key, cosine) without the keys that were given.
        """
        if isinstance(topn, Integral) and topn < 1:
            return []
        keys, weights = _weighted(positive, negative)
        query = self.get_mean_vector(keys, weights, post_normalize=True, ignore_missing=False)
        if indexer is not None and isinstance(topn, int):
            return indexer.most_similar(query, topn)
        # A restriction wins over the clips, as in gensim.
        start, end = (0, restrict_vocab) if restrict_vocab else (clip_start, clip_end or len(self.vectors))
        scores = row_cosines(self.vectors[start:end], self._lengths()[start:end], query)
        return self._best(scores, topn, self._rows(keys), start) if topn else scores

    def most_similar_batch(
        self, keys_or_vectors: Query, topn: int = 10, restrict_vocab: int | None = None
    ) -> list[Neighbours]:
        """Do `most_similar` for each of many keys or vectors, by a few matrix products.

        Args:
            keys_or_vectors: a list of keys and vectors, or a matrix (Q, D).
            topn: how many to give for each.
            restrict_vocab: look at so many rows from the first on.

        Returns:
            For each, pairs (key, cosine) without itself.
        """
        items = _as_list(keys_or_vectors)
        if topn < 1 or not items:
            return [[] for _ in items]
        queries = np.stack([self.get_mean_vector([i], None, True, True, ignore_missing=False) for i in items])
        end = restrict_vocab or len(self.vectors)
        # One more than is wanted: a key is its own nearest neighbour.
        found = best_of_many(self.vectors[:end], self._lengths()[:end], queries, topn + 1)
        return [
            self.most_similar([item], topn=topn, restrict_vocab=restrict_vocab)
            if best is None
            else self._named(*best, self._rows([item]))[:topn]
            for item, best in zip(items, found, strict=True)
        ]

    def most_similar_cosmul(
        self,
        positive: Query = None,
        negative: Query = None,
        topn: int | None = 10,
        restrict_vocab: int | None = None,
    ) -> Any:
        """Do `most_similar` by products instead of sums (3CosMul), so that no single cosine decides.

        With s = (1 + cosine) / 2 the score is  prod s(positive) / (prod s(negative) + 1e-6).

        Reference: Levy and Goldberg, "Linguistic Regularities in Sparse and Explicit Word Representations", 2014.

        Args:
            positive: keys or vectors to be near to; vectors are taken as they are, so give them length 1.
            negative: keys or vectors to be far from.
            topn: how many to give; None for the scores of all keys, an array.
            restrict_vocab: look at so many rows from the first on.
        """
        if isinstance(topn, Integral) and topn < 1:
            return []
        near, far = _as_list(positive), _as_list(negative)
        if not near:
            raise ValueError("most_similar_cosmul needs a key or vector in `positive`.")
        scores = self._closeness(near, restrict_vocab) / (self._closeness(far, restrict_vocab) + 1e-6)
        return self._best(scores, topn, self._rows([*near, *far]), 0) if topn else scores

    def _closeness(self, items: list[Any], restrict_vocab: int | None) -> Any:
        vectors, lengths = self.vectors[:restrict_vocab], self._lengths()[:restrict_vocab]
        terms = [self.get_vector(item, norm=True) if isinstance(item, KEY_TYPES) else item for item in items]
        return np.prod([(1 + row_cosines(vectors, lengths, term)) / 2 for term in terms], axis=0)

    def _rows(self, items: Iterable[Any]) -> list[int]:
        rows = [self.get_index(item, -1) for item in items if isinstance(item, KEY_TYPES)]
        return [row for row in rows if row >= 0]

    def _best(self, scores: np.ndarray, topn: int, left_out: list[int], start: int) -> Neighbours:
        best = best_indices(scores, int(topn) + len(left_out))
        return self._named(best + start, scores[best], left_out)[:topn]

    def _named(self, rows: np.ndarray, scores: np.ndarray, left_out: list[int]) -> Neighbours:
        pairs = zip(rows.tolist(), scores.tolist(), strict=True)
        return [(self.index_to_key[row], score) for row, score in pairs if row not in left_out]

    def similar_by_word(self, word: Key, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """Do `most_similar` for one word."""
        return self.most_similar([word], topn=topn, restrict_vocab=restrict_vocab)

    def similar_by_key(self, key: Key, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """Do `most_similar` for one key."""
        return self.most_similar([key], topn=topn, restrict_vocab=restrict_vocab)

    def similar_by_vector(self, vector: np.ndarray, topn: int | None = 10, restrict_vocab: int | None = None) -> Any:
        """Do `most_similar` for one vector (D,)."""
        return self.most_similar([vector], topn=topn, restrict_vocab=restrict_vocab)

    def most_similar_to_given(self, key1: Key, keys_list: Sequence[Key]) -> Key:
        """Return the one of `keys_list` that is most similar to `key1`."""
        return keys_list[int(np.argmax([self.similarity(key1, key) for key in keys_list]))]

    def closer_than(self, key1: Key, key2: Key) -> list[Any]:
        """List all keys that are closer to `key1` than `key2` is."""
        distances = self.distances(key1)
        row = self.get_index(key2, -1)
        # Taken from the same product as the others: computed anew it could differ by a rounding, and count itself.
        limit = distances[row] if row >= 0 else self.distance(key1, key2)
        itself = self.get_index(key1, -1)
        return [self.index_to_key[index] for index in np.flatnonzero(distances < limit) if index != itself]

    def rank(self, key1: Key, key2: Key) -> int:
        """Return the place of `key2` among the neighbours of `key1`, from 1."""
        return len(self.closer_than(key1, key2)) + 1

    def get_mean_vector(
        self,
        keys: Sequence[Key | np.ndarray] | np.ndarray,
        weights: Sequence[float] | np.ndarray | None = None,
        pre_normalize: bool = True,
        post_normalize: bool = False,
        ignore_missing: bool = True,
    ) -> np.ndarray:
        """Return the weighted mean (D,): the weighted sum, divided by the sum of the absolute weights.

        Args:
            keys: keys and vectors, or a matrix.
            weights: one for each; 1 by default.
            pre_normalize: scale the vectors of keys to length 1 first; vectors given are taken as they are.
            post_normalize: scale the mean to length 1.
            ignore_missing: pass over keys without a vector, instead of an error.
        """
        if len(keys) == 0:
            raise ValueError("the mean of no vectors does not exist; give at least one key or vector.")
        dtype = self.vectors.dtype
        # In the vectors' own type, and in gensim's order of sums, so that the answers agree.
        if not isinstance(weights, np.ndarray):
            weights = np.ones(len(keys), dtype) if weights is None else np.array(weights, dtype)
        if len(weights) != len(keys):
            raise ValueError(f"{len(keys)} keys need as many weights, got {len(weights)}.")
        total = np.zeros(self.vector_size, dtype)
        size = weights.dtype.type(0)
        for key, weight in zip(keys, weights, strict=True):
            if not isinstance(key, np.ndarray):
                if key not in self:
                    if ignore_missing:
                        continue
                    raise KeyError(f"{key!r} has no vector: it is not among the {len(self)} keys.")
                key = self.get_vector(key, norm=pre_normalize)
            total += weight * key
            size += abs(weight)
        # By the sizes of the weights: with as much negative as positive their sum would be 0.
        mean = total / size if size > 0 else total
        return unit_vector(mean).astype(np.float32) if post_normalize else mean

    def rank_by_centrality(self, words: Sequence[Key], use_norm: bool = True) -> list[tuple[Any, Any]]:
        """Return pairs (cosine with the mean of the words, word), the highest first; unknown words are left out."""
        known = [word for word in words if word in self]
        if len(known) < len(words):
            logger.warning("words without a vector are left out: %s", [word for word in words if word not in known])
        if not known:
            raise ValueError(f"none of the {len(words)} words has a vector; give at least one that `in` says yes to.")
        vectors = np.vstack([self.get_vector(word, norm=use_norm) for word in known]).astype(np.float32)
        scores = np.dot(vectors, self.get_mean_vector(vectors, post_normalize=True))
        return sorted(zip(scores, known, strict=True), reverse=True)

    def doesnt_match(self, words: Sequence[Key]) -> Any:
        """Return the word that is least like the others."""
        return self.rank_by_centrality(words)[-1][1]

    @staticmethod
    def cosine_similarities(vector_1: np.ndarray, vectors_all: np.ndarray) -> np.ndarray:
        """Return the cosines (N,) of a vector (D,) with the rows of a matrix (N, D)."""
        lengths = np.linalg.norm(vector_1) * np.linalg.norm(vectors_all, axis=1)
        return row_cosines(vectors_all, lengths, vector_1)

    def distances(self, word_or_vector: Key | np.ndarray, other_words: Iterable[Key] | None = ()) -> np.ndarray:
        """Return 1 - cosine with each of `other_words`, or with all keys if there are none."""
        query = self.get_vector(word_or_vector) if isinstance(word_or_vector, KEY_TYPES) else word_or_vector
        others = list(other_words or ())
        if others:
            return 1 - self.cosine_similarities(query, self[others])
        return 1 - row_cosines(self.vectors, np.linalg.norm(query) * self._lengths(), query)

    def distance(self, w1: Key, w2: Key) -> Any:
        """Return 1 - cosine of two keys."""
        return 1 - self.similarity(w1, w2)

    def similarity(self, w1: Key, w2: Key) -> Any:
        """Return the cosine of two keys."""
        return np.dot(unit_vector(self[w1]), unit_vector(self[w2]))

    def n_similarity(self, ws1: Sequence[Key], ws2: Sequence[Key]) -> Any:
        """Return the cosine of the means of two lists of keys."""
        if not len(ws1) or not len(ws2):
            raise ZeroDivisionError("n_similarity needs at least one key in each list.")
        # Not normalised first, as in gensim: long vectors count more in the mean.
        means = (self.get_mean_vector(keys, pre_normalize=False) for keys in (ws1, ws2))
        return np.dot(*map(unit_vector, means))

    def relative_cosine_similarity(self, wa: Key, wb: Key, topn: int = 10) -> float:
        """Return the cosine of two words, divided by the sum of the cosines of the first one's `topn` neighbours.

        Above 1 / topn, `wb` is nearer than the neighbours are on average: a mark of synonyms.

        Reference: Leeuwenberg et al., "A Minimally Supervised Approach for Synonym Extraction with Word Embeddings",
        2016.
        """
        neighbours = self.similar_by_word(wa, topn)
        if not neighbours:
            raise ValueError(f"{wa!r} has no neighbours to compare with; topn is {topn}.")
        return float(self.similarity(wa, wb)) / sum(score for _, score in neighbours)

    def wmdistance(self, document1: Sequence[Key], document2: Sequence[Key], norm: bool = True) -> float:
        """Return the word mover's distance: what it costs to move the words of one document to those of the other.

        Reference: Kusner et al., "From Word Embeddings To Document Distances", 2015.

        Args:
            document1: words; those without a vector are left out, here and in `document2`.
            norm: scale the vectors to length 1 first.

        Returns:
            The distance. Infinity if a document has no words, or if all words of both lie on one point.
        """
        try:
            from ot import emd2
            from scipy.spatial.distance import cdist
        except ImportError as error:
            raise ImportError('wmdistance needs the packages POT and scipy: pip install "hfseq[wmd]"') from error
        first, second = ([word for word in document if word in self] for document in (document1, document2))
        if not first or not second:
            logger.warning("a document of wmdistance holds no word that has a vector")
            return float("inf")
        # Each word once: the transport problem is between words, whose masses are their shares of a document.
        words = list(dict.fromkeys([*first, *second]))
        if len(words) == 1:
            return 0.0
        shares = [np.array([document.count(word) / len(document) for word in words]) for document in (first, second)]
        vectors = np.array([self.get_vector(word, norm=norm) for word in words])
        here, there = (np.flatnonzero(share) for share in shares)
        # Only between a word of one document and a word of the other: nothing else is ever moved, and the rest stays
        # 0.
        costs = np.zeros((len(words), len(words)))
        costs[np.ix_(here, there)] = cdist(vectors[here], vectors[there])
        if costs.sum() < 1e-8:
            return float("inf")
        return emd2(*shares, costs)

    def evaluate_word_analogies(
        self,
        analogies: str | Path,
        restrict_vocab: int | None = 300_000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
        similarity_function: str = "most_similar",
        *,
        strict: bool = False,
    ) -> tuple[float, list[Section]]:
        """Measure how many analogies "a is to b as c is to d" the vectors answer.

        Args:
            analogies: a file (also .gz, .xz, .bz2) of four words a line, in sections that begin with ": name".
            restrict_vocab: use so many keys from the first on.
            case_insensitive: compare in upper case; of keys that differ in case only, the first one counts.
            dummy4unknown: count analogies with unknown words as wrong, instead of leaving them out.
            similarity_function: the query that answers: "most_similar" or "most_similar_cosmul".
            strict: refuse a line of another form, which gensim passes over; words may then be separated by tabs or
                commas too, questions may come before the first section, and "#" begins a comment.

        Returns:
            The share of right answers, and for each section and all of them ("Total accuracy") a dict of its name,
            `section`, and the lists of analogies `correct` and `incorrect`.
        """
        return evaluate_analogies(
            self,
            analogies,
            search=getattr(self, similarity_function),
            batched=similarity_function == "most_similar",
            restrict_vocab=restrict_vocab,
            case_insensitive=case_insensitive,
            dummy4unknown=dummy4unknown,
            strict=strict,
        )

    def evaluate_word_pairs(
        self,
        pairs: str | Path,
        delimiter: str | None = "\t",
        encoding: str = "utf8",
        restrict_vocab: int | None = 300_000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
        *,
        strict: bool = False,
    ) -> tuple[Any, Any, float]:
        """Measure how well cosines agree with people's judgements of word pairs.

        Args:
            pairs: a file (also .gz, .xz, .bz2) of two words and a number a line; "#" begins a comment.
            delimiter: what separates them; None for tabs, commas or spaces, whichever a line holds.
            restrict_vocab: use so many keys from the first on.
            case_insensitive: compare in upper case; of keys that differ in case only, the first one counts.
            dummy4unknown: give pairs with unknown words the cosine 0, instead of leaving them out.
            strict: refuse a line of another form, which gensim passes over; a first line of titles and further
                columns are allowed.

        Returns:
            Pearson's correlation and Spearman's, each with its p-value, and the per cent of pairs with unknown words.
        """
        return evaluate_pairs(
            self,
            pairs,
            similarity=self._row_similarity,
            delimiter=delimiter,
            encoding=encoding,
            restrict_vocab=restrict_vocab,
            case_insensitive=case_insensitive,
            dummy4unknown=dummy4unknown,
            strict=strict,
        )

    def _row_similarity(self, first: int, second: int) -> Any:
        return np.dot(unit_vector(self.vectors[first]), unit_vector(self.vectors[second]))

    log_accuracy = staticmethod(log_accuracy)
    log_evaluate_word_pairs = staticmethod(log_word_pairs)

    def vectors_for_all(
        self, keys: Iterable[Key], allow_inference: bool = True, copy_vecattrs: bool = False
    ) -> "KeyedVectors":
        """Make a new table of these keys, each once; keys without a vector are left out.

        Args:
            keys: the keys, most frequent first.
            allow_inference: also take words that only `subwords` knows.
            copy_vecattrs: keep counts and the like; without it, `count` only tells the order.
        """
        known = self if allow_inference else self.key_to_index
        kept = [key for key in dict.fromkeys(keys) if key in known]
        matrix = self[kept] if kept else np.zeros((0, self.vector_size), self.vectors.dtype)
        table = type(self).from_vectors(kept, matrix, np.arange(len(kept), 0, -1))
        for name in self.expandos if copy_vecattrs else ():
            for key in filter(self.has_index_for, kept):
                table.set_vecattr(key, name, self.get_vecattr(key, name))
        return table

    def plot(
        self,
        words: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        *,
        method: Literal["tsne", "pca", "umap"] = "tsne",
        path: str | Path | None = None,
        title: str | None = None,
        seed: int = 0,
    ) -> Any:
        """Draw words in two dimensions.

        Args:
            words: the words, or lists of them by the name of their cluster; the first 100 keys by default.
            method: how to go from D dimensions to two.
            path: where to save the picture.
        """
        try:
            # Imported here: who never draws needs no matplotlib, and exported code has no plots at all.
            from hfseq.insight.plots import plot_words
        except ImportError as error:
            raise ImportError("plot needs the whole package: install hfseq") from error
        return plot_words(self, words, method=method, path=path, title=title, seed=seed)


def _as_list(items: Query) -> list[Any]:
    if items is None:
        return []
    if isinstance(items, KEY_TYPES) or (isinstance(items, np.ndarray) and items.ndim == 1):
        return [items]
    return list(items)


def _weighted(positive: Query, negative: Query) -> tuple[list[Any], np.ndarray]:
    keys: list[Any] = []
    weights: list[float] = []
    for items, default in ((positive, 1.0), (negative, -1.0)):
        for item in _as_list(items):
            alone = isinstance(item, (*KEY_TYPES, np.ndarray))
            keys.append(item if alone else item[0])
            weights.append(default if alone else item[1])
    return keys, np.array(weights, dtype=np.float64)
