"""The demonstration behind ``python -m lastcache``: a real origin over real HTTP, killed and started again.

``record`` and ``summary`` and ``checks`` and ``show`` and ``tally`` only compute; ``stage`` and ``workers`` and what
they use do things.
"""
