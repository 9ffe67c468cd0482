"""An n-gram model written from the equations with dictionaries, slow and readable, to compare the fast one with."""

import math
from collections import Counter, defaultdict

import torch

LOWEST = torch.finfo(torch.float32).min


class Oracle:
    """P(word | history), from the definitions, one word at a time."""

    def __init__(self, documents, config):
        self.config, self.n = config, config.order
        self.bos, self.eos = config.bos_token_id, config.eos_token_id
        self.boundaries = {self.bos, self.eos} - {None}
        self.words = set(range(config.vocab_size)) - ({config.pad_token_id, self.bos} - {None, self.eos})
        self.seen = Counter()  # of each gram, a tuple
        self.begun = set()  # grams that begin a document, where no token marks that
        for document in documents:
            for context, word in self.events(document):
                full = (*context, word)
                for k in range(1, min(self.n, len(full)) + 1):
                    self.seen[full[-k:]] += 1
                if not self.boundaries and len(full) < self.n:
                    self.begun.add(full)
        self.counts = {gram: self.count(gram) for gram in self.seen}
        self.after = defaultdict(list)
        for gram, count in self.counts.items():
            self.after[gram[:-1]].append(count)

    def start(self):
        return [self.eos if self.eos is not None else self.bos] if self.boundaries else []

    def events(self, document):
        history, rest = self.start(), list(document)
        if rest and rest[0] == self.bos:
            history = [rest.pop(0)]
        for word in rest:
            if word in self.words:
                yield tuple(history), word
            history = [word] if word in self.boundaries else [*history, word]

    def context(self, text):
        """What the model may look at after a text."""
        history = self.start()
        for word in text:
            history = [word] if word in self.boundaries else [*history, word]
        return tuple(history[-(self.n - 1) :]) if self.n > 1 else ()

    def count(self, gram):
        begins_a_sentence = len(gram) > 1 and gram[0] in self.boundaries
        if self.config.smoothing == "add-k" or len(gram) == self.n or begins_a_sentence:
            return self.seen[gram]
        return len({g[0] for g in self.seen if len(g) == len(gram) + 1 and g[1:] == gram}) + (gram in self.begun)

    def discount(self, count, k):
        if count == 0:
            return 0
        n = Counter(c for gram, c in self.counts.items() if len(gram) == k)
        try:
            y = n[1] / (n[1] + 2 * n[2])
            if self.config.discounts == "single":
                all_three = [y] * 3
            else:
                all_three = [1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3]]
        except ZeroDivisionError:
            all_three = [0, 0, 0]
        if not all(0 < d <= r for r, d in enumerate(all_three, start=1)):
            all_three = [0.5, 1.0, 1.5]
        return all_three[min(count, 3) - 1]

    def probability(self, context, word):
        if word not in self.words:
            return 0.0
        if self.config.smoothing == "add-k":
            k, total = self.config.add_k, sum(self.after[context])
            if total == 0 == k:
                return 1 / len(self.words)
            return (self.counts.get((*context, word), 0) + k) / (total + k * len(self.words))
        shorter = self.probability(context[1:], word) if context else 1 / len(self.words)
        counts = self.after[context]
        if not counts:
            return shorter
        k = len(context) + 1
        own = self.counts.get((*context, word), 0)
        left = sum(self.discount(count, k) for count in counts)
        return (own - self.discount(own, k) + left * shorter) / sum(counts)

    def logits(self, text):
        """(T, V)."""
        rows = []
        for t in range(len(text)):
            context = self.context(text[: t + 1])
            row = [self.probability(context, word) for word in range(self.config.vocab_size)]
            rows.append([math.log(p) if p > 0 else LOWEST for p in row])
        return torch.tensor(rows, dtype=torch.float64)
