//! Decides placement; pure.
