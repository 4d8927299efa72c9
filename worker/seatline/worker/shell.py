"""Commands as handlers (C18)."""


class Command:
    requires = frozenset()

    def __init__(self, *a):
        pass
