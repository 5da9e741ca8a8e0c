//! The typed API client.
