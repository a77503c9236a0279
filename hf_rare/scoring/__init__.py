"""What a model thinks of texts that are there already: what documents carry, what suits a student, what distracts."""
