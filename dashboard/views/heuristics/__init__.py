"""The heuristics page: accuracy of each rule, its errors, and its threshold."""
