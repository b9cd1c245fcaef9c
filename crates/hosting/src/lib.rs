//! Child processes: training instances and model servers, placed, watched, restarted and stopped.
