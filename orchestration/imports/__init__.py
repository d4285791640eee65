"""What users of other programs bring along: their configurations become presets, their files become ours. Nothing here knows the graph."""
