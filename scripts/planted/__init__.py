"""Takes one law away at a time and looks whether a test notices: `python -m scripts.planted [WORD]`.

Each bug is planted into a copy of the tree, the tests that must then fail are
run there, and the outcome is printed as a table. Exit code 1 when a bug was
not caught by each of its tests, 2 when its text is not in the source any more.
"""
