"""Browse concepts and question the model, inside a notebook; each view is a function from data to HTML."""
