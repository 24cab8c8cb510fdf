"""Mistakes put in on purpose, to see that the proof finds them: `./dev mutants`.

    listed     every mutant: a file, the words that are right, the words that are wrong, and what must notice
    differ     a few worlds of the proof, once: 0 all opinions agree, 1 they do not, or something broke
    runner     each in a copy of the sources, before the others on the path; the sources themselves are not touched

A test that has never failed proves nothing yet. In: nothing. Out: which mutants live.
"""
