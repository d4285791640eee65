"""imaginary_papers: a picture, the title it is given and the abstract that follows, made safe to show, with what each was made from."""
