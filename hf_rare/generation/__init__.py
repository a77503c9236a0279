"""From messages to completions: the generators."""
