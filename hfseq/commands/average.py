"""`hfseq average`: the mean of the weights of checkpoints, as a model of its own."""

import argparse


def run(options: argparse.Namespace) -> None:
    """Write the model, and say what to do with it."""
    from ..training.averaging import average_checkpoints, last_checkpoints

    folders = options.checkpoints
    if options.last is not None:
        if len(folders) != 1:
            raise ValueError(f"--last {options.last} takes the folder of one run, not {len(folders)} folders.")
        folders = last_checkpoints(folders[0], options.last)
    out = average_checkpoints(folders, options.out)
    print(f"averaged {len(folders)} checkpoints: {', '.join(map(str, folders))}")
    print(f"model in {out}; next: hfseq evaluate {out} DATA")
