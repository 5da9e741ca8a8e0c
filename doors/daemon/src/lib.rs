//! Composes control, node and edge into one process; wiring only.
