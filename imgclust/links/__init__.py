"""The link folder: one folder a cluster, one link an image, updated by differences.

`plan` compares what is wanted with what the ledger says and the disk shows; `apply` carries the
plan out so that a crash at any instruction leaves something that `recover` and the next plan
repair. Every entry made here is in the ledger; an entry that does not, or that is no longer
what the ledger says, is foreign: it is reported and never touched. Originals are only ever read.

Callers hold a lock around `recover`, `apply` and `rename_folder`; `plan` and `check` only look.
"""
