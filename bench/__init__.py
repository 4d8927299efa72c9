"""Measure Seatline beside other job queues, in one run, on one machine: ``python -m bench``."""
