"""The parts that smdebug's frameworks share."""
