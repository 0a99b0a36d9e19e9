"""The playground: a live page on this machine, on which descent and learning move, driven by the real kernels.

``server`` binds to 127.0.0.1 and opens pages, ``page`` puts the tabs together. Each tab is a module with a function
``tab(document)`` that returns a Bokeh ``TabPanel``; what it shows is computed without Bokeh:

===================  ================================================
tab                  computed by
===================  ================================================
``descent``          ``paths``, of a ``formula``
``backpropagation``  ``lesson``
``learning``         ``learner``, with the rows of ``points``
``starting``         ``starts``
===================  ================================================

``fields`` says what can be chosen, within which bounds, and how a link holds it; ``widgets`` and ``player`` are shared
by the tabs. Bokeh comes with the extra ``playground``.
"""
