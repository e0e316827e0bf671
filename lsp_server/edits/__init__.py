"""From a person's wish to a small, checked change of one document: what may change, what the model said, is it good?"""
