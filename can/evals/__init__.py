"""Evaluations of a frozen or finetuned encoder, one protocol a file: `evaluate(encoder, ...) -> {metric: value}`."""
