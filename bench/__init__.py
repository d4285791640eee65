"""Side-by-side benchmarks: each checks that both sides give the same answer before it gives a number."""
