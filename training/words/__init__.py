"""Language models of papers and sentences, most of them fine-tuned by training/fine_tuning; what two of its folders share lies here."""
