"""A model that writes a text from a text: translation, dialogue, a sequence autoencoder. From text to Hub to pipeline.

    python recipes/translation.py --config recipes/configs/translation/lstm_embedded.yaml
    accelerate launch --num_processes 1 recipes/translation.py --config ... --section.key=value

Two processes on a CPU (`OMP_NUM_THREADS=1` in front keeps them out of each other's way):

    accelerate launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no \
        recipes/translation.py --config ... --training.use_cpu=true --training.num_processes=2

`--help` lists every setting; `--resume` goes on from the last checkpoint. The mean of the last checkpoints of a run
(`--training.save_total_limit=6`: those and the best) is a model too: `hfseq average runs/... --last 5 --out FOLDER`.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers.trainer_utils import set_seed

from hfseq.cards.facts import SeedRun
from hfseq.data.parallel import TARGET, load_parallel
from hfseq.evaluation.translation import translation_scores
from hfseq.progress import silence_progress
from hfseq.recipe.pictures import draw_curves
from hfseq.recipe.publish import publish
from hfseq.recipe.runs import evaluated_split, open_run, save_history
from hfseq.recipe.telling import chosen_line, rows_line
from hfseq.settings import read_settings
from hfseq.tasks.translation.build import (
    card_facts,
    check_lengths,
    make_model,
    make_tokenizer,
    make_tokens,
    report_lines,
    watched,
)
from hfseq.tasks.translation.encoder import save_encoder
from hfseq.tasks.translation.settings import TranslationSettings
from hfseq.training.seq2seq import EncoderDecoderTrainer, EncoderDecoderTrainingArguments


def main(argv: Sequence[str] | None = None) -> None:
    """Run the recipe with the words of a command line; None: with those of this process."""
    # 1. Settings: the YAML file, then what the command line changes
    settings = read_settings(TranslationSettings, argv)
    args = EncoderDecoderTrainingArguments(**settings.training)
    if args.disable_tqdm:
        silence_progress()
    folder = Path(str(args.output_dir))  # transformers sets one where none is given
    set_seed(args.seed)

    # 2. Data
    with args.main_process_first(desc="preparing the data"):
        dataset = load_parallel(settings.data)
        settings.follow(dataset["train"].num_rows)
        split = evaluated_split(dataset)
        if args.should_log:
            print(rows_line(dataset, "pairs of texts"))
            print(chosen_line(settings.model, settings.training, vocab_size=settings.tokenizer.vocab_size))
        checkpoint = open_run(settings, folder, resume=settings.resume, record=args.should_save)

        # 3. Tokens
        tokenizer = make_tokenizer(dataset["train"], settings.tokenizer)
        tokens = make_tokens(dataset, tokenizer, settings.tokenizer)
        check_lengths(tokens, settings.model)

    # 4. Model
    model = make_model(settings, tokenizer, tokens["train"])

    # 5. Training
    trainer = EncoderDecoderTrainer(
        model=model,
        args=args,
        train_dataset=tokens["train"],
        eval_dataset=watched(tokens),
        processing_class=tokenizer,
    )
    trainer.train(resume_from_checkpoint=checkpoint)
    minutes = trainer.training_seconds / 60

    # 6. Evaluation, with the beams of the finished model
    written = trainer.write(tokens[split], num_beams=settings.generation.num_beams)
    metrics = translation_scores(dataset[split][TARGET][:], written)
    trainer.save_model()
    if not trainer.is_world_process_zero():
        return
    if settings.data.copies_source:  # an autoencoder is trained for its encoder, which a classifier can start from
        save_encoder(model, tokenizer, folder)

    # 7. Card
    run = SeedRun(seed=args.seed, metrics=metrics, minutes=minutes)
    facts = card_facts(settings, trainer, dataset, tokens, split, written=written, run=run)

    # 8. Publish, and use
    save_history(trainer, folder)
    draw_curves(trainer, folder)
    print(*publish(facts, folder, settings.hub, report_lines(facts)), sep="\n")


if __name__ == "__main__":
    main()
