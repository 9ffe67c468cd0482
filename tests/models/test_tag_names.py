"""Which tag may follow which, by their names."""

from itertools import product

import pytest

from hfseq.evaluation.entities import in_iob2
from hfseq.models.tag_names import legal_paths, tags_inside

IOB2 = ["O", "B-a", "I-a", "B-b", "I-b"]
IOBES = ["O", "B-a", "I-a", "E-a", "S-a", "S-b"]


def legal_rows(names, length):
    """All rows of tags that the rules allow."""
    begins, follows, ends = legal_paths(names)
    rows = []
    for row in product(range(len(names)), repeat=length):
        joined = all(follows[i][j] for i, j in zip(row, row[1:], strict=False))
        if begins[row[0]] and joined and ends[row[-1]]:
            rows.append([names[index] for index in row])
    return rows


def test_the_legal_rows_of_iob2_are_those_that_are_written_anew_as_they_are():
    every = [list(row) for row in product(IOB2, repeat=4)]
    assert legal_rows(IOB2, 4) == [row for row in every if in_iob2(row) == row]


@pytest.mark.parametrize("names", [IOBES, [name.translate(str.maketrans("ES", "LU")) for name in IOBES]])
def test_the_legal_rows_of_iobes_tell_each_row_of_entities_once(names):
    rows = legal_rows(names, 4)
    written = [tuple(in_iob2(row)) for row in rows]
    assert len(set(written)) == len(written)
    # b is of one word alone; all else that IOB2 can say of four words is there.
    kinds = [row for row in legal_rows(IOB2, 4) if "I-b" not in row]
    assert set(written) == {tuple(row) for row in kinds}


def test_names_that_tell_no_entities_may_stand_anywhere():
    for names in (["NOUN", "VERB", "B-x"], ["LABEL_0", "LABEL_1"], ["O"]):
        assert len(legal_rows(names, 3)) == len(names) ** 3


def test_an_entity_that_no_tag_begins_begins_with_i():
    names = ["O", "B-a", "I-a", "I-b"]
    assert ["I-b", "I-b", "O"] in legal_rows(names, 3)
    assert ["B-a", "I-b", "O"] in legal_rows(names, 3)
    assert ["O", "I-a", "O"] not in legal_rows(names, 3)


def test_a_word_goes_on_inside_the_entity_that_it_begins():
    assert tags_inside(["O", "B-a", "I-a", "B-b", "S-c"]) == {1: 2}
    assert tags_inside(["NOUN", "B-a", "I-a"]) == {}
