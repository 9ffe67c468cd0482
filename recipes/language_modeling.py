"""A language model, from text to Hub to pipeline: one that writes, or one that fills in what is masked.

    python recipes/language_modeling.py --config recipes/configs/language_modeling/lstm_embedded.yaml
    python recipes/language_modeling.py --config recipes/configs/language_modeling/masked_embedded.yaml
    accelerate launch --num_processes 1 recipes/language_modeling.py --config ... --section.key=value

Two processes on a CPU (`OMP_NUM_THREADS=1` in front keeps them out of each other's way):

    accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no \
        recipes/language_modeling.py --config ... --training.use_cpu=true --training.num_processes=2

`--help` lists every setting; `--resume` goes on from the last checkpoint.
"""

import sys
from pathlib import Path

from transformers.trainer_utils import set_seed

import hfseq
from hfseq.cards.render import write_card
from hfseq.data.documents import load_documents
from hfseq.recipe.publish import launch_command
from hfseq.recipe.runs import open_run
from hfseq.settings import read_settings
from hfseq.tasks.causal_lm import build as causal_modeling
from hfseq.tasks.causal_lm.settings import LanguageSettings, make_model, make_text, make_tokenizer
from hfseq.tasks.masked_lm import build as masked_modeling
from hfseq.training.streams.trainer import StreamTrainer, StreamTrainingArguments


def main() -> None:
    """Run the recipe."""
    # 1. Settings: the YAML file, then what the command line changes
    settings = read_settings(LanguageSettings)
    args = StreamTrainingArguments(**settings.training)
    objective = masked_modeling if settings.is_masked else causal_modeling
    folder = Path(str(args.output_dir))  # transformers sets one where none is given
    set_seed(args.seed)

    # 2. Data
    with args.main_process_first(desc="preparing the data"):
        dataset = load_documents(settings.data)
        checkpoint = open_run(settings, folder, resume=settings.resume, record=args.should_save)

    # 3. Tokens
    tokenizer = make_tokenizer(dataset, settings, is_masked=settings.is_masked)
    texts = {name: make_text(rows, tokenizer, settings) for name, rows in dataset.items()}

    # 4. Model
    model = make_model(settings, tokenizer)

    # 5. Training
    trainer = StreamTrainer(
        model=model,
        args=args,
        train_dataset=texts["train"],
        eval_dataset=texts["validation"],
        processing_class=tokenizer,
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save_model()
    if not trainer.is_world_process_zero():
        return

    # 6. Evaluation: the test first, if there is one
    splits = [name for name in ("test", "validation") if name in texts]
    metrics = {name: objective.measured(trainer, texts[name], dataset[name], settings) for name in splits}

    # 7. Card
    facts = objective.card_facts(
        settings, trainer, dataset, texts, folder, metrics=metrics, command=launch_command(sys.argv)
    )
    facts.save(folder / "facts.json")
    write_card(folder, facts)

    # 8. Publish, and use
    if settings.hub.repo_id is not None:
        result = hfseq.push(
            folder, settings.hub.repo_id, private=settings.hub.private, with_code=settings.hub.with_code
        )
        print(f"pushed to {result.url}")
    for line in objective.told(facts):
        print(line)
    for name, scores in metrics.items():
        print(f"{name}: " + ", ".join(f"{metric} {value:.4f}" for metric, value in scores.items()))
    print(f"{facts.file_mb:.2f} MB, {facts.runs[0].minutes:.1f} minutes of training; model and card in {folder}")


if __name__ == "__main__":
    main()
