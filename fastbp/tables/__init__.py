"""Tables as people have them: reading files, and turning columns into inputs and targets."""
