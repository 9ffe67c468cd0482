"""The gradient flow in the log of a real training."""

import pytest
import torch
from datasets import Dataset
from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments, default_data_collator

import hfseq
from hfseq.insight.gradient_callback import flow_logs


def rows(count=24):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 12, (count, 7), generator=generator)
    return Dataset.from_dict({"input_ids": ids.tolist(), "labels": (ids[:, 0] % 2).tolist()})


class KeepsModels(TrainerCallback):
    """The flow of the same rows, measured directly at each step."""

    def __init__(self, batch):
        self.batch, self.flows = batch, {}

    def on_step_end(self, args, state, control, **kwargs):
        self.flows[state.global_step] = flow_logs(hfseq.gradient_flow(kwargs["model"], self.batch))


def train(folder, trainer_class=Trainer, arguments_class=TrainingArguments, data=None, callback=True, **options):
    torch.manual_seed(0)
    sizes = {"vocab_size": 12, "embedding_size": 4, "hidden_size": 4, "bidirectional": True}
    model = hfseq.LSTMForSequenceClassification(hfseq.LSTMConfig(**sizes))
    arguments = arguments_class(
        output_dir=str(folder),
        max_steps=6,
        logging_steps=1,
        per_device_train_batch_size=4,
        report_to=["tensorboard"],
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )
    data = rows() if data is None else data
    trainer = trainer_class(model, arguments, train_dataset=data, data_collator=default_data_collator)
    keeps = KeepsModels(default_data_collator([data[number] for number in range(3)]))
    trainer.add_callback(keeps)
    if callback:
        trainer.add_callback(hfseq.GradientFlowCallback(trainer, **{"rows": 3, **options}))
    trainer.train()
    return trainer, keeps.flows


@pytest.mark.parametrize(
    ("trainer_class", "arguments_class"),
    [(Trainer, TrainingArguments), (hfseq.SequenceTrainer, hfseq.SequenceTrainingArguments)],
)
def test_what_is_logged_is_what_a_direct_call_finds(tmp_path, monkeypatch, trainer_class, arguments_class):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer, flows = train(tmp_path, trainer_class, arguments_class, every=2)
    logged = {entry["step"]: entry for entry in trainer.state.log_history if "gradient_flow/0_forward/norm" in entry}
    assert sorted(logged) == [1, 3, 5]
    for step, entry in logged.items():
        found = {name: value for name, value in entry.items() if name.startswith("gradient_flow/")}
        assert found == flows[step]
    names = {name.removeprefix("gradient_flow/0_backward/") for name in logged[1] if "0_backward" in name}
    gates = {f"spectral_{gate}" for gate in "ifgo"}
    assert names == {"norm", "memory_norm", "jacobian", "share_1", "share_2", "share_5", *gates}
    assert logged[1]["gradient_flow/0_forward/norm"] != logged[5]["gradient_flow/0_forward/norm"]

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "board")).Reload()
    events = board.Scalars("train/gradient_flow/0_forward/share_5")
    assert [event.step for event in events] == [1, 3, 5]
    assert events[-1].value == pytest.approx(logged[5]["gradient_flow/0_forward/share_5"])


def test_the_training_is_the_same_with_the_callback(tmp_path):
    trained = [train(tmp_path, callback=callback)[0].model.state_dict() for callback in (False, True)]
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])


def test_empty_rows_are_left_out_and_a_batch_may_be_given(tmp_path):
    data = Dataset.from_list([{"input_ids": [], "labels": 0}, *rows(5)])
    batch = default_data_collator([rows()[9]])
    tokenizer = hfseq.train_tokenizer(["a b c d e f g h i j"], min_frequency=1)
    collator = DataCollatorWithPadding(tokenizer)
    for options, expected in (({"rows": 3}, 2), ({"rows": 3, "batch": batch}, 1)):
        model = hfseq.LSTMForSequenceClassification(hfseq.LSTMConfig(vocab_size=12, hidden_size=4))
        arguments = TrainingArguments(
            output_dir=str(tmp_path), max_steps=1, logging_steps=1, report_to="none", disable_tqdm=True, use_cpu=True
        )
        trainer = Trainer(model, arguments, train_dataset=data, data_collator=collator)
        callback = hfseq.GradientFlowCallback(trainer, **options)
        trainer.add_callback(callback)
        trainer.train()
        assert len(callback.batch["input_ids"]) == expected
        assert any("gradient_flow/0_forward/norm" in entry for entry in trainer.state.log_history)


def test_wrong_options_and_data_without_rows_are_errors(tmp_path):
    trainer, _ = train(tmp_path, callback=False)
    for options in ({"every": 0}, {"rows": 0}):
        with pytest.raises(ValueError, match="must be 1 or more, got 0"):
            hfseq.GradientFlowCallback(trainer, **options)
    callback = hfseq.GradientFlowCallback(trainer)
    stream = type("Stream", (torch.utils.data.IterableDataset,), {"__iter__": lambda self: iter(())})
    loader = torch.utils.data.DataLoader(stream())
    with pytest.raises(ValueError, match="cannot take rows of Stream by their numbers: give it a batch="):
        callback.on_train_begin(None, None, None, train_dataloader=loader)
