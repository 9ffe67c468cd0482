"""A linear-chain CRF: all that training and answering need of a text, in one pass forward and one backward."""
