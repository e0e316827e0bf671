"""Post-processing rules applied to the model's text before it is shown. Pure."""
