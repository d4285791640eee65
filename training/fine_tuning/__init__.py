"""One job that fine-tunes any Hugging Face model (hf_job.py) on the shared loop, and what its models and those who use them share."""
