"""Make the tiny models of this folder: random weights, tokenizers learnt from the few sentences below.

    python tests/golden/pipelines/make_models.py

Made by transformers 4.57.6, in the files that it wrote, for most models of the Hub are older than transformers 5.
`answers.json` belongs to these very weights: run `make_answers.py` after it.
"""

import json
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartTokenizerFast,
    BertConfig,
    BertForQuestionAnswering,
    BertTokenizerFast,
    GenerationConfig,
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
    MBartTokenizerFast,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForQuestionAnswering,
    RobertaTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    T5TokenizerFast,
)

HERE = Path(__file__).parent
SENTENCES = [
    "the grey heron waits beside the old canal",
    "two owls call from the ruined mill at night",
    "the little wren builds her nest under the ivy",
    "who waits beside the canal? where do the owls call?",
    "der graue reiher wartet am alten kanal",
    "zwei eulen rufen nachts aus der mühle",
    "translate english to german: summarize:",
]
BART_LIKE = {
    "d_model": 8,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 8,
    "decoder_ffn_dim": 8,
    "max_position_embeddings": 80,
}
BERT_LIKE = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 80,
}
LANGUAGES = [
    "ar_AR",
    "cs_CZ",
    "de_DE",
    "en_XX",
    "es_XX",
    "et_EE",
    "fi_FI",
    "fr_XX",
    "gu_IN",
    "hi_IN",
    "it_IT",
    "ja_XX",
]
LANGUAGES += ["kk_KZ", "ko_KR", "lt_LT", "lv_LV", "my_MM", "ne_NP", "nl_XX", "ro_RO", "ru_RU", "si_LK", "tr_TR"]
LANGUAGES += ["vi_VN", "zh_CN"]


def unigram(special: list[str], extra: list[str]) -> Tokenizer:
    """Return a tokenizer like SentencePiece's, of words and letters; `special` first, `extra` last."""
    # Written down, not trained: the trainer gives another order of pieces each time.
    words = sorted({f"▁{word}" for sentence in SENTENCES for word in sentence.split()})
    letters = sorted({letter for word in words for letter in word})
    vocabulary = [(token, 0.0) for token in special] + [(word, -3.0) for word in words]
    vocabulary += [(letter, -6.0) for letter in letters] + [(token, 0.0) for token in extra]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=special.index("<unk>")))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens([*special, *extra])
    return tokenizer


def ending_with_eos(tokenizer: Tokenizer, eos: str = "</s>") -> Tokenizer:
    """Write the end token behind each text."""
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {eos}", pair=f"$A {eos} $B {eos}", special_tokens=[(eos, tokenizer.token_to_id(eos))]
    )
    return tokenizer


def byte_bpe() -> Tokenizer:
    """Return a tokenizer as BART and RoBERTa have it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(vocab_size=110, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([*SENTENCES, " " + " ".join(SENTENCES)], trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def word_pieces() -> Tokenizer:
    """Return a tokenizer as BERT has it."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def lively(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Draw the weights wide: answers are then decided by more than the last bits, and vary with the text."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=1.0)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def save(name: str, model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast) -> None:
    """Save both, without what nobody reads."""
    folder = HERE / name
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():
        if path.name in ("vocab.txt", "merges.txt", "vocab.json", "special_tokens_map.json"):
            path.unlink()  # tokenizer.json has it all
        elif path.name == "tokenizer.json":  # in one line: half the bytes
            path.write_text(json.dumps(json.loads(path.read_text()), ensure_ascii=False), encoding="utf-8")


def make_marian() -> None:
    """A model for one pair of languages, whose generation_config.json says how it writes."""
    # The real MarianTokenizer needs sentencepiece, and the pipeline takes any tokenizer.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=ending_with_eos(unigram(["</s>", "<unk>"], ["<pad>"])),
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        model_max_length=40,
    )
    pad = tokenizer.pad_token_id
    config = MarianConfig(
        **BART_LIKE,
        vocab_size=len(tokenizer),
        pad_token_id=pad,
        eos_token_id=0,
        forced_eos_token_id=0,
        decoder_start_token_id=pad,
    )
    model = lively(MarianMTModel(config), 51)
    model.generation_config = GenerationConfig(
        num_beams=3,
        max_length=12,
        bad_words_ids=[[pad]],
        pad_token_id=pad,
        eos_token_id=0,
        forced_eos_token_id=0,
        decoder_start_token_id=pad,
    )
    save("marian", model, tokenizer)


def make_t5() -> None:
    """A model for many tasks, each with its prefix and lengths in config.json."""
    tokenizer = T5TokenizerFast(
        tokenizer_object=ending_with_eos(unigram(["<pad>", "</s>", "<unk>"], [])), extra_ids=0, model_max_length=40
    )
    tasks = {
        "summarization": {"prefix": "summarize: ", "max_length": 9, "min_length": 4, "num_beams": 2},
        "translation_en_to_de": {"prefix": "translate english to german: ", "max_length": 11, "num_beams": 4},
    }
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=16,
        d_kv=4,
        d_ff=8,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
        tie_word_embeddings=False,  # tied, it would write what it wrote before
        task_specific_params=tasks,
    )
    save("t5", lively(T5ForConditionalGeneration(config), 28), tokenizer)


def make_bart() -> None:
    """A model as of years ago: how it writes stands in config.json."""
    tokenizer = BartTokenizerFast(tokenizer_object=byte_bpe(), model_max_length=64)
    config = BartConfig(**BART_LIKE, vocab_size=len(tokenizer), forced_bos_token_id=0)
    save("bart", lively(BartForConditionalGeneration(config), 3), tokenizer)
    (HERE / "bart" / "generation_config.json").unlink()
    path = HERE / "bart" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {"prefix": " ", "num_beams": 2, "min_length": 3, "max_length": 10, "no_repeat_ngram_size": 2}
    config["task_specific_params"] = {"summarization": {"length_penalty": 2.0, "max_length": 14, "min_length": 6}}
    path.write_text(json.dumps(config, indent=1), encoding="utf-8")


def make_mbart() -> None:
    """A model for many languages, which it is told by a token."""
    raw = unigram(["<s>", "<pad>", "</s>", "<unk>"], [*LANGUAGES, "<mask>"])
    raw.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer = MBartTokenizerFast(tokenizer_object=raw, model_max_length=40)
    config = MBartConfig(**BART_LIKE, vocab_size=len(tokenizer), decoder_start_token_id=2, max_length=15)
    save("mbart", lively(MBartForConditionalGeneration(config), 42), tokenizer)


def make_bert() -> None:
    """Question answering with token types."""
    tokenizer = BertTokenizerFast(tokenizer_object=word_pieces(), model_max_length=64)
    config = BertConfig(**BERT_LIKE, vocab_size=len(tokenizer))
    save("bert", lively(BertForQuestionAnswering(config), 5), tokenizer)


def make_roberta() -> None:
    """Question answering without token types, on pieces of bytes."""
    tokenizer = RobertaTokenizerFast(tokenizer_object=byte_bpe(), model_max_length=64)
    config = RobertaConfig(**BERT_LIKE, vocab_size=len(tokenizer), pad_token_id=1, type_vocab_size=1)
    save("roberta", lively(RobertaForQuestionAnswering(config), 6), tokenizer)


def make_japanese() -> None:
    """Question answering on a language without spaces, read from the left: the context comes first."""
    texts = ["鷺は古い運河のそばで待つ", "梟は夜に水車小屋から鳴く", "誰が待つか"]
    raw = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    raw.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=special, show_progress=False))
    raw.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, padding_side="left", model_max_length=40, **names)
    config = BertConfig(**BERT_LIKE, vocab_size=len(tokenizer))
    save("left", lively(BertForQuestionAnswering(config), 7), tokenizer)


if __name__ == "__main__":
    for make in (make_marian, make_t5, make_bart, make_mbart, make_bert, make_roberta, make_japanese):
        make()
