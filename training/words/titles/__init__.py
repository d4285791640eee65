"""title_gpt2: a decoder that writes titles, and how good they are."""
