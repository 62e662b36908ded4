"""Two small services that cache an upstream, in tasks and in threads, and what drives them through an outage."""
