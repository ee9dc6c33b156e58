"""Series of other tools: their reports, the store's table of them, and their verdicts' inputs."""
