"""T5 from title to abstract (abstract_t5) and back (title_t5); one program, two directions."""
