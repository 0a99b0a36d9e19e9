"""The worked example of backpropagation: every number of a forward and a backward pass, with its formula.

``problem`` is what is explained: a network and one sample. ``steps`` computes the numbers as the reference does,
``agreement`` lets the kernels compute them too. ``text`` lays them out for a terminal, ``document`` as JSON. What is
typed after ``fastbp explain`` is read in `fastbp.cli.explain`.
"""
