"""`figment app`: the champions of the registry as Gradio apps on 127.0.0.1."""
