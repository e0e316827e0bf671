"""Post-processing rules applied to the generated text before it is shown. Pure."""
