"""What word2vec computes from the vocabulary before it trains: numpy alone, the same numbers for every engine."""

import heapq

import numpy as np

_LEAST_SLOTS, _MOST_SLOTS, _SLOTS_A_WORD = 1 << 20, 1 << 25, 16
FNV_OFFSET, FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)


def words_alone(counts: np.ndarray, special: int) -> np.ndarray:
    """Copy the counts, with 0 for the special tokens, which are the first ids."""
    return np.concatenate([np.zeros(special, dtype=counts.dtype), counts[special:]])


def keep_probabilities(counts: np.ndarray, sample: float) -> np.ndarray:
    """Return each word's chance to stay in the corpus when frequent words are left out at random.

    word2vec.c's min(1, sqrt(s / f) + s / f) with f the word's share of the corpus; the paper has sqrt(s / f) alone.

    Args:
        sample: s; 0 keeps all.

    Returns:
        float32, (V,).
    """
    if sample == 0:
        return np.ones(len(counts), dtype=np.float32)
    ratio = sample * counts.sum(dtype=np.float64) / np.maximum(counts, 1)
    return np.minimum(1.0, np.sqrt(ratio) + ratio).astype(np.float32)


def noise_distribution(counts: np.ndarray, power: float) -> np.ndarray:
    """Return the chance of each word as a negative, float64, (V,): count^power, and 0 for words that never occur."""
    # A negative power of 0 would be infinite.
    weights = np.where(counts > 0, counts.astype(np.float64), 0.0)
    np.power(weights, power, where=counts > 0, out=weights)
    return weights / weights.sum()


def noise_table(counts: np.ndarray, power: float) -> np.ndarray:
    """Fill a table (int32, length a power of two) with words, in proportion to the noise distribution."""
    # A draw is then one look-up by the high bits of a random number, without a division or a search.
    slots = _LEAST_SLOTS
    while slots < _SLOTS_A_WORD * len(counts) and slots < _MOST_SLOTS:
        slots *= 2
    cumulated = np.cumsum(noise_distribution(counts, power))
    # The sum may end a rounding error below 1, and the last slot must not fall behind the last word.
    places = (np.arange(slots) + 0.5) / slots * cumulated[-1]
    return np.searchsorted(cumulated, places).astype(np.int32)


def huffman_paths(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the way from the root of a Huffman tree to each word that occurs; frequent words have short ones.

    Args:
        counts: (V,) of each word; words that never occur have an empty path.

    Returns:
        starts: int64, (V + 1,): where the path of each word begins in the other two.
        nodes: int32: the inner nodes on the path, numbered from the root's children up; fewer than V.
        labels: float32: 1 where the path turns left, 0 right.
    """
    words = np.flatnonzero(counts > 0)
    leaves = len(words)
    parent, is_left = np.zeros(2 * leaves, dtype=np.int64), np.zeros(2 * leaves, dtype=np.float32)
    # Pairs (count, number): equal counts are joined in one order everywhere, so every engine has the same tree.
    heap = [(int(counts[word]), leaf) for leaf, word in enumerate(words)]
    heapq.heapify(heap)
    for node in range(leaves, 2 * leaves - 1):
        (left_count, left), (right_count, right) = heapq.heappop(heap), heapq.heappop(heap)
        parent[[left, right]], is_left[left] = node, 1.0
        heapq.heappush(heap, (left_count + right_count, node))
    on_path, nodes, turns = _climbed(parent, is_left)
    lengths = np.zeros(len(counts), dtype=np.int64)
    lengths[words] = on_path.sum(1)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return starts, nodes, turns


def label_paths(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the way to each label of a text in a Huffman tree, as `huffman_paths`, but in fastText's tree.

    Equal counts are joined in another order there, and a label that never occurs has a path too; a label's number is
    its place in `counts`.
    """
    leaves = len(counts)
    order = np.argsort(-counts, kind="stable")
    parent, turns = np.zeros(2 * leaves, dtype=np.int64), np.zeros(2 * leaves, dtype=np.float32)
    sums = np.full(2 * leaves, 10**15, dtype=np.int64)
    sums[:leaves] = counts[order]
    leaf, node = leaves - 1, leaves
    for inner in range(leaves, 2 * leaves - 1):
        pair = []
        for _ in range(2):
            is_leaf = leaf >= 0 and sums[leaf] < sums[node]
            pair.append(leaf if is_leaf else node)
            leaf, node = leaf - is_leaf, node + (not is_leaf)
        sums[inner], parent[pair], turns[pair[1]] = sums[pair].sum(), inner, 1.0
    on_path, nodes, found = _climbed(parent, turns)
    # From the order of counts back to that of labels.
    lengths = on_path.sum(1)
    starts = np.zeros(leaves + 1, dtype=np.int64)
    starts[1:][order] = lengths
    starts = np.cumsum(starts)
    own = np.concatenate([[0], np.cumsum(lengths)])
    back = np.empty(leaves, dtype=np.int64)
    back[order] = np.arange(leaves)
    places = [np.arange(own[place], own[place + 1]) for place in back]
    picked = np.concatenate(places) if places else np.zeros(0, dtype=np.int64)
    return starts, nodes[picked], found[picked]


def _climbed(parent: np.ndarray, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Walk from every leaf of a binary tree to its root.

    Args:
        parent: int64, (2 leaves,): of each leaf, then of each inner node, the last of which is the root.
        turns: float32, (2 leaves,): the label of the way from a node's parent to it.

    Returns:
        bool, (leaves, depth): which steps from the root belong to a leaf's path; then, of all paths end to end, the
        inner nodes (int32, numbered from 0) and the turns (float32).
    """
    leaves = len(parent) // 2
    root = 2 * leaves - 2
    # All leaves climb at once, and fall out where they reach the root.
    place, climbed = np.arange(leaves), []
    while (place != root).any():
        below = place != root
        climbed.append((np.where(below, parent[place], -1), turns[place]))
        place = np.where(below, parent[place], root)
    nodes = np.stack([up for up, _ in climbed[::-1]], axis=1) if climbed else np.zeros((leaves, 0), dtype=np.int64)
    labels = np.stack([turn for _, turn in climbed[::-1]], axis=1) if climbed else np.zeros((leaves, 0))
    on_path = nodes >= 0
    return on_path, (nodes[on_path] - leaves).astype(np.int32), labels[on_path].astype(np.float32)


def ngram_buckets(words: list[str], *, shortest: int, longest: int, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """List the character n-grams of each word, between marks of its ends, as numbers of buckets (fastText's hash).

    Args:
        shortest: Characters of the shortest n-gram, end marks counted.
        longest: Characters of the longest.
        buckets: How many there are; n-grams that meet in one share its vector.

    Returns:
        starts: int64, (words + 1,): where the n-grams of each word begin in the next.
        found: int64: numbers below `buckets`.
    """
    encoded = [f"<{word}>".encode("utf-8", "surrogatepass") for word in words]
    starts = np.concatenate([[0], np.cumsum([len(word) for word in encoded], dtype=np.int64)]).astype(np.int64)
    text = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    owners, _, hashes = hashed_ngrams(text, starts, shortest=shortest, longest=longest)
    # From "by length" to "by word".
    order = np.argsort(owners, kind="stable")
    counts = np.bincount(owners, minlength=len(words))
    return np.concatenate([[0], np.cumsum(counts)]), (hashes[order] % np.uint32(buckets)).astype(np.int64)


def hashed_ngrams(
    text: np.ndarray, starts: np.ndarray, *, shortest: int, longest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hash the character n-grams of words, all of one length after all of the length before.

    Args:
        text: uint8: the UTF-8 of the words with the marks of their ends, one after another.
        starts: int64, (words + 1,): where each begins.
        shortest: Characters of the shortest n-gram, end marks counted.
        longest: Characters of the longest.

    Returns:
        owners: int64: the word of each n-gram.
        begins: int64: its first byte.
        hashes: uint32.
    """
    # Bytes of all words in one array: numpy then finds the n-grams of one length of a whole vocabulary at once.
    begins = np.flatnonzero((text & 0xC0) != 0x80)  # the first byte of each character
    owner = np.searchsorted(starts[1:], begins, side="right")
    ends = np.concatenate([begins[1:], [len(text)]]) if len(begins) else begins
    first_character = np.searchsorted(begins, starts[:-1])  # of each word, as a number of `begins`
    last_character = np.searchsorted(begins, starts[1:]) - 1
    none = np.zeros(0, dtype=np.int64)
    kinds = [(none, none, none.astype(np.uint32))]
    for size in range(max(shortest, 1), longest + 1):
        first = np.arange(len(begins) - size + 1) if len(begins) >= size else np.arange(0)
        first = first[first + size - 1 <= last_character[owner[first]]]
        if size == 1:  # an end mark alone says nothing
            word = owner[first]
            first = first[(first != first_character[word]) & (first != last_character[word])]
        kinds.append((owner[first], begins[first], fnv_hashes(text, begins[first], ends[first + size - 1])))
    owners, firsts, hashes = (np.concatenate(parts) for parts in zip(*kinds, strict=True))
    return owners, firsts, hashes


def out_of_range(tables: dict[str, np.ndarray], rows: int) -> list[str]:
    """Name the tables of a model that would lead a training loop out of its arrays.

    Args:
        tables: `counts` and, if there are n-grams, `ngram_starts` and `ngrams`.
        rows: How many input vectors there are.
    """
    wrong = ["counts"] if (tables["counts"] < 0).any() else []
    if "ngrams" in tables:
        starts, ngrams = tables["ngram_starts"], tables["ngrams"]
        if starts[0] != 0 or starts[-1] > len(ngrams) or (np.diff(starts) < 0).any():
            wrong.append("ngram_starts")
        if ((ngrams < 0) | (ngrams >= rows)).any():
            wrong.append("ngrams")
    return wrong


def fnv_hashes(text: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Hash the bytes between each begin and end by FNV-1a: uint32."""
    values = np.full(len(begins), FNV_OFFSET, dtype=np.uint32)
    for offset in range(int((ends - begins).max(initial=0))):
        inside = begins + offset < ends
        # fastText reads bytes as signed. It would be another hash for letters beyond ASCII, so it is kept.
        signed = text[begins[inside] + offset].astype(np.int8).astype(np.uint32)
        values[inside] = (values[inside] ^ signed) * FNV_PRIME
    return values
