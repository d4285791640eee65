"""What every stage's program is made of, whatever it makes: how its code is read and versioned.

What belongs here: plain Python that data stages and trainings share. What does not: how bytes lie on disk (formats), anything of one subject.
"""
