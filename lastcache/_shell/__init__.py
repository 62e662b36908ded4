"""The impure shell: it stores, schedules, calls and waits, as the core decides."""
