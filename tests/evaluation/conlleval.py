"""The rules of conlleval, the script of the CoNLL tasks, written down word by word: slow, and an oracle.

It looks at two neighbouring tags at a time and asks whether a chunk ends between them and whether one begins. A chunk
is right when truth and answer begin it at one word, end it at one word, and call it the same.
"""

from collections import Counter

STARTS = {"BB", "IB", "OB", "OI", "OE", "EE", "EI", "EB"}  # the tag before, and the tag of the word
ENDS = {"BB", "BO", "IB", "IO", "EE", "EI", "EO", "EB"}


def parts(tag):
    return tag.split("-", 1) if "-" in tag else (tag, "")


def begins(before, tag):
    (one, kind_before), (two, kind) = parts(before), parts(tag)
    return one + two in STARTS or (two != "O" and kind != kind_before)


def ends(before, tag):
    (one, kind_before), (two, kind) = parts(before), parts(tag)
    return one + two in ENDS or (one != "O" and kind != kind_before)


def chunks(rows, answers):
    """Count the chunks of each kind: the true ones, the answered ones, the right ones."""
    true, told, right = Counter(), Counter(), Counter()
    for tags, own in zip(rows, answers, strict=True):
        is_right, before, own_before = False, "O", "O"
        for tag, answer in zip([*tags, "O"], [*own, "O"], strict=True):
            if is_right:
                both = ends(before, tag), ends(own_before, answer)
                if all(both) and parts(before)[1] == parts(own_before)[1]:
                    right[parts(before)[1]] += 1
                if any(both) or parts(tag)[1] != parts(answer)[1]:
                    is_right = False
            starts = begins(before, tag), begins(own_before, answer)
            if all(starts) and parts(tag)[1] == parts(answer)[1]:
                is_right = True
            true[parts(tag)[1]] += starts[0]
            told[parts(answer)[1]] += starts[1]
            before, own_before = tag, answer
    return {
        kind: (true[kind], told[kind], right[kind]) for kind in true.keys() | told.keys() if true[kind] + told[kind]
    }
