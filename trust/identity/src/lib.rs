//! Tokens and access decisions.
