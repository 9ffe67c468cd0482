"""A language model that fills in: it learns hidden tokens, from both sides. From text to Hub to pipeline.

    python recipes/masked_language_modeling.py \
        --config recipes/configs/masked_language_modeling/transformer_embedded.yaml
    accelerate launch --num_processes 1 recipes/masked_language_modeling.py --config ... --section.key=value

Two processes on a CPU (`OMP_NUM_THREADS=1` in front keeps them out of each other's way):

    accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no \
        recipes/masked_language_modeling.py --config ... --training.use_cpu=true --training.num_processes=2

`--help` lists every setting; `--resume` goes on from the last checkpoint.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers.trainer_utils import set_seed

from hfseq.data.documents import load_documents
from hfseq.progress import silence_progress
from hfseq.recipe.language import make_language_model, make_text, make_tokenizer
from hfseq.recipe.pictures import draw_curves
from hfseq.recipe.publish import publish
from hfseq.recipe.runs import open_run, save_history
from hfseq.recipe.telling import chosen_line, rows_line
from hfseq.settings import read_settings
from hfseq.tasks.masked_lm.build import card_facts, evaluate_split, report_lines
from hfseq.tasks.masked_lm.card import TASK
from hfseq.tasks.masked_lm.settings import MaskedLMSettings
from hfseq.training.streams.trainer import StreamTrainer, StreamTrainingArguments


def main(argv: Sequence[str] | None = None) -> None:
    """Run the recipe with the words of a command line; None: with those of this process."""
    # 1. Settings: the YAML file, then what the command line changes
    settings = read_settings(MaskedLMSettings, argv)
    args = StreamTrainingArguments(**settings.training)
    if args.disable_tqdm:
        silence_progress()
    folder = Path(str(args.output_dir))  # transformers sets one where none is given
    set_seed(args.seed)

    # 2. Data
    with args.main_process_first(desc="preparing the data"):
        dataset = load_documents(settings.data)
        settings.follow(dataset)
        if args.should_log:
            print(rows_line(dataset, "texts"))
            print(chosen_line(settings.model, settings.training, kind=settings.tokenizer.kind))
        checkpoint = open_run(settings, folder, resume=settings.resume, record=args.should_save)

    # 3. Tokens
    tokenizer = make_tokenizer(dataset, settings.tokenizer, is_whole=True)
    texts = {name: make_text(rows, tokenizer, settings.tokenizer) for name, rows in dataset.items()}

    # 4. Model
    model = make_language_model(TASK, settings, tokenizer)

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
    metrics = {name: evaluate_split(trainer, texts[name]) for name in splits}

    # 7. Card
    facts = card_facts(settings, trainer, dataset, texts, metrics)

    # 8. Publish, and use
    save_history(trainer, folder)
    draw_curves(trainer, folder)
    print(*publish(facts, folder, settings.hub, report_lines(facts)), sep="\n")


if __name__ == "__main__":
    main()
