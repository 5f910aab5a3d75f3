"""Coverage-guided fuzzing (atheris) of each parser of outside bytes: `./dev fuzz`.

run.py starts a process for each file of targets/, child.py is that process. A target says what is
known to be right or almost right (`seeds`, the examples of the unit tests), which words its format
has (`WORDS`), and what must hold for any bytes (`take`). The errors that a parser promises are no
crash; every other exception is, and so are 10 seconds over one input and 512 MiB of memory.
"""
