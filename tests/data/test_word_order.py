"""The Hindi set: every sentence once, the verb last, and test combinations that training lacks, of words it has."""

from hfseq import load_word_order


def _words(dataset, column):
    return {word.lower() for row in dataset for word in row[column][:-1].split()}


def test_the_verb_is_last_and_agrees_with_its_subject():
    rows = {row["source"]: row["target"] for split in load_word_order().values() for row in split}
    assert rows["I am going."] == "मैं जा रहा हूँ।"
    assert rows["She is eating the apple today."] == "वह आज सेब खा रही है।"
    assert rows["Are they not drinking tea now?"] == "क्या वे अभी चाय नहीं पी रहे हैं?"


def test_each_sentence_is_there_once_and_training_lacks_the_combinations_of_the_others():
    splits = load_word_order()
    sources = [row["source"] for split in splits.values() for row in split]
    assert len(sources) == len(set(sources)) == 2400
    assert min(map(len, splits.values())) > 200
    for name in ("validation", "test"):
        assert set(splits[name]["novelty"]) == {"combination"}
        for column in ("source", "target"):
            assert _words(splits[name], column) <= _words(splits["train"], column)


def test_a_seed_gives_the_same_rows_in_the_same_order():
    first, again, other = load_word_order(1), load_word_order(1), load_word_order(2)
    assert first["test"]["source"] == again["test"]["source"] != other["test"]["source"]
    assert sorted(first["test"]["source"]) == sorted(other["test"]["source"])
