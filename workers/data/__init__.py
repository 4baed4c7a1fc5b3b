"""Training data as a process of its own: read, check, filter, tokenise and pack, with a report of what was done.

It runs as `python -m workers.data <plan.json>`; the plan is plan.py, what it tells is telling.py, docs/data.md
shows the stages. Memory does not grow with the rows: they lie on disk between stages (spool.py), and what stays
in memory is a few numbers for each.
"""
