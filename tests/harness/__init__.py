"""The tests' own tools: real servers, a proxy that injects faults, deadlines, child processes, a look at keys.

They know nothing of Seatline, so that a fault in the product cannot hide in what is meant to find it; only
`conftest.py` introduces the two to each other.
"""
