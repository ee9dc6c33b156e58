"""The commands of ci: check, report, alerts, gate, bisect, simulate, heuristics and advise."""
