"""Plants one bug at a time and checks that its tests fail: `python -m scripts.planted [WORD]`.

Each bug is planted into a copy of the tree, and the tests that must then fail are
run there. The result is printed as a table. The exit code is 1 if a test did not catch
its bug. It is 2 if the text of an edit is not in the source any more.
"""
