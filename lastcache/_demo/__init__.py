"""The demonstration behind ``python -m lastcache``: a real origin over real HTTP, killed and started again.

``record`` and ``summary`` and ``checks`` and ``show`` only compute; ``stage`` and what it uses do things.
"""
