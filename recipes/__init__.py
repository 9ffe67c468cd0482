"""The recipes of hfseq and their configurations; installed as `hfseq.recipes`."""
