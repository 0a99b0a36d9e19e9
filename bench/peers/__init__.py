"""fastbp beside its peers: the same work, checked, each peer in its own process, in turns."""
