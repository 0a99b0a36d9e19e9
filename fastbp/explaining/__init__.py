"""The worked example of backpropagation: every number of a forward and a backward pass, with its formula."""
