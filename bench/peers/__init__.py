"""The other job queues: each module is a program that the harness starts, one process a role."""
