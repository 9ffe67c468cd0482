"""What the command `hfseq` does: a file each, with `run(options)`; heavy imports stand in what needs them."""
