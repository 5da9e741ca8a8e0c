//! Drivers that run one instance: container and process.
