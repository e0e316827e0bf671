"""Ablation: what each part of a completion adds, measured on holes in real projects."""
