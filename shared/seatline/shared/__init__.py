"""The ground floor: words, keys, scripts and the wire. It knows nobody above and promises nothing to outsiders."""
