"""The pure core: values and tables decide; nothing here knows a clock, a thread, a task, chance or a log."""
