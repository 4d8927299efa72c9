"""The scripts as texts and one by one; as a whole they are tried in `tests/model`."""
