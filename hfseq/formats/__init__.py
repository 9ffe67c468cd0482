"""Models and word vectors in the files of other libraries: fastText, word2vec, GloVe, gensim."""
