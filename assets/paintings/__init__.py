"""Paintings and photographs: two sets of pictures of which no two belong together, without duplicates, as trainA, trainB, testA and testB."""
