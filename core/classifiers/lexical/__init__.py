"""The built-in classifiers: linear over hashed words, pieces of words and classes of words; numpy, no other library."""
