"""The scripts against a specification: a model in plain Python, rules that drive both, and bugs sown on purpose.

`model.py` is meant to be read first: it says what must happen, without a word of how. `real.py` is the other side, a
real server whose scripts are told the time. `machine.py` walks both through random histories and compares them after
each step; `mutants.py` breaks the scripts in known ways, to prove that the comparison sees.
"""
