"""Language models of papers, by the one job that fine-tunes any Hugging Face model (hf_job.py); what two of its folders share lies here."""
