//! Profiler: what a training run does with the machine, rules over it, and the report.
