"""The tasks that transformers 5 removed: registered with care, for our models and others, with clear errors."""

import json
from types import SimpleNamespace

import pytest
import torch
import transformers
from torch.utils.data import Dataset
from transformers import AutoTokenizer, BertForQuestionAnswering, GenerationConfig, pipeline
from transformers.pipelines import PIPELINE_REGISTRY

import hfseq
from hfseq import pipelines
from tests.pipelines.test_golden_pipelines import FOLDER, GOLDEN

TASKS = ("translation", "summarization", "text2text-generation", "question-answering")
HERON, OWLS = GOLDEN["texts"]["HERON"], GOLDEN["texts"]["OWLS"]
ASKED = {"question": "who waits beside the canal?", "context": GOLDEN["texts"]["STORY"]}


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """A folder with a transformer of our own."""
    folder = tmp_path_factory.mktemp("ours")
    tokenizer = hfseq.train_tokenizer([HERON, OWLS], min_frequency=1)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = hfseq.TransformerSeq2SeqConfig(vocab_size=len(tokenizer), pad_token_id=0, **ids, **sizes)
    torch.manual_seed(0)
    hfseq.TransformerForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def written(folder, text, **kwargs):
    """What `generate` writes, without a pipeline."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
    return tokenizer.decode(model.generate(**inputs, **kwargs)[0], skip_special_tokens=True)


@pytest.mark.parametrize("task", [*TASKS[:3], "translation_en_to_de"])
def test_our_models_write_as_generate_does(ours, task):
    pipe = pipeline(task, model=str(ours), max_new_tokens=7)
    expected = [written(ours, text, max_new_tokens=7, num_beams=4) for text in (HERON, OWLS)]
    assert [list(answer.values()) for answer in pipe([HERON, OWLS])] == [[text] for text in expected]
    assert [list(answer.values()) for answer in pipe([HERON, OWLS], batch_size=2)] == [[text] for text in expected]
    assert pipe(HERON, num_beams=1)[0].popitem()[1] == written(ours, HERON, max_new_tokens=7, num_beams=1)


# Registering


@pytest.fixture
def untouched(monkeypatch):
    """The tables of transformers as they are without us."""
    tasks = {
        name: task for name, task in PIPELINE_REGISTRY.supported_tasks.items() if name not in pipelines._PIPELINES
    }
    monkeypatch.setattr(PIPELINE_REGISTRY, "supported_tasks", tasks)
    monkeypatch.setattr(PIPELINE_REGISTRY, "check_task", type(PIPELINE_REGISTRY).check_task.__get__(PIPELINE_REGISTRY))
    removed = dict.fromkeys((*TASKS, "vqa"), "Gone.")
    monkeypatch.setattr(transformers.pipelines, "REMOVED_TASKS", removed)
    return SimpleNamespace(tasks=tasks, removed=removed)


def test_registering_again_changes_nothing(untouched):
    pipelines.register()
    tasks, check_task = dict(untouched.tasks), PIPELINE_REGISTRY.check_task
    pipelines.register()
    assert untouched.tasks == tasks
    assert PIPELINE_REGISTRY.check_task is check_task
    assert untouched.removed == {"vqa": "Gone."}  # the other tasks stay removed


def test_a_task_that_transformers_has_stays_as_it_is(untouched):
    theirs = {task: {"impl": object, "pt": (), "default": {}} for task in ("translation", "question-answering")}
    untouched.tasks.update(theirs)
    for task in theirs:
        del untouched.removed[task]
    check_task = PIPELINE_REGISTRY.check_task
    pipelines.register()
    assert {task: untouched.tasks[task] for task in theirs} == theirs
    assert PIPELINE_REGISTRY.check_task == check_task  # and so do the names with languages
    assert untouched.tasks["summarization"]["impl"] is hfseq.SummarizationPipeline


def test_a_transformers_without_a_table_of_removed_tasks_is_taken_too(untouched, monkeypatch):
    monkeypatch.delattr(transformers.pipelines, "REMOVED_TASKS")
    pipelines.register()
    assert set(TASKS) <= set(untouched.tasks)


def test_importing_is_enough_and_the_other_removed_tasks_stay_removed(run_python):
    code = """
        import hfseq
        from transformers.pipelines import check_task, get_supported_tasks
        tasks = get_supported_tasks()
        assert {"translation", "summarization", "text2text-generation", "question-answering"} <= set(tasks), tasks
        assert check_task("translation_en_to_de")[0] == "translation"
        assert check_task("text-classification")[0] == "text-classification"
        try:
            check_task("vqa")
        except KeyError as error:
            print(error)
    """
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert "vqa has been removed from transformers" in done.stdout


@pytest.mark.parametrize("task", [*TASKS, "translation_en_to_de", "word-vectors"])
def test_there_is_no_default_model(task):
    with pytest.raises(ValueError, match=r'has no default model: name one, as in pipeline\(".*", model="user/name"\)'):
        pipeline(task)


@pytest.mark.parametrize("task", ["translation_en", "translation_en_to_", "translation_to_de"])
def test_a_task_names_both_languages(task):
    with pytest.raises(KeyError, match=f"'{task}' names no two languages: write translation_XX_to_YY"):
        pipeline(task, model=str(FOLDER / "marian"))


@pytest.mark.parametrize(("task", "model"), [("translation", "marian"), ("question-answering", "bert")])
def test_a_saved_pipeline_loads_without_trusting_code(task, model, tmp_path):
    pipe = pipeline(task, model=str(FOLDER / model))
    pipe.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.py"))
    assert "custom_pipelines" not in json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    again = pipeline(task, model=str(tmp_path), trust_remote_code=False)
    asked = ASKED if task == "question-answering" else HERON
    assert again(asked) == pipe(asked)


def test_a_model_of_the_hub_tells_its_task(hub, api, repo):
    api.upload_folder(repo_id=repo, folder_path=FOLDER / "marian")
    card = "---\nlibrary_name: transformers\npipeline_tag: translation\n---\n"
    api.upload_file(repo_id=repo, path_or_fileobj=card.encode(), path_in_repo="README.md")
    pipe = pipeline(model=repo)
    assert type(pipe) is hfseq.TranslationPipeline
    assert pipe(HERON) == pipeline("translation", model=str(FOLDER / "marian"))(HERON)


# Writing


class Texts(Dataset):
    def __init__(self):
        self.read = []

    def __len__(self):
        return 4

    def __getitem__(self, index):
        self.read.append(index)
        return (HERON, OWLS)[index % 2]


def test_a_data_set_is_read_as_answers_are_asked_for():
    pipe, texts = pipeline("translation", model=str(FOLDER / "marian")), Texts()
    answers = iter(pipe(texts))
    assert next(answers) == pipe(HERON)
    assert texts.read == [0]
    assert [next(answers) for _ in range(3)] == [pipe(OWLS), pipe(HERON), pipe(OWLS)]


def test_the_length_that_was_said_last_counts():
    def tokens(pipe, **kwargs):
        return len(pipe(HERON, return_tensors=True, **kwargs)[0]["generated_token_ids"]) - 1  # a start token is first

    pipe = pipeline("text2text-generation", model=str(FOLDER / "t5"), max_new_tokens=5, num_beams=1)
    assert tokens(pipe) == 5
    assert tokens(pipe, max_length=8) == 7
    assert tokens(pipe, max_new_tokens=9) == 9
    assert tokens(pipe, generation_config=GenerationConfig(max_new_tokens=3)) == 3
    pipe.model.generation_config.max_new_tokens = 4
    assert tokens(pipe, max_length=8) == 7
    summaries = pipeline("summarization", model=str(FOLDER / "t5"), max_new_tokens=12)  # max_length=9 in its config
    assert len(summaries(HERON, return_tensors=True)[0]["summary_token_ids"]) == 13


def test_writing_ends_with_the_stop_sequence():
    pipe = pipeline("text2text-generation", model=str(FOLDER / "marian"), num_beams=1)
    whole = pipe(HERON)[0]["generated_text"]
    assert whole == "ukmk millumm"
    assert pipe(HERON, stop_sequence="mill")[0]["generated_text"] == "ukmk mill"
    assert pipe(HERON, stop_sequence=["never", "km"])[0]["generated_text"] == "ukm"
    stopping = pipeline("text2text-generation", model=str(FOLDER / "marian"), num_beams=1, stop_sequence="mill")
    assert stopping(HERON)[0]["generated_text"] == "ukmk mill"


def test_generate_may_return_more_than_ids():
    pipe = pipeline("text2text-generation", model=str(FOLDER / "marian"))
    assert pipe([HERON], return_dict_in_generate=True, output_scores=True) == pipe([HERON])


def test_token_types_are_not_for_models_that_write():
    names = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "marian", model_input_names=names)
    assert "token_type_ids" in tokenizer(HERON)
    pipe = pipeline("translation", model=str(FOLDER / "marian"))
    assert pipeline("translation", model=str(FOLDER / "marian"), tokenizer=tokenizer)(HERON) == pipe(HERON)


def test_a_batch_is_written_in_one_language(monkeypatch):
    pipe = pipeline("translation", model=str(FOLDER / "mbart"), src_lang="en_XX", tgt_lang="de_DE")
    seen, generate = [], pipe.model.generate
    monkeypatch.setattr(pipe.model, "generate", lambda **kwargs: seen.append(kwargs) or generate(**kwargs))
    pipe([HERON, OWLS], batch_size=2)
    assert [one["forced_bos_token_id"] for one in seen] == [pipe.tokenizer.convert_tokens_to_ids("de_DE")]


def test_an_assistant_may_write_ahead():
    marian = str(FOLDER / "marian")
    pipe = pipeline("translation", model=marian, num_beams=1)
    assert pipeline("translation", model=marian, num_beams=1, assistant_model=marian)(HERON) == pipe(HERON)


def test_the_model_keeps_its_own_settings():
    pipe = pipeline("summarization", model=str(FOLDER / "t5"))
    before = pipe.model.generation_config.to_dict()
    pipe(HERON)
    assert pipe.model.generation_config.to_dict() == before
    assert "prefix" not in vars(pipe.model.config)


def test_settings_for_other_languages_are_no_settings(caplog):
    pipeline("translation_en_to_fr", model=str(FOLDER / "t5"))
    assert "config.json has nothing for translation_en_to_fr, but for translation_en_to_de" in caplog.text
    pipeline("translation", model=str(FOLDER / "t5"))
    assert "translation without languages is taken for translation_en_to_de" in caplog.text


@pytest.mark.parametrize("text", [(HERON, OWLS), 3, None, {"text": HERON}, [HERON, 3], [[HERON]]])
def test_what_is_no_text_is_named(text):
    with pytest.raises(TypeError, match="translation takes a text, a list or a generator of texts; got"):
        pipeline("translation", model=str(FOLDER / "marian"))(text)


def test_a_text_without_a_token_is_named():
    pipe = pipeline("translation", model=str(FOLDER / "marian"))
    pipe.tokenizer = lambda *args, **kwargs: {"input_ids": torch.zeros(1, 0)}
    with pytest.raises(ValueError, match="makes no token of this text: give a text that is not empty"):
        pipe("")


def test_languages_are_named_with_codes_that_exist():
    pipe = pipeline("translation_en_to_de", model=str(FOLDER / "mbart"))
    with pytest.raises(ValueError, match=r"src_lang is 'en', which this tokenizer does not know: .* such as en_XX\."):
        pipe(HERON)
    with pytest.raises(ValueError, match=r"tgt_lang is 'fr_FR', which .* such as fr_XX"):
        pipe(HERON, src_lang="en_XX", tgt_lang="fr_FR")
    pipe = pipeline("translation", model=str(FOLDER / "mbart"))
    with pytest.raises(ValueError, match=r"src_lang was not given: name both languages .* such as ar_AR"):
        pipe(HERON)
    named = pipeline("translation_en_XX_to_de_DE", model=str(FOLDER / "mbart"))
    assert named(HERON) == pipe(HERON, src_lang="en_XX", tgt_lang="de_DE")


def test_models_that_write_no_text_from_a_text_are_refused():
    model = hfseq.LSTMForCausalLM(hfseq.LSTMConfig(vocab_size=9, hidden_size=4))
    with pytest.raises(ValueError, match="translation needs an encoder-decoder .*; got LSTMForCausalLM"):
        pipeline("translation", model=model, tokenizer=AutoTokenizer.from_pretrained(FOLDER / "marian"))
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "bert")
    model = hfseq.LSTMModel(hfseq.LSTMConfig(vocab_size=len(tokenizer), hidden_size=4))
    with pytest.raises(ValueError, match="scores where an answer starts and ends, .*; got LSTMModel"):
        pipeline("question-answering", model=model, tokenizer=tokenizer)(**ASKED)


# Answering


def brute_force(question, context, longest):
    """The answers of the model that reads the context first, from single letters, each of which is a token."""
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "left")
    model = BertForQuestionAnswering.from_pretrained(FOLDER / "left")
    ids = [tokenizer.cls_token_id, *tokenizer.convert_tokens_to_ids(list(context)), tokenizer.sep_token_id]
    after = [*tokenizer.convert_tokens_to_ids(list(question)), tokenizer.sep_token_id]
    types = [[0] * len(ids) + [1] * len(after)]
    if "token_type_ids" not in tokenizer.model_input_names:
        types = None
    with torch.no_grad():
        output = model(torch.tensor([ids + after]), token_type_ids=None if types is None else torch.tensor(types))
    start, end = (logits[0, : len(context) + 1].softmax(0) for logits in (output.start_logits, output.end_logits))
    spans = [(s, e) for s in range(len(context)) for e in range(s, min(s + longest, len(context)))]
    scores = {(s, e + 1): float(start[s + 1] * end[e + 1]) for s, e in spans}
    return sorted(scores.items(), key=lambda item: -item[1]), float(start[0] * end[0])


def test_a_context_before_its_question_is_searched_alone():
    question, context = "誰が待つか", "鷺は古い運河のそばで待つ"
    expected, nothing = brute_force(question, context, 5)
    pipe = pipeline("question-answering", model=str(FOLDER / "left"), max_answer_len=5, align_to_words=False)
    found = pipe(question=question, context=context, top_k=6)
    assert [(one["start"], one["end"]) for one in found] == [span for span, _ in expected[:6]]
    assert [one["score"] for one in found] == pytest.approx([score for _, score in expected[:6]], rel=1e-4)
    assert [one["answer"] for one in found] == [context[one["start"] : one["end"]] for one in found]
    found = pipe(question=question, context=context, top_k=1000, handle_impossible_answer=True)
    assert [one["score"] for one in found if not one["answer"]] == pytest.approx([nothing], rel=1e-4)


@pytest.mark.parametrize("model", ["bert", "left"])
def test_a_batch_of_windows_answers_as_one_by_one(model):
    pipe = pipeline("question-answering", model=str(FOLDER / model))
    with torch.no_grad():  # BERT counts its positions from the padding on, if that is on the left
        pipe.model.bert.embeddings.position_embeddings.weight.zero_()
    asked = [{"question": "who waits?", "context": text} for text in (*GOLDEN["texts"].values(), "梟は夜に")]
    for one, other in zip(pipe(asked, top_k=3), pipe(asked, top_k=3, batch_size=3), strict=True):
        assert [found["answer"] for found in one] == [found["answer"] for found in other]
        assert [found["score"] for found in one] == pytest.approx([found["score"] for found in other], rel=1e-4)


def test_a_stream_of_questions_is_answered_as_it_comes():
    pipe = pipeline("question-answering", model=str(FOLDER / "bert"))
    asked = [ASKED, SimpleNamespace(question_text="who?", context_text=HERON), {}]
    stream = iter(pipe(item for item in asked))
    assert next(stream) == pipe(**ASKED)
    assert next(stream) == pipe(question="who?", context=HERON)
    with pytest.raises(ValueError, match="{} is no question with its context"):
        next(stream)


def test_a_long_question_leaves_windows_that_overlap_less():
    pipe = pipeline("question-answering", model=str(FOLDER / "bert"))
    question = " ".join(["who"] * 12)
    assert pipe(question=question, context=ASKED["context"])["answer"]
    with pytest.raises(ValueError, match="A question of 64 tokens leaves no room .* in a window of 64: give a larger"):
        pipe(question=ASKED["context"] * 4, context=HERON)
    with pytest.raises(ValueError, match="doc_stride=60 must be less than the .* tokens of the context that a window"):
        pipe(**ASKED, doc_stride=60)


def test_a_tokenizer_without_offsets_is_refused(monkeypatch):
    pipe = pipeline("question-answering", model=str(FOLDER / "bert"))
    monkeypatch.setattr(type(pipe.tokenizer), "is_fast", False)
    with pytest.raises(ValueError, match="does not tell where its tokens stand in the text"):
        pipe(**ASKED)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "There is no question: give question= and context="),
        ({"question": "who?"}, "question='who\\?' and context=None: both are needed"),
        ({"question": " ", "context": HERON}, "question is empty: there is nothing to ask"),
        ({"question": "who?", "context": "\n"}, "context is empty: there is nothing to search"),
        ({"question": ["who?", "where?"], "context": [HERON]}, "2 questions with 1 contexts: give one text, or a con"),
        ({"question": "who?", "context": [HERON]}, "context must be a text, got"),
        ({**ASKED, "top_k": 0}, "top_k must be a number from 1 up, got 0"),
        ({**ASKED, "max_answer_len": "3"}, "max_answer_len must be a number from 1 up, got '3'"),
    ],
)
def test_what_cannot_be_answered_is_named(asked, message):
    with pytest.raises(ValueError, match=message):
        pipeline("question-answering", model=str(FOLDER / "bert"))(**asked)


def test_unknown_parameters_are_named():
    with pytest.raises(TypeError, match="question-answering has no parameter 'topk'; it has .*top_k"):
        pipeline("question-answering", model=str(FOLDER / "bert"))(**ASKED, topk=2)
